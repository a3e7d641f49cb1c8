// Package vaulttokens gets an application its access tokens from Vault. The application
// never holds a client secret: the engine gets the token with it, at
// auth0/tokens/<token role>, and no rotation refuses the application anything.
//
//	client, err := api.NewClient(api.DefaultConfig())
//	// ... log in at Vault, and renew the token: see api.LifetimeWatcher
//	tokens := vaulttokens.New(ctx, client, vaulttokens.Config{
//		Path:     "auth0/tokens/orders",
//		Domain:   "example.eu.auth0.com",
//		Audience: "https://api.example.com/",
//	})
//	resp, err := tokens.Client(ctx).Get("https://api.example.com/orders")
//
// A [Source] is an [oauth2.TokenSource] that keeps its token, and so is to be used as it
// is: [oauth2.ReuseTokenSource] and [oauth2.NewClient] would keep each token until it
// expires, and ask for the next one only then.
package vaulttokens

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/oauth2"
	"golang.org/x/sync/semaphore"

	"vault-plugin-secrets-auth0/auth0login/internal/lease"
)

const (
	// reserve is how long before its end a token is to be replaced, so that the
	// application goes on while Vault is away for so long. Of a token that is good for
	// less than twice as long it is half.
	reserve = 2 * time.Minute
	// onTheWay is how long before its end a token is used no more: it has to be good when
	// the API looks at it. Of a short-lived one it is a tenth.
	onTheWay = 10 * time.Second
	// patience is how long [Source.Refused] waits for Vault.
	patience = 5 * time.Second
	// calm is how long Vault is not asked again after it had no other token than the one
	// that was refused.
	calm = 30 * time.Second
)

// ErrNoOther is in the chain of the error of [Source.Refused] where Vault hands out the
// token that was refused, as it does with a shared one until that is about to expire. If
// the token is indeed at fault, a write of the token role has the engine drop it.
var ErrNoOther = errors.New("there is no other token in Vault than the one that was refused")

var errExpired = errors.New("the token has expired, or is about to")

// Config says which token the application wants. All of it comes from the application's
// own configuration: tokens of another tenant, or for another API, are refused. Otherwise
// everybody who may write token roles could have the application send a token for
// another API, the Management API for instance, to the one that it calls.
type Config struct {
	Path     string // such as auth0/tokens/orders
	Domain   string // of the application's own tenant: a host, or host:port
	Audience string // of the API that it calls
}

// Source gives the tokens of one token role. It reads when a token is asked for and most
// of the last one's time is over: nothing runs while nobody asks. While Vault does not
// answer, it goes on with the last token, until that is about to expire. It is safe for
// concurrent use; the goroutines of a process should share one.
type Source struct {
	config Config
	client *api.Client
	ctx    context.Context
	kept   *lease.Keeper[oauth2.Token] // behind pointers, which fmt does not follow where it cannot call Format
	same   *sameToken
	// turn is held by the one that has a refused token replaced: whoever comes next finds
	// the other one.
	turn *semaphore.Weighted
}

var _ oauth2.TokenSource = (*Source)(nil)

// sameToken is the token that was refused, and that Vault has handed out again.
type sameToken struct {
	mu    sync.Mutex
	value string
	until time.Time // until then Vault is not asked for another
}

// New is a source of the tokens of a token role. Nothing is read yet. The caller keeps
// the client's token alive: see LastError. The context is used for as long as the source
// is: no token is given and no read goes on after its end.
func New(ctx context.Context, client *api.Client, config Config) *Source {
	s := &Source{config: config, client: client, ctx: ctx, same: &sameToken{}, turn: semaphore.NewWeighted(1)}
	s.kept = lease.NewKeeper(config.Path, s.ask)
	return s
}

// String is the path; a source is printed, logged and marshalled without its token and
// Vault's. An [oauth2.Token] is not.
func (s Source) String() string { return s.config.Path + " in Vault" }

// Format is String, for each verb.
func (s Source) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// MarshalJSON is String.
func (s Source) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// LogValue is String, for package slog.
func (s Source) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Token gives the present token, or reads one. Nobody waits for that while the last one is
// good.
func (s *Source) Token() (*oauth2.Token, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	if s.good() == nil {
		if err := s.kept.JustFailed(); err != nil {
			return nil, err // Vault is not asked again for each request
		}
	}
	_, r := s.kept.Present(s.ctx)
	if token := s.good(); token != nil {
		return token, nil
	}
	var err error
	if r != nil {
		err = s.kept.Await(s.ctx, r)
	}
	if token := s.good(); token != nil {
		return token, nil
	}
	return nil, cmp.Or(err, s.kept.LastError(), errExpired)
}

// good gives a copy of what is held, if it is good; else nil.
func (s *Source) good() *oauth2.Token {
	held := s.kept.Held()
	if held == nil || lease.Past(held.End) {
		return nil
	}
	token := held.Value
	return &token
}

