package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-auth0/internal/devstack"
)

// reader sends requests over and over again, and keeps what that took.
type reader struct {
	stack   *devstack.Stack
	program string // the plugin's binary, whose CPU time counts; "": Vault's and all plugins'
	urls    []string
	body    []byte // nil: the requests read
	client  *http.Client

	last      time.Duration // CPU time for a request, in the last slice
	least     time.Duration // the least of all slices
	cpu, took time.Duration
	latencies []time.Duration
}

func newReader(s *devstack.Stack, program string, paths ...string) *reader {
	r := &reader{stack: s, program: program}
	for _, path := range paths {
		r.urls = append(r.urls, s.Vault.Addr()+"/v1/"+path)
	}
	r.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}
	return r
}

// allRoles are the paths of all roles below one, in no order.
func allRoles(path string) []string {
	paths := make([]string, roleCount)
	for i := range paths {
		paths[i] = path + roleName(i*7919%roleCount)
	}
	return paths
}

// read reads over all connections for a slice of time. Any answer but 200 is an error:
// what is measured is an engine that works.
func (r *reader) read(ctx context.Context) error {
	cpu, err := cpuTime(r.stack, r.program)
	if err != nil {
		return err
	}
	latencies := make([][]time.Duration, connections)
	var work errgroup.Group
	start := time.Now()
	for c := range connections {
		work.Go(func() error {
			for n := c; time.Since(start) < slice; n += connections {
				began := time.Now()
				if err := r.get(ctx, r.urls[n%len(r.urls)]); err != nil {
					return err
				}
				latencies[c] = append(latencies[c], time.Since(began))
			}
			return nil
		})
	}
	err = work.Wait()
	took := time.Since(start)
	after, errAfter := cpuTime(r.stack, r.program)
	if err := errors.Join(err, errAfter); err != nil {
		return err
	}
	all := slices.Concat(latencies...)
	r.last = (after - cpu) / time.Duration(len(all))
	if r.least == 0 || r.last < r.least {
		r.least = r.last
	}
	r.cpu, r.took, r.latencies = r.cpu+after-cpu, r.took+took, append(r.latencies, all...)
	return nil
}

func (r *reader) get(ctx context.Context, url string) error {
	method := http.MethodGet
	if r.body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", r.stack.Vault.Token())
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// clear forgets what was measured.
func (r *reader) clear() { r.least, r.cpu, r.took, r.latencies = 0, 0, 0, nil }

// each is the CPU time for a request.
func (r *reader) each() time.Duration { return r.cpu / time.Duration(len(r.latencies)) }

// context is the rate and the latency, which other load on the machine decides as well.
func (r *reader) context() string {
	return fmt.Sprintf("%.0f, %.1f ms", float64(len(r.latencies))/r.took.Seconds(), r.p99())
}

// p99 is in milliseconds.
func (r *reader) p99() float64 {
	slices.Sort(r.latencies)
	return float64(r.latencies[len(r.latencies)*99/100]) / float64(time.Millisecond)
}
