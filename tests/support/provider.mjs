// The certified `oidc-provider` for the tests: node provider.mjs PORT CALLBACK
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The packages are installed where the test runs us from, not beside this file.
const require = createRequire(pathToFileURL(`${process.cwd()}/`));
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
const jose = await import(pathToFileURL(require.resolve('jose')));

const [port, callback] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const audience = 'urn:lens';

const claimsOf = (sub) => ({
  sub,
  email: `${sub}@example.org`,
  email_verified: true,
  roles: sub === 'root' ? ['user', 'admin'] : ['user'],
});

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'web', client_secret: 'web-secret', redirect_uris: [callback] },
    {
      client_id: 'native',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/native'],
    },
  ],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['roles'] },
  cookies: { keys: ['for tests only'] },
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => claimsOf(sub) }),
  features: {
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: 'openid email profile', audience, accessTokenFormat: 'jwt', accessTokenTTL: 600,
      }),
      useGrantedResource: () => true,
    },
  },
});

// The provider itself answers userinfo for opaque tokens only; for the JWTs that it signs, we do.
provider.use(async (ctx, next) => {
  const token = (ctx.get('authorization') || '').replace(/^Bearer /, '');
  if (ctx.path !== '/me' || token.split('.').length !== 3) return next();
  const keys = jose.createRemoteJWKSet(new URL(`${issuer}/jwks`));
  const { payload } = await jose.jwtVerify(token, keys, { issuer, audience });
  ctx.body = claimsOf(payload.sub);
});

createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => console.log('ready'));
