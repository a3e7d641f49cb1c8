package auth0

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// encodings are how an upstream may quote what it was sent.
var encodings = map[string]func(string) string{
	"plain":      func(s string) string { return s },
	"JSON":       func(s string) string { b, _ := json.Marshal(s); return string(b) },
	"quoted":     strconv.Quote,
	"base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 URL": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"hex":        func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX":        func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"query":      url.QueryEscape,
	"path":       url.PathEscape,
	"HTML":       html.EscapeString,
	"HTML, all": func(s string) string {
		var b strings.Builder
		for _, c := range s {
			fmt.Fprintf(&b, "&#%d;", c)
		}
		return b.String()
	},
	"truncated": func(s string) string { return s[:min(len(s), 40)] + "..." },
	"reversed": func(s string) string {
		b := []byte(s)
		slices.Reverse(b)
		return string(b)
	},
}

const run = 12 // characters of a secret that must not be seen in a row

// leaks gives what a text shows of a secret; "": nothing.
func leaks(text, secret string) string {
	for name, encode := range encodings {
		for skip := range 3 { // in base64 what is before moves it
			encoded := encode(secret[skip:])
			for i := 0; i+run <= len(encoded); i++ {
				if strings.Contains(text, encoded[i:i+run]) {
					return name + ": " + encoded[i:i+run]
				}
			}
		}
	}
	return ""
}

// sentSecrets are the secrets in a request.
func sentSecrets(r *http.Request, body string) []string {
	var found []string
	if authorization := r.Header.Get("Authorization"); authorization != "" {
		found = append(found, authorization)
	}
	if _, password, ok := r.BasicAuth(); ok {
		password, _ = url.QueryUnescape(password)
		found = append(found, password)
	}
	if form, err := url.ParseQuery(body); err == nil && form.Get("client_id") != "" {
		for _, name := range []string{"client_secret", "client_assertion"} {
			if form.Has(name) {
				found = append(found, form.Get(name))
			}
		}
	}
	var object struct {
		Secret string `json:"client_secret"`
	}
	if json.Unmarshal([]byte(body), &object) == nil && object.Secret != "" {
		found = append(found, object.Secret)
	}
	return found
}

// oneLine makes a text fit for a header.
func oneLine(text string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(text) }

