// `secret`: every spelling, what is asked and what is said; and that no value is ever said. Covers
// src/cli/secret-value.ts, src/cli/secret-scope.ts, src/cli/secret-ls.ts, src/cli/secret-rm.ts and
// src/cli/secret-import.ts.
import t, { type Test } from 'tap';
import { startWorld, type World } from '../helpers/control.ts';
import { type Said, say } from './session.ts';

const TOKEN = 'ghp_0123456789abcdefghij';
const OTHER = 'sk-another-value-of-42-letters';

type Words = readonly string[];
type Speak = (words: Words, keys?: string | null, more?: object) => Promise<Said>;

/** A world and its `secret` command, none of whose words may hold a value. */
async function secretWorld(t: Test): Promise<{ world: World; secret: Speak }> {
  const world = await startWorld(t);
  await say(world, ['sandbox', 'add', 'box']);
  const secret: Speak = async (words, keys = null, more = {}) => {
    const said = await say(world, ['secret', ...words], keys, more);
    for (const value of [TOKEN, OTHER]) {
      t.notOk((said.out + said.err).includes(value), `secret ${words.join(' ')} tells no value`);
    }
    return said;
  };
  return { world, secret };
}

async function namesOf(secret: Speak, ...words: string[]): Promise<string[]> {
  return (await secret(['ls', '-q', ...words])).out.split('\n').filter(Boolean);
}

t.test('set: from a pipe, a prompt, a command, the command line', async (t) => {
  const { secret } = await secretWorld(t);
  const piped = await secret(['set', 'github'], null, { piped: `${TOKEN}\n` });
  t.strictSame(piped, {
    code: 0,
    out: 'Secret stored: service "github", scope "(global)"\nApplied secret updates for 1 running sandbox(es)\n',
    err: '',
  });
  const typed = await secret(['set', 'openai', '--sandbox', 'box'], `${TOKEN}\r`);
  t.equal(typed.code, 0, typed.err);
  t.match(typed.out, 'Secret for service "openai":');
  t.match(typed.out, 'Secret stored: service "openai", scope "box"');
  const command = ['--command', `echo ${TOKEN.slice(0, 8)}`, '--refresh', '10m'];
  const run = await secret(['set', 'anthropic', ...command, '--json']);
  t.match(JSON.parse(run.out), {
    secret: { name: 'anthropic', secret: '(command)', source: 'command', refresh: '10m' },
  });
  const argv = await secret(['set', 'github', '--force', '-t', TOKEN]);
  t.match(argv, { code: 0, out: /^Secret replaced: / });
  t.match(argv.err, /^WARNING: a value on the command line can be seen/);
  const left = await secret(['set', '--sandbox', 'box'], '\u0003');
  t.match(left, { code: 130, out: /Service:/, err: 'Cancelled\n' });
});

t.test('the older spellings of a scope work, with a word', async (t) => {
  const { secret } = await secretWorld(t);
  const more = { piped: TOKEN };
  const global = await secret(['set', '-g', 'github'], null, more);
  t.match(global, { code: 0, err: /^Flag --global has been deprecated/ });
  const positional = await secret(['set', 'box', 'github'], null, more);
  t.match(positional, { code: 0, out: /scope "box"/ });
  t.match(positional.err, /positional sandbox scope is deprecated, use --sandbox/);
  for (const [words, fault] of [
    [['set', '-g', 'box', 'github'], '--global and a sandbox exclude each other'],
    [['set', '--sandbox', 'box', 'box', 'github'], 'name the sandbox once'],
    [['set', 'a', 'b', 'c'], 'one service at a time'],
    [['set', 'nobody', 'github'], 'sandbox "nobody" not found'],
    [['rm', '-f', 'nobody', 'github'], 'sandbox "nobody" not found'],
    [['ls', '-g', '--sandbox', 'box'], '--global and --sandbox exclude each other'],
  ] as const) {
    const { code, err } = await secret(words, null, more);
    t.strictSame([code, err.includes(fault)], [1, true], err);
  }
  t.match(await secret(['rm', '-f', 'box', 'github']), { code: 0, out: /scope "box"/ });
  t.strictSame(await namesOf(secret), ['github']);
});

