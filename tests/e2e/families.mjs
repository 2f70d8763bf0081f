// What the three issuer families (and others) make of a provider: the shape of their tokens, and where they say what.
//
// A family is: `scopes`, what its API knows; `shape(payload, token, ctx)`, which turns the provider's own JWT into the
// family's; `account(id)`, what userinfo says; `settings`, more of the provider's configuration.
import { X509Certificate } from 'node:crypto';

const ORGANIZATION = '7e0c9d1a-3f52-4b6e-8f0a-1d2c3b4a5e01';

// Employees have short ids, written in whatever case the employee typed.
const employees = {
  erna: { permissions: ['ameise', 'verwaltung', 'archiv'], broker: { id: 'mvp', parent_id: 'root', root_id: 'root', is_root: false } },
  kurt: { permissions: ['ameise'], broker: { id: 'mvp', parent_id: 'root', root_id: 'root', is_root: false } },
};
const ameiseClaims = ['ameise/permissions', 'broker', 'client'];
const ameiseAccount = (id) => ({
  sub: id,
  'ameise/permissions': employees[id]?.permissions,
  broker: employees[id]?.broker,
  client: { id: 'TenantA', country: 'DE' },
});

// The tenant, not the OAuth client; `trap` is a tenant that has the same name as the employee.
function ameiseShape(payload) {
  payload.azp = payload.client_id;
  payload.client_id = payload.scope?.split(' ').includes('trap') ? payload.sub : 'TenantA';
}

const isMachine = (payload) => payload.sub === payload.client_id;
const rights = { kusy: { org_uids: [ORGANIZATION] }, everywhere: { global: true }, nobody: {}, text: { global: 'true' } };

// Auth0's own profile: https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles
function auth0Shape(payload) {
  const client = payload.client_id;
  if (isMachine(payload)) Object.assign(payload, { sub: `${client}@clients`, gty: 'client-credentials' });
  Object.assign(payload, rights[client]);
  payload.azp = client;
  delete payload.client_id;
}

// Auth0's RFC 9068 profile, with custom claims under a namespace.
function auth0NamespacedShape(payload) {
  const client = payload.client_id;
  if (isMachine(payload)) payload.sub = `${client}@clients`;
  for (const [name, value] of Object.entries(rights[client] ?? {})) payload[`https://example.com/${name}`] = value;
}

// RFC 9068 section 2.2.1: what RFC 9470 asks about.
function authenticationShape(payload, token, ctx) {
  const code = ctx?.oidc?.entities?.AuthorizationCode;
  if (code?.authTime) Object.assign(payload, { auth_time: code.authTime, acr: code.acr });
}

const machines = Object.keys(rights).filter((id) => id !== 'kusy');
const userinfo = {
  claims: { openid: ['sub'], 'ameise/permissions': ameiseClaims },
};
const certificate = (ctx) => {
  const shown = ctx.get('x-client-certificate');
  return shown ? new X509Certificate(decodeURIComponent(shown)) : undefined;
};

export const families = {
  ameise: { scopes: 'employees archive trap ameise/permissions', shape: ameiseShape, account: ameiseAccount, settings: userinfo },
  'ameise-opaque': { scopes: 'employees archive ameise/permissions', opaque: true, account: ameiseAccount, settings: userinfo },
  'ameise-signed': {
    scopes: 'employees archive ameise/permissions', opaque: true, account: ameiseAccount, settings: userinfo,
    client: { userinfo_signed_response_alg: 'ES256' },
  },
  'auth0/': {
    scopes: 'persons.name#read persons#read persons#write', audience: 'persons.example.com', shape: auth0Shape, machines,
  },
  'auth0-namespaced/': {
    scopes: 'persons.name#read persons#read persons#write', audience: 'persons.example.com', shape: auth0NamespacedShape, machines,
  },
  opaque: { opaque: true },
  bound: {
    client: { tls_client_certificate_bound_access_tokens: true }, machines: ['unbound'],
    settings: {
      features: {
        mTLS: {
          enabled: true, certificateBoundAccessTokens: true, getCertificate: certificate,
          certificateAuthorized: () => true, certificateSubjectMatches: () => true,
        },
      },
    },
  },
  authentication: { shape: authenticationShape },
};

// Userinfo for JWTs that are meant for an API: the provider's own endpoint answers only tokens without audience.
export function released(family, payload) {
  const account = family.account?.(payload.sub) ?? { sub: payload.sub };
  const asked = payload.scope?.split(' ').includes('ameise/permissions') ? ameiseClaims : [];
  return Object.fromEntries(['sub', ...asked].map((name) => [name, account[name]]));
}
