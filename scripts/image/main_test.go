//go:build release

// The images of the release that `make snapshot` has made: what is in them, and that
// OpenBao takes the plugin's from a registry.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const plugin = "vault-plugin-secrets-auth0"

// release and made are where make snapshot has put things, seen from the repository.
const (
	release = "bin/release"
	made    = "bin/image"
)

func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		log.Fatal(err)
	}
	os.Exit(m.Run())
}

// local is a registry on this machine.
func local(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// layouts are where make snapshot has put the images, by program.
var layouts = map[string]string{plugin: made, "auth0-login-proxy": made + "-auth0-login-proxy"}

// pushed pushes the plugin's image and fetches it again, as it is for each platform.
func pushed(t *testing.T, repository, version string) map[string]v1.Image {
	t.Helper()
	return pushedFrom(t, made, repository, version)
}

func pushedFrom(t *testing.T, layout, repository, version string) map[string]v1.Image {
	t.Helper()
	require.NoError(t, command([]string{"push", layout, repository + ":v" + version, repository + ":" + version}))
	images := map[string]v1.Image{}
	var digests []v1.Hash
	for _, tag := range []string{"v" + version, version} {
		reference, err := name.ParseReference(repository + ":" + tag)
		require.NoError(t, err)
		index, err := remote.Index(reference)
		require.NoError(t, err)
		require.NoError(t, validate.Index(index))
		digest, err := index.Digest()
		require.NoError(t, err)
		digests = append(digests, digest)
		manifest, err := index.IndexManifest()
		require.NoError(t, err)
		for _, descriptor := range manifest.Manifests {
			images[descriptor.Platform.String()], err = index.Image(descriptor.Digest)
			require.NoError(t, err)
		}
	}
	assert.Equal(t, digests[1], digests[0])
	return images
}

func TestTheImagesHaveTheBinaryAndWhatItNeeds(t *testing.T) {
	version, sums := released(t)
	registry := local(t)
	for program, layout := range layouts {
		images := pushedFrom(t, layout, registry+"/auth0/"+program, version)
		assert.Len(t, images, 2)
		checkImages(t, program, version, sums, images)
	}
}

func checkImages(t *testing.T, program, version string, sums map[string]string, images map[string]v1.Image) {
	t.Helper()
	for platform, image := range images {
		config, err := image.ConfigFile()
		require.NoError(t, err)
		assert.Equal(t, platform, config.OS+"/"+config.Architecture)
		assert.Equal(t, "/"+program, strings.Join(config.Config.Entrypoint, " "))
		assert.Empty(t, config.Config.Cmd)
		assert.Equal(t, "65532:65532", config.Config.User)
		assert.Equal(t, version, config.Config.Labels["org.opencontainers.image.version"])

		files := contents(t, image, program)
		assert.Equal(t, sums[program+"_"+version+"_"+strings.ReplaceAll(platform, "/", "_")], hash(files[program]))
		for in, from := range map[string]string{"LICENSE": "LICENSE", "THIRD_PARTY_LICENSES.txt": "bin/THIRD_PARTY_LICENSES.txt"} {
			text, err := os.ReadFile(from)
			require.NoError(t, err)
			assert.Equal(t, hash(text), hash(files["licenses/"+in]))
		}
		certificates := files["etc/ssl/certs/ca-certificates.crt"]
		assert.True(t, x509.NewCertPool().AppendCertsFromPEM(certificates))
		assert.Greater(t, bytes.Count(certificates, []byte("BEGIN CERTIFICATE")), 100)
		assert.Len(t, files, 4)
	}
}

// contents are the files of an image, which has nothing else but folders. Only the
// program can be run.
func contents(t *testing.T, image v1.Image, program string) map[string][]byte {
	t.Helper()
	archive := mutate.Extract(image)
	defer archive.Close()
	files := map[string][]byte{}
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		switch header.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			files[header.Name], err = io.ReadAll(reader)
			require.NoError(t, err)
			assert.Zero(t, header.Mode&0o222, header.Name)
			assert.Equal(t, header.Name == program, header.Mode&0o111 != 0, header.Name)
		default:
			t.Errorf("%s is no file", header.Name)
		}
	}
}

func TestTheImagesAreReproducible(t *testing.T) {
	for program, layout := range layouts {
		again := filepath.Join(t.TempDir(), "image")
		require.NoError(t, command([]string{"build", program, release, again}))
		for _, file := range []string{"index.json", "oci-layout"} {
			first, err := os.ReadFile(filepath.Join(layout, file))
			require.NoError(t, err)
			second, err := os.ReadFile(filepath.Join(again, file))
			require.NoError(t, err)
			assert.Equal(t, string(first), string(second))
		}
	}
}

