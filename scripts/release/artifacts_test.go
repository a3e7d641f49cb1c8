//go:build release

package release

import (
	"debug/buildinfo"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devvault"
)

// catalogName is the plugin's name in Vault's catalog.
const catalogName = "auth0"

// dist is where goreleaser has put the release.
const dist = root + "/bin/release"

// platforms are those that a release is for.
var platforms = []string{
	"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64",
}

// version is the version that was built, without a v.
func version(t *testing.T) string {
	t.Helper()
	return find(t, "bin/release/metadata.json", `"version":"([^"]+)"`)
}

// binaries are the names of the files of a release, by program and platform.
func binaries(t *testing.T) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for _, program := range programs {
		all[program] = map[string]string{}
		for _, platform := range platforms {
			all[program][platform] = binaryName(program, version(t), platform)
		}
	}
	return all
}

// sums is what SHA256SUMS says, by name of a file.
func sums(t *testing.T) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for line := range strings.Lines(file(t, "bin/release/SHA256SUMS")) {
		found := regexp.MustCompile(`^([0-9a-f]{64})  (\S+)\n$`).FindStringSubmatch(line)
		require.NotNil(t, found, line)
		sums[found[2]] = found[1]
	}
	return sums
}

func TestReleaseHasAllBinariesAndTheirHashes(t *testing.T) {
	sums := sums(t)
	assert.Len(t, sums, len(programs)*len(platforms), "nothing but the binaries: the file can be made again")
	for _, files := range binaries(t) {
		for _, name := range files {
			assert.Equal(t, hashOf(t, filepath.Join(dist, name)), sums[name], name)
		}
	}
}

func TestReleaseIsBuiltWithoutTracesOfTheMachine(t *testing.T) {
	toolchain := find(t, "go.mod", `(?m)^toolchain (\S+)$`)
	for program, files := range binaries(t) {
		for platform, name := range files {
			info, err := buildinfo.ReadFile(filepath.Join(dist, name))
			require.NoError(t, err)
			assert.Equal(t, toolchain, info.GoVersion)
			settings := map[string]string{}
			for _, setting := range info.Settings {
				settings[setting.Key] = setting.Value
				assert.False(t, strings.HasPrefix(setting.Key, "vcs"), setting.Key)
			}
			assert.Equal(t, platform, settings["GOOS"]+"/"+settings["GOARCH"])
			assert.Equal(t, "0", settings["CGO_ENABLED"])
			assert.Equal(t, "true", settings["-trimpath"])
			assert.True(t, strings.HasSuffix(info.Path, "/cmd/"+program), info.Path)
		}
	}
}

// The login proxy is a program of its own, for hosts of applications: nothing of the
// plugin is in it.
func TestTheLoginProxyDoesNotContainThePlugin(t *testing.T) {
	info, err := buildinfo.ReadFile(filepath.Join(dist, binaryName(proxyName, version(t), "linux/amd64")))
	require.NoError(t, err)
	for _, module := range info.Deps {
		assert.NotEqual(t, "github.com/hashicorp/vault/sdk", module.Path)
	}
}

// The SBOM names every module that Go has linked, in the version that it has linked.
func TestReleaseHasSBOMs(t *testing.T) {
	var all []string
	for _, files := range binaries(t) {
		all = slices.AppendSeq(all, maps.Values(files))
	}
	for _, name := range all {
		info, err := buildinfo.ReadFile(filepath.Join(dist, name))
		require.NoError(t, err)
		var sbom struct {
			SPDXVersion string `json:"spdxVersion"`
			Packages    []struct {
				Name    string `json:"name"`
				Version string `json:"versionInfo"`
			} `json:"packages"`
		}
		require.NoError(t, json.Unmarshal([]byte(file(t, "bin/release/"+name+".spdx.json")), &sbom))
		assert.Regexp(t, `^SPDX-2\.`, sbom.SPDXVersion)
		listed := map[string]bool{}
		for _, p := range sbom.Packages {
			listed[p.Name+"@"+p.Version] = true
		}
		assert.True(t, listed[pluginName+"@v"+version(t)], "our own module, in %s", name)
		require.NotEmpty(t, info.Deps)
		for _, module := range info.Deps {
			assert.True(t, listed[module.Path+"@"+module.Version], "%s is not in the SBOM of %s", module.Path, name)
		}
		assert.True(t, listed["stdlib@"+info.GoVersion], "Go itself, in %s", name)
	}
}

