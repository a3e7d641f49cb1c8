import os

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session, url_for

from client_secrets import ClientSecretAdapter, ClientSecrets

domain = os.environ["DOMAIN"]  # such as example.eu.auth0.com: not what the file says
secrets = ClientSecrets(os.environ["CREDENTIALS"], domain)  # such as /run/shop/auth0.json
credentials = secrets.credentials()
issuer = f"https://{domain}/"

app = Flask(__name__)
app.secret_key = os.environ["SESSION_SECRET"]  # signs the session: not Auth0's
auth0 = OAuth(app).register(
    "auth0",
    client_id=credentials["client_id"],
    client_secret=credentials["client_secrets"][0],  # must be set; the adapter puts in the right one
    server_metadata_url=issuer + ".well-known/openid-configuration",
    client_kwargs={
        "scope": "openid profile offline_access",
        "token_endpoint_auth_method": "client_secret_post",
        "code_challenge_method": "S256",
    },
    compliance_fix=lambda client: client.mount(issuer, ClientSecretAdapter(secrets)),
)

tokens = {}  # by user; not in the session, which the browser can read


@app.route("/login")
def login():
    return auth0.authorize_redirect(url_for("callback", _external=True))


@app.route("/callback")
def callback():
    token = auth0.authorize_access_token()
    session["user"] = token["userinfo"]["sub"]
    tokens[session["user"]] = token
    return redirect("/")


@app.route("/")
def home():
    return {"name": tokens[session["user"]]["userinfo"]["name"]}


@app.route("/refresh")
def refresh():
    expired = {**tokens[session["user"]], "expires_at": 1}  # so it is refreshed before it is used
    return {"sub": auth0.userinfo(token=expired)["sub"]}


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "3000")))
