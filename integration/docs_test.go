//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// bareDocuments begin with a Vault that has nothing but the plugin's binary; for the
// others the engine is mounted and configured, and the application shop is a role. (The
// README starts a Vault of its own.)
var bareDocuments = []string{"docs/operations.md", "docs/openbao.md"}

// TestCommandsOfTheDocuments runs all commands in the README and in docs/, as written
// and in order, and compares what they print with what is shown, save for what differs
// each time.
func TestCommandsOfTheDocuments(t *testing.T) {
	t.Parallel()
	needs(t, "read:client_keys")
	documents, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, documents)
	internals, err := filepath.Glob("../docs/internals/*.md")
	require.NoError(t, err)
	documents = append(documents, internals...)
	for _, file := range append(documents, "../README.md") {
		name := strings.TrimPrefix(file, "../")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "docs/operations.md" {
				takesLong(t)
			}
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			runDocument(t, name, readBlocks(t, string(text)))
		})
	}
}

// block is commands of a document.
type block struct {
	line    int    // of the document, for messages
	skipped string // why it is not run; "": it is
	steps   []step
}

// step is what is run at once, and the lines that it prints; nil: they are not shown.
type step struct {
	commands string
	output   []string
}

// fence is a block, which may be indented as part of a list.
var fence = regexp.MustCompile("(?ms)^( *)```(sh|console)\n(.*?)^ *```$")

// readBlocks finds the blocks of sh and console, in order.
func readBlocks(t *testing.T, text string) []block {
	t.Helper()
	var blocks []block
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		indent, kind, content := text[at[2]:at[3]], text[at[4]:at[5]], text[at[6]:at[7]]
		content = strings.ReplaceAll("\n"+content, "\n"+indent, "\n")[1:]
		b := block{line: 1 + strings.Count(text[:at[0]], "\n")}
		if reason, ok := strings.CutPrefix(content, "# needs "); ok {
			b.skipped, _, _ = strings.Cut(reason, "\n")
			_, product := server()
			if _, err := exec.LookPath(b.skipped); err == nil || b.skipped == product { // a program, such as jq, or OpenBao
				b.skipped = ""
			}
		}
		if kind == "sh" {
			b.steps = withoutTargets(content)
		} else {
			b.steps = readSession(t, content)
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// withoutTargets leaves out targets of make: they are what runs this, or take as long.
func withoutTargets(content string) []step {
	var kept []string
	for line := range strings.Lines(content) {
		if !strings.HasPrefix(line, "make ") {
			kept = append(kept, line)
		}
	}
	return []step{{commands: strings.Join(kept, "")}}
}

// readSession reads lines that begin with "$ ", or "> " where they go on, and what
// they print.
func readSession(t *testing.T, content string) []step {
	t.Helper()
	var steps []step
	for line := range strings.Lines(content) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			steps = append(steps, step{commands: command, output: []string{}})
			continue
		}
		require.NotEmpty(t, steps, "output before the first command: %q", line)
		last := &steps[len(steps)-1]
		if more, ok := strings.CutPrefix(line, "> "); ok && len(last.output) == 0 {
			last.commands += more
		} else {
			last.output = append(last.output, strings.TrimSuffix(line, "\n"))
		}
	}
	return steps
}

const stepMark = "@@@ step "

// runDocument runs a document's commands in one shell, so that each sees what the ones
// before have set.
func runDocument(t *testing.T, name string, blocks []block) {
	t.Helper()
	script := &strings.Builder{}
	script.WriteString("set -euo pipefail\n")
	var steps []step
	var skipped []string
	for _, b := range blocks {
		if b.skipped != "" {
			skipped = append(skipped, fmt.Sprintf("line %d (needs %s)", b.line, b.skipped))
			continue
		}
		for _, s := range b.steps {
			fmt.Fprintf(script, "echo '%s%d'\n", stepMark, len(steps))
			fmt.Fprintln(script, s.commands)
			steps = append(steps, s)
		}
	}
	if len(steps) == 0 {
		t.Skip("there is nothing to run in it; skipped: " + strings.Join(skipped, ", "))
	}
	r := newReader(t, name)
	printed, err := r.run(script.String())
	outputs := strings.Split(printed, stepMark)[1:]
	if err != nil {
		last := len(outputs) - 1
		require.GreaterOrEqual(t, last, 0, "%v\n%s", err, printed)
		t.Fatalf("%v\n%s\n%s", err, steps[last].commands, outputs[last])
	}
	var documented, seen masker
	for i, s := range steps {
		_, output, _ := strings.Cut(outputs[i], "\n")
		if s.output != nil {
			shown, real := strings.Join(s.output, "\n"), strings.TrimSpace(output)
			assert.Equal(t, documented.lines(strings.Split(shown, "\n")), seen.lines(strings.Split(real, "\n")), s.commands)
		}
	}
	t.Logf("ran %d steps; skipped: %s", len(steps), strings.Join(skipped, ", "))
}

