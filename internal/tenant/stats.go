package tenant

import (
	"container/list"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	noAnswer = 0 // the status of a call that is not answered

	// maxJournal and maxUndecided bound the memory of a tenant that runs for
	// long. The oldest go first.
	maxJournal   = 100_000
	maxUndecided = 100_000
)

// Stats are counts since the start.
type Stats struct {
	Logins           LoginStats // of applications, without Management API tokens
	ManagementTokens struct{ Issued, Refused int }
	// Requests by method, path and status, such as "PATCH /api/v2/clients/{id} 200";
	// the status is 0 for those without an answer, counted when they are held
	// or cut.
	Requests       map[string]int
	RateLimited    int                   // answers with 429
	PerApplication map[string]LoginStats // by ClientID, of those that there are or were
}

// LoginStats count logins and the attempts that they consist of.
type LoginStats struct {
	Accepted, Refused, Undecided int
	Attempts                     struct{ Accepted, Refused int }
	FellBack                     int // of the accepted logins, those with an attempt refused before
}

// Entry is a request to the Management API.
type Entry struct {
	At       time.Time // when it arrived
	Method   string
	Path     string
	ClientID string    // of the application that it is about; may be empty
	Status   int       // 0: without an answer, or not yet
	Fault    FaultKind // that it met; "": none
}

// Stats gives the counts until now.
func (t *Tenant) Stats() Stats {
	s := &t.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.counts
	counts.Requests = maps.Clone(s.counts.Requests)
	counts.PerApplication = make(map[string]LoginStats, len(s.perApplication))
	if counts.Requests == nil {
		counts.Requests = map[string]int{}
	}
	for id, logins := range s.perApplication {
		counts.PerApplication[id] = *logins
	}
	return counts
}

// Journal gives the last 100000 requests to the Management API in the order of
// their arrival. There are no secrets or tokens in it.
func (t *Tenant) Journal() []Entry {
	s := &t.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := make([]Entry, len(s.journal))
	for i, e := range s.journal {
		entries[i] = *e
	}
	return entries
}

// statistics keep the counts, the journal, and the logins that are under way.
type statistics struct {
	mu             sync.Mutex
	counts         Stats // without PerApplication
	perApplication map[string]*LoginStats
	journal        []*Entry
	undecided      map[loginKey]*list.Element // of oldest: logins with a refused attempt so far
	oldest         list.List                  // of loginKey, oldest first
}

type loginKey struct{ clientID, id string }

// loginAttempt is an attempt to log in and what became of it.
type loginAttempt struct {
	clientID   string
	known      bool   // there is such an application
	id         string // of the login; "": this is all of it
	last       bool
	accepted   bool
	management bool // for a Management API token: no login
}

// enter puts a request into the journal.
func (s *statistics) enter(e Entry) *Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.journal) >= maxJournal*5/4 { // not one by one: each time costs a copy
		s.journal = slices.Clone(s.journal[len(s.journal)-maxJournal+1:])
	}
	s.journal = append(s.journal, &e)
	return &e
}

// note says which fault a request has met.
func (s *statistics) note(e *Entry, kind FaultKind) {
	if e == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Fault = kind
}

// finish counts a request that is answered now, or never.
func (s *statistics) finish(c *call, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts.Requests == nil {
		s.counts.Requests = map[string]int{}
	}
	method := c.r.Method
	if !slices.Contains([]string{"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"}, method) {
		method = "OTHER" // a client may send any word
	}
	s.counts.Requests[fmt.Sprintf("%s %s %d", method, c.pattern, status)]++
	if status == 429 {
		s.counts.RateLimited++
	}
	if c.entry != nil {
		c.entry.Status = status
	}
}

// attempt counts an attempt to log in, and the login if this decides it.
func (s *statistics) attempt(a loginAttempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.management {
		if a.accepted {
			s.counts.ManagementTokens.Issued++
		} else {
			s.counts.ManagementTokens.Refused++
		}
		return
	}

	key := loginKey{a.clientID, a.id}
	underWay, again := s.undecided[key]
	fellBack := again && a.accepted
	decided := a.accepted || a.last || a.id == ""
	count := func(l *LoginStats) {
		if again && decided {
			l.Undecided--
		}
		switch {
		case a.accepted:
			l.Attempts.Accepted++
			l.Accepted++
		case decided:
			l.Attempts.Refused++
			l.Refused++
		default:
			l.Attempts.Refused++
			if !again {
				l.Undecided++
			}
		}
		if fellBack {
			l.FellBack++
		}
	}
	count(&s.counts.Logins)
	if a.known {
		count(s.of(a.clientID))
	}

	switch {
	case decided && again:
		s.oldest.Remove(underWay)
		delete(s.undecided, key)
	case !decided && !again:
		s.remember(key)
	}
}

// remember keeps a login of which an attempt was refused. One that is pushed
// out stays counted as undecided.
func (s *statistics) remember(key loginKey) {
	if s.undecided == nil {
		s.undecided = map[loginKey]*list.Element{}
	}
	if len(s.undecided) >= maxUndecided {
		delete(s.undecided, s.oldest.Remove(s.oldest.Front()).(loginKey))
	}
	s.undecided[key] = s.oldest.PushBack(key)
}

func (s *statistics) of(clientID string) *LoginStats {
	if s.perApplication == nil {
		s.perApplication = map[string]*LoginStats{}
	}
	if s.perApplication[clientID] == nil {
		s.perApplication[clientID] = &LoginStats{}
	}
	return s.perApplication[clientID]
}
