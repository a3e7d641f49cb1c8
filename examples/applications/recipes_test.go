//go:build recipes

// The recipes that can run here run here: real applications in Node, Python and
// Java log in at a simulated tenant, over TLS. What is not installed is skipped by
// name.
package applications

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

func TestNode(t *testing.T) {
	dir := nodeModules(t, "node")
	t.Log("node", strings.TrimSpace(run(t, dir, "node", "--version")), strings.TrimSpace(run(t, dir, "node", "-p",
		`["express-openid-connect", "express"].map((name) => name + " " + require(name + "/package.json").version).join(", ")`)))
	test(t, command{dir: dir, args: []string{"node", "app.js"}, ca: variable("NODE_EXTRA_CA_CERTS")})
}

// nodeModules is a copy of a recipe in Node, with its packages.
func nodeModules(t *testing.T, recipe string) string {
	t.Helper()
	need(t, "node")
	need(t, "npm")
	dir := filepath.Join(t.TempDir(), "node") // node_modules is to stay out of the repository
	require.NoError(t, os.CopyFS(dir, os.DirFS(recipe)))
	t.Logf("installing the packages of %s/package-lock.json", recipe)
	run(t, dir, "npm", "ci", "--no-audit", "--no-fund")
	return dir
}

// TestNodeBehindTheLoginProxy: a program that knows one secret, which Auth0 has never
// seen, and nothing of rotations goes through the same as those that try several.
func TestNodeBehindTheLoginProxy(t *testing.T) {
	dir := nodeModules(t, "../login-proxy/node")
	t.Log("node", strings.TrimSpace(run(t, dir, "node", "--version")), strings.TrimSpace(run(t, dir, "node", "-p",
		`"openid-client " + JSON.parse(require("fs").readFileSync("node_modules/openid-client/package.json")).version`)))
	test(t, command{dir: dir, args: []string{"node", "app.js"}, ca: variable("NODE_EXTRA_CA_CERTS"), loginProxy: true})

	t.Log("a document of another issuer is refused")
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, err := io.WriteString(w, `{"issuer":"https://example.eu.auth0.com/"}`)
		assert.NoError(t, err)
	}))
	defer other.Close()
	secret := filepath.Join(t.TempDir(), "shop.secret")
	require.NoError(t, os.WriteFile(secret, []byte("a secret"), 0o600))
	app := exec.CommandContext(t.Context(), "node", "app.js")
	app.Dir, app.Env = dir, append(os.Environ(), "LOGIN_PROXY="+other.URL, "LOCAL_SECRET="+secret, "CLIENT_ID=shop",
		"DOMAIN=tenant.example.com", "BASE_URL=http://localhost", "PORT="+freePort(t))
	out, err := app.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "is not for https://tenant.example.com/")
}

// TestSpringBehindTheLoginProxy: the application of the recipe without what the recipe adds,
// so an ordinary one, with the settings of login-proxy/application.yml.
func TestSpringBehindTheLoginProxy(t *testing.T) {
	jar := filepath.Join(maven(t, "spring", "package", "", append(withSecrets, withKey...)...), "target", "shop.jar")
	example, err := os.ReadFile("../login-proxy/application.yml")
	require.NoError(t, err)
	settings := filepath.Join(t.TempDir(), "application.yml")
	text := string(example)
	for from, to := range map[string]string{
		"example.eu.auth0.com": "${DOMAIN}", "http://127.0.0.1:8404": "${LOGIN_PROXY}", "DifUedZ0WnJlbTqzEH6S1LSpasThJz37": "${CLIENT_ID}",
	} {
		require.Contains(t, text, from)
		text = strings.ReplaceAll(text, from, to)
	}
	require.NoError(t, os.WriteFile(settings, []byte(text), 0o600))
	test(t, command{
		dir: ".", args: []string{"java", "-jar", jar, "--spring.config.location=file:" + settings}, ca: trustStore,
		variables: map[string]string{"PORT": "SERVER_PORT"}, loginProxy: true,
		lifetime: 30 * time.Second, // Spring gets a new token within a minute of the end of one
	})
}

