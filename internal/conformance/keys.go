package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"vault-plugin-secrets-auth0/internal/auth0"
)

const (
	docKeys       = "https://auth0.com/docs/get-started/applications/rotate-credentials"
	mostKeysTried = 5
)

var (
	keyScopes = []string{readCredentials, createCredentials, updateCredentials, deleteCredentials, createGrants}

	keyAssumptions = []Assumption{
		{
			Name:     "key-registered",
			Assumed:  "POST credentials is 201 with an `id`, and with the `kid` that was sent.",
			Evidence: Recorded, Source: "recorded traffic of Auth0's Terraform provider: TestAccClientCredentialsPrivateKeyJWTFullRotation (where no kid was sent)",
			Scopes: keyScopes, check: checkKeyRegistered,
		},
		{
			Name:     "key-list",
			Assumed:  "GET credentials is an array with `id` and `kid` of each.",
			Evidence: Recorded, Source: "recorded traffic of Auth0's Terraform provider: TestAccClientCredentialsPrivateKeyJWTFullRotation",
			Scopes: keyScopes, check: checkKeyList,
		},
		{
			Name:     "key-both-accepted",
			Assumed:  "With two keys enabled by PATCH, either logs in by private_key_jwt, without a `kid` in the assertion.",
			Evidence: Documented, Source: docKeys,
			Scopes: keyScopes, check: checkKeyBothAccepted,
		},
		{
			Name:     "key-room",
			Assumed:  "At least two credentials have room, at most four; one more is refused with 4xx in the usual form.",
			Evidence: Documented, Source: docKeys + " (two); the reference of POST credentials has more",
			Scopes: keyScopes, check: checkKeyRoom,
		},
		{
			Name:     "key-removed",
			Assumed:  "DELETE of a credential that is not in use is 204, also when it is repeated.",
			Evidence: Recorded, Source: "recorded traffic of Auth0's own tools",
			Scopes: keyScopes, check: checkKeyRemoved,
		},
	}
)

// keyApplication is an application with two keys, both enabled.
type keyApplication struct {
	app    Application
	keys   [2]string // PEM
	kid    string    // of the second, as it was sent
	second answer    // to its registration
	ids    [2]string // of the credentials
	listed []map[string]any
}

// theKeys makes an application with one key, and registers and enables a second one.
func (r *Run) theKeys(ctx context.Context) (keyApplication, error) {
	return r.keyed.get(func() (keyApplication, error) {
		var k keyApplication
		first, _, err := newKey("first", &k.keys[0])
		if err != nil {
			return k, err
		}
		settings := map[string]any{
			"app_type": "non_interactive", "grant_types": []string{"client_credentials"}, "jwt_configuration": map[string]any{"alg": "RS256"},
			"client_authentication_methods": map[string]any{"private_key_jwt": map[string]any{"credentials": []any{first}}},
		}
		if k.app, err = r.make(ctx, "keys", settings); err != nil {
			return k, err
		}
		got, err := r.api(ctx, http.MethodPost, "client-grants", map[string]any{
			"client_id": k.app.ClientID, "audience": r.tenant.Audience, "scope": []string{readClients},
		})
		if err != nil || got.status != http.StatusCreated {
			return k, errors.Join(err, unexpected("the application could not be authorised for the Management API", got))
		}
		second, kid, err := newKey("second", &k.keys[1])
		if err != nil {
			return k, err
		}
		second["kid"], k.kid = kid, kid
		if k.second, err = r.api(ctx, http.MethodPost, "clients/"+k.app.ClientID+"/credentials", second); err != nil {
			return k, err
		}
		list, err := r.api(ctx, http.MethodGet, "clients/"+k.app.ClientID+"/credentials", nil)
		if err != nil {
			return k, err
		}
		k.listed = list.list
		for _, each := range list.list {
			id, _ := each["id"].(string)
			if id != k.second.text("id") {
				k.ids[0] = id
			} else {
				k.ids[1] = id
			}
		}
		return k, nil
	})
}

// newKey makes a key: what registers its public half, and its kid.
func newKey(name string, privateKey *string) (order map[string]any, kid string, err error) {
	if *privateKey, err = auth0.NewPrivateKey(); err != nil {
		return nil, "", err
	}
	public, kid, err := auth0.PublicKey(*privateKey)
	return map[string]any{"credential_type": "public_key", "name": name, "alg": "RS256", "pem": public}, kid, err
}

func checkKeyRegistered(ctx context.Context, r *Run) (string, bool, error) {
	k, err := r.theKeys(ctx)
	if err != nil {
		return "", false, err
	}
	if k.second.status != http.StatusCreated {
		return k.second.String(), false, nil
	}
	kept := k.second.text("kid") == k.kid
	return fmt.Sprintf("201 with id %t, kid kept %t", k.second.text("id") != "", kept), kept && k.second.text("id") != "", nil
}

