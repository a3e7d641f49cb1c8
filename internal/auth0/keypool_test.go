package auth0

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keyPool is an application's public keys, in a tenant that says nothing of room.
type keyPool struct {
	mu         sync.Mutex
	registered []credential
	enabled    []string
	inUse      string // ID of a key that another slot uses: it cannot be deleted
	made       int

	fails  string // what fails now, such as "PATCH"
	commit bool   // but takes effect
	status int    // is answered so; 0: the connection is lost
	writes []string
}

func (p *keyPool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := strings.TrimPrefix(r.URL.Path, "/api/v2/clients/"+appID)
	what := r.Method
	if what == http.MethodGet {
		what += rest
	} else {
		p.writes = append(p.writes, what)
	}
	fails := p.fails == what
	if fails && !p.commit {
		p.fail(w, r)
		return
	}
	status, body := p.serve(r, strings.TrimPrefix(rest, "/credentials/"))
	if fails {
		p.fail(w, r)
		return
	}
	reply(w, status, body)
}

func (p *keyPool) fail(w http.ResponseWriter, r *http.Request) {
	if p.status == 0 {
		hangUp(w, r)
	}
	reply(w, p.status, refusal(p.status, "", "no"))
}

func (p *keyPool) serve(r *http.Request, id string) (status int, body string) {
	body = "{}"
	var sent struct {
		KID     string `json:"kid"`
		Methods struct {
			Key struct {
				Credentials []credential `json:"credentials"`
			} `json:"private_key_jwt"`
		} `json:"client_authentication_methods"`
	}
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		_ = json.NewDecoder(r.Body).Decode(&sent)
	}
	asJSON := func(value any) string { b, _ := json.Marshal(value); return string(b) }
	switch {
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/credentials"):
		return 200, asJSON(append([]credential{}, p.registered...))
	case r.Method == http.MethodGet:
		uses := make([]map[string]string, 0, len(p.enabled))
		for _, each := range p.enabled {
			uses = append(uses, map[string]string{"id": each})
		}
		return 200, asJSON(map[string]any{"client_id": appID, "client_authentication_methods": map[string]any{
			"private_key_jwt": map[string]any{"credentials": uses},
		}})
	case r.Method == http.MethodPost:
		p.made++
		made := credential{ID: fmt.Sprintf("cred_%d", p.made), KID: sent.KID}
		p.registered = append(p.registered, made)
		return 201, asJSON(made)
	case r.Method == http.MethodPatch:
		p.enabled = nil
		for _, each := range sent.Methods.Key.Credentials {
			p.enabled = append(p.enabled, each.ID)
		}
		return 200, body
	case p.inUse == id:
		return 409, refusal(409, "credential_in_use", "in use")
	case !slices.ContainsFunc(p.registered, func(c credential) bool { return c.ID == id }):
		return 404, refusal(404, "inexistent_credential", "none")
	}
	p.registered = slices.DeleteFunc(p.registered, func(c credential) bool { return c.ID == id })
	return 204, ""
}

// kids are those that are registered, and those that are enabled.
func (p *keyPool) kids() (registered, enabled []string) {
	for _, key := range p.registered {
		registered = append(registered, key.KID)
		if slices.Contains(p.enabled, key.ID) {
			enabled = append(enabled, key.KID)
		}
	}
	return registered, enabled
}

// foreign is a key that is not ours: cred_<name> (kid <name>).
func foreign(name string) credential { return credential{ID: "cred_" + name, KID: name} }

// with adds keys, and enables them.
func (p *keyPool) with(enable bool, keys ...credential) {
	p.registered = append(p.registered, keys...)
	for _, key := range keys {
		if enable {
			p.enabled = append(p.enabled, key.ID)
		}
	}
}

func (p *keyPool) client(t *testing.T) *Client {
	t.Helper()
	tn := newTenant(t, p.ServeHTTP)
	tn.grants(KeyScopes...)
	return tn.client(t)
}

