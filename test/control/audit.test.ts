import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Audit } from '../../src/control/audit.ts';
import { auditFiles } from '../../src/control/audit-files.ts';
import { outcomeOf, temporaryFolder } from '../helpers/control.ts';

type Line = { seq: number; time: string; host: string };

function linesOf(folder: string): Line[] {
  return auditFiles(folder).flatMap((path) => {
    const text = readFileSync(path, 'utf8');
    if (text !== '' && !text.endsWith('\n')) throw new Error(`${path} ends within a line`);
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line);
  });
}

const failing = (error: Error | null): void => {
  throw error ?? new Error('recovered without a failure');
};

t.test('a line for each outcome, with the facts and no slot', async (t) => {
  const folder = temporaryFolder(t);
  const audit = await Audit.open({ folder, onTrouble: failing });
  await audit.record([outcomeOf(), outcomeOf({ host: 'b.test', slot: 9 })]);
  const lines = linesOf(folder);
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
  const first = await Audit.open({ folder, onTrouble: failing });
  await first.record([outcomeOf(), outcomeOf()]);
  await first.close();
  const [path = ''] = auditFiles(folder);
  const whole = readFileSync(path);
  for (const torn of ['{"seq":3,"ti', '\0\0\0\0', 'garbage\n', '\0\n{"seq"', '{"seq":"x"}\n']) {
    writeFileSync(path, whole);
    appendFileSync(path, torn);
    const audit = await Audit.open({ folder, onTrouble: failing });
    await audit.record([outcomeOf()]);
    await audit.close();
    t.strictSame(
      linesOf(folder).map(({ seq }) => seq),
      [1, 2, 3],
      JSON.stringify(torn),
    );
  }
});

t.test('an empty newest file takes its number from its name', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'audit-000000000000041.jsonl'), '{"seq":41');
  const audit = await Audit.open({ folder, onTrouble: failing });
  await audit.record([outcomeOf()]);
  await audit.close();
  t.strictSame(
    linesOf(folder).map(({ seq }) => seq),
    [41],
  );
});

t.test('files are changed at their size, and only so many kept', async (t) => {
  const folder = temporaryFolder(t);
  const audit = await Audit.open({ folder, onTrouble: failing, fileBytesMax: 1_000, filesMax: 3 });
  for (let i = 0; i < 40; i++) await audit.record([outcomeOf()]);
  await audit.close();
  t.equal(auditFiles(folder).length, 3);
  const seqs = linesOf(folder).map(({ seq }) => seq);
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

t.test('a large batch is not held back for the flush', async (t) => {
  const folder = temporaryFolder(t);
  const audit = await Audit.open({ folder, onTrouble: failing });
  const many = Array.from({ length: 20_000 }, () => outcomeOf());
  await Promise.all([audit.record(many), audit.record(many)]);
  t.equal(linesOf(folder).length, 40_000);
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
      linesOf(folder).map(({ seq }) => seq),
      [1, 2],
    );
    t.equal(troubles.at(-1), null);
  },
);