// startLoginProxy runs a login proxy with the fixture's file until the test ends, and
// gives the variables of a program that is to use it.
func (f *fixture) startLoginProxy(ca string) []string {
	f.t.Helper()
	dir := f.t.TempDir()
	program, secret, address := filepath.Join(dir, "auth0-login-proxy"), filepath.Join(dir, "shop.secret"), "127.0.0.1:"+freePort(f.t)
	run(f.t, "../..", "go", "build", "-o", program, "./cmd/auth0-login-proxy")
	f.launch(command{dir: dir, args: []string{
		program, "-domain", f.tenant.Domain(), "-ca-cert", ca, "-listen", address,
		"-credentials", f.file, "-local-secret-file", secret, "-only-login",
	}}, address)
	made, err := os.ReadFile(secret)
	require.NoError(f.t, err)
	return []string{
		"LOGIN_PROXY=http://" + address, "CLIENT_ID=" + f.app.ClientID,
		"LOCAL_SECRET=" + secret, "SHOP_SECRET=" + strings.TrimSpace(string(made)),
	}
}

// TestNodeByItself needs no packages.
func TestNodeByItself(t *testing.T) {
	need(t, "node")
	testByItself(t, "node", "node", "--input-type=module", "-e", `
		import { ClientSecrets } from './client-secrets.js';
		const [file, domain, url] = process.argv.slice(1);
		try {
			const form = new URLSearchParams({ grant_type: 'client_credentials', client_secret: 'x' });
			const answer = await new ClientSecrets(file, domain).fetch(url, { method: 'POST', body: form, redirect: 'follow' });
			console.log(answer.status);
		} catch (error) {
			console.log(error.message);
		}`)
}

// pythonWith is a Python with the packages.
func pythonWith(t *testing.T, packages string) string {
	t.Helper()
	for _, python := range []string{os.Getenv("PYTHON"), "python3", "/usr/bin/python3"} {
		if python != "" && exec.CommandContext(t.Context(), python, "-c", "import "+packages).Run() == nil {
			return python
		}
	}
	t.Skip("not installed: Python with " + packages + " (Debian: python3-authlib python3-flask python3-requests; PYTHON names another Python)")
	return ""
}

// TestPythonByItself needs requests alone.
func TestPythonByItself(t *testing.T) {
	testByItself(t, "python", pythonWith(t, "requests"), "-B", "-c", `
import sys

import requests
from client_secrets import ClientSecretAdapter, ClientSecrets

file, domain, url = sys.argv[1:]
try:
    session = requests.Session()
    session.mount("http://127.0.0.1", ClientSecretAdapter(ClientSecrets(file, domain)))
    print(session.post(url, data={"grant_type": "client_credentials", "client_secret": "x"}).status_code)
except (requests.RequestException, RuntimeError) as error:
    print(error)
`)
}

func TestPython(t *testing.T) {
	const versions = "import authlib, flask, requests, sys; from importlib.metadata import version; " +
		"print(sys.version.split()[0], *(n + ' ' + version(n) for n in ('authlib', 'flask', 'requests')))"
	python := pythonWith(t, "authlib, flask, requests")
	t.Log("python", strings.TrimSpace(run(t, "python", python, "-B", "-W", "ignore", "-c", versions)))
	test(t, command{dir: "python", args: []string{python, "-B", "app.py"}, ca: variable("REQUESTS_CA_BUNDLE")})
}

func TestSpring(t *testing.T) {
	jar := filepath.Join(maven(t, "spring", "package", springByItself, withKey...), "target", "shop.jar")
	testByItself(t, ".", "java", "-Dloader.main=com.example.shop.ByItself", "-cp", jar, "org.springframework.boot.loader.launch.PropertiesLauncher")
	test(t, spring(jar))
}

// What the application of the recipe has in its file, and what it has for that.
var (
	withSecrets = []string{"Auth0Configuration.java", "ClientSecrets.java", "TokenEndpoint.java"}
	withKey     = []string{"Auth0KeyConfiguration.java", "ClientKey.java"}
)

// spring starts the application.
func spring(jar string) command {
	return command{
		dir: ".", args: []string{"java", "-jar", jar}, ca: trustStore,
		variables: map[string]string{"CREDENTIALS": "AUTH0_CREDENTIALS", "DOMAIN": "AUTH0_DOMAIN", "AUDIENCE": "AUTH0_AUDIENCE", "PORT": "SERVER_PORT"},
		api:       true,
		lifetime:  30 * time.Second, // Spring gets a new token within a minute of the end of one
	}
}

