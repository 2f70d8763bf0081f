// A certified OpenID provider (npm oidc-provider) as the issuer of real tokens.
//
//   node provider.mjs PORT
//
// http://127.0.0.1:PORT/{RS256,PS256,ES256,EdDSA}: access tokens are JWTs (RFC 9068) for https://api.example.com, signed
// with the algorithm that the path names. http://127.0.0.1:PORT/FAMILY: tokens as in families.mjs, signed with ES256.
// Beside each provider:
//   POST /control/NAME/rotate   a new signing key; the old one stays published
//   POST /control/NAME/retire   the old keys are gone
//   GET  /control/NAME/asked    how often each endpoint was asked
import http from 'node:http';
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import { Provider } from 'oidc-provider';
import { families, released } from './families.mjs';

const port = Number(process.argv[2]);
const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const resource = 'https://api.example.com';
const plainScopes = 'crm contracts:read contracts:write customers:read customers:write';
const accounts = {
  alice: '5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111',
  bob: '0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02',
};

let keyNumber = 0;
async function makeKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, modulusLength: 2048 });
  keyNumber += 1;
  return { ...(await exportJWK(privateKey)), use: 'sig', alg, kid: `${alg.toLowerCase()}-${keyNumber}` };
}

function makeProvider({ name, alg, family, keys }) {
  const scopes = family.scopes ?? plainScopes;
  const machine = (id) => ({
    client_id: id, client_secret: `${id}-secret`, redirect_uris: [], response_types: [],
    grant_types: ['client_credentials'], scope: scopes, id_token_signed_response_alg: alg, ...(id === 'unbound' ? {} : family.client),
  });
  const { features, ...settings } = family.settings ?? {};
  const provider = new Provider(`http://127.0.0.1:${port}/${name}`, {
    jwks: { keys },
    clients: [
      ...['kusy', ...(family.machines ?? [])].map(machine),
      {
        client_id: 'app', client_secret: 'app-secret', redirect_uris: ['http://127.0.0.1:9/callback'],
        grant_types: ['authorization_code'], response_types: ['code'], scope: `openid ${scopes}`,
        id_token_signed_response_alg: alg, ...family.client,
      },
      {
        // A secret that has to be encoded before it is sent (RFC 6749 section 2.3.1).
        client_id: 'gateway', client_secret: 'gateway:se/cret+', redirect_uris: [], response_types: [], grant_types: [],
        id_token_signed_response_alg: alg,
      },
    ],
    scopes: ['openid', ...scopes.split(' ')],
    enabledJWA: { idTokenSigningAlgValues: algorithms, userinfoSigningAlgValues: algorithms },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (_ctx, client) => client.clientId === 'gateway' },
      jwtUserinfo: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => (family.opaque ? undefined : resource),
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: scopes, audience: family.audience ?? resource, accessTokenFormat: 'jwt', accessTokenTTL: 3600,
          jwt: { sign: { alg } },
        }),
      },
      ...features,
    },
    formats: { customizers: { jwt: (ctx, token, { payload }) => family.shape?.(payload, token, ctx) } },
    acrValues: ['silver', 'gold'],
    interactions: { url: (_ctx, interaction) => `/${name.replace('/', '')}/interaction/${interaction.uid}` },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => family.account?.(id) ?? { sub: id } }),
    pkce: { required: () => true },
    cookies: { keys: ['end-to-end tests only'] },
    ttl: { AccessToken: 3600, ClientCredentials: 3600, Grant: 3600, Interaction: 600, Session: 3600 },
    ...settings,
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider;
}

// Whoever is named by `login_hint` logs in and consents to everything: a browser is not what is tested here. A hint
// like `alice@silver-3600` says how well and how many seconds ago.
async function finishInteraction({ provider, family }, request, response) {
  const { params, session, prompt, grantId } = await provider.interactionDetails(request, response);
  const [who, how] = params.login_hint.split('@');
  const [acr, age] = how?.split('-') ?? [];
  const accountId = session?.accountId ?? accounts[who] ?? who;
  if (prompt.name === 'login') {
    const ts = Math.floor(Date.now() / 1000) - Number(age ?? 0);
    return provider.interactionFinished(request, response, { login: { accountId, acr, ts } });
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId, clientId: params.client_id });
  const scopes = family.scopes ?? plainScopes;
  grant.addOIDCScope(`openid ${scopes}`);
  grant.addResourceScope(resource, scopes);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}

async function userinfo({ provider, family, keys }, request, response) {
  try {
    const token = request.headers.authorization?.replace(/^Bearer /, '');
    const published = createLocalJWKSet({ keys: keys.map(({ kty, crv, x, y, kid, alg }) => ({ kty, crv, x, y, kid, alg })) });
    const { payload } = await jwtVerify(token, published, { issuer: provider.issuer, audience: family.audience ?? resource });
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(released(family, payload)));
  } catch {
    return response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end();
  }
}

const issuers = {};
async function add(name, alg, family) {
  const issuer = { name, alg, family, keys: [await makeKey(alg)], asked: {} };
  issuer.provider = makeProvider(issuer);
  issuers[name.replace('/', '')] = issuer;
}
for (const alg of algorithms) await add(alg, alg, {});
for (const [name, family] of Object.entries(families)) await add(name, 'ES256', family);

const server = http.createServer(async (request, response) => {
  const [, first, second, third] = request.url.split('?')[0].split('/');
  if (first === 'control') {
    const issuer = issuers[second];
    if (third === 'rotate') issuer.keys = [await makeKey(issuer.alg), ...issuer.keys];
    if (third === 'retire') issuer.keys = issuer.keys.slice(0, 1);
    if (third !== 'asked') issuer.provider = makeProvider(issuer);
    return response.end(JSON.stringify({ kids: issuer.keys.map((key) => key.kid), asked: issuer.asked }));
  }
  const issuer = issuers[first];
  if (!issuer) return response.writeHead(404).end();
  const endpoint = third ? `${second}/${third}` : second;
  issuer.asked[endpoint] = (issuer.asked[endpoint] ?? 0) + 1;
  if (second === 'interaction') return finishInteraction(issuer, request, response);
  if (second === 'me' && !issuer.family.opaque) return userinfo(issuer, request, response);
  // The provider believes itself at the root of its issuer's path.
  request.originalUrl = request.url;
  request.url = request.url.slice(first.length + 1) || '/';
  return issuer.provider.callback()(request, response);
});
server.listen(port, '127.0.0.1', () => console.log(`listening on ${port}`));
