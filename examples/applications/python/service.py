import os

from authlib.integrations.requests_client import OAuth2Session
from flask import Flask

from client_key import ClientKey

domain = os.environ["DOMAIN"]  # such as example.eu.auth0.com: not what the file says
key = ClientKey(os.environ["CREDENTIALS"], domain)  # such as /run/shop/auth0.json
client_id = key.credentials()["client_id"]

app = Flask(__name__)


@app.route("/api")
def api():
    """A token of the application's own. One that serves many requests is kept until it is about to expire."""
    with OAuth2Session(client_id, token_endpoint_auth_method=key) as session:
        session.max_redirects = 0  # one would take the assertion along
        token = session.fetch_token(
            f"https://{domain}/oauth/token",
            grant_type="client_credentials",
            audience=os.environ["AUDIENCE"],  # such as https://api.example.com/
            timeout=10,
        )
    return {"expires_in": token["expires_in"]}


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "3000")))
