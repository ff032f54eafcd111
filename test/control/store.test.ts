// The store, and with it src/control/database.ts and src/control/migrations.ts.
import { randomUUID } from 'node:crypto';
import { openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { STORE_MIGRATIONS } from '../../src/control/migrations.ts';
import type { StoredPathRule } from '../../src/control/policy/path-rule-store.ts';
import { defaultPathRules } from '../../src/control/policy/path-rules.ts';
import { type PolicySettings, Store, type StoredRule } from '../../src/control/store.ts';
import { parseHttpMatch } from '../../src/policy/http.ts';
import { SEMANTICS } from '../../src/policy/precedence.ts';
import { parseResources } from '../../src/policy/resource.ts';
import { temporaryFolder } from '../helpers/control.ts';

function ruleOf(position: number, facts: Partial<StoredRule> = {}): StoredRule {
  const id = randomUUID();
  return {
    position,
    id,
    name: id,
    source: 'local',
    decision: 'allow',
    scope: 0,
    protocols: ['tcp'],
    resources: parseResources(`h${position}.example.com,*.b.example.com:443,10.0.0.0/8,**`),
    createdVia: 'added',
    createdAtMs: 1,
    ...facts,
  };
}

function settingsOf(preset: string | null): PolicySettings {
  return { preset, governance: null, semantics: SEMANTICS };
}

t.test('rules come back as they went in, in order', async (t) => {
  const path = join(temporaryFolder(t), 'policy.db');
  const store = Store.open(path);
  const http = parseHttpMatch(['ANY'], ['/a', '/b,c/**']);
  const rules = [
    ruleOf(1),
    ruleOf(2, { decision: 'deny', protocols: ['tcp', 'udp'], scope: 7 }),
    ruleOf(3, { http, source: 'kit', awaits: 'install' }),
  ];
  store.change({ remove: [], add: rules, settings: settingsOf('balanced') });
  store.close();
  const again = Store.open(path);
  t.teardown(() => again.close());
  t.strictSame(again.rules(), rules);
  t.equal(again.policySettings().preset, 'balanced');
  t.equal(again.nextPosition(), 4);
  t.equal(statSync(path).mode & 0o777, 0o600);
});

t.test('a change is whole or not at all', async (t) => {
  const store = Store.open(join(temporaryFolder(t), 'policy.db'));
  t.teardown(() => store.close());
  const [first, second] = [ruleOf(1), ruleOf(2)];
  store.change({ remove: [], add: [first], settings: settingsOf('deny-all') });
  const twice = { ...second, id: first.id, position: 3 };
  t.throws(() => store.change({ remove: [], add: [second, twice], settings: settingsOf(null) }));
  t.strictSame(store.rules(), [first]);
  t.equal(store.policySettings().preset, 'deny-all');
});

t.test('a removed rule can come back in its place, and no position is used twice', async (t) => {
  const store = Store.open(join(temporaryFolder(t), 'policy.db'));
  t.teardown(() => store.close());
  const rules = [ruleOf(1), ruleOf(2), ruleOf(3)];
  store.change({ remove: [], add: rules });
  const changed = { ...(rules[0] as StoredRule), resources: parseResources('left.example.com') };
  store.change({ remove: [changed.id], add: [changed] });
  t.strictSame(
    store.rules().map(({ id }) => id),
    rules.map(({ id }) => id),
  );
  store.change({ remove: rules.map(({ id }) => id), add: [] });
  t.equal(store.nextPosition(), 4, 'also when all are gone');
});

t.test('the number of a sandbox is never given again', async (t) => {
  const path = join(temporaryFolder(t), 'policy.db');
  const store = Store.open(path);
  const facts = {
    tokenSha256: 'aa',
    listen: null,
    sourceAddress: null,
    deny: null,
    kit: null,
    phase: 'runtime' as const,
    createdAtMs: 1,
  };
  const first = store.addSandbox({ name: 'a', ...facts });
  store.removeSandbox('a');
  store.close();
  const again = Store.open(path);
  t.teardown(() => again.close());
  const second = again.addSandbox({
    ...facts,
    name: 'a',
    listen: { kind: 'tcp', host: '::1', port: 1 },
  });
  t.ok(second.number > first.number);
  t.strictSame(again.sandboxes(), [second]);
  t.throws(() => again.addSandbox({ name: 'a', ...facts }));
  again.setToken('a', 'bb');
  t.equal(again.sandboxes()[0]?.tokenSha256, 'bb');
  again.restoreSandbox(second);
  t.equal(again.sandboxes()[0]?.tokenSha256, 'bb', 'what is there stays');
  again.removeSandbox('a');
  again.restoreSandbox(second);
  t.strictSame(again.sandboxes(), [second], 'under its number');
});

t.test('what a sandbox left goes, and nothing else', async (t) => {
  const store = Store.open(join(temporaryFolder(t), 'policy.db'));
  t.teardown(() => store.close());
  const facts = { tokenSha256: 'aa', listen: null, sourceAddress: null, deny: null };
  const made = { kit: null, phase: 'runtime' as const, createdAtMs: 1 };
  const { number } = store.addSandbox({ name: 'a', ...facts, ...made });
  const scopes = [0, number, number + 1];
  const add = scopes.map((scope, i) => ruleOf(i + 1, { scope }));
  const [paths] = defaultPathRules(1);
  const pathRules = scopes.map((scope) => ({
    ...(paths as StoredPathRule),
    id: `${scope}`,
    scope,
  }));
  store.change({ remove: [], add, pathRules });
  store.removeOrphans();
  const left = [store.rules(), store.pathRules.all()].map((all) => all.map(({ scope }) => scope));
  t.strictSame(left, [
    [0, number],
    [0, number],
  ]);
});

t.test('a file that is no database, is damaged, or is of a later version is refused', async (t) => {
  const folder = temporaryFolder(t);
  const code = { code: 'SALLYPORT_STORE_CORRUPT' };
  writeFileSync(
    join(folder, 'text.db'),
    'not a database, but long enough to look at: '.repeat(100),
  );
  t.throws(() => Store.open(join(folder, 'text.db')), code);

  const path = join(folder, 'damaged.db');
  const store = Store.open(path);
  store.change({ remove: [], add: Array.from({ length: 500 }, (_, i) => ruleOf(i + 1)) });
  store.close();
  const pages = statSync(path).size / 4096;
  const file = openSync(path, 'r+');
  for (let page = 4; page < pages; page++)
    writeSync(file, Buffer.alloc(64, 0xff), 0, 64, page * 4096);
  t.throws(() => Store.open(path), code);

  const later = new DatabaseSync(join(folder, 'later.db'));
  later.exec('PRAGMA user_version = 999');
  later.close();
  t.throws(() => Store.open(join(folder, 'later.db')), { ...code, message: /999/ });
});

t.test(
  'a grant of an earlier version gets a key for its sentinels, and what its client lacks',
  async (t) => {
    const path = join(temporaryFolder(t), 'policy.db');
    const earlier = new DatabaseSync(path);
    for (const script of STORE_MIGRATIONS.slice(0, 6)) earlier.exec(script);
    const client = { tokenUrl: 'https://a.example/token', clientId: 'app', clientAuth: 'basic' };
    const insert = earlier.prepare(`INSERT INTO secrets VALUES
    (?, 'service', 0, ?, '', NULL, NULL, '', NULL, 0, NULL, NULL, NULL, NULL, x'00', 0, 'off', ?)`);
    insert.run('1', 'crm', JSON.stringify({ ...client, scope: null }));
    insert.run('2', 'erp', JSON.stringify({ ...client, scope: 'a b' }));
    insert.run('3', 'github', null);
    earlier.exec('PRAGMA user_version = 6');
    earlier.close();
    const store = Store.open(path);
    t.teardown(() => store.close());
    const [crm, erp, github] = store.secrets.all();
    t.match(crm?.placeholderKey, /^[0-9a-f]{64}$/);
    t.not(crm?.placeholderKey, erp?.placeholderKey);
    const more = { grant: 'client_credentials', format: 'form', signInInside: false };
    t.strictSame(crm?.oauth, { ...client, scope: null, ...more });
    t.match(erp, { oauth: { scope: 'a b' } });
    t.match(github, { oauth: null, placeholderKey: null });
  },
);

t.test('a rule that cannot be read is not passed over', async (t) => {
  const path = join(temporaryFolder(t), 'policy.db');
  const store = Store.open(path);
  store.change({ remove: [], add: [ruleOf(1, { decision: 'deny' })] });
  store.close();
  const raw = new DatabaseSync(path);
  raw.exec("UPDATE rules SET resources = 'http://nonsense'");
  raw.close();
  const again = Store.open(path);
  t.teardown(() => again.close());
  t.throws(() => again.rules(), { code: 'SALLYPORT_STORE_CORRUPT' });
});

t.test('10^5 rules are written and read in seconds', async (t) => {
  const store = Store.open(join(temporaryFolder(t), 'policy.db'));
  t.teardown(() => store.close());
  const resources = parseResources('one.example.com');
  const rules = Array.from({ length: 100_000 }, (_, i) => ruleOf(i + 1, { resources }));
  const start = performance.now();
  store.change({ remove: [], add: rules });
  t.equal(store.rules().length, 100_000);
  t.ok(performance.now() - start < 10_000);
});

t.test('a policy from before there were filesystem rules gets the defaults', async (t) => {
  const path = join(temporaryFolder(t), 'policy.db');
  const earlier = new DatabaseSync(path);
  const before = STORE_MIGRATIONS.findIndex((script) => script.includes('CREATE TABLE path_rules'));
  for (const script of STORE_MIGRATIONS.slice(0, before)) earlier.exec(script);
  earlier.exec(
    `INSERT INTO settings VALUES ('preset', 'balanced'); PRAGMA user_version = ${before}`,
  );
  earlier.close();
  const store = Store.open(path);
  t.teardown(() => store.close());
  t.strictSame(store.pathRules.all(), defaultPathRules(0));
  const fresh = Store.open(join(temporaryFolder(t), 'policy.db'));
  t.teardown(() => fresh.close());
  t.strictSame(fresh.pathRules.all(), [], 'they come with the preset');
});

t.test('a filesystem rule that cannot be understood is no policy', async (t) => {
  const path = join(temporaryFolder(t), 'policy.db');
  const store = Store.open(path);
  const rule = { ...defaultPathRules(7)[0], id: 'x', name: 'x', policy: { id: 'p', name: 'q' } };
  store.change({ remove: [], add: [], pathRules: [rule as StoredPathRule] });
  t.strictSame(store.pathRules.all(), [rule]);
  store.close();
  const raw = new DatabaseSync(path);
  raw.exec(`UPDATE path_rules SET patterns = '["../x"]'`);
  raw.close();
  const again = Store.open(path);
  t.teardown(() => again.close());
  t.throws(() => again.pathRules.all(), {
    code: 'SALLYPORT_STORE_CORRUPT',
    message: /filesystem rule x cannot be read/,
  });
});
