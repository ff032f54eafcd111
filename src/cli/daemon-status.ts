// `daemon status`: is it running, where, and with what.
import { ControlClient } from '../control/client.ts';
import { type Context, isRunning, printJson } from './context.ts';

type Status = {
  readonly socket: string;
  readonly listen: string;
  readonly workers: number;
  readonly generation: number;
  readonly rules: number;
  readonly preset: string | null;
  readonly log: string | null;
  readonly audit: string;
  readonly audit_mode: string;
  readonly audit_problem: string | null;
  readonly audit_lost: number;
  readonly audit_refused: number;
  readonly key_place: string | null;
  readonly key_file: string;
  readonly key_problem: string | null;
};

export async function status(context: Context, json: boolean): Promise<void> {
  const client = new ControlClient(context.paths.socket);
  try {
    if (!(await isRunning(client))) {
      if (json) printJson(context, { status: 'stopped', socket: context.paths.socket });
      else context.out(`Status: stopped\nStart it with: ${context.program} daemon start -d\n`);
      return context.exitWith(1);
    }
    const found = await client.get<Status>('/daemon/status');
    if (json) return printJson(context, { status: 'running', ...found });
    const lines = [
      'Status: running',
      `Socket: ${found.socket}`,
      `Proxy:  ${found.listen} (${found.workers} workers)`,
      `Policy: ${found.preset ?? 'not chosen'} (${found.rules} rules, generation ${found.generation})`,
      `Audit:  ${found.audit} (${auditText(found)})`,
      `Logs:   ${found.log ?? 'standard output'}`,
      `Key:    ${keyText(found)}`,
    ];
    context.out(`${lines.join('\n')}\n`);
  } finally {
    await client.close();
  }
}

function auditText(status: Status): string {
  const {
    audit_mode: mode,
    audit_problem: problem,
    audit_lost: lost,
    audit_refused: refused,
  } = status;
  const parts = [
    mode,
    problem === null ? '' : `cannot be written: ${problem}`,
    lost === 0 ? '' : `${lost} records lost`,
    refused === 0 ? '' : `${refused} requests refused`,
  ];
  return parts.filter((part) => part !== '').join('; ');
}

function keyText({ key_place: place, key_file: file, key_problem: problem }: Status): string {
  if (problem !== null || place === null) return problem ?? 'made with the first secret';
  return place === 'file' ? file : 'in the keychain';
}
