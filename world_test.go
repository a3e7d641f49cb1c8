package auth0secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// A model is a mount and all that can happen to it, with what README and docs
// promise of it: of roles of client secrets here, of roles of keys in keyworld_test.go. The exploration (explore_test.go) tries every sequence of its moves
// in small worlds, and the histories (history_test.go) random ones in larger worlds;
// both ask the same oracles after each.

// The oracles, each a promise.
const (
	oracleStored    = "what Auth0 accepts is stored at every instant"
	oracleLeases    = "every live lease holds what Auth0 accepts"
	oracleTwoFields = "two fields are enough for a reader at every instant"
	oracleExplained = "a rotation happens only when somebody asked, for a secret that is older, or in its window and not while paused"
	oracleRevocable = "every lease can be revoked"
	oracleStatus    = "status is not green while the served secret is dead"
	oracleLogin     = "the engine can log in at every instant"
	oracleSettled   = "an attempt that may have taken effect is settled in bounded time, also while paused"
	oracleHealed    = "once faults end, all is well in bounded time"
	oracleBulkEnds  = "a rotation of all roles ends once faults do"
	oracleNoFuture  = "no time in the future holds anything up"
	oracleAllowed   = "only applications that allowed_applications names become roles"
	oracleProven    = "a secret that Auth0 refuses is not imported"
	oracleNoLoop    = "the engine does not run in circles"
	oracleMetrics   = "metrics agree with status"
	oracleToken     = "a token that is handed out is accepted for as long as it says, and at least for min_ttl or with a warning"
	oracleHeld      = "a token is handed out to all readers until min_ttl is left, and longer while Auth0 cannot be reached, also through rotations"
	oracleDropped   = "after a forced rotation, or a change of what makes it, another token is handed out"
	oracleTold      = "each change of what is handed out sends an event"
	oracleHeldKey   = "a key that somebody may hold is enabled at Auth0"
	oracleTwoKeys   = "never more than two keys of ours"
	oracleReadyKey  = "a key is served when all of Auth0 accepts it, and at once only with force"
	oracleOneKey    = "a rotation, and a role that is deleted or was not made, leave no key behind that nobody is told of"
	oracleInside    = "a key does not leave Vault unless its role is exportable"
	oracleKeyGone   = "a key that somebody else removed is told of in bounded time"
)

const (
	// modelDelay is how long a new secret takes to reach all of Auth0, and the
	// configured propagation_delay.
	modelDelay = 20 * time.Second
	// modelDrift is the configured drift_check_period.
	modelDrift = 30 * time.Minute
	// bounded is the time in which an engine has to be well again: the longest wait
	// after a failure, and a rotation.
	bounded = 3 * time.Hour
	// modelLife is how long tokens live, and modelMinTTL the min_ttl of token roles.
	modelLife, modelMinTTL = time.Hour, 10 * time.Minute
	// skewPromised is how far apart the clocks of two nodes may be.
	skewPromised = time.Hour
)

// modelRole is a role, and what is known of it from outside.
type modelRole struct {
	Name, ClientID string
	Exists         bool
	Holders        []modelHolder
	// Accepted is what nodes of Auth0 accept: the newest secret, and until a time the
	// one before it.
	Accepted, Earlier string
	EarlierUntil      time.Time
	// Foreign: somebody else has set the secret, and the engine does not know yet.
	Foreign bool
	// Unpromised: a rotation is under way that promises holders nothing.
	Unpromised bool
	// Operator and Bulk say who has asked for a rotation that has not happened yet.
	Operator bool
	Bulk     int
	// Served is what was handed out when an event was looked for last, nil: nothing;
	// Told: one was sent since.
	Served []string
	Told   bool
	// Elsewhere: until then what another node has written may be served otherwise. That
	// node tells of it.
	Elsewhere time.Time
	// Token was handed out last, and is still held as far as is known; "": none. It is
	// accepted until TokenUntil. Dropped is one that must not be handed out any more.
	Token, Dropped string
	TokenUntil     time.Time
	Drops          int
	version        int
	// Keyed: the application authenticates by keys, and Exportable has the role hand them
	// out as it is created. Keys are those of ours that Auth0 accepts. Left are
	// of them those of roles that were deleted, Taken those that somebody else removed.
	Keyed, Exportable bool
	Keys              []modelKey
	Left, Taken       []string
	// MayBeLive are secrets that were sent without a clear answer; "": Auth0 was asked
	// to make one.
	MayBeLive []string
}

// modelHolder is an application that lives on one read until a time.
type modelHolder struct {
	Secrets, TwoFields []string
	Key                string // instead of secrets
	Leased             bool   // it has the key itself, not an assertion by it
	Expires            time.Time
}

// modelKey is a key that Auth0 accepts, from a time on at all of its nodes.
type modelKey struct {
	Key        string
	Everywhere time.Time
}

