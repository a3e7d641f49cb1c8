package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"

	"vault-plugin-secrets-auth0/internal/assertion"
)

// parameters are the body of a request that carries client authentication: a form, or a
// JSON object, which Auth0 takes, too. All but the secret leaves as it came, to the byte.
type parameters struct {
	raw    []byte
	isJSON bool
	values map[string]string // those that are text
	nested []string          // the names and texts in the other values of JSON
	secret span              // the encoded value of client_secret
	others []span            // runs of parameters that do not authenticate
	apart  bool              // the next one begins another run
}

// span is a part of the raw body.
type span struct{ begin, end int }

// errAmbiguous is the error of a body that another server may read in another way.
var errAmbiguous = errors.New("the body is no form and no JSON object, or it can be read in more than one way")

// parse reads a body. No parameter may come twice (RFC 6749, 3.2), so that Auth0 cannot
// see another application or secret than the proxy.
func parse(raw []byte, isJSON bool) (*parameters, error) {
	p := &parameters{raw: raw, isJSON: isJSON, values: map[string]string{}}
	if isJSON {
		return p, p.parseJSON()
	}
	return p, p.parseForm()
}

func (p *parameters) parseForm() error {
	if bytes.ContainsAny(p.raw, ";\x00") { // some servers separate by ;
		return errAmbiguous
	}
	seen := map[string]bool{}
	for at := 0; at <= len(p.raw); {
		end := len(p.raw)
		if i := bytes.IndexByte(p.raw[at:], '&'); i >= 0 {
			end = at + i
		}
		rawName, rawValue, _ := strings.Cut(string(p.raw[at:end]), "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return errAmbiguous
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return errAmbiguous
		}
		p.note(name, span{at, end})
		if at < end {
			if seen[name] || disguised(name) {
				return errAmbiguous
			}
			seen[name] = true
			p.values[name] = value
			if name == "client_secret" {
				p.secret = span{min(at+len(rawName)+1, end), end}
			}
		}
		at = end + 1
	}
	return nil
}

func (p *parameters) parseJSON() error {
	d := json.NewDecoder(bytes.NewReader(p.raw))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return errAmbiguous
	}
	seen := map[string]bool{}
	for d.More() {
		begin := int(d.InputOffset())
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok || seen[name] || disguised(name) {
			return errAmbiguous
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return errAmbiguous
		}
		var text string
		isText := json.Unmarshal(value, &text) == nil && value[0] == '"'
		if !isText && isAuthentication(name) {
			return errAmbiguous
		}
		if isText {
			p.values[name] = text
		} else {
			inside, err := texts(value)
			if err != nil {
				return errAmbiguous
			}
			p.nested = append(p.nested, inside...)
		}
		end := int(d.InputOffset())
		begin += bytes.IndexByte(p.raw[begin:], '"') // after space and a comma
		p.note(name, span{begin, end})
		if name == "client_secret" {
			p.secret = span{end - len(value), end}
		}
	}
	if _, err := d.Token(); err != nil {
		return errAmbiguous
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errAmbiguous
	}
	return nil
}

// note notes where the next parameter is.
func (p *parameters) note(name string, at span) {
	switch {
	case name != "client_id" && isAuthentication(name):
		p.apart = true
	case p.apart || len(p.others) == 0:
		p.others, p.apart = append(p.others, at), false
	default:
		p.others[len(p.others)-1].end = at.end
	}
}

// texts gives all names and texts in JSON, also of names that come twice.
func texts(value json.RawMessage) (all []string, err error) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber() // some are too large for a float
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if text, ok := token.(string); ok {
			all = append(all, text)
		}
	}
}

// isAuthentication says whether a parameter says who sends the request.
func isAuthentication(name string) bool {
	switch name {
	case "client_id", "client_secret", "client_assertion", "client_assertion_type":
		return true
	}
	return false
}

// disguised says whether another server may take a parameter for one that authenticates:
// client_secret[] and [client_secret] are one to some.
func disguised(name string) bool {
	base := strings.TrimLeft(name, "[ ")
	if end := strings.IndexAny(base, "[]\x00"); end >= 0 {
		base = base[:end]
	}
	base = strings.ToLower(strings.TrimSpace(base))
	return base != name && isAuthentication(base)
}

// with is the body with another secret.
func (p *parameters) with(secret string) []byte {
	encoded := []byte(url.QueryEscape(secret))
	if p.isJSON {
		encoded, _ = json.Marshal(secret) // text has JSON
	}
	body := make([]byte, 0, len(p.raw)+len(encoded))
	body = append(body, p.raw[:p.secret.begin]...)
	body = append(body, encoded...)
	return append(body, p.raw[p.secret.end:]...)
}

// asserting is the body with a client assertion of an application in place of any other
// authentication. All else is there as it came.
func (p *parameters) asserting(clientID, text string) []byte {
	parts := make([]string, 0, len(p.others)+3)
	for _, each := range p.others {
		parts = append(parts, string(p.raw[each.begin:each.end]))
	}
	added := [][2]string{{"client_assertion", text}, {"client_assertion_type", assertion.Type}}
	if _, ok := p.values["client_id"]; !ok {
		added = append(added, [2]string{"client_id", clientID})
	}
	if !p.isJSON {
		if len(p.raw) == 0 {
			parts = nil
		}
		for _, pair := range added {
			parts = append(parts, pair[0]+"="+url.QueryEscape(pair[1]))
		}
		return []byte(strings.Join(parts, "&"))
	}
	for _, pair := range added {
		value, _ := json.Marshal(pair[1]) // text has JSON
		parts = append(parts, `"`+pair[0]+`":`+string(value))
	}
	return []byte("{" + strings.Join(parts, ",") + "}")
}

// has says whether one of the secrets is anywhere in the body, but for the value of
// client_secret if that is to be replaced.
func (p *parameters) has(s secrets, replaced bool) bool {
	rest := string(p.raw)
	if replaced {
		rest = rest[:p.secret.begin] + "\x00" + rest[p.secret.end:]
	}
	if s.encodedIn(rest) || slices.ContainsFunc(p.nested, s.in) {
		return true
	}
	for name, value := range p.values {
		if s.in(name) || s.in(value) && (!replaced || name != "client_secret") {
			return true
		}
	}
	return false
}
