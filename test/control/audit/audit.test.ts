import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { mock } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { AUDIT_CHECKPOINT_MS, AUDIT_FLUSH_MS, AUDIT_STALL_MS } from '../../../src/base/limits.ts';
import { Audit } from '../../../src/control/audit/audit.ts';
import { auditFiles } from '../../../src/control/audit/files.ts';
import { keptIn } from '../../../src/control/audit/retention.ts';
import type { AuditMode } from '../../../src/control/audit/settings.ts';
import { verifyAudit } from '../../../src/control/audit/verify.ts';
import { recordsIn } from '../../helpers/audit.ts';
import { outcomeOf, PLAIN_AUDIT, temporaryFolder } from '../../helpers/control.ts';

type Line = { seq: number; time: string; host: string };

const HOUR_MS = 3_600_000;

const failing = (error: Error | null): void => {
  throw error ?? new Error('recovered without a failure');
};

t.test('a line for each outcome, with the facts and no slot', async (t) => {
  const folder = temporaryFolder(t);
  const audit = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: failing });
  await audit.record([outcomeOf(), outcomeOf({ host: 'b.test', slot: 9 })]);
  const lines = recordsIn<Line>(folder);
  t.strictSame(
    lines.map(({ seq, host }) => [seq, host]),
    [
      [1, 'example.com'],
      [2, 'b.test'],
    ],
  );
  const { slot: _slot, time_ms: _time, ...facts } = outcomeOf();
  t.strictSame(lines[0], {
    version: 1,
    seq: 1,
    time: '2026-01-02T03:04:05.678Z',
    action_type: 'network_egress',
    ...facts,
    prev: '0'.repeat(64),
  });
  t.equal(statSync(auditFiles(folder)[0] ?? '').mode & 0o777, 0o600);
  await audit.close();
});

t.test('numbers go on after a restart, and what death left of a line is cut off', async (t) => {
  const folder = temporaryFolder(t);
  const first = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: failing });
  await first.record([outcomeOf(), outcomeOf()]);
  await first.close();
  const [path = ''] = auditFiles(folder);
  const whole = readFileSync(path);
  for (const torn of ['{"seq":3,"ti', '\0\0\0\0', 'garbage\n', '\0\n{"seq"', '{"seq":"x"}\n']) {
    writeFileSync(path, whole);
    appendFileSync(path, torn);
    const audit = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: failing });
    await audit.record([outcomeOf()]);
    await audit.close();
    t.strictSame(
      recordsIn<Line>(folder).map(({ seq }) => seq),
      [1, 2, 3],
      JSON.stringify(torn),
    );
  }
});

t.test('an empty newest file takes its number from its name', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'audit-000000000000041.jsonl'), '{"seq":41');
  const audit = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: failing });
  await audit.record([outcomeOf()]);
  await audit.close();
  t.strictSame(
    recordsIn<Line>(folder).map(({ seq }) => seq),
    [41],
  );
});

t.test('files are changed at their size, and only so much is kept', async (t) => {
  const folder = temporaryFolder(t);
  const keep = { bytes: 6_000, ms: Number.POSITIVE_INFINITY };
  const options = { ...PLAIN_AUDIT, keep, folder, onTrouble: failing, fileBytesMax: 1_000 };
  const audit = await Audit.open(options);
  for (let i = 0; i < 40; i++) await audit.record([outcomeOf()]);
  await audit.close();
  const { files, bytes } = keptIn(folder);
  t.ok(files > 1 && bytes <= 6_000 && bytes > 4_000, `${files} files, ${bytes} bytes`);
  const seqs = recordsIn<Line>(folder).map(({ seq }) => seq);
  t.equal(seqs.at(-1), 40);
  t.ok(
    seqs.every((seq, i) => i === 0 || seq === (seqs[i - 1] ?? 0) + 1),
    'without a gap',
  );
  for (const path of auditFiles(folder)) {
    const first = JSON.parse(readFileSync(path, 'utf8').split('\n', 1)[0] ?? '') as Line;
    t.match(path, String(first.seq).padStart(15, '0'));
  }
});