t.test('what cannot be meant is refused, and nothing is stored', async (t) => {
  const { secret } = await secretWorld(t);
  for (const [words, fault, piped] of [
    [['set'], 'name a service (', TOKEN],
    [['set', 'gitub'], 'there is no service "gitub"', TOKEN],
    [['set', 'gitub'], 'there is no service "gitub"', ''],
    [['set', 'github'], 'stdin is empty', ''],
    [['set', 'github'], 'stdin is empty', '\n'],
    [['set', 'github'], 'line ends', `${TOKEN}\n${TOKEN}\n`],
    [
      ['set', 'github', '--ref', 'op://a/b'],
      'no resolver for --ref is available yet; use --command',
    ],
    [['set', 'github', '-t', TOKEN, '--command', 'echo'], 'exclude each other'],
    [['set', 'github', '--refresh', '10m'], '--refresh is for --command alone', TOKEN],
    [['set', 'github', '--command', 'x', '--refresh', '1s'], 'at least 10s'],
    [
      ['set', 'github', '--command', `echo ${TOKEN}; exit 4`],
      'the command of the secret ended with 4',
    ],
    [['set', 'github', '--policy', 'never'], 'Allowed choices are', TOKEN],
    [['set', 'github', '--registry', 'ghcr.io'], 'a service and --registry exclude', TOKEN],
    [['set', 'github', '--username', 'me'], 'of a service', TOKEN],
    [['set', '--registry', 'ghcr.io', '--policy', 'always'], 'of a registry', TOKEN],
    [['set', '--registry', 'ghcr.io'], 'a registry has a username', TOKEN],
    [['set-custom', '--env', 'KEY'], "required option '--host", TOKEN],
    [['set-custom', '--host', 'a.com'], "required option '--env", TOKEN],
    [['set-custom', '--host', '**', '--env', '9'], 'too wide', TOKEN],
    [['set-custom', '--host', 'a.com', '--env', 'K', '--in', 'body'], 'write fields, query', TOKEN],
  ] as const) {
    const said = await secret(words, null, { piped });
    t.strictSame([said.code, said.out], [1, ''], words.join(' '));
    t.ok(said.err.includes(fault), `${fault} in ${said.err}`);
  }
  t.strictSame(await namesOf(secret), []);
});

t.test('one that is there: a person is asked, a script must say --force', async (t) => {
  const { secret } = await secretWorld(t);
  const set = ['set', 'github'];
  await secret(set, null, { piped: TOKEN });
  const script = await secret(set, null, { piped: OTHER });
  t.strictSame([script.code, script.out], [1, '']);
  t.match(script.err, 'use --force to replace it');
  const no = await secret([...set, '--command', 'echo x'], 'n\r');
  t.match(no, { code: 1, err: 'Cancelled\n', out: /There is one already\. Replace it\?/ });
  const yes = await secret([...set, '--command', 'echo x'], 'y\r');
  t.match(yes, { code: 0, out: /Secret replaced: service "github"/ });
  t.match(await secret([...set, '--force'], null, { piped: OTHER }), { code: 0 });
  const left = await secret([...set, '--force'], '\u0003');
  t.match(left, { code: 130, err: 'Cancelled\n' });
});

t.test('registries: for the host, for all, for one', async (t) => {
  const { secret } = await secretWorld(t);
  const set = ['set', '--registry', 'ghcr.io', '--username', 'me', '--password-stdin'];
  t.match(await secret(set, null, { piped: TOKEN }), { out: /scope "\(host only\)"/ });
  const all = [...set, '--all-sandboxes', '--force', '--json'];
  const endpoint = ['--registry-auth-endpoint', 'https://ghcr.io/token'];
  const { out } = await secret([...all, ...endpoint], null, { piped: TOKEN });
  t.match(JSON.parse(out), {
    secret: { scope: '(global)', type: 'registry', username: 'me', secret: 'ghp_01****ghij' },
    replaced: true,
    applied: 1,
  });
  const missing = await secret(['rm', '-f', '--registry', 'quay.io', '--all-sandboxes']);
  t.match(missing, {
    code: 1,
    err: /no secret found for registry "quay.io" in scope "\(global\)"/,
  });
  const removed = await secret(['rm', '-f', '--registry', 'ghcr.io']);
  t.match(removed.out, 'Secret removed: registry "ghcr.io", scope "(global)"\n');
  t.match(await secret(['set', '--registry', 'ghcr.io', '--password-stdin'], 'x'), {
    code: 1,
    err: /no value is piped in/,
  });
});

