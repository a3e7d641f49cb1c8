//go:build unix

package proxy

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
)

// BenchmarkProxy logs in through the proxy, and through a plain reverse proxy that replaces
// nothing. What asks and what answers are another process, so that the CPU time is that
// of the proxy alone:
//
//	go test -run '^$' -bench . -benchtime 20000x ./auth0login/proxy
func BenchmarkProxy(b *testing.B) {
	auth0 := startLoad(b)
	credentials := filepath.Join(b.TempDir(), "shop.json")
	text, err := json.Marshal(map[string]any{"domain": auth0.domain, "client_id": "shop", "client_secrets": []string{real, "the-one-before"}})
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(credentials, text, 0o600))
	p, err := New(Config{
		Domain: auth0.domain, CACert: auth0.ca, PublicURL: "http://127.0.0.1:8404",
		Applications: []Application{{Source: auth0login.File(credentials), LocalSecret: local}},
	})
	require.NoError(b, err)
	defer p.Close()
	transport, err := newTransport(auth0.ca)
	require.NoError(b, err)
	defer transport.CloseIdleConnections()
	plain := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "https", Host: auth0.domain})
	}}
	for _, each := range []struct {
		name    string
		handler http.Handler
	}{{"plain", plain}, {"proxy", p}} {
		b.Run(each.name, func(b *testing.B) {
			front := httptest.NewServer(each.handler)
			defer front.Close()
			auth0.ask(b, front.URL, 200) // connections are there
			before := cpuTime(b)
			b.ResetTimer()
			p99 := auth0.ask(b, front.URL, b.N)
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(p99.Microseconds()), "p99-µs")
		})
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// load is the other process.
type load struct {
	domain, ca string
	in         io.Writer
	out        *bufio.Reader
}

func startLoad(b *testing.B) *load {
	b.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "PROXY_LOAD=1")
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	require.NoError(b, err)
	out, err := command.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, command.Start())
	b.Cleanup(func() {
		_ = in.Close()
		_ = command.Wait()
	})
	l := &load{in: in, out: bufio.NewReader(out)}
	var said []string
	require.NoError(b, json.Unmarshal([]byte(l.line(b)), &said))
	l.domain, l.ca = said[0], said[1]
	return l
}

func (l *load) line(b *testing.B) string {
	b.Helper()
	line, err := l.out.ReadString('\n')
	require.NoError(b, err)
	return line
}

// ask has the other process log in n times at an address, and gives the time of the
// slowest but one in a hundred.
func (l *load) ask(b *testing.B, address string, n int) (p99 time.Duration) {
	b.Helper()
	_, err := fmt.Fprintln(l.in, address, n)
	require.NoError(b, err)
	_, err = fmt.Sscan(l.line(b), &p99)
	require.NoError(b, err)
	return p99
}

// The other process of the benchmark answers as Auth0, and asks.
func init() { otherProcess = answerAndAsk }

func answerAndAsk() {
	token := `{"access_token":"` + strings.Repeat("a-token", 100) + `","token_type":"Bearer"}`
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, token)
	}))
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	_ = json.NewEncoder(os.Stdout).Encode([]string{strings.TrimPrefix(server.URL, "https://"), ca})
	const workers = 8
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	defer client.CloseIdleConnections()
	body := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"shop"}, "client_secret": {local}, "code": {strings.Repeat("code", 10)},
		"redirect_uri": {callback}, "code_verifier": {strings.Repeat("v", 43)},
	}.Encode()
	for {
		var address string
		var n int
		if _, err := fmt.Scan(&address, &n); err != nil {
			return
		}
		times := make([]time.Duration, n)
		var all sync.WaitGroup
		for worker := range workers {
			all.Go(func() {
				for i := worker; i < n; i += workers {
					began := time.Now()
					resp, err := client.Post(address+"/oauth/token", formType, strings.NewReader(body))
					if err != nil || resp.StatusCode != 200 {
						panic(fmt.Sprint("no login: ", err))
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					times[i] = time.Since(began)
				}
			})
		}
		all.Wait()
		slices.Sort(times)
		fmt.Println(int64(times[n*99/100]))
	}
}