t.test('records go when they are old, a file at a time, and the chain holds', async (t) => {
  const folder = temporaryFolder(t);
  let nowMs = Date.now();
  const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
  const options = {
    ...PLAIN_AUDIT,
    clock,
    folder,
    keep: { bytes: 1e9, ms: 3 * HOUR_MS },
    fileMsMax: HOUR_MS,
    onTrouble: failing,
  };
  /** Files get their times from the system's clock, which is not ours. */
  const write = async (audit: Audit): Promise<void> => {
    await audit.record([outcomeOf({ time_ms: nowMs })]);
    const path = auditFiles(folder).at(-1) ?? '';
    utimesSync(path, nowMs / 1_000, nowMs / 1_000);
  };
  const first = await Audit.open(options);
  await write(first);
  await write(first);
  nowMs += HOUR_MS - 1;
  await first.close();
  const second = await Audit.open(options);
  await write(second);
  t.equal(auditFiles(folder).length, 1, 'a restart makes no new file');
  for (let hour = 0; hour < 5; hour++) {
    nowMs += HOUR_MS;
    await write(second);
  }
  await second.close();
  t.strictSame(
    recordsIn<Line>(folder).map(({ seq }) => seq),
    [5, 6, 7, 8],
  );
  t.match(await verifyAudit([folder]), { ok: true, first_seq: 5 });
});

t.test('a large batch is not held back for the flush', async (t) => {
  const folder = temporaryFolder(t);
  const audit = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: failing });
  const many = Array.from({ length: 20_000 }, () => outcomeOf());
  await Promise.all([audit.record(many), audit.record(many)]);
  t.equal(recordsIn<Line>(folder).length, 40_000);
  await audit.close();
});

t.test(
  'while the disk refuses nothing is acknowledged, and afterwards nothing is missing',
  async (t) => {
    const folder = temporaryFolder(t);
    const troubles: (Error | null)[] = [];
    const recovered = Promise.withResolvers<void>();
    const failed = Promise.withResolvers<void>();
    const audit = await Audit.open({
      ...PLAIN_AUDIT,
      folder,
      fileBytesMax: 1,
      onTrouble: (error) => {
        troubles.push(error);
        if (error === null) recovered.resolve();
        else failed.resolve();
      },
    });
    await audit.record([outcomeOf()]);
    // The next file cannot be made: its place is taken by a folder.
    const blocked = join(folder, 'audit-000000000000002.jsonl');
    mkdirSync(blocked);
    let acknowledged = false;
    const recording = audit.record([outcomeOf()]).then(() => {
      acknowledged = true;
    });
    await failed.promise;
    t.notOk(acknowledged);
    rmdirSync(blocked);
    await recovered.promise;
    await recording;
    await audit.close();
    t.strictSame(
      recordsIn<Line>(folder).map(({ seq }) => seq),
      [1, 2],
    );
    t.equal(troubles.at(-1), null);
  },
);

/** Makes the next file's place a folder, so that nothing can be written until that is gone. */
function block(folder: string, seq: number): () => void {
  const place = join(folder, `audit-${String(seq).padStart(15, '0')}.jsonl`);
  mkdirSync(place);
  return () => rmdirSync(place);
}

type Blocked = {
  readonly folder: string;
  readonly audit: Audit;
  readonly available: boolean[];
  readonly failed: Promise<void>;
  readonly recovered: Promise<void>;
};

/** An audit that fails with its second write. */
async function blocked(t: Test, mode: AuditMode): Promise<Blocked & { unblock: () => void }> {
  const folder = temporaryFolder(t);
  const failed = Promise.withResolvers<void>();
  const recovered = Promise.withResolvers<void>();
  const onTrouble = (error: Error | null): void => (error ? failed : recovered).resolve();
  const audit = await Audit.open({ ...PLAIN_AUDIT, mode, folder, fileBytesMax: 1, onTrouble });
  const available: boolean[] = [];
  audit.onAvailable = (is) => available.push(is);
  await audit.record([outcomeOf()]);
  const unblock = block(folder, 2);
  return {
    folder,
    audit,
    available,
    failed: failed.promise,
    recovered: recovered.promise,
    unblock,
  };
}

t.test('required: exchanges are held, and those that were refused are on record', async (t) => {
  const { folder, audit, available, failed, recovered, unblock } = await blocked(t, 'required');
  const waiting = audit.record([outcomeOf({ host: 'waits.test' })]);
  await failed;
  t.strictSame(available, [false]);
  t.notOk(audit.available);
  t.match(audit.status, { mode: 'required', problem: /EISDIR/, lost: 0 });
  audit.refused(2, 'SALLYPORT_AUDIT_UNAVAILABLE', 1_000, 2_000);
  audit.refused(3, 'SALLYPORT_AUDIT_UNAVAILABLE', 500, 1_500);
  unblock();
  await Promise.all([recovered, waiting]);
  t.strictSame(available, [false, true]);
  await audit.close();
  t.match(audit.status, { problem: null, lost: 0, refused: 5 });
  t.match(recordsIn<Line>(folder), [
    { seq: 1 },
    { seq: 2, host: 'waits.test' },
    {
      seq: 3,
      action_type: 'gap',
      what: 'refused',
      count: 5,
      from: '1970-01-01T00:00:00.500Z',
      to: '1970-01-01T00:00:02.000Z',
      code: 'SALLYPORT_AUDIT_UNAVAILABLE',
    },
  ]);
  t.match(await verifyAudit([folder]), { ok: true, records: 3 });
});

