// `secret rm`: takes a secret away, from running sandboxes too.
import { type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { ControlClient, Query } from '../control/api/client.ts';
import type { SecretsAnswer, SecretsRemovedAnswer } from '../control/api/schemas-secret.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { unasked } from './globals.ts';
import { askChoice, askConfirmation } from './prompt.ts';
import { type ScopeOptions, sayApplied, scopeOf, withScope } from './secret-scope.ts';

type RemoveOptions = ScopeOptions & {
  readonly all?: boolean;
  readonly registry?: string;
  readonly allSandboxes?: boolean;
  readonly env?: string;
  readonly host?: string;
  readonly placeholder?: string;
  readonly force?: boolean;
  readonly json?: boolean;
};

export function addRemoveCommand(secret: Command, context: Context): void {
  withScope(secret.command('rm'))
    .description('remove secrets; without arguments, choose one')
    .argument('[service...]', 'a service; an older form puts a sandbox name before it')
    .option('--all', 'all of the scope; of every scope unless one is named')
    .option('--registry <host>', 'the credential of this registry')
    .option('--all-sandboxes', 'with --registry: that for all sandboxes, not that of the host')
    .option('--env <name>', 'the custom secret of this variable')
    .addOption(new Option('--host <host>', 'custom secrets that go there').hideHelp())
    .addOption(new Option('--placeholder <text>', 'custom secrets with this one').hideHelp())
    .option('-f, --force', 'do not ask')
    .option('--json', 'print JSON')
    .action((words: string[], options: RemoveOptions) => remove(context, words, options));
}

async function remove(context: Context, words: string[], options: RemoveOptions): Promise<void> {
  const { service, sandbox } = scopeOf(context, words, options);
  const { env, host, placeholder, registry } = options;
  const named = [service, registry, env, host, placeholder].some((one) => one !== undefined);
  const selects = named || options.all;
  if (context.terminal === null && !selects && (options.force || context.globals.noInput)) {
    throw usage('name what to remove: a service, --registry HOST, --env NAME or --all');
  }
  if (context.terminal === null && !options.force) throw unasked(context, '--force');
  await withDaemon(context, async (client) => {
    const selector: Query =
      named || options.all
        ? { service, registry, env, host, placeholder, sandbox, ...flagsOf(options) }
        : await chosen(context, client, sandbox);
    if (!(await confirmed(context, selector, options))) return;
    const answer = await client.delete<SecretsRemovedAnswer>('/secrets', selector);
    if (options.json) return printJson(context, answer);
    for (const { type, name, scope } of answer.removed) {
      context.out(`Secret removed: ${type} "${name}", scope "${scope}"\n`);
    }
    if (answer.removed.length === 0) context.out('No secrets found.\n');
    sayApplied(context, answer.applied);
  });
}

function flagsOf({ all, global, allSandboxes }: RemoveOptions): Query {
  return { all: all ? 'true' : undefined, global: global || allSandboxes ? 'true' : undefined };
}

/** Lets a person choose. @throws SALLYPORT_NOT_FOUND when there is nothing to choose from */
async function chosen(
  context: Context,
  client: ControlClient,
  sandbox: string | undefined,
): Promise<Query> {
  const answer = await client.get<SecretsAnswer>('/secrets', { sandbox });
  const choices = new Map<string, Query>();
  const add = (what: string, name: string, scope: string, selector: Query): void => {
    const own = scope.startsWith('(') ? {} : { sandbox: scope };
    choices.set(`${what} "${name}", scope "${scope}"`, { ...selector, ...own });
  };
  for (const { type, name, scope } of answer.secrets) add(type, name, scope, { [type]: name });
  for (const { env, scope } of answer.custom_secrets) add('custom secret', env, scope, { env });
  if (choices.size === 0 || context.terminal === null) {
    throw new SallyportError('SALLYPORT_NOT_FOUND', 'there are no secrets');
  }
  const label = await askChoice('Remove which secret?', [...choices.keys()], context.terminal);
  return choices.get(label) ?? {};
}

async function confirmed(
  context: Context,
  selector: Query,
  { force }: RemoveOptions,
): Promise<boolean> {
  if (force || context.terminal === null) return true;
  const { sandbox, global, all, ...what } = selector;
  const name = Object.entries(what).flatMap(([key, value]) =>
    value === undefined ? [] : `${key} "${value}"`,
  );
  const where = sandbox ?? (all && !global ? 'every scope' : '(global)');
  const question = `Remove ${all ? 'all secrets' : name.join(', ')} from "${where}"?`;
  if (await askConfirmation(question, context.terminal)) return true;
  context.err('Cancelled\n');
  context.exitWith(1);
  return false;
}

function usage(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
