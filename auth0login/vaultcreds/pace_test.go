package vaultcreds

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"vault-plugin-secrets-auth0/auth0login/internal/lease"
)

// TestARefreshDuringAReadKeepsThePaceToo: Refresh promises a second between the end of one read
// and the next.
func TestARefreshDuringAReadKeepsThePaceToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{lease: leased, seconds: 100}
		source := v.source(t)
		secretOf(t, source)
		hold := make(chan struct{})
		v.set(func() { v.hold = hold })
		later(t, source, 96*time.Second) // begins to read
		var refreshing sync.WaitGroup
		refreshing.Go(func() { assert.NoError(t, source.Refresh(t.Context())) })
		synctest.Wait()
		close(hold)
		ended := time.Now()
		refreshing.Wait()
		assert.Equal(t, 3, v.count())
		assert.Equal(t, lease.Pause, time.Since(ended))
	})
}
