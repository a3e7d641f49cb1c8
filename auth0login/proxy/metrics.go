package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// outcome is what became of a login.
type outcome int

const (
	outcomeAccepted outcome = iota
	outcomeRefused
	outcomeOther
	outcomeUnreachable
	outcomeNoCredentials
	outcomeWrongSecret
	outcomeInvalid
	outcomeForeign
	outcomeBusy
	outcomeAbandoned
)

// Values of labels.
var (
	outcomeNames = [...]string{
		outcomeAccepted: "accepted", outcomeRefused: "refused", outcomeOther: "passed_on", outcomeUnreachable: "unreachable",
		outcomeNoCredentials: "no_credentials", outcomeWrongSecret: "wrong_local_secret", outcomeInvalid: "invalid",
		outcomeForeign: "other_application", outcomeBusy: "busy", outcomeAbandoned: "abandoned",
	}
	kindNames = [...]string{kindRefused: "refused", kindLogin: "login", kindDiscovery: "discovery", kindOther: "other"}
)

// outcome is what became of a login that the proxy has refused.
func (r refusal) outcome() outcome {
	switch r.status {
	case unauthorized.status:
		return outcomeWrongSecret
	case noCredentials.status:
		return outcomeNoCredentials
	case foreign.status:
		return outcomeForeign
	default:
		return outcomeInvalid
	}
}

// counts count since the process began.
type counts struct {
	logins   [len(outcomeNames)]atomic.Uint64
	fellBack atomic.Uint64
	requests [len(kindNames)][6]atomic.Uint64 // by the first digit of the status; 0: none was sent
}

func (c *counts) login(o outcome) { c.logins[o].Add(1) }

func (c *counts) request(k kind, status int) {
	class := status / 100
	if class < 0 || class > 5 {
		class = 0
	}
	c.requests[k][class].Add(1)
}

// Health says whether there are credentials to log in with: 200, or 503 with the reason.
// While they cannot be read again, but logins go on with the last ones, it is 200, too,
// and the text says so; the metric auth0_login_proxy_credentials_readable is 0 then.
func (p *Proxy) Health() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		var text bytes.Buffer
		status := http.StatusOK
		for i, app := range p.applications {
			if err := p.check(r.Context(), i); err != nil {
				status = http.StatusServiceUnavailable
				fmt.Fprintln(&text, err)
			} else if err := app.lastError(); err != nil {
				fmt.Fprintf(&text, "application %d goes on with earlier credentials: %v\n", i+1, err)
			}
		}
		w.WriteHeader(status)
		if text.Len() == 0 {
			text.WriteString("ok\n")
		}
		_, _ = w.Write(text.Bytes())
	})
}

// CheckCredentials reads the credentials, and says which applications have none to log in
// with: it is the reason of Health's 503.
func (p *Proxy) CheckCredentials(ctx context.Context) error {
	all := make([]error, 0, len(p.applications))
	for i := range p.applications {
		all = append(all, p.check(ctx, i))
	}
	return errors.Join(all...)
}

func (p *Proxy) check(ctx context.Context, i int) error {
	if err := p.applications[i].learn(ctx); err != nil {
		return fmt.Errorf("application %d has no credentials: %w", i+1, err)
	}
	return nil
}

// lastError is why the source could not read when it did so last, if it tells that.
func (a *application) lastError() error {
	if source, ok := a.source.(interface{ LastError() error }); ok {
		return source.LastError()
	}
	return nil
}

// Metrics are for Prometheus, in its text format. No label has a secret, or ever more
// values.
func (p *Proxy) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		readable := 0
		for _, app := range p.applications {
			if app.learn(r.Context()) == nil && app.lastError() == nil {
				readable++
			}
		}
		e := &exposition{}
		e.add("build_info", "The version of the proxy; always 1.", dto.MetricType_GAUGE, sample(1, "version", p.version))
		e.add("applications", "How many applications are configured.", dto.MetricType_GAUGE, sample(uint64(len(p.applications))))
		e.add("credentials_readable", "Of how many applications the credentials can be read at present.", dto.MetricType_GAUGE, sample(uint64(readable)))
		logins := make([]*dto.Metric, 0, len(outcomeNames))
		for o, name := range outcomeNames {
			logins = append(logins, sample(p.counts.logins[o].Load(), "outcome", name))
		}
		e.add("logins_total", "Requests that carry client authentication, by what became of them.", dto.MetricType_COUNTER, logins...)
		e.add("logins_fell_back_total", "Of the accepted logins, those for which Auth0 had refused another secret before.",
			dto.MetricType_COUNTER, sample(p.counts.fellBack.Load()))
		requests := make([]*dto.Metric, 0, len(kindNames)*6)
		for k, name := range kindNames {
			for class := range p.counts.requests[k] {
				status := strconv.Itoa(class) + "xx"
				if class == 0 {
					status = "none"
				}
				if n := p.counts.requests[k][class].Load(); n > 0 {
					requests = append(requests, sample(n, "kind", name, "status", status))
				}
			}
		}
		e.add("requests_total", "Requests by what they are and how they were answered.", dto.MetricType_COUNTER, requests...)
		if e.err != nil {
			http.Error(w, "the metrics cannot be written", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
		_, _ = w.Write(e.text.Bytes())
	})
}

// exposition collects metrics.
type exposition struct {
	text bytes.Buffer
	err  error
}

// sample is a value with the names and values of its labels in turn.
func sample(value uint64, labels ...string) *dto.Metric {
	v := float64(value)
	m := &dto.Metric{Gauge: &dto.Gauge{Value: &v}, Counter: &dto.Counter{Value: &v}} // the family says which
	for pair := range slices.Chunk(labels, 2) {
		m.Label = append(m.Label, &dto.LabelPair{Name: &pair[0], Value: &pair[1]})
	}
	return m
}

func (e *exposition) add(name, help string, kind dto.MetricType, samples ...*dto.Metric) {
	if len(samples) == 0 || e.err != nil {
		return
	}
	name = "auth0_login_proxy_" + name
	_, e.err = expfmt.MetricFamilyToText(&e.text, &dto.MetricFamily{Name: &name, Help: &help, Type: &kind, Metric: samples})
}