// reader is somebody who follows a document.
type reader struct {
	*suite
	dir      string // where he works: it looks like the repository
	bin      string // has vault
	ca       string
	replaced *strings.Replacer
}

func newReader(t *testing.T, document string) *reader {
	t.Helper()
	bare := slices.Contains(bareDocuments, document)
	r := &reader{suite: newSuiteOf(t, devstack.Options{Storage: "raft", Unmounted: bare, Scopes: slices.Concat(scopes(t), auth0.KeyScopes)}), dir: t.TempDir(), bin: t.TempDir()}
	app := r.addApplication(func(a *tenant.Application) { a.Name, a.Shape = "shop", tenant.Full })
	keyed := r.Tenant.AddApplication(tenant.Application{Name: "orders"})
	own := r.Tenant.AddCredential(keyed.ClientID, tenant.PrivateKeyJWT)
	go func() { // the reader has removed it when there is another
		for t.Context().Err() == nil {
			if _, enabled := r.Tenant.Keys(keyed.ClientID); len(enabled) > 1 {
				r.Tenant.DisableCredential(keyed.ClientID, tenant.PrivateKeyJWT, own.ID)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	vault, _ := server()
	for _, name := range slices.Compact([]string{"vault", r.Vault.Command()}) { // OpenBao's users may have either
		require.NoError(t, os.Symlink(vault, filepath.Join(r.bin, name)))
	}
	r.ca = filepath.Join(r.Dir, "ca.pem")
	require.NoError(t, os.WriteFile(r.ca, []byte(r.Tenant.CACert()), 0o600))
	repository, err := filepath.Abs("..")
	require.NoError(t, err)
	entries, err := os.ReadDir(repository)
	require.NoError(t, err)
	for _, entry := range entries {
		require.NoError(t, os.Symlink(filepath.Join(repository, entry.Name()), filepath.Join(r.dir, entry.Name())))
	}
	if !bare {
		r.write("config", r.Config())
		r.write("roles/shop", map[string]any{"client_id": app.ClientID, "ttl": "1m"})
	}
	free, err := devvault.FreeAddress() // for the dev server of the README
	require.NoError(t, err)
	proxy, err := devvault.FreeAddress() // for the login proxy
	require.NoError(t, err)
	r.replaced = strings.NewReplacer(
		"-dev-listen-address=127.0.0.1:8200", "-dev-listen-address="+free,
		"VAULT_ADDR=http://127.0.0.1:8200", "VAULT_ADDR=http://"+free,
		"127.0.0.1:8404", proxy,
		"domain=example.eu.auth0.com client_id=... client_secret=...",
		"domain="+r.Tenant.Domain()+" client_id="+r.Engine.ClientID+" client_secret="+r.Engine.ClientSecret+" ca_cert=@"+r.ca+" propagation_delay=10s",
		"domain=example.eu.auth0.com client_id=... client_secret=-",
		"domain="+r.Tenant.Domain()+" client_id="+r.Engine.ClientID+" client_secret=- ca_cert=@"+r.ca+" propagation_delay=10s",
		"example.eu.auth0.com", r.Tenant.Domain(),
		"DifUedZ0WnJlbTqzEH6S1LSpasThJz37", app.ClientID, "8r4fLKnwC2qG5JaU9dX3hWpV1jZm6SbE", keyed.ClientID,
	)
	t.Cleanup(func() {
		for _, secret := range r.Tenant.EverySecret() {
			r.remember(secret)
		}
	})
	return r
}

// goEnv is where Go has its files.
var goEnv = sync.OnceValue(func() (env map[string]string) {
	out, err := exec.Command("go", "env", "-json", "GOENV", "GOPATH", "GOMODCACHE", "GOCACHE").Output()
	if err == nil {
		err = json.Unmarshal(out, &env)
	}
	if err != nil {
		panic(err)
	}
	return env
})

// run runs a script, with values of this Vault and tenant for those of the examples,
// and ends what it leaves running.
func (r *reader) run(script string) (string, error) {
	shell := exec.CommandContext(r.t.Context(), "bash", "-c", r.replaced.Replace(script))
	shell.Dir = r.dir
	shell.Env = append(os.Environ(),
		"VAULT_ADDR="+r.Vault.Addr(), "VAULT_TOKEN="+r.Vault.Token(), "PATH="+r.bin+":"+os.Getenv("PATH"), "HOME="+r.dir,
		"VAULT_PLUGIN_DIR="+filepath.Join(r.Dir, "plugins"), "BAO_PLUGIN_DIR="+filepath.Join(r.Dir, "plugins"),
		"AUTH0_DOMAIN="+r.Tenant.Domain(), "AUTH0_CLIENT_ID="+r.Engine.ClientID, "AUTH0_CLIENT_SECRET="+r.Tenant.Secret(r.Engine.ClientID),
		"SSL_CERT_FILE="+r.ca,
	)
	for name, value := range goEnv() { // not beneath the other HOME
		shell.Env = append(shell.Env, name+"="+value)
	}
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	// A file, not a pipe: that would be waited for until the last process in the
	// background has closed it.
	printed, err := os.Create(filepath.Join(r.t.TempDir(), "printed"))
	require.NoError(r.t, err)
	defer func() { _ = printed.Close() }()
	shell.Stdout, shell.Stderr = printed, printed
	require.NoError(r.t, shell.Start())
	failed := shell.Wait()
	_ = syscall.Kill(-shell.Process.Pid, syscall.SIGTERM)
	text, err := os.ReadFile(printed.Name())
	require.NoError(r.t, err)
	return string(text), failed
}

// masks are what differs each time a command is run. Where by ends in a number sign,
// different values are told apart by the order in which they come.
var masks = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "<time>"},
	{regexp.MustCompile(`((?:static-)?creds/\w+/)\w{24}`), "$1<lease>"},
	{regexp.MustCompile(`\b127\.0\.0\.1:\d+`), "<domain>"},
	{regexp.MustCompile(`example\.eu\.auth0\.com`), "<domain>"},
	{regexp.MustCompile(`[\w-]{64}`), "<secret> #"},
	{regexp.MustCompile(`\b[A-Za-z0-9]{32}\b`), "<client id> #"},
	{regexp.MustCompile(`-{3,}`), "---"},
	{regexp.MustCompile(`returned from (Vault|OpenBao)`), "returned from <server>"},
}

// masker masks the lines of a document.
type masker struct{ numbers map[string]int }

// lines puts lines in the form in which they are compared: values that differ each
// time masked, columns one space apart.
func (m *masker) lines(lines []string) []string {
	same := make([]string, len(lines))
	for i, line := range lines {
		for _, mask := range masks {
			kind, numbered := strings.CutSuffix(mask.by, "#")
			if !numbered {
				line = mask.pattern.ReplaceAllString(line, mask.by)
				continue
			}
			line = mask.pattern.ReplaceAllStringFunc(line, func(value string) string { return kind + m.number(value) })
		}
		same[i] = strings.Join(strings.Fields(line), " ")
	}
	return same
}

func (m *masker) number(value string) string {
	if m.numbers == nil {
		m.numbers = map[string]int{}
	}
	if m.numbers[value] == 0 {
		m.numbers[value] = len(m.numbers) + 1
	}
	return strconv.Itoa(m.numbers[value])
}

func TestReadBlocks(t *testing.T) {
	text := "1. first\n\n   ```sh\n   make build\n   cat <<EOF\n     text\n   EOF\n   ```\n```console\n$ one \\\n> more\nout\n\nput\n$ two\n```\n" +
		"```sh\n# needs a cluster\nkubectl\n```\n```json\n{}\n```\n"
	assert.Equal(t, []block{
		{line: 3, steps: []step{{commands: "cat <<EOF\n  text\nEOF\n"}}},
		{line: 9, steps: []step{{"one \\\nmore\n", []string{"out", "", "put"}}, {"two\n", []string{}}}},
		{line: 17, skipped: "a cluster", steps: []step{{commands: "# needs a cluster\nkubectl\n"}}},
	}, readBlocks(t, text))
}

// TestAMountOfTheFormerNameMoves by the commands of docs/migrating.md. Until then it
// works, and afterwards the role has the secret that it had.
func TestAMountOfTheFormerNameMoves(t *testing.T) {
	t.Parallel()
	needs(t, "read:client_keys")
	r := newReader(t, "docs/openbao.md") // which begins with the binary alone
	text, err := os.ReadFile("../docs/migrating.md")
	require.NoError(t, err)
	blocks := readBlocks(t, string(text))
	at := slices.IndexFunc(blocks, func(b block) bool { return b.skipped == "a mount of the former name" })
	require.GreaterOrEqual(t, at, 0)

	require.NoError(t, r.Vault.RegisterPlugin(t.Context(), devstack.Program, filepath.Join(r.Dir, "plugins", devstack.Program), ""))
	require.NoError(t, r.Vault.EnableSecrets(t.Context(), devstack.Mount, devstack.Program, ""))
	config := r.Config()
	config["propagation_delay"] = "0s"
	r.write("config", config)
	r.write("roles/shop", map[string]any{"client_id": r.replaced.Replace("DifUedZ0WnJlbTqzEH6S1LSpasThJz37"), "ttl": "10s"})
	r.write("rotate/shop", map[string]any{"force": true})
	r.awaitPhase("shop", "steady")
	before := r.read("static-creds/shop")["client_secret"]

	printed, err := r.run("set -euo pipefail\n" + blocks[at].steps[0].commands)
	require.NoError(t, err, printed)
	assert.Equal(t, before, r.read("creds/shop")["client_secret"])
	assert.Equal(t, "1", fmt.Sprint(r.read("roles/shop")["version"]), "nothing is rotated")
	mounts, err := r.Vault.Client().Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "auth0", mounts["auth0/"].Type)
	assert.NotContains(t, mounts, "auth0-former/")
}