// driver lets a model's time pass.
type driver interface {
	clock() time.Time
	// pass lets time pass, and the engine do what is due in it.
	pass(d time.Duration)
	// boot starts a fresh engine on what is stored.
	boot()
}

// model is a mount with all that lies around it.
type model struct {
	*testEnv
	driver
	world *world
	skew  atomic.Int64 // what the engine's wall clock is ahead

	mu     sync.Mutex // for what is below, which requests of the engine change
	roles  []modelRole
	fault  string
	noted  int    // how many events have been looked at
	byHand bool   // somebody else sets a secret right now
	broken string // the first promise that was broken, and how

	telling sync.Mutex
	told    []string // what has happened, to be read when something is wrong
}

// ahead is what the engine's wall clock is ahead.
func (m *model) ahead() time.Duration { return time.Duration(m.skew.Load()) }

// modelRoles makes the first roles of a model. Auth0 has all applications, the last ones
// of which authenticate by keys.
func (m *model) modelRoles(n, applications, keyed int, exportable bool) {
	for i := range applications {
		role := modelRole{Name: fmt.Sprint("app", i), ClientID: fmt.Sprint("client", i)}
		role.Accepted = "first-secret-of-" + role.ClientID
		m.auth0.add(role.ClientID, role.Accepted)
		m.roles = append(m.roles, role)
	}
	for range keyed {
		role := modelRole{Name: fmt.Sprint("app", len(m.roles)), ClientID: fmt.Sprint("client", len(m.roles)), Keyed: true, Exportable: exportable}
		m.auth0.addKeyed(role.ClientID)
		m.roles = append(m.roles, role)
	}
	m.auth0.life, m.auth0.now, m.auth0.clock = modelLife, m.engineNow, m.clock
	m.auth0.whenSet(m.onSet)
	m.auth0.interfereWith(m.interfere)
	for i := range m.roles {
		if i < n || m.roles[i].Keyed {
			m.create(i, nil)
		}
	}
}

// breaks notes a broken promise.
func (m *model) breaks(oracle, format string, args ...any) {
	if m.broken == "" {
		m.broken = oracle + ": " + fmt.Sprintf(format, args...)
	}
}

func (m *model) tell(format string, args ...any) {
	m.telling.Lock()
	defer m.telling.Unlock()
	m.told = append(m.told, m.clock().UTC().Format("2006-01-02 15:04:05 ")+fmt.Sprintf(format, args...))
}

// engineNow is the engine's wall clock.
func (m *model) engineNow() time.Time { return m.clock().Add(m.ahead()) }

// interfere has requests fail as the fault says.
func (m *model) interfere(op, clientID string, commit func()) error {
	m.mu.Lock()
	fault := m.fault
	m.mu.Unlock()
	switch fault {
	case "lost":
		return noAnswer(op)
	case "unanswered":
		commit()
		return noAnswer(op)
	case "limited":
		return &auth0.Error{Class: auth0.Limited, Op: op, Status: 429, RetryAfter: time.Minute}
	case "sets limited":
		if op == "set" {
			return &auth0.Error{Class: auth0.Limited, Op: op, Status: 429, RetryAfter: time.Minute}
		}
	case "refused":
		return refusal(op, 403, auth0.CodeInsufficientScope, "Insufficient scope")
	case "rejected":
		if op == "enable" || op == "set" && !m.isSet(clientID) { // a form that it has taken before it takes again
			return refusal(op, 400, auth0.CodeInvalidBody, "Payload validation error")
		}
	}
	return nil
}

// viewOf is what is to be seen of a stored role, by a process that has just begun.
func (m *model) viewOf(role *roleEntry) rotation.View {
	return role.Rotation.View(role.settings(m.b.mountInMemory()), rotation.Clock{Now: m.engineNow(), Since: m.engineNow()})
}

// isSet says whether Auth0 has the secret that is to be set next.
func (m *model) isSet(clientID string) bool {
	for i := range m.roles {
		if role := m.stored(m.roles[i].Name); role != nil && role.ClientID == clientID {
			return role.Rotation.Next() == rotation.Secret(m.auth0.secret(clientID))
		}
	}
	return m.storedConfig().Rotation.Next() == rotation.Secret(m.auth0.secret(clientID))
}

// modelAPI is Auth0 as the engine sees it, with an eye on what it sends.
type modelAPI struct {
	managementAPI
	model *model
}

func (a *modelAPI) SetSecret(ctx context.Context, clientID, secret string) error {
	a.model.sending(clientID)
	err := a.managementAPI.SetSecret(ctx, clientID, secret)
	a.model.answered(clientID, secret, err)
	return err
}

