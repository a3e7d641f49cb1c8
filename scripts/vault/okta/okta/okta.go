// Package okta takes the place of Okta's SDK in the Vault of the tests. It serves one method
// of Vault's own login MFA, which nobody uses here: in this one, its configuration fails. It
// has what that method names, and no more.
package okta

import (
	"context"
	"errors"
	"net/http"
)

var errUnknown = errors.New("okta: this Vault was built without it")

type (
	// Configuration is that of a client.
	Configuration struct{ Context context.Context }
	// APIClient is a client.
	APIClient struct {
		UserAPI       users
		UserFactorAPI factors
	}
	// UserFactorPush is a factor of a user.
	UserFactorPush struct{ user }

	users     struct{}
	factors   struct{}
	user      struct{}
	listUsers struct{}
	factor    struct{ UserFactorPush *UserFactorPush }
	verified  struct{ Links any }
	status    struct {
		UserFactorPushTransaction, UserFactorPushTransactionWaiting         *struct{}
		UserFactorPushTransactionRejected, UserFactorPushTransactionTimeout *struct{}
	}
	call[T any] struct{}
)

// NewConfiguration refuses.
func NewConfiguration(...any) (*Configuration, error) { return nil, errUnknown }

// WithToken is a setting.
func WithToken(string) any { return nil }

// WithOrgUrl is a setting.
func WithOrgUrl(string) any { return nil }

// WithCache is a setting.
func WithCache(bool) any { return nil }

// NewAPIClient is not reached.
func NewAPIClient(*Configuration) *APIClient { return &APIClient{} }

// GetConfig is not reached.
func (*APIClient) GetConfig() *Configuration { return &Configuration{} }

func (users) ListUsers(context.Context) listUsers { return listUsers{} }
func (listUsers) Filter(string) call[[]user]      { return call[[]user]{} }
func (user) GetId() string                        { return "" }
func (verified) GetFactorResult() string          { return "" }

func (factors) ListFactors(context.Context, string) call[[]factor] { return call[[]factor]{} }
func (factors) VerifyFactor(context.Context, string, string) call[verified] {
	return call[verified]{}
}
func (factors) GetFactorTransactionStatus(context.Context, string, string, string) call[status] {
	return call[status]{}
}

func (call[T]) Execute() (answer T, _ *http.Response, _ error) { return answer, nil, errUnknown }