// TestOpenBaoTakesTheImage: a server whose configuration names the image downloads,
// registers and runs it.
func TestOpenBaoTakesTheImage(t *testing.T) {
	bao := openBao(t)
	version, sums := released(t)
	repository := local(t) + "/auth0"
	pushed(t, repository, version)
	ours := sums[plugin+"_"+version+"_linux_"+runtime.GOARCH]

	t.Run("with another hash it does not start", func(t *testing.T) {
		server := start(t, bao, repository, "v"+version, strings.Repeat("0", 64))
		select {
		case <-server.ended:
			assert.Contains(t, server.output(), "hash mismatch")
		case <-time.After(patience):
			t.Error("it runs: " + server.output())
		}
	})
	t.Run("with the hash of the release it runs", func(t *testing.T) {
		server := start(t, bao, repository, "v"+version, ours)
		var opened struct {
			Keys  []string `json:"keys"`
			Token string   `json:"root_token"`
		}
		server.ask(http.MethodPut, "sys/init", `{"secret_shares": 1, "secret_threshold": 1}`, &opened)
		server.ask(http.MethodPut, "sys/unseal", `{"key": "`+opened.Keys[0]+`"}`, nil)
		server.token = opened.Token
		server.ask(http.MethodPost, "sys/mounts/auth0", `{"type": "auth0"}`, nil)
		var mounts struct {
			Data map[string]struct {
				Version string `json:"running_plugin_version"`
				SHA256  string `json:"running_sha256"`
			} `json:"data"`
		}
		server.ask(http.MethodGet, "sys/mounts", "", &mounts)
		assert.Equal(t, "v"+version, mounts.Data["auth0/"].Version)
		assert.Equal(t, ours, mounts.Data["auth0/"].SHA256)
		server.ask(http.MethodGet, "auth0/status", "", nil)
	})
}

// TestOpenBaoInitializesItself runs examples/openbao/server.hcl, with other addresses,
// folders and names.
func TestOpenBaoInitializesItself(t *testing.T) {
	bao := openBao(t)
	version, sums := released(t)
	repository := local(t) + "/auth0"
	pushed(t, repository, version)
	domain, ca, clientID, secret := simulatedTenant(t)

	example, err := os.ReadFile("examples/openbao/server.hcl")
	require.NoError(t, err)
	server := run(t, bao, func(dir, addr string) string {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "unseal.key"), []byte(strings.Repeat("k", 32)), 0o600))
		text := regexp.MustCompile(`(?m)^  tls_.*$`).ReplaceAllString(string(example), "  tls_disable = true")
		for from, to := range map[string]string{
			`"ghcr.io/OWNER/NAME"`:               `"` + repository + `"`,
			`"v0.1.0"`:                           `"v` + version + `"`,
			`"` + strings.Repeat("0", 64) + `"`:  `"` + sums[plugin+"_"+version+"_linux_"+runtime.GOARCH] + `"`,
			`"0.0.0.0:8200"`:                     `"` + addr + `"`,
			`"https://openbao.example.com:8200"`: `"http://` + addr + `"`,
			`"https://openbao.example.com:8201"`: `"https://127.0.0.1:0"`,
			`/opt/openbao/`:                      dir + "/",
			`"example.eu.auth0.com"`:             `"` + domain + `"` + "\n      ca_cert   = " + strconv.Quote(ca),
			`"THE-ENGINES-CLIENT-ID"`:            `"` + clientID + `"`,
		} {
			require.Contains(t, text, from)
			text = strings.ReplaceAll(text, from, to)
		}
		return text
	}, "OPERATOR_PASSWORD=of the operator", "AUTH0_CLIENT_SECRET="+secret)

	var login struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	server.ask(http.MethodPut, "auth/userpass/login/operator", `{"password": "of the operator"}`, &login)
	server.token = login.Auth.Token
	var config struct {
		Data struct {
			Rotated string `json:"last_vault_rotation"`
		} `json:"data"`
	}
	server.ask(http.MethodGet, "auth0/config", "", &config)
	assert.NotEmpty(t, config.Data.Rotated, "the engine's own secret was rotated")
}

// simulatedTenant runs a tenant until the test ends.
func simulatedTenant(t *testing.T) (domain, ca, clientID, secret string) {
	t.Helper()
	program, file := filepath.Join(t.TempDir(), "simulated-tenant"), filepath.Join(t.TempDir(), "ca.pem")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/simulated-tenant").CombinedOutput()
	require.NoError(t, err, "%s", out)
	tenant := exec.CommandContext(t.Context(), program, "-ca-out="+file, "-propagation=0s", "-every=0")
	output, err := tenant.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, tenant.Start())
	t.Cleanup(func() { _ = tenant.Wait() })
	lines := bufio.NewScanner(output)
	for clientID == "" && lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch fields[0] {
		case "domain":
			domain = fields[1]
		case "management":
			clientID, secret = strings.TrimPrefix(fields[1], "client_id="), strings.TrimPrefix(fields[2], "client_secret=")
		}
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return domain, string(text), clientID, secret
}