func (a *modelAPI) RotateSecret(ctx context.Context, clientID string) (string, error) {
	a.model.sending(clientID)
	secret, err := a.managementAPI.RotateSecret(ctx, clientID)
	a.model.answered(clientID, "", err)
	return secret, err
}

func (a *modelAPI) EnableKey(ctx context.Context, clientID, key, algorithm string) error {
	a.model.sending(clientID)
	a.model.sendingKey(clientID, key)
	err := a.managementAPI.EnableKey(ctx, clientID, key, algorithm)
	a.model.answered(clientID, key, err)
	a.model.lookAtKeys(clientID)
	return err
}

func (a *modelAPI) RetireKey(ctx context.Context, clientID, key string) (bool, error) {
	found, err := a.managementAPI.RetireKey(ctx, clientID, key)
	a.model.tell("%s: a key is removed, answer: %t %v", clientID, found, err)
	a.model.lookAtKeys(clientID)
	return found, err
}

// role is the role of an application; nil: it is the engine's own.
func (m *model) role(clientID string) *modelRole {
	for i := range m.roles {
		if m.roles[i].ClientID == clientID {
			return &m.roles[i]
		}
	}
	return nil
}

// sending asks what is about to be sent for a reason.
func (m *model) sending(clientID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	role := m.role(clientID)
	if role == nil {
		return
	}
	stored := m.stored(role.Name)
	ahead := time.Duration(0)
	if role.Keyed { // it is there before it is used
		ahead = modelDelay + rotation.HandOutMargin
	}
	switch {
	case stored == nil, role.Operator, role.Bulk > 0, len(role.MayBeLive) > 0, role.Keyed && m.carriesBulk(stored):
		// asked for, or to be settled
	case !m.scheduled(stored, ahead):
		m.breaks(oracleExplained, "%s is rotated though nobody asked and its schedule does not say so", role.Name)
	}
}

// answered notes what was sent without a clear answer.
func (m *model) answered(clientID, secret string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	role := m.role(clientID)
	if role == nil {
		return
	}
	var upstream *auth0.Error
	switch {
	case err == nil && secret == "" && !m.auth0.has(scopeReadClientKeys): // Auth0 does not show it
		role.MayBeLive = []string{""}
	case err == nil:
		role.MayBeLive = nil
	case errors.As(err, &upstream) && upstream.Class == auth0.Ambiguous && !slices.Contains(role.MayBeLive, secret):
		role.MayBeLive = append(slices.Clone(role.MayBeLive), secret)
	}
	m.tell("%s: sent, answer: %v", role.Name, err)
}

// drop notes that the token that was handed out may be held no more; certain: it must not
// be handed out any more.
func (r *modelRole) drop(certain bool) {
	if certain && r.Token != "" {
		r.Dropped = r.Token
	}
	r.Token, r.TokenUntil, r.Drops = "", time.Time{}, r.Drops+1
}

// scheduled says whether the schedule lets a rotation take effect so long from now.
func (m *model) scheduled(role *roleEntry, ahead time.Duration) bool {
	now := m.engineNow().Add(ahead)
	config := m.storedConfig()
	if config == nil || config.Disabled || role.Disabled {
		return false
	}
	last := role.Rotation.LastRotation()
	switch {
	case role.RotationPeriod > 0:
		return !now.Before(last.Add(role.RotationPeriod))
	case role.schedule == nil:
		return false
	case role.RotationWindow > 0:
		due := role.schedule.Next(now.Add(-role.RotationWindow))
		return !due.After(now)
	default:
		return !role.schedule.Next(latest(last, role.Rotation.ScheduledFrom())).After(now)
	}
}

// numbered is the part of a stored rotation that says before which rotation of all
// roles its next secret was made.
type numbered struct {
	Next *struct {
		Value string `json:"value"`
		Bulk  int    `json:"bulk"`
	} `json:"next"`
	AttemptBulk int `json:"attempt_bulk"`
}

// onSet notes that Auth0 has another secret.
func (m *model) onSet(clientID, secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	role := m.role(clientID)
	if role == nil || role.Accepted == secret {
		return
	}
	m.tell("Auth0 has %.20s for %s", secret, role.Name)
	role.Earlier, role.Accepted, role.EarlierUntil = role.Accepted, secret, m.clock().Add(modelDelay)
	if role.Foreign || m.byHand {
		role.Earlier = "" // nobody could know that one
	}
	role.Foreign = m.byHand
	if m.byHand {
		role.Holders = nil
		return
	}
	role.Operator = false
	if stored := m.stored(role.Name); stored != nil {
		var n numbered
		text, _ := json.Marshal(stored.Rotation)
		_ = json.Unmarshal(text, &n)
		made := n.AttemptBulk
		if n.Next != nil {
			made = n.Next.Bulk
		}
		if made >= role.Bulk {
			role.Bulk = 0
		}
		if stored.SecretSource == rotation.Auth0 {
			role.Holders, role.Unpromised = nil, true
		}
	}
}

