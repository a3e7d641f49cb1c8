package doctor

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestWrongUsageShowsNoSecret: what is no flag may hold one.
func TestWrongUsageShowsNoSecret(t *testing.T) {
	for _, arg := range []string{"---client_secret=a-secret-value", "a-secret-value", "-=a-secret-value", "-client_secret", "-config=a-secret-value"} {
		var out bytes.Buffer
		code := Main(t.Context(), []string{arg}, "test", Streams{
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" },
		})
		assert.Equal(t, ExitUsage, code, arg)
		assert.NotContains(t, out.String(), "a-secret-value")
	}
}

func TestHours(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 20 * time.Second: "20s", 0: "0s",
	} {
		assert.Equal(t, want, hours(d))
	}
}
