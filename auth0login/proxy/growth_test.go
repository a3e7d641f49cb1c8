package proxy

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNothingGrows: memory and goroutines, with requests of all kinds. PROXY_REQUESTS has
// their number: by default some thousand.
func TestNothingGrows(t *testing.T) {
	requests := 10_000
	if raceDetector {
		requests = 2_000 // it takes some ten times as long
	}
	if text := os.Getenv("PROXY_REQUESTS"); text != "" {
		var err error
		requests, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	w := newWorldBefore(t, func(rw http.ResponseWriter, r *http.Request) {
		switch secret := r.FormValue("client_secret"); {
		case r.URL.Path != "/oauth/token", secret == real:
			_, _ = io.WriteString(rw, `{"access_token":"a-token"}`)
		case r.FormValue("grant_type") == "limited":
			rw.WriteHeader(429)
		default:
			rw.WriteHeader(401)
			_, _ = io.WriteString(rw, `{"error":"access_denied"}`)
		}
	}, real)
	w.proxy.logger = slog.New(slog.DiscardHandler)
	kinds := []func() answer{
		func() answer { return w.post("/oauth/token", w.form(local)) },
		func() answer { return w.post("/oauth/token", w.form("wrong")) },
		func() answer { return w.post("/oauth/token", w.form(local)+"&client_id=x") },
		func() answer {
			return w.post("/oauth/token", "client_id=other&client_secret=unknown&grant_type=limited")
		},
		func() answer { return w.post("/oauth/revoke", "token=a", "Authorization", basic("shop", local)) },
		func() answer { return w.post("/oauth/token", strings.Repeat("x", maxLoginBody+1)) },
		func() answer { return w.do(w.request("GET", "/other", "")) },
		func() answer { return w.post("/other", strings.Repeat("x", 10_000)) },
		func() answer { return w.do(w.request("GET", "/.well-known/openid-configuration", "")) },
	}
	const workers = 8
	run := func(n int) {
		var all sync.WaitGroup
		for worker := range workers {
			all.Go(func() {
				for i := range n / workers {
					kinds[(worker+i)%len(kinds)]()
					if i%50 == 0 {
						w.source.set("first-"+strconv.Itoa(i), real) // each set anew
					}
				}
			})
		}
		all.Wait()
	}
	measure := func() (goroutines int, heap uint64) {
		w.front.Client().CloseIdleConnections()
		w.proxy.Close()
		for range 100 { // until connections that were closed have ended
			if runtime.GC(); runtime.NumGoroutine() < 20 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return runtime.NumGoroutine(), stats.HeapAlloc
	}
	run(requests / 6)
	goroutines, heap := measure()
	run(requests)
	after, heapAfter := measure()
	t.Logf("%d requests: goroutines %d and %d, heap %d KiB and %d KiB", requests, goroutines, after, heap>>10, heapAfter>>10)
	assert.LessOrEqual(t, after, goroutines+10)
	assert.LessOrEqual(t, heapAfter, heap+2<<20)
	for _, app := range w.proxy.applications {
		assert.Equal(t, "shop", *app.clientID.Load())
	}
}