// whole is an answer with a body.
func whole(head, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

func asJSON(value any) string { b, _ := json.Marshal(value); return string(b) }

// echoes are the places of an answer in which an upstream may put what it was sent.
func echoes() map[string]func(text string) string {
	all := map[string]func(string) string{
		"HTML": func(s string) string {
			return whole("400 Bad Request\r\nContent-Type: text/html", "<html>"+s+"</html>")
		},
		"body of a 200": func(s string) string { return whole("200 OK", s) },
		"object of a 200": func(s string) string {
			return whole("200 OK", asJSON(map[string]string{"client_id": s, "client_secret": s, "name": s}))
		},
		"list of a 200": func(s string) string { return whole("200 OK", asJSON([]map[string]string{{"id": s, "kid": s}})) },
		"error of a 200": func(s string) string {
			return whole("200 OK", asJSON(map[string]string{"error": s, "error_description": s}))
		},
		"cut off":  func(s string) string { return "HTTP/1.1 400 x\r\nContent-Length: 99999999\r\n\r\n" + s },
		"bad gzip": func(s string) string { return whole("400 x\r\nContent-Encoding: gzip", s) },
		"bad chunk": func(s string) string {
			return "HTTP/1.1 400 x\r\nTransfer-Encoding: chunked\r\n\r\n" + oneLine(s) + "\r\n"
		},
		"status text":      func(s string) string { return whole("400 "+oneLine(s), "") },
		"malformed status": func(s string) string { return whole(oneLine(s), "") },
		"malformed line":   func(s string) string { return oneLine(s) + "\r\n\r\n" },
		"malformed protocol": func(s string) string {
			return "HTTP/" + strings.ReplaceAll(oneLine(s), " ", "") + " 400 x\r\n\r\n"
		},
		"malformed header":   func(s string) string { return "HTTP/1.1 400 x\r\n" + oneLine(s) + "\r\n\r\n" },
		"header name":        func(s string) string { return whole("400 x\r\n"+oneLine(s)+": x", "") },
		"redirect":           func(s string) string { return whole("307 x\r\nLocation: https://elsewhere.invalid/?"+oneLine(s), "") },
		"malformed redirect": func(s string) string { return whole("307 x\r\nLocation: http://["+oneLine(s), "") },
		"early hint": func(s string) string {
			return "HTTP/1.1 103 " + oneLine(s) + "\r\nLink: " + oneLine(s) + "\r\n\r\n" + whole("500 x", "")
		},
	}
	for _, name := range []string{
		"X-Echo", "Www-Authenticate", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Reset", "Date", "Content-Type", "Content-Encoding",
		"Content-Length", "Transfer-Encoding", "Set-Cookie", "Trailer",
	} {
		all[name] = func(s string) string { return "HTTP/1.1 400 x\r\n" + name + ": " + oneLine(s) + "\r\n\r\n" }
	}
	for _, status := range []int{400, 401, 403, 404, 408, 409, 429, 500, 503} {
		all[fmt.Sprint("API error ", status)] = func(s string) string {
			return whole(fmt.Sprint(status, " x"), asJSON(map[string]any{"statusCode": status, "error": s, "message": s, "errorCode": s}))
		}
		all[fmt.Sprint("OAuth error ", status)] = func(s string) string {
			return whole(fmt.Sprint(status, " x"), asJSON(map[string]any{"error": s, "error_description": s, "error_uri": s}))
		}
	}
	all["fields"] = func(s string) string {
		return whole("403 x", asJSON(map[string]any{"statusCode": 403, "error": "x", "message": "You cannot read the following fields: client_secret " + s}))
	}
	return all
}

// TestNothingThatIsEchoedIsShown: an upstream that quotes all of the request, in every
// encoding, wherever it can: no error and no log shows any of its secrets.
func TestNothingThatIsEchoedIsShown(t *testing.T) {
	const (
		next   = `Kx8vN2mQ"7RtY<4wZp&Lw9s\D3fG6hJ1'kL5z+/=%20é` // a policy's
		bearer = "AbCdEfGhIjKl.0123456789-MnOpQrStUvWx~yz"
	)
	key := testKeys()[0]
	known := texts(t)
	calls := map[string]func(context.Context, *Client) error{
		"get":    func(ctx context.Context, c *Client) error { _, err := c.Application(ctx, appID); return err },
		"list":   func(ctx context.Context, c *Client) error { _, err := c.Applications(ctx, 0, 2); return err },
		"set":    func(ctx context.Context, c *Client) error { return c.SetSecret(ctx, appID, next) },
		"rotate": func(ctx context.Context, c *Client) error { _, err := c.RotateSecret(ctx, appID); return err },
		"enable": func(ctx context.Context, c *Client) error { return c.EnableKey(ctx, appID, key, "RS256") },
		"token":  func(ctx context.Context, c *Client) error { _, err := c.NewToken(ctx, nil); return err },
		"key":    func(ctx context.Context, c *Client) error { _, err := c.NewToken(ctx, nil); return err },
		"assertion": func(ctx context.Context, c *Client) error {
			_, err := c.Token(ctx, TokenRequest{ClientID: appID, Assertion: bearer})
			return err
		},
		"try": func(ctx context.Context, c *Client) error {
			_, err := c.AcceptsKey(ctx, appID, key, "RS256")
			return err
		},
		"keys":   func(ctx context.Context, c *Client) error { _, err := c.EnabledKeys(ctx, appID); return err },
		"accept": func(ctx context.Context, c *Client) error { _, err := c.Accepts(ctx, appID, next); return err },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var secrets []string
			var put func(string) string
			echo := func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				found := sentSecrets(r, string(body))
				mu.Lock()
				defer mu.Unlock()
				secrets = append(secrets, found...)
				var said []string
				for _, text := range append(found, r.Header.Get("Authorization")+" "+string(body)) {
					for _, encode := range encodings {
						said = append(said, encode(text))
					}
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if !assert.NoError(t, err) {
					return
				}
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, put(strings.Join(said, " ")))
			}
			tn := newTenant(t, echo)
			tn.onToken(replies(200, `{"access_token":"`+bearer+`","expires_in":86400}`))
			cfg := tn.config()
			switch name {
			case "key":
				cfg.Secrets, cfg.SigningAlgorithm = []string{key}, "RS256"
				fallthrough
			case "token", "accept", "assertion":
				tn.onToken(echo)
			}
			failed := 0
			for place, putIn := range echoes() {
				mu.Lock()
				secrets, put = nil, putIn
				mu.Unlock()
				var out bytes.Buffer
				cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace})
				cfg.Limits = nil
				err := call(t.Context(), newClient(t, cfg))
				mu.Lock()
				sent := secrets
				mu.Unlock()
				require.NotEmpty(t, sent, place)
				shown := out.String()
				if err != nil {
					failed++
					isOurs(t, known, asError(t, err))
					for each := err; each != nil; each = errors.Unwrap(each) {
						shown += each.Error()
					}
					for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%s", "%d"} {
						shown += fmt.Sprintf(verb, err) + fmt.Sprintf(verb, fmt.Errorf("in: %w", err)) + fmt.Sprintf(verb, struct{ E error }{err})
					}
				}
				for _, secret := range sent {
					assert.Empty(t, leaks(shown, secret), "%s: %v", place, err)
				}
				if name != "accept" && name != "try" {
					assert.NotEmpty(t, out.String(), place)
				}
			}
			assert.Greater(t, failed, 40)
		})
	}
}

// TestLeaksAreFound: the test above would see them.
func TestLeaksAreFound(t *testing.T) {
	const secret = `Kx8vN2mQ"7RtY<4wZp&Lw9sD3fG6hJ1kL5z`
	for name, encode := range encodings {
		assert.NotEmpty(t, leaks("x "+encode("ab "+secret)+" y", secret), name)
	}
	assert.Empty(t, leaks("Kx8vN2mQ and Lw9sD3fG6h", secret))
}