// springByItself makes the request that client credentials are got with.
const springByItself = `
package com.example.shop;

import java.nio.file.Path;
import org.springframework.security.oauth2.client.endpoint.OAuth2ClientCredentialsGrantRequest;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;

class ByItself {
    public static void main(String[] args) {
        try {
            var client = ClientRegistration.withRegistrationId("api").tokenUri(args[2]).clientId("shop").clientSecret("x")
                    .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_POST)
                    .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS).build();
            new Auth0Configuration().clientCredentials(new ClientSecrets(Path.of(args[0]), args[1]), "api")
                    .getTokenResponse(new OAuth2ClientCredentialsGrantRequest(client));
            System.out.println(200);
        } catch (Exception e) {
            for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                System.out.println(cause);
            }
        }
    }
}
`

func TestJava(t *testing.T) {
	target := filepath.Join(maven(t, "java", "compile", javaByItself), "target")
	classes := filepath.Join(target, "classes") + string(os.PathListSeparator) + filepath.Join(target, "dependency", "*")
	testByItself(t, ".", "java", "-cp", classes, "com.example.shop.ByItself")
	test(t, command{dir: ".", args: []string{"java", "-cp", classes, "com.example.shop.Shop"}, ca: trustStore, api: true})
}

const javaByItself = `
package com.example.shop;

import java.net.URI;
import java.nio.file.Path;
import java.util.Map;

class ByItself {
    public static void main(String[] args) {
        try {
            var secrets = new ClientSecrets(Path.of(args[0]), args[1]);
            System.out.println(secrets.login(URI.create(args[2]), Map.of("grant_type", "client_credentials")).statusCode());
        } catch (Exception e) {
            System.out.println(e.getMessage());
        }
    }
}
`

// maven builds a recipe elsewhere, with a program in it that uses it by itself, if any,
// and without some files. It gives the folder.
func maven(t *testing.T, recipe, phase, byItself string, without ...string) string {
	t.Helper()
	for _, program := range []string{"java", "javac", "keytool", "mvn"} {
		need(t, program)
	}
	dir := filepath.Join(t.TempDir(), recipe) // target is to stay out of the repository
	require.NoError(t, os.CopyFS(dir, os.DirFS(recipe)))
	for _, file := range without {
		require.NoError(t, os.Remove(filepath.Join(dir, file)))
	}
	if byItself != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "ByItself.java"), []byte(byItself), 0o600))
	}
	t.Log("building it as its pom.xml says")
	run(t, dir, "mvn", "--batch-mode", "--quiet", "--no-transfer-progress", phase, "dependency:copy-dependencies")
	jars, err := filepath.Glob(filepath.Join(dir, "target", "dependency", "*-*.jar"))
	require.NoError(t, err)
	versions, _, _ := strings.Cut(run(t, dir, "java", "--version"), "\n")
	for _, jar := range jars {
		name := strings.TrimSuffix(filepath.Base(jar), ".jar")
		if library := regexp.MustCompile(`^(spring-boot|spring-security-oauth2-client|jackson-databind)-\d`); library.MatchString(name) {
			versions += ", " + name
		}
	}
	t.Log(versions)
	return dir
}

// trustStore has a JVM trust the CA in a file.
func trustStore(t *testing.T, ca string) string {
	t.Helper()
	store := filepath.Join(t.TempDir(), "trusted.p12")
	run(t, ".", "keytool", "-importcert", "-noprompt", "-alias", "tenant", "-file", ca, "-keystore", store, "-storepass", "nothing secret")
	return "JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=" + store + " '-Djavax.net.ssl.trustStorePassword=nothing secret'"
}

// variable has a program trust the CA in a file by a variable.
func variable(name string) func(*testing.T, string) string {
	return func(_ *testing.T, ca string) string { return name + "=" + ca }
}

