package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func text(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Clean(file))
	require.NoError(t, err)
	return string(content)
}

var (
	accountLine    = regexp.MustCompile(`(?m)^(User|Group)=(.+)$`)
	madeUser       = regexp.MustCompile(`(?m)^useradd .* (\S+)$`)
	filePath       = regexp.MustCompile(`_file_path += "(.+)"`)
	configuration  = regexp.MustCompile(`-config=(\S+)`)
	systemdSection = regexp.MustCompile(`(?ms)^## systemd\n(.*?)^## `)
)

// TestSystemdSetUp: the document makes the users that the units run as, and gives
// the Agent the files that it reads, as its user.
func TestSystemdSetUp(t *testing.T) {
	section := systemdSection.FindString(text(t, "../docs/examples.md"))
	require.NotEmpty(t, section)
	var made []string
	for _, found := range madeUser.FindAllStringSubmatch(section, -1) {
		made = append(made, found[1])
	}
	units, err := filepath.Glob("systemd/*.service")
	require.NoError(t, err)
	require.NotEmpty(t, units)
	for _, unit := range units {
		for _, found := range accountLine.FindAllStringSubmatch(text(t, unit), -1) {
			assert.Contains(t, made, found[2], "%s: %s", unit, found[1])
		}
	}

	agent := text(t, "systemd/shop-auth0.service")
	config := configuration.FindStringSubmatch(agent)[1]
	assert.Contains(t, section, "install -D -m 644 examples/vault-agent/"+filepath.Base(config)+" "+config+"\n")
	read := filePath.FindAllStringSubmatch(text(t, "vault-agent/"+filepath.Base(config)), -1)
	require.Len(t, read, 2)
	for _, found := range read {
		assert.Regexp(t, `install -m 400 -o shop-auth0 .* `+regexp.QuoteMeta(found[1])+`\n`, section)
	}
	assert.Contains(t, agent, "\nRuntimeDirectoryPreserve=yes\n", "a stopped Agent takes the file along")
}
