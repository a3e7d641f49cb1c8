package release

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// workflow is what is looked at of a workflow of GitHub.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Needs       string
		Permissions map[string]string
		Steps       []step
	}
}

type step struct {
	Run, Uses string
	With      map[string]any
}

// runs are the commands of steps, one a line.
func runs(steps []step) string {
	all := ""
	for _, step := range steps {
		if step.Run != "" {
			all += step.Run + "\n"
		}
	}
	return all
}

func decode(t *testing.T, name string, into any) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(file(t, name)), into), name)
}

// Tests, and the tools that they are run with, are a lot of code of others. A job
// that may write runs nothing but what it is for, after the tests of another; or it
// runs nothing of the repository at all.
func TestJobsThatMayWriteRunNoTests(t *testing.T) {
	t.Parallel()
	writing := 0
	for _, name := range workflows(t) {
		var w workflow
		decode(t, name, &w)
		assert.NotContains(t, values(w.Permissions), "write", "%s: all of its jobs", name)
		for job, j := range w.Jobs {
			if !strings.Contains(values(j.Permissions), "write") || name == ".github/workflows/scorecard.yml" && runs(j.Steps) == "" {
				continue
			}
			writing++
			assert.NotEmpty(t, j.Needs, "%s: %s", name, job)
			for _, step := range j.Steps {
				assert.Contains(t, []string{"", "make release"}, step.Run, "%s: %s", name, job)
			}
			assert.Equal(t, "make test\nmake release-check\n", runs(w.Jobs[j.Needs].Steps), "%s: %s", name, j.Needs)
		}
	}
	assert.Equal(t, 1, writing)
}

func TestCILooksAtTheDependencies(t *testing.T) {
	t.Parallel()
	var w workflow
	decode(t, ".github/workflows/ci.yml", &w)
	var runs []string
	for _, step := range w.Jobs["dependencies"].Steps {
		runs = append(runs, step.Run)
	}
	assert.Subset(t, runs, []string{"make vulnerabilities", "make licences"})
}

// What SHA256SUMS vouches for is attested, and whoever installs it is told how to ask.
func TestTheAttestationIsMadeAndAskedFor(t *testing.T) {
	t.Parallel()
	var w workflow
	decode(t, ".github/workflows/release.yml", &w)
	job := w.Jobs["release"]
	assert.Equal(t, "write", job.Permissions["attestations"])
	assert.Equal(t, "write", job.Permissions["id-token"])
	var subjects []string
	for _, step := range job.Steps {
		if strings.HasPrefix(step.Uses, "actions/attest@") {
			subjects = strings.Fields(step.With["subject-path"].(string))
			assert.NotContains(t, step.With, "predicate-type", "gh attestation verify looks for provenance, the default")
		}
	}
	for _, name := range []string{
		"SHA256SUMS", binaryName(pluginName, "0.1.0", "linux/amd64"), binaryName(pluginName, "0.1.0", "windows/arm64"),
		binaryName(proxyName, "0.1.0", "linux/amd64"),
	} {
		assert.True(t, slices.ContainsFunc(subjects, func(pattern string) bool {
			matched, err := path.Match(pattern, path.Join("bin/release", name))
			return err == nil && matched
		}), name)
	}
	const verify = "gh attestation verify vault-plugin-secrets-auth0_0.1.0_linux_amd64 --repo \"$OWNER/$NAME\""
	for _, document := range []string{"docs/operations.md", "CONTRIBUTING.md"} {
		assert.Contains(t, file(t, document), verify, document)
	}
	assert.Contains(t, file(t, "README.md"), "gh attestation verify")
}

func values(permissions map[string]string) string {
	all := ""
	for _, value := range permissions {
		all += value + " "
	}
	return all
}

// The image and the checksums are signed, and whoever takes them is told how to ask.
func TestTheSignaturesAreMadeAndAskedFor(t *testing.T) {
	t.Parallel()
	var w workflow
	decode(t, ".github/workflows/release.yml", &w)
	assert.Equal(t, "write", w.Jobs["release"].Permissions["packages"])
	assert.True(t, slices.ContainsFunc(w.Jobs["release"].Steps, func(s step) bool { return strings.HasPrefix(s.Uses, "sigstore/cosign-installer@") }))
	for _, image := range []string{"image@$$digest", "proxy@$$proxydigest"} {
		assert.Contains(t, file(t, "Makefile"), "\tcosign sign --yes \"$$"+image+"\"")
	}
	assert.Contains(t, file(t, ".goreleaser.yaml"), `signature: "${artifact}.sigstore.json"`)
	operations := file(t, "docs/operations.md")
	assert.Contains(t, operations, "cosign verify-blob --bundle SHA256SUMS.sigstore.json")
	assert.Contains(t, operations, "cosign verify \"ghcr.io/$OWNER/$NAME:v0.1.0\"")
	identity := "https://github.com/$OWNER/$NAME/.github/workflows/release.yml@refs/tags/v0.1.0"
	assert.Equal(t, 2, strings.Count(operations, `--certificate-identity="`+identity+`"`))
}

// Dependabot looks only where it is told to.
func TestDependabotLooksEverywhere(t *testing.T) {
	t.Parallel()
	var config struct {
		Updates []struct {
			Ecosystem   string `yaml:"package-ecosystem"`
			Directory   string
			Directories []string
		}
	}
	decode(t, ".github/dependabot.yml", &config)
	looks := map[string]bool{}
	for _, update := range config.Updates {
		for _, directory := range append(update.Directories, update.Directory) {
			looks[update.Ecosystem+" "+directory] = true
		}
	}
	ecosystems := map[string]string{"go.mod": "gomod", "package.json": "npm", "pom.xml": "maven"}
	found := 0
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if hidden := strings.HasPrefix(entry.Name(), ".") && name != root; entry.IsDir() && (hidden || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if ecosystem := ecosystems[entry.Name()]; ecosystem != "" {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			if ecosystem == "gomod" && !strings.Contains(string(text), "require") {
				return nil // there is nothing to update
			}
			found++
			relative, err := filepath.Rel(root, filepath.Dir(name))
			require.NoError(t, err)
			assert.True(t, looks[ecosystem+" "+path.Join("/", filepath.ToSlash(relative))], name)
		}
		return nil
	}))
	assert.GreaterOrEqual(t, found, 6)
	assert.True(t, looks["github-actions /"])
	assert.True(t, looks["github-actions /examples/github-actions"])
}
