package auth0

import (
	"encoding/json"
	"errors"
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

	fails  string                                   // what fails now, such as "PATCH"
	commit bool                                     // but takes effect
	status int                                      // is answered so; 0: the connection is lost
	stuck  func(http.ResponseWriter, *http.Request) // answers each DELETE; nil: it is done
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
	if r.Method == http.MethodDelete && p.stuck != nil {
		p.stuck(w, r)
		return
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
		Name    string `json:"name"`
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
		made := credential{ID: fmt.Sprintf("cred_%d", p.made), KID: sent.KID, Name: sent.Name}
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

// TestTheKeysThatFillTheSlotAreSaidToBeTheEnginesOwn where they are, or Vault's.
func TestTheKeysThatFillTheSlotAreSaidToBeTheEnginesOwn(t *testing.T) {
	own := testKeys()[0]
	p := &keyPool{}
	p.with(true, foreign("a"))
	require.NoError(t, p.client(t).EnableKey(t.Context(), appID, own, "RS256"))
	err := p.client(t).EnableKey(t.Context(), appID, testKeys()[1], "RS256")
	require.ErrorContains(t, err, "cred_a (kid a); cred_1 (kid "+kidOf(t, own)+"), made by Vault are in use")

	p = &keyPool{}
	p.with(true, credential{ID: "cred_own", KID: kidOf(t, own), Name: "vault key"}, foreign("a"))
	tn := newTenant(t, p.ServeHTTP)
	tn.grants(KeyScopes...)
	cfg := tn.config()
	cfg.Secrets, cfg.SigningAlgorithm = []string{own}, "RS256"
	err = newClient(t, cfg).EnableKey(t.Context(), appID, testKeys()[1], "RS256")
	require.ErrorContains(t, err, "cred_own (kid "+kidOf(t, own)+"), the engine's own; cred_a (kid a) are in use")
}

// TestEnableKeyWhereNoneIsInUse: somebody has removed the last one. That Auth0 shows none of
// the client's own application, which has logged in by one, is not believed.
func TestEnableKeyWhereNoneIsInUse(t *testing.T) {
	own := testKeys()[0]
	for _, itself := range []bool{false, true} {
		p := &keyPool{}
		tn := newTenant(t, p.ServeHTTP)
		tn.grants(KeyScopes...)
		cfg := tn.config()
		cfg.Secrets, cfg.SigningAlgorithm = []string{own}, "RS256"
		if itself {
			cfg.ClientID = appID
		}
		err := newClient(t, cfg).EnableKey(t.Context(), appID, testKeys()[1], "RS256")
		if itself {
			require.ErrorContains(t, err, "Auth0 does not show which keys the application uses")
			continue
		}
		require.NoError(t, err)
		_, enabled := p.kids()
		assert.Equal(t, []string{kidOf(t, testKeys()[1])}, enabled)
	}
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
		"nothing is enabled":  {nil, []credential{ours}, "", true, "", []string{"DELETE"}, nil},
		"by hand with its ID": {[]credential{foreign("a"), {ID: ours.ID, KID: "by-hand"}}, nil, "", false, "", nil, []string{"a", "by-hand"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &keyPool{inUse: tt.inUse}
			p.with(true, tt.enabled...)
			p.with(false, tt.besides...)
			found, err := p.client(t).RetireKey(t.Context(), appID, key)
			assert.Equal(t, tt.found, found)
			assert.Equal(t, name == "the only one", errors.Is(err, ErrOnlyKey))
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

// TestAKeyThatIsRefusedAfterItWasRegistered takes nobody's place, or it is not said to be
// refused.
func TestAKeyThatIsRefusedAfterItWasRegistered(t *testing.T) {
	key := testKeys()[1]
	const refused = "enable key: Auth0 refused (400)"
	for name, tt := range map[string]struct {
		deletion http.HandlerFunc // nil: it is done
		class    Class
	}{
		"removed":             {nil, Refused},
		"gone already":        {replies(404, refusal(404, "inexistent_credential", "none")), Refused},
		"in use all the same": {replies(409, refusal(409, "credential_in_use", "in use")), Ambiguous},
		"without the scope":   {replies(403, refusal(403, "insufficient_scope", "no")), Ambiguous},
		"too many requests":   {replies(429, refusal(429, "too_many_requests", "no")), Ambiguous},
		"Auth0 has failed":    {replies(500, refusal(500, "", "no")), Ambiguous},
		"lost":                {hangUp, Ambiguous},
	} {
		for _, known := range []bool{false, true} { // by an attempt before
			t.Run(fmt.Sprint(name, " ", known), func(t *testing.T) {
				p := &keyPool{fails: "PATCH", status: 400, stuck: tt.deletion}
				p.with(true, foreign("a"))
				writes := []string{"POST", "PATCH", "DELETE"}
				if known {
					p.with(false, credential{ID: "cred_ours", KID: kidOf(t, key)})
					writes = writes[1:]
				}
				err := p.client(t).EnableKey(t.Context(), appID, key, "RS256")
				assert.Equal(t, tt.class, ClassOf(err))
				assert.Equal(t, writes, p.writes)
				_, enabled := p.kids()
				assert.Equal(t, []string{"a"}, enabled)
				if tt.class == Refused {
					require.EqualError(t, err, refused)
					return
				}
				require.EqualError(t, err, "enable key: no clear answer from Auth0: "+reasonLeftBehind+": "+refused)
				p.fails, p.stuck = "", nil
				require.NoError(t, p.client(t).EnableKey(t.Context(), appID, key, "RS256"), "it may be done again")
				_, enabled = p.kids()
				assert.Equal(t, []string{"a", kidOf(t, key)}, enabled)
			})
		}
	}
}

// TestEnabledKeys: what Auth0 does not show is an error, and never none.
func TestEnabledKeys(t *testing.T) {
	const (
		both     = `[{"id":"cred_a","kid":"a"},{"id":"cred_b","kid":"b"},{"id":"cred_c","kid":"c"}]`
		noAnswer = "list keys: no clear answer from Auth0 (200): "
		hidden   = "list keys: Auth0 does not show that the application authenticates by private_key_jwt"
		moved    = "list keys: the application authenticates otherwise than by private_key_jwt"
	)
	uses := func(keys string) string {
		return `"client_authentication_methods":{"private_key_jwt":{"credentials":` + keys + `}}`
	}
	for name, tt := range map[string]struct {
		object, credentials string
		kids                []string
		text                string
	}{
		"two":                    {uses(`[{"id":"cred_c"},{"id":"cred_a"}]`), both, []string{"a", "c"}, ""},
		"one was removed":        {uses(`[{"id":"cred_a"},{"id":"cred_x"}]`), both, []string{"a"}, ""},
		"none":                   {uses(`[]`), both, []string{}, ""},
		"none is registered":     {uses(`[{"id":"cred_a"}]`), `[]`, []string{}, ""},
		"nothing is shown":       {`"name":"x"`, both, nil, hidden},
		"null":                   {`"client_authentication_methods":null,"token_endpoint_auth_method":null`, both, nil, hidden},
		"an empty object":        {`"client_authentication_methods":{}`, both, nil, hidden},
		"by a secret now":        {`"token_endpoint_auth_method":"client_secret_post"`, both, nil, moved},
		"by certificates now":    {`"client_authentication_methods":{"tls_client_auth":{}}`, both, nil, moved},
		"no list":                {`"client_authentication_methods":{"private_key_jwt":{}}`, both, nil, noAnswer + "the application's private_key_jwt settings cannot be read"},
		"no object":              {`"client_authentication_methods":{"private_key_jwt":true}`, both, nil, noAnswer + "the application's private_key_jwt settings cannot be read"},
		"no ID":                  {uses(`[{}]`), both, nil, noAnswer + "the application's private_key_jwt settings cannot be read"},
		"the list is none":       {uses(`[{"id":"cred_a"}]`), `{}`, nil, noAnswer + "the answer is not a list of credentials"},
		"a kid is not shown":     {uses(`[{"id":"cred_a"}]`), `[{"id":"cred_a"}]`, nil, noAnswer + "Auth0 does not show the kid of a key that the application uses"},
		"another's is not shown": {uses(`[{"id":"cred_a"}]`), `[{"id":"cred_a","kid":"a"},{"id":"cred_b"}]`, []string{"a"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/credentials") {
					reply(w, 200, tt.credentials)
					return
				}
				reply(w, 200, `{"client_id":"`+appID+`",`+tt.object+`}`)
			})
			tn.grants(append([]string{ScopeReadClients}, KeyScopes...)...)
			kids, err := tn.client(t).EnabledKeys(t.Context(), appID)
			assert.Equal(t, tt.kids, kids)
			assert.Equal(t, tt.text == moved, errors.Is(err, ErrOtherMethod))
			if tt.text == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.text)
			}
		})
	}
	p := &keyPool{status: 403}
	p.with(true, foreign("a"))
	c := p.client(t)
	for _, p.fails = range []string{"GET", "GET/credentials"} {
		_, err := c.EnabledKeys(t.Context(), appID)
		assert.Equal(t, Refused, ClassOf(err), p.fails)
	}
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
