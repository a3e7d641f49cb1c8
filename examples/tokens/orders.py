"""Calls an API with the access token that Vault Agent keeps in a file: there is no secret
in this service. Needs Python 3.8 or newer, and nothing else."""

import json
import os
from datetime import datetime, timezone
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener


class TokenFile:
    """The file that Vault Agent renders from auth0/tokens/orders. The token must be of the
    domain and for the audience in the application's own configuration."""

    def __init__(self, file, domain, audience):
        self._file = file
        self._domain = domain
        self._audience = audience

    def token(self):
        """Reads the file each time: Vault Agent replaces it by another."""
        with open(self._file, encoding="utf-8") as file:
            read = json.load(file)
        if (read["domain"].lower(), read["audience"]) != (self._domain.lower(), self._audience):
            raise RuntimeError(
                f"{self._file}: a token of {self._domain} for {self._audience} is expected, "
                f"but it is of {read['domain']} for {read['audience']}"
            )
        until = read["expires_at"]
        if until and datetime.fromisoformat(until.replace("Z", "+00:00")) <= datetime.now(timezone.utc):
            raise RuntimeError(f"{self._file}: the token has expired at {until}: does Vault Agent run?")
        return read["access_token"]


class NoRedirects(HTTPRedirectHandler):
    """Has a redirect be an error: urllib would send the token to wherever it points."""

    def redirect_request(self, *_):
        return None


def get(tokens, url):
    """Asks the API. If it refuses the token, and there is another one by now, once more."""
    opener = build_opener(NoRedirects)
    token = tokens.token()
    for last in (False, True):
        try:
            with opener.open(Request(url, headers={"Authorization": f"Bearer {token}"}), timeout=10) as answer:
                return answer.read().decode()
        except HTTPError as error:
            refused, token = token, tokens.token()
            if error.code != 401 or last or token == refused:
                raise


if __name__ == "__main__":
    source = TokenFile(os.environ["TOKEN_FILE"], os.environ["AUTH0_DOMAIN"], os.environ["AUDIENCE"])
    print(get(source, os.environ["ORDERS_URL"]))
