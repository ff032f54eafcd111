// `policy explain`: why a target is decided so, and how to change it.
import { type Command, Option } from 'commander';
import type { ControlClient } from '../control/api/client.ts';
import type { MountExplained } from '../control/api/schemas-filesystem.ts';
import type { ExplainedRule, ExplainResult } from '../control/api/schemas-tools.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { fromHere } from './policy-filesystem.ts';
import { ensureInitialized } from './setup.ts';

type ExplainOptions = {
  readonly sandbox?: string;
  readonly method?: string;
  readonly protocol: string;
  readonly write?: boolean;
  readonly json?: boolean;
};

export function addExplainCommand(policy: Command, context: Context): void {
  policy
    .command('explain')
    .description('say why a target is allowed or denied, and how to change that')
    .argument(
      '<target>',
      'host, host:port, address, URL (port 443 unless named), or a path: /x, ~/x',
    )
    .option('--sandbox <name>', 'as this sandbox; without it, by global rules alone')
    .option('--method <method>', 'one request, to the path of the URL; GET when it has a path')
    .option('--write', 'for a path: a read-write mount of it, not a read-only one')
    .addOption(
      new Option('--protocol <protocol>', 'transport').choices(['tcp', 'udp']).default('tcp'),
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Exit code 0, whatever the verdict; 1 for an error. \`policy check\` has the verdict as exit code.

Examples:
  $ sbx policy explain example.com
  $ sbx policy explain https://api.github.com/repos/a/b --method DELETE --sandbox my-sandbox
  $ sbx policy explain --write ~/src/project
`,
    )
    .action((target: string, options: ExplainOptions) => explain(context, target, options));
}

async function explain(context: Context, target: string, options: ExplainOptions): Promise<void> {
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const result = await explained(client, target, options);
    const commands = result.change.commands.map((words) => `${context.program} ${words}`);
    if (options.json) {
      return printJson(context, { ...result, change: { ...result.change, commands } });
    }
    context.out(explanationText(result, commands));
  });
}

/** No host begins as a path does. */
const PATH = /^([/~.\\]|[A-Za-z]:[\\/])/;

function explained(
  client: ControlClient,
  target: string,
  { method, protocol, sandbox, write }: ExplainOptions,
): Promise<Explained> {
  const scope = sandbox === undefined ? {} : { sandbox_id: sandbox };
  if (!PATH.test(target)) {
    const request = method === undefined ? {} : { method };
    const asked = { target, protocol, ...request, ...scope };
    return client.post<ExplainResult>('/policy/network/explain', asked);
  }
  const asked = { path: fromHere(target), writable: write === true, ...scope };
  return client.post<MountExplained>('/policy/filesystem/explain', asked);
}

/** Of a mount there is no method and no protocol. */
type Explained = MountExplained & Partial<Pick<ExplainResult, 'method'>>;

function explanationText(result: Explained, commands: readonly string[]): string {
  const { target, method, context, allowed, why, considered, inactive, nearest, change } = result;
  const what = method === undefined ? target : `${method} ${target}`;
  const hidden = result.considered_total - considered.length;
  const lines = [
    `${allowed ? 'Allowed' : 'Denied'}: ${what}`,
    `Context: ${context}`,
    `Why: ${why}`,
    ...section('Rules that cover it:', considered, ({ standing }) => standing),
    ...(hidden > 0 ? [`  and ${hidden} more`] : []),
    ...section('Not in force:', inactive, () => ''),
    ...section('Nearest rules:', nearest, () => ''),
    '',
    ...changeLines(change.to, commands, change.note),
  ];
  return `${lines.join('\n')}\n`;
}

function section<R extends ExplainedRule & { why: string }>(
  title: string,
  rules: readonly R[],
  mark: (rule: R) => string,
): string[] {
  if (rules.length === 0) return [];
  return [
    '',
    title,
    ...rules.flatMap((rule) => [
      `  ${[mark(rule), rule.decision, textOf(rule)].filter((word) => word !== '').join('  ')}`,
      `    rule ${rule.rule} (${rule.source}, ${rule.scope})`,
      `    ${rule.why}`,
    ]),
  ];
}

function textOf({ resource, methods, paths = [] }: ExplainedRule): string {
  return methods === undefined ? resource : `${resource} ${methods.join(',')} ${paths.join(' ')}`;
}

function changeLines(to: string, commands: readonly string[], note: string | undefined): string[] {
  if (note !== undefined) return [`To ${to} it: ${note}`];
  return [`To ${to} it:`, ...commands.map((command) => `  ${command}`)];
}
