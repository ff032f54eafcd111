// The options of `daemon start` that concern the audit. What they may be is in control/settings/keys.ts.
import { type Command, Option } from 'commander';
import { AUDIT_FORMATS, AUDIT_MODES } from '../control/audit/settings.ts';

export function withAuditOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--audit <mode>',
        'while records cannot be written: refuse requests (required), or go on (best-effort)',
      ).choices([...AUDIT_MODES]),
    )
    .addOption(
      new Option('--audit-format <format>', 'how records are written (default sallyport)').choices([
        ...AUDIT_FORMATS,
      ]),
    )
    .option('--audit-key <file>', 'Ed25519 private key, PEM, that signs checkpoints of the audit')
    .option('--audit-keep-age <age>', 'delete records that are older (default 90d; or forever)')
    .option('--audit-keep-size <size>', 'delete the oldest records beyond this (default 2GiB)');
}

/** As commander names them, and the settings that they are. */
export const AUDIT_SETTINGS = {
  audit: 'audit.mode',
  auditFormat: 'audit.format',
  auditKey: 'audit.key',
  auditKeepAge: 'audit.keepAge',
  auditKeepSize: 'audit.keepSize',
} as const;
