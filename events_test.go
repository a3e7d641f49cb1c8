package auth0secrets

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// failingSender answers every event with an error.
type failingSender struct {
	err  error
	sent int
}

func (s *failingSender) SendEvent(context.Context, logical.EventType, *logical.EventData) error {
	s.sent++
	return s.err
}

// TestHostWithoutEvents: that nobody takes events is worth no word in the log,
// and never fails what the event is about.
func TestHostWithoutEvents(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		logged bool
	}{
		"no service, as in OpenBao": {status.Error(codes.Unimplemented, "unknown service pb.Events"), false},
		"no sender":                 {framework.ErrNoEvents, false},
		"a sender that fails":       {errors.New("connection lost"), true},
	} {
		t.Run(name, func(t *testing.T) {
			env := configuredEnv(t)
			sender := &failingSender{err: c.err}
			require.NoError(t, env.b.Setup(t.Context(), &logical.BackendConfig{
				System: env.system, Logger: env.b.Logger(), EventsSender: sender,
			}))
			env.write("roles/app", map[string]any{fieldClientID: testAppID})
			env.write("rotate/app", map[string]any{fieldForce: true})
			assert.Equal(t, 2, env.read("roles/app")[fieldVersion])
			assert.Positive(t, sender.sent)
			assert.Equal(t, c.logged, strings.Contains(env.log.String(), "event not sent"))
		})
	}
}

// TestHostThatDoesNotSayWhatItIs gets no events of reads, and its readers wait
// for none.
func TestHostThatDoesNotSayWhatItIs(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	env.system.PluginEnvironment = nil
	env.read("creds/app")
	env.b.readEvents.work.Wait()
	assert.Zero(t, env.eventCount(eventCredsCreate))
}
