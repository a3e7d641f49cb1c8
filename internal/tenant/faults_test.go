package tenant

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every fault, met by a PATCH: what the client gets, and whether the secret is
// set all the same.
func TestFaults(t *testing.T) {
	for kind, c := range map[FaultKind]struct {
		committed bool
		status    int // 0: no answer
		check     func(*testing.T, result)
	}{
		RateLimited: {false, 429, func(t *testing.T, r result) {
			assert.JSONEq(t, `{"statusCode":429,"error":"Too Many Requests","message":"Global limit has been reached","errorCode":"too_many_requests"}`, string(r.body))
			assert.Equal(t, "7", r.header.Get("Retry-After"))
			assert.Equal(t, "0", r.header.Get("X-RateLimit-Remaining"))
		}},
		ServerError: {false, 503, func(t *testing.T, r result) { assert.Equal(t, "Service Unavailable", r.object["error"]) }},
		HTMLFromProxy: {false, 503, func(t *testing.T, r result) {
			assert.Equal(t, "text/html; charset=utf-8", r.header.Get("Content-Type"))
			assert.Contains(t, string(r.body), "<html>")
			assert.Empty(t, r.header.Get("X-RateLimit-Limit"))
		}},
		UpgradeRequired: {false, 403, func(t *testing.T, r result) {
			assert.JSONEq(t, `{"statusCode":403,"error":"Forbidden","message":"Please upgrade your subscription to use this feature","errorCode":"insufficient_scope"}`, string(r.body))
		}},
		Echo:                   {false, 503, func(t *testing.T, r result) { assert.Contains(t, r.message(), `{"client_secret":"new"}`) }},
		Headers:                {false, 503, func(t *testing.T, r result) { assert.Equal(t, "NaN", r.header.Get("X-RateLimit-Reset")) }},
		TimeoutBeforeCommit:    {false, 0, isDeadline},
		ResetBeforeCommit:      {false, 0, isReset},
		ServerErrorAfterCommit: {true, 503, nil},
		TimeoutAfterCommit:     {true, 0, isDeadline},
		ResetAfterCommit:       {true, 0, isReset},
		Truncated: {true, 200, func(t *testing.T, r result) {
			require.ErrorIs(t, r.err, io.ErrUnexpectedEOF)
			assert.NotEmpty(t, r.body)
			assert.False(t, json.Valid(r.body))
		}},
		Huge: {true, 200, func(t *testing.T, r result) {
			assert.Greater(t, len(r.body), 4<<20)
			assert.Equal(t, "new", r.object["client_secret"])
		}},
		NotJSON:     {true, 200, func(t *testing.T, r result) { assert.NotEmpty(t, r.body); assert.False(t, json.Valid(r.body)) }},
		EmptyAnswer: {true, 200, func(t *testing.T, r result) { assert.Empty(t, r.body) }},
		SecretMissingInAnswer: {true, 200, func(t *testing.T, r result) {
			assert.Len(t, r.object, 11)
			assert.NotContains(t, r.object, "client_secret")
		}},
		Slow: {true, 200, func(t *testing.T, r result) { assert.Equal(t, "new", r.object["client_secret"]) }},
	} {
		t.Run(string(kind), func(t *testing.T) {
			f := start(t, allScopes...)
			app := f.AddApplication(Application{Shape: Full})
			fault := Fault{Endpoint: UpdateApplication, Kind: kind, Times: 1, Delay: 20 * time.Millisecond, RetryAfter: 6500 * time.Millisecond, Headers: map[string]string{"X-RateLimit-Reset": "NaN"}}
			if c.status/100 == 5 {
				fault.Status = c.status
			}
			f.Inject(fault)

			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if kind == TimeoutBeforeCommit || kind == TimeoutAfterCommit {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
			}
			began := time.Now()
			got := f.apiAs(ctx, f.token, http.MethodPatch, "clients/"+app.ClientID, `{"client_secret":"new"}`)
			assert.True(t, kind != Slow || time.Since(began) >= fault.Delay)
			assert.Equal(t, c.status, got.status)
			if c.check != nil {
				c.check(t, got)
			}

			want := []string{app.ClientSecret}
			if c.committed {
				want = append(want, "new")
			}
			assert.Equal(t, want, f.values(app.ClientID))
			assert.Equal(t, 1, f.Stats().Requests[fmt.Sprint("PATCH /api/v2/clients/{id} ", c.status)])
			assert.Equal(t, http.StatusOK, f.patch(app.ClientID, "next").status, "the fault was for one request")
		})
	}
}

func isDeadline(t *testing.T, r result) { assert.ErrorIs(t, r.err, context.DeadlineExceeded) }

