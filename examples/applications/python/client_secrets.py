"""The client secrets of an application, as Vault hands them out, for requests."""

import json
from urllib.parse import parse_qsl

from requests import RequestException
from requests.adapters import HTTPAdapter

ROUNDS = 2  # a new secret may reach Auth0 while the others are tried
REFUSALS = ("invalid_client", "access_denied")  # of the secret: nothing else is a reason to try another


class ClientSecrets:
    """The file that Vault Agent renders from auth0/creds/shop. What it has must be for
    the domain of the application's own tenant."""

    def __init__(self, file, domain):
        self._file = file
        self._domain = domain.lower()
        self._known = None  # what the file said when it could be read last
        self.worked = None  # the secret that Auth0 accepted last
        self.credentials()

    def credentials(self):
        """Reads the file each time: Vault Agent replaces it by another."""
        try:
            with open(self._file, encoding="utf-8") as file:
                read = json.load(file)
            if not read["client_secrets"]:
                raise ValueError("no client_secrets")
            domain = read["domain"].lower()
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            if self._known is None:
                raise
            return self._known
        if domain != self._domain:
            raise RuntimeError(f"{self._file}: the domain {self._domain} is expected, but it is for {domain}")
        self._known = read
        return read

    def in_order(self):
        """The secrets in the order in which they are tried."""
        secrets = self.credentials()["client_secrets"]
        return sorted(secrets, key=lambda secret: secret != self.worked)  # stable


class ClientSecretAdapter(HTTPAdapter):
    """Sends what has a client_secret with one secret after the other until Auth0
    accepts one. Follows no redirect: it would take the secret along."""

    def __init__(self, secrets):
        super().__init__()
        self._secrets = secrets

    def send(self, request, **kwargs):
        form = dict(parse_qsl(_text(request.body), keep_blank_values=True))
        if "client_secret" not in form:
            return self._send(request, **kwargs)
        for _ in range(ROUNDS):
            for secret in self._secrets.in_order():
                attempt = request.copy()
                attempt.prepare_body({**form, "client_secret": secret}, None)
                response = self._send(attempt, **kwargs)
                error = _oauth_error(response)
                if error in REFUSALS:
                    continue
                if response.ok or error == "invalid_grant":
                    self._secrets.worked = secret
                return response
        return response

    def _send(self, request, **kwargs):
        response = super().send(request, **kwargs)
        if 300 <= response.status_code <= 399:
            response.close()
            raise RequestException(f"{request.url} answers with a redirect ({response.status_code}), which is not followed")
        return response


def _oauth_error(response):
    """Why Auth0 has refused the request, as far as it says so."""
    if response.status_code not in (401, 403):
        return None
    try:
        return response.json()["error"]
    except (ValueError, LookupError, TypeError):
        return None


def _text(body):
    if isinstance(body, bytes):
        return body.decode("utf-8", "replace")
    return body if isinstance(body, str) else ""
