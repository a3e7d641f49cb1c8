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

// A tag can be moved, a digest cannot.
func TestTheBaseOfTheImageIsPinned(t *testing.T) {
	t.Parallel()
	for _, from := range regexp.MustCompile(`(?m)^FROM .*$`).FindAllString(file(t, "Containerfile"), -1) {
		assert.Regexp(t, `^FROM \S+@sha256:[0-9a-f]{64}$`, from)
	}
}

// The commands at the head of the Containerfile register what was built, also
// between releases. They are run with a real binary; docker and vault only note
// down what they are called with.
func TestCommandsOfTheContainerfile(t *testing.T) {
	t.Parallel()
	commands := strings.Join(regexp.MustCompile(`(?m)^#   (.*)$`).FindAllString(file(t, "Containerfile"), -1), "\n")
	commands = strings.ReplaceAll(commands, "#   ", "")
	build, commands, found := strings.Cut(commands, "\n")
	require.True(t, found)
	require.Equal(t, "make build licences", build)

	dir := t.TempDir()
	copySources(t, dir)
	const version = "9.8.7-dev"
	buildPlugin(t, dir, "VERSION=v"+version)
	stubs := t.TempDir()
	calls := filepath.Join(stubs, "calls")
	for _, program := range []string{"docker", "vault"} {
		stub := "#!/bin/sh\necho \"${0##*/} $*\" >>" + calls + "\ntest \"$1\" != image || echo sha256:abc\n"
		require.NoError(t, os.WriteFile(filepath.Join(stubs, program), []byte(stub), 0o700))
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+stubs+string(os.PathListSeparator)+os.Getenv("PATH"))
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	called, err := os.ReadFile(calls)
	require.NoError(t, err)
	image := pluginName + ":" + version
	assert.Equal(t, []string{
		"docker build -f Containerfile -t " + image + " .",
		"docker image inspect --format {{.Id}} " + image,
		"vault plugin runtime register -type=container -oci_runtime=runc runc",
		"vault plugin register -oci_image=" + pluginName + " -version=v" + version + " -runtime=runc -sha256=abc secret " + catalogName,
	}, strings.Split(strings.TrimSpace(string(called)), "\n"))
}