// testByItself runs a program that is told of a file, the domain that it expects, and an
// address, and prints the status of one request there or its error.
func testByItself(t *testing.T, dir string, args ...string) {
	var got []string
	catch := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.FormValue("client_secret"))
		w.Header().Set("Content-Type", "application/json")
		_, err := io.WriteString(w, `{"access_token":"of no use","token_type":"Bearer","expires_in":60}`)
		assert.NoError(t, err)
	}))
	defer catch.Close()
	asked := 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		assert.NoError(t, err)
		http.Redirect(w, r, catch.URL, status)
	}))
	defer front.Close()
	file := filepath.Join(t.TempDir(), "auth0.json")
	credentials := `{"domain":"example.eu.auth0.com","client_id":"shop","client_secrets":["the-secret","another"]}`
	require.NoError(t, os.WriteFile(file, []byte(credentials), 0o600))
	output := func(domain, url string) string { return run(t, dir, args[0], append(args[1:], file, domain, url)...) }

	for _, status := range []string{"301", "302", "303", "307", "308"} {
		asked = 0
		assert.Contains(t, output("Example.eu.auth0.com", front.URL+"/"+status), "answers with a redirect ("+status+"), which is not followed")
		assert.Equal(t, 1, asked, "the next secret would not help")
	}
	assert.Empty(t, got, "a server that was redirected to was asked")

	refused := output("tenant.example.com", catch.URL)
	assert.Contains(t, refused, "the domain tenant.example.com is expected, but it is for example.eu.auth0.com")
	assert.NotContains(t, refused, "the-secret")
	assert.Empty(t, got)
	assert.Equal(t, "200\n", output("example.EU.auth0.com", catch.URL))
	assert.Equal(t, []string{"the-secret"}, got)
}

// test runs an application and does to it what rotations do.
func test(t *testing.T, c command) {
	f := start(t, c)

	t.Log("the first secret is stale: the login falls back with the same code")
	f.logIn(accepted(1), refused(1))

	t.Log("the secret that worked last is tried first")
	f.logIn(accepted(1), refused(0))

	t.Log("a refresh falls back, too")
	f.rotate("the next secret")
	f.render(f.stale, f.first, "the next secret")
	wasted := refused(2)
	if c.loginProxy {
		wasted = 1 // it remembers that the stale one was refused, and tries one that is new before it
	}
	f.get("/refresh", accepted(1), wasted)
	f.get("/refresh", accepted(1), refused(0))

	if c.api {
		f.testAPI()
	}

	t.Log("the file is replaced while the application runs")
	f.rotate("a secret with +&=% in it")
	f.render("a secret with +&=% in it")
	f.logIn(accepted(1), refused(0))

	t.Log("the file is not readable for a while: what was known stays")
	require.NoError(t, os.Remove(f.file))
	f.logIn(accepted(1), refused(0))
	require.NoError(t, os.WriteFile(f.file, []byte("no JSON"), 0o600))
	f.logIn(accepted(1), refused(0))

	t.Log("another error is no reason to try another secret")
	f.render("a secret with +&=% in it", "another")
	for _, status := range []int{http.StatusInternalServerError, http.StatusUnauthorized, http.StatusForbidden} {
		f.tenant.Inject(tenant.Fault{Endpoint: tenant.Token, Kind: tenant.HTMLFromProxy, Status: status, Times: 1})
		f.fail("/login")
	}
	f.tenant.Inject(tenant.Fault{Endpoint: tenant.Token, Kind: tenant.RateLimited, Times: 1})
	f.fail("/login")
	f.tenant.Inject(tenant.Fault{Endpoint: tenant.Token, Kind: tenant.ResetBeforeCommit, Times: 1})
	f.fail("/login")

	t.Log("when all are refused the set is tried once more")
	f.render("wrong", "too")
	before := f.attempts()
	status, _ := f.browse("/login")
	assert.GreaterOrEqual(t, status, 400)
	assert.Equal(t, before.Attempts.Refused+4, f.attempts().Attempts.Refused)
	assert.Equal(t, before.Attempts.Accepted, f.attempts().Attempts.Accepted)

	t.Log("and the application recovers")
	f.render("a secret with +&=% in it")
	f.logIn(accepted(1), refused(0))

	t.Log("credentials for another tenant are refused, and nothing is sent")
	f.domain = "tenant.example.com"
	f.render("a secret with +&=% in it")
	requests := f.tokenRequests()
	status, _ = f.browse("/login")
	assert.GreaterOrEqual(t, status, 400)
	assert.Equal(t, requests, f.tokenRequests())
	f.domain = f.tenant.Domain()
	f.render("a secret with +&=% in it")
	f.logIn(accepted(1), refused(0))

	t.Log("if Auth0 took the code of a refused attempt for used, one login would fail")
	f.tenant.SpendCodesOnRefusal(true)
	f.render("a secret with +&=% in it", "the last secret")
	f.rotate("the last secret")
	status, _ = f.browse("/login")
	assert.GreaterOrEqual(t, status, 400)
	f.logIn(accepted(1), refused(0))
}

