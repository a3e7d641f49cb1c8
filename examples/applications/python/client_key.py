"""The private key of an application, as Vault hands it out, for Authlib."""

import json

from authlib.common.urls import add_params_to_qs
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from joserfc.jwk import RSAKey


class ClientKey(PrivateKeyJWT):
    """The file that Vault Agent renders from auth0/creds/shop. What it has must be for
    the domain of the application's own tenant."""

    def __init__(self, file, domain):
        super().__init__()
        self._file = file
        self._domain = domain.lower()
        self._known = None  # what the file said when it could be read last
        self.credentials()

    def credentials(self):
        """Reads the file each time: Vault Agent replaces it by another."""
        try:
            with open(self._file, encoding="utf-8") as file:
                read = json.load(file)
            if not read["private_key"]:
                raise ValueError("no private_key")
            domain = read["domain"].lower()
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            if self._known is None:
                raise
            return self._known
        if domain != self._domain:
            raise RuntimeError(f"{self._file}: the domain {self._domain} is expected, but it is for {domain}")
        self._known = read
        return read

    def __call__(self, auth, method, uri, headers, body):
        """Called for each request. Authlib leaves the client ID to the assertion."""
        body = add_params_to_qs(body or "", [("client_id", auth.client_id)])
        return super().__call__(auth, method, uri, headers, body)

    def sign(self, auth, token_endpoint):
        """Auth0 takes no assertion that lasts longer than five minutes; Authlib's do."""
        read = self.credentials()
        return private_key_jwt_sign(
            RSAKey.import_key(read["private_key"]),
            auth.client_id,
            f"https://{self._domain}/",
            alg=read["signing_algorithm"],
            header={"kid": read["kid"]},
            expires_in=60,
        )
