// The secrets between the disk and the workers. Covers src/control/secrets/binding.ts,
// src/control/secrets/input.ts, src/control/secrets/listing.ts, src/control/secrets/selector.ts, src/control/secrets/store.ts and
// src/credentials/placeholder.ts and services.ts too.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mock } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { SECRET_COMMAND_RETRY_MS } from '../../../src/base/limits.ts';
import type { NewCustom, NewRegistry, NewService } from '../../../src/control/secrets/input.ts';
import type { Secrets } from '../../../src/control/secrets/secrets.ts';
import { placeholderFor } from '../../../src/credentials/placeholder.ts';
import { startSecrets } from '../../helpers/secrets.ts';

const TOKEN = 'ghp_0123456789abcdefghij';
const INVALID = { code: 'SALLYPORT_SECRET_INVALID' };
const CONFLICT = { code: 'SALLYPORT_CONFLICT', message: /use --force/ };

t.test('a value goes to the workers and, sealed, to the disk; and nowhere else', async (t) => {
  const { secrets, pushed, folder, begin, close, store } = await startSecrets(t);
  const { held, replaced } = await secrets.set({ service: 'github', value: TOKEN });
  t.equal(replaced, false);
  t.match(pushed.at(-1), [
    { kind: 'service', service: 'github', id: held.secret.id, scope: 0, value: TOKEN },
  ]);
  t.match(store.secrets.all(), [{ policy: 'if-sentinel-or-absent', plaintext: false }]);
  t.notMatch(JSON.stringify(secrets.list({})), TOKEN);
  await close();
  for (const file of ['policy.db', 'vault.key']) {
    t.notOk(readFileSync(join(folder, file)).includes(TOKEN), file);
  }
  const again = await begin();
  t.strictSame(again.secrets.bindings(), pushed.at(-1), 'the next start has it again');
  await again.close();
});

t.test('scopes stand beside each other; the same one twice asks for force', async (t) => {
  const { secrets, pushed } = await startSecrets(t);
  const first = await secrets.set({ service: 'github', value: TOKEN });
  await secrets.set({ service: 'github', value: 'of the box', sandbox: 'box', policy: 'always' });
  const pushes = pushed.length;
  await t.rejects(secrets.set({ service: 'github', value: 'another' }), {
    ...CONFLICT,
    message: /service "github" in scope "\(global\)"/,
  });
  await t.rejects(secrets.set({ service: 'github', value: 'x', sandbox: 'nope' }), {
    code: 'SALLYPORT_NOT_FOUND',
  });
  t.equal(pushed.length, pushes, 'nothing was changed');
  const again = await secrets.set({ service: 'github', value: 'another', replace: true });
  t.strictSame([again.replaced, again.held.secret.id], [true, first.held.secret.id]);
  t.match(pushed.at(-1), [
    { scope: 0, value: 'another' },
    { scope: 7, value: 'of the box', policy: 'always' },
  ]);
  await secrets.dropScope(7);
  t.match(pushed.at(-1), { length: 1 });
});

t.test('what workers cannot take is taken back', async (t) => {
  const { secrets, state, store, pushed } = await startSecrets(t);
  await secrets.set({ service: 'github', value: TOKEN });
  const before = { bindings: secrets.bindings(), stored: store.secrets.all() };
  state.refusing = true;
  const stuck = { code: 'SALLYPORT_PUBLISH_TIMEOUT' };
  await t.rejects(secrets.set({ service: 'github', value: 'new', replace: true }), stuck);
  await t.rejects(secrets.remove({ all: true }), stuck);
  await t.rejects(secrets.import([{ service: 'openai', value: 'x' }], false), stuck);
  t.strictSame({ bindings: secrets.bindings(), stored: store.secrets.all() }, before);
  t.strictSame(pushed.at(-1), before.bindings);
});