// TestAnApplicationMovesToAKey by the commands of docs/keys.md. One that tries a key of its
// own, then its secrets, and then the key again, is never refused.
func TestAnApplicationMovesToAKey(t *testing.T) {
	t.Parallel()
	needs(t, "read:client_keys")
	r := newReader(t, "docs/keys.md")
	text, err := os.ReadFile("../docs/keys.md")
	require.NoError(t, err)
	blocks := readBlocks(t, string(text))
	at := slices.IndexFunc(blocks, func(b block) bool { return b.skipped == "the change in Auth0" })
	require.Positive(t, at)

	key, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	publicPEM, kid, err := assertion.PublicKey(key)
	require.NoError(t, err)
	signer, err := assertion.NewSigner(key, "RS256", kid)
	require.NoError(t, err)
	app := r.Tenant.AddApplicationWithKey(tenant.Application{Shape: tenant.Full}, publicPEM, "RS256")
	r.Tenant.UpdateApplication(app.ClientID, func(a *tenant.Application) { // as long as it has not moved
		a.AuthenticationMethods, a.TokenEndpointAuthMethod = nil, "client_secret_post"
	})
	r.write("roles/moving", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	r.write("token-roles/moving", map[string]any{"role": "moving", "audience": tenant.DefaultAPI})
	step := func(b block) {
		commands := strings.NewReplacer("shop", "moving", "DifUedZ0WnJlbTqzEH6S1LSpasThJz37", app.ClientID).Replace(b.steps[0].commands)
		printed, err := r.run("set -euo pipefail\n" + commands)
		require.NoError(t, err, printed)
	}

	logsIn := func(credential, value string) bool {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {app.ClientID}, "audience": {tenant.DefaultAPI}, credential: {value}}
		if credential == "client_assertion" {
			form.Set("client_assertion_type", assertion.Type)
		}
		resp, err := r.Tenant.HTTPClient().PostForm("https://"+r.Tenant.Domain()+"/oauth/token", form)
		return assert.NoError(t, err) && assert.NoError(t, resp.Body.Close()) && resp.StatusCode == http.StatusOK
	}
	byKey := func() bool {
		signed, err := signer.Sign(app.ClientID, "https://"+r.Tenant.Domain()+"/", time.Now(), time.Minute)
		return assert.NoError(t, err) && logsIn("client_assertion", signed)
	}
	secret := r.read("creds/moving")["client_secret"].(string)
	bySecret := func() bool { return logsIn("client_secret", secret) }
	byVault := func() bool {
		return logsIn("client_assertion", r.read("assertions/moving")["client_assertion"].(string))
	}

	moving, moved := make(chan struct{}), make(chan int)
	go func() { // the application, all the time
		refused := 0
		for {
			select {
			case <-moving:
				moved <- refused
				return
			default:
			}
			if !byKey() && !bySecret() && !byKey() { // the change may come between the first two
				refused++
			}
		}
	}()
	assert.True(t, bySecret() && !byKey())
	step(blocks[at-1])
	r.Tenant.UpdateApplication(app.ClientID, func(a *tenant.Application) {
		a.AuthenticationMethods, a.TokenEndpointAuthMethod = app.AuthenticationMethods, ""
	})
	assert.True(t, byKey() && !bySecret())
	step(blocks[at])
	assert.True(t, byVault() && byKey(), "both keys are accepted")
	assert.NotEmpty(t, r.read("tokens/moving")["access_token"])
	close(moving)
	assert.Zero(t, <-moved, "logins that were refused")
}
