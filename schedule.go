package auth0secrets

import (
	"errors"
	"math"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	cron "github.com/hashicorp/vault/sdk/rotation"

	"vault-plugin-secrets-auth0/internal/rotation"
)

// maxRotationPeriod is the longest period that is accepted, and minRotationWindow the
// shortest window, as in Vault's own engines.
const (
	maxRotationPeriod = 10 * 365 * 24 * time.Hour
	minRotationWindow = time.Hour
)

// rotationPlan is when a role's secret or the engine's own rotates by itself. It is
// part of their stored entries.
type rotationPlan struct {
	RotationPeriod time.Duration `json:"rotation_period,omitempty"`
	// RotationSchedule is a cron expression, taken in UTC.
	RotationSchedule string        `json:"rotation_schedule,omitempty"`
	RotationWindow   time.Duration `json:"rotation_window,omitempty"`
	Disabled         bool          `json:"disable_automated_rotation,omitempty"`

	// Format1From is since when the schedule counts, in entries of format 1.
	Format1From time.Time `json:"scheduled_from,omitzero"`

	schedule rotation.Schedule // RotationSchedule, parsed; nil: none
}

// setSchedule sets a cron expression. "": none.
func (p *rotationPlan) setSchedule(expression string) error {
	p.RotationSchedule, p.schedule = expression, nil
	if expression == "" {
		return nil
	}
	// The parser would take time zones (TZ=...), which the SDK's scheduler then
	// ignores, and some forms of them end it with a panic.
	if strings.Contains(expression, "=") {
		return errors.New("it has a time zone, but all times are in UTC")
	}
	parsed, err := cron.DefaultScheduler.Parse(expression)
	if err != nil {
		return err
	}
	p.schedule = parsed
	return nil
}

// planFields are the fields of a plan.
func planFields(period, disable string) fieldSchemas {
	return fieldSchemas{
		fieldRotationPeriod:   durationField(period, 0),
		fieldRotationSchedule: stringField(descRotationSchedule),
		fieldRotationWindow:   durationField(descRotationWindow, 0),
		fieldDisableRotation:  boolField(disable, false),
	}
}

// answer is the plan in an answer.
func (p *rotationPlan) answer() map[string]any {
	return map[string]any{
		fieldRotationPeriod: inSeconds(p.RotationPeriod), fieldRotationSchedule: p.RotationSchedule,
		fieldRotationWindow: inSeconds(p.RotationWindow), fieldDisableRotation: p.Disabled,
	}
}

// changePlan changes a plan by what a request sent. A new schedule counts from now: setting
// it never makes a rotation due.
func (p *rotationPlan) changePlan(d *framework.FieldData, state *rotation.State, now time.Time) error {
	take(d, fieldRotationPeriod, &p.RotationPeriod)
	take(d, fieldDisableRotation, &p.Disabled)
	schedule, scheduleSent := sent[string](d, fieldRotationSchedule)
	if scheduleSent && schedule != p.RotationSchedule {
		if err := p.setSchedule(schedule); err != nil {
			return badRequest("%s %q is no cron expression of five fields (minute hour day month weekday): %s",
				fieldRotationSchedule, schedule, err)
		}
		*state = state.Rescheduled(now)
	}
	if windowSent := take(d, fieldRotationWindow, &p.RotationWindow); !windowSent && scheduleSent && schedule == "" {
		p.RotationWindow = 0 // nothing is left that it could be the window of
	}
	return nil
}

// check refuses a plan that cannot work. Rotations must be at least apart from each
// other; why explains that in the error.
func (p *rotationPlan) check(apart time.Duration, why string, now time.Time) error {
	switch {
	case p.RotationSchedule != "" && p.RotationPeriod != 0:
		return badRequest("%s and %s exclude each other: to change from one to the other, send %s=0 or an empty %s in the same request",
			fieldRotationPeriod, fieldRotationSchedule, fieldRotationPeriod, fieldRotationSchedule)
	case p.RotationWindow != 0 && p.RotationSchedule == "":
		return badRequest("%s is only for use with %s", fieldRotationWindow, fieldRotationSchedule)
	case p.RotationPeriod > maxRotationPeriod:
		return badRequest("%s must be at most %s", fieldRotationPeriod, maxRotationPeriod)
	case p.RotationWindow > maxRotationPeriod:
		return badRequest("%s must be at most %s", fieldRotationWindow, maxRotationPeriod)
	case p.RotationPeriod != 0 && p.RotationPeriod < apart:
		return badRequest("%s %s is too short: it must be 0, or at least %s%s", fieldRotationPeriod, p.RotationPeriod, apart, why)
	case p.RotationWindow != 0 && p.RotationWindow < minRotationWindow:
		return badRequest("%s %s is too short: send at least 1h, or 0 for no limit", fieldRotationWindow, p.RotationWindow)
	case p.schedule == nil:
		return nil
	}
	if p.schedule.Next(now).IsZero() {
		return badRequest("%s %q is never due: there is no such day", fieldRotationSchedule, p.RotationSchedule)
	}
	if gap := p.shortestGap(now); gap < apart {
		return badRequest("%s %q has rotations %s apart: that must be at least %s%s",
			fieldRotationSchedule, p.RotationSchedule, gap, apart, why)
	}
	return nil
}

// shortestGap is the shortest time between two rotations by schedule.
func (p *rotationPlan) shortestGap(now time.Time) time.Duration {
	shortest := time.Duration(math.MaxInt64)
	if p.RotationPeriod > 0 {
		return p.RotationPeriod
	}
	if p.schedule == nil {
		return shortest
	}
	at := p.schedule.Next(now)
	for range 400 { // more than a year of days
		next := p.schedule.Next(at)
		if next.IsZero() {
			break
		}
		shortest, at = min(shortest, next.Sub(at)), next
	}
	return shortest
}
