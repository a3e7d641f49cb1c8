package auth0login

import (
	"cmp"
	"slices"
	"sync"
)

// record is what attempts have told of the present secrets. It is behind a pointer, which
// fmt does not follow where it cannot call Format, as in the unexported field of a struct.
type record struct {
	mu       sync.Mutex
	attempts uint64             // that have begun
	of       map[string]history // of secrets of the present set
	used     string             // the client assertion that was used last
}

// history is what attempts have told of one secret. Attempts count by when they began: an
// answer that was long on its way does not outdo a later one.
type history struct {
	told     uint64 // the attempt that told last
	accepted uint64 // the last one that was accepted; 0: none was
}

// refused says whether the last answer was a refusal.
func (h history) refused() bool { return h.told > h.accepted }

// inOrder gives the secrets in the order in which they are tried: those that were refused
// after the others, among these the one that worked last first, then as they came. Secrets
// that are not among them are forgotten.
func (r *record) inOrder(secrets []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for secret := range r.of {
		if !slices.Contains(secrets, secret) {
			delete(r.of, secret)
		}
	}
	ordered := slices.Clone(secrets)
	slices.SortStableFunc(ordered, func(a, b string) int {
		first, second := r.of[a], r.of[b]
		switch {
		case first.refused() != second.refused() && second.refused():
			return -1
		case first.refused() != second.refused():
			return 1
		default: // the one that worked later comes first
			return cmp.Compare(second.accepted, first.accepted)
		}
	})
	return ordered
}

// first says whether a client assertion is another one than the last, and notes it.
func (r *record) first(assertion string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == assertion {
		return false
	}
	r.used = assertion
	return true
}

// begin gives the number of an attempt that begins now.
func (r *record) begin() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts++
	return r.attempts
}

// ended notes that an attempt was accepted or refused. Other ends tell nothing.
func (r *record) ended(secret string, number uint64, accepted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.of[secret]
	if accepted {
		h.accepted = max(h.accepted, number)
	}
	h.told = max(h.told, number)
	if r.of == nil {
		r.of = map[string]history{}
	}
	r.of[secret] = h
}
