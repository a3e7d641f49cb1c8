//go:build release

package release

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// programs are those of a release.
var programs = []string{pluginName, proxyName}

// copySources copies what the programs are built from to dir: all Go code, and what
// says how. Nothing of git's goes along.
func copySources(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch hidden := strings.HasPrefix(entry.Name(), ".") && name != "."; {
		case entry.IsDir() && (hidden || name == "bin"):
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o750)
		case !entry.Type().IsRegular() || hidden:
			return nil
		}
		return copyFile(filepath.Join(dir, name), path, 0o600)
	}))
}

// buildPrograms builds the programs in dir as make does, and returns their hashes, by
// name. The environment is this process's, without what a make around it has left,
// and with what is given.
func buildPrograms(t *testing.T, dir string, environment ...string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "make", "--directory", dir, "build")
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MAKE") && !strings.HasPrefix(variable, "MFLAGS=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, environment...)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
	hashes := map[string]string{}
	for _, program := range programs {
		hashes[program] = hashOf(t, filepath.Join(dir, "bin", program))
	}
	return hashes
}

// hashOf is a file's SHA-256, in hexadecimal.
func hashOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	hash := sha256.Sum256(content)
	return hex.EncodeToString(hash[:])
}

// copyFile makes a file of another's content.
func copyFile(to, from string, mode os.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, mode)
}