// testAPI has the application get tokens of its own, by client credentials, through a
// staged rotation.
func (f *fixture) testAPI() {
	f.t.Log("client credentials through a staged rotation")
	f.get("/api", accepted(1), refused(0))
	f.render("the next secret", "a staged secret")
	f.get("/api", accepted(1), refused(0))
	f.rotate("a staged secret")
	f.get("/api", accepted(1), refused(1))
	f.get("/api", accepted(1), refused(0))
	f.render("a staged secret")
	f.get("/api", accepted(1), refused(0))
}

// command starts an application.
type command struct {
	dir       string
	args      []string
	ca        func(t *testing.T, file string) string // a variable that has it trust a CA
	variables map[string]string                      // what it calls its variables, if not as the others do
	api       bool                                   // it serves /api
	lifetime  time.Duration                          // of the tokens that it gets

	loginProxy bool // it knows a local secret alone, and a login proxy
	keys       bool // it authenticates by private_key_jwt
	assertions bool // by those of Vault
	users      bool // log in to one that has a key
}

type fixture struct {
	t            *testing.T
	tenant       *tenant.Tenant
	app          tenant.Application
	stale, first string
	domain       string // that the file says
	file         string // as Vault Agent renders it
	template     string // from which
	base         string
	browser      *http.Client

	engine    *auth0.Client // manages the keys of the application, where it has some
	signing   sync.Mutex
	key       string // that is handed out
	algorithm string // of its signatures
}

func start(t *testing.T, c command) *fixture {
	t.Helper()
	tn, err := tenant.Start(tenant.Options{TokenLifetime: c.lifetime})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	port := freePort(t)
	f := &fixture{
		t: t, tenant: tn, domain: tn.Domain(), stale: "a stale secret", first: "the first secret",
		file: filepath.Join(t.TempDir(), "auth0.json"), template: exampleTemplate(t, agentExample), base: "http://localhost:" + port,
	}
	app := tenant.Application{ClientSecret: f.first, Alg: "RS256", Callbacks: []string{f.base + "/callback"}}
	if c.keys {
		f.useKeys(app)
	} else {
		f.app = tn.AddApplication(app)
		f.render(f.stale, f.first)
	}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	f.browser = tn.HTTPClient()
	f.browser.Jar, f.browser.Timeout = jar, time.Minute

	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, []byte(tn.CACert()), 0o600))
	environment := []string{c.ca(t, ca)}
	for name, value := range map[string]string{
		"CREDENTIALS": f.file, "DOMAIN": tn.Domain(), "BASE_URL": f.base, "PORT": port,
		"AUDIENCE": "https://api.example.com/", "SESSION_SECRET": "of no use to anybody else, 32 long",
	} {
		if other := c.variables[name]; other != "" {
			name = other
		}
		environment = append(environment, name+"="+value)
	}
	switch {
	case c.loginProxy:
		environment = append(environment, f.startLoginProxy(ca)...)
	case c.assertions:
		environment = append(environment, "CREDENTIALS=", "CLIENT_ID="+f.app.ClientID, "VAULT_ADDR="+f.startVault())
	}
	f.launch(c, strings.TrimPrefix(f.base, "http://"), environment...)
	return f
}