t.test('bad input: every fault is named, none tells the value, nothing changes', async (t) => {
  const { secrets, pushed, store } = await startSecrets(t);
  const bad = 'LEAKED\nLEAKED';
  const custom = { hosts: ['a.com'], env: 'KEY', value: TOKEN };
  for (const [wanted, ...faults] of [
    [{ service: 'gitub', value: bad }, 'no service "gitub"', 'set-custom', 'line ends'],
    [{ service: 'github' }, 'either a value or a command'],
    [{ service: 'github', value: TOKEN, command: 'echo' }, 'either a value or a command'],
    [{ service: 'github', value: TOKEN, refreshMs: 60_000 }, 'only what a command writes'],
    [{ service: 'github', command: ' ', refreshMs: 9 }, 'command is empty', 'between 10s and 24h'],
    [{ service: 'github', command: 'x'.repeat(5_000) }, '4096 bytes'],
    [{ service: 'github', command: 'echo LEAKED\0' }, 'has a NUL'],
    [{ service: 'github', command: 'echo LEAKED; exit 9' }, 'command of the secret ended with 9'],
    [
      { registry: '*.ghcr.io', authEndpoint: 'http://x/?q', allSandboxes: true, sandbox: 'box' },
      '"*.ghcr.io" is no registry',
      'has a username',
      'no exact https URL',
      'exclude each other',
      'either a value',
    ],
    [{ registry: 'a b', username: 'a:b', value: bad }, '"a b"', 'username', 'line ends'],
    [
      { ...custom, hosts: ['http://a.com', '10.0.0.0/8'], env: '9-', value: bad },
      'it is a URL',
      '"9-" is no name of an environment variable',
      'line ends',
    ],
    [{ ...custom, hosts: ['**'] }, '"**" is too wide'],
    [{ ...custom, hosts: ['10.0.0.0/8'] }, '"10.0.0.0/8" is too wide'],
    [{ ...custom, placeholder: 'a b{rand}' }, 'the placeholder has letters'],
    [{ ...custom, placeholder: '{rand}{rand}' }, 'the placeholder has letters'],
    [{ ...custom, placeholder: 'short' }, 'at least 8 letters'],
    [{ ...custom, placeholder: 'x'.repeat(300) }, 'more than 256 bytes'],
    [{ ...custom, placeholder: `${TOKEN}-{rand}` }, 'holds the value itself'],
  ] as const) {
    const set = 'env' in wanted ? secrets.setCustom(wanted) : secrets.set(wanted);
    const error = await set.catch((error: Error) => error);
    t.match(error, INVALID, JSON.stringify(wanted));
    for (const fault of faults) t.ok(String(error).includes(fault), `${fault} in ${error}`);
    t.notMatch(String(error), 'LEAKED');
  }
  const two = [
    { service: 'github', value: TOKEN },
    { service: 'openai', value: bad },
    { service: 'nope', value: '' },
  ];
  const error = await secrets.import(two, true).catch((error: Error) => error);
  t.match(error, { ...INVALID, message: /openai: .*nope: .*empty/s });
  t.strictSame([store.secrets.all(), pushed], [[], []]);
});

t.test('a custom secret has a placeholder of its own in each sandbox', async (t) => {
  const { secrets, pushed } = await startSecrets(t);
  const wanted: NewCustom = { hosts: ['API.a.com,*.b.com:443'], env: 'A_KEY', value: TOKEN };
  await secrets.setCustom(wanted);
  const [binding] = pushed.at(-1) ?? [];
  t.match(binding, {
    kind: 'custom',
    env: 'A_KEY',
    hosts: ['api.a.com', '*.b.com:443'],
    in: ['fields', 'query'],
    placeholder: 'sbx-cs-{rand}',
    placeholderKey: /^[0-9a-f]{32,}$/,
    plaintext: false,
    value: TOKEN,
  });
  if (binding?.kind !== 'custom') return t.fail('a custom binding');
  await secrets.setCustom({
    ...wanted,
    sandbox: 'box',
    placeholder: 'key-{rand}',
    in: ['content'],
    scrub: 'strict',
  });
  const [, own] = pushed.at(-1) ?? [];
  if (own?.kind !== 'custom') return t.fail('a custom binding');
  t.equal(own.scrub, 'strict');
  await t.rejects(secrets.setCustom({ ...wanted, env: 'SHORT', value: 'letters', scrub: 'pass' }), {
    code: 'SALLYPORT_SECRET_INVALID',
    message: /fewer than 8 characters/,
  });
  t.strictSame(secrets.list({}).custom_secrets, [
    {
      scope: '(global)',
      targets: ['api.a.com', '*.b.com:443'],
      env: 'A_KEY',
      placeholder: 'sbx-cs-{rand}',
      secret: 'ghp_01****ghij',
      in: ['fields', 'query'],
      allow_plaintext: false,
      scrub: 'off',
    },
    {
      scope: 'box',
      targets: ['api.a.com', '*.b.com:443'],
      env: 'A_KEY',
      placeholder: placeholderFor(own, 7),
      secret: 'ghp_01****ghij',
      in: ['content'],
      allow_plaintext: false,
      scrub: 'strict',
    },
  ]);
  await secrets.setCustom({ ...wanted, value: 'another', replace: true });
  const [after] = pushed.at(-1) ?? [];
  if (after?.kind !== 'custom') return t.fail('a custom binding');
  t.strictSame(
    [after.id, after.placeholderKey, after.value],
    [binding.id, binding.placeholderKey, 'another'],
    'what sandboxes hold for it stays good',
  );
});

