// Filters of `policy log`: the sums and the live stream show the same of the same decisions. Covers
// src/cli/policy-log.ts, too.
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { Followers } from '../../../src/control/audit/follow.ts';
import { DecisionLog } from '../../../src/control/audit/log.ts';
import type { LogFilter } from '../../../src/control/audit/log-filter.ts';
import type { Outcome } from '../../../src/proxy/exchange.ts';
import { say } from '../../cli/session.ts';
import { outcomeOf, startWorld, temporaryFolder } from '../../helpers/control.ts';
import { wire } from '../../helpers/wire.ts';

const failing = (error: unknown): void => {
  throw error;
};

const MADE = '2d3c1f0e-4a73-4e05-bc9d-f2f9a4b50d67';
const NO_RULE = { rule: null, source: null, deny_kind: 'implicit', verdict: 'deny' } as const;

/** One host each, so that a host says which it is. */
const OUTCOMES: readonly Outcome[] = [
  outcomeOf({ host: 'preset.example.com', time_ms: 1_000 }),
  outcomeOf({ host: 'made.example.com', rule: MADE, port: 80, time_ms: 2_000 }),
  outcomeOf({ host: 'other-box.test', sandbox: 'other', time_ms: 3_000 }),
  outcomeOf({ ...NO_RULE, host: 'unknown.test', reason: 'why', time_ms: 4_000 }),
  outcomeOf({
    host: 'forbidden.test',
    verdict: 'deny',
    deny_kind: 'explicit',
    rule: MADE,
    time_ms: 5_000,
  }),
  // Refused for where its name led: not by the rule that allowed the name.
  outcomeOf({
    ...NO_RULE,
    host: 'inside.test',
    rule: MADE,
    reason: 'resolved-address',
    time_ms: 6_000,
  }),
  outcomeOf({ host: '2001:db8::7', time_ms: 7_000 }),
  outcomeOf({ host: '10.1.2.3', port: 22, time_ms: 8_000 }),
];
const MOUNT = { sandbox: 'box', mode: 'mount:read', place: '/data', verdict: 'allow' } as const;

const CASES: readonly (readonly [LogFilter, readonly string[]])[] = [
  [{ sandbox: 'other' }, ['other-box.test']],
  [{ type: 'filesystem' }, ['/data']],
  [{ decision: 'deny' }, ['forbidden.test', 'inside.test', 'unknown.test']],
  [{ host: 'preset.example.com' }, ['preset.example.com']],
  [{ host: '*.example.com' }, ['made.example.com', 'preset.example.com']],
  [{ host: '*.example.com:443' }, ['preset.example.com']],
  [{ host: 'unknown.test,[2001:db8::7]:443' }, ['2001:db8::7', 'unknown.test']],
  [{ host: '2001:db8::/32,10.0.0.0/8' }, ['10.1.2.3', '2001:db8::7']],
  [{ host: '10.1.2.3:443' }, []],
  [{ rule: MADE }, ['forbidden.test', 'made.example.com']],
  [{ rule: `local:${MADE}`, decision: 'allow' }, ['made.example.com']],
  [{ rule: 'default-deny' }, ['inside.test', 'unknown.test']],
  [{ rule: 'default-fs-read-allow-all' }, ['/data']],
  [
    { rule: 'default-allow-all', host: '**:443', sandbox: 'box' },
    ['2001:db8::7', 'preset.example.com'],
  ],
  [{ rule: 'no-such-rule' }, []],
];

function bare(place: string): string {
  return place.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}

async function followed(filter: LogFilter): Promise<string[]> {
  const followers = new Followers();
  const reader = followers.follow(filter);
  followers.publish(OUTCOMES);
  followers.tell({ ...MOUNT, time_ms: 9_000, rule: 'a, default-fs-read-allow-all', reason: null });
  followers.close();
  let text = '';
  for await (const piece of reader) text += String(piece);
  const lines = text.split('\n').filter(Boolean);
  return lines.map((line) => bare((JSON.parse(line) as { host: string }).host)).sort();
}

t.test('sums and live stream show what is asked for', async (t) => {
  const log = DecisionLog.open(join(temporaryFolder(t), 'log.db'), {
    clock: systemClock,
    onTrouble: failing,
    keepMs: Number.POSITIVE_INFINITY,
  });
  t.teardown(() => log.close());
  log.add(OUTCOMES);
  log.note({ ...MOUNT, time_ms: 9_000, rule: 'a, default-fs-read-allow-all', reason: null });
  const listed = (filter: LogFilter, limit = 0): string[] => {
    const { blocked_hosts: blocked, allowed_hosts: allowed } = log.list(filter, limit);
    return [...blocked, ...allowed].map(({ host }) => bare(host)).sort();
  };
  for (const [filter, hosts] of CASES) {
    t.strictSame(listed(filter), hosts, JSON.stringify(filter));
    t.strictSame(await followed(filter), hosts, `live: ${JSON.stringify(filter)}`);
  }
  t.strictSame(listed({ sinceMs: 8_000 }), ['/data', '10.1.2.3'], 'since');
  t.strictSame(listed({ decision: 'allow' }, 2), ['/data', '10.1.2.3'], 'the latest of those');
  for (const host of ['a b', 'http://a', '']) {
    t.throws(() => log.list({ host }, 0), { code: 'SALLYPORT_POLICY_INVALID' });
    t.throws(() => new Followers().follow({ host }), { code: 'SALLYPORT_POLICY_INVALID' });
  }
});

t.test('filters together show what each of them shows', async () => {
  const filters = CASES.map(([filter]) => filter);
  const all = await Promise.all(filters.map((filter) => followed(filter)));
  await fc.assert(
    fc.asyncProperty(fc.nat(filters.length - 1), fc.nat(filters.length - 1), async (i, j) => {
      const [one = {}, other = {}] = [filters[i], filters[j]];
      if (Object.keys(one).some((key) => key in other)) return true;
      const both = (all[i] ?? []).filter((host) => all[j]?.includes(host));
      return JSON.stringify(await followed({ ...one, ...other })) === JSON.stringify(both);
    }),
  );
});

t.test('on the command line', async (t) => {
  const world = await startWorld(t, { defaultSandbox: 'box', preset: 'deny-all' });
  const port = Number(world.instance.status().listen.split(':')[1]);
  for (const host of ['a.test', 'b.test']) {
    const client = await wire(port);
    client.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await client.response();
    client.socket.destroy();
  }
  const log = async (...words: string[]): Promise<string> => {
    const { code, out, err } = await say(world, ['policy', 'log', ...words]);
    if (code !== 0) throw new Error(err);
    return out;
  };
  while (!(await log()).includes('b.test')) {} // Outcomes come in batches.
  const one = await log(
    '--host',
    '*.test,c.test',
    '--rule',
    'default-deny',
    '--since',
    '5m',
    '--limit',
    '1',
  );
  t.match(one, 'b.test:80');
  t.notMatch(one, 'a.test:80');
  t.equal(await log('--decision', 'allow'), 'No policy log entries found\n');
  t.equal(await log('--host', 'c.test'), 'No policy log entries found\n');
  const json = JSON.parse(await log('--host', 'a.test', '--json'));
  t.match(json, { blocked_hosts: [{ host: 'a.test:80', count_since: 1 }], allowed_hosts: [] });
  t.match(await say(world, ['policy', 'log', '--since', 'yesterday']), { code: 1, err: /30m, 1h/ });
  t.match(await say(world, ['policy', 'log', '--host', 'a b']), { code: 1, err: /a b/ });
  t.match(await say(world, ['policy', 'log', '--since', '5m', '--follow']), { code: 1 });
});
