// What happened, under another policy: replayed under the one that decided it, nothing changes.
// Covers src/control/audit/read.ts and src/policy/probe.ts too.
import { appendFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { AUDIT_LINE_BYTES_MAX, REPLAY_ROWS_MAX } from '../../../src/base/limits.ts';
import { Audit } from '../../../src/control/audit/audit.ts';
import { auditFiles } from '../../../src/control/audit/files.ts';
import { type RecordedExchange, readAudit } from '../../../src/control/audit/read.ts';
import { Replay } from '../../../src/control/policy/replay.ts';
import { ScopeTable } from '../../../src/documents/document.ts';
import { isAddress } from '../../../src/policy/address.ts';
import { parseHttpMatch } from '../../../src/policy/http.ts';
import { isExplicitDeny, judgeAddresses, judgeTarget } from '../../../src/policy/judge.ts';
import { referenceMatcher } from '../../../src/policy/reference.ts';
import type { Rule } from '../../../src/policy/rule.ts';
import type { Outcome } from '../../../src/proxy/exchange.ts';
import { addresses, paths, questions, ruleLists } from '../../helpers/arbitraries.ts';
import { outcomeOf, PLAIN_AUDIT, temporaryFolder } from '../../helpers/control.ts';
import { rulesOf } from '../../helpers/rules.ts';

function recordOf(facts: Partial<RecordedExchange>): RecordedExchange {
  const { sandbox, mode, method, path, host, port, address, verdict, ...more } = outcomeOf();
  const { deny_kind, rule, reason, code } = more;
  const time = '2026-01-02T03:04:05.678Z';
  const asked = { sandbox, mode, method, path, host, port, address };
  return { seq: 1, time, ...asked, verdict, deny_kind, rule, reason, code, ...facts };
}

function replayOf(rules: readonly Rule[], records: readonly RecordedExchange[]): Replay {
  const scopes = new ScopeTable();
  scopes.numberOf('box'); // 1
  const replay = new Replay(referenceMatcher(rules), scopes, 'strict');
  for (const record of records) replay.add(record);
  return replay;
}

/** What enforcement would have put on record. */
function decided(
  rules: readonly Rule[],
  { host, port }: { host: string; port: number },
  asked: { method: string; path: string } | null,
  found: string,
): RecordedExchange {
  const matcher = referenceMatcher(rules);
  const question = { scope: 1, host, port, protocol: 'tcp' } as never;
  const request = asked === null ? undefined : { method: asked.method, target: asked.path };
  const verdict = judgeTarget(matcher, question, 'strict', request);
  const record = { host, port, method: 'CONNECT', ...asked, address: null };
  const isOpen = asked === null && verdict.http && !isExplicitDeny(verdict);
  if (isOpen) return recordOf({ ...record, mode: 'forward', verdict: 'allow' });
  const { action, rule, reason } = verdict;
  if (action === 'deny') return recordOf({ ...record, verdict: action, rule, reason });
  const { checked } = judgeAddresses(matcher, question, [found] as never, 'strict');
  const code = 'SALLYPORT_ADDRESS_FORBIDDEN';
  if (checked.length === 0) return recordOf({ ...record, verdict: 'deny', code });
  return recordOf({ ...record, verdict: 'allow', rule, address: found });
}

t.test('under the policy that decided, nothing changes; under another, what differs', async (t) => {
  const requests = fc.option(fc.record({ method: fc.constantFrom('GET', 'POST'), path: paths }));
  const asked = fc.array(fc.tuple(questions, requests, addresses), { minLength: 20 });
  let changes = 0;
  fc.assert(
    fc.property(ruleLists, ruleLists, asked, (rules, others, list) => {
      const about = list.map(
        ([{ host, port }, request, found]) =>
          [{ host, port }, request, isAddress(host) ? host : found] as const,
      );
      const records = about.map((one) => decided(rules, ...one));
      const same = replayOf(rules, records).counts;
      t.match(same, { newly_denied: 0, newly_allowed: 0 });
      const other = replayOf(others, records).counts;
      // Only what both say fully can be compared.
      const expected = about.flatMap((one, i) => {
        const [before, after] = [records[i], decided(others, ...one)];
        if (before === undefined) return [];
        const isOpen = before.mode === 'forward' || after.mode === 'forward';
        const isByAddress = [before, after].some(({ code }) => code !== null);
        return isOpen || isByAddress || before.verdict === after.verdict ? [] : [after.verdict];
      });
      changes += expected.length;
      t.ok(other.newly_denied >= expected.filter((verdict) => verdict === 'deny').length);
      t.ok(other.newly_allowed >= expected.filter((verdict) => verdict === 'allow').length);
      t.equal(same.replayed + same.passed_over, records.length);
    }),
    { numRuns: 100 },
  );
  t.ok(changes > 100, `${changes} changes`);
});

t.test('what is on record decides; what is not is told', async (t) => {
  const http = { http: parseHttpMatch(['GET'], ['/a/**']) };
  const seen = { mode: 'forward', method: 'GET', host: 'a.com' };
  const cases: [rules: Rule[], facts: Partial<RecordedExchange>, expected: string][] = [
    [rulesOf(), {}, 'deny: No matching allow rule'],
    [rulesOf(['allow', 'example.com']), {}, 'same'],
    [rulesOf(['allow', 'example.com']), { address: '10.0.0.1' }, 'deny: it leads to a private'],
    [rulesOf(['allow', 'example.com', { scope: 1 }]), {}, 'same'],
    [rulesOf(['allow', 'example.com', { scope: 1 }]), { sandbox: 'other' }, 'deny: No matching'],
    [
      rulesOf(['allow', '**'], ['deny', '8.8.8.8']),
      {},
      'deny: it leads to an address that rule r1',
    ],
    [rulesOf(['allow', 'example.com']), { verdict: 'deny' }, 'allow: null'],
    [rulesOf(['allow', 'example.com']), { verdict: 'none' }, 'same'],
    [rulesOf(), { mode: 'forward' }, 'same'],
    [rulesOf(['allow', 'example.com', http]), {}, 'null: HTTP rules cover it, and its requests'],
    [rulesOf(['allow', 'a.com', http]), { ...seen, path: '/a/b' }, 'same'],
    [rulesOf(['allow', 'a.com', http]), { ...seen, path: '/b' }, 'deny: No matching'],
    [
      rulesOf(['allow', 'a.com', http]),
      { ...seen, path: '/a/b\u2026' },
      'null: HTTP rules cover it, and its path was cut',
    ],
    [rulesOf(['allow', 'a.com']), { ...seen, path: '/a/b\u2026' }, 'same'],
    [rulesOf(['allow', 'a.com', http]), { ...seen, path: null }, 'null: HTTP rules cover it'],
    [
      rulesOf(['allow', 'example.com']),
      { verdict: 'deny', code: 'SALLYPORT_ADDRESS_FORBIDDEN', address: null },
      'null: it was refused for where its name led',
    ],
    [rulesOf(['allow', '[::1]:80']), { host: '::1', port: 80, address: '::1' }, 'same'],
    [rulesOf(), { host: 'a b' }, 'same'],
    [rulesOf(), { method: '' }, 'same'],
    [rulesOf(), { port: 0 }, 'same'],
  ];
  for (const [rules, facts, expected] of cases) {
    const { rows } = replayOf(rules, [recordOf({ path: null, address: '8.8.8.8', ...facts })]);
    const [told = 'same'] = rows.map(({ after, reason }) => `${after}: ${reason}`);
    t.match(told, new RegExp(`^${expected}`), JSON.stringify(facts));
  }
});

t.test('exchanges of one kind are one row, and rows are bounded', async (t) => {
  const one = recordOf({ seq: 7 });
  const { rows } = replayOf(rulesOf(), [one, { ...one, seq: 8 }, { ...one, sandbox: 'other' }]);
  t.match(rows, [
    { sandbox: 'box', target: 'example.com:443', before: 'allow', count: 2, first_seq: 7 },
    { sandbox: 'other', count: 1 },
  ]);
  const many = Array.from({ length: REPLAY_ROWS_MAX + 3 }, (_, i) =>
    recordOf({ host: `h${i}.com` }),
  );
  const replay = replayOf(rulesOf(), many);
  t.equal(replay.rows.length, REPLAY_ROWS_MAX);
  t.equal(replay.omitted, 3);
  t.equal(replay.counts.newly_denied, many.length);
});

async function written(folder: string, outcomes: readonly Outcome[]): Promise<void> {
  const audit = await Audit.open({
    ...PLAIN_AUDIT,
    folder,
    fileBytesMax: 2_000,
    onTrouble: () => {},
  });
  for (const outcome of outcomes) await audit.record([outcome]);
  await audit.close();
}

async function read(path: string, sinceMs = 0): Promise<RecordedExchange[]> {
  const records: RecordedExchange[] = [];
  for await (const record of readAudit([path], sinceMs)) records.push(record);
  return records;
}

t.test('the audit is read as it was written', async (t) => {
  const folder = temporaryFolder(t);
  const outcomes = Array.from({ length: 20 }, (_, i) =>
    outcomeOf({ host: `h${i}.test`, time_ms: 1_000 * i, path: i % 2 === 0 ? null : '/ü' }),
  );
  await written(folder, outcomes);
  t.ok(auditFiles(folder).length > 2);
  const records = await read(folder);
  t.strictSame(
    records.map(({ seq, host, path }) => [seq, host, path]),
    outcomes.map(({ host, path }, i) => [i + 1, host, path]),
  );
  t.equal((await read(folder, 15_000)).length, 5);
  const [first = '', ...others] = auditFiles(folder);
  for (const file of [first, ...others]) utimesSync(file, 10, 10);
  t.strictSame(await read(folder, 15_000), [], 'files that are older are not opened');

  const last = others.at(-1) ?? '';
  const before = (await read(last)).length;
  appendFileSync(last, '{"action_type":"policy_change"}\n{"version":1');
  t.equal((await read(last)).length, before, 'other records, and what is being written');
  const bad = join(folder, 'bad');
  for (const [text, fault] of [
    ['{"seq":1}\n', 'bad:1: this is no record: time: '],
    ['null\n', 'bad:1: this is no record'],
    ['x\n', 'bad:1: this is no record'],
    ['x'.repeat(AUDIT_LINE_BYTES_MAX + 1), 'bad: a line is too long'],
  ] as const) {
    writeFileSync(bad, text);
    await t.rejects(read(bad), { code: 'SALLYPORT_USAGE', message: new RegExp(fault) });
  }
  await t.rejects(read('/nonexistent'), { code: 'SALLYPORT_USAGE' });
});