func checkKeyList(ctx context.Context, r *Run) (string, bool, error) {
	k, err := r.theKeys(ctx)
	if err != nil {
		return "", false, err
	}
	if k.listed == nil {
		return "not an array of objects", false, nil
	}
	complete := 0
	for _, each := range k.listed {
		if each["id"] != nil && each["kid"] != nil {
			complete++
		}
	}
	return fmt.Sprintf("an array of %d, of which %d have id and kid", len(k.listed), complete), complete == 2 && len(k.listed) == 2, nil
}

// enable lets the application use these credentials.
func (r *Run) enable(ctx context.Context, app Application, ids ...string) (answer, error) {
	credentials := make([]any, len(ids))
	for i, id := range ids {
		credentials[i] = map[string]any{"id": id}
	}
	return r.api(ctx, http.MethodPatch, "clients/"+app.ClientID, map[string]any{
		"client_authentication_methods": map[string]any{"private_key_jwt": map[string]any{"credentials": credentials}},
	})
}

func checkKeyBothAccepted(ctx context.Context, r *Run) (string, bool, error) {
	k, err := r.theKeys(ctx)
	if err != nil {
		return "", false, err
	}
	if k.ids[0] == "" || k.ids[1] == "" {
		return "", false, errors.New("there are no two credentials")
	}
	enabled, err := r.enable(ctx, k.app, k.ids[:]...)
	if err != nil || enabled.status != http.StatusOK {
		return "PATCH: " + enabled.String(), false, err
	}
	var seen []string
	for _, key := range k.keys {
		after, err := r.awaitKey(ctx, k.app, key)
		if err != nil {
			return fmt.Sprintf("%s: still refused after %s: %s", strings.Join(seen, ", "), r.tenant.Watch, err), false, ctx.Err()
		}
		seen = append(seen, fmt.Sprintf("accepted after %s", rounded(after)))
	}
	return strings.Join(seen, ", "), true, nil
}

// awaitKey logs in with a key, as the engine itself does it, until that works.
func (r *Run) awaitKey(ctx context.Context, app Application, key string) (time.Duration, error) {
	client, err := auth0.New(auth0.Config{
		Domain: r.tenant.Domain, ClientID: app.ClientID, Secrets: []string{key}, SigningAlgorithm: auth0.SigningAlgorithms[0],
		Audience: r.tenant.Audience, CACert: r.tenant.CACert, RequestTimeout: requestTimeout,
	})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	for began := time.Now(); ; {
		_, err := client.Grant(ctx)
		if err == nil || time.Since(began) > r.tenant.Watch {
			return time.Since(began), err
		}
		if err := sleep(ctx, r.tenant.Poll); err != nil {
			return 0, err
		}
	}
}

func checkKeyRoom(ctx context.Context, r *Run) (string, bool, error) {
	k, err := r.theKeys(ctx)
	if err != nil {
		return "", false, err
	}
	for n := len(k.listed) + 1; n <= mostKeysTried; n++ {
		order, kid, err := newKey(fmt.Sprintf("number %d", n), new(string))
		if err != nil {
			return "", false, err
		}
		order["kid"] = kid
		got, err := r.api(ctx, http.MethodPost, "clients/"+k.app.ClientID+"/credentials", order)
		if err != nil {
			return "", false, err
		}
		if got.status != http.StatusCreated {
			return fmt.Sprintf("%d have room. Number %d: %s", n-1, n, got), n > 2 && got.status/100 == 4 && got.isError(got.status), nil
		}
	}
	return fmt.Sprintf("%d have room", mostKeysTried), false, nil
}

func checkKeyRemoved(ctx context.Context, r *Run) (string, bool, error) {
	k, err := r.theKeys(ctx)
	if err != nil {
		return "", false, err
	}
	if k.ids[0] == "" || k.ids[1] == "" {
		return "", false, errors.New("there are no two credentials")
	}
	disabled, err := r.enable(ctx, k.app, k.ids[1])
	if err != nil || disabled.status != http.StatusOK {
		return "PATCH: " + disabled.String(), false, err
	}
	path := "clients/" + k.app.ClientID + "/credentials/" + k.ids[0]
	once, err := r.api(ctx, http.MethodDelete, path, nil)
	if err != nil {
		return "", false, err
	}
	twice, err := r.api(ctx, http.MethodDelete, path, nil)
	return fmt.Sprintf("%s, and again: %s", once, twice), once.status == http.StatusNoContent && twice.status == http.StatusNoContent, err
}
