// `policy allow|deny|rm network`: the commands that change rules. Each answers when every worker
// enforces the change.
import type { Command } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { ControlClient } from '../control/api/client.ts';
import type { AddedAnswer, RemovedAnswer } from '../control/api/schemas.ts';
import type { Decision } from '../policy/rule.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { unasked } from './globals.ts';
import { askConfirmation } from './prompt.ts';
import { ensureInitialized } from './setup.ts';
import { eachOf, protocolList, sandboxNamed } from './values.ts';

type Scoped = { readonly global?: boolean; readonly sandbox?: string; readonly json?: boolean };
type Requests = { readonly method?: string; readonly path?: string[] };
type AddOptions = Scoped & Requests & { readonly protocol?: string[] };
type RemoveOptions = Scoped &
  Requests & {
    readonly id?: string;
    readonly resource?: string;
    readonly force?: boolean;
  };

/** Adds `--sandbox`, and the older `-g`. */
export function withScope(command: Command): Command {
  return command
    .option('--sandbox <name>', 'for this sandbox alone')
    .option('-g, --global', 'for all sandboxes (the default)')
    .option('--json', 'print JSON');
}

export function addRuleCommands(policy: Command, context: Context): void {
  for (const decision of ['allow', 'deny'] as const) {
    const parent = policy.command(decision).description(`add rules that ${decision} access`);
    withScope(parent.command('network'))
      .description(
        `${decision} hosts, addresses and ranges: example.com,*.example.com:443,10.0.0.0/8`,
      )
      .argument('<resources...>', 'comma list; an older form puts a sandbox name before it')
      .option('--protocol <protocols>', 'tcp, udp or both; allow: tcp, deny: both', protocolList)
      .option('--method <methods>', 'only requests with these methods (GET,POST), or ANY')
      .option(
        '--path <pattern>',
        'with --method: /a, /a/* (one segment), /a/** (all below); repeatable',
        eachOf,
      )
      .addHelpText('after', EXAMPLES[decision])
      .action((words: string[], options: AddOptions) => add(context, decision, words, options));
  }
  withScope(policy.command('rm').description('remove rules').command('network'))
    .description('remove rules by id or by resource')
    .argument('[sandbox]', 'older form of --sandbox')
    .option('--id <id>', 'the rule with this id, with or without its local: prefix')
    .option(
      '--resource <resources>',
      'these resources, from every rule of the scope that names them',
    )
    .option('--method <methods>', 'with --resource: HTTP rules for exactly these')
    .option('--path <pattern>', 'with --method: HTTP rules for exactly these (repeatable)', eachOf)
    .option('-f, --force', 'do not ask')
    .action((sandbox: string | undefined, options: RemoveOptions) =>
      remove(context, sandbox, options),
    );
}

const NO_UDP = 'WARNING: UDP is not carried, so the rule lets nothing through for it\n';

const EXAMPLES: Readonly<Record<Decision, string>> = {
  allow: `
Examples:
  $ sbx policy allow network api.example.com
  $ sbx policy allow network "*.npmjs.org,files.pythonhosted.org:443"
  $ sbx policy allow network --sandbox my-sandbox localhost:11434
  $ sbx policy allow network api.github.com --method GET,HEAD --path "/repos/**"
`,
  deny: `
Examples:
  $ sbx policy deny network ads.example.com        deny wins, whatever allows it
  $ sbx policy deny network --sandbox my-sandbox "**"
  $ sbx policy deny network github.com --method ANY --path "/**/git-receive-pack"
`,
};

