package conformance

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
)

const (
	docKeys       = "https://auth0.com/docs/get-started/applications/rotate-credentials"
	docRevoke     = "https://auth0.com/docs/secure/tokens/refresh-tokens/revoke-refresh-tokens"
	mostKeysTried = 5
)

var (
	keyScopes = []string{readCredentials, createCredentials, updateCredentials, deleteCredentials, createGrants}

	keyAssumptions = []Assumption{
		{"key-registered", "POST credentials is 201 with an `id`, and with the `kid` that was sent.",
			Recorded, "recorded traffic of Auth0's Terraform provider: TestAccClientCredentialsPrivateKeyJWTFullRotation (where no kid was sent)", keyScopes, func(t *trial) (string, bool) {
				k := t.theKeys()
				if k.second.status != http.StatusCreated {
					return k.second.String(), false
				}
				hasID, kept := k.second.text("id") != "", k.second.text("kid") == k.kid
				return fmt.Sprintf("201 with id %t, kid kept %t", hasID, kept), hasID && kept
			}},
		{"key-list", "GET credentials is an array with `id` and `kid` of each.",
			Recorded, "recorded traffic of Auth0's Terraform provider: TestAccClientCredentialsPrivateKeyJWTFullRotation", keyScopes, func(t *trial) (string, bool) {
				listed, complete := t.theKeys().listed, 0
				for _, each := range listed {
					if each["id"] != nil && each["kid"] != nil {
						complete++
					}
				}
				return fmt.Sprintf("an array of %d, of which %d have id and kid", len(listed), complete), complete == 2 && len(listed) == 2
			}},
		{"key-both-accepted", "With two keys enabled by PATCH, either logs in by private_key_jwt, without a `kid` in the assertion.",
			Documented, docKeys, keyScopes, checkKeyBothAccepted},
		{"key-proof", "POST /oauth/revoke of a token that there is not is 200 with an assertion of a key in use, which it names by `kid`, and 401 invalid_client " +
			"or access_denied with one of another key. So the answer proves a key.",
			Documented, docRevoke + " (not which error an assertion brings)", keyScopes, checkKeyProof},
		{"key-refused", "At the token endpoint an assertion of a key that is not in use is refused with 401 invalid_client or access_denied.",
			Unknown, "RFC 7523, 3.2, has invalid_client", keyScopes, func(t *trial) (string, bool) {
				other, _ := t.newKey("other")
				got := t.ask(t.asserting(t.twoKeys().app, other, url.Values{"grant_type": {"client_credentials"}, "audience": {t.tenant.Audience}}), nil)
				return got.String(), got.refusesKey()
			}},
		{"key-room", "At least two credentials have room, at most four; one more is refused with 4xx in the usual form.",
			Documented, docKeys + " (two); the reference of POST credentials has more", keyScopes, checkKeyRoom},
		{"key-slot", "While an application uses two credentials, a PATCH by which it would use a third is refused with 4xx in the usual form.",
			Documented, docKeys, keyScopes, checkKeySlot},
		{"key-removed", "DELETE of a credential that is not in use is 204, also when it is repeated.",
			Recorded, "recorded traffic of Auth0's own tools", keyScopes, func(t *trial) (string, bool) {
				k := t.twoKeys()
				if disabled := t.enable(k, k.ids[1]); disabled.status != http.StatusOK {
					return "PATCH: " + disabled.String(), false
				}
				path := k.path + "/" + k.ids[0]
				once, twice := t.api(http.MethodDelete, path, nil), t.api(http.MethodDelete, path, nil)
				return fmt.Sprintf("%s, and again: %s", once, twice), once.status == http.StatusNoContent && twice.status == http.StatusNoContent
			}},
	}
)

// keyApplication is an application with two keys.
type keyApplication struct {
	app    Application
	path   string    // of its credentials
	keys   [2]string // PEM
	kid    string    // of the second, as it was sent
	second answer    // to its registration
	ids    [2]string // of the credentials
	listed []map[string]any
}

// theKeys makes an application with one key, and registers a second one.
func (t *trial) theKeys() keyApplication {
	return t.keyed.get(t, func(t *trial) (k keyApplication) {
		var first, second map[string]any
		k.keys[0], first = t.newKey("first")
		k.keys[1], second = t.newKey("second")
		k.kid, _ = second["kid"].(string)
		delete(first, "kid")
		k.app = t.make("keys", map[string]any{
			"app_type": "non_interactive", "grant_types": []string{"client_credentials"}, "jwt_configuration": map[string]any{"alg": "RS256"},
			"client_authentication_methods": map[string]any{"private_key_jwt": map[string]any{"credentials": []any{first}}},
		}, readClients)
		k.path = "clients/" + k.app.ClientID + "/credentials"
		k.second = t.api(http.MethodPost, k.path, second)
		k.listed = t.api(http.MethodGet, k.path, nil).list
		for _, each := range k.listed {
			id, _ := each["id"].(string)
			if id != k.second.text("id") {
				k.ids[0] = id
			} else {
				k.ids[1] = id
			}
		}
		return k
	})
}

// twoKeys is theKeys where both were registered.
func (t *trial) twoKeys() keyApplication {
	k := t.theKeys()
	if k.ids[0] == "" || k.ids[1] == "" {
		t.fail(errors.New("there are no two credentials"))
	}
	return k
}

