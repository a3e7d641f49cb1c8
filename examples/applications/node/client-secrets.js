import { readFileSync } from 'node:fs';

const rounds = 2; // a new secret may reach Auth0 while the others are tried
const refusals = ['invalid_client', 'access_denied']; // of the secret: nothing else is a reason to try another

// ClientSecrets is the file that Vault Agent renders from auth0/creds/shop.
export class ClientSecrets {
  #file;
  #known; // what the file said when it could be read last
  #worked; // the secret that Auth0 accepted last

  constructor(file) {
    this.#file = file;
    this.credentials();
  }

  // credentials reads the file each time: Vault Agent replaces it by another.
  credentials() {
    try {
      const read = JSON.parse(readFileSync(this.#file, 'utf8'));
      if (!read.client_secrets?.length) throw new Error(`${this.#file}: no client_secrets`);
      this.#known = read;
    } catch (error) {
      if (!this.#known) throw error;
    }
    return this.#known;
  }

  #inOrder() {
    const secrets = this.credentials().client_secrets;
    if (!secrets.includes(this.#worked)) return secrets;
    return [this.#worked, ...secrets.filter((secret) => secret !== this.#worked)];
  }

  // fetch is the global fetch, but sends what has a client_secret with one secret
  // after the other until Auth0 accepts one.
  fetch = async (url, options = {}) => {
    const form = new URLSearchParams(options.body instanceof URLSearchParams ? options.body : '');
    if (!form.has('client_secret')) return fetch(url, options);
    let response;
    for (let round = 0; round < rounds; round++) {
      for (const secret of this.#inOrder()) {
        form.set('client_secret', secret);
        response = await fetch(url, { ...options, body: form });
        const error = await oauthError(response);
        if (refusals.includes(error)) continue;
        if (response.ok || error === 'invalid_grant') this.#worked = secret;
        return response;
      }
    }
    return response;
  };
}

// oauthError is why Auth0 has refused the request, as far as it says so.
async function oauthError(response) {
  if (response.status !== 401 && response.status !== 403) return undefined;
  const answer = await response.clone().json().catch(() => undefined);
  return answer?.error;
}
