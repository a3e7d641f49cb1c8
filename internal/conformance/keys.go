package conformance

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
)

const (
	docKeys       = "https://auth0.com/docs/get-started/applications/rotate-credentials"
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
		{"key-room", "At least two credentials have room, at most four; one more is refused with 4xx in the usual form.",
			Documented, docKeys + " (two); the reference of POST credentials has more", keyScopes, checkKeyRoom},
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