func TestKeysWithoutRoom(t *testing.T) {
	key := testKeys()[0]
	kid := kidOf(t, key)
	const slot, pool = "are in use for private_key_jwt, which has room for no more", "are registered, and there is room for no more"
	tests := map[string]struct {
		enabled, besides []credential
		names            string // of keys; "": there is room
		why              string
	}{
		"one":                {[]credential{foreign("a")}, nil, "", ""},
		"one, others beside": {[]credential{foreign("a")}, []credential{foreign("b"), foreign("c")}, "", ""},
		"slot full":          {[]credential{foreign("a"), foreign("b")}, []credential{foreign("c")}, "cred_a (kid a); cred_b (kid b)", slot},
		"slot full, ours is registered": {
			[]credential{foreign("a"), foreign("b")}, []credential{{ID: "cred_ours", KID: kid}}, "cred_a (kid a); cred_b (kid b)", slot,
		},
		"large slot": {[]credential{foreign("a"), foreign("b"), foreign("c")}, nil, "", ""},
		"large slot full": {
			[]credential{foreign("a"), foreign("b"), foreign("c"), foreign("d")}, nil,
			"cred_a (kid a); cred_b (kid b); cred_c (kid c); cred_d (kid d)", slot,
		},
		"pool full": {
			[]credential{foreign("a")}, []credential{foreign("b"), foreign("c"), foreign("d")},
			"cred_a (kid a); cred_b (kid b); cred_c (kid c); cred_d (kid d)", pool,
		},
		"pool full, ours is registered": {[]credential{foreign("a")}, []credential{foreign("b"), foreign("c"), {ID: "cred_ours", KID: kid}}, "", ""},
		"no proper names": {
			[]credential{{ID: "cred_a", KID: "a\x1b[31m"}, {ID: "<b>", KID: "b"}}, nil,
			"(one without a proper name); (one without a proper name)", slot,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &keyPool{}
			p.with(true, tt.enabled...)
			p.with(false, tt.besides...)
			registered, enabled := p.kids()
			err := p.client(t).EnableKey(t.Context(), appID, key, "RS256")
			nowRegistered, nowEnabled := p.kids()
			if tt.names == "" {
				require.NoError(t, err)
				assert.Subset(t, nowRegistered, registered, "foreign keys stay")
				assert.ElementsMatch(t, append(enabled, kid), nowEnabled)
				return
			}
			require.ErrorIs(t, err, ErrNoRoom)
			assert.Equal(t, Refused, ClassOf(err))
			require.EqualError(t, err, "enable key: not sent: the application's keys "+tt.names+" "+tt.why+
				". Remove those that nobody uses: in Auth0's dashboard, the application's Credentials")
			assert.Empty(t, p.writes)
			assert.Equal(t, registered, nowRegistered)
			assert.Equal(t, enabled, nowEnabled)
		})
	}
}

// TestTheKeysThatFillTheSlotAreSaidToBeTheEnginesOwn where they are.
func TestTheKeysThatFillTheSlotAreSaidToBeTheEnginesOwn(t *testing.T) {
	own := testKeys()[0]
	p := &keyPool{}
	p.with(true, credential{ID: "cred_own", KID: kidOf(t, own)}, foreign("a"))
	tn := newTenant(t, p.ServeHTTP)
	tn.grants(KeyScopes...)
	cfg := tn.config()
	cfg.Secrets, cfg.SigningAlgorithm = []string{own}, "RS256"
	err := newClient(t, cfg).EnableKey(t.Context(), appID, testKeys()[1], "RS256")
	require.ErrorContains(t, err, "cred_own (kid "+kidOf(t, own)+"), the engine's own; cred_a (kid a) are in use")
}

func TestRetireKey(t *testing.T) {
	key := testKeys()[0]
	ours := credential{ID: "cred_ours", KID: kidOf(t, key)}
	tests := map[string]struct {
		enabled, besides []credential
		inUse            string
		found            bool
		text             string // of the error
		writes           []string
		left             []string // kids that are registered then
	}{
		"beside another":      {[]credential{foreign("a"), ours}, nil, "", true, "", []string{"PATCH", "DELETE"}, []string{"a"}},
		"foreign keys stay":   {[]credential{foreign("a"), ours, foreign("b")}, []credential{foreign("c")}, "", true, "", []string{"PATCH", "DELETE"}, []string{"a", "b", "c"}},
		"not enabled":         {[]credential{foreign("a")}, []credential{ours}, "", true, "", []string{"DELETE"}, []string{"a"}},
		"used for more":       {[]credential{foreign("a"), ours}, nil, ours.ID, true, "", []string{"PATCH", "DELETE"}, []string{"a", ours.KID}},
		"not there":           {[]credential{foreign("a")}, nil, "", false, "", nil, []string{"a"}},
		"the only one":        {[]credential{ours}, []credential{foreign("a")}, "", true, "retire key: not sent: it is the only key that the application uses", nil, []string{ours.KID, "a"}},
		"nothing is enabled":  {nil, []credential{ours}, "", true, "retire key: no clear answer from Auth0 (200): Auth0 does not show which keys the application uses", nil, []string{ours.KID}},
		"by hand with its ID": {[]credential{foreign("a"), {ID: ours.ID, KID: "by-hand"}}, nil, "", false, "", nil, []string{"a", "by-hand"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &keyPool{inUse: tt.inUse}
			p.with(true, tt.enabled...)
			p.with(false, tt.besides...)
			found, err := p.client(t).RetireKey(t.Context(), appID, key)
			assert.Equal(t, tt.found, found)
			if tt.text == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.text)
			}
			assert.Equal(t, tt.writes, p.writes)
			registered, enabled := p.kids()
			assert.Equal(t, tt.left, registered)
			if tt.found && tt.text == "" {
				assert.NotContains(t, enabled, ours.KID)
			}
			for _, each := range tt.enabled {
				if each.ID != ours.ID {
					assert.Contains(t, p.enabled, each.ID, "foreign keys stay enabled")
				}
			}
		})
	}
}

