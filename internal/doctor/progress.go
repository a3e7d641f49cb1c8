package doctor

import (
	"fmt"
	"io"
	"time"
)

// patience is how long there is nothing to see where nobody watches: a log
// needs no line for each step.
const patience = 10 * time.Second

// progress tells how far long work is. On a terminal the line is written over;
// elsewhere there is one now and then, if the work takes long.
type progress struct {
	to       io.Writer
	terminal bool
	now      func() time.Time
	told     time.Time // when something was last to be seen
	pending  bool      // there is a line on the terminal to be wiped
}

func newProgress(to io.Writer, terminal bool) *progress {
	return &progress{to: to, terminal: terminal, now: time.Now, told: time.Now()}
}

// tell says how far it is.
func (p *progress) tell(format string, args ...any) {
	now := p.now()
	if p.terminal {
		fmt.Fprint(p.to, "\r\x1b[K"+fmt.Sprintf(format, args...)) //nolint:errcheck // to a terminal
		p.pending = true
		return
	}
	if now.Sub(p.told) >= patience {
		fmt.Fprintf(p.to, format+"\n", args...)
		p.told = now
	}
}

// end wipes what is to be seen of it.
func (p *progress) end() {
	if p.pending {
		fmt.Fprint(p.to, "\r\x1b[K") //nolint:errcheck // to a terminal
		p.pending = false
	}
}
