// `policy import`: a policy file made of another proxy's configuration, and what it could not say.
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { DOCUMENT_BYTES_MAX } from '../base/limits.ts';
import { printable } from '../base/printable.ts';
import type { Imported, Loss } from '../documents/import.ts';
import { importSmokescreen } from '../documents/import-smokescreen.ts';
import { importSquid } from '../documents/import-squid.ts';
import { importSrt } from '../documents/import-srt.ts';
import { documentText, writeDocument } from '../documents/write.ts';
import { type Context, printJson } from './context.ts';
import { readText, writeText } from './policy-source.ts';

const FORMATS = ['squid', 'smokescreen', 'srt'] as const;

type Options = {
  readonly from: (typeof FORMATS)[number];
  readonly output?: string;
  readonly strict?: boolean;
  readonly json?: boolean;
};

export function addImportCommand(policy: Command, context: Context): void {
  policy
    .command('import')
    .description('make a policy file of the configuration of squid, smokescreen or sandbox-runtime')
    .argument('<file>', 'squid.conf, an ACL file (YAML) or settings (JSON); - for stdin')
    .addOption(new Option('--from <format>', 'what it is').choices(FORMATS).makeOptionMandatory())
    .option('-o, --output <file>', 'write it there, not to stdout')
    .option('--strict', 'exit code 1 when anything could not be carried over')
    .option('--json', 'print JSON: the policy and the report')
    .addHelpText(
      'after',
      `
Exit code 0: done, 1: with --strict, something could not be carried over, 2: error.
Nothing is put in force; read the file, then: ${context.program} policy apply FILE

The policy never allows more than what it was made of, if what is assumed holds: what cannot be said here is
left out, or denied more widely. The report on stderr, and at the top of the file, names each with its line
and the reason.
squid: acl dstdomain, dst, port and the order of http_access. smokescreen: services become sandboxes.
sandbox-runtime: allowedDomains, deniedDomains. Addresses that are private need rules of their own.
`,
    )
    .action((file: string, options: Options) => run(context, file, options));
}

async function run(context: Context, file: string, options: Options): Promise<void> {
  const name = file === '-' ? 'stdin' : file;
  const imported = convert(await readText(context, file), name, file, options.from);
  const losses = imported.losses.toSorted((a, b) => lineOf(a) - lineOf(b));
  const report = losses.map(lossText);
  if (options.json) {
    printJson(context, { document: documentText(imported.document), losses });
  } else {
    const text = writeDocument(imported.document, {
      header: [`Made of ${name} (${options.from}).`, ...reportLines(report), ''],
      of: ({ at }) => (at === '' ? [] : [at]),
    });
    if (options.output === undefined || options.output === '-') context.out(text);
    else writeText(options.output, text);
    for (const line of reportLines(report)) context.err(`${printable(line)}\n`);
  }
  if (options.strict && losses.length > 0) context.exitWith(1);
}

function convert(text: string, name: string, file: string, from: Options['from']): Imported {
  if (from === 'smokescreen') return importSmokescreen(text, name);
  if (from === 'srt') return importSrt(text, name);
  return importSquid(text, name, (path) => readList(resolve(dirname(file), path)));
}

/** A list of domains that a squid.conf names; null when it is not here. */
function readList(path: string): string | null {
  try {
    const file = statSync(path);
    if (!file.isFile() || file.size > DOCUMENT_BYTES_MAX) return null;
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function reportLines(report: readonly string[]): string[] {
  if (report.length === 0) return ['All of it was carried over.'];
  return ['What could not be carried over, or was assumed:', ...report.map((line) => `  ${line}`)];
}

function lossText({ effect, at, what, why }: Loss): string {
  return `${effect}: ${at}: ${what}: ${why}`;
}

function lineOf({ at }: Loss): number {
  return Number(/:(\d+)(?::\d+)?$/.exec(at)?.[1] ?? 0);
}