// TestKeysAfterALostAnswer at each step, be it with or without effect: to do it again
// brings the same as if nothing had been lost.
func TestKeysAfterALostAnswer(t *testing.T) {
	key := testKeys()[0]
	kid := kidOf(t, key)
	for _, fails := range []string{"GET/credentials", "GET", "POST", "PATCH", "DELETE"} {
		for _, commit := range []bool{false, true} {
			for _, status := range []int{0, 503} {
				t.Run(fmt.Sprintf("%s %v %d", fails, commit, status), func(t *testing.T) {
					p := &keyPool{commit: commit, status: status}
					p.with(true, foreign("a"))
					p.with(false, foreign("b"))
					c := p.client(t)
					again := func(call func() error) {
						t.Helper()
						p.fails = fails
						if err := call(); err != nil {
							assert.Equal(t, Ambiguous, ClassOf(err))
						}
						p.fails = ""
						for range 2 {
							require.NoError(t, call())
						}
					}
					again(func() error { return c.EnableKey(t.Context(), appID, key, "RS256") })
					registered, enabled := p.kids()
					assert.Equal(t, []string{"a", "b", kid}, registered)
					assert.Equal(t, []string{"a", kid}, enabled)
					again(func() error { _, err := c.RetireKey(t.Context(), appID, key); return err })
					registered, enabled = p.kids()
					assert.Equal(t, []string{"a", "b"}, registered)
					assert.Equal(t, []string{"a"}, enabled)
				})
			}
		}
	}
}

// TestAKeyThatIsRefusedAfterItWasRegistered takes nobody's place.
func TestAKeyThatIsRefusedAfterItWasRegistered(t *testing.T) {
	p := &keyPool{fails: "PATCH", status: 400}
	p.with(true, foreign("a"))
	err := p.client(t).EnableKey(t.Context(), appID, testKeys()[1], "RS256")
	assert.Equal(t, Refused, ClassOf(err))
	registered, enabled := p.kids()
	assert.Equal(t, []string{"a"}, registered)
	assert.Equal(t, []string{"a"}, enabled)
	assert.Equal(t, []string{"POST", "PATCH", "DELETE"}, p.writes)
}

// TestOtherFailuresOfADeletionAreErrors.
func TestOtherFailuresOfADeletionAreErrors(t *testing.T) {
	key := testKeys()[0]
	for status, class := range map[int]Class{403: Refused, 500: Ambiguous, 429: Limited, 0: Ambiguous} {
		p := &keyPool{fails: "DELETE", status: status}
		p.with(true, foreign("a"), credential{ID: "cred_ours", KID: kidOf(t, key)})
		found, err := p.client(t).RetireKey(t.Context(), appID, key)
		require.Error(t, err)
		assert.True(t, found)
		assert.Equal(t, class, ClassOf(err), status)
	}
}

// TestKeysWithoutAnID: an answer that does not say which key it means is not understood.
func TestKeysWithoutAnID(t *testing.T) {
	key := testKeys()[0]
	for name, p := range map[string]*keyPool{
		"enabled":    {registered: []credential{foreign("a")}, enabled: []string{""}},
		"registered": {registered: []credential{{ID: "", KID: kidOf(t, key)}, foreign("a")}, enabled: []string{"cred_a"}},
	} {
		c := p.client(t)
		err := c.EnableKey(t.Context(), appID, key, "RS256")
		require.Error(t, err, name)
		assert.Equal(t, Ambiguous, ClassOf(err), name)
		_, err = c.RetireKey(t.Context(), appID, key)
		if name == "registered" {
			require.Error(t, err, name)
		}
		assert.Empty(t, p.writes, name)
	}
}