// launch runs a program until the test ends, and waits until it serves.
func (f *fixture) launch(c command, address string, env ...string) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var out bytes.Buffer
	app := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	app.Dir, app.Env, app.Stdout, app.Stderr = c.dir, append(os.Environ(), env...), &out, &out
	require.NoError(f.t, app.Start())
	ended := make(chan struct{})
	go func() { _ = app.Wait(); close(ended) }()
	f.t.Cleanup(func() {
		cancel()
		<-ended
		if f.t.Failed() {
			f.t.Logf("what %s has printed:\n%s", c.args[0], out.String())
		}
	})
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			require.NoError(f.t, conn.Close())
			return
		}
		select {
		case <-ended:
			require.Fail(f.t, c.args[0]+" has ended", out.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The examples that render the file which the applications read.
const (
	agentExample    = "../vault-agent/template.hcl"
	agentKeyExample = "../vault-agent/key.hcl"
)

var templateOfAgent = regexp.MustCompile(`(?s)contents += <<-EOT\n(.*?)\n *EOT\n`)

// exampleTemplate is the template in an example for Vault Agent.
func exampleTemplate(t *testing.T, file string) string {
	t.Helper()
	example, err := os.ReadFile(filepath.Clean(file))
	require.NoError(t, err)
	contents := templateOfAgent.FindSubmatch(example)
	require.NotNil(t, contents)
	return string(contents[1])
}

// render replaces the file in the way of Vault Agent, with what the example's
// template makes of the engine's answer: the recipes have to do with that.
func (f *fixture) render(secrets ...string) {
	f.t.Helper()
	fallback := ""
	if len(secrets) > 1 {
		fallback = secrets[1]
	}
	f.write(map[string]any{
		"domain": f.domain, "client_id": f.app.ClientID,
		"client_secret": secrets[0], "fallback_client_secret": fallback, "client_secrets": secrets,
	})
}

// write replaces the file by what the template makes of the engine's answer.
func (f *fixture) write(credentials map[string]any) {
	f.t.Helper()
	functions := template.FuncMap{
		"secret": func(path string) map[string]any {
			require.Equal(f.t, "auth0/creds/shop", path)
			return map[string]any{"Data": credentials}
		},
		"toJSON": func(value any) (string, error) {
			text, err := json.Marshal(value)
			return string(text), err
		},
	}
	var text bytes.Buffer
	require.NoError(f.t, template.Must(template.New("auth0.json").Funcs(functions).Parse(f.template)).Execute(&text, nil))
	require.True(f.t, json.Valid(text.Bytes()), text.String())
	require.NoError(f.t, os.WriteFile(f.file+".new", text.Bytes(), 0o600))
	require.NoError(f.t, os.Rename(f.file+".new", f.file))
}

func (f *fixture) rotate(secret string) { f.tenant.SetSecretInDashboard(f.app.ClientID, secret) }

type accepted int
type refused int

// logIn logs the user in anew, and says how many attempts it has to take.
func (f *fixture) logIn(a accepted, r refused) {
	f.t.Helper()
	body := f.get("/login", a, r)
	assert.Contains(f.t, body, "Robin Example")
}

// get opens a page that has to be there.
func (f *fixture) get(path string, a accepted, r refused) string {
	f.t.Helper()
	before := f.attempts()
	status, body := f.browse(path)
	require.Equal(f.t, http.StatusOK, status, body)
	after := f.attempts()
	assert.Equal(f.t, int(a), after.Attempts.Accepted-before.Attempts.Accepted, "attempts accepted")
	assert.Equal(f.t, int(r), after.Attempts.Refused-before.Attempts.Refused, "attempts refused")
	return body
}

// fail opens a page that asks for one token and does not get it.
func (f *fixture) fail(path string) {
	f.t.Helper()
	before := f.tokenRequests()
	status, _ := f.browse(path)
	assert.GreaterOrEqual(f.t, status, 400)
	assert.Equal(f.t, before+1, f.tokenRequests())
}

func (f *fixture) browse(path string) (status int, body string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.base+path, nil)
	require.NoError(f.t, err)
	answer, err := f.browser.Do(request)
	require.NoError(f.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(f.t, err)
	return answer.StatusCode, string(text)
}

func (f *fixture) attempts() tenant.LoginStats {
	return f.tenant.Stats().PerApplication[f.app.ClientID]
}

func (f *fixture) tokenRequests() int {
	sum := 0
	for what, n := range f.tenant.Stats().Requests {
		if strings.HasPrefix(what, "POST /oauth/token ") {
			sum += n
		}
	}
	return sum
}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip("not installed: " + program)
	}
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func freePort(t *testing.T) string {
	t.Helper()
	address, err := devvault.FreeAddress()
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return port
}
