// `policy allow|deny|rm|check filesystem`: which paths of this machine sandboxes may be given.
import { type Command, Option } from 'commander';
import { SallyportError } from '../base/errors.ts';
import type { RemovedAnswer } from '../control/api/schemas.ts';
import type { MountResult, PathRulesAddedAnswer } from '../control/api/schemas-filesystem.ts';
import type { Access } from '../policy/mount.ts';
import type { Decision } from '../policy/rule.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { unasked } from './globals.ts';
import { askConfirmation } from './prompt.ts';
import { ensureInitialized } from './setup.ts';
import { eachOf } from './values.ts';

type Options = {
  readonly global?: boolean;
  readonly sandbox?: string;
  readonly read?: boolean;
  readonly write?: boolean;
  readonly json?: boolean;
};
type RemoveOptions = Options & {
  readonly id?: string;
  readonly resource?: string[];
  readonly force?: boolean;
};
type CheckOptions = Options & { readonly verbose?: boolean };

/** Adds to the commands that policy-rules.ts and policy-list.ts have made. */
export function addFilesystemCommands(policy: Command, context: Context): void {
  for (const decision of ['allow', 'deny'] as const) {
    withAccess(subcommandOf(policy, decision).command('filesystem'), 'rules for')
      .description(`${decision} mounts of paths of this machine: ~/src/**, /data/*`)
      .argument('<patterns...>', 'exact paths; * is one folder, ** any number of them; quote them')
      .addHelpText('after', EXAMPLES[decision])
      .action((patterns: string[], options: Options) => add(context, decision, patterns, options));
  }
  withAccess(subcommandOf(policy, 'rm').command('filesystem'), 'with --resource: from rules for')
    .description('remove filesystem rules by id or by pattern')
    .option('--id <id>', 'the rule with this id, with or without its local: prefix')
    .option(
      '--resource <pattern>',
      'this pattern, from every rule of the scope; repeatable',
      eachOf,
    )
    .option('-f, --force', 'do not ask')
    .action((options: RemoveOptions) => remove(context, options));
  subcommandOf(policy, 'check')
    .command('filesystem')
    .description('would a mount be allowed? Exit code 0: allowed, 1: denied, 2: error')
    .argument('<path>', 'links on it are followed')
    .addOption(new Option('--read', 'read-only (the default)').conflicts('write'))
    .option('--write', 'read-write, which needs leave for both')
    .option('--sandbox <name>', 'into this sandbox; without it, by global rules alone')
    .option('--verbose', 'with each access, its rule and the policy generation')
    .option('--json', 'print JSON')
    .action((path: string, options: CheckOptions) => check(context, path, options));
}

const EXAMPLES: Readonly<Record<Decision, string>> = {
  allow: `
Without --read or --write the rule is for reading. A read-write mount needs both.

Examples:
  $ sbx policy allow filesystem --read --write "~/src/**"
  $ sbx policy allow filesystem --sandbox my-sandbox "/data/*"
`,
  deny: `
Without --read or --write there is a rule for each.

Examples:
  $ sbx policy deny filesystem "~/.ssh/**" "~/.aws/**"
  $ sbx policy deny filesystem --write "/data/**"
`,
};

function withAccess(command: Command, what: string): Command {
  return command
    .option('--read', `${what} reading`)
    .option('--write', `${what} writing`)
    .option('--sandbox <name>', 'for this sandbox alone')
    .option('-g, --global', 'for all sandboxes (the default)')
    .option('--json', 'print JSON');
}

function subcommandOf(policy: Command, name: string): Command {
  const found = policy.commands.find((command) => command.name() === name);
  if (found === undefined) throw new TypeError(`there is no command ${name} to add to`);
  return found;
}

async function add(
  context: Context,
  decision: Decision,
  resources: readonly string[],
  options: Options,
): Promise<void> {
  const accesses = accessesOf(options);
  const sandbox = sandboxOf(options);
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const added = await client.post<PathRulesAddedAnswer>('/policy/filesystem/rules', {
      decision,
      resources,
      ...(accesses.length > 0 && { accesses }),
      ...(sandbox !== undefined && { sandbox }),
    });
    if (options.json) return printJson(context, added);
    for (const rule of added.rules) {
      const access = rule.resource_type.split(':')[1];
      context.out(
        `Rule added to policy ${added.policy} (scope: ${rule.scope}): ${rule.id} (${rule.resources.join(', ')} [${access}])\n`,
      );
    }
  });
}

