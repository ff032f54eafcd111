// Access tokens over their life: got once for all, renewed in time, lost with the grant. Against a
// real endpoint, on a clock of the test's.
import { createSecureContext } from 'node:tls';
import t, { type Test } from 'tap';
import {
  OAUTH_EARLY_MS,
  OAUTH_LIFE_MS,
  OAUTH_LIFE_MS_MAX,
  OAUTH_RETRY_MS,
  SECRET_DEMAND_MS,
} from '../../src/base/limits.ts';
import { type OAuthClient, type OAuthSecrets, OAuthSource } from '../../src/credentials/oauth.ts';
import { certificate, json, type TokenEndpoint, tokenEndpoint } from '../helpers/token-endpoint.ts';

const UNAVAILABLE = { code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE' };
const HOUR_MS = 3_600_000;
const context = createSecureContext({ ca: certificate.authority });

type Given = { readonly client?: Partial<OAuthClient>; readonly secrets?: Partial<OAuthSecrets> };

function sourceOf({ url }: TokenEndpoint, { client, secrets }: Given = {}) {
  const clock = {
    nowMs: 1_000_000,
    asleepMs: 0,
    wallMs: () => clock.nowMs + clock.asleepMs,
    monotonicMs: () => clock.nowMs,
  };
  const stop = new AbortController();
  const kept: OAuthSecrets[] = [];
  const towards: string[] = [];
  const source = new OAuthSource({
    client: {
      tokenUrl: url,
      clientId: 'the client',
      clientAuth: 'basic',
      scope: null,
      grant: 'refresh_token',
      format: 'form',
      signInInside: false,
      ...client,
    },
    secrets: { refreshToken: 'refresh-0', clientSecret: null, ...secrets },
    clock,
    contextTowards: async (host, port) => {
      towards.push(`${host} ${port}`);
      return context;
    },
    signal: stop.signal,
  });
  source.keep = async (secrets) => void kept.push(secrets);
  return { source, clock, kept, stop, towards };
}

async function world(t: Test, given: Given = {}) {
  const endpoint = await tokenEndpoint(t);
  return { endpoint, ...sourceOf(endpoint, given) };
}

t.test('what is trusted and presented is that of the endpoint', async (t) => {
  const endpoint = await tokenEndpoint(t);
  for (const [tokenUrl, expected] of [
    ['https://[::1]:1/token', '::1 1'],
    ['https://LOCALHOST:1/token', 'localhost 1'],
  ] as const) {
    const { source, towards } = sourceOf(endpoint, { client: { tokenUrl } });
    await t.rejects(source.fetch(), UNAVAILABLE);
    t.strictSame(towards, [expected]);
  }
  t.equal(endpoint.asked.length, 0);
});

t.test('one token serves all, until shortly before its end', async (t) => {
  const { endpoint, source, clock } = await world(t);
  t.strictSame([source.last, source.state], [null, 'ok']);
  const together = await Promise.all([source.value(), source.fetch(), source.value()]);
  t.strictSame([together, endpoint.asked.length], [['access-1', 'access-1', 'access-1'], 1]);
  clock.nowMs += HOUR_MS - OAUTH_EARLY_MS - 1;
  t.equal(await source.value(), 'access-1');
  clock.nowMs += 1;
  t.strictSame(await Promise.all([source.value(), source.value()]), ['access-2', 'access-2']);
  t.strictSame([source.last, endpoint.asked.length], ['access-2', 2]);
  clock.asleepMs += HOUR_MS - OAUTH_EARLY_MS;
  t.equal(await source.value(), 'access-3', 'the machine has slept meanwhile');
  clock.asleepMs -= 10 * HOUR_MS;
  t.equal(await source.value(), 'access-3', 'its clock was set back');
  clock.nowMs += HOUR_MS;
  t.equal(await source.value(), 'access-4', 'which makes no token live longer');
});

t.test('how long a token lives', async (t) => {
  const { endpoint, source, clock } = await world(t);
  for (const [expiresIn, servesMs] of [
    [undefined, OAUTH_LIFE_MS - OAUTH_EARLY_MS],
    ['1800', 1_800_000 - OAUTH_EARLY_MS],
    [20, 10_000],
    [1e9, OAUTH_LIFE_MS_MAX - OAUTH_EARLY_MS],
  ] as const) {
    endpoint.expiresIn = expiresIn;
    const token = await source.fetch();
    clock.nowMs += servesMs - 1;
    t.equal(await source.value(), token, `${expiresIn} s`);
    clock.nowMs += 1;
    t.not(await source.value(), token, `${expiresIn} s`);
  }
  for (const expiresIn of [0, -1, 'LEAKED', '']) {
    endpoint.expiresIn = expiresIn;
    await t.rejects(source.fetch(), { ...UNAVAILABLE, message: /has ended already/ });
  }
});

t.test('how the client says who it is', async (t) => {
  const scoped = { scope: 'read write' };
  for (const [given, authorization, form] of [
    [
      {},
      undefined,
      { grant_type: 'refresh_token', refresh_token: 'refresh-0', client_id: 'the client' },
    ],
    [
      { secrets: { clientSecret: 'a:b c%' }, client: scoped },
      `Basic ${Buffer.from('the+client:a%3Ab+c%25').toString('base64')}`,
      { grant_type: 'refresh_token', refresh_token: 'refresh-0', scope: 'read write' },
    ],
    [
      { secrets: { clientSecret: 'a:b c%' }, client: { clientAuth: 'post' } },
      undefined,
      {
        grant_type: 'refresh_token',
        refresh_token: 'refresh-0',
        client_id: 'the client',
        client_secret: 'a:b c%',
      },
    ],
    [
      {
        secrets: { clientSecret: 'x', refreshToken: null },
        client: { grant: 'client_credentials' },
      },
      `Basic ${Buffer.from('the+client:x').toString('base64')}`,
      { grant_type: 'client_credentials' },
    ],
  ] as const) {
    const { endpoint, source, kept } = await world(t, given);
    t.equal(await source.value(), 'access-1');
    const [asked] = endpoint.asked;
    t.strictSame([asked?.form, asked?.headers.authorization], [form, authorization]);
    t.strictSame(kept, []);
  }
});

t.test(
  'a refresh token that is used once: the next is stored before its access token',
  async (t) => {
    const { endpoint, source, kept, clock } = await world(t, { secrets: { clientSecret: 'x' } });
    endpoint.rotates = true;
    source.keep = async (secrets) => {
      t.equal(source.last, kept.length === 0 ? null : `access-${kept.length}`, 'not yet in use');
      kept.push(secrets);
    };
    t.equal(await source.value(), 'access-1');
    clock.nowMs += HOUR_MS;
    t.equal(await source.value(), 'access-2');
    t.strictSame(kept, [
      { refreshToken: 'refresh-1', clientSecret: 'x' },
      { refreshToken: 'refresh-2', clientSecret: 'x' },
    ]);
    t.strictSame(source.secrets, kept.at(-1));

    const full = new Error('the disk is full');
    source.keep = async () => {
      throw full;
    };
    clock.nowMs += HOUR_MS;
    await t.rejects(source.value(), full);
    t.equal(source.last, 'access-2', 'what cannot be stored is not used');
    clock.nowMs += OAUTH_RETRY_MS;
    const questions = endpoint.asked.length;
    await t.rejects(source.value(), full);
    t.equal(endpoint.asked.length, questions, 'nor is more used up');
    source.keep = async (secrets) => void kept.push(secrets);
    clock.nowMs += OAUTH_RETRY_MS;
    t.equal(await source.value(), 'access-4', 'none of them was lost');
    t.match(kept.slice(2), [{ refreshToken: 'refresh-3' }, { refreshToken: 'refresh-4' }]);
  },
);

t.test('a token that cannot be used does not cost the refresh token beside it', async (t) => {
  const { endpoint, source, kept } = await world(t);
  endpoint.instead = (response) =>
    json(response, 200, { token_type: 'bearer', access_token: 'LEAKED\n', refresh_token: 'next' });
  await t.rejects(source.value(), UNAVAILABLE);
  t.match(kept, [{ refreshToken: 'next' }]);
});

t.test('a grant that is gone is gone, and so is its access token', async (t) => {
  const { endpoint, source, clock } = await world(t);
  await source.value();
  clock.nowMs += HOUR_MS - OAUTH_EARLY_MS;
  endpoint.refreshToken = 'another';
  const error = await source.value().catch((error: Error) => error);
  t.match(error, { ...UNAVAILABLE, message: /no longer accepts the grant \(invalid_grant\)/ });
  t.notMatch(String(error), /LEAKED|refresh-0/);
  t.strictSame([source.state, source.final, source.last], ['refused', true, null]);
  endpoint.refreshToken = 'refresh-0';
  clock.nowMs += HOUR_MS;
  await t.rejects(source.value(), UNAVAILABLE);
  await t.rejects(source.fetch(), UNAVAILABLE);
  t.equal(endpoint.asked.length, 2, 'nobody asks again');
});

t.test(
  'an endpoint that fails is left alone for a moment; a token that still lives serves',
  async (t) => {
    const { endpoint, source, clock } = await world(t);
    await source.value();
    endpoint.instead = (response) => json(response, 503, { error: 'temporarily LEAKED' });
    clock.nowMs += HOUR_MS - OAUTH_EARLY_MS;
    t.equal(await source.value(), 'access-1');
    t.equal(await source.value(), 'access-1');
    t.strictSame([source.state, endpoint.asked.length], ['ok', 2]);
    clock.nowMs += OAUTH_EARLY_MS - SECRET_DEMAND_MS - 1;
    t.equal(await source.value(), 'access-1');
    clock.nowMs += 1;
    const error = await source.value().catch((error: Error) => error);
    t.match(error, { ...UNAVAILABLE, message: 'the token endpoint answered 503' });
    t.equal(await source.value().catch((error: Error) => error), error, 'the same for all of them');
    t.strictSame([source.state, endpoint.asked.length], ['unavailable', 3]);
    endpoint.instead = null;
    clock.nowMs += OAUTH_RETRY_MS - 2; // It was asked a moment ago, to renew in time.
    await t.rejects(source.value(), UNAVAILABLE);
    clock.nowMs += 1;
    t.equal(await source.value(), 'access-2');
    t.equal(source.state, 'ok');
  },
);

t.test('answers that give no access token', async (t) => {
  const { endpoint, source } = await world(t);
  const good = { access_token: 'LEAKED', token_type: 'bearer', expires_in: 60 };
  for (const [status, body, why] of [
    [200, { ...good, token_type: 'mac' }, 'gave no bearer token'],
    [200, { access_token: 'LEAKED' }, 'gave no bearer token'],
    [200, { ...good, access_token: undefined }, 'cannot stand in a field'],
    [200, { ...good, access_token: 'LEAKED\r\nx: y' }, 'cannot stand in a field'],
    [200, { ...good, access_token: { LEAKED: 1 } }, 'cannot stand in a field'],
    [200, { ...good, access_token: 'L'.repeat(65_000), refresh_token: 7 }, 'cannot be sent again'],
    [200, { ...good, refresh_token: 'LEAKED\n' }, 'cannot be sent again'],
    [201, good, 'answered 201'],
    [302, good, 'answered 302'],
    [400, { error: 'LEAKED' }, 'answered 400'],
    [400, { error: 'constructor' }, 'answered 400'],
    [401, { error: 'invalid_client' }, 'answered 401 invalid_client'],
  ] as const) {
    endpoint.instead = (response) => json(response, status, body);
    const error = await source.fetch().catch((error: Error) => error);
    t.match(error, { ...UNAVAILABLE, message: why }, why);
    t.notMatch(String(error), 'LEAKED');
    t.strictSame([source.last, source.final], [null, false]);
  }
});
