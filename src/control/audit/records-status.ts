// What `daemon status` tells of the audit and the log: whether all is recorded, and how much is kept.
import { LOG_ROWS_MAX } from '../../base/limits.ts';
import type { DaemonStatus } from '../api/services.ts';
import type { Audit } from './audit.ts';
import { keptIn } from './retention.ts';
import type { AuditSettings } from './settings.ts';

type RecordsStatus = {
  readonly [Field in keyof DaemonStatus as Field extends `audit_${string}` | `log_${string}`
    ? Field
    : never]: DaemonStatus[Field];
};

/** @param folder  of the audit */
export function recordsStatus(
  audit: Audit,
  folder: string,
  { audit: { keep }, logKeepMs }: { readonly audit: AuditSettings; readonly logKeepMs: number },
): RecordsStatus {
  const { mode, problem, lost, refused } = audit.status;
  return {
    audit_mode: mode,
    audit_bytes: bytesIn(folder),
    audit_keep_bytes: keep.bytes,
    audit_keep_ms: finite(keep.ms),
    audit_problem: problem,
    audit_lost: lost,
    audit_refused: refused,
    log_keep_ms: finite(logKeepMs),
    log_rows_max: LOG_ROWS_MAX,
  };
}

function bytesIn(folder: string): number {
  try {
    return keptIn(folder).bytes;
  } catch {
    return 0; // The folder is gone; `audit_problem` tells once something is to be written.
  }
}

/** JSON knows no infinity. */
function finite(ms: number): number | null {
  return Number.isFinite(ms) ? ms : null;
}
