// How much of the audit is kept: whole files, the oldest go first, and never the one in use.
import { statSync, unlinkSync } from 'node:fs';
import { auditFiles } from './files.ts';

export type Keep = {
  /** Of all files together. */
  readonly bytes: number;
  /** Since the last record of a file; infinite for ever. */
  readonly ms: number;
};

/** Deletes what is more than may be kept. @throws what the system says */
export function deleteOld(folder: string, keep: Keep, nowMs: number): void {
  const files = auditFiles(folder).map((path) => ({ path, ...statSync(path) }));
  let bytes = files.reduce((sum, { size }) => sum + size, 0);
  for (const { path, size, mtimeMs } of files.slice(0, -1)) {
    if (bytes <= keep.bytes && nowMs - mtimeMs <= keep.ms) return;
    unlinkSync(path);
    bytes -= size;
  }
}

/** What there is at present. */
export function keptIn(folder: string): { files: number; bytes: number } {
  const files = auditFiles(folder);
  const sizes = files.map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  return { files: files.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}