t.test('a registry is the host’s alone, or everybody’s', async (t) => {
  const { secrets, pushed } = await startSecrets(t);
  const wanted: NewRegistry = { registry: 'GHCR.io', username: 'me', value: TOKEN };
  await secrets.set(wanted);
  await secrets.set({ ...wanted, sandbox: 'box', authEndpoint: 'https://auth.ghcr.io/token' });
  await t.rejects(secrets.set({ ...wanted, allSandboxes: true }), {
    ...CONFLICT,
    message: /registry "ghcr.io" in scope "\(host only\)"/,
  });
  const scopesOf = () => secrets.list({}).secrets.map(({ scope }) => scope);
  t.strictSame(scopesOf(), ['(host only)', 'box']);
  await secrets.set({ ...wanted, allSandboxes: true, replace: true });
  t.strictSame(scopesOf(), ['(global)', 'box']);
  t.match(secrets.list({}).secrets[0], { username: 'me', secret: 'ghp_01****ghij' });
  t.match(pushed.at(-1), [
    { kind: 'registry', scope: 0, hosts: ['ghcr.io:443'], realms: ['https://ghcr.io/token'] },
    { kind: 'registry', scope: 7, realms: ['https://auth.ghcr.io/token'], username: 'me' },
  ]);
  t.equal((await secrets.remove({ registry: 'ghcr.IO:443' })).length, 1);
  t.strictSame(scopesOf(), ['box']);
});

t.test('what is the host’s alone is with no worker', async (t) => {
  const { secrets, pushed } = await startSecrets(t);
  await secrets.set({ registry: 'index.docker.io', username: 'me', value: TOKEN });
  t.match(secrets.list({}).secrets, [{ name: 'docker.io', scope: '(host only)' }]);
  t.strictSame(pushed.at(-1), []);
  t.equal((await secrets.remove({ registry: 'registry-1.docker.io' })).length, 1);
});

t.test('import: all or none, and what is there stays', async (t) => {
  const { secrets, pushed } = await startSecrets(t);
  await secrets.set({ service: 'github', value: TOKEN });
  const wanted: NewService[] = [
    { service: 'github', value: 'new-github' },
    { service: 'openai', value: 'new-openai' },
  ];
  t.strictSame(await secrets.import(wanted, false), [
    { service: 'github', state: 'skipped' },
    { service: 'openai', state: 'imported' },
  ]);
  t.match(pushed.at(-1), [{ value: TOKEN }, { value: 'new-openai' }]);
  const pushes = pushed.length;
  t.match(await secrets.import(wanted, false), [{ state: 'skipped' }, { state: 'skipped' }]);
  t.equal(pushed.length, pushes, 'nothing to tell');
  t.match(await secrets.import(wanted, true), [{ state: 'replaced' }, { state: 'replaced' }]);
  t.match(pushed.at(-1), [{ value: 'new-github' }, { value: 'new-openai' }]);
});

t.test('removal: by what it is for, within a scope', async (t) => {
  const { secrets } = await startSecrets(t, { sandboxes: ['box', 'other'] });
  const fill = async (): Promise<void> => {
    await secrets.set({ service: 'github', value: TOKEN });
    await secrets.set({ service: 'github', value: TOKEN, sandbox: 'box' });
    await secrets.set({ registry: 'ghcr.io', username: 'me', value: TOKEN });
    await secrets.setCustom({ hosts: ['a.com'], env: 'KEY', value: TOKEN, sandbox: 'other' });
  };
  await fill();
  const usage = { code: 'SALLYPORT_USAGE' };
  await t.rejects(secrets.remove({}), usage);
  await t.rejects(secrets.remove({ service: 'github', all: true }), usage);
  for (const [selector, message] of [
    [{ service: 'openai' }, 'no secret found for service "openai" in scope "(global)"'],
    [
      { service: 'github', sandbox: 'other' },
      'no secret found for service "github" in scope "other"',
    ],
    [
      { registry: 'ghcr.io', global: true },
      'no secret found for registry "ghcr.io" in scope "(global)"',
    ],
    [{ env: 'KEY' }, 'no secret found for custom secret "KEY" in scope "(global)"'],
    [{ env: 'KEY', host: 'b.com', sandbox: 'other' }, /custom secret "KEY" in scope "other"/],
    [{ service: 'github', sandbox: 'nope' }, 'sandbox "nope" not found'],
  ] as const) {
    await t.rejects(secrets.remove(selector), { code: 'SALLYPORT_NOT_FOUND', message });
  }
  const removed = async (selector: Parameters<Secrets['remove']>[0]) =>
    (await secrets.remove(selector)).map(({ name, scope }) => `${name} ${scope}`);
  t.strictSame(await removed({ service: 'github' }), ['github 0']);
  t.strictSame(await removed({ host: 'A.com', sandbox: 'other' }), ['KEY 8']);
  t.strictSame(await removed({ all: true, global: true }), ['ghcr.io -1']);
  t.strictSame(await removed({ all: true, sandbox: 'box' }), ['github 7']);
  t.strictSame(await removed({ all: true }), []);
  await fill();
  t.equal((await secrets.remove({ all: true })).length, 4);
  t.strictSame(secrets.bindings(), []);
});

