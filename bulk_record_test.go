package auth0secrets

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestABulkRotationThatIsOnlyOnRecord: what a bulk rotation has put on record, without the driver, survives
// a restart, is called off, and is forced on top; also where an attempt is unclear.
func TestABulkRotationThatIsOnlyOnRecord(t *testing.T) {
	for _, source := range []string{"vault", "auth0"} {
		for _, unclear := range []bool{false, true} {
			for _, propagating := range []bool{false, true} {
				for _, then := range []string{"restart", "force", "calloff", "delete"} {
					t.Run(source+then, func(t *testing.T) {
						bubble(t, func(t *testing.T) {
							env := configuredEnv(t)
							env.write("config", map[string]any{fieldDriftCheckPeriod: 0})
							env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldSecretSource: source})
							sleep(time.Minute)
							if propagating {
								env.write("rotate/app", map[string]any{fieldForce: true})
								sleep(time.Second)
							}
							if unclear {
								env.auth0.interfereWith(func(op, _ string, commit func()) error {
									if op == "set" || op == "rotate" {
										commit()
										return noAnswer(op)
									}
									return nil
								})
								_, _ = env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
							}
							version := env.read("roles/app")[fieldVersion].(int)
							env.write("rotate-all", nil)
							if then == "restart" {
								env.restart()
							}
							sleep(time.Millisecond)
							env.auth0.interfereWith(nil)
							switch then {
							case "force":
								env.write("rotate-all", map[string]any{fieldForce: true})
							case "calloff":
								env.must(logical.DeleteOperation, "rotate-all", nil)
							case "delete":
								env.must(logical.DeleteOperation, "roles/app", nil)
							}
							sleep(3 * time.Hour)
							data := env.read("rotate-all")
							switch then {
							case "delete":
								assert.Contains(t, data, fieldFinishedAt)
								return
							case "calloff":
								if data[fieldFinishedAt] == nil { // where nothing is waited for it may be done first
									assert.Contains(t, data, fieldCalledOffAt)
								}
							default:
								assert.Contains(t, data, fieldFinishedAt)
								assert.Greater(t, env.read("roles/app")[fieldVersion], version)
							}
							role := env.read("roles/app")
							require.Equal(t, "steady", role[fieldPhase])
							assert.Equal(t, 0, role[fieldFailures], role)
							assert.Equal(t, env.auth0.secret(testAppID), env.read("creds/app")[fieldClientSecret])
							status := env.read("status")
							assert.Equal(t, 0, status[fieldOverdue])
							assert.Empty(t, status[fieldFailing])
						})
					})
				}
			}
		}
	}
}