t.test('set-custom tells what the sandbox holds', async (t) => {
  const { secret } = await secretWorld(t);
  const words = ['set-custom', '--host', 'a.com,*.b.com', '--host', 'c.com:8443', '--env', 'KEY'];
  t.equal(
    (await secret(words, null, { piped: TOKEN })).out,
    'Secret stored: KEY to a.com, *.b.com, c.com:8443, scope "(global)"\nApplied secret updates for 1 running sandbox(es)\nEach sandbox holds KEY=sbx-cs-{rand} in its place, with a {rand} of its own\n',
  );
  const own = ['--sandbox', 'box', '--placeholder', 'tok-{rand}', '--in', 'content', '--value'];
  const said = await secret([...words, ...own, TOKEN]);
  t.match(said.out, /Sandbox box holds KEY=tok-\w+ in its place\n$/);
  t.match(said.err, /^WARNING: a value on the command line/);
  const scrubbed = await secret([
    ...words,
    '--force',
    '--scrub',
    'strict',
    '--json',
    '--value',
    OTHER,
  ]);
  t.match(JSON.parse(scrubbed.out), { secret: { scrub: 'strict' } });
  t.match(
    (await secret([...words, '--scrub', 'hard'])).err,
    /Allowed choices are off, pass, strict/,
  );
  const typed = await secret([...words, '--force'], `${OTHER}\r`);
  t.match(typed.out, /Secret for KEY:.*Secret replaced: KEY to/s);
});

t.test('ls: tables, names, JSON; masked', async (t) => {
  const { secret } = await secretWorld(t);
  t.equal((await secret(['ls'])).out, 'No secrets found.\n');
  t.equal((await secret(['ls', '--sandbox', 'zzz'])).out, 'No secrets found for scope "zzz".\n');
  t.equal((await secret(['ls', '-g'])).out, 'No secrets found for scope "(global)".\n');
  const more = { piped: TOKEN };
  await secret(['set', 'github'], null, more);
  await secret(['set', 'openai', '--sandbox', 'box'], null, more);
  await secret(['set', '--registry', 'ghcr.io', '--username', 'me'], null, { piped: 'sixsix' });
  const registry = ['set', '--registry', 'quay.io', '--username', 'me', '--all-sandboxes'];
  await secret(registry, null, { piped: 'exactly-19-letters!' });
  await secret(['set-custom', '--host', 'a.com,b.com', '--env', 'KEY'], null, more);
  t.equal(
    (await secret(['ls'])).out,
    `SCOPE        TYPE      NAME     SECRET
(host only)  registry  ghcr.io  ******
(global)     registry  quay.io  exactl*************
(global)     service   github   (stored)
box          service   openai   (stored)

CUSTOM SECRETS
SCOPE     TARGETS      ENV  PLACEHOLDER    SECRET
(global)  a.com,b.com  KEY  sbx-cs-{rand}  ghp_01****ghij
`,
  );
  t.strictSame(await namesOf(secret), ['ghcr.io', 'quay.io', 'github', 'openai', 'KEY']);
  t.strictSame(await namesOf(secret, '-g'), ['quay.io', 'github', 'KEY']);
  t.strictSame(await namesOf(secret, '--sandbox', 'box'), ['openai']);
  t.strictSame(await namesOf(secret, '--service', 'github'), ['github']);
  const env = { GH_TOKEN: TOKEN, OPENAI_API_KEY: OTHER };
  const json = JSON.parse((await secret(['ls', '--json', '--service', 'x'], null, { env })).out);
  t.strictSame(json, {
    secrets: [],
    custom_secrets: [],
    shadowed_services: [],
    env_only_count: 1,
  });
});

