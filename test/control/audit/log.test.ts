import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { DecisionLog } from '../../../src/control/audit/log.ts';
import { outcomeOf, temporaryFolder } from '../../helpers/control.ts';

const failing = (error: unknown): void => {
  throw error;
};

const OPTIONS = {
  clock: systemClock,
  onTrouble: failing,
  keepMs: Number.POSITIVE_INFINITY,
};

t.test('one row for each destination, with when and how often', async (t) => {
  const path = join(temporaryFolder(t), 'log.db');
  const log = DecisionLog.open(path, OPTIONS);
  const atMs = Date.UTC(2026, 5, 1);
  const denied = { verdict: 'deny', deny_kind: 'implicit', rule: null, source: null } as const;
  const reason = 'No matching allow rule (default deny)';
  log.add([
    outcomeOf({ time_ms: atMs + 5 }),
    outcomeOf({ time_ms: atMs }),
    outcomeOf({ ...denied, host: '2001:db8::1', reason, code: 'SALLYPORT_DENIED', time_ms: atMs }),
    outcomeOf({ verdict: 'none', host: 'never-judged.test' }),
  ]);
  log.flush();
  log.add([outcomeOf({ time_ms: atMs + 9 })]);
  log.close();
  const again = DecisionLog.open(path, OPTIONS);
  t.teardown(() => again.close());
  t.strictSame(again.list({ type: 'network' }, 0), {
    blocked_hosts: [
      {
        host: '[2001:db8::1]:443',
        type: 'network',
        vm_name: 'box',
        proxy_type: 'forward-bypass',
        rule: 'no applicable policies for op(action=net:connect:tcp, resource=net:ip:[2001:db8::1]:443)',
        reason,
        last_seen: '2026-06-01T00:00:00.000Z',
        since: '2026-06-01T00:00:00.000Z',
        count_since: 1,
      },
    ],
    allowed_hosts: [
      {
        host: 'example.com:443',
        type: 'network',
        vm_name: 'box',
        proxy_type: 'forward-bypass',
        rule: 'default-allow-all',
        last_seen: '2026-06-01T00:00:00.009Z',
        since: '2026-06-01T00:00:00.000Z',
        count_since: 3,
      },
    ],
  });
});

t.test('mounts are rows of a type of their own', async (t) => {
  const log = DecisionLog.open(join(temporaryFolder(t), 'log.db'), OPTIONS);
  t.teardown(() => log.close());
  const mount = {
    time_ms: 1_000.5,
    sandbox: 'box',
    mode: 'mount:write',
    place: '/data/x',
    verdict: 'deny',
    rule: 'no applicable policies',
    reason: 'why',
  } as const;
  log.add([outcomeOf()]);
  log.note(mount);
  log.note({ ...mount, time_ms: 2_000 });
  log.note({ ...mount, verdict: 'allow', reason: null });
  t.match(log.list({ type: 'network' }, 0), {
    blocked_hosts: { length: 0 },
    allowed_hosts: { length: 1 },
  });
  const mounts = log.list({ sandbox: 'box', type: 'filesystem' }, 0);
  t.match(mounts, {
    blocked_hosts: [
      { host: '/data/x', type: 'filesystem', proxy_type: 'mount:write', count_since: 2 },
    ],
    allowed_hosts: [{ host: '/data/x', count_since: 1 }],
  });
  t.equal(log.list({}, 0).allowed_hosts.length, 2);
});

t.test('rows name the rule and why', async (t) => {
  const log = DecisionLog.open(join(temporaryFolder(t), 'log.db'), OPTIONS);
  t.teardown(() => log.close());
  const rule = '2d3c1f0e-4a73-4e05-bc9d-f2f9a4b50d67';
  log.add([
    outcomeOf({ verdict: 'deny', deny_kind: 'explicit', rule, reason: 'Denied by local rule' }),
    // Refused for its address: the rule that allowed the name is not the one that refused.
    outcomeOf({
      verdict: 'deny',
      deny_kind: 'implicit',
      rule,
      reason: 'resolved-address',
      host: 'x',
    }),
    outcomeOf({ rule, code: 'SALLYPORT_UPSTREAM_TIMEOUT' }),
    outcomeOf({ rule, code: 'SALLYPORT_CLIENT_CLOSED', host: 'y' }),
    outcomeOf({ rule, bypass: '*.test', host: 'z.test' }),
    outcomeOf({ rule, bypass: '*.test', host: 'down.test', code: 'SALLYPORT_DNS_FAILED' }),
  ]);
  const { blocked_hosts: blocked, allowed_hosts: allowed } = log.list({ type: 'network' }, 0);
  const operation = 'op(action=net:connect:tcp, resource=net:domain:';
  t.strictSame(blocked.map(({ rule }) => rule).sort(), [
    `denied: rule "local:${rule}" matched ${operation}example.com:443)`,
    `no applicable policies for ${operation}x:443)`,
  ]);
  t.ok(allowed.every((row) => row.rule === `local:${rule}`));
  t.strictSame(Object.fromEntries(allowed.map(({ host, reason }) => [host, reason])), {
    'example.com:443': 'SALLYPORT_UPSTREAM_TIMEOUT',
    'y:443': undefined,
    'z.test:443': 'on the bypass list: *.test',
    'down.test:443': 'SALLYPORT_DNS_FAILED',
  });
});