t.test('best effort: nobody waits, and what could not be kept is counted', async (t) => {
  const { folder, audit, available, failed, recovered, unblock } = await blocked(t, 'best-effort');
  await audit.record([outcomeOf({ host: 'second.test' })]);
  await failed;
  t.strictSame(available, [true], 'exchanges go on');
  const reason = 'r'.repeat(10_000); // So that fewer of them fill what is kept.
  const many = Array.from({ length: 100 }, (_, i) => outcomeOf({ reason, time_ms: 5_000 + i }));
  for (let i = 0; i < 20; i++) await audit.record(many);
  const { lost } = audit.status;
  t.ok(lost > 0 && lost < 2_000, `${lost} lost`);
  unblock();
  await recovered;
  await audit.close();
  const lines = recordsIn<Line>(folder);
  const gaps = lines.filter((line) => 'count' in line);
  t.match(gaps, [{ what: 'lost', count: lost, reason: /EISDIR/, to: '1970-01-01T00:00:05.099Z' }]);
  t.equal(lines.length - gaps.length + lost, 2_002, 'each is there, or counted');
  t.match(await verifyAudit([folder]), { ok: true });
});

t.test('a disk that says nothing while a file is begun is noticed', async (t) => {
  const folder = temporaryFolder(t);
  const state = { nowMs: Date.UTC(2026, 0, 2) };
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const troubles: (string | null)[] = [];
  const audit = await Audit.open({
    ...PLAIN_AUDIT,
    folder,
    clock: { wallMs: () => state.nowMs, monotonicMs: () => state.nowMs },
    fileMsMax: HOUR_MS,
    onTrouble: (error) => troubles.push(error?.message ?? null),
  });
  const first = audit.record([outcomeOf()]);
  mock.timers.tick(AUDIT_FLUSH_MS);
  await first;
  const next = join(folder, 'audit-000000000000002.jsonl');
  execFileSync('mkfifo', [next]); // To open it for writing hangs until somebody reads.
  state.nowMs += 2 * HOUR_MS;
  mock.timers.tick(AUDIT_CHECKPOINT_MS);
  mock.timers.tick(AUDIT_STALL_MS);
  t.notOk(audit.available, 'nothing begins');
  t.match(troubles, [/has not answered/]);
  const reader = openSync(next, constants.O_RDONLY | constants.O_NONBLOCK);
  t.teardown(() => closeSync(reader));
  while (!audit.available) await setImmediate();
  t.match(troubles, [/has not answered/, null]);
});

t.test('a daemon that ends does not wait for the disk for ever', async (t) => {
  const { folder, audit, failed, unblock } = await blocked(t, 'required');
  const waiting = audit.record([outcomeOf(), outcomeOf()]);
  await failed;
  audit.endIn(0);
  await waiting;
  t.match(audit.status, { lost: 2 });
  await audit.close();
  unblock();
  const next = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: failing });
  await next.record([outcomeOf()]);
  await next.close();
  t.match(
    await verifyAudit([folder]),
    { ok: true, records: 2 },
    'the next goes on behind the last',
  );
});

t.test('a file that others deleted or wrote to is left, and the numbers tell', async (t) => {
  const folder = temporaryFolder(t);
  const audit = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: failing });
  await audit.record([outcomeOf()]);
  rmSync(folder, { recursive: true });
  await audit.record([outcomeOf()]);
  const [second = ''] = auditFiles(folder);
  t.match(recordsIn<Line>(folder), [{ seq: 2 }]);
  appendFileSync(second, '{"seq":3,"forged":true}\n');
  await audit.record([outcomeOf()]);
  await audit.close();
  t.equal(auditFiles(folder).length, 2);
  t.match(await verifyAudit([folder]), { ok: false, broken: { file: second, line: 2 } });
});

t.test('a session is on record, and how the last one ended', async (t) => {
  const folder = temporaryFolder(t);
  const live = async (): Promise<void> => {
    const audit = await Audit.open({ ...PLAIN_AUDIT, folder, onTrouble: failing });
    audit.announce();
    await audit.close();
  };
  await live();
  appendFileSync(auditFiles(folder)[0] ?? '', '{"torn');
  await live();
  t.match(recordsIn<Line>(folder), [
    { seq: 1, event: 'start', app_version: '1.2.3', cut_bytes: 0 },
    { seq: 2, event: 'stop' },
    { seq: 3, event: 'start', cut_bytes: 6 },
    { seq: 4, event: 'stop' },
  ]);
});