// Client sends requests with the tokens of the source. As with [oauth2.NewClient], the
// value of [oauth2.HTTPClient] in the context is the client that it is made from. It
// follows no redirect to another host: the token would go there, too.
func (s *Source) Client(ctx context.Context) *http.Client {
	base, ok := ctx.Value(oauth2.HTTPClient).(*http.Client)
	if !ok {
		base = http.DefaultClient
	}
	client := *base
	client.Transport = &oauth2.Transport{Source: s, Base: base.Transport}
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		from := via[0].URL
		switch {
		case req.URL.Scheme != from.Scheme || req.URL.Host != from.Host:
			return errors.New("the API redirects to another host, which gets no token")
		case base.CheckRedirect != nil:
			return base.CheckRedirect(req, via)
		case len(via) >= 10:
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	return &client
}

// Refused gives another token than the one that an API has refused (401), if Vault has
// another: if need be it reads ahead of time, at least a second after the last read, in
// one read for all who wait. It waits for Vault up to 5 seconds. An application calls it
// once for a request, and sends that once more.
//
// If Vault does not answer, or hands out the refused token again ([ErrNoOther]), Token goes
// on to give that one: an API may refuse one request for reasons of its own.
func (s *Source) Refused(ctx context.Context, refused *oauth2.Token) (*oauth2.Token, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	ctx, enough := context.WithTimeout(ctx, patience)
	defer enough()
	if err := s.turn.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.config.Path, err)
	}
	defer s.turn.Release(1)
	if token := s.other(refused); token != nil {
		return token, nil
	}
	if s.same.lately(refused.AccessToken) {
		return nil, fmt.Errorf("read %s: %w", s.config.Path, ErrNoOther)
	}
	err := s.kept.Refresh(ctx)
	if token := s.other(refused); token != nil {
		return token, nil
	}
	if err == nil {
		s.same.note(refused.AccessToken)
		err = fmt.Errorf("read %s: %w", s.config.Path, ErrNoOther)
	}
	return nil, err
}

func (s *Source) other(refused *oauth2.Token) *oauth2.Token {
	if token := s.good(); token != nil && token.AccessToken != refused.AccessToken {
		return token
	}
	return nil
}

func (s *sameToken) lately(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value == value && time.Now().Before(s.until)
}

func (s *sameToken) note(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.until = value, time.Now().Add(calm)
}

// LastError is why the last read of Vault has failed, for instance because Vault's token
// has expired; nil if it has not. The application goes on with the token that there is
// meanwhile.
func (s *Source) LastError() error { return s.kept.LastError() }

// answer is what tokens/<token role> answers, as far as it matters here.
type answer struct {
	AccessToken string   `json:"access_token"`
	TokenType   string   `json:"token_type"`
	ExpiresIn   int64    `json:"expires_in"` // 0: not known
	Scopes      []string `json:"scopes"`
	Audience    string   `json:"audience"`
	Domain      string   `json:"domain"`
}

func (s *Source) ask(ctx context.Context, asked time.Time) (*lease.Held[oauth2.Token], error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(s.ctx, end)() //nolint:contextcheck // a read ends with the source, too
	secret, err := s.client.Logical().ReadWithContext(ctx, s.config.Path)
	if err != nil {
		return nil, answered(err)
	}
	if secret == nil {
		return nil, errors.New("there is nothing at this path")
	}
	var a answer
	text, err := json.Marshal(secret.Data)
	if err != nil || json.Unmarshal(text, &a) != nil {
		return nil, errors.New("not the data of tokens/<token role>") // the cause may quote a token
	}
	if err := s.config.check(a); err != nil {
		return nil, err
	}
	return held(a, secret, asked)
}

// check refuses what is no token, or is one for elsewhere. Errors never show the token.
func (c Config) check(a answer) error {
	switch {
	case c.Domain == "" || c.Audience == "":
		return errors.New("the application does not say of which domain, and for which audience, the token has to be")
	case a.AccessToken == "":
		return errors.New("the answer has no access_token")
	case !strings.EqualFold(a.TokenType, "Bearer"):
		return fmt.Errorf("the token_type is %q, not Bearer", a.TokenType)
	case !strings.EqualFold(a.Domain, c.Domain):
		return fmt.Errorf("a token of the domain %q is expected, but it is of %q", c.Domain, a.Domain)
	case a.Audience != c.Audience:
		return fmt.Errorf("a token for the audience %q is expected, but it is for %q", c.Audience, a.Audience)
	}
	return nil
}

// held says how long an answer is good: by Vault's own count of seconds, since clocks
// differ. Its lease may end before the token does, if the mount has it so: that only has
// it read again.
func held(a answer, secret *api.Secret, asked time.Time) (*lease.Held[oauth2.Token], error) {
	leased := time.Duration(secret.LeaseDuration) * time.Second
	life := time.Duration(a.ExpiresIn) * time.Second
	if life == 0 {
		life = leased
	}
	if secret.LeaseID == "" {
		leased = life
	}
	leased = min(leased, life)
	ahead := time.Duration(lease.Part() * float64(leased-min(reserve, leased/2)))
	token := oauth2.Token{AccessToken: a.AccessToken, TokenType: "Bearer", Expiry: asked.Add(life)}
	fresh := &lease.Held[oauth2.Token]{
		Value:     *token.WithExtra(map[string]any{"scope": strings.Join(a.Scopes, " ")}),
		ReadAgain: asked.Add(ahead),
		End:       token.Expiry.Add(-min(onTheWay, life/10)),
	}
	if lease.Past(fresh.End) {
		return nil, errExpired
	}
	return fresh, nil
}

// answerError is the error for an answer of Vault, or of something in between, that is
// none of a token. It has what Vault says in its list of errors, and no other text of the
// answer's body, which [api.ResponseError], which it wraps, prints.
type answerError struct {
	text  string
	cause error
}

// Error gives the status, and what Vault said.
func (e *answerError) Error() string { return e.text }

// Unwrap gives the [api.ResponseError].
func (e *answerError) Unwrap() error { return e.cause }

// Format implements fmt.Formatter: no verb shows the cause.
func (e *answerError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.text) }

// answered gives the error for an answer a text that can be logged. Others stay as they
// are.
func answered(err error) error {
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		return err
	}
	text := fmt.Sprintf("Vault answered %d", answer.StatusCode)
	if !answer.RawError && len(answer.Errors) > 0 {
		text += ": " + strings.Join(answer.Errors, "; ")
	}
	return &answerError{text, err}
}
