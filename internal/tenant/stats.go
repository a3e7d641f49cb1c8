package tenant

import (
	"fmt"
	"maps"
	"slices"
)

const (
	noAnswer = 0 // the status of a call that is not answered

	// maxUndecided bounds the memory of a tenant that runs for long.
	maxUndecided = 100_000

	// longestSet is how many secrets an application has at most: with more in one
	// login it must have begun another one.
	longestSet = 4
)

// Stats are counts since the start.
type Stats struct {
	Logins           LoginStats // of applications, without Management API tokens
	ManagementTokens struct{ Issued, Refused int }
	// Tokens that applications were issued for themselves (client_credentials), by
	// ClientID and audience with a space between. Auth0 meters those, also if the
	// answer is lost.
	Tokens map[string]int
	// Requests by endpoint and status, such as "PATCH /api/v2/clients/{id} 200"; the
	// status is 0 for those without an answer, counted when they are held or cut.
	Requests       map[string]int
	RateLimited    int                   // answers with 429
	PerApplication map[string]LoginStats // by ClientID, of those that there are or were
}

// LoginStats count logins and the attempts that they consist of: see the package's
// documentation.
type LoginStats struct {
	Accepted, Refused, Undecided int
	Attempts                     struct{ Accepted, Refused int }
	FellBack                     int // of the accepted logins, those with an attempt refused before
}

// Stats gives the counts until now.
func (t *Tenant) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := t.stats.counts
	counts.Requests, counts.Tokens = maps.Clone(counts.Requests), maps.Clone(counts.Tokens)
	counts.PerApplication = maps.Clone(counts.PerApplication)
	return counts
}

// statistics keep the counts, and the logins that are under way.
type statistics struct {
	counts Stats
	// undecided are the logins with refused attempts alone so far, and the secrets
	// of those.
	undecided map[loginKey][]string
}

func newStatistics() statistics {
	return statistics{
		counts:    Stats{Requests: map[string]int{}, Tokens: map[string]int{}, PerApplication: map[string]LoginStats{}},
		undecided: map[loginKey][]string{},
	}
}

// loginKey names a login. Without an ID it is the one that the application has
// under way.
type loginKey struct{ clientID, id string }

// loginAttempt is an attempt to log in and what became of it.
type loginAttempt struct {
	clientID   string
	known      bool // there is such an application
	id         string
	last       bool
	secret     string // or what names the key
	accepted   bool
	management bool // for a Management API token: no login
}

// finish counts a request that is answered now, or never.
func (s *statistics) finish(c *call, status int) {
	s.counts.Requests[fmt.Sprintf("%s %d", c.endpoint, status)]++
	if status == 429 {
		s.counts.RateLimited++
	}
}

// attempt counts an attempt to log in, and the login if this decides it.
func (s *statistics) attempt(a loginAttempt) {
	if a.management {
		if a.accepted {
			s.counts.ManagementTokens.Issued++
		} else {
			s.counts.ManagementTokens.Refused++
		}
		return
	}
	key := loginKey{a.clientID, a.id}
	tried, again := s.undecided[key]
	if again && !a.accepted && a.id == "" && (slices.Contains(tried, a.secret) || len(tried) == longestSet) {
		s.count(a, func(l *LoginStats) { l.Undecided--; l.Refused++ }) // that one came to nothing, this is the next
		tried, again = nil, false
	}
	delete(s.undecided, key)
	s.count(a, func(l *LoginStats) {
		if again {
			l.Undecided--
		}
		switch {
		case a.accepted:
			l.Attempts.Accepted++
			l.Accepted++
			if again {
				l.FellBack++
			}
		case a.last:
			l.Attempts.Refused++
			l.Refused++
		default:
			l.Attempts.Refused++
			l.Undecided++
		}
	})
	if a.accepted || a.last {
		return
	}
	if len(s.undecided) >= maxUndecided {
		clear(s.undecided) // they stay counted as undecided
	}
	if a.id == "" {
		tried = append(tried, a.secret)
	}
	s.undecided[key] = tried
}

// count counts for all, and for the application if there is such a one.
func (s *statistics) count(a loginAttempt, change func(*LoginStats)) {
	change(&s.counts.Logins)
	if a.known {
		own := s.counts.PerApplication[a.clientID]
		change(&own)
		s.counts.PerApplication[a.clientID] = own
	}
}
