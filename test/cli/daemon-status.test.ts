// Covers src/control/audit/records-status.ts, too.
import { mkdirSync, rmSync } from 'node:fs';
import t from 'tap';
import { AUDIT_DEFAULTS } from '../../src/control/audit/settings.ts';
import { startWorld } from '../helpers/control.ts';
import { say } from './session.ts';

t.test('what is kept of records and rows is told', async (t) => {
  const keep = { bytes: 300 * 2 ** 20, ms: 36 * 3_600_000 };
  const options = { audit: { ...AUDIT_DEFAULTS, keep }, logKeepMs: 7 * 86_400_000 };
  const world = await startWorld(t, options);
  const { out } = await say(world, ['daemon', 'status']);
  t.match(out, `Audit:  ${world.paths.audit} (required; 0 of 300 MiB; kept 36 hours)\n`);
  t.match(out, 'Rows:   100000 in policy log, kept 7 days\n');
  const json = JSON.parse((await say(world, ['daemon', 'status', '--json'])).out);
  t.match(json, {
    audit_keep_bytes: keep.bytes,
    audit_keep_ms: keep.ms,
    audit_problem: null,
    log_keep_ms: 7 * 86_400_000,
    log_rows_max: 100_000,
  });
  t.type(json.audit_bytes, 'number');
});

t.test('for ever, and a folder that is gone', async (t) => {
  const keep = { bytes: 2 ** 31, ms: Number.POSITIVE_INFINITY };
  const world = await startWorld(t, { audit: { ...AUDIT_DEFAULTS, keep } });
  rmSync(world.paths.audit, { recursive: true });
  const { out, code } = await say(world, ['daemon', 'status']);
  t.equal(code, 0);
  t.match(out, '(required; 0 of 2048 MiB; kept for ever)\n');
  t.match(out, 'Rows:   100000 in policy log, kept for ever\n');
  mkdirSync(world.paths.audit);
});