// newKey makes a key, and what registers its public half.
func (t *trial) newKey(name string) (privateKey string, order map[string]any) {
	privateKey, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	t.fail(err)
	public, kid, err := assertion.PublicKey(privateKey)
	t.fail(err)
	return privateKey, map[string]any{"credential_type": "public_key", "name": name, "alg": "RS256", "pem": public, "kid": kid}
}

// enable lets the application use these credentials.
func (t *trial) enable(k keyApplication, ids ...string) answer {
	credentials := make([]any, len(ids))
	for i, id := range ids {
		credentials[i] = map[string]any{"id": id}
	}
	return t.api(http.MethodPatch, "clients/"+k.app.ClientID, map[string]any{
		"client_authentication_methods": map[string]any{"private_key_jwt": map[string]any{"credentials": credentials}},
	})
}

func checkKeyBothAccepted(t *trial) (string, bool) {
	k := t.twoKeys()
	if enabled := t.enable(k, k.ids[:]...); enabled.status != http.StatusOK {
		return "PATCH: " + enabled.String(), false
	}
	var seen []string
	for _, key := range k.keys {
		after, err := t.awaitKey(k.app, key)
		if err != nil {
			t.fail(t.ctx.Err())
			return fmt.Sprintf("%s: still refused after %s: %s", strings.Join(seen, ", "), t.tenant.Watch, err), false
		}
		seen = append(seen, fmt.Sprintf("accepted after %s", rounded(after)))
	}
	return strings.Join(seen, ", "), true
}

// awaitKey logs in with a key, as the engine itself does it, until that works.
func (t *trial) awaitKey(app Application, key string) (time.Duration, error) {
	client, err := auth0.New(auth0.Config{
		Domain: t.tenant.Domain, ClientID: app.ClientID, Secrets: []string{key}, SigningAlgorithm: assertion.Algorithms[0],
		Audience: t.tenant.Audience, CACert: t.tenant.CACert, RequestTimeout: requestTimeout,
	})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	for began := time.Now(); ; t.sleep(t.tenant.Poll) {
		_, err := client.Grant(t.ctx)
		if err == nil || t.err != nil || time.Since(began) > t.tenant.Watch {
			return time.Since(began), err
		}
	}
}

// asserting adds the assertion of a key, which it names by its kid, to the parameters of a
// request of an application.
func (t *trial) asserting(app Application, key string, form url.Values) url.Values {
	_, kid, err := assertion.PublicKey(key)
	t.fail(err)
	signer, err := assertion.NewSigner(key, assertion.Algorithms[0], kid)
	t.fail(err)
	if t.err != nil {
		return nil
	}
	signed, err := signer.Sign(app.ClientID, "https://"+t.tenant.Domain+"/", time.Now(), time.Minute)
	t.fail(err)
	form.Set("client_id", app.ClientID)
	form.Set("client_assertion_type", assertion.Type)
	form.Set("client_assertion", signed)
	return form
}

// refusesKey says whether it is what the engine takes for the refusal of a key.
func (a answer) refusesKey() bool {
	return a.isOAuthError(http.StatusUnauthorized, "invalid_client") || a.isOAuthError(http.StatusUnauthorized, "access_denied")
}

func checkKeyProof(t *trial) (string, bool) {
	k := t.twoKeys()
	if enabled := t.enable(k, k.ids[:]...); enabled.status != http.StatusOK {
		return "PATCH: " + enabled.String(), false
	}
	revoke := func(key string) answer {
		form := t.asserting(k.app, key, url.Values{"token": {"none"}})
		return t.send(http.MethodPost, "/oauth/revoke", []byte(form.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	}
	other, _ := t.newKey("other")
	refused := revoke(other)
	began := time.Now()
	used := revoke(k.keys[1])
	for used.refusesKey() && t.err == nil && time.Since(began) < t.tenant.Watch { // it was enabled just now
		t.sleep(t.tenant.Poll)
		used = revoke(k.keys[1])
	}
	return fmt.Sprintf("key in use: %s, after %s. Another key: %s", used, rounded(time.Since(began)), refused),
		used.status == http.StatusOK && refused.refusesKey()
}

func checkKeySlot(t *trial) (string, bool) {
	k := t.twoKeys()
	registered := t.api(http.MethodGet, k.path, nil).list
	if len(registered) < 3 {
		_, order := t.newKey("third")
		t.expect(http.StatusCreated, t.api(http.MethodPost, k.path, order), "a third key cannot be registered")
		registered = t.api(http.MethodGet, k.path, nil).list
	}
	if enabled := t.enable(k, k.ids[:]...); enabled.status != http.StatusOK {
		return "PATCH with two: " + enabled.String(), false
	}
	ids := k.ids[:]
	for _, each := range registered {
		if id, _ := each["id"].(string); len(ids) == 2 && !slices.Contains(ids, id) {
			ids = append(slices.Clone(ids), id)
		}
	}
	got := t.enable(k, ids...)
	return fmt.Sprintf("PATCH with %d: %s", len(ids), got), len(ids) == 3 && got.status/100 == 4 && got.isError(got.status, "")
}

func checkKeyRoom(t *trial) (string, bool) {
	k := t.theKeys()
	for n := len(k.listed) + 1; n <= mostKeysTried && t.err == nil; n++ {
		_, order := t.newKey(fmt.Sprintf("number %d", n))
		if got := t.api(http.MethodPost, k.path, order); got.status != http.StatusCreated {
			return fmt.Sprintf("%d have room. Number %d: %s", n-1, n, got), n > 2 && got.status/100 == 4 && got.isError(got.status, "")
		}
	}
	return fmt.Sprintf("%d have room", mostKeysTried), false
}