// try makes a request that may fail: Auth0 may be away, or the engine dead.
func (m *model) try(operation logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	resp, err := m.request(operation, path, data)
	m.tell("%s %s %v: %v", operation, path, data, err)
	return resp, err
}

// check asks what has to hold at every instant.
func (m *model) check() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	m.noteEvents()
	for i := range m.roles {
		role := &m.roles[i]
		if role.Keyed {
			m.checkKeys(role, m.auth0.keysAt(role.ClientID))
			m.checkStored(role, nil)
			continue
		}
		accepted := []string{role.Accepted}
		if role.Earlier != "" && now.Before(role.EarlierUntil) {
			accepted = append(accepted, role.Earlier)
		}
		role.Holders = slices.DeleteFunc(slices.Clone(role.Holders), func(h modelHolder) bool { return !now.Before(h.Expires) })
		for _, h := range role.Holders {
			for _, secret := range accepted {
				switch left := h.Expires.Sub(now); {
				case !slices.Contains(h.Secrets, secret):
					m.breaks(oracleLeases, "%s: a lease that lives for %s lacks a secret that a node of Auth0 may insist on", role.Name, left)
				case !slices.Contains(h.TwoFields, secret):
					m.breaks(oracleTwoFields, "%s: two fields that are kept for %s lack a secret that a node of Auth0 may insist on", role.Name, left)
				}
			}
		}
		m.checkStored(role, accepted)
	}
	if !m.canLogInQuietly() {
		m.breaks(oracleLogin, "what is stored is not what Auth0 accepts")
	}
}

// checkStored asks what has to hold of what is stored of a role.
func (m *model) checkStored(role *modelRole, accepted []string) {
	stored := m.stored(role.Name)
	if role.Exists = stored != nil; stored == nil {
		role.Served = nil
		return
	}
	m.checkTold(role)
	view := m.viewOf(stored)
	if view.Version != role.version && (role.Unpromised || !view.DriftedAt.IsZero()) {
		role.drop(false)
	}
	role.version = view.Version
	if role.Foreign {
		return
	}
	if role.Unpromised && !m.world.isStopped() {
		role.Unpromised = view.Forced || view.UnderWay
	}
	if role.Keyed {
		return
	}
	byAuth0 := stored.SecretSource == rotation.Auth0 || stored.Rotation.Unsettled()
	if !byAuth0 && !stored.Rotation.Holds(rotation.Secret(role.Accepted)) {
		m.breaks(oracleStored, "%s", role.Name)
	}
	if m.world.isStopped() || stored.Rotation.Current() == "" {
		return
	}
	set, err := m.b.look(context.Background(), m.storage, role.Name)
	if err != nil || set == nil {
		return
	}
	view = set.view(m.b.mountInMemory(), m.engineNow())
	if len(view.Served) > 0 && !slices.Contains(accepted, string(view.Served[0])) && !view.Overdue && view.LastError == "" {
		m.breaks(oracleStatus, "%s", role.Name)
	}
}

// noteEvents notes which roles had an event that says that what is handed out has
// changed.
func (m *model) noteEvents() {
	sent := m.events.Events
	for _, event := range sent[m.noted:] {
		about := event.Event.GetMetadata().AsMap()
		for i := range m.roles {
			if about[fieldName] == m.roles[i].Name && about[logical.EventMetadataModified] == "true" {
				m.roles[i].Told = true
			}
		}
	}
	m.noted = len(sent)
}

// checkTold asks whether there was an event, if something else is handed out than
// before.
func (m *model) checkTold(role *modelRole) {
	if m.world.isStopped() {
		return
	}
	set, err := m.b.look(context.Background(), m.storage, role.Name)
	if err != nil || set == nil {
		return
	}
	served, _ := set.present(m.engineNow())[fieldClientSecrets].([]string)
	if role.Keyed {
		served = []string{string(set.role.Rotation.Current())}
	}
	if role.Served != nil && !role.Told && m.clock().After(role.Elsewhere) && !slices.Equal(role.Served, served) {
		m.breaks(oracleTold, "%s", role.Name)
	}
	role.Served, role.Told = served, false
}

// canLogInQuietly is canLogIn that leaves no trace.
func (m *model) canLogInQuietly() bool {
	config := m.storedConfig()
	return config == nil || slices.Contains(m.b.clientSettings(config).Secrets, m.auth0.secret(config.ClientID))
}

// settle lets the engine finish, restarts it if it was killed, and asks the oracles.
func (m *model) settle() {
	m.pass(0)
	if m.world.isStopped() {
		m.reboot()
		m.pass(0)
	}
	m.check()
}

