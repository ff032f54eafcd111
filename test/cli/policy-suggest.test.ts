// `policy suggest` typed, and what it prints put in force.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Audit } from '../../src/control/audit/audit.ts';
import type { Outcome } from '../../src/proxy/exchange.ts';
import {
  outcomeOf,
  PLAIN_AUDIT,
  startWorld,
  temporaryFolder,
  type World,
} from '../helpers/control.ts';
import { say } from './session.ts';

async function ok(world: World, ...words: string[]): Promise<string> {
  const { code, out, err } = await say(world, words);
  if (code !== 0) throw new Error(`${words.join(' ')}: ${err}`);
  return out;
}

/** An audit with these. @returns its folder */
async function audited(
  t: Parameters<typeof temporaryFolder>[0],
  ...facts: Partial<Outcome>[]
): Promise<string> {
  const folder = temporaryFolder(t);
  const audit = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: () => {} });
  await audit.record(facts.map((one) => outcomeOf(one)));
  await audit.close();
  return folder;
}

const denied = (host: string, more: Partial<Outcome> = {}): Partial<Outcome> => ({
  ...{ host, verdict: 'deny', deny_kind: 'implicit', rule: null, address: null },
  ...more,
});

t.test('what was denied, as a file that apply adds', async (t) => {
  const world = await startWorld(t);
  await ok(world, 'sandbox', 'add', 'box');
  await ok(world, 'policy', 'deny', 'network', 'ads.com');
  const log = await audited(
    t,
    denied('api.example.com'),
    denied('api.example.com', { port: 80 }),
    denied('ads.com'),
    denied('a.cdn.net', { time_ms: Date.now() }),
    denied('b.cdn.net', { time_ms: Date.now() }),
    denied('c.cdn.net', { time_ms: Date.now() }),
    denied('late.com', { sandbox: 'gone\n- allow: evil.com' }),
  );
  const suggest = ['policy', 'suggest', '--log', log];
  const out = await ok(world, ...suggest);
  const [head = '', body = ''] = out.split('\nversion: 1\n');
  t.match(
    head,
    '# 2 rules for 5 exchanges that were denied.\n# Read them, then: sbx policy apply --add FILE\n',
  );
  t.match(
    head,
    /# {3}ads\.com:443 \(box, once, last 2026-01-02T03:04Z\): rule \S+ denies it, and deny wins\n/,
  );
  t.match(head, 'late.com:443 (gone\\u{a}- allow: evil.com, once');
  t.equal(
    body.replace(/20\d\d-\d\d-\d\dT\d\d:\d\dZ/g, 'T'),
    `sandboxes:
  box:
    # api.example.com:443: api.example.com:443 (box, once, last T)
    # api.example.com:80: api.example.com:80 (box, once, last T)
    - allow:
        - api.example.com:443
        - api.example.com:80
    # *.cdn.net:443: a.cdn.net:443 (box, once, last T), b.cdn.net:443 (box, once, last T), c.cdn.net:443 (box, once, last T)
    - allow: "*.cdn.net:443"
`,
  );
  const file = join(temporaryFolder(t), 'p.yaml');
  writeFileSync(file, out);
  await ok(world, 'policy', 'apply', '--add', file);
  await ok(world, 'policy', 'check', 'network', '--sandbox', 'box', 'c.cdn.net');
  t.match(await ok(world, ...suggest), '# 0 rules for 0 exchanges');

  const since = JSON.parse(await ok(world, ...suggest, '--since', '1h', '--json'));
  t.match(since, { mode: 'add', document: { version: 1 }, suggested: [], refused: [] });
  const all = JSON.parse(await ok(world, ...suggest, '--json', '--global', '--collapse', '0'));
  t.match(all, {
    suggested: [
      { scope: 'global', resources: [{ resource: 'late.com:443', seen: [{ count: 1 }] }] },
    ],
    refused: [{ target: 'ads.com:443', sandbox: 'box' }],
    omitted: 0,
  });
});

t.test('under allow-all, what was let pass, as a policy of its own', async (t) => {
  const world = await startWorld(t, { preset: 'allow-all' });
  await ok(world, 'sandbox', 'add', 'box');
  await ok(world, 'policy', 'allow', 'network', 'kept.com');
  const log = await audited(t, { host: 'used.com' }, { host: 'kept.com' }, { host: '10.1.2.3' });
  const out = await ok(world, 'policy', 'suggest', '--log', log);
  t.match(
    out,
    '# 2 rules for 2 exchanges that were let pass by **.\n# Read them, then: sbx policy apply FILE\n',
  );
  const file = join(temporaryFolder(t), 'p.yaml');
  writeFileSync(file, out);
  const applied = await ok(world, 'policy', 'apply', file);
  t.match(applied, 'preset: allow-all -> deny-all\n');
  const check = async (target: string): Promise<number> =>
    (await say(world, ['policy', 'check', 'network', '--sandbox', 'box', target])).code;
  t.strictSame(
    await Promise.all(['used.com', 'kept.com', '10.1.2.3', 'other.com'].map(check)),
    [0, 0, 0, 1],
  );
});

t.test('the audit of the daemon itself is the default', async (t) => {
  const world = await startWorld(t);
  const { code, err } = await say(world, ['policy', 'suggest', '--sandbox', 'box']);
  t.equal(code, 0, err);
  const bad = await say(world, ['policy', 'suggest', '--collapse', 'x']);
  t.equal(bad.code, 1);
});
