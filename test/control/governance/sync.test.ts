// How well an organisation's word is known, by a clock of the test: ok, failed, stale, unavailable, and
// what then counts; the same over restarts.
import { generateKeyPairSync, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { SallyportError } from '../../../src/base/errors.ts';
import { governanceFile } from '../../../src/control/governance/file.ts';
import type { GovernanceSource, Word } from '../../../src/control/governance/source.ts';
import { GovernanceSync } from '../../../src/control/governance/sync.ts';
import { type GivenRule, PolicyService } from '../../../src/control/policy/policy.ts';
import { Store, type SyncRecord } from '../../../src/control/store.ts';
import { inForce } from '../../../src/policy/precedence.ts';
import { parseResources } from '../../../src/policy/resource.ts';
import type { Decision } from '../../../src/policy/rule.ts';
import { temporaryFolder } from '../../helpers/control.ts';
import { policyOf } from '../../helpers/organization.ts';

const MINUTE_MS = 60_000;
const GRACE_MS = 60 * MINUTE_MS;

function ruleOf(id: string, decision: Decision, resources: string): GivenRule {
  const policy = { id: 'pol_1', name: 'one' };
  return {
    id,
    name: id,
    decision,
    resources: parseResources(resources),
    protocols: ['tcp'],
    policy,
  };
}

const WORD: Word = {
  organization: 'my-org',
  supportMessage: null,
  delegates: [],
  rules: [ruleOf('rule_a', 'allow', 'good.test'), ruleOf('rule_d', 'deny', 'bad.test')],
  pathRules: [],
  expiresMs: null,
  serial: null,
  digest: null,
};

/** A source that says what it is told to, and everything behind it but the workers. */
class Bench {
  readonly path: string;
  readonly reports: string[] = [];
  readonly configured: (string | null)[] = [];
  published = 0;
  /** Resolves with the next change of the policy. */
  get ended(): Promise<void> {
    return new Promise((resolve) => {
      this.onPublished = resolve;
    });
  }
  onPublished = (): void => {};
  nowMs = Date.UTC(2026, 0, 2);
  name = 'the source';
  intervalMs = MINUTE_MS;
  says: (last: SyncRecord | null) => Promise<Word> = async () => WORD;
  #store: Store | null = null;
  #policy: PolicyService | null = null;
  #sync: GovernanceSync | null = null;

  constructor(t: Test) {
    this.path = join(temporaryFolder(t), 'policy.db');
    t.teardown(() => this.stop());
  }

  get sync(): GovernanceSync {
    if (this.#sync === null) throw new Error('not started');
    return this.#sync;
  }

  /** The rules that count, and how it stands. */
  get now(): string {
    const { rules, governance, semantics } = this.#policy ?? {};
    if (rules === undefined || semantics === undefined) throw new Error('not started');
    const counting = inForce(rules, governance ?? null, semantics).map(({ id }) => id);
    return `${this.sync.state.status}: ${counting.join(' ')}`;
  }

  async start(): Promise<void> {
    await this.stop();
    const store = Store.open(this.path);
    const scopes = { numberOf: () => 1, nameOf: () => undefined };
    const clock = { wallMs: () => this.nowMs, monotonicMs: () => 0 };
    const publisher = {
      generation: 0,
      prepare: () => null,
      commit: async () => {
        this.published++;
        setImmediate(this.onPublished); // By then it is in force.
      },
    };
    const policy = await PolicyService.start(store, publisher, scopes, clock);
    if (policy.preset === null) await policy.initialize('allow-all');
    const source: GovernanceSource = {
      name: this.name,
      organization: 'my-org',
      fetch: (last) => this.says(last),
    };
    this.#store = store;
    this.#policy = policy;
    this.#sync = await GovernanceSync.begin({
      source,
      policy,
      store,
      clock,
      intervalMs: this.intervalMs,
      graceMs: GRACE_MS,
      configure: async () => {
        this.configured.push(policy.governance?.supportMessage ?? null);
      },
      report: (message) => this.reports.push(message),
    });
  }

  async stop(): Promise<void> {
    await this.#sync?.close();
    this.#store?.close();
    this.#store = null;
    this.#sync = null;
  }

  async fails(message = 'out of reach'): Promise<void> {
    this.says = async () => {
      throw new SallyportError('SALLYPORT_GOVERNANCE_FAILED', message);
    };
    await this.sync.refresh().catch(() => {});
  }
}

