import { createServer } from 'node:http';
import * as openid from 'openid-client';
import { ClientKey, vaultAssertions } from './client-key.js';

const domain = process.env.DOMAIN; // such as example.eu.auth0.com: not what the file says
const { CREDENTIALS, VAULT_ADDR, CLIENT_ID } = process.env; // such as /run/shop/auth0.json, or Vault Proxy's address

const key = CREDENTIALS && new ClientKey(CREDENTIALS, domain);
const config = await openid.discovery(
  new URL(`https://${domain}/`),
  CLIENT_ID ?? key.credentials().client_id,
  undefined,
  key ? key.authenticate : vaultAssertions(VAULT_ADDR, domain),
);

// A token of the application's own. One that serves many requests is kept until it is about to expire.
createServer(async (request, response) => {
  try {
    const { expires_in } = await openid.clientCredentialsGrant(config, { audience: process.env.AUDIENCE });
    response.end(JSON.stringify({ expires_in }));
  } catch (error) {
    console.error(error.code ?? error.message); // not the error itself, which has the answer in it
    response.writeHead(502).end('The login has failed.');
  }
}).listen(process.env.PORT ?? 3000, '127.0.0.1');