// openBao is the one that scripts/bao.sh finds or fetches.
func openBao(t *testing.T) string {
	t.Helper()
	found := exec.CommandContext(t.Context(), "scripts/bao.sh")
	found.Stderr = os.Stderr
	path, err := found.Output()
	require.NoError(t, err)
	bao := strings.TrimSpace(string(path))
	if bao == "" {
		t.Skip("skipped: there is no OpenBao, as scripts/bao.sh says above")
	}
	text, err := exec.CommandContext(t.Context(), bao, "version").CombinedOutput()
	require.NoError(t, err)
	t.Log(strings.TrimSpace(string(text)))
	return bao
}

// patience is for a server that never does what is waited for: one on a busy machine does.
const patience = 10 * time.Minute

type baoServer struct {
	t     *testing.T
	addr  string
	token string
	log   string
	ended chan struct{}
}

// start runs a server that has the image in its configuration, until the test ends.
func start(t *testing.T, bao, image, version, sum string) *baoServer {
	t.Helper()
	return run(t, bao, func(dir, addr string) string {
		return fmt.Sprintf(`
storage "raft" {
  path    = "%[1]s/data"
  node_id = "one"
}

listener "tcp" {
  address     = "%[2]s"
  tls_disable = true
}

api_addr             = "http://%[2]s"
cluster_addr         = "https://127.0.0.1:0"
plugin_directory     = "%[1]s/plugins"
plugin_auto_download = true
plugin_auto_register = true

plugin "secret" "auth0" {
  image       = "%[3]s"
  version     = "%[4]s"
  binary_name = "vault-plugin-secrets-auth0"
  sha256sum   = "%[5]s"
}
`, dir, addr, image, version, sum)
	})
}

// run runs a server with a configuration, which is made for its folder and address.
func run(t *testing.T, bao string, configuration func(dir, addr string) string, environment ...string) *baoServer {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, folder := range []string{"plugins", "data", "audit"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, folder), 0o700))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	s := &baoServer{t: t, addr: "http://" + addr, log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	config := filepath.Join(dir, "bao.hcl")
	require.NoError(t, os.WriteFile(config, []byte(configuration(dir, addr)), 0o600))
	output, err := os.Create(s.log)
	require.NoError(t, err)
	server := exec.CommandContext(context.WithoutCancel(t.Context()), bao, "server", "-config="+config)
	server.Env, server.Stdout, server.Stderr = append(os.Environ(), environment...), output, output
	require.NoError(t, server.Start())
	go func() { _ = server.Wait(); close(s.ended) }()
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		<-s.ended
		require.NoError(t, output.Close())
		if t.Failed() {
			t.Log(s.output())
		}
	})
	return s
}

func (s *baoServer) output() string {
	text, err := os.ReadFile(s.log)
	require.NoError(s.t, err)
	return string(text)
}

// ask asks until there is an answer: the server starts, is unsealed, registers.
func (s *baoServer) ask(method, path, body string, answer any) {
	s.t.Helper()
	said := ""
	for end := time.Now().Add(patience); time.Now().Before(end); {
		request, err := http.NewRequestWithContext(s.t.Context(), method, s.addr+"/v1/"+path, strings.NewReader(body))
		require.NoError(s.t, err)
		request.Header.Set("X-Vault-Token", s.token)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			text, err := io.ReadAll(response.Body)
			require.NoError(s.t, errors.Join(err, response.Body.Close()))
			if response.StatusCode < 300 {
				if answer != nil {
					require.NoError(s.t, json.Unmarshal(text, answer))
				}
				return
			}
			said = string(text)
		}
		select {
		case <-s.ended:
			s.t.Fatal("the server has ended")
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.t.Fatalf("%s: %s", path, said)
}

// released is the version, and what SHA256SUMS says of it, by name of a file.
func released(t *testing.T) (version string, sums map[string]string) {
	t.Helper()
	text, err := os.ReadFile(release + "/metadata.json")
	require.NoError(t, err)
	var metadata struct{ Version string }
	require.NoError(t, json.Unmarshal(text, &metadata))
	text, err = os.ReadFile(release + "/SHA256SUMS")
	require.NoError(t, err)
	sums = map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^(\w{64})  (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		sums[line[2]] = line[1]
	}
	return metadata.Version, sums
}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
