package devvault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a child process with its output in a file. It is the leader of a
// group of its own, which its own children (plugins) belong to.
type process struct {
	cmd     *exec.Cmd
	logFile string
	done    chan struct{} // closed when the process has ended
}

// startProcess starts a child that does not outlive this process. The kernel
// ties that to the thread that started it, so one thread is kept for the
// child's lifetime.
func startProcess(cmd *exec.Cmd, logFile string) (*process, error) {
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the caller's own file
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = childAttributes()
	p := &process{cmd: cmd, logFile: logFile, done: make(chan struct{})}
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

// stop asks the process to end, and makes it and its children end when the
// context does.
func (p *process) stop(ctx context.Context) error {
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

// kill ends the process and its children at once.
func (p *process) kill() {
	p.killGroup()
	<-p.done
}

func (p *process) killGroup() { killGroup(p.cmd.Process.Pid) }

// waitUntil waits for a condition, for as long as the process lives.
func (p *process) waitUntil(ctx context.Context, what string, condition func() bool) error {
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

func (p *process) logEnd() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}

var errNotRunning = errors.New("not running")
