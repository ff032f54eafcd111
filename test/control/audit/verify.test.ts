// The chain and who follows it: src/control/audit/verify.ts, src/control/audit/chain.ts,
// src/control/audit/files.ts and src/cli/audit.ts. What nobody touched verifies, whatever the
// writer went through; what somebody touched does not.
import { createHash } from 'node:crypto';
import { appendFileSync, cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { Audit } from '../../../src/control/audit/audit.ts';
import { auditFiles } from '../../../src/control/audit/files.ts';
import { verifyAudit } from '../../../src/control/audit/verify.ts';
import { resolvePaths } from '../../../src/control/paths.ts';
import { say } from '../../cli/session.ts';
import { outcomeOf, PLAIN_AUDIT, temporaryEnv, temporaryFolder } from '../../helpers/control.ts';

const failing = (error: Error | null): void => {
  throw error ?? new Error('recovered without a failure');
};

/** Records `counts[i]` outcomes in the i-th life; each life but the last ends in a torn line. */
async function written(folder: string, counts: readonly number[]): Promise<void> {
  for (const [life, count] of counts.entries()) {
    const audit = await Audit.open({
      ...PLAIN_AUDIT,
      folder,
      onTrouble: failing,
      fileBytesMax: 3_000,
    });
    for (let i = 0; i < count; i++) await audit.record([outcomeOf({ host: `h${life}-${i}.test` })]);
    await audit.close();
    const last = auditFiles(folder).at(-1) ?? '';
    if (life < counts.length - 1) appendFileSync(last, '{"version":1,"seq":9');
  }
}

t.test('a chain holds over files, restarts and torn lines', async (t) => {
  const folder = temporaryFolder(t);
  await written(folder, [7, 0, 1, 9]);
  const files = auditFiles(folder);
  t.ok(files.length > 2, `${files.length} files`);
  const found = await verifyAudit([folder]);
  t.match(found, { ok: true, records: 17, first_seq: 1, last_seq: 17, incomplete_bytes: 0 });
  const last = readFileSync(files.at(-1) ?? '', 'utf8')
    .trimEnd()
    .split('\n')
    .at(-1);
  t.equal(found.head, createHash('sha256').update(`${last}\n`).digest('hex'));
  t.match(await verifyAudit(files.toReversed()), { ok: true, records: 17 }, 'in any order');
  t.match(await verifyAudit(files.slice(1)), { ok: true }, 'the oldest may have been deleted');
  t.match(await verifyAudit(files.slice(1, 2)), { ok: true }, 'one alone');
});

t.test('a chain goes on behind an empty file, which a death left at its change', async (t) => {
  const folder = temporaryFolder(t);
  await written(folder, [3]);
  writeFileSync(join(folder, 'audit-000000000000004.jsonl'), '');
  await written(folder, [2]);
  t.match(await verifyAudit([folder]), { ok: true, records: 5 });
});

t.test('a record that is being written is told of, and is no fault', async (t) => {
  const folder = temporaryFolder(t);
  await written(folder, [9]);
  const files = auditFiles(folder);
  appendFileSync(files.at(-1) ?? '', '{"vers');
  t.match(await verifyAudit([folder]), { ok: true, records: 9, incomplete_bytes: 6 });
  truncateSync(files[0] ?? '', readFileSync(files[0] ?? '').length - 1);
  t.match(await verifyAudit([folder]), {
    ok: false,
    broken: { file: files[0], problem: /before its line feed/ },
  });
});

type Place = { readonly file: string; readonly line: number };

/** All lines with where they are. */
function placesIn(folder: string): (Place & { text: string })[] {
  return auditFiles(folder).flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((text, i) => ({ file, line: i + 1, text })),
  );
}

/** Puts other lines in the place of one. */
function replaceLine({ file, line }: Place, ...instead: string[]): void {
  const lines = readFileSync(file, 'utf8').split('\n');
  lines.splice(line - 1, 1, ...instead);
  writeFileSync(file, lines.join('\n'));
}

type Line = Place & { readonly text: string };

/** What somebody may do to a record and the one behind it. */
const ACTS: Readonly<Record<string, (here: Line, next: Line, at: number) => void>> = {
  change: (here, _, at) => {
    const middle = at % here.text.length;
    const other = here.text[middle] === 'x' ? 'y' : 'x';
    replaceLine(here, here.text.slice(0, middle) + other + here.text.slice(middle + 1));
  },
  remove: (here) => replaceLine(here),
  repeat: (here) => replaceLine(here, here.text, here.text),
  swap: (here, next) => {
    replaceLine(next, here.text);
    replaceLine(here, next.text);
  },
};

t.test('whatever is changed, taken out, put in or swapped is found', async (t) => {
  const original = temporaryFolder(t);
  await written(original, [8, 6]);
  const count = placesIn(original).length;
  const copy = join(temporaryFolder(t), 'audit');
  const at = fc.nat(count - 2); // The last has nothing behind it that tells of it.
  const act = fc.constantFrom(...Object.keys(ACTS));
  await fc.assert(
    fc.asyncProperty(at, act, fc.nat(10_000), async (index, how, offset) => {
      rmSync(copy, { recursive: true, force: true });
      cpSync(original, copy, { recursive: true });
      const [here, next] = placesIn(copy).slice(index);
      if (here === undefined || next === undefined) return false;
      ACTS[how]?.(here, next, offset);
      const { ok, broken } = await verifyAudit([copy]);
      return !ok && broken !== null && broken.line > 0;
    }),
    { numRuns: 150 },
  );
});

t.test('whoever forges a record and the hash behind it is found one record later', async (t) => {
  const folder = temporaryFolder(t);
  await written(folder, [9]);
  const [, here, next] = placesIn(folder);
  if (here === undefined || next === undefined) throw new Error('too few lines');
  const forged = here.text.replace('.test', '.evil');
  const hash = createHash('sha256').update(`${forged}\n`).digest('hex');
  replaceLine(here, forged);
  replaceLine(next, next.text.replace(/"prev":"\w+"/, `"prev":"${hash}"`));
  t.match(await verifyAudit([folder]), { ok: false, broken: { seq: 3, line: next.line } });
});

t.test('a changed record is named by its file and line, on paper and as JSON', async (t) => {
  const env = temporaryEnv(t);
  const paths = resolvePaths(env);
  const world = { paths };
  t.match(await say(world, ['audit', 'verify']), { code: 2, err: /cannot be read/ });
  cpSync(temporaryFolder(t), paths.audit, { recursive: true });
  t.match(await say(world, ['audit', 'verify']), { code: 2, err: /holds no audit files/ });
  await written(paths.audit, [9]);
  const said = await say(world, ['audit', 'verify']);
  t.equal(said.code, 0, said.err);
  t.match(
    said.out,
    /^✓ The chain holds: records 1 to 9 \(9 in \d files\)\n {2}head: 9:[0-9a-f]{64}\n$/,
  );
  const place = placesIn(paths.audit)[4] ?? { file: '', line: 0, text: '' };
  replaceLine(place, place.text.replace('"verdict":"allow"', '"verdict":"deny"'));
  const broken = await say(world, ['audit', 'verify', '--json']);
  t.equal(broken.code, 1);
  t.match(JSON.parse(broken.out), {
    ok: false,
    records: 5,
    broken: { file: place.file, line: place.line, seq: 5 },
  });
  const told = await say(world, ['audit', 'verify', paths.audit]);
  t.equal(told.code, 1);
  t.match(told.out, `${basename(place.file)}:${place.line}: record 5 is broken`);
});
