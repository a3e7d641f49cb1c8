package auth0secrets

import "fmt"

// sensitive is a string that must not be seen: formatting it in any way gives
// a placeholder. Only an explicit conversion, or JSON for storage, yields the
// value.
type sensitive string

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb and flag.
func (sensitive) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String keeps the value out of things that ask for a string (such as loggers).
func (sensitive) String() string { return redacted }
