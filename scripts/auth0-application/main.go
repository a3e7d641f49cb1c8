// Command auth0-application creates the machine-to-machine application with
// which the engine calls Auth0, with the least scopes for what is wanted of it,
// and prints what the engine's path config takes, its secret with it:
//
//	export AUTH0_DOMAIN=example.eu.auth0.com AUTH0_TOKEN=...
//	engine=$(mktemp)
//	go run ./scripts/auth0-application > "$engine"
//	vault write auth0/config "@$engine" && rm "$engine"
//
// It wants a token of the Management API, such as the dashboard shows under
// Applications > APIs > Auth0 Management API > API Explorer, with the scopes
// create:clients and create:client_grants. With read:clients it refuses to make
// a second application of the same name; with delete:clients it takes back an
// application that it cannot finish.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

const defaultName = "vault-plugin-secrets-auth0"

const usage = `Creates the machine-to-machine application with which the engine calls Auth0, with
the scopes that it needs (%s), and
prints what "vault write auth0/config" takes, its secret with it, as JSON. It needs
a Management API token with create:clients and create:client_grants.

`

func main() {
	signal.Ignore(syscall.SIGPIPE) // a reader that is gone is an error to tell, since the secret is lost with it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr, os.Getenv})
	stop()
	os.Exit(code)
}

// streams are what a run reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

// order is what is to be made.
type order struct {
	domain, token, name, audience, caCert string

	privateKey  string // "": it authenticates by a client secret
	readSecrets bool
}

// run gives the exit code: 0 made, 1 not, 2 wrong usage.
func run(ctx context.Context, args []string, s streams) int {
	o, err := readOrder(args, s)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(s.err, "auth0-application:", err)
		return 2
	}
	config, err := o.carryOut(ctx, s.err)
	if err != nil {
		fmt.Fprintln(s.err, "auth0-application:", err)
		return 1
	}
	encoder := json.NewEncoder(s.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(config); err != nil {
		fmt.Fprintf(s.err, "auth0-application: application %s was made, but its credentials could not be printed: %s. Delete it, and try again\n", config["client_id"], err)
		return 1
	}
	return 0
}

func readOrder(args []string, s streams) (*order, error) {
	var o order
	var token, key string
	var withoutSecrets bool
	f := flag.NewFlagSet("auth0-application", flag.ContinueOnError)
	f.SetOutput(s.err)
	f.Usage = func() {
		fmt.Fprintf(s.err, usage, strings.Join(requirements.Wanted(true, false), " "))
		f.PrintDefaults()
	}
	f.StringVar(&o.domain, "domain", "", "`host` of the tenant (or AUTH0_DOMAIN)")
	f.StringVar(&token, "token", "", "Management API token: @file, or - for standard input (or AUTH0_TOKEN)")
	f.StringVar(&o.name, "name", defaultName, "`name` of the application")
	f.StringVar(&o.audience, "audience", "", "of the Management API, with a custom domain (default https://<domain>/api/v2/)")
	f.StringVar(&o.caCert, "ca-cert", "", "`@file` with the CAs to trust (default the system's)")
	f.BoolVar(&withoutSecrets, "without-reading-secrets", false, "leave out read:client_keys: present secrets cannot be imported, nor changes by others be noticed")
	f.StringVar(&key, "private-key", "", "`@file` with an RSA key (PEM): the application authenticates by private_key_jwt, and the engine may rotate its key")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, errors.New("there are arguments that no flag precedes (not shown: one may be a secret)")
	}
	for _, value := range []struct {
		flag     string
		from, to *string
	}{{"-token", &token, &o.token}, {"-ca-cert", &o.caCert, &o.caCert}, {"-private-key", &key, &o.privateKey}} {
		if *value.from == "" {
			continue
		}
		read, err := fromFile(*value.from, s.in)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(read) == "" { // such as standard input that was read before
			return nil, fmt.Errorf("%s: there is nothing in it", value.flag)
		}
		*value.to = read
	}
	if o.domain == "" {
		o.domain = s.getenv("AUTH0_DOMAIN")
	}
	if o.token == "" {
		o.token = s.getenv("AUTH0_TOKEN")
	}
	o.domain, o.token, o.readSecrets = strings.ToLower(strings.TrimSpace(o.domain)), strings.TrimSpace(o.token), !withoutSecrets
	return &o, o.check()
}

// fromFile reads @file, or - for standard input. Nothing else is taken: a secret
// on the command line is there for others to see.
func fromFile(value string, stdin io.Reader) (string, error) {
	switch {
	case value == "-":
		text, err := io.ReadAll(stdin)
		return string(text), err
	case strings.HasPrefix(value, "@"):
		text, err := os.ReadFile(value[1:])
		return string(text), err
	}
	return "", errors.New("-token, -private-key and -ca-cert are @file, or - for standard input")
}

