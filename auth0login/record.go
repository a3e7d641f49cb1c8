package auth0login

import (
	"slices"
	"sync"
)

// record is what attempts have told of the present secrets. It is behind a pointer, which
// fmt does not follow where it cannot call Format, as in the unexported field of a struct.
type record struct {
	mu       sync.Mutex
	attempts uint64             // that have begun
	of       map[string]history // of secrets of the present set
}

// history is what attempts have told of one secret. Attempts count by when they began: an
// answer that was long on its way does not outdo a later one.
type history struct {
	told     uint64 // the attempt that told last; 0: none has
	accepted uint64 // the last one that was accepted; 0: none was
}

// rank is 0 for a secret that is known to work, 1 for one of which nothing is known, 2 for
// one that was refused.
func (h history) rank() int {
	switch h.told {
	case 0:
		return 1
	case h.accepted:
		return 0
	default:
		return 2
	}
}

// inOrder gives the secrets in the order in which they are tried: by rank, then the one
// that worked last, then as they came. Secrets that are not among them are forgotten.
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
		if by := first.rank() - second.rank(); by != 0 {
			return by
		}
		switch { // the later one comes first
		case first.accepted > second.accepted:
			return -1
		case first.accepted < second.accepted:
			return 1
		default:
			return 0
		}
	})
	return ordered
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
