package devvault

import (
	"context"
	"os/exec"
)

// Program is another program of a test, such as a Kubernetes API server.
type Program struct{ process *process }

// StartProgram starts a program that does not outlive this process. Its output is
// in a file.
func StartProgram(cmd *exec.Cmd, logFile string) (*Program, error) {
	process, err := startProcess(cmd, logFile)
	if err != nil {
		return nil, err
	}
	return &Program{process: process}, nil
}

// WaitUntil waits for a condition, for as long as the program runs.
func (p *Program) WaitUntil(ctx context.Context, what string, condition func() bool) error {
	return p.process.waitUntil(ctx, what, condition)
}

// Stop ends the program.
func (p *Program) Stop(ctx context.Context) error { return p.process.stop(ctx) }
