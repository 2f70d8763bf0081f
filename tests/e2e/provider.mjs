// A certified OpenID provider (npm oidc-provider) as the issuer of real tokens.
//
//   node provider.mjs PORT
//
// Access tokens are JWTs (RFC 9068) for the resource https://api.example.com, signed with the algorithm that the
// path names: http://127.0.0.1:PORT/{RS256,PS256,ES256,EdDSA}. Beside each provider:
//   POST /control/ALG/rotate   a new signing key; the old one stays published
//   POST /control/ALG/retire   the old keys are gone
//   GET  /control/ALG/fetches  how often the key set was asked for
import http from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const resource = 'https://api.example.com';
const scopes = 'crm contracts:read contracts:write';
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

function makeProvider(alg, keys) {
  const provider = new Provider(`http://127.0.0.1:${port}/${alg}`, {
    jwks: { keys },
    clients: [
      {
        client_id: 'kusy', client_secret: 'kusy-secret', redirect_uris: [], response_types: [],
        grant_types: ['client_credentials'], scope: scopes, id_token_signed_response_alg: alg,
      },
      {
        client_id: 'app', client_secret: 'app-secret', redirect_uris: ['http://127.0.0.1:9/callback'],
        grant_types: ['authorization_code'], response_types: ['code'], scope: `openid ${scopes}`,
        id_token_signed_response_alg: alg,
      },
    ],
    scopes: ['openid', ...scopes.split(' ')],
    enabledJWA: { idTokenSigningAlgValues: algorithms },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: scopes, audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 3600,
          jwt: { sign: { alg } },
        }),
      },
    },
    interactions: { url: (_ctx, interaction) => `/${alg}/interaction/${interaction.uid}` },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    pkce: { required: () => true },
    cookies: { keys: ['end-to-end tests only'] },
    ttl: { AccessToken: 3600, ClientCredentials: 3600, Grant: 3600, Interaction: 600, Session: 3600 },
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider;
}

// Whoever is named by `login_hint` logs in and consents to everything: a browser is not what is tested here.
async function finishInteraction(provider, request, response) {
  const { params, session, prompt, grantId } = await provider.interactionDetails(request, response);
  const accountId = session?.accountId ?? accounts[params.login_hint];
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId } });
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(`openid ${scopes}`);
  grant.addResourceScope(resource, scopes);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
}

const issuers = {};
for (const alg of algorithms) {
  const keys = [await makeKey(alg)];
  issuers[alg] = { keys, provider: makeProvider(alg, keys), fetches: 0 };
}

const server = http.createServer(async (request, response) => {
  const [, first, second, third] = request.url.split('?')[0].split('/');
  if (first === 'control') {
    const issuer = issuers[second];
    if (third === 'rotate') issuer.keys = [await makeKey(second), ...issuer.keys];
    if (third === 'retire') issuer.keys = issuer.keys.slice(0, 1);
    if (third !== 'fetches') issuer.provider = makeProvider(second, issuer.keys);
    return response.end(JSON.stringify({ kids: issuer.keys.map((key) => key.kid), fetches: issuer.fetches }));
  }
  const issuer = issuers[first];
  if (!issuer) return response.writeHead(404).end();
  if (second === 'jwks') issuer.fetches += 1;
  if (second === 'interaction') return finishInteraction(issuer.provider, request, response);
  // The provider believes itself at the root of its issuer's path.
  request.originalUrl = request.url;
  request.url = request.url.slice(first.length + 1) || '/';
  return issuer.provider.callback()(request, response);
});
server.listen(port, '127.0.0.1', () => console.log(`listening on ${port}`));
