// Grants between the disk, a real token endpoint and the workers. Covers src/control/secrets/entry.ts.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { OAUTH_RETRY_MS } from '../../../src/base/limits.ts';
import type { NewOAuth } from '../../../src/control/secrets/input.ts';
import { Store } from '../../../src/control/store.ts';
import { startSecrets } from '../../helpers/secrets.ts';
import { certificate, json, tokenEndpoint } from '../../helpers/token-endpoint.ts';

const INVALID = { code: 'SALLYPORT_SECRET_INVALID' };
const UNAVAILABLE = { code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE' };

async function setup(t: Test) {
  const endpoint = await tokenEndpoint(t);
  const wanted: NewOAuth = {
    name: 'crm',
    tokenUrl: endpoint.url,
    clientId: 'app',
    refreshToken: 'refresh-0',
    hosts: ['API.crm.example,*.b.example:8443'],
  };
  return { endpoint, wanted, ...(await startSecrets(t, { ca: certificate.authority })) };
}

t.test('the workers get access tokens; the grant stays, and is sealed', async (t) => {
  const { endpoint, secrets, pushed, wanted, folder, close, begin } = await setup(t);
  endpoint.rotates = true;
  const { held } = await secrets.setOAuth({ ...wanted, scope: 'read' });
  t.match(pushed.at(-1), [
    {
      kind: 'service',
      service: 'crm',
      id: held.secret.id,
      hosts: ['api.crm.example', '*.b.example:8443'],
      placements: [{ field: 'authorization', format: 'Bearer %s' }],
      sentinels: ['proxy-managed'],
      authFields: ['authorization', 'x-api-key', 'api-key'],
      authQuery: ['api_key', 'key', 'access_token'],
      policy: 'if-sentinel-or-absent',
      onDemand: true,
      plaintext: false,
      value: 'access-1',
    },
  ]);
  t.strictSame(secrets.list({}).secrets, [
    {
      scope: '(global)',
      type: 'service',
      name: 'crm',
      secret: '(oauth configured)',
      policy: 'if-sentinel-or-absent',
      allow_plaintext: false,
      scrub: 'off',
      targets: ['api.crm.example', '*.b.example:8443'],
      source: 'oauth',
      oauth: {
        token_url: endpoint.url,
        client_id: 'app',
        scope: 'read',
        sign_in_inside: false,
        state: 'ok',
      },
    },
  ]);
  t.notMatch(JSON.stringify([pushed, secrets.list({})]), /refresh-\d/);
  await close();
  const file = readFileSync(join(folder, 'policy.db')).toString('latin1');
  t.notMatch(file, /refresh-\d|access-\d/);

  const again = await begin();
  t.teardown(again.close);
  t.match(again.secrets.bindings(), [{ value: '' }], 'access tokens are not kept');
  await again.secrets.demand(held.secret.id);
  t.match(endpoint.asked.at(-1)?.form, { refresh_token: 'refresh-1' }, 'that of the trial');
  t.match(pushed.at(-1), [{ value: 'access-2' }]);
});

t.test('a demand renews; what is rotated is on the disk at once', async (t) => {
  const { endpoint, secrets, pushed, wanted, state, begin, store } = await setup(t);
  endpoint.rotates = true;
  const { held } = await secrets.setOAuth(wanted);
  const { id } = held.secret;
  await secrets.demand(id);
  t.equal(endpoint.asked.length, 1, 'still fresh');
  state.aheadMs = 3_600_000;
  await Promise.all([secrets.demand(id), secrets.demand(id)]);
  t.match(pushed.at(-1), [{ value: 'access-2' }]);
  t.equal(endpoint.asked.length, 2);
  const killed = await begin(); // The first one was never closed.
  t.teardown(killed.close);
  state.aheadMs *= 2;
  await killed.secrets.demand(id);
  t.match(endpoint.asked.at(-1)?.form, { refresh_token: 'refresh-2' });
  t.equal(store.secrets.all().length, 1);
});

t.test('a change that fails puts back the newest refresh token', async (t) => {
  const { endpoint, secrets, wanted, state, begin } = await setup(t);
  endpoint.rotates = true;
  const { held } = await secrets.setOAuth(wanted);
  state.aheadMs = 3_600_000;
  await secrets.demand(held.secret.id);
  state.refusing = true;
  await t.rejects(secrets.remove({ service: 'crm' }), { code: 'SALLYPORT_PUBLISH_TIMEOUT' });
  state.refusing = false;
  state.aheadMs *= 2;
  const next = await begin();
  t.teardown(next.close);
  await next.secrets.demand(held.secret.id);
  t.match(endpoint.asked.at(-1)?.form, { refresh_token: 'refresh-2' });
});

t.test('an answer that comes too late does not touch what took its place', async (t) => {
  const { endpoint, secrets, wanted, state, store } = await setup(t);
  const { held } = await secrets.setOAuth(wanted);
  const asked = Promise.withResolvers<() => void>();
  endpoint.instead = (response) =>
    asked.resolve(() =>
      json(response, 200, {
        access_token: 'old',
        token_type: 'bearer',
        refresh_token: 'of the old',
      }),
    );
  state.aheadMs = 3_600_000;
  const late = secrets.demand(held.secret.id);
  const answer = await asked.promise;
  await secrets.setOAuth({ ...wanted, refreshToken: 'of the new', verify: false, replace: true });
  const sealed = store.secrets.all()[0]?.sealed;
  answer();
  await t.rejects(late, { ...UNAVAILABLE, message: 'the secret was changed' });
  t.strictSame(store.secrets.all()[0]?.sealed, sealed);
  endpoint.instead = null;
  endpoint.refreshToken = 'of the new';
  await secrets.demand(held.secret.id);
  t.match(secrets.bindings(), [{ value: 'access-2' }]);
});

t.test('a grant that is gone: listed, told once, taken from the workers', async (t) => {
  const { endpoint, secrets, wanted, state, pushed, reports } = await setup(t);
  const { held } = await secrets.setOAuth(wanted);
  const { id } = held.secret;
  state.aheadMs = 3_600_000;
  endpoint.refreshToken = 'another';
  for (let n = 0; n < 3; n++) {
    await t.rejects(secrets.demand(id), { ...UNAVAILABLE, message: /invalid_grant/ });
  }
  t.match(pushed.at(-1), [{ value: '' }]);
  t.match(secrets.list({}).secrets, [
    { secret: '(oauth refused, sign in again)', oauth: { state: 'refused' } },
  ]);
  t.match(reports, [
    { secret: 'service "crm" (global)', error: /no longer accepts the grant.*set-oauth --force/ },
  ]);
  t.strictSame([reports.length, endpoint.asked.length], [1, 2]);
  t.notMatch(JSON.stringify(reports), /refresh-|access-|LEAKED/);
  await secrets.setOAuth({ ...wanted, refreshToken: 'another', replace: true });
  t.match(pushed.at(-1), [{ id, value: 'access-2' }]);
  t.match(secrets.list({}).secrets, [{ oauth: { state: 'ok' } }]);
});

t.test('a start asks in the background', async (t) => {
  const { endpoint, secrets, wanted, reports, begin } = await setup(t);
  await secrets.setOAuth(wanted);
  const good = await begin();
  good.secrets.start();
  while (good.secrets.bindings()[0]?.value !== 'access-2') await nextTurn();
  await good.close();
  endpoint.instead = (response) => json(response, 503, {});
  const down = await begin();
  down.secrets.start();
  while (reports.length === 0) await nextTurn();
  t.match(reports, [{ error: 'the token endpoint answered 503' }]);
  t.match(down.secrets.list({}).secrets, [{ secret: '(oauth unavailable)' }]);
  await down.close();
});

t.test('bad input: every fault is named, none tells a token, nothing changes', async (t) => {
  const { endpoint, secrets, wanted, store } = await setup(t);
  const bad = 'LEAKED\nLEAKED';
  for (const [more, ...faults] of [
    [
      {
        name: 'A b',
        tokenUrl: 'http://a.example/t',
        clientId: '',
        refreshToken: bad,
        scope: 'a  b',
      },
      '"A b" is no name',
      'the token URL is no exact https URL',
      'client id',
      'refresh token: the value has line ends',
      'the scope has words',
    ],
    [{ tokenUrl: 'https://u:p@a.example/t' }, 'no exact https URL'],
    [{ tokenUrl: 'https://a.example/t?x' }, 'no exact https URL'],
    [{ refreshToken: undefined }, 'neither a refresh token nor a client secret'],
    [{ clientSecret: bad, hosts: ['**'] }, 'client secret: the value has', '"**" is too wide'],
    [{ clientAuth: 'post' }, 'only a client with a secret authenticates'],
    [{ hosts: undefined }, '"crm" is no service that is known; name the hosts'],
    [{ name: 'constructor', hosts: undefined }, 'is no service that is known'],
    [{ refreshToken: 'LEAKED' }, 'no longer accepts the grant (invalid_grant)'],
    [{ scope: 'x'.repeat(5_000) }, 'the scope has words'],
  ] as const) {
    const error = await secrets.setOAuth({ ...wanted, ...more }).catch((error: Error) => error);
    t.match(error, INVALID, JSON.stringify(more));
    for (const fault of faults) t.ok(String(error).includes(fault), `${fault} in ${error}`);
    t.notMatch(String(error), 'LEAKED');
  }
  t.strictSame([store.secrets.all(), endpoint.asked.length], [[], 1]);
  await t.rejects(
    secrets.set({ service: 'crm', value: 'x' }),
    { ...INVALID, message: /no service "crm"/ },
    'a name of its own is for grants alone',
  );
});

t.test('a known service: its hosts, its sentinels, and Bearer instead of an API key', async (t) => {
  const { secrets, wanted, pushed } = await setup(t);
  const known = { ...wanted, hosts: undefined };
  await secrets.setOAuth({ ...known, name: 'anthropic', policy: 'always', sandbox: 'box' });
  t.match(pushed.at(-1), [
    {
      scope: 7,
      policy: 'always',
      service: 'anthropic',
      hosts: ['api.anthropic.com', 'console.anthropic.com', 'claude.ai', 'mcp-proxy.anthropic.com'],
      placements: [{ field: 'authorization', format: 'Bearer %s' }],
      sentinels: ['proxy-managed', 'sk-ant-oat01-proxy-managed', 'sk-ant-ort01-proxy-managed'],
    },
  ]);
  await secrets.setOAuth({ ...known, name: 'github' });
  t.match(pushed.at(-1)?.[0], { placements: [{ basicUsername: 'x-access-token' }, {}] });
  await t.rejects(secrets.set({ service: 'github', value: 'key' }), {
    code: 'SALLYPORT_CONFLICT',
  });
  await secrets.set({ service: 'github', value: 'key', replace: true });
  t.match(pushed.at(-1)?.[0], { service: 'github', value: 'key', onDemand: false });
  t.match(await secrets.remove({ service: 'anthropic', sandbox: 'box' }), { length: 1 });
});

t.test('with another key a grant is not readable, and requests fail', async (t) => {
  const { secrets, wanted, close, folder, begin } = await setup(t);
  const { held } = await secrets.setOAuth(wanted);
  await close();
  const store = Store.open(join(folder, 'policy.db'));
  store.secrets.reseal(held.secret.id, Buffer.alloc(60));
  store.close();
  const again = await begin();
  t.teardown(again.close);
  t.match(again.secrets.list({}).secrets, [
    { secret: '(unreadable)', oauth: { state: 'unreadable' } },
  ]);
  await again.secrets.demand(held.secret.id);
  t.match(again.secrets.bindings(), [{ value: '', onDemand: true }]);
});

const SIGNED_IN = {
  request: {
    refreshToken: null,
    clientId: 'inner',
    clientSecret: null,
    clientAuth: 'post',
    format: 'json',
  },
  tokens: { accessToken: 'access-in', refreshToken: 'refresh-0', lifeMs: 3_600_000 },
} as const;

async function signInWorld(t: Test) {
  const world = await setup(t);
  const { name, tokenUrl, hosts } = world.wanted;
  const { held } = await world.secrets.setOAuth({ name, tokenUrl, hosts, signInInside: true });
  return { ...world, id: held.secret.id, signedIn: { ...SIGNED_IN, id: held.secret.id, scope: 7 } };
}

t.test('a sandbox signs in: the grant is its own, and outlives the daemon', async (t) => {
  const { secrets, endpoint, pushed, signedIn, state, ...world } = await signInWorld(t);
  const { store, close, begin, id } = world;
  const key = store.secrets.all()[0]?.placeholderKey;
  const endpointOf = (signedOut: boolean) => ({
    host: 'localhost',
    port: endpoint.port,
    path: '/token',
    signInInside: true,
    signedOut,
    templates: { access: 'proxy-managed-oat-{rand}' },
    placeholderKey: key, // So that its sentinels stay what they are.
  });
  t.match(pushed.at(-1), [{ scope: 0, value: '', tokenEndpoint: endpointOf(true) }]);
  t.match(secrets.list({}).secrets, [{ secret: '(oauth, each sandbox signs in)' }]);
  await secrets.keepSignedIn(signedIn);
  t.match(pushed.at(-1), [
    { scope: 0, id, value: '' },
    { scope: 7, value: 'access-in', tokenEndpoint: endpointOf(false) },
  ]);
  const own = pushed.at(-1)?.[1]?.id ?? '';
  t.not(own, id);
  t.match(secrets.list({}).secrets[1], {
    scope: 'box',
    secret: '(oauth configured)',
    targets: ['api.crm.example', '*.b.example:8443'],
    oauth: { client_id: 'inner', state: 'ok', sign_in_inside: true },
  });
  await secrets.demand(own);
  t.strictSame(endpoint.asked, [], 'it came with one');
  await close();
  const again = await begin();
  t.teardown(again.close);
  t.match(again.secrets.bindings(), [{ value: '' }, { value: 'access-in' }]);
  again.secrets.start();
  state.aheadMs = 3_600_000;
  await again.secrets.demand(own);
  t.equal(endpoint.asked.at(-1)?.headers['content-type'], 'application/json');
  t.match(again.secrets.bindings()[1], { value: /^access-\d$/ });

  const tokens = { accessToken: 'second', refreshToken: null, lifeMs: 10_000 };
  await again.secrets.keepSignedIn({ ...signedIn, id: own, tokens });
  t.match(again.secrets.bindings(), [{ id }, { id: own, value: 'second' }]);
  state.aheadMs += 10_000;
  await t.rejects(again.secrets.demand(own), { ...UNAVAILABLE, message: /sign in at it/ });
  t.match(again.secrets.list({}).secrets[1], { oauth: { state: 'refused' } });
  t.match(pushed.at(-1)?.[1], { value: '', tokenEndpoint: endpointOf(true) }, 'so that it can');
  await again.secrets.keepSignedIn({ ...signedIn, id: own });
  t.match(pushed.at(-1)?.[1], { value: 'access-in', tokenEndpoint: endpointOf(false) });
});

t.test('a token that nobody says the end of', async (t) => {
  const { secrets, signedIn, state, endpoint } = await signInWorld(t);
  const tokens = { accessToken: 'lasting', refreshToken: null, lifeMs: null };
  await secrets.keepSignedIn({ ...signedIn, tokens });
  const [, own] = secrets.bindings();
  state.aheadMs = 365 * 86_400_000;
  await secrets.demand(own?.id ?? '');
  await secrets.demand(own?.id ?? '', true);
  t.match(secrets.bindings()[1], { value: 'lasting' });
  t.strictSame(endpoint.asked, []);
});

t.test('another token on request, but not one after the other', async (t) => {
  const { secrets, signedIn, state, endpoint } = await signInWorld(t);
  await secrets.keepSignedIn(signedIn);
  const own = secrets.bindings()[1]?.id ?? '';
  await secrets.demand(own, true);
  t.equal(endpoint.asked.length, 0, 'it is quite new');
  state.aheadMs = 60_000;
  await secrets.demand(own, true);
  await secrets.demand(own, true);
  t.equal(endpoint.asked.length, 1);
  state.aheadMs += 60_000;
  endpoint.instead = (response) => json(response, 503, {});
  for (let i = 0; i < 5; i++) await t.rejects(secrets.demand(own, true), UNAVAILABLE);
  t.equal(endpoint.asked.length, 2, 'nor while it fails');
  state.aheadMs += OAUTH_RETRY_MS;
  endpoint.instead = null;
  await secrets.demand(own, true);
  t.equal(endpoint.asked.length, 3);
});

t.test('a sandbox that signs in replaces nothing that was set for it', async (t) => {
  const { secrets, signedIn, wanted, id, store } = await signInWorld(t);
  const { held } = await secrets.setOAuth({ ...wanted, sandbox: 'box' });
  const before = store.secrets.all();
  await t.rejects(secrets.keepSignedIn(signedIn), { ...UNAVAILABLE, message: /set for it/ });
  t.strictSame(store.secrets.all(), before);
  t.match(secrets.bindings(), [{ id }, { id: held.secret.id, value: 'access-1' }]);
});

t.test('an import replaces no grant', async (t) => {
  const { secrets, wanted, endpoint, store } = await setup(t);
  await secrets.setOAuth({ ...wanted, name: 'openai', hosts: undefined });
  const before = store.secrets.all();
  t.strictSame(await secrets.import([{ service: 'openai', value: 'sk-live-0123456789' }], true), [
    { service: 'openai', state: 'skipped' },
  ]);
  t.strictSame(store.secrets.all(), before);
  t.equal(endpoint.asked.length, 1);
});

t.test('where it may not sign in, nothing is kept', async (t) => {
  const { secrets, signedIn, wanted, store, id } = await signInWorld(t);
  const operators = await secrets.setOAuth({ ...wanted, name: 'ours', sandbox: 'box' });
  for (const changed of [{ id: operators.held.secret.id }, { id: 'unknown' }, { scope: 8 }]) {
    await t.rejects(secrets.keepSignedIn({ ...signedIn, ...changed }), UNAVAILABLE);
  }
  t.equal(store.secrets.all().length, 2);
  await secrets.keepSignedIn({
    ...signedIn,
    request: { ...SIGNED_IN.request, clientId: '\u001b[31mred' },
  });
  t.match(secrets.list({ sandbox: 'box' }).secrets, [{ oauth: { client_id: '' } }, {}]);
  await secrets.dropScope(7);
  t.match(secrets.bindings(), [{ id }]);
  await t.rejects(secrets.setOAuth({ ...wanted, name: 'both', signInInside: true }), {
    ...INVALID,
    message: /bring their own client, tokens and scope/,
  });
});
