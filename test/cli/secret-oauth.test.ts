// `secret set-oauth` as it is typed and piped. Covers src/cli/secret-put.ts too.
import t, { type Test } from 'tap';
import { startWorld } from '../helpers/control.ts';
import { certificate, tokenEndpoint } from '../helpers/token-endpoint.ts';
import { type Said, say } from './session.ts';

async function oauthWorld(t: Test) {
  const endpoint = await tokenEndpoint(t);
  const world = await startWorld(t, { upstreamAuthorities: [certificate.authority] });
  const common = ['--token-url', endpoint.url, '--client-id', 'app'];
  const set = async (words: string[], keys: string | null, piped = ''): Promise<Said> => {
    const said = await say(world, ['secret', 'set-oauth', ...words, ...common], keys, { piped });
    t.notMatch(said.out + said.err, /refresh-0|s3cret|access-/, 'no token is said');
    return said;
  };
  return { endpoint, world, set };
}

t.test('piped in: a line each', async (t) => {
  const { endpoint, world, set } = await oauthWorld(t);
  t.strictSame(await set(['crm', '--host', 'a.example,b.example'], null, 'refresh-0\n'), {
    code: 0,
    out: 'Secret stored: oauth "crm" to a.example, b.example, scope "(global)"\n',
    err: '',
  });
  const secret = ['--client-secret', '--client-auth', 'post', '--scope', 'a b', '--json', '-f'];
  const both = await set(['openai', ...secret], null, 'refresh-0\r\ns3cret\r\n');
  t.match(JSON.parse(both.out), {
    secret: {
      name: 'openai',
      secret: '(oauth configured)',
      source: 'oauth',
      oauth: { token_url: endpoint.url, client_id: 'app', scope: 'a b', state: 'ok' },
    },
    replaced: false,
  });
  t.match(endpoint.asked.at(-1)?.form, { client_secret: 's3cret', scope: 'a b' });
  const own = await set(['own', '--host', 'c.example', '--client-credentials'], null, 's3cret');
  t.match(own, { code: 0, out: /oauth "own" to c\.example/ });
  t.match(endpoint.asked.at(-1)?.form, { grant_type: 'client_credentials' });
  const { out } = await say(world, ['secret', 'ls']);
  t.match(out, /\(global\) +service +crm +\(oauth configured\)\n/);
  t.match(await say(world, ['secret', 'rm', '-f', 'crm']), { out: /removed: service "crm"/ });
});

t.test('sandboxes that sign in: nothing is asked for', async (t) => {
  const { world, endpoint } = await oauthWorld(t);
  const words = ['--token-url', endpoint.url, '--host', 'a.example', '--sign-in-inside'];
  t.match(await say(world, ['secret', 'set-oauth', 'crm', ...words]), {
    code: 0,
    out: /Secret stored: oauth "crm" to a\.example/,
  });
  t.match(await say(world, ['secret', 'ls']), { out: /crm +\(oauth, each sandbox signs in\)/ });
  const both = await say(world, ['secret', 'set-oauth', 'x', ...words, '--client-id', 'app']);
  t.match(both, { code: 1, err: /bring their own client/ });
  const none = ['secret', 'set-oauth', 'x', ...words.slice(0, 4)];
  t.match(await say(world, none, null, { piped: 'r' }), { code: 1, err: /client id/ });
});

t.test('an import leaves a grant alone, whatever it is told', async (t) => {
  const { world, endpoint } = await oauthWorld(t);
  const words = ['--token-url', endpoint.url, '--sign-in-inside'];
  await say(world, ['secret', 'set-oauth', 'openai', ...words]);
  const env = { OPENAI_API_KEY: 'sk-live-0123456789', GH_TOKEN: 'gho_0123456789' };
  const run = (...more: string[]) =>
    say(world, ['secret', 'import', ...more, '--force'], null, { env });
  t.match((await run('--dry-run')).out, /openai +OPENAI_API_KEY +\*{4}6789 +oauth; stays\n/);
  const kept = 'Kept openai: it has an oauth grant; remove that first\n';
  t.match(await run('openai'), { code: 0, out: kept });
  t.match(await run('--all'), {
    code: 0,
    out: `Imported github from GH_TOKEN (****6789)\n${kept}`,
  });
  t.match(await say(world, ['secret', 'ls']), { out: /openai +\(oauth, each sandbox signs in\)/ });
});

t.test('typed unseen', async (t) => {
  const { set } = await oauthWorld(t);
  const typed = await set(['crm', '--host', 'a.example'], 'refresh-0\r');
  t.match(typed, { code: 0, out: /Refresh token for "crm":.*Secret stored: oauth "crm"/s });
  const left = await set(['other', '--host', 'a.example'], '\u0003');
  t.match(left, { code: 130, err: 'Cancelled\n' });
});

t.test('what cannot be meant is refused, and nothing is asked', async (t) => {
  const { endpoint, set } = await oauthWorld(t);
  const host = ['--host', 'a.example'];
  for (const [words, piped, fault] of [
    [['crm', ...host], '', 'pipe in one line each: the refresh token'],
    [['crm', ...host], 'refresh-0\ns3cret\n', 'one line each: the refresh token'],
    [
      ['crm', ...host, '--client-secret'],
      'refresh-0\n',
      'the refresh token, then the client secret',
    ],
    [['crm', ...host, '--client-secret'], 'refresh-0\n\n', 'one line each'],
    [['crm', ...host, '--client-credentials'], '\n', 'one line each: the client secret'],
    [['crm'], 'refresh-0', 'name the hosts that its tokens go to'],
    [['crm', ...host, '--client-auth', 'none'], 'refresh-0', 'Allowed choices are basic, post'],
    [['crm', ...host, '--sandbox', 'nobody'], 'refresh-0', 'sandbox "nobody" not found'],
  ] as const) {
    const said = await set([...words], null, piped);
    t.strictSame([said.code, said.out], [1, ''], words.join(' '));
    t.ok(said.err.includes(fault), `${fault} in ${said.err}`);
  }
  t.strictSame(endpoint.asked, []);
  await set(['crm', ...host], null, 'refresh-0');
  const again = await set(['crm', ...host], null, 'refresh-0');
  t.match(again, { code: 1, err: /use --force to replace it/ });
  t.match(await set(['crm', ...host, '--force'], null, 'refresh-0'), { code: 0, out: /replaced/ });
  const wrong = await set(['bad', ...host], null, 'another');
  t.match(wrong, { code: 1, err: /no longer accepts the grant \(invalid_grant\)/ });
  const later = await set(['bad', ...host, '--no-verify'], null, 'another');
  t.match(later, { code: 0, out: /Secret stored: oauth "bad"/ });
});
