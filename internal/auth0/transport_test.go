package auth0

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAHugeHeaderIsNoAnswer(t *testing.T) {
	for size, ok := range map[int]bool{1 << 10: true, maxHeader + 1: false, 9 << 20: false} {
		tn := newTenant(t, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 9 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", size/9))
			}
			reply(w, 200, openObject)
		})
		for op, err := range eachCall(t.Context(), tn.client(t)) {
			if ok {
				assert.NoError(t, err, op)
				continue
			}
			require.EqualError(t, err, op+": no clear answer from Auth0: "+reasonFailed)
			assert.Equal(t, Ambiguous, ClassOf(err))
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		tn := &tenant{}
		tn.Server = httptest.NewUnstartedServer(tn)
		tn.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		tn.Config.ErrorLog = quiet
		tn.StartTLS()
		_, err := tn.client(t).Grant(t.Context())
		tokens, _ := tn.counts()
		if ok {
			require.NoError(t, err)
			assert.Equal(t, 1, tokens)
		} else {
			require.EqualError(t, err, "token: no clear answer from Auth0: "+reasonHandshake, tls.VersionName(version))
			assert.Zero(t, tokens)
		}
		tn.Close()
	}
}

// TestAGzipBombIsNotInflated: 200 MiB in 200 KiB.
func TestAGzipBombIsNotInflated(t *testing.T) {
	var bomb bytes.Buffer
	z, err := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	require.NoError(t, err)
	zeros := make([]byte, 1<<20)
	for range 200 {
		_, err := z.Write(zeros)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	explode := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	}
	tn := newTenant(t, explode)
	c := tn.client(t)
	_, err = c.Grant(t.Context())
	require.NoError(t, err)
	tn.onToken(explode)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for op, err := range eachCall(t.Context(), c) {
		require.EqualError(t, err, op+": no clear answer from Auth0 (200): "+reasonTooLong)
	}
	_, err = c.NewToken(t.Context(), nil)
	assert.Equal(t, Ambiguous, ClassOf(err))
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
}

// TestAProtocolSwitchEnds: net/http leaves such a connection to the caller, and no
// time-out of its own ends a read of it.
func TestAProtocolSwitchEnds(t *testing.T) {
	release := make(chan struct{})
	tn := newTenant(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
		<-release
		_ = conn.Close()
	})
	c := tn.client(t)
	done := make(chan error, 1)
	go func() { done <- c.SetSecret(t.Context(), appID, "s3cret-new") }()
	select {
	case err := <-done:
		assert.EqualError(t, err, "set secret: no clear answer from Auth0 (101): "+ReasonNotAuth0)
		assert.Equal(t, Ambiguous, ClassOf(err))
		close(release)
	case <-time.After(2 * tn.config().RequestTimeout):
		t.Error("the call does not end, though its time-out has")
		close(release)
		assert.Error(t, <-done)
	}
}
