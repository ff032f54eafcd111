// `audit verify`: whether the records are those that were written. Reads files; needs no daemon.
import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import {
  type BrokenRecord,
  type Evidence,
  type Verification,
  verifyAudit,
} from '../control/audit/verify.ts';
import { type Context, printJson } from './context.ts';
import { eachOf } from './values.ts';

export function addAuditCommands(program: Command, context: Context): void {
  const audit = program.command('audit').description('the records of what sandboxes did');
  audit
    .command('verify')
    .description('follow the chain of hashes; exit 0 when it holds, 1 when not, 2 on an error')
    .argument('[paths...]', 'folders or files (default: the audit of this daemon)')
    .option(
      '--public-key <file>',
      'Ed25519 key, PEM, that must have signed them; repeatable, for keys that were changed',
      eachOf,
    )
    .addOption(new Option('--head <seq:hash>', 'this record must be there').argParser(recordHead))
    .option('--json', 'print JSON')
    .action((paths: readonly string[], options: Options) => verify(context, paths, options));
}

type Options = {
  readonly publicKey?: readonly string[];
  readonly head?: NonNullable<Evidence['head']>;
  readonly json?: boolean;
};

async function verify(
  context: Context,
  paths: readonly string[],
  { publicKey, head, json }: Options,
): Promise<void> {
  const found = await verifyAudit(paths.length > 0 ? paths : [context.paths.audit], {
    ...(publicKey !== undefined && { publicKeys: publicKey.map(keyIn) }),
    ...(head !== undefined && { head }),
  });
  if (!found.ok) context.exitWith(1);
  if (json) printJson(context, found);
  else context.out(found.broken === null ? intactText(found) : brokenText(found.broken));
}

/** @throws SALLYPORT_USAGE */
function keyIn(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new SallyportError('SALLYPORT_USAGE', `${file} cannot be read`, { cause });
  }
}

/** As `verify` prints it. @throws InvalidArgumentError */
function recordHead(text: string): NonNullable<Evidence['head']> {
  const [, seq, hash = ''] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (seq === undefined) throw new InvalidArgumentError('Write SEQ:HASH, as `head` was printed.');
  return { seq: Number(seq), hash };
}

function intactText(found: Verification): string {
  if (found.records === 0) return 'No records yet\n';
  const { records, files, first_seq: first, last_seq: last, head, incomplete_bytes: bytes } = found;
  const { signed_to: signed, checkpoints } = found;
  const lines = [
    `✓ The chain holds: records ${first} to ${last} (${records} in ${files} ${files === 1 ? 'file' : 'files'})`,
    `  head: ${last}:${head}`,
  ];
  if (signed !== null) {
    const rest = (last ?? 0) - signed;
    lines.push(`  signed up to record ${signed}${rest === 0 ? '' : `; the last ${rest} not yet`}`);
  } else if (checkpoints > 0) {
    lines.push(`  ${checkpoints} checkpoints; --public-key FILE checks their signatures`);
  }
  if (bytes > 0) lines.push(`  ${bytes} bytes of a record that is not whole yet`);
  return `${lines.join('\n')}\n`;
}

function brokenText({ file, line, seq, problem }: BrokenRecord): string {
  const which = seq === null ? 'a line' : `record ${seq}`;
  return `✗ ${file}:${line}: ${which} is broken: ${problem}\n`;
}
