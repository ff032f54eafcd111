// `secret ls`: what is stored for whom. Values come masked from the daemon; nothing here has them.
import type { Command } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { ControlClient } from '../control/api/client.ts';
import type { SecretsAnswer } from '../control/api/schemas-secret.ts';
import type { DaemonStatus } from '../control/api/services.ts';
import { UNREADABLE } from '../control/secrets/listing.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { table } from './render.ts';
import { foundInEnvironment } from './secret-import.ts';
import type { ScopeOptions } from './secret-scope.ts';

type ListOptions = ScopeOptions & {
  readonly service?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
};

export function addListCommand(secret: Command, context: Context): void {
  secret
    .command('ls')
    .alias('list')
    .description('list the secrets, masked')
    .option('-g, --global', 'those for all sandboxes alone')
    .option('--sandbox <name>', 'those of this sandbox alone')
    .option('--service <name>', 'those of this service alone')
    .option('-q, --quiet', 'print names alone')
    .option('--json', 'print JSON')
    .action((options: ListOptions) => list(context, options));
}

async function list(context: Context, options: ListOptions): Promise<void> {
  const { global, sandbox, service, json, quiet } = options;
  if (global && sandbox !== undefined) {
    throw new SallyportError('SALLYPORT_USAGE', '--global and --sandbox exclude each other');
  }
  const scope = global ? 'global' : undefined;
  await withDaemon(context, async (client) => {
    const answer = await client.get<SecretsAnswer>('/secrets', { sandbox, service, scope });
    if (json) {
      const all = await client.get<SecretsAnswer>('/secrets', { scope: 'global' });
      return printJson(context, { ...answer, env_only_count: envOnly(context, all) });
    }
    if (quiet) return context.out(namesOf(answer));
    const where = global ? '(global)' : sandbox;
    context.out(textOf(answer, where, context.columns));
    await warnOfKey(context, client, answer);
  });
}

/** Why secrets are unreadable, when it is not for what is in them. */
async function warnOfKey(
  { err }: Context,
  client: ControlClient,
  { secrets, custom_secrets: custom }: SecretsAnswer,
): Promise<void> {
  if (![...secrets, ...custom].some(({ secret }) => secret === UNREADABLE)) return;
  const { key_problem: problem } = await client.get<DaemonStatus>('/daemon/status');
  if (problem !== null) err(`WARNING: ${problem}\n`);
}

/** How many services have a variable here, but nothing stored. */
function envOnly({ env }: Context, { secrets }: SecretsAnswer): number {
  const stored = new Set(secrets.map(({ name }) => name));
  return foundInEnvironment(env).filter(({ service }) => !stored.has(service)).length;
}

function namesOf({ secrets, custom_secrets: custom }: SecretsAnswer): string {
  const names = [...secrets.map(({ name }) => name), ...custom.map(({ env }) => env)];
  return names.map((name) => `${name}\n`).join('');
}

function textOf(answer: SecretsAnswer, scope: string | undefined, columns: number): string {
  const { secrets, custom_secrets: custom } = answer;
  if (secrets.length + custom.length === 0) {
    return scope === undefined ? 'No secrets found.\n' : `No secrets found for scope "${scope}".\n`;
  }
  const rows = secrets.map((one) => [one.scope, one.type, one.name, one.secret]);
  const customRows = custom.map((one) => [
    one.scope,
    one.targets.join(','),
    one.env,
    one.placeholder,
    one.secret,
  ]);
  const known = table(['SCOPE', 'TYPE', 'NAME', 'SECRET'], rows, columns);
  const headings = ['SCOPE', 'TARGETS', 'ENV', 'PLACEHOLDER', 'SECRET'];
  const others = `CUSTOM SECRETS\n${table(headings, customRows, columns)}`;
  const parts = [...(rows.length > 0 ? [known] : []), ...(customRows.length > 0 ? [others] : [])];
  return parts.join('\n');
}
