// `daemon status`: is it running, where, and with what.
import type { DaemonStatus } from '../control/api/services.ts';
import { type Context, clientFor, isRunning, printJson } from './context.ts';

export async function status(context: Context, json: boolean): Promise<void> {
  const client = clientFor(context);
  try {
    if (!(await isRunning(client))) {
      if (json) printJson(context, { status: 'stopped', socket: context.paths.socket });
      else context.out(`Status: stopped\nStart it with: ${context.program} daemon start -d\n`);
      return context.exitWith(1);
    }
    const found = await client.get<DaemonStatus>('/daemon/status');
    if (json) return printJson(context, { status: 'running', ...found });
    const lines = [
      'Status: running',
      `Socket: ${found.socket}`,
      `Proxy:  ${found.listen} (${found.workers} workers)`,
      `Policy: ${found.preset ?? 'not chosen'} (${found.rules} rules, generation ${found.generation})`,
      `Audit:  ${found.audit} (${auditText(found)})`,
      `Rows:   ${found.log_rows_max} in policy log, kept ${ageText(found.log_keep_ms)}`,
      `Logs:   ${found.log ?? 'standard output'}`,
      `Key:    ${keyText(found)}`,
    ];
    context.out(`${lines.join('\n')}\n`);
  } finally {
    await client.close();
  }
}

function auditText(status: DaemonStatus): string {
  const { audit_mode: mode, audit_problem: problem, audit_lost: lost } = status;
  const { audit_bytes: bytes, audit_keep_bytes: most, audit_refused: refused } = status;
  const parts = [
    mode,
    problem === null ? '' : `cannot be written: ${problem}`,
    lost === 0 ? '' : `${lost} records lost`,
    refused === 0 ? '' : `${refused} requests refused`,
    `${mebibytes(bytes)} of ${mebibytes(most)} MiB`,
    `kept ${ageText(status.audit_keep_ms)}`,
  ];
  return parts.filter((part) => part !== '').join('; ');
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

function ageText(ms: number | null): string {
  if (ms === null) return 'for ever';
  const hours = ms / 3_600_000;
  return hours % 24 === 0 ? `${hours / 24} days` : `${Number(hours.toFixed(2))} hours`;
}

function keyText({ key_place: place, key_file: file, key_problem: problem }: DaemonStatus): string {
  if (problem !== null || place === null) return problem ?? 'made with the first secret';
  return place === 'file' ? file : 'in the keychain';
}
