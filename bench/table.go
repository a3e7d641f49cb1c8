package main

import (
	"fmt"
	"strings"
	"time"
)

// table is what was measured, in Markdown, and how many goals it misses.
type table struct {
	rows   []string
	missed int
}

// atMost adds a value that has a goal. What is not a number does not meet it.
func (t *table) atMost(what string, value, bound float64, note string) {
	t.add(what, fmt.Sprintf("%.4g%s", value, note), fmt.Sprintf("at most %.4g", bound), value <= bound)
}

// add adds a row. A goal is "" where other load on the machine decides the value, too.
func (t *table) add(what, value, goal string, met bool) {
	if !met {
		goal = "**missed**: " + goal
		t.missed++
	}
	say("  %s: %s %s", what, value, goal)
	t.rows = append(t.rows, fmt.Sprintf("| %s | %s | %s |\n", what, value, goal))
}

func (t *table) text() string {
	return "| what | measured | goal |\n|---|---|---|\n" + strings.Join(t.rows, "")
}

// ratio is a/b of counts or times.
func ratio[T ~int | ~int64](a, b T) float64 { return float64(a) / float64(b) }

// micros is a duration in microseconds.
func micros(d time.Duration) string {
	return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
}
