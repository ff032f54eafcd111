// `audit verify`: whether the records are those that were written. Reads files; needs no daemon.
import type { Command } from 'commander';
import { type BrokenRecord, type Verification, verifyAudit } from '../control/audit-verify.ts';
import { type Context, printJson } from './context.ts';

export function addAuditCommands(program: Command, context: Context): void {
  const audit = program.command('audit').description('the records of what sandboxes did');
  audit
    .command('verify')
    .description('follow the chain of hashes; exit 0 when it holds, 1 when not, 2 on an error')
    .argument('[paths...]', 'folders or files (default: the audit of this daemon)')
    .option('--json', 'print JSON')
    .action((paths: readonly string[], options: { json?: boolean }) =>
      verify(context, paths, options.json === true),
    );
}

async function verify(context: Context, paths: readonly string[], json: boolean): Promise<void> {
  const found = await verifyAudit(paths.length > 0 ? paths : [context.paths.audit]);
  if (!found.ok) context.exitWith(1);
  if (json) printJson(context, found);
  else context.out(found.broken === null ? intactText(found) : brokenText(found.broken));
}

function intactText(found: Verification): string {
  if (found.records === 0) return 'No records yet\n';
  const { records, files, first_seq: first, last_seq: last, head, incomplete_bytes: bytes } = found;
  const lines = [
    `✓ The chain holds: records ${first} to ${last} (${records} in ${files} ${files === 1 ? 'file' : 'files'})`,
    `  head: ${last}:${head}`,
  ];
  if (bytes > 0) lines.push(`  ${bytes} bytes of a record that is not whole yet`);
  return `${lines.join('\n')}\n`;
}

function brokenText({ file, line, seq, problem }: BrokenRecord): string {
  const which = seq === null ? 'a line' : `record ${seq}`;
  return `✗ ${file}:${line}: ${which} is broken: ${problem}\n`;
}
