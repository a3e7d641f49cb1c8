package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"vault-plugin-secrets-auth0/internal/devstack"
)

// sizeResult is the plugin's binary beside that of the one that does nothing.
type sizeResult struct {
	Plugin        int64         `json:"plugin_bytes"`
	Baseline      int64         `json:"baseline_bytes"`
	Start         time.Duration `json:"plugin_start_ns"`
	BaselineStart time.Duration `json:"baseline_start_ns"`
}

func measureSize(ctx context.Context, _ options, r *report) error {
	sizes := map[string]int64{}
	starts := map[string][]time.Duration{}
	names := []string{devstack.Program, baselinePlugin}
	for _, name := range names {
		info, err := os.Stat(filepath.Join(binaries, name))
		if err != nil {
			return err
		}
		sizes[name] = info.Size()
	}
	for range 21 {
		for _, name := range names {
			took, err := start(ctx, filepath.Join(binaries, name))
			if err != nil {
				return err
			}
			starts[name] = append(starts[name], took)
		}
	}
	r.Size = sizeResult{
		Plugin: sizes[devstack.Program], Baseline: sizes[baselinePlugin],
		Start: time.Duration(median(starts[devstack.Program])), BaselineStart: time.Duration(median(starts[baselinePlugin])),
	}
	return nil
}

// start is how long a plugin takes until it says where it can be reached.
func start(ctx context.Context, binary string) (time.Duration, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, binary)
	// What Vault tells a plugin.
	cmd.Env = append(os.Environ(),
		"VAULT_BACKEND_PLUGIN=6669da05-b1c8-4f49-97d9-c8e5bed98e20", "PLUGIN_PROTOCOL_VERSIONS=3,4,5",
		"VAULT_PLUGIN_AUTOMTLS_ENABLED=true", "VAULT_VERSION=1.21.0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	took := time.Since(began)
	stop()
	_ = cmd.Wait() // it was killed
	if err != nil {
		return 0, fmt.Errorf("%s says nothing: %w", binary, err)
	}
	if len(line) < 3 {
		return 0, fmt.Errorf("%s says %q", binary, line)
	}
	return took, nil
}
