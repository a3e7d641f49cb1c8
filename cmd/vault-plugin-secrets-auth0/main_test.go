package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/doctor"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestBinary runs the real one, as a user does.
func TestBinary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "vault-plugin-secrets-auth0")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, ".") // as make builds it, with what that has compiled
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	built, err := build.CombinedOutput()
	require.NoError(t, err, "%s", built)
	tn, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	engine := tn.AddManagementApplication("update:client_keys", "read:clients", "read:client_keys")
	shop := tn.AddApplication(tenant.Application{Name: "shop"})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, []byte(tn.CACert()), 0o600))

	run := func(secret string, args ...string) (code int, out, told string) {
		command := exec.Command(binary, args...)
		command.Env = []string{"AUTH0_DOMAIN=" + tn.Domain(), "AUTH0_CLIENT_ID=" + engine.ClientID, "AUTH0_CLIENT_SECRET=" + secret}
		var stdout, stderr bytes.Buffer
		command.Stdout, command.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := command.Run(); !errors.As(err, &exit) {
			require.NoError(t, err)
		}
		for _, secret := range tn.EverySecret() {
			assert.NotContains(t, stdout.String()+stderr.String(), secret)
		}
		return command.ProcessState.ExitCode(), stdout.String(), stderr.String()
	}

	code, out, told := run(engine.ClientSecret, "doctor", "-ca_cert=@"+ca, "-format=json")
	assert.Equal(t, doctor.ExitOK, code, told)
	var report doctor.Report
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	assert.True(t, report.OK)
	assert.Equal(t, shop.ClientID, report.Applications.List[0].ClientID)
	assert.Empty(t, told)

	code, out, _ = run("not-the-secret", "doctor", "-ca_cert=@"+ca)
	assert.Equal(t, doctor.ExitFailed, code)
	assert.Contains(t, out, "Auth0 refused (401 access_denied)")
	code, _, told = run(engine.ClientSecret, "docter")
	assert.Equal(t, doctor.ExitUsage, code)
	assert.Contains(t, told, `unknown argument "docter"`)
	code, _, told = run(engine.ClientSecret, "doctor", "-surprise")
	assert.Equal(t, doctor.ExitUsage, code)
	assert.Contains(t, told, "-surprise")

	code, out, _ = run("", "-version")
	assert.Zero(t, code)
	assert.Contains(t, out, "vault-plugin-secrets-auth0 v")
	folder := t.TempDir()
	for range 2 { // the second time it replaces the first
		code, _, told = run("", "install", folder)
		assert.Zero(t, code, told)
	}
	code, _, told = run("", "install", filepath.Join(folder, "is not there"))
	assert.Equal(t, 1, code)
	assert.Contains(t, told, "is not there")
	original, err := os.ReadFile(binary)
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	_, version, _ := strings.Cut(strings.TrimSpace(out), " v")
	assert.Equal(t, "vault-plugin-secrets-auth0_"+version, filepath.Base(files[0]))
	installed, err := os.ReadFile(files[0])
	require.NoError(t, err)
	assert.True(t, bytes.Equal(original, installed))
	info, err := os.Stat(files[0])
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	code, _, told = run("", "-h")
	assert.Zero(t, code)
	assert.Contains(t, told, "doctor")
}
