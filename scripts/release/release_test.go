// Package release checks what a release is made from, and, with the build tag
// release, what `make snapshot` has made (`make release-check`).
package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// root is the repository, seen from this package.
const root = "../.."

// The programs of a release: their binaries, and the commands that they are built from.
const (
	pluginName = "vault-plugin-secrets-auth0"
	proxyName  = "auth0-login-proxy"
)

// binaryName is the name of the file of a release for a program and a platform.
func binaryName(program, version, platform string) string {
	name := program + "_" + version + "_" + strings.ReplaceAll(platform, "/", "_")
	if strings.HasPrefix(platform, "windows/") {
		name += ".exe"
	}
	return name
}

// file is the text of a file of the repository.
func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

// find is what the pattern's one group matches in a file, the first time.
func find(t *testing.T, name, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(file(t, name))
	require.NotNil(t, found, "%s has nothing like %s", name, pattern)
	return found[1]
}

// What is built between releases is called after the next one.
func TestTheVersionOfTheChangelogIsTheVersionThatIsBuilt(t *testing.T) {
	t.Parallel()
	assert.Equal(t,
		find(t, "CHANGELOG.md", `(?m)^## \[(.+?)\]`)+"-dev",
		find(t, "Makefile", `echo v(\S+)\)`))
}

func TestOneGoForAll(t *testing.T) {
	t.Parallel()
	least := find(t, "go.mod", `(?m)^go (\d+\.\d+)`)
	assert.Equal(t, least, find(t, "README.md", `Go (\d+\.\d+) or newer`))
	assert.NotEmpty(t, find(t, "go.mod", `(?m)^toolchain (go\d+\.\d+\.\d+)$`), "releases are built with it")
	for _, workflow := range workflows(t) {
		text := file(t, workflow)
		assert.NotContains(t, text, "go-version:", "%s names a Go of its own", workflow)
		assert.Equal(t, strings.Count(text, "actions/setup-go@"), strings.Count(text, "go-version-file: go.mod"), workflow)
	}
}

// A tag can be moved, a commit cannot; Dependabot needs the version beside it.
func TestWorkflowsUsePinnedActionsAndSayTheirPermissions(t *testing.T) {
	t.Parallel()
	for _, workflow := range append(workflows(t), "examples/github-actions/e2e.yml") {
		text := file(t, workflow)
		uses := regexp.MustCompile(`uses:.*`).FindAllString(text, -1)
		require.NotEmpty(t, uses)
		for _, use := range uses {
			assert.Regexp(t, `^uses: [\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`, use, workflow)
		}
		assert.Regexp(t, `(?m)^permissions:`, text, "%s has all that the repository grants", workflow)
	}
}

func TestNotesOfARelease(t *testing.T) {
	t.Parallel()
	const changelog = "# Changelog\n\n" +
		"## [0.3.0] - Unreleased\n\n### Added\n\n- More.\n\n" +
		"## [0.2.0] - 2026-02-01\n\n### Fixed\n\n- A fault.\n\n" +
		"## [0.1.0] - 2026-01-01\n\n" +
		"[0.1.0]: https://example.com\n"
	for name, c := range map[string]struct{ version, notes, fault string }{
		"a version's section":  {version: "v0.2.0", notes: "\n### Fixed\n\n- A fault.\n"},
		"no date yet":          {version: "v0.3.0", fault: "no date"},
		"no section":           {version: "v0.2.1", fault: "no section"},
		"nothing in it":        {version: "v0.1.0", fault: "says nothing"},
		"a dot is only a dot":  {version: "v0x2.0", fault: "no section"},
		"development versions": {version: "v0.2.0-dev", fault: "no section"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "CHANGELOG.md")
			require.NoError(t, os.WriteFile(path, []byte(changelog), 0o600))
			cmd := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "release-notes.sh"), c.version)
			cmd.Env = append(os.Environ(), "CHANGELOG="+path)
			var faults strings.Builder
			cmd.Stderr = &faults
			notes, err := cmd.Output()
			assert.Equal(t, c.fault == "", err == nil, faults.String())
			assert.Equal(t, c.notes, string(notes))
			assert.Contains(t, faults.String(), c.fault)
		})
	}
}

// They say where the images are, and which they are.
func TestNotesOfAReleaseNameTheImages(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "CHANGELOG.md")
	require.NoError(t, os.WriteFile(path, []byte("## [0.2.0] - 2026-02-01\n\n- A fault.\n"), 0o600))
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "release-notes.sh"), "v0.2.0",
		"ghcr.io/owner/name@sha256:abc", "ghcr.io/owner/name/auth0-login-proxy@sha256:def")
	cmd.Env = append(os.Environ(), "CHANGELOG="+path)
	notes, err := cmd.Output()
	require.NoError(t, err)
	assert.Equal(t, "\n- A fault.\n\n### Images\n\n`ghcr.io/owner/name`, with the tags `v0.2.0` (for OpenBao) and `0.2.0` (for Vault):\n\n    sha256:abc\n"+
		"\n`ghcr.io/owner/name/auth0-login-proxy`, with the same tags:\n\n    sha256:def\n", string(notes))
}

// workflows are the files in .github/workflows.
func workflows(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.y*ml"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	names := make([]string, len(paths))
	for i, path := range paths {
		names[i], err = filepath.Rel(root, path)
		require.NoError(t, err)
	}
	return names
}