t.test('rm: asked, forced, chosen from a list', async (t) => {
  const { secret } = await secretWorld(t);
  const more = { piped: TOKEN };
  await secret(['set', 'github'], null, more);
  await secret(['set', 'openai', '--sandbox', 'box'], null, more);
  await secret(['set-custom', '--host', 'a.com', '--env', 'KEY', '--sandbox', 'box'], null, more);
  const script = await secret(['rm', 'github']);
  t.strictSame([script.code, script.out], [1, '']);
  t.match(script.err, 'stdin is not a terminal; use --force to skip confirmation');
  t.match(await secret(['rm', '-f']), { code: 1, err: /name what to remove/ });
  t.match(await secret(['rm', '-f', 'anthropic']), {
    code: 1,
    err: /no secret found for service "anthropic" in scope "\(global\)"/,
  });
  const no = await secret(['rm', 'github'], '\r');
  t.match(no, { code: 1, err: 'Cancelled\n' });
  t.match(no.out, 'Remove service "github" from "(global)"?');
  const yes = await secret(['rm', 'github'], 'y\r');
  t.match(yes.out, /Secret removed: service "github", scope "\(global\)"\nApplied secret .* 1 run/);
  const chosen = await secret(['rm', '-f'], '\u001b[B\r');
  t.match(chosen.out, 'Remove which secret?');
  t.match(chosen.out, 'Secret removed: custom "KEY", scope "box"');
  t.match((await secret(['rm', '--all'], 'n\r')).out, 'Remove all secrets from "every scope"?');
  const all = await secret(['rm', '--all', '--force', '--json']);
  t.match(JSON.parse(all.out), { removed: [{ name: 'openai', scope: 'box' }], applied: 1 });
  t.equal((await secret(['rm', '--all', '--force'])).out, 'No secrets found.\n');
  t.match(await secret(['rm'], ''), { code: 1, err: /there are no secrets/ });
});

t.test('import: shown first, only what is new, from the environment of the command', async (t) => {
  const { secret } = await secretWorld(t);
  const env = { GITHUB_TOKEN: TOKEN, OPENAI_API_KEY: OTHER, ANTHROPIC_API_KEY: '' };
  const none = await secret(['import', '--all']);
  t.match(none, { code: 1, err: /none of .*GH_TOKEN, GITHUB_TOKEN.* is set/ });
  t.match(await secret(['import', 'anthropic'], null, { env }), {
    code: 1,
    err: /none of ANTHROPIC_API_KEY is set/,
  });
  t.match(await secret(['import', 'nope'], null, { env }), { code: 1, err: /no service "nope"/ });
  const bare = await secret(['import'], null, { env });
  t.match(bare, { code: 1, err: /name a service or use --all/ });

  const table = `SERVICE  VARIABLE        VALUE     STATE
github   GITHUB_TOKEN    ****ghij  new
openai   OPENAI_API_KEY  ****ters  new
`;
  t.equal((await secret(['import', '--dry-run'], null, { env })).out, table);
  const no = await secret(['import'], 'n\r', { env });
  t.match(no, { code: 1, err: 'Cancelled\n' });
  t.ok(no.out.includes(table) && no.out.includes('Store 2 of them?'));
  t.strictSame(await namesOf(secret), []);

  t.match(
    (await secret(['import', 'github'], null, { env })).out,
    /^Imported github from GITHUB_T/,
  );
  const again = await secret(['import', 'github'], null, { env });
  t.match(again, { code: 1, out: '', err: /use --force to replace it/ });
  const asked = await secret(['import', 'github'], 'y\r', { env });
  t.match(asked.out, /Replace it\?.*Replaced github from GITHUB_TOKEN \(\*\*\*\*ghij\)/s);
  t.equal(
    (await secret(['import', '--all'], null, { env })).out,
    'Kept github: stored already; --force replaces it\nImported openai from OPENAI_API_KEY (****ters)\nApplied secret updates for 1 running sandbox(es)\n',
  );
  const forced = await secret(['import', '--all', '--force', '--json'], null, { env });
  t.match(JSON.parse(forced.out), { imported: [{ state: 'replaced' }, { state: 'replaced' }] });
  const dry = await secret(['import', '--dry-run', '--json'], null, { env });
  t.match(JSON.parse(dry.out), { found: [{ value: '****ghij', state: 'keep' }, {}] });
});