t.test('listings are of a scope or a service, and of nobody when it is unknown', async (t) => {
  const { secrets } = await startSecrets(t);
  await secrets.set({ service: 'github', value: TOKEN });
  await secrets.set({ service: 'openai', value: TOKEN, sandbox: 'box' });
  await secrets.setCustom({ hosts: ['a.com'], env: 'KEY', value: TOKEN, sandbox: 'box' });
  const names = (filter: Parameters<Secrets['list']>[0]) => {
    const { secrets: known, custom_secrets: custom } = secrets.list(filter);
    return [...known.map(({ name }) => name), ...custom.map(({ env }) => env)];
  };
  t.strictSame(names({}), ['github', 'openai', 'KEY']);
  t.strictSame(names({ scope: 'global' }), ['github']);
  t.strictSame(names({ sandbox: 'box' }), ['openai', 'KEY']);
  t.strictSame(names({ sandbox: 'zzz' }), []);
  t.strictSame(names({ service: 'openai' }), ['openai']);
});

t.test('with another key nothing is readable; the daemon starts, requests fail', async (t) => {
  const { secrets, folder, begin, close, reports } = await startSecrets(t);
  await secrets.set({ service: 'github', value: TOKEN });
  await secrets.set({ registry: 'ghcr.io', username: 'me', value: TOKEN });
  await close();
  writeFileSync(join(folder, 'vault.key'), Buffer.alloc(32, 7));
  const again = await begin();
  t.teardown(again.close);
  t.match(again.secrets.bindings(), [{ service: 'github', value: '' }]);
  t.match(reports, [
    { message: 'a secret cannot be decrypted', secret: 'registry "ghcr.io" (host only)' },
    { secret: 'service "github" (global)', error: /was not sealed with the key in .*vault\.key/ },
  ]);
  t.match(again.secrets.list({}).secrets, [{ secret: '(unreadable)' }, { secret: '(unreadable)' }]);
  await again.secrets.set({ service: 'github', value: 'anew', replace: true });
  t.match(again.secrets.bindings(), [{ value: 'anew' }]);
  await again.secrets.remove({ all: true });
  t.strictSame(again.store.secrets.all(), []);
});

t.test('without its key nothing is added or replaced, until all of it is removed', async (t) => {
  const { secrets, folder, begin, close, reports } = await startSecrets(t);
  await secrets.set({ service: 'github', value: TOKEN });
  await close();
  const keyFile = join(folder, 'vault.key');
  rmSync(keyFile);
  const again = await begin();
  t.teardown(again.close);
  t.match(again.secrets.bindings(), [{ service: 'github', value: '' }]);
  t.strictSame(reports, [], 'that there is no key is told once, elsewhere');
  const stored = again.store.secrets.all();
  const gone = { code: 'SALLYPORT_VAULT_UNREADABLE', message: /vault\.key is gone/ };
  const openai = { service: 'openai', value: TOKEN };
  await t.rejects(again.secrets.set({ ...openai, service: 'github', replace: true }), gone);
  await t.rejects(again.secrets.set(openai), gone);
  await t.rejects(again.secrets.setCustom({ hosts: ['a.com'], env: 'KEY', value: TOKEN }), gone);
  await t.rejects(again.secrets.import([openai], true), gone);
  t.strictSame(again.store.secrets.all(), stored);
  t.notOk(existsSync(keyFile));
  await again.secrets.set({ service: 'anthropic', command: 'echo token' });
  t.match(again.secrets.bindings()[0], { service: 'anthropic', value: 'token' }, 'needs no key');
  await again.secrets.remove({ all: true });
  await again.secrets.set(openai);
  t.match(again.secrets.bindings(), [{ service: 'openai', value: TOKEN }]);
});

