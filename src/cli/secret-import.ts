// `secret import`: stores what the environment of this command has for known services. The only place
// that reads credentials from the environment, and only when it is asked to.
import type { Command } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { ControlClient } from '../control/api/client.ts';
import type { SecretsAnswer, SecretsImportedAnswer } from '../control/api/schemas-secret.ts';
import type { Env } from '../control/paths.ts';
import { SERVICES } from '../credentials/services.ts';
import { preview } from '../credentials/value.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { whyUnasked } from './globals.ts';
import { askConfirmation } from './prompt.ts';
import { table } from './render.ts';
import { sayApplied } from './secret-scope.ts';

type ImportOptions = {
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
};

type Found = { readonly service: string; readonly variable: string; readonly value: string };
type Done = SecretsImportedAnswer['imported'][number]['state'];
/** What becomes of one. */
type Planned = Found & { readonly state: 'new' | 'replace' | 'keep' | 'grant' };

export function addImportCommand(secret: Command, context: Context): void {
  secret
    .command('import')
    .description('store credentials of services from environment variables, for all sandboxes')
    .argument('[service]', 'this one alone')
    .option('--all', 'all that are set, without a question; those stored already are kept')
    .option('--dry-run', 'show what would be stored, and store nothing')
    .option('-f, --force', 'replace those stored already')
    .option('--json', 'print JSON')
    .action((service: string | undefined, options: ImportOptions) =>
      importSecrets(context, service, options),
    );
}

/** Per service the first of its variables that is set. */
export function foundInEnvironment(env: Env): Found[] {
  return Object.entries(SERVICES).flatMap(([service, { env: variables }]) => {
    const variable = variables.find((name) => env[name]);
    const value = variable === undefined ? undefined : env[variable];
    return variable === undefined || value === undefined ? [] : [{ service, variable, value }];
  });
}

async function importSecrets(
  context: Context,
  service: string | undefined,
  options: ImportOptions,
): Promise<void> {
  const found = wanted(context, service);
  if (service === undefined && !options.all && !options.dryRun && context.terminal === null) {
    throw usage(`${whyUnasked(context)}; name a service or use --all`);
  }
  await withDaemon(context, async (client) => {
    const planned = await plan(client, found, options.force === true);
    if (options.dryRun) return show(context, planned, options);
    const ready = await agreed(context, planned, service, options);
    if (ready === null) return cancelled(context);
    const answer = await store(client, ready);
    if (options.json) return printJson(context, answer);
    for (const { service, state } of answer.imported) {
      const one = ready.find((planned) => planned.service === service);
      if (one !== undefined) context.out(`${doneText(one, state)}\n`);
    }
    sayApplied(context, answer.applied);
  });
}

/** @throws SALLYPORT_USAGE, SALLYPORT_NOT_FOUND when no variable is set */
function wanted({ env }: Context, service: string | undefined): Found[] {
  if (service !== undefined && !Object.hasOwn(SERVICES, service)) {
    throw usage(`there is no service "${service}", only ${Object.keys(SERVICES).join(', ')}`);
  }
  const found = foundInEnvironment(env);
  const chosen = found.filter((one) => service === undefined || one.service === service);
  if (chosen.length > 0) return chosen;
  const variables = Object.entries(SERVICES)
    .filter(([name]) => service === undefined || name === service)
    .flatMap(([, { env: names }]) => names);
  throw new SallyportError('SALLYPORT_NOT_FOUND', `none of ${variables.join(', ')} is set`);
}

async function plan(
  client: ControlClient,
  found: readonly Found[],
  force: boolean,
): Promise<Planned[]> {
  const { secrets } = await client.get<SecretsAnswer>('/secrets', { scope: 'global' });
  const services = secrets.filter(({ type }) => type === 'service');
  return found.map((one) => {
    const stored = services.find(({ name }) => name === one.service);
    if (stored === undefined) return { ...one, state: 'new' };
    if (stored.oauth !== undefined) return { ...one, state: 'grant' };
    return { ...one, state: force ? 'replace' : 'keep' };
  });
}

/**
 * Asks where there is something to ask.
 *
 * @returns what to do, or null when the person said no.
 * @throws SALLYPORT_CONFLICT when one that was asked for by name is there, and nobody can be asked.
 */
async function agreed(
  context: Context,
  planned: readonly Planned[],
  service: string | undefined,
  options: ImportOptions,
): Promise<readonly Planned[] | null> {
  const { terminal } = context;
  const [first] = planned;
  if (service !== undefined && first?.state === 'keep') {
    const message = `there is a secret for service "${service}" in scope "(global)"`;
    if (terminal === null) {
      throw new SallyportError('SALLYPORT_CONFLICT', `${message}; use --force to replace it`);
    }
    const yes = await askConfirmation('There is one already. Replace it?', terminal);
    return yes ? [{ ...first, state: 'replace' }] : null;
  }
  const changes = planned.filter(({ state }) => state === 'new' || state === 'replace').length;
  if (service !== undefined || options.all || changes === 0 || terminal === null) return planned;
  show(context, planned, {});
  return (await askConfirmation(`Store ${changes} of them?`, terminal)) ? planned : null;
}

async function store(
  client: ControlClient,
  planned: readonly Planned[],
): Promise<SecretsImportedAnswer> {
  const secrets = planned.map(({ service, value }) => ({ service, value }));
  const replace = planned.some(({ state }) => state === 'replace');
  return client.post<SecretsImportedAnswer>('/secrets/import', { secrets, replace });
}

function show(context: Context, planned: readonly Planned[], { json }: ImportOptions): void {
  const rows = planned.map(({ service, variable, value, state }) => ({
    service,
    variable,
    value: preview(value),
    state,
  }));
  const cells = rows.map((row) => [row.service, row.variable, row.value, STATES[row.state]]);
  if (json) printJson(context, { found: rows });
  else context.out(table(['SERVICE', 'VARIABLE', 'VALUE', 'STATE'], cells));
}

const STATES = {
  new: 'new',
  replace: 'stored; will be replaced',
  keep: 'stored; --force replaces it',
  grant: 'oauth; stays',
} as const satisfies Record<Planned['state'], string>;

function doneText({ service, variable, value, state: before }: Planned, state: Done): string {
  if (before === 'grant') return `Kept ${service}: it has an oauth grant; remove that first`;
  if (state === 'skipped') return `Kept ${service}: stored already; --force replaces it`;
  const verb = state === 'imported' ? 'Imported' : 'Replaced';
  return `${verb} ${service} from ${variable} (${preview(value)})`;
}

function cancelled(context: Context): void {
  context.err('Cancelled\n');
  context.exitWith(1);
}

function usage(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