func (o *order) check() error {
	switch {
	case o.domain == "":
		return errors.New("the tenant is missing: -domain, or AUTH0_DOMAIN")
	case o.token == "":
		return errors.New("a Management API token is missing: AUTH0_TOKEN, or -token=@file. " +
			"The dashboard shows one: Applications > APIs > Auth0 Management API > API Explorer")
	case o.name == "":
		return errors.New("-name is empty")
	case o.privateKey != "" && !o.readSecrets:
		return errors.New("-without-reading-secrets and -private-key exclude each other: read:client_credentials, which the engine needs to rotate its key, lets secrets be read, too")
	}
	if o.privateKey != "" {
		if _, err := auth0.ParsePrivateKey(o.privateKey); err != nil {
			return err
		}
	}
	return requirements.CheckDomain(o.domain)
}

// scopes are no more than are needed.
func (o *order) scopes() []string { return requirements.Wanted(o.readSecrets, o.privateKey != "") }

// carryOut makes the application and its grant, and gives what config takes.
// What is half made is taken back.
func (o *order) carryOut(ctx context.Context, log io.Writer) (map[string]string, error) {
	api, err := newAPI(o)
	if err != nil {
		return nil, err
	}
	if err := o.refuseSecond(ctx, api, log); err != nil {
		return nil, err
	}
	made, err := o.create(ctx, api)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "created application %q (%s)\n", o.name, made.ClientID)
	err = o.grant(ctx, api, made.ClientID)
	if err == nil && o.privateKey == "" && made.ClientSecret == "" {
		err = errors.New("Auth0 did not show the secret of the new application: the token needs read:client_keys, too")
	}
	if err != nil {
		return nil, o.takeBack(ctx, api, made.ClientID, err)
	}
	fmt.Fprintf(log, "granted it: %s\n", strings.Join(o.scopes(), " "))

	config := map[string]string{"domain": o.domain, "client_id": made.ClientID}
	for field, value := range map[string]string{
		"client_secret": made.ClientSecret, "audience": o.audience, "ca_cert": o.caCert,
	} {
		if value != "" {
			config[field] = value
		}
	}
	if o.privateKey != "" {
		config["private_key"] = o.privateKey
		delete(config, "client_secret") // it has one, and cannot log in with it
	}
	return config, nil
}

// refuseSecond refuses to make an application of a name that there is already:
// Auth0 itself does not mind.
func (o *order) refuseSecond(ctx context.Context, api *api, log io.Writer) error {
	clientID, err := api.find(ctx, o.name)
	var refusal *refusal
	switch {
	case errors.As(err, &refusal) && refusal.code == "insufficient_scope":
		fmt.Fprintf(log, "whether there is an application %q already was not checked: the token lacks read:clients\n", o.name)
		return nil
	case err != nil:
		return err
	case clientID != "":
		return fmt.Errorf("there is an application %q already (%s), and nothing was made. Use that one, delete it, or give another -name", o.name, clientID)
	}
	return nil
}

func (o *order) create(ctx context.Context, api *api) (*application, error) {
	body := map[string]any{
		"name":              o.name,
		"description":       "HashiCorp Vault rotates client secrets with it",
		"app_type":          "non_interactive",
		"grant_types":       []string{"client_credentials"},
		"oidc_conformant":   true,
		"jwt_configuration": map[string]any{"alg": "RS256"},
	}
	if o.privateKey == "" {
		body["token_endpoint_auth_method"] = "client_secret_post"
	} else {
		public, _, err := auth0.PublicKey(o.privateKey)
		if err != nil {
			return nil, err
		}
		body["client_authentication_methods"] = map[string]any{"private_key_jwt": map[string]any{"credentials": []any{
			map[string]any{"credential_type": "public_key", "name": "first", "alg": auth0.SigningAlgorithms[0], "pem": public},
		}}}
	}
	var made application
	if err := api.do(ctx, "POST", "clients", body, &made); err != nil {
		if !errors.As(err, new(*refusal)) {
			err = fmt.Errorf("%w. It may have been made all the same: look for %q in the dashboard", err, o.name)
		}
		return nil, fmt.Errorf("the application could not be made: %w", err)
	}
	if made.ClientID == "" {
		return nil, fmt.Errorf("Auth0's answer has no client_id: look for %q in the dashboard", o.name)
	}
	return &made, nil
}

func (o *order) grant(ctx context.Context, api *api, clientID string) error {
	body := map[string]any{"client_id": clientID, "audience": requirements.Audience(o.domain, o.audience), "scope": o.scopes()}
	if err := api.do(ctx, "POST", "client-grants", body, nil); err != nil {
		return fmt.Errorf("it could not be authorised for the Management API: %w", err)
	}
	return nil
}

// takeBack deletes an application that cannot be finished, and says how that
// went, and why.
func (o *order) takeBack(ctx context.Context, api *api, clientID string, why error) error {
	if err := api.do(context.WithoutCancel(ctx), "DELETE", "clients/"+clientID, nil, nil); err != nil {
		return fmt.Errorf("%w. Application %q (%s) is left over, and could not be deleted (%w): delete it in the dashboard, and try again",
			why, o.name, clientID, err)
	}
	return fmt.Errorf("%w. The application was deleted again", why)
}