t.test('from the first word to none for too long', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  t.equal(bench.now, 'unavailable: ', 'before the first word nothing is granted');
  await bench.sync.refresh();
  t.equal(bench.now, 'ok: rule_a rule_d');
  t.strictSame(bench.sync.state, { status: 'ok', lastSyncedMs: bench.nowMs, message: null });
  bench.nowMs += MINUTE_MS;
  await bench.fails();
  t.equal(bench.now, 'failed: rule_a rule_d');
  t.match(bench.sync.state, { message: 'out of reach', lastSyncedMs: bench.nowMs - MINUTE_MS });
  bench.nowMs += 10 * MINUTE_MS;
  t.equal(bench.now, 'stale: rule_a rule_d');
  bench.nowMs += GRACE_MS;
  await bench.fails();
  t.equal(bench.now, 'unavailable: rule_d', 'denies stay');
  t.strictSame(bench.reports, ['out of reach'], 'the same trouble is told once');
  bench.says = async () => WORD;
  await bench.sync.refresh();
  t.equal(bench.now, 'ok: rule_a rule_d');
  t.equal(bench.reports.length, 2);
});

t.test('a restart goes on where it was', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.sync.refresh();
  bench.nowMs += 2 * MINUTE_MS;
  await bench.start();
  t.equal(bench.now, 'ok: rule_a rule_d', 'before anybody was asked');
  bench.nowMs += GRACE_MS;
  await bench.start();
  t.equal(bench.now, 'unavailable: rule_d', 'it was off for too long');
  await bench.sync.refresh();
  bench.nowMs -= 2 * GRACE_MS;
  await bench.start();
  t.equal(bench.now, 'unavailable: rule_d', 'a clock that was put back prolongs nothing');
  await bench.sync.refresh();
  bench.name = 'another source';
  await bench.start();
  t.equal(bench.now, 'unavailable: rule_d', 'what another said grants nothing');
  await bench.sync.refresh();
  t.equal(bench.now, 'ok: rule_a rule_d');
});

t.test('a word that has an end', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  bench.says = async () => ({ ...WORD, expiresMs: bench.nowMs + 10 * MINUTE_MS });
  await bench.sync.refresh();
  t.equal(bench.now, 'ok: rule_a rule_d');
  bench.nowMs += 11 * MINUTE_MS;
  await bench.fails('it has ended');
  t.equal(bench.now, 'unavailable: rule_d', 'long before the grace');
  await bench.start();
  t.equal(bench.now, 'unavailable: rule_d');
});

t.test('a death amid a word leaves it no more time than it has', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.sync.refresh();
  const disk = new DatabaseSync(bench.path);
  t.teardown(() => disk.close());
  disk.exec(`CREATE TRIGGER death BEFORE INSERT ON settings WHEN NEW.value LIKE '%"digest":"two"%'
             BEGIN SELECT RAISE(ABORT, 'killed'); END`);
  const rules = [ruleOf('rule_b', 'allow', 'short.test')];
  const expiresMs = bench.nowMs + 10 * MINUTE_MS;
  bench.says = async () => ({ ...WORD, rules, expiresMs, digest: 'two' });
  await t.rejects(bench.sync.refresh());
  await bench.start();
  t.equal(bench.now, 'ok: rule_b', 'its rules are on the disk, and the rest of it is not');
  bench.nowMs = expiresMs;
  await bench.start();
  t.equal(bench.now, 'unavailable: ');
});

/** Signed documents in a file. @returns what a source says of the one with this serial */
function documents(t: Test): (bench: Bench, serial: number) => Bench['says'] {
  const file = join(temporaryFolder(t), 'organization.json');
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const keys = [publicKey.export({ type: 'spki', format: 'pem' }).toString()];
  return (bench, serial) => (last) => {
    const policies = [policyOf(serial, [{ decision: 'allow', resources: [`s${serial}.test`] }])];
    const document = { version: 1, organization: 'my-org', serial, policies };
    writeFileSync(file, JSON.stringify(document));
    writeFileSync(`${file}.sig`, sign(null, Buffer.from(JSON.stringify(document)), privateKey));
    const source = governanceFile({ path: file, keys, teams: [], nowMs: () => bench.nowMs });
    return source.fetch(last, new AbortController().signal);
  };
}

for (const known of [true, false]) {
  const which = known ? 'amid a later document' : 'amid the first document';
  t.test(`a death ${which} lets no older one in`, async (t) => {
    const [bench, saying] = [new Bench(t), documents(t)];
    await bench.start();
    bench.says = saying(bench, 4);
    if (known) await bench.sync.refresh();
    bench.nowMs += MINUTE_MS;
    const disk = new DatabaseSync(bench.path);
    disk.exec(`CREATE TRIGGER death BEFORE INSERT ON settings
               WHEN NEW.value LIKE '%"syncedMs":${bench.nowMs}%'
               BEGIN SELECT RAISE(ABORT, 'killed'); END`);
    bench.says = saying(bench, 5);
    await t.rejects(bench.sync.refresh(), 'its rules are on the disk, and the rest of it is not');
    t.match(bench.sync.state, { lastSyncedMs: known ? bench.nowMs - MINUTE_MS : null });
    disk.exec('DROP TRIGGER death');
    disk.close();
    await bench.start();
    t.equal(bench.now, known ? 'ok: rule_5_1' : 'unavailable: ');
    bench.says = saying(bench, 4);
    await t.rejects(bench.sync.refresh(), { message: /serial 4 is older than 5/ });
    bench.says = saying(bench, 5);
    await bench.sync.refresh();
    t.equal(bench.now, 'ok: rule_5_1');
  });
}

