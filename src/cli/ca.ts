// `ca export|info|rotate|import`: the authority that intercepted hosts are signed by.
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { AuthorityInfo } from '../control/authority.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { unasked } from './globals.ts';
import { askConfirmation, askSecret } from './prompt.ts';

type Json = { readonly json?: boolean };

export function addAuthorityCommands(program: Command, context: Context): void {
  const ca = program
    .command('ca')
    .description('the certificate authority that sandboxes trust when the proxy intercepts TLS');
  ca.command('export')
    .description('print the certificate; the key is never given')
    .addOption(
      new Option('--format <format>', 'pem, der, or bundle: with its chain')
        .choices(['pem', 'der', 'bundle'])
        .default('pem'),
    )
    .action(({ format }: { format: string }) => exportTo(context, format));
  ca.command('info')
    .description('show whose it is and how long it holds')
    .option('--json', 'print JSON')
    .action((options: Json) =>
      withDaemon(context, async (client) =>
        show(context, await client.get<AuthorityInfo>('/authority'), options),
      ),
    );
  ca.command('rotate')
    .description(
      'make a new authority; sandboxes must be given it before they trust the proxy again',
    )
    .option('-f, --force', 'do not ask')
    .option('--json', 'print JSON')
    .action((options: Json & { force?: boolean }) => rotate(context, options));
  ca.command('import')
    .argument(
      '<file>',
      'PEM or PKCS#12 with a CA certificate, its key, and its chain if it has one',
    )
    .description("use an organisation's own authority")
    .option('--passphrase-file <file>', 'what the key is encrypted with')
    .option('--json', 'print JSON')
    .action((file: string, options: Json & { passphraseFile?: string }) =>
      importFrom(context, file, options),
    );
}

async function exportTo(context: Context, format: string): Promise<void> {
  await withDaemon(context, async (client) => {
    const { content } = await client.get<{ content: string }>('/authority/export', { format });
    const bytes = Buffer.from(content, 'base64');
    if (format === 'der' && context.columns > 0) {
      throw new SallyportError('SALLYPORT_USAGE', 'DER is binary: send it to a file with > ca.der');
    }
    context.out(format === 'der' ? bytes : bytes.toString());
  });
}

async function rotate(context: Context, options: Json & { force?: boolean }): Promise<void> {
  if (!options.force) {
    const { terminal } = context;
    if (terminal === null) throw unasked(context, '--force');
    const question = 'Make a new authority? No sandbox trusts it until it is given to it.';
    if (!(await askConfirmation(question, terminal))) {
      context.err('Cancelled\n');
      return context.exitWith(1);
    }
  }
  await withDaemon(context, async (client) =>
    show(context, await client.post<AuthorityInfo>('/authority/rotate'), options),
  );
}

async function importFrom(
  context: Context,
  file: string,
  options: Json & { passphraseFile?: string },
): Promise<void> {
  const content = readOrFail(file).toString('base64');
  const { passphraseFile } = options;
  const { terminal } = context;
  const given = passphraseFile === undefined ? null : lineIn(passphraseFile);
  await withDaemon(context, async (client) => {
    const send = (passphrase: string | null): Promise<AuthorityInfo> =>
      client.post<AuthorityInfo>('/authority/import', { content, passphrase });
    const asked = given === null && terminal !== null && isEncrypted(content);
    const passphrase = asked ? await askSecret('Passphrase:', terminal, 'may be empty') : given;
    show(context, await send(passphrase), options);
  });
}

function isEncrypted(base64: string): boolean {
  const text = Buffer.from(base64, 'base64').toString('latin1');
  return !text.includes('-----BEGIN') || text.includes('ENCRYPTED');
}

/** All of a file but the end of its line: a passphrase may begin or end with spaces. */
function lineIn(file: string): string {
  return readOrFail(file)
    .toString()
    .replace(/\r?\n$/, '');
}

function readOrFail(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new SallyportError('SALLYPORT_USAGE', `${file} cannot be read`, { cause });
  }
}

function show(context: Context, info: AuthorityInfo, { json }: Json): void {
  if (json) {
    printJson(context, info);
    return;
  }
  const rows: [string, string][] = [
    ['Subject', info.subject],
    ['Issuer', info.issuer],
    ['Serial', info.serial],
    ['Valid from', info.not_before],
    ['Valid to', info.not_after],
    ['SHA-256', info.fingerprint_sha256],
    ['Key', info.key],
    ['Source', info.imported ? 'imported' : 'made here'],
  ];
  for (const [name, value] of rows) context.out(`${name.padEnd(12)}${value}\n`);
}
