package main

import (
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

// reader reads all roles below a path over and over again, and keeps what that took.
type reader struct {
	stack   *devstack.Stack
	program string // the plugin's binary
	urls    []string
	client  *http.Client

	last      time.Duration // CPU time for a read, in the last slice
	cpu, took time.Duration
	latencies []time.Duration
}

func newReader(s *devstack.Stack, path, program string) *reader {
	r := &reader{stack: s, program: program, urls: make([]string, roleCount)}
	for i := range r.urls {
		r.urls[i] = s.Vault.Addr() + "/v1/" + path + roleName(i*7919%roleCount) // in no order
	}
	r.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}
	return r
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
	r.cpu, r.took, r.latencies = r.cpu+after-cpu, r.took+took, append(r.latencies, all...)
	return nil
}

func (r *reader) get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
func (r *reader) clear() { r.cpu, r.took, r.latencies = 0, 0, nil }

// each is the CPU time of the plugin's process for a read.
func (r *reader) each() time.Duration { return r.cpu / time.Duration(len(r.latencies)) }

// context is the rate and the latency, which other load on the machine decides as well.
func (r *reader) context() string {
	slices.Sort(r.latencies)
	p99 := r.latencies[len(r.latencies)*99/100]
	return fmt.Sprintf("%.0f, %.1f ms", float64(len(r.latencies))/r.took.Seconds(), float64(p99)/float64(time.Millisecond))
}
