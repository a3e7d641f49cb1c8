package rotation

import (
	"fmt"
	"log/slog"
)

// Secret is a client secret, or a private key in PEM. Formatting it in any way
// gives a placeholder: only an explicit conversion, or JSON for storage, yields
// the value.
type Secret string

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb and flag.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue keeps the value out of logs that are written as JSON.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// String keeps the value out of things that ask for a string (such as loggers).
func (Secret) String() string { return redacted }