t.test('a command gives the value: tried when it is set, fetched at the next start', async (t) => {
  const { secrets, folder, begin, close, pushed, reports } = await startSecrets(t);
  const file = join(folder, 'value');
  writeFileSync(file, `${TOKEN}\n`);
  const command = `cat ${file}`;
  await secrets.set({ service: 'github', command });
  await secrets.setCustom({ hosts: ['a.com'], env: 'KEY', command });
  t.match(pushed.at(-1), [
    { kind: 'custom', value: TOKEN },
    { kind: 'service', value: TOKEN },
  ]);
  t.match(secrets.list({}), {
    secrets: [{ secret: '(command)', source: 'command', refresh: '55m' }],
    custom_secrets: [{ secret: '(command)', source: 'command', refresh: 'on-demand' }],
  });
  t.notMatch(JSON.stringify(secrets.list({})), file, 'nor what is run');
  await close();
  t.notOk(readFileSync(join(folder, 'policy.db')).includes(TOKEN));

  const again = await begin();
  t.match(again.secrets.bindings(), [{ value: '' }, { value: '' }], 'there is none yet');
  again.secrets.start();
  while (again.secrets.bindings().some(({ value }) => value !== TOKEN)) await nextTurn();
  await again.close();

  rmSync(file);
  const without = await begin();
  t.teardown(without.close);
  without.secrets.start();
  while (reports.length < 2) await nextTurn();
  const message = 'the value of a secret cannot be fetched';
  t.match(reports, [{ message, error: /ended with 1/ }, { message }]);
  t.match(without.secrets.list({}).secrets, [{ secret: '(unavailable)' }]);
});

t.test('a value is fetched anew when its time is over', async (t) => {
  const { secrets, folder, pushed, reports, state } = await startSecrets(t);
  const file = join(folder, 'value');
  writeFileSync(file, TOKEN);
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  await secrets.set({ service: 'github', command: `cat ${file}`, refreshMs: 60_000 });
  for (const value of ['second', 'third']) {
    writeFileSync(file, value);
    mock.timers.tick(59_999);
    t.not(secrets.bindings()[0]?.value, value);
    mock.timers.tick(1);
    while (secrets.bindings()[0]?.value !== value) await nextTurn();
    t.match(pushed.at(-1), [{ value }]);
    await nextTurn(); // The next time is set when the workers have it.
  }
  rmSync(file);
  mock.timers.tick(60_000);
  while (reports.length === 0) await nextTurn();
  t.match(secrets.bindings(), [{ value: 'third' }], 'what it was is better than nothing');
  writeFileSync(file, 'fourth');
  mock.timers.tick(60_000);
  while (secrets.bindings()[0]?.value !== 'fourth') await nextTurn();
  await nextTurn();

  state.refusing = true;
  writeFileSync(file, 'fifth');
  mock.timers.tick(60_000);
  while (reports.length === 1) await nextTurn();
  t.match(reports[1], { error: 'stuck' });
  state.refusing = false;
  const pushes = pushed.length;
  mock.timers.tick(60_000);
  while (pushed.length === pushes) await nextTurn();
  t.match(pushed.at(-1), [{ value: 'fifth' }], 'told again until the workers have it');
});

t.test('a value fetched on demand is with the workers when the demand is answered', async (t) => {
  const { secrets, folder, pushed, state, reports } = await startSecrets(t);
  const file = join(folder, 'value');
  const wanted: NewCustom = { hosts: ['a.com'], env: 'KEY', command: `cat ${file}`, verify: false };
  const { held } = await secrets.setCustom(wanted);
  const { id } = held.secret;
  const unavailable = { code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE' };
  for (let i = 0; i < 5; i++) await t.rejects(secrets.demand(id), unavailable);
  t.equal(reports.length, 1, 'told once');
  writeFileSync(file, TOKEN);
  state.aheadMs += SECRET_COMMAND_RETRY_MS;
  await Promise.all([secrets.demand(id), secrets.demand(id)]);
  t.match(pushed.at(-1), [{ value: TOKEN }]);
  writeFileSync(file, 'changed');
  const pushes = pushed.length;
  await secrets.demand(id);
  t.equal(pushed.length, pushes, 'still fresh');
  await secrets.demand('unknown');
});

t.test('a command that runs does not keep the daemon from stopping', async (t) => {
  const { secrets } = await startSecrets(t);
  const setting = secrets.set({ service: 'github', command: 'sleep 60' });
  await nextTurn();
  await secrets.close();
  await t.rejects(setting, { ...INVALID, message: /was stopped/ });
});
