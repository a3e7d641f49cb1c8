package devvault

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Program is a child process with its output in a file: a server, an Agent, or another
// program of a test. It leads a process group of its own, which its children (plugins)
// belong to.
type Program struct {
	cmd     *exec.Cmd
	logFile string
	done    chan struct{} // closed when the process has ended
}

// StartProgram starts a program that does not outlive this process. The kernel ties
// that to the thread that started it, so one thread is kept for the program's lifetime.
func StartProgram(cmd *exec.Cmd, logFile string) (*Program, error) {
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the caller's own file
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = childAttributes()
	p := &Program{cmd: cmd, logFile: logFile, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		defer close(p.done)
		defer func() { _ = output.Close() }()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	return p, <-started
}

// StartAgent starts a Vault Agent, or OpenBao's, with a configuration as its users write
// it. It works in dir, where its log is, too. What it renders appears some time later.
func StartAgent(bin, dir, config string) (*Program, error) {
	file := filepath.Join(dir, "agent.hcl")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, "agent", "-log-level=trace", "-config", file) //nolint:gosec,noctx // lives on after the call; ended by Stop
	cmd.Env, cmd.Dir = environment(), dir
	return StartProgram(cmd, filepath.Join(dir, "agent.log"))
}

// environment is this process's, without what would lead Vault or OpenBao elsewhere.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "VAULT_") || strings.HasPrefix(variable, "BAO_")
	})
}

// Stop asks the program to end, and makes it and its children end when the context does.
func (p *Program) Stop(ctx context.Context) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		p.killGroup() // plugins that are left
		return nil
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("%s did not end by itself: %w", p.cmd.Path, ctx.Err())
	}
}

// kill ends the program and its children at once.
func (p *Program) kill() {
	p.killGroup()
	<-p.done
}

func (p *Program) killGroup() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// children are the processes that the program has started, where the kernel shows them.
func (p *Program) children() []int {
	var children []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	for _, file := range files {
		text, _ := os.ReadFile(file) //nolint:gosec // of the kernel
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// WaitUntil waits for a condition, for as long as the program runs.
func (p *Program) WaitUntil(ctx context.Context, what string, condition func() bool) error {
	for !condition() {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before %s; its log ends:\n%s", p.cmd.Path, what, p.logEnd())
		case <-ctx.Done():
			return fmt.Errorf("%s: not %s: %w; its log ends:\n%s", p.cmd.Path, what, ctx.Err(), p.logEnd())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (p *Program) logEnd() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}
