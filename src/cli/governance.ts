// `governance serve|token|sign`: what a team needs to govern its fleet by itself.
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { GOVERNANCE_AUDIT_DEFAULT_MAX } from '../base/limits.ts';
import { ORGANIZATION_NAME } from '../control/governance/api.ts';
import { parseListen } from '../control/sandboxes.ts';
import { Organization } from '../governance/organization.ts';
import { type ServeOptions, serveGovernance } from '../governance/server.ts';
import { signDocument } from '../governance/sign.ts';
import { GovernanceStore, type Role } from '../governance/store.ts';
import { issueToken, revokeToken } from '../governance/tokens.ts';
import { type Context, printJson } from './context.ts';
import { table } from './render.ts';
import { auditRows } from './values.ts';
import { quoted } from './variables.ts';

type Data = { readonly data?: string };
type Serve = Data & {
  readonly org?: string;
  readonly listen: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly keepAudit: number;
};

export function addGovernanceCommands(program: Command, context: Context): void {
  const governance = program
    .command('governance')
    .description('govern a fleet: serve the policies of an organization, or sign them');
  withData(governance.command('serve'))
    .description('serve the Governance API until Ctrl-C; daemons ask it by --governance URL')
    .option('--org <name>', 'the organization; needed at the first start')
    .option('--listen <host:port>', 'where; anything but this machine needs TLS', '127.0.0.1:7465')
    .option('--tls-cert <file>', 'certificate with its chain, PEM')
    .option('--tls-key <file>', 'its key, PEM')
    .option(
      '--keep-audit <entries>',
      'how many entries of who changed what are kept; the oldest go',
      auditRows,
      GOVERNANCE_AUDIT_DEFAULT_MAX,
    )
    .action((options: Serve) => serve(context, options));
  addTokenCommands(governance, context);
  governance
    .command('sign')
    .description('sign a file, or the governance.json of a folder, for daemons without a server')
    .argument('<path>', 'count its serial up first')
    .requiredOption('--key <file>', 'Ed25519 private key, PEM')
    .action(async (path: string, { key }: { key: string }) => {
      const signed = await signDocument(resolve(path), read(key, '--key'));
      const { file, organization, serial, policies } = signed;
      context.out(`${file}.sig: ${organization}, serial ${serial}, policies: ${policies}\n`);
    });
}

function addTokenCommands(governance: Command, context: Context): void {
  const token = governance.command('token').description('who may ask the server, and change it');
  withData(token.command('add'))
    .description('make a token; it is printed once')
    .argument('<name>', 'whose it is; changes are recorded under it')
    .addOption(
      new Option('--role <role>', 'reader: for daemons; admin: may change policies')
        .choices(['reader', 'admin'])
        .default('reader'),
    )
    .action((name: string, { role, ...data }: Data & { role: Role }) =>
      withStore(context, data, (store) => {
        context.out(`${issueToken(store, name, role, systemClock)}\n`);
      }),
    );
  withData(token.command('ls'))
    .description('list them, without their values')
    .option('--json', 'print JSON')
    .action(({ json, ...data }: Data & { json?: boolean }) =>
      withStore(context, data, (store) => {
        const tokens = store.tokens().map(({ name, role, createdMs }) => ({
          name,
          role,
          created_at: new Date(createdMs).toISOString(),
        }));
        if (json) return printJson(context, { tokens });
        const rows = tokens.map(({ name, role, created_at: at }) => [name, role, at]);
        context.out(table(['NAME', 'ROLE', 'CREATED'], rows, context.columns));
      }),
    );
  withData(token.command('rm'))
    .description('remove a token; it opens nothing from now on')
    .argument('<name>')
    .action((name: string, data: Data) =>
      withStore(context, data, (store) => {
        revokeToken(store, name);
        context.out(`Token ${name} removed\n`);
      }),
    );
}

function withData(command: Command): Command {
  return command.option('--data <folder>', 'where the server keeps its policies');
}

async function serve(context: Context, options: Serve): Promise<void> {
  const stopped = Promise.withResolvers<number>();
  const release = context.onInterrupt(stopped.resolve);
  try {
    await withStore(context, options, async (store) => {
      const name = nameOf(store, options.org);
      const organization = new Organization(name, store, systemClock, options.keepAudit);
      const serving = await serveGovernance(organization, store, serveOptions(context, options));
      context.out(`Governance of ${organization.name} at ${serving.url}\n`);
      if (store.tokens().length === 0) {
        const where = options.data === undefined ? '' : ` --data ${quoted(resolve(options.data))}`;
        const command = `${context.program} governance token add NAME --role admin${where}`;
        context.out(`Nobody may ask it yet: ${command}\n`);
      }
      await stopped.promise;
      await serving.close();
    });
  } finally {
    release();
  }
}

/** @throws SALLYPORT_USAGE */
function serveOptions(context: Context, { listen, tlsCert, tlsKey }: Serve): ServeOptions {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw usage('--tls-cert and --tls-key go together');
  }
  return {
    ...parseListen(listen, 0),
    tls:
      tlsCert === undefined || tlsKey === undefined
        ? null
        : { cert: read(tlsCert, '--tls-cert'), key: read(tlsKey, '--tls-key') },
    version: context.version,
    report: (error) => context.err(`${error instanceof Error ? error.stack : String(error)}\n`),
  };
}

/** A store is of one organisation for ever. @throws SALLYPORT_USAGE, SALLYPORT_CONFLICT */
function nameOf(store: GovernanceStore, given: string | undefined): string {
  const known = store.organization;
  const name = given ?? known;
  if (name === null) throw usage('name the organization: --org NAME');
  if (!ORGANIZATION_NAME.test(name)) throw usage(`"${name}" is no name of an organization`);
  if (known !== null && known !== name) {
    throw new SallyportError('SALLYPORT_CONFLICT', `these are the policies of ${known}`, {
      hint: 'Leave out --org, or name another folder for those of another organization.',
    });
  }
  if (known === null) store.organization = name;
  return name;
}

async function withStore<T>(
  { paths }: Context,
  { data }: Data,
  use: (store: GovernanceStore) => T | Promise<T>,
): Promise<T> {
  const folder = data === undefined ? join(paths.state, 'governance') : resolve(data);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const store = GovernanceStore.open(join(folder, 'governance.db'));
  try {
    return await use(store);
  } finally {
    store.close();
  }
}

/** @throws SALLYPORT_USAGE */
function read(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw usage(`${option} ${file} cannot be read`, cause);
  }
}

function usage(message: string, cause?: unknown): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message, { cause });
}
