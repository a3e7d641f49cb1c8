package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// target is something that is read over and over again.
type target struct {
	name string
	// url gives the address of the n-th request.
	url func(n int) string
}

// load reads from a Vault over a fixed number of connections.
type load struct {
	client      *http.Client
	token       string
	connections int
}

func newLoad(token string, connections int) *load {
	transport := &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}
	return &load{client: &http.Client{Transport: transport}, token: token, connections: connections}
}

func (l *load) close() { l.client.CloseIdleConnections() }

// slice is what a time of reading one target has shown.
type slice struct {
	took      time.Duration
	latencies []time.Duration
}

// rate is requests a second.
func (s slice) rate() float64 { return float64(len(s.latencies)) / s.took.Seconds() }

// run reads the target over all connections for a while. Any answer but 200 is
// an error: what is measured is an engine that works.
func (l *load) run(ctx context.Context, t target, length time.Duration) (slice, error) {
	results := make([][]time.Duration, l.connections)
	failures := make([]error, l.connections)
	var work sync.WaitGroup
	start := time.Now()
	for c := range l.connections {
		work.Go(func() {
			for n := c; time.Since(start) < length; n += l.connections {
				began := time.Now()
				if err := l.read(ctx, t.url(n)); err != nil {
					failures[c] = err
					return
				}
				results[c] = append(results[c], time.Since(began))
			}
		})
	}
	work.Wait()
	return slice{took: time.Since(start), latencies: slices.Concat(results...)}, errors.Join(failures...)
}

func (l *load) read(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", l.token)
	resp, err := l.client.Do(req)
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
