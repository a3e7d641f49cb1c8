package auth0secrets

import (
	"time"
)

// timelineFields describe how far a role's rotation is.
func timelineFields() fieldSchemas {
	return fieldSchemas{
		fieldPhase:             required(stringField(descPhase)),
		fieldVersion:           required(intField(descVersion)),
		fieldStagedAt:          timeField(descStagedAt),
		fieldReadyAt:           timeField(descReadyAt),
		fieldSettledAt:         timeField(descSettledAt),
		fieldLastVaultRotation: timeField(descLastVaultRotation),
		fieldNextVaultRotation: timeField(descNextVaultRotation),
		fieldLastError:         stringField(descLastError),
		fieldFailures:          required(intField(descFailures)),
		fieldRetryAt:           timeField(descRetryAt),
	}
}

// timeline says how far a role's rotation is. Times that mean nothing at
// present are left out.
func (b *backend) timeline(set *servedSet, mount mountSettings) map[string]any {
	now := b.now()
	settings, clock := set.role.settings(mount), set.clock(now)
	state := set.role.Rotation.settled(settings, clock)
	data := map[string]any{
		fieldPhase:    string(state.phase()),
		fieldVersion:  state.version(),
		fieldFailures: state.Failures,
	}
	next, planned := state.nextEffect(settings, clock)
	times := map[string]time.Time{
		fieldSettledAt: state.settlesAt(settings, clock), fieldLastVaultRotation: state.LastRotation, fieldRetryAt: state.RetryAt,
	}
	if state.Next != nil {
		times[fieldStagedAt], times[fieldReadyAt] = state.StagedAt, state.readyAt(clock)
	}
	if planned {
		times[fieldNextVaultRotation] = next
	}
	putTimes(data, times)
	if state.LastError != "" {
		data[fieldLastError] = state.LastError
	}
	return data
}

// putTimes adds those of the times that there are to an answer.
func putTimes(data map[string]any, times map[string]time.Time) {
	for field, at := range times {
		if !at.IsZero() {
			data[field] = inRFC3339(at)
		}
	}
}