// reboot starts a fresh engine. What the last one had on record as sent may have
// been, as far as this one can know.
func (m *model) reboot() {
	m.mu.Lock()
	for i := range m.roles {
		role := &m.roles[i]
		if stored := m.stored(role.Name); stored != nil && stored.Rotation.Unsettled() && len(role.MayBeLive) == 0 {
			role.MayBeLive = []string{string(stored.Rotation.Next())}
		}
		role.drop(false)
	}
	m.mu.Unlock()
	m.world.goOn(0)
	m.boot()
	m.tell("a fresh engine, its clock off by %s", m.ahead())
}

// What can happen.

// move is one thing that can happen. It does nothing where it makes no sense.
type move struct {
	name string
	do   func(m *model)
}

// on is a move for a role.
func on(name string, i int, do func(m *model, role *modelRole)) move {
	return move{fmt.Sprintf("%s app%d", name, i), func(m *model) {
		if m.roles[i].Exists {
			do(m, &m.roles[i])
		}
	}}
}

func requestMove(i int) move {
	return on("rotate", i, func(m *model, role *modelRole) {
		m.asked(role, m.stored(role.Name).SecretSource == rotation.Auth0)
		_, _ = m.try(logical.UpdateOperation, "rotate/"+role.Name, nil)
	})
}

// asked notes that an operator has asked for a rotation.
func (m *model) asked(role *modelRole, unpromised bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	role.Operator = true
	if unpromised {
		role.Unpromised, role.Holders = true, nil
	}
}

func forceMove(i int) move {
	return on("force", i, func(m *model, role *modelRole) {
		before, earlier := role.Token, m.stored(role.Name).Rotation.Version()
		m.asked(role, true)
		_, err := m.try(logical.UpdateOperation, "rotate/"+role.Name, map[string]any{fieldForce: true})
		m.mu.Lock()
		defer m.mu.Unlock()
		if stored := m.stored(role.Name); err == nil && before != "" && stored != nil && stored.Rotation.Version() > earlier {
			role.Dropped = before
		}
	})
}

func bulkMove(force bool) move {
	return move{fmt.Sprintf("rotate-all force=%t", force), func(m *model) {
		before := m.expectBulk(force)
		_, _ = m.try(logical.UpdateOperation, "rotate-all", map[string]any{fieldForce: force})
		last, err := readBulk(context.Background(), m.storage)
		m.mu.Lock()
		defer m.mu.Unlock()
		for i := range m.roles {
			if err == nil && (last == nil || last.Number != before+1) && m.roles[i].Bulk == before+1 {
				m.roles[i].Bulk = 0 // none was ordered, and what was under way is done by now, or its number is in storage
				if stored := m.stored(m.roles[i].Name); stored != nil && last != nil && stored.Rotation.Carries(last.Number) && (!stored.Rotation.Done(last.Number) || stored.Rotation.Next() != "") {
					m.roles[i].Bulk = last.Number
				}
			}
		}
	}}
}

