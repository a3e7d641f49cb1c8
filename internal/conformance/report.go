package conformance

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what a run has shown, to be pasted into an issue.
type Report struct {
	At      time.Time
	Version string // of the engine
	Results []Result
	Limits  []Limit
	Missing []string // scopes that the credential lacks
}

// Count is how many results have an outcome.
func (r Report) Count(o Outcome) int {
	n := 0
	for _, result := range r.Results {
		if result.Outcome == o {
			n++
		}
	}
	return n
}

// Write writes it as Markdown.
func (r Report) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### What the engine assumes of Auth0, and what this tenant does\n\n")
	fmt.Fprintf(&b, "%s, engine %s: %d agree, %d differ, %d not tried.\n", r.At.UTC().Format(time.RFC3339), r.Version,
		r.Count(Agrees), r.Count(Differs), r.Count(NotTried))
	if len(r.Missing) > 0 {
		fmt.Fprintf(&b, "The credential lacked %s.\n", strings.Join(r.Missing, ", "))
	}
	b.WriteString("\n| | assumed | seen | which document says so |\n|---|---|---|---|\n")
	for _, result := range r.Results {
		outcome := string(result.Outcome)
		if result.Outcome == Differs {
			outcome = "**differs**"
		}
		fmt.Fprintf(&b, "| %s: %s | %s | %s | %s: %s |\n", result.Name, outcome,
			cell(result.Assumed), cell(result.Seen), result.Evidence, cell(result.Source))
	}
	b.WriteString("\n| endpoint | requests | turned away | X-RateLimit-Limit | least left | reset is ahead by |\n|---|---|---|---|---|---|\n")
	for _, l := range r.Limits {
		least, limit := "not said", "not said"
		if l.Least >= 0 {
			least = fmt.Sprint(l.Least)
		}
		if l.Limit != "" {
			limit = cell(l.Limit)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %s | %s |\n", l.Endpoint, l.Requests, l.Limited, limit, least, l.Reset)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell makes a text fit for a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ", "\r", " ").Replace(text)
}