async function add(
  context: Context,
  decision: Decision,
  words: string[],
  options: AddOptions,
): Promise<void> {
  const { sandbox, resources } = scopeOf(words, options);
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const added = await client.post<AddedAnswer>('/policy/network/rules', {
      decision,
      resources,
      ...(sandbox !== undefined && { sandbox }),
      ...(options.protocol !== undefined && { protocols: options.protocol }),
      ...requestsOf(options),
    });
    if (decision === 'allow' && options.protocol?.includes('udp')) context.err(NO_UDP);
    if (options.json) return printJson(context, added);
    for (const rule of added.rules) {
      const protocols = rule.actions.map((action) => action.split(':').at(-1)).join(',');
      const what =
        rule.methods === undefined
          ? protocols
          : `${rule.methods.join(',')} ${rule.paths?.join(', ')}`;
      context.out(
        `Rule added to policy ${added.policy} (scope: ${rule.scope}): ${rule.id} (${rule.resources.join(', ')} [${what}])\n`,
      );
    }
  });
}

/** @throws SALLYPORT_USAGE for a path without a method */
function requestsOf({ method, path }: Requests): { methods?: string[]; paths?: string[] } {
  if (method === undefined && path === undefined) return {};
  if (method === undefined) throw usage('--path needs --method; --method ANY is every method');
  return { methods: method.split(','), ...(path !== undefined && { paths: path }) };
}

const SANDBOX_WORD = /^[a-z0-9-]+$/i; // What could be a sandbox's name, be it one or not.

/**
 * Two words without a scope flag are the older `SANDBOX RESOURCES`, unless the first can be no
 * sandbox; otherwise all are resources.
 */
function scopeOf(
  words: string[],
  options: Scoped,
): { sandbox: string | undefined; resources: string } {
  if (options.global && options.sandbox !== undefined)
    throw usage('--global and --sandbox exclude each other');
  const [first, ...rest] = words;
  const scoped = options.global || options.sandbox !== undefined;
  if (!scoped && rest.length > 0 && first !== undefined && SANDBOX_WORD.test(first)) {
    return { sandbox: first, resources: rest.join(',') };
  }
  return { sandbox: options.sandbox, resources: words.join(',') };
}

async function remove(
  context: Context,
  positional: string | undefined,
  options: RemoveOptions,
): Promise<void> {
  const { id, resource } = options;
  if (id === undefined && resource === undefined) {
    throw usage('at least one selector is required: use --id or --resource');
  }
  if (id !== undefined && resource !== undefined)
    throw usage('--id and --resource exclude each other');
  if (options.method !== undefined && resource === undefined)
    throw usage('--method needs --resource');
  if (options.global && (positional ?? options.sandbox) !== undefined) {
    throw usage('--global and a sandbox exclude each other');
  }
  const sandbox = sandboxNamed(options.sandbox, positional);
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    if (!(await confirmed(context, sandbox, options))) return;
    await removeSelected(context, client, sandbox, options);
  });
}

async function confirmed(
  context: Context,
  sandbox: string | undefined,
  options: RemoveOptions,
): Promise<boolean> {
  // Scripts of older versions remove without a flag, so only a person is asked.
  if (options.force) return true;
  if (context.globals.noInput) throw unasked(context, '--force');
  if (context.terminal === null) return true;
  const scope = sandbox === undefined ? 'global' : `sandbox:${sandbox}`;
  const selector = options.id === undefined ? `resources=${options.resource}` : `id=${options.id}`;
  const question = `Remove network rules from ${scope} (${selector})?`;
  if (await askConfirmation(question, context.terminal)) return true;
  context.err('Cancelled\n');
  context.exitWith(1);
  return false;
}

async function removeSelected(
  context: Context,
  client: ControlClient,
  sandbox: string | undefined,
  { id, resource, json, method, path }: RemoveOptions,
): Promise<void> {
  const removed = await client.delete<RemovedAnswer>('/policy/network/rules', {
    id,
    resource,
    sandbox,
    methods: method,
    paths: path,
  });
  if (json) return printJson(context, removed);
  const resources = removed.removed.flatMap((rule) => rule.resources);
  context.out(`Rule removed from policy ${removed.policy}: resources=${resources.join(',')}\n`);
}

function usage(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