// expectBulk notes that all roles that there are may be rotated from now on, and
// says which was the last rotation of all.
func (m *model) expectBulk(force bool) (last int) {
	if bulk, err := readBulk(context.Background(), m.storage); err == nil && bulk != nil {
		last = bulk.Number
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.roles {
		role := &m.roles[i]
		stored := m.stored(role.Name)
		if stored == nil {
			continue
		}
		role.Bulk = last + 1
		if force || stored.SecretSource == rotation.Auth0 {
			role.Unpromised, role.Holders = true, nil
		}
	}
	return last
}

func callOffMove() move {
	return move{"call off", func(m *model) {
		if _, err := m.try(logical.DeleteOperation, "rotate-all", nil); err != nil {
			return
		}
		last, err := readBulk(context.Background(), m.storage)
		if err != nil || last == nil || last.CalledOffAt.IsZero() {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for i := range m.roles {
			if stored := m.stored(m.roles[i].Name); stored != nil && !stored.Rotation.Carries(last.Number) && stored.Rotation.Next() == "" {
				m.roles[i].Bulk = 0
			}
		}
	}}
}

// readMove gives each role a holder of a lease and one without.
func readMove() move {
	return move{"read", func(m *model) {
		for i := range m.roles {
			if m.roles[i].Exists {
				m.hold(&m.roles[i])
				m.readToken(&m.roles[i])
			}
		}
	}}
}

// readToken gives a service a token, if there is a token role.
func (m *model) readToken(role *modelRole) {
	if m.stored(role.Name) == nil || !m.hasTokenRole(role) {
		return
	}
	m.mu.Lock()
	drops := role.Drops
	m.mu.Unlock()
	resp, err := m.request(logical.ReadOperation, "tokens/"+role.Name, nil)
	m.tell("tokens/%s: %v", role.Name, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	left := role.TokenUntil.Sub(m.clock())
	if err != nil {
		if down := m.fault == "lost" || m.fault == "unanswered" || m.fault == "limited"; down && left > leastLeft && !m.world.isStopped() {
			m.breaks(oracleHeld, "%s: %v, though the one before is good for %s", role.Name, err, left)
		}
		role.drop(false)
		return
	}
	value, seconds := resp.Data[fieldAccessToken].(string), resp.Data[fieldExpiresIn].(int64)
	given, known := m.auth0.tokens[value]
	said := time.Duration(seconds) * time.Second
	switch {
	case !known, given.ClientID != role.ClientID, given.Audience != testAPI, given.until.Sub(m.clock()) < said:
		m.breaks(oracleToken, "%s: a token that is not accepted for %s", role.Name, said)
	case said < leastLeft, len(resp.Warnings) == 0 && said < modelMinTTL:
		m.breaks(oracleToken, "%s: a token for %s only, warnings %v", role.Name, said, resp.Warnings)
	case role.Token != "" && role.Drops == drops && value != role.Token && left > modelMinTTL+maxTokenAhead:
		m.breaks(oracleHeld, "%s: another token, though the one before is good for %s", role.Name, left)
	case value == role.Dropped:
		m.breaks(oracleDropped, "%s", role.Name)
	}
	if role.Drops == drops {
		role.Token, role.TokenUntil = value, given.until
	}
}

func (m *model) hasTokenRole(role *modelRole) bool {
	entry, err := m.storage.Get(context.Background(), storageTokenRoles+role.Name)
	return err == nil && entry != nil
}

// tokenRoleMove makes a token role for the application of a role, or writes it again.
func tokenRoleMove(i int) move {
	return on("token role", i, func(m *model, role *modelRole) {
		_, err := m.try(logical.UpdateOperation, tokenRolesPrefix+role.Name,
			map[string]any{fieldRole: role.Name, fieldAudience: testAPI, fieldMinTTL: modelMinTTL.String()})
		m.mu.Lock()
		defer m.mu.Unlock()
		role.drop(err == nil)
	})
}

func deleteTokenRoleMove(i int) move {
	return on("delete token role", i, func(m *model, role *modelRole) {
		_, err := m.try(logical.DeleteOperation, tokenRolesPrefix+role.Name, nil)
		_, gone := m.request(logical.ReadOperation, "tokens/"+role.Name, nil)
		m.mu.Lock()
		defer m.mu.Unlock()
		if err == nil && gone == nil {
			m.breaks(oracleDropped, "%s: a token of a token role that was deleted", role.Name)
		}
		role.drop(err == nil)
	})
}

func (m *model) hold(role *modelRole) {
	if role.Keyed {
		m.holdKey(role)
		return
	}
	leased, err := m.request(logical.ReadOperation, "creds/"+role.Name, nil)
	if err != nil {
		return
	}
	static, err := m.request(logical.ReadOperation, "static-creds/"+role.Name, nil)
	if err != nil {
		return
	}
	if err := m.revoke(role.Name, leased); err != nil {
		m.breaks(oracleRevocable, "%s: %v", role.Name, err)
	}
	stored := m.stored(role.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	secrets, seconds := leased.Data[fieldClientSecrets].([]string), static.Data[fieldTTL].(int64)
	keep := time.Duration(seconds) * time.Second
	if role.Foreign && secrets[0] == role.Accepted {
		role.Foreign = false
	}
	byAuth0 := stored == nil || stored.SecretSource == rotation.Auth0 ||
		(stored.Rotation.Unsettled() && stored.Rotation.Next() == "") // what Auth0 was asked for is settled as it began
	if role.Foreign || role.Unpromised || byAuth0 {
		return
	}
	m.tell("%s: a lease of %s with %d secrets", role.Name, leased.Secret.TTL, len(secrets))
	role.Holders = append(slices.Clone(role.Holders),
		modelHolder{Secrets: secrets, TwoFields: twoFields(leased.Data), Expires: m.clock().Add(leased.Secret.TTL)},
		modelHolder{Secrets: secrets, TwoFields: twoFields(static.Data), Expires: m.clock().Add(2 * keep)})
}

func (m *model) revoke(name string, resp *logical.Response) error {
	req := logical.RevokeRequest("creds/"+name, resp.Secret, resp.Data)
	req.Storage = m.engineStorage()
	_, err := m.b.HandleRequest(context.Background(), req)
	return err
}

func settingsMove(name, path string, data map[string]any) move {
	return move{name, func(m *model) {
		if source, ok := data[fieldSecretSource]; ok {
			for i := range m.roles {
				if !m.roles[i].Keyed && strings.HasSuffix(path, "/"+m.roles[i].Name) && source == string(rotation.Auth0) {
					m.roles[i].Holders = nil
				}
			}
		}
		if name, isRole := strings.CutPrefix(path, rolesPrefix); isRole && m.stored(name) == nil {
			return
		}
		_, _ = m.try(logical.UpdateOperation, path, data)
	}}
}

func driftMove(i int) move {
	return on("by hand", i, func(m *model, role *modelRole) {
		if role.Keyed {
			m.takeKey(role)
			return
		}
		m.byHand = true
		m.auth0.mu.Lock()
		m.auth0.made++
		m.auth0.set(role.ClientID, fmt.Sprintf("foreign-secret-number-%d ", m.auth0.made)) // with a blank that somebody copied along
		m.auth0.mu.Unlock()
		m.byHand = false
	})
}

func faultMove(fault string) move {
	return move{"fault " + fault, func(m *model) { m.failBy(fault) }}
}

func (m *model) failBy(fault string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// crashMove has the engine killed at the nth point from now.
func crashMove(n int) move {
	return move{fmt.Sprintf("crash at point %d", n), func(m *model) { m.world.goOn(n) }}
}

// failoverMove starts a fresh engine on a node whose clock differs.
func failoverMove(skew time.Duration) move {
	return move{fmt.Sprintf("failover to a clock off by %s", skew), func(m *model) {
		if (skew - m.ahead()).Abs() > skewPromised {
			for i := range m.roles {
				m.roles[i].Served = nil
				m.roles[i].Holders, m.roles[i].Earlier = nil, "" // of such clocks it is promised only that nothing is held up
			}
		}
		m.skew.Store(int64(skew))
		m.reboot()
	}}
}

func invalidateMove(key string) move {
	return move{"invalidate " + key, func(m *model) {
		for i := range m.roles {
			m.roles[i].drop(false)
			m.roles[i].Elsewhere = m.clock().Add(2 * modelDelay)
		}
		m.b.InvalidateKey(context.Background(), key)
	}}
}

func (m *model) create(i int, more map[string]any) {
	role := &m.roles[i]
	data := map[string]any{fieldClientID: role.ClientID, fieldTTL: "10m"}
	if role.Keyed {
		data = merged(data, map[string]any{fieldCredentialType: string(credentialKey), fieldExportable: role.Exportable})
	}
	data = merged(data, more)
	skip, _ := data[fieldSkipImport].(bool)
	if skip || role.Keyed {
		m.asked(role, true)
	}
	config := m.storedConfig()
	_, err := m.try(logical.UpdateOperation, "roles/"+role.Name, data)
	m.mu.Lock()
	defer m.mu.Unlock()
	role.Exists = m.stored(role.Name) != nil
	if role.Exists && config != nil && !config.allows(role.ClientID, "") {
		m.breaks(oracleAllowed, "%s", role.Name)
	}
	if role.Keyed {
		m.madeOrNot(role, err)
		return
	}
	if !role.Exists && skip && !m.world.isStopped() && len(role.MayBeLive) > 0 {
		m.breaks(oracleStored, "%s was forgotten though Auth0 may have made it a secret", role.Name)
	}
	if role.Exists && err == nil && !skip {
		role.Foreign = false // it was imported as it is
	}
}

func createMove(i int, more map[string]any) move {
	return move{fmt.Sprintf("create app%d %v", i, more), func(m *model) {
		if m.roles[i].Exists || m.clock().Before(m.roles[i].EarlierUntil) {
			return // what is still on its way to Auth0's nodes a new role cannot know
		}
		m.create(i, more)
	}}
}

// importMove makes a role of a secret that is sent along.
func importMove(i int) move {
	return move{fmt.Sprintf("import app%d", i), func(m *model) {
		if !m.roles[i].Exists && !m.clock().Before(m.roles[i].EarlierUntil) {
			m.create(i, map[string]any{fieldClientSecret: strings.TrimSpace(m.auth0.secret(m.roles[i].ClientID))})
		}
	}}
}

// plantMove is importMove for a secret that is not the application's. While Auth0
// cannot say so it is taken, with a warning, which is up to the operator.
func plantMove(i int) move {
	return move{fmt.Sprintf("plant app%d", i), func(m *model) {
		if m.roles[i].Exists || m.fault != "" || m.world.left() != 0 {
			return
		}
		if m.create(i, map[string]any{fieldClientSecret: "planted-secret-of-somebody"}); m.roles[i].Exists {
			m.breaks(oracleProven, "%s", m.roles[i].Name)
		}
	}}
}

func allowMove(patterns string) move {
	return settingsMove("allow "+patterns, "config", map[string]any{fieldAllowedApplications: patterns})
}

func deleteMove(i int) move {
	return on("delete", i, func(m *model, role *modelRole) {
		unsettled := m.stored(role.Name).Rotation.Unsettled() && !role.Keyed
		if role.Keyed { // whoever signs with it gets no other either
			role.Holders = slices.DeleteFunc(slices.Clone(role.Holders), func(h modelHolder) bool { return !h.Leased })
		}
		resp, err := m.try(logical.DeleteOperation, "roles/"+role.Name, nil)
		if err == nil && unsettled && (resp == nil || len(resp.Warnings) == 0) {
			m.breaks(oracleStored, "%s was forgotten without a warning while Auth0 may accept another secret", role.Name)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if unsettled {
			role.Holders = nil // that is said, and up to the operator
		}
		if m.stored(role.Name) == nil {
			if role.Keyed {
				m.deletedKeys(role, err == nil && resp != nil && len(resp.Warnings) > 0 || err != nil)
			}
			role.drop(err == nil)
			role.Operator, role.Bulk, role.MayBeLive, role.Unpromised = false, 0, nil, false
		}
	})
}

func rootMove() move {
	return move{"rotate-root", func(m *model) { _, _ = m.try(logical.UpdateOperation, "rotate-root", nil) }}
}

func timeMove(d time.Duration) move {
	return move{"wait " + d.String(), func(m *model) { m.pass(d) }}
}

// heal ends all faults, and asks what has to hold a bounded time later.
func (m *model) heal() {
	m.failBy("")
	m.world.goOn(0)
	m.checkMetrics() // while some roles may still fail
	for i := range m.roles {
		m.makeRoom(&m.roles[i])
	}
	m.waitOut(bounded)
	for i := range m.roles {
		m.seesTaken(&m.roles[i])
		if stored := m.stored(m.roles[i].Name); stored != nil && stored.Rotation.Unsettled() && (!m.roles[i].Keyed || m.viewOf(stored).Phase != rotation.Staged) {
			m.breaks(oracleSettled, "%s", m.roles[i].Name)
		}
	}
	for _, path := range append([]string{"config"}, m.rolePaths()...) {
		if _, err := m.try(logical.UpdateOperation, path, map[string]any{fieldDisableRotation: false}); err != nil {
			m.breaks(oracleHealed, "%s cannot be written: %v", path, err)
		}
	}
	m.waitOut(bounded)
	m.checkHealed()
}

func (m *model) waitOut(d time.Duration) {
	for end := m.clock().Add(d); m.clock().Before(end) && m.broken == ""; {
		m.pass(20 * time.Minute)
		m.check()
	}
}

func (m *model) rolePaths() []string {
	var paths []string
	for i := range m.roles {
		if m.stored(m.roles[i].Name) != nil {
			paths = append(paths, rolesPrefix+m.roles[i].Name)
		}
	}
	return paths
}

// checkMetrics asks whether metrics says what status says.
func (m *model) checkMetrics() {
	if differ := differing(metricsOfStatus(m.read("status")), m.metrics()); differ != nil {
		m.breaks(oracleMetrics, "%v", differ)
	}
}

func (m *model) checkHealed() {
	m.checkMetrics()
	status := m.read("status")
	failing := maps.Clone(status[fieldFailing].(map[string]any))
	maps.DeleteFunc(failing, func(name string, _ any) bool { // a scheduled one waits for its next time
		role := m.stored(name)
		return role != nil && role.RotationWindow > 0 && m.viewOf(role).NextRotation.After(m.engineNow())
	})
	if len(failing) > 0 || status[fieldOverdue] != 0 {
		m.breaks(oracleHealed, "failing %v, overdue %v", failing, status[fieldOverdue])
	}
	if config := m.read("config"); config[fieldRetryAt] != nil { // one that was refused is over
		m.breaks(oracleHealed, "the engine's own secret: %v", config[fieldLastError])
	}
	for i := range m.roles {
		role := &m.roles[i]
		stored := m.stored(role.Name)
		if stored == nil {
			continue
		}
		if role.Keyed {
			m.checkOneKey(role, stored)
		} else if creds, err := m.request(logical.ReadOperation, "creds/"+role.Name, nil); err != nil || creds.Data[fieldClientSecret] != m.auth0.secret(role.ClientID) {
			m.breaks(oracleHealed, "%s hands out a dead secret first (%v)", role.Name, err)
		}
		if m.hasTokenRole(role) {
			if _, err := m.request(logical.ReadOperation, "tokens/"+role.Name, nil); err != nil {
				m.breaks(oracleHealed, "%s: no token: %v", role.Name, err)
			}
		}
		view := m.viewOf(stored)
		if next := view.NextRotation; !next.IsZero() && stored.RotationPeriod > 0 && next.After(m.engineNow().Add(stored.RotationPeriod+stored.TTL+time.Minute)) {
			m.breaks(oracleNoFuture, "%s is rotated next at %s", role.Name, next)
		}
	}
	if bulk := m.read("rotate-all"); bulk[fieldStartedAt] != nil && bulk[fieldFinishedAt] == nil && bulk[fieldCalledOffAt] == nil {
		m.breaks(oracleBulkEnds, "%v", maps.Clone(bulk))
	}
}
