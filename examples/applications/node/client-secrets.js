import { readFileSync } from 'node:fs';

const rounds = 2; // a new secret may reach Auth0 while the others are tried
const refusals = ['invalid_client', 'access_denied']; // of the secret: nothing else is a reason to try another

// ClientSecrets is the file that Vault Agent renders from auth0/creds/shop. What it has
// must be for the domain of the application's own tenant.
export class ClientSecrets {
  #file;
  #domain;
  #known; // what the file said when it could be read last
  #worked; // the secret that Auth0 accepted last

  constructor(file, domain) {
    this.#file = file;
    this.#domain = domain.toLowerCase();
    this.credentials();
  }

  // credentials reads the file each time: Vault Agent replaces it by another.
  credentials() {
    let read;
    try {
      read = JSON.parse(readFileSync(this.#file, 'utf8'));
      if (!read.client_secrets?.length) throw new Error(`${this.#file}: no client_secrets`);
    } catch (error) {
      if (!this.#known) throw error;
      read = this.#known;
    }
    if (String(read.domain).toLowerCase() !== this.#domain) {
      throw new Error(`${this.#file}: the domain ${this.#domain} is expected, but it is for ${read.domain}`);
    }
    this.#known = read;
    return read;
  }

  #inOrder() {
    const secrets = this.credentials().client_secrets;
    if (!secrets.includes(this.#worked)) return secrets;
    return [this.#worked, ...secrets.filter((secret) => secret !== this.#worked)];
  }

  // fetch is the global fetch, but follows no redirect, and sends what has a
  // client_secret with one secret after the other until Auth0 accepts one.
  fetch = async (url, options = {}) => {
    const form = new URLSearchParams(options.body instanceof URLSearchParams ? options.body : '');
    if (!form.has('client_secret')) return fetchWithoutRedirects(url, options);
    let response;
    for (let round = 0; round < rounds; round++) {
      for (const secret of this.#inOrder()) {
        form.set('client_secret', secret);
        response = await fetchWithoutRedirects(url, { ...options, body: form });
        const error = await oauthError(response);
        if (refusals.includes(error)) continue;
        if (response.ok || error === 'invalid_grant') this.#worked = secret;
        return response;
      }
    }
    return response;
  };
}

// fetchWithoutRedirects: a redirect would take the secret along.
async function fetchWithoutRedirects(url, options) {
  const response = await fetch(url, { ...options, redirect: 'manual' });
  if (response.status < 300 || response.status > 399) return response;
  throw new Error(`${url} answers with a redirect (${response.status}), which is not followed`);
}

// oauthError is why Auth0 has refused the request, as far as it says so.
async function oauthError(response) {
  if (response.status !== 401 && response.status !== 403) return undefined;
  const answer = await response.clone().json().catch(() => undefined);
  return answer?.error;
}
