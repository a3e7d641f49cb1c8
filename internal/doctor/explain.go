package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// explain says what an error of the client means, and what to do about it.
func (e *examination) explain(err error) (message, remedy string) {
	message = err.Error() // nothing of it comes from upstream
	var upstream *auth0.Error
	switch {
	case !errors.As(err, &upstream):
		return message, ""
	case errors.Is(err, context.Canceled):
		return "interrupted", ""
	case upstream.Class == auth0.Limited:
		return message, "Wait that long, and see who uses up the tenant's rate limit (Auth0's dashboard: Monitoring > Logs, type api_limit)."
	case upstream.Status == 0:
		return message, e.explainNoAnswer(upstream.Message)
	case upstream.Class == auth0.Refused && upstream.Op == auth0.OpToken:
		return message, e.explainLogin(upstream.Message)
	case upstream.Class == auth0.Refused && upstream.Status == http.StatusUnauthorized:
		return message, "Auth0 gave a token, but its Management API does not take it: check audience (" + e.report.Audience +
			"). With a custom domain it is the tenant's own, https://<tenant>.auth0.com/api/v2/."
	case upstream.Class == auth0.Refused:
		return message, ""
	case upstream.Message == auth0.ReasonRedirected:
		return message, "See where https://" + e.Domain + " leads, and give that domain if it is the tenant's."
	case upstream.Message == auth0.ReasonNotAuth0:
		return message, "Check the domain for a typing error. If it is right, a proxy or firewall answers in place of Auth0: let " + e.Domain + " through (HTTPS_PROXY, NO_PROXY)."
	case upstream.Status >= http.StatusInternalServerError:
		return message, "Auth0 has a problem. Try again, and see https://status.auth0.com."
	}
	return message, "Try again. If it stays, a proxy may change answers of " + e.Domain + "."
}

// explainNoAnswer is for a request that brought no answer.
func (e *examination) explainNoAnswer(reason string) (remedy string) {
	switch reason {
	case auth0.ReasonNoHost:
		return "Check the domain for a typing error, and that this machine's DNS knows it."
	case auth0.ReasonNoLookup:
		return "This machine's DNS does not work: see whether other hosts can be looked up."
	case auth0.ReasonOtherHosts:
		return "Check the domain for a typing error; for a custom domain, that its set-up in Auth0 is finished."
	case auth0.ReasonUnknownCA, auth0.ReasonCertificate, auth0.ReasonExpired:
		return "If a proxy of yours terminates TLS, or the domain has a CA of its own, give that CA as ca_cert (-ca_cert=@ca.pem)."
	case auth0.ReasonNotTLS:
		return "Check domain and port."
	case auth0.ReasonLate:
		return fmt.Sprintf("No answer within %s: see whether a firewall drops packets to %s, or whether a proxy is needed (HTTPS_PROXY). request_timeout allows for more time.", e.RequestTimeout, e.Domain)
	}
	return "See whether this machine can reach " + e.Domain + ": network, firewall, HTTPS_PROXY."
}

// explainLogin is for credentials that Auth0 refuses.
func (e *examination) explainLogin(reason string) string {
	switch {
	case reason == auth0.ReasonNoSuchAPI:
		return "There is no API with the audience " + e.report.Audience + ". Give the identifier of the Auth0 Management API as audience: https://<tenant>.auth0.com/api/v2/, also with a custom domain."
	case reason == auth0.ReasonNotAuthorized:
		return "Authorise the application for the Auth0 Management API: in the dashboard, Applications > APIs > Auth0 Management API."
	case reason == auth0.ReasonGrantType:
		return "Let the application use the grant type client_credentials: in the dashboard, the application's Settings > Advanced Settings > Grant Types."
	case e.byKey():
		hint := "Check client ID and private key: is its public half registered with the application (Credentials), with algorithm " + e.SigningAlgorithm + ", and not expired?"
		if ahead := e.client.Clock().Ahead(); ahead.Abs() > skewTolerated {
			hint += fmt.Sprintf(" And this machine's clock is %s off Auth0's: that alone makes Auth0 refuse the key.", ahead.Abs().Round(time.Second))
		}
		return hint
	}
	return "Check client ID and client secret in the dashboard (the application's Settings), and that the application authenticates by a secret (Credentials), not by a key. " +
		"If Vault has rotated the secret (rotate-root), only Vault has it."
}
