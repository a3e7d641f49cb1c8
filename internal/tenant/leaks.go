package tenant

import (
	"maps"
	"slices"
)

// EverySecret gives all that must not turn up in a log: each client secret
// that any application has or had, and each Management API token that was
// issued (as far as it is remembered).
func (t *Tenant) EverySecret() []string {
	t.mu.Lock()
	applications := slices.Clone(t.order)
	t.mu.Unlock()
	var all []string
	for _, id := range applications {
		for _, change := range t.SecretHistory(id) {
			all = append(all, change.Value)
		}
	}
	t.tokens.mu.Lock()
	defer t.tokens.mu.Unlock()
	return slices.AppendSeq(all, maps.Keys(t.tokens.byValue))
}
