// What an operator chooses of the audit.
import { AUDIT_KEEP_BYTES, AUDIT_KEEP_MS } from '../../base/limits.ts';
import { ocsfFormat } from './ocsf.ts';
import { NATIVE, type Program, type RecordFormat } from './record.ts';
import type { Keep } from './retention.ts';
import { sbxFormat } from './sbx.ts';

export const AUDIT_MODES = ['required', 'best-effort'] as const;
export const AUDIT_FORMATS = ['sallyport', 'ocsf', 'sbx'] as const;
export type AuditFormat = (typeof AUDIT_FORMATS)[number];

export type AuditMode = (typeof AUDIT_MODES)[number];

export const FORMATS: Readonly<
  Record<AuditFormat, (program: Program, session: string) => RecordFormat>
> = { sallyport: () => NATIVE, ocsf: ocsfFormat, sbx: sbxFormat };

/** What an operator chooses. */
export type AuditSettings = {
  /** Whether exchanges may take place that cannot be recorded. */
  readonly mode: AuditMode;
  /** How records are written; see docs/audit.md. */
  readonly format: AuditFormat;
  /** PEM of the Ed25519 key that signs checkpoints; null: there are none. */
  readonly key: string | null;
  readonly keep: Keep;
};

export const AUDIT_DEFAULTS: AuditSettings = {
  mode: 'required',
  format: 'sallyport',
  key: null,
  keep: { bytes: AUDIT_KEEP_BYTES, ms: AUDIT_KEEP_MS },
};
