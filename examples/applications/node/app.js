import express from 'express';
import openid from 'express-openid-connect';
import { ClientSecrets } from './client-secrets.js';

const domain = process.env.DOMAIN; // such as example.eu.auth0.com: not what the file says
const secrets = new ClientSecrets(process.env.CREDENTIALS, domain); // such as /run/shop/auth0.json
const { client_id, client_secrets } = secrets.credentials();

const app = express();
app.use(
  openid.auth({
    issuerBaseURL: `https://${domain}`,
    baseURL: process.env.BASE_URL, // such as https://shop.example.com
    clientID: client_id,
    clientSecret: client_secrets[0], // must be set; customFetch puts in the right one
    clientAuthMethod: 'client_secret_post',
    customFetch: secrets.fetch,
    secret: process.env.SESSION_SECRET, // encrypts the session: not Auth0's
    authorizationParams: { response_type: 'code', scope: 'openid profile offline_access' },
  }),
);

app.get('/', (req, res) => res.json({ name: req.oidc.user.name }));
app.get('/refresh', async (req, res) => {
  const { expires_in } = await req.oidc.accessToken.refresh();
  res.json({ expires_in });
});

app.listen(process.env.PORT ?? 3000, '127.0.0.1');