t.test(
  'a death before the rules of a document keeps those before, and asks for it again',
  async (t) => {
    const [bench, saying] = [new Bench(t), documents(t)];
    await bench.start();
    bench.says = saying(bench, 4);
    await bench.sync.refresh();
    const disk = new DatabaseSync(bench.path);
    disk.exec(
      "CREATE TRIGGER death BEFORE INSERT ON rules BEGIN SELECT RAISE(ABORT, 'killed'); END",
    );
    bench.says = saying(bench, 5);
    await t.rejects(bench.sync.refresh());
    disk.exec('DROP TRIGGER death');
    disk.close();
    await bench.start();
    t.equal(bench.now, 'ok: rule_4_1');
    await bench.sync.refresh();
    t.equal(bench.now, 'ok: rule_5_1');
  },
);

t.test('only what is new is published; workers are told of a new message', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  await bench.sync.refresh();
  const before = bench.published;
  bench.nowMs += MINUTE_MS;
  await bench.sync.refresh();
  t.equal(bench.published, before);
  t.equal(bench.sync.state.lastSyncedMs, bench.nowMs);
  t.strictSame(bench.configured, []);
  bench.says = async () => ({ ...WORD, supportMessage: 'ask us' });
  await bench.sync.refresh();
  await bench.sync.refresh();
  t.strictSame(bench.configured, ['ask us']);
  bench.says = async () => ({ ...WORD, supportMessage: 'ask us', rules: WORD.rules.slice(1) });
  await bench.sync.refresh();
  t.equal(bench.now, 'ok: rule_d');
  t.equal(bench.published, before + 2);
  await bench.start();
  const again = bench.published;
  await bench.sync.refresh();
  t.equal(bench.published, again, 'nor after a restart');
});

t.test('a refresh sees what was there when it was asked for', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  const gate = Promise.withResolvers<void>();
  let looks = 0;
  bench.says = async () => {
    looks++;
    if (looks === 1) await gate.promise;
    return looks === 1 ? WORD : { ...WORD, rules: [] };
  };
  const first = bench.sync.refresh();
  const [second, third] = [bench.sync.refresh(), bench.sync.refresh()];
  gate.resolve();
  await first;
  t.equal(bench.now, 'ok: rule_a rule_d');
  await Promise.all([second, third]);
  t.equal(bench.now, 'ok: ');
  t.equal(looks, 2, 'those who wait share one look');
});

t.test('what fails inside is told without its words', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  bench.says = async () => {
    throw new TypeError('LEAKED');
  };
  await t.rejects(bench.sync.refresh(), { code: 'SALLYPORT_GOVERNANCE_FAILED' });
  t.equal(bench.sync.state.message, 'it failed; see the daemon log');
  await bench.fails(`\u001b[2J${'x'.repeat(600)}`);
  t.match(bench.sync.state.message, /^\?\[2Jx{496}\.\.\.$/);
});

t.test('it asks by itself, and stops when it is closed', async (t) => {
  const bench = new Bench(t);
  bench.intervalMs = 5;
  await bench.start();
  const twice = Promise.withResolvers<void>();
  let looks = 0;
  bench.says = async () => {
    if (++looks === 2) twice.resolve();
    return WORD;
  };
  const alive = setInterval(() => {}, 1_000); // The timer of the next look holds no process.
  await bench.sync.refresh();
  await twice.promise;
  clearInterval(alive);
  await bench.sync.close();
  const before = looks;
  await t.rejects(bench.sync.refresh(), { message: 'the daemon is stopping' });
  t.equal(looks, before);
});

t.test('grants end in time, though the source does not answer', async (t) => {
  const bench = new Bench(t);
  await bench.start();
  bench.says = async () => ({ ...WORD, expiresMs: bench.nowMs + 20 });
  await bench.sync.refresh();
  t.equal(bench.now, 'ok: rule_a rule_d');
  bench.nowMs += 20;
  const gate = Promise.withResolvers<Word>();
  bench.says = () => gate.promise;
  const asked = bench.sync.refresh();
  const alive = setInterval(() => {}, 1_000);
  await bench.ended;
  clearInterval(alive);
  t.equal(bench.now, 'unavailable: rule_d', 'while the look is still under way');
  gate.resolve(WORD);
  await asked;
  t.equal(bench.now, 'ok: rule_a rule_d');
});