func isReset(t *testing.T, r result) {
	assert.True(t, errors.Is(r.err, syscall.ECONNRESET) || errors.Is(r.err, io.EOF), "%v", r.err)
	assert.NotErrorIs(t, r.err, context.DeadlineExceeded)
}

func TestFaultsWithTheirDefaults(t *testing.T) {
	f := start(t, "read:clients")
	app := f.AddApplication(Application{})
	for kind, status := range map[FaultKind]int{RateLimited: 429, ServerError: 500, HTMLFromProxy: 502} {
		off := f.Inject(Fault{Kind: kind})
		got := f.api(http.MethodGet, "clients/"+app.ClientID, "")
		assert.Equal(t, status, got.status, kind)
		assert.Empty(t, got.header.Get("Retry-After"), kind)
		got = f.logIn(app.ClientID, app.ClientSecret, "", nil)
		assert.Equal(t, status, got.status, kind)
		off()
		off()
		assert.Equal(t, http.StatusOK, f.api(http.MethodGet, "clients/"+app.ClientID, "").status, kind)
	}
	f.Inject(Fault{Kind: HTMLFromProxy, Status: http.StatusOK})
	assert.Equal(t, http.StatusOK, f.patch(app.ClientID, "new").status)
	assert.Equal(t, []string{app.ClientSecret}, f.values(app.ClientID), "a proxy that says 200 has changed nothing")
}

func TestFaultsAreForWhatTheySay(t *testing.T) {
	f := start(t, allScopes...)
	app, other := f.AddApplication(Application{}), f.AddApplication(Application{})
	request := map[Endpoint]func(Application) result{
		Token:             func(a Application) result { return f.logIn(a.ClientID, f.Secret(a.ClientID), "", nil) },
		ReadApplication:   func(a Application) result { return f.api(http.MethodGet, "clients/"+a.ClientID, "") },
		UpdateApplication: func(a Application) result { return f.patch(a.ClientID, "new") },
		RotateSecret: func(a Application) result {
			return f.api(http.MethodPost, "clients/"+a.ClientID+"/rotate-secret", "")
		},
	}
	for _, named := range append(slices.Collect(maps.Keys(request)), Any, AnyManagement, CreateApplication) {
		f.Inject(Fault{Endpoint: named, ClientID: app.ClientID, Kind: ServerError})
		for endpoint, send := range request {
			meets := named == endpoint || named == Any || named == AnyManagement && endpoint != Token
			assert.Equal(t, meets, send(app).status == 500, "%s with a fault for %q", endpoint, named)
			assert.Equal(t, http.StatusOK, send(other).status, "of another application")
		}
		f.ClearFaults()
	}
}

// The whole request comes back, in a form that names no secret as it is.
func TestEchoEncodings(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	sent := `{"client_secret":"new"}`
	for encoding, decode := range map[Encoding]func(string) string{
		"":     func(s string) string { return s },
		Plain:  func(s string) string { return s },
		Base64: func(s string) string { b, _ := base64.StdEncoding.DecodeString(s); return string(b) },
		Hex:    func(s string) string { b, _ := hex.DecodeString(s); return string(b) },
		JSONEscaped: func(s string) string {
			assert.NoError(t, json.Unmarshal([]byte(`"`+s+`"`), &s))
			return s
		},
		URLEscaped:   func(s string) string { s, _ = url.PathUnescape(s); return s },
		HTMLEntities: html.UnescapeString,
		Reversed:     func(s string) string { b := []byte(s); slices.Reverse(b); return string(b) },
		CutOff:       func(s string) string { return s + sent[len(s):] },
	} {
		off := f.Inject(Fault{Endpoint: UpdateApplication, Kind: Echo, Encoding: encoding})
		got := f.patch(app.ClientID, "new")
		off()
		assert.Equal(t, http.StatusBadRequest, got.status)
		body, authorization, found := strings.Cut(strings.TrimPrefix(got.message(), "Cannot process "), " of ")
		require.True(t, found, "%s: %s", encoding, got.body)
		assert.Equal(t, sent, decode(body), encoding)
		if encoding != CutOff {
			assert.Equal(t, "Bearer "+f.token, decode(authorization), encoding)
		}
		if encoding != "" && encoding != Plain {
			assert.NotContains(t, string(got.body), f.token, encoding)
			assert.NotContains(t, body, "new", encoding)
		}
	}
	f.Inject(Fault{Endpoint: Token, Kind: Echo, Encoding: Reversed})
	got := f.logIn(app.ClientID, "wrong", "", nil)
	assert.Contains(t, got.object["error_description"], "gnorw=terces_tneilc")
}

