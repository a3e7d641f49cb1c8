package auth0

import (
	"net/http"
	"sync"
	"time"
)

// Clock is how far the tenant's clock is ahead of ours: between Least and Most. The
// Date header of an answer is in whole seconds, and was written at some time between
// request and answer.
type Clock struct {
	Least, Most time.Duration
}

// Known says whether any answer has told the time.
func (c Clock) Known() bool { return c != Clock{} }

// Ahead is how far the tenant's clock is ahead of ours for certain; negative:
// behind; 0: no difference can be told.
func (c Clock) Ahead() time.Duration {
	switch {
	case c.Least > 0:
		return c.Least
	case c.Most < 0:
		return c.Most
	}
	return 0
}

// Clock compares the tenant's clock with ours, by the answer that came fastest.
func (c *Client) Clock() Clock { return c.clock.read() }

// clockWatch keeps the comparison that tells most.
type clockWatch struct {
	mu   sync.Mutex
	best Clock
}

func (w *clockWatch) read() Clock {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.best
}

// observe learns from the header of an answer: when the request was sent, and when the
// answer had come.
func (w *clockWatch) observe(h http.Header, sent, had time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	// By the wall clock, not by the monotonic one.
	seen := Clock{Least: date.Sub(had.Round(0)), Most: date.Add(time.Second).Sub(sent.Round(0))}
	if seen.Most < seen.Least {
		return // our clock was set back meanwhile
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.best.Known() || seen.Most-seen.Least < w.best.Most-w.best.Least {
		w.best = seen
	}
}