// One file has the licences of everything that Go has linked into any of the binaries,
// in the version that it has linked.
func TestReleaseHasLicences(t *testing.T) {
	text := file(t, "bin/THIRD_PARTY_LICENSES.txt")
	assert.NotContains(t, text, os.Getenv("HOME"), "a trace of the machine")
	line := strings.Repeat("=", 80) + "\n"
	for _, files := range binaries(t) {
		for _, name := range files {
			info, err := buildinfo.ReadFile(filepath.Join(dist, name))
			require.NoError(t, err)
			require.NotEmpty(t, info.Deps)
			for _, module := range info.Deps {
				require.Nil(t, module.Replace, "the licence of another module would be shown")
				_, licence, found := strings.Cut(text, line+module.Path+" "+module.Version+"\n")
				if !assert.True(t, found, "%s is not there, for %s", module.Path, name) {
					continue
				}
				_, licence, _ = strings.Cut(licence, line)
				licence, _, _ = strings.Cut(licence, line)
				assert.Greater(t, len(licence), 500, "the licence of %s is not there", module.Path)
			}
		}
	}
	for _, notice := range []string{"google.golang.org/grpc v", "go.yaml.in/yaml/v3 v"} {
		assert.Regexp(t, "\n"+regexp.QuoteMeta(notice)+`\S+: NOTICE`, text)
	}
	assert.Contains(t, text, "\nGo: LICENSE\n")
	assert.Regexp(t, `(?m)^    - glob: bin/THIRD_PARTY_LICENSES\.txt`, file(t, ".goreleaser.yaml"), "it is published")
	assert.Regexp(t, `(?m)^    - glob: LICENSE$`, file(t, ".goreleaser.yaml"))
}

// What is under a licence that is not on the list is named, and nothing is released.
func TestReleaseTakesNoOtherLicences(t *testing.T) {
	tools, err := filepath.Abs(filepath.Join(root, find(t, "Makefile", `(?m)^LICENCES +:= (\S+)$`)))
	require.NoError(t, err)
	allowed := filepath.Join(t.TempDir(), "allowed.json")
	require.NoError(t, os.WriteFile(allowed, []byte(`{"allowlist": ["Apache-2.0", "BSD-3-Clause", "MIT"]}`), 0o600))
	cmd := exec.CommandContext(t.Context(), "scripts/licences/collect.sh", filepath.Join(t.TempDir(), "licences"), "./cmd/"+pluginName)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "LICENCES="+tools, "ALLOWED="+allowed)
	output, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Regexp(t, `dependency github\.com/hashicorp/\S+ uses licence MPL-2\.0 which is not allowed`, string(output))
}

// An operator downloads the binary, and registers it by its line of SHA256SUMS.
func TestReleaseIsRegisteredByItsLine(t *testing.T) {
	name := binaryName(pluginName, version(t), runtime.GOOS+"/"+runtime.GOARCH)
	sum := sums(t)[name]
	require.NotEmpty(t, sum, "there is no release for this machine")
	plugins, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, copyFile(filepath.Join(plugins, name), filepath.Join(dist, name), 0o755))
	bin, err := devvault.Binary(t.Context())
	require.NoError(t, err)
	server, err := devvault.StartServer(t.Context(), devvault.ServerOptions{
		Bin: bin, PluginDir: plugins, WorkDir: t.TempDir(), Storage: "inmem",
	})
	require.NoError(t, err)
	t.Cleanup(server.Kill)
	vault := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Env = append(os.Environ(), "VAULT_ADDR="+server.Addr(), "VAULT_TOKEN="+server.Token())
		output, err := cmd.CombinedOutput()
		return string(output), err
	}
	register := func(sum, version string) (string, error) {
		return vault("plugin", "register", "-sha256="+sum, "-command="+name, "-version=v"+version, "secret", catalogName)
	}

	output, err := register(sum, "9.9.9")
	require.Error(t, err, "registered as another version: %s", output)
	output, err = register(strings.Repeat("0", len(sum)), version(t))
	require.NoError(t, err, output) // Vault looks at the hash when it starts the plugin
	output, err = vault("secrets", "enable", catalogName)
	require.Error(t, err, "started with another hash: %s", output)
	output, err = register(sum, version(t))
	require.NoError(t, err, output)
	output, err = vault("secrets", "enable", catalogName)
	require.NoError(t, err, output)
	mounts, err := server.Client().Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "v"+version(t), mounts["auth0/"].RunningVersion)
	assert.Equal(t, sum, mounts["auth0/"].RunningSha256)
	output, err = vault("read", "auth0/status")
	require.NoError(t, err, output)
}

// The sources make the same bytes by make, in another place, without git and with
// nothing in the cache. PLATFORMS says for which platforms.
func TestReleaseIsReproducible(t *testing.T) {
	sums := sums(t)
	dir := filepath.Join(t.TempDir(), "somewhere", "else entirely")
	copySources(t, dir)
	for i, platform := range strings.Fields(os.Getenv("PLATFORMS")) {
		require.Contains(t, platforms, platform)
		system, machine, _ := strings.Cut(platform, "/")
		cache := filepath.Join(t.TempDir(), "cache")
		start := time.Now()
		t.Logf("%d: building the programs for %s with an empty cache ...", i+1, platform)
		hashes := buildPrograms(t, dir, "VERSION=v"+version(t), "GOOS="+system, "GOARCH="+machine, "GOCACHE="+cache)
		for program, hash := range hashes {
			assert.Equal(t, sums[binaryName(program, version(t), platform)], hash, "%s for %s", program, platform)
		}
		t.Logf("%d: %v (%s)", i+1, hashes, time.Since(start).Round(time.Second))
		require.NoError(t, os.RemoveAll(cache))
	}
	require.NotEmpty(t, os.Getenv("PLATFORMS"), "for no platform")
}