t.test('lists one sandbox, and the latest', async (t) => {
  const log = DecisionLog.open(join(temporaryFolder(t), 'log.db'), OPTIONS);
  t.teardown(() => log.close());
  for (const n of [1, 2, 3])
    log.add([outcomeOf({ host: `h${n}`, time_ms: n, sandbox: `s${n % 2}` })]);
  t.strictSame(
    log.list({}, 2).allowed_hosts.map(({ host }) => host),
    ['h3:443', 'h2:443'],
  );
  t.strictSame(
    log.list({ sandbox: 's1' }, 0).allowed_hosts.map(({ host }) => host),
    ['h3:443', 'h1:443'],
  );
  log.clear();
  t.strictSame(log.list({ type: 'network' }, 0).allowed_hosts, []);
});

t.test('holds no more than its rows, the oldest leave', async (t) => {
  const log = DecisionLog.open(join(temporaryFolder(t), 'log.db'), { ...OPTIONS, rowsMax: 100 });
  t.teardown(() => log.close());
  for (let n = 0; n < 1_000; n++) log.add([outcomeOf({ host: `h${n}`, time_ms: n })]);
  const { allowed_hosts: rows } = log.list({ type: 'network' }, 0);
  t.ok(rows.length <= 100 && rows.length >= 80, `${rows.length} rows`);
  t.equal(rows[0]?.host, 'h999:443');
});

t.test('on a full disk what is there can be read, and the daemon can end', async (t) => {
  const path = join(temporaryFolder(t), 'log.db');
  const troubles: unknown[] = [];
  const log = DecisionLog.open(path, { ...OPTIONS, onTrouble: (error) => troubles.push(error) });
  log.add([outcomeOf({ host: 'old.test' })]);
  log.flush();
  const disk = new DatabaseSync(path);
  t.teardown(() => disk.close());
  disk.exec("CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'disk full'); END");
  log.add([outcomeOf({ host: 'new.test' })]);
  t.match(log.list({}, 0).allowed_hosts, [{ host: 'old.test:443' }]);
  log.close();
  t.match(troubles, [{ message: 'disk full' }, { message: 'disk full' }]);
});

t.test('a damaged log is put aside', async (t) => {
  const path = join(temporaryFolder(t), 'log.db');
  writeFileSync(path, 'this is no database at all, whatever it may be called '.repeat(100));
  const troubles: unknown[] = [];
  const log = DecisionLog.open(path, {
    ...OPTIONS,
    onTrouble: (error) => troubles.push(error),
  });
  t.teardown(() => log.close());
  t.match(troubles, [{ code: 'SALLYPORT_STORE_CORRUPT' }]);
  log.add([outcomeOf()]);
  t.equal(log.list({ type: 'network' }, 0).allowed_hosts.length, 1);
});

t.test('rows that were not seen for long are forgotten, by hand and by themselves', async (t) => {
  const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
  let nowMs = 100_000_000_000;
  const path = join(temporaryFolder(t), 'log.db');
  const options = { ...OPTIONS, clock, keepMs: 86_400_000 };
  const log = DecisionLog.open(path, options);
  const hosts = (from: DecisionLog): string[] =>
    from.list({}, 0).allowed_hosts.map(({ host }) => host);
  log.add([outcomeOf({ host: 'old.test', time_ms: nowMs })]);
  log.add([outcomeOf({ host: 'again.test', time_ms: nowMs })]);
  log.flush();
  nowMs += 80_000_000;
  log.add([outcomeOf({ host: 'again.test', time_ms: nowMs })]);
  t.strictSame(hosts(log), ['again.test:443', 'old.test:443']);
  nowMs += 80_000_000;
  t.strictSame(hosts(log), ['again.test:443'], 'not shown any more');
  log.add([outcomeOf({ host: 'new.test', time_ms: nowMs })]);
  log.close();
  const all = DecisionLog.open(path, { ...options, keepMs: Number.POSITIVE_INFINITY });
  t.strictSame(hosts(all), ['new.test:443', 'again.test:443'], 'and gone');
  all.close();
});
