import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as openid from 'openid-client';

const algorithms = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  RS384: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-384' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
};

// ClientKey is the file that Vault Agent renders from auth0/creds/shop. What it has
// must be for the domain of the application's own tenant.
export class ClientKey {
  #file;
  #domain;
  #known; // what the file said when it could be read last

  constructor(file, domain) {
    this.#file = file;
    this.#domain = domain;
    this.credentials();
  }

  // credentials reads the file each time: Vault Agent replaces it by another.
  credentials() {
    let read;
    try {
      read = JSON.parse(readFileSync(this.#file, 'utf8'));
      if (!read.private_key) throw new Error(`${this.#file}: no private_key`);
    } catch (error) {
      if (!this.#known) throw error;
      read = this.#known;
    }
    checkDomain(read, this.#domain);
    this.#known = read;
    return read;
  }

  // authenticate is what openid-client calls for each request, as it would PrivateKeyJwt.
  authenticate = async (server, client, body, headers) => {
    const { private_key, kid, signing_algorithm } = this.credentials();
    const der = createPrivateKey(private_key).export({ type: 'pkcs8', format: 'der' });
    const key = await crypto.subtle.importKey('pkcs8', der, algorithms[signing_algorithm], false, ['sign']);
    await openid.PrivateKeyJwt({ key, kid })(server, client, body, headers);
  };
}

// vaultAssertions is for an application that never sees a key: each request takes an
// assertion that Vault has just signed, as it is good once. Vault Proxy, at vault, has the
// token for it.
export const vaultAssertions = (vault, domain) => async (server, client, body) => {
  const answer = await fetch(`${vault}/v1/auth0/assertions/shop`, {
    headers: { 'X-Vault-Request': 'true' },
    redirect: 'error',
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) throw new Error(`Vault has no assertion: ${answer.status}`);
  const { data } = await answer.json();
  checkDomain(data, domain);
  body.set('client_id', client.client_id);
  body.set('client_assertion_type', data.client_assertion_type);
  body.set('client_assertion', data.client_assertion);
};

function checkDomain(read, domain) {
  if (String(read.domain).toLowerCase() === domain.toLowerCase()) return;
  throw new Error(`the domain ${domain} is expected, but the key is for ${read.domain}`);
}
