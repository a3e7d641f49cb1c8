package auth0secrets

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/rotation"
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

// TestInstantUpdatesOfTheVaultSecretsOperator: by the rules of its pull request 1292 it
// subscribes to the events whose type begins with the type of the mount, which is the
// plugin's name in the catalog. Of those that are modified it takes the mount's path
// and the name, and has read again what is read there under that name. So each change
// of what is handed out has such an event, at that moment.
func TestInstantUpdatesOfTheVaultSecretsOperator(t *testing.T) {
	const mountType = devstack.PluginName
	synced := func(env *testEnv) (n int) {
		env.events.Lock()
		defer env.events.Unlock()
		for _, event := range env.events.Events {
			about := event.Event.GetMetadata().AsMap()
			modified, err := strconv.ParseBool(about[logical.EventMetadataModified].(string))
			require.NoError(t, err)
			if strings.HasPrefix(string(event.Type), mountType) && modified && about[fieldName] == "app" {
				n++
			}
		}
		return n
	}
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60})
		env.write("rotate/app", nil)
		last, events, changes := env.read("static-creds/app")[fieldClientSecrets], synced(env), 0
		for range 150 {
			sleep(time.Second)
			now := env.read("static-creds/app")[fieldClientSecrets]
			if assert.ObjectsAreEqual(last, now) {
				assert.Equal(t, events, synced(env), "an event without a change")
				continue
			}
			changes++
			assert.Equal(t, events+1, synced(env), "change %d", changes)
			last, events = now, synced(env)
		}
		assert.Equal(t, 2, changes, "the next secret is set, and then alone")

		// A process that begins afterwards tells once more, for the one before may have
		// ended ahead of its event.
		env.restart()
		sleep(time.Second)
		assert.Greater(t, synced(env), events)
		events = synced(env)
		sleep(time.Hour)
		assert.LessOrEqual(t, synced(env), events+1, "the previous secret was served once more")
		events = synced(env)
		sleep(24 * time.Hour)
		env.restart()
		sleep(time.Hour)
		assert.Equal(t, events, synced(env), "nothing has changed for a day")
	})
}

// TestEventOfAChangeAfterARestart: a process that has sent no event of a role yet tells
// of each change, also of one that leaves the role as it was long ago.
func TestEventOfAChangeAfterARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "12h"})
		env.refuses("set")
		env.write("rotate-all", nil)
		sleep(48 * time.Hour)
		env.restart()
		sleep(time.Second)
		require.Len(t, env.read("static-creds/app")[fieldClientSecrets], 2)
		told := env.eventCount(eventCredsChange)
		env.must(logical.DeleteOperation, "rotate-all", nil)
		sleep(time.Second)
		require.Len(t, env.read("static-creds/app")[fieldClientSecrets], 1)
		assert.Equal(t, told+1, env.eventCount(eventCredsChange))
		sleep(48 * time.Hour)
		assert.Equal(t, told+1, env.eventCount(eventCredsChange), "nothing has changed since")
	})
}

// TestEventThatIsDue stays due when the role is stored again before it is sent.
func TestEventThatIsDue(t *testing.T) {
	now := time.Now()
	for lastChange, due := range map[time.Duration]bool{time.Hour: true, 48 * time.Hour: false} {
		s := newServedSets(func() time.Time { return now })
		role := &roleEntry{ClientID: testAppID, TTL: time.Minute, Rotation: rotation.Imported("one", 0, now.Add(-lastChange))}
		_, err := s.get(t.Context(), "app", func(context.Context) (*roleEntry, error) { return role, nil })
		require.NoError(t, err)
		longAgo := &roleEntry{ClientID: testAppID, TTL: time.Minute, Rotation: rotation.Imported("one", 0, now.Add(-48*time.Hour))}
		assert.Equal(t, due, s.publish("app", longAgo).untold(now))
		assert.Equal(t, due, s.publish("app", longAgo).untold(now), "and again")
		changed := &roleEntry{ClientID: testAppID, TTL: time.Minute, Rotation: rotation.Imported("two", 0, now.Add(-48*time.Hour))}
		assert.True(t, s.publish("app", changed).untold(now))
	}
}