func TestHeadersThatMakeNoSense(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	for i, value := range []string{"7258118400", "-1", "NaN", "1e99", ""} {
		off := f.Inject(Fault{Kind: Headers, Headers: map[string]string{"X-RateLimit-Reset": value, "X-RateLimit-Remaining": "0"}})
		got := f.patch(app.ClientID, "new")
		assert.Equal(t, http.StatusOK, got.status, "the right answer")
		assert.Equal(t, []string{value}, got.header.Values("X-RateLimit-Reset"))
		assert.Equal(t, "1000", got.header.Get("X-RateLimit-Limit"), "the others stay")
		assert.Len(t, f.values(app.ClientID), i+2)
		assert.Equal(t, http.StatusNotFound, f.patch("nobody", "new").status, "also of a refusal")
		off()
	}

	f.Inject(Fault{Kind: Headers, Status: 429, Times: 1, Headers: map[string]string{"Retry-After": "86400"}})
	got := f.patch(app.ClientID, "limited")
	assert.Equal(t, http.StatusTooManyRequests, got.status)
	assert.Equal(t, "86400", got.header.Get("Retry-After"))

	f.Inject(Fault{Kind: Headers, Times: 1, Headers: map[string]string{"X-Padding": strings.Repeat("x", 4<<20)}})
	assert.Len(t, f.patch(app.ClientID, "huge").header.Get("X-Padding"), 4<<20)
	assert.Equal(t, "huge", f.Secret(app.ClientID))
}

func TestARedirectSendsTheClientElsewhere(t *testing.T) {
	f := start(t, allScopes...)
	app, other := f.AddApplication(Application{}), f.AddApplication(Application{})
	location := map[string]string{"Location": "https://" + f.Domain() + "/api/v2/clients/" + other.ClientID}
	f.Inject(Fault{ClientID: app.ClientID, Kind: Headers, Status: http.StatusTemporaryRedirect, Headers: location})
	assert.Equal(t, http.StatusOK, f.patch(app.ClientID, "astray").status, "this client follows")
	assert.Equal(t, app.ClientSecret, f.Secret(app.ClientID))
	assert.Equal(t, "astray", f.Secret(other.ClientID), "body and method go along")
}

// A request that is refused anyway does not use up a fault of the answer.
func TestFaultsAfterTheCommitWaitForOne(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	f.Inject(Fault{Kind: ServerErrorAfterCommit, Times: 1})
	f.ExpireTokens()
	assert.Equal(t, http.StatusUnauthorized, f.patch(app.ClientID, "new").status)
	f.ClearFaults()
	f.token = f.tokenFor(allScopes...)
	f.Inject(Fault{Endpoint: UpdateApplication, Kind: ServerErrorAfterCommit, Times: 1})
	assert.Equal(t, http.StatusNotFound, f.patch("nobody", "new").status)
	assert.Equal(t, http.StatusInternalServerError, f.patch(app.ClientID, "new").status)
	assert.Equal(t, "new", f.Secret(app.ClientID))
}

func TestDownCutsAndComesBack(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	f.Inject(Fault{Endpoint: ReadApplication, Kind: TimeoutBeforeCommit, Times: 1})
	held := make(chan result, 1)
	go func() { held <- f.apiAs(context.Background(), f.token, http.MethodGet, "clients/"+app.ClientID, "") }()
	require.Eventually(t, func() bool { return f.Stats().Requests["GET /api/v2/clients/{id} 0"] == 1 }, 10*time.Second, time.Millisecond)

	f.SetDown(true)
	assert.Error(t, (<-held).err, "an existing connection is cut")
	for range 3 {
		require.Error(t, f.patch(app.ClientID, "new").err)
	}
	f.SetDown(false)
	assert.Equal(t, []string{app.ClientSecret}, f.values(app.ClientID))
	assert.Equal(t, http.StatusOK, f.patch(app.ClientID, "new").status)
}

func TestCloseLetsGoWhatIsHeld(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	f.Inject(Fault{Endpoint: UpdateApplication, Kind: TimeoutAfterCommit})
	f.Inject(Fault{Endpoint: ReadApplication, Kind: TimeoutBeforeCommit})
	ended := make(chan error, 2)
	for _, method := range []string{http.MethodPatch, http.MethodGet} {
		go func() {
			ended <- f.apiAs(context.Background(), f.token, method, "clients/"+app.ClientID, `{"client_secret":"new"}`).err
		}()
	}
	require.Eventually(t, func() bool {
		return f.Stats().Requests["GET /api/v2/clients/{id} 0"]+f.Stats().Requests["PATCH /api/v2/clients/{id} 0"] == 2
	}, 10*time.Second, time.Millisecond)
	f.Close()
	require.Error(t, <-ended)
	require.Error(t, <-ended)
	f.Close()
}

func TestStartsOnLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "nonsense"} {
		_, err := Start(Options{Addr: addr})
		assert.Error(t, err, addr)
	}
}