async function remove(context: Context, options: RemoveOptions): Promise<void> {
  const { id, resource: resources, force, json } = options;
  if (id === undefined && resources === undefined) {
    throw usage('at least one selector is required: use --id or --resource');
  }
  if (id !== undefined && resources !== undefined) {
    throw usage('--id and --resource exclude each other');
  }
  const accesses = accessesOf(options);
  if (id !== undefined && accesses.length > 0) throw usage('--read and --write need --resource');
  const sandbox = sandboxOf(options);
  const selector = id === undefined ? `resources=${resources?.join(',')}` : `id=${id}`;
  const scope = sandbox === undefined ? 'global' : `sandbox:${sandbox}`;
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    // As with network rules: only a person is asked.
    if (!force && context.globals.noInput) throw unasked(context, '--force');
    if (!force && context.terminal !== null) {
      const question = `Remove filesystem rules from ${scope} (${selector})?`;
      if (!(await askConfirmation(question, context.terminal))) {
        context.err('Cancelled\n');
        return context.exitWith(1);
      }
    }
    const body = { id, resources, sandbox, ...(accesses.length > 0 && { accesses }) };
    const removed = await client.delete<RemovedAnswer>('/policy/filesystem/rules', {}, body);
    if (json) return printJson(context, removed);
    const gone = removed.removed.flatMap((rule) => rule.resources);
    context.out(`Rule removed from policy ${removed.policy}: resources=${gone.join(',')}\n`);
  });
}

async function check(context: Context, path: string, options: CheckOptions): Promise<void> {
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const result = await client.post<MountResult>('/policy/filesystem/check', {
      path: fromHere(path),
      writable: options.write === true,
      ...(options.sandbox !== undefined && { sandbox_id: options.sandbox }),
    });
    if (options.json) printJson(context, result);
    else context.out(checkText(result, options.verbose === true));
    if (!result.allowed) context.exitWith(1);
  });
}

/** What is relative is so to the folder of the command; the daemon has another. Follows no `..`. */
export function fromHere(path: string): string {
  const absolute = /^([/~]|[A-Za-z]:[\\/]|\\\\)/.test(path);
  return absolute ? path : `${process.cwd()}/${path}`;
}

/** The four lines of `check network`; in the words of sbx, `no matching` begins small in text. */
function checkText(result: MountResult, verbose: boolean): string {
  const { allowed, resource_value: path, governance, context, reason } = result;
  const by = governance.active ? `Managed by ${governance.organization}` : 'Local policy only';
  const lines = [
    `${allowed ? 'Allowed' : 'Denied'}: ${path}`,
    `Governance: ${by}`,
    `Context: ${context}`,
  ];
  if (reason !== undefined) lines.push(`Reason: ${reason.replace(/^No /, 'no ')}`);
  if (verbose) lines.push(...verboseLines(result));
  return `${lines.join('\n')}\n`;
}

function verboseLines(result: MountResult): string[] {
  const { found, accesses, message } = result;
  const lines = [`Resource: ${result.resource_type} ${result.resource_value}`];
  lines.push(`Found: ${found === null ? 'nothing' : found.directory ? 'a folder' : 'no folder'}`);
  for (const { action, allowed, rule, reason } of accesses) {
    const why = rule === undefined ? reason : `rule ${rule}`;
    lines.push(`${action}: ${allowed ? 'allowed' : 'denied'} (${why})`);
  }
  if (message !== undefined) lines.push(`Message: ${message}`);
  lines.push(`Generation: ${result.generation}`);
  return lines;
}

function accessesOf({ read, write }: Options): Access[] {
  return [...(read ? (['read'] as const) : []), ...(write ? (['write'] as const) : [])];
}

function sandboxOf({ global, sandbox }: Options): string | undefined {
  if (global && sandbox !== undefined) throw usage('--global and --sandbox exclude each other');
  return sandbox;
}

function usage(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
