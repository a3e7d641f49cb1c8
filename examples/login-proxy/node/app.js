import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import * as openid from 'openid-client';

const issuer = `https://${process.env.DOMAIN}/`; // of the tenant, such as example.eu.auth0.com
const proxy = process.env.LOGIN_PROXY; // such as http://127.0.0.1:8404
const localSecret = readFileSync(process.env.LOCAL_SECRET, 'utf8').trim(); // once: it never changes

const config = await openid.discovery(
  new URL('/.well-known/openid-configuration', proxy),
  process.env.CLIENT_ID,
  undefined,
  openid.ClientSecretPost(localSecret),
  { execute: [openid.allowInsecureRequests] }, // the proxy is on loopback, without TLS
);
// The address of a document, and not of an issuer: openid-client leaves the comparison to us.
if (config.serverMetadata().issuer !== issuer) throw new Error(`${proxy} is not for ${issuer}`);

const base = process.env.BASE_URL; // such as https://shop.example.com
const sessions = new Map(); // in memory: a real application keeps them elsewhere

async function login(response) {
  const id = randomUUID();
  const session = { state: openid.randomState(), nonce: openid.randomNonce(), verifier: openid.randomPKCECodeVerifier() };
  sessions.set(id, session);
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri: `${base}/callback`,
    scope: 'openid profile offline_access',
    state: session.state,
    nonce: session.nonce,
    code_challenge: await openid.calculatePKCECodeChallenge(session.verifier),
    code_challenge_method: 'S256',
  });
  response.writeHead(302, { Location: url.href, 'Set-Cookie': `session=${id}; HttpOnly; SameSite=Lax; Path=/` }).end();
}

async function callback(url, session, response) {
  session.tokens = await openid.authorizationCodeGrant(config, url, {
    expectedState: session.state,
    expectedNonce: session.nonce,
    pkceCodeVerifier: session.verifier,
  });
  response.writeHead(302, { Location: '/' }).end();
}

async function refresh(session, response) {
  const { expires_in } = await openid.refreshTokenGrant(config, session.tokens.refresh_token);
  response.end(JSON.stringify({ expires_in }));
}

createServer(async (request, response) => {
  const url = new URL(request.url, base);
  const session = sessions.get(request.headers.cookie?.match(/(?:^|; )session=([\w-]+)/)?.[1]);
  try {
    if (url.pathname === '/login' || !session) return await login(response);
    if (url.pathname === '/callback') return await callback(url, session, response);
    if (url.pathname === '/refresh') return await refresh(session, response);
    response.end(JSON.stringify({ name: session.tokens.claims().name }));
  } catch (error) {
    console.error(error.code ?? error.message); // not the error itself, which has the answer in it
    response.writeHead(502).end('The login has failed.');
  }
}).listen(process.env.PORT ?? 3000, '127.0.0.1');
