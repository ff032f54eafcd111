// `policy ls` and `policy check`: what is in force, and what it would say.
import { type Command, Option } from 'commander';
import type { CheckResult } from '../control/schemas.ts';
import { ruleLabel } from '../policy/reasons.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { type Cell, table } from './render.ts';
import { ensureInitialized } from './setup.ts';

/** A row of GET /policy/network/rules, as far as the listing uses it. */
type Rule = {
  readonly id: string;
  readonly name: string;
  readonly scope: string;
  readonly applies_to: string;
  readonly resource_type: string;
  readonly decision: string;
  readonly resources: readonly string[];
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
  readonly layer: string;
  readonly status: string;
  readonly provenance: { readonly created_via: string };
  readonly actions: readonly string[];
};

type ListOptions = {
  readonly json?: boolean;
  readonly type: string;
  readonly layout: 'provenance' | 'origin';
  readonly source?: string;
  readonly decision?: string;
  readonly protocol?: string;
  readonly createdVia?: string;
  readonly sandbox?: string;
  readonly includeInactive?: boolean;
};

export function addListCommands(policy: Command, context: Context): void {
  addList(policy, context);
  addCheck(policy, context);
}

function addList(policy: Command, context: Context): void {
  policy
    .command('ls')
    .alias('list')
    .description('list the rules in force')
    .argument('[sandbox]', 'global rules and those of this sandbox')
    .option('--sandbox <name>', 'the same')
    .addOption(
      new Option('--type <type>', 'rules of this type')
        .choices(['all', 'network', 'http', 'filesystem'])
        .default('all'),
    )
    .addOption(
      new Option('--layout <layout>', 'which columns')
        .choices(['provenance', 'origin'])
        .default('provenance'),
    )
    .addOption(
      new Option('--source <source>', 'rules from there').choices([
        'local',
        'kit',
        'org',
        'remote',
      ]),
    )
    .addOption(
      new Option('--decision <decision>', 'rules that decide so').choices(['allow', 'deny']),
    )
    .addOption(new Option('--protocol <protocol>', 'rules that cover it').choices(['tcp', 'udp']))
    .addOption(
      new Option('--created-via <way>', 'rules that came so').choices([
        'default',
        'added',
        'provisioned',
        'approval',
      ]),
    )
    .option('--include-inactive', 'with a STATUS column, and rules that are not in effect')
    .option('--wide', 'never wrap')
    .option('--json', 'print JSON')
    .action((sandbox: string | undefined, options: ListOptions & { wide?: boolean }) =>
      list(
        options.wide ? { ...context, columns: 0 } : context,
        options.sandbox ?? sandbox,
        options,
      ),
    );
}

function addCheck(policy: Command, context: Context): void {
  policy
    .command('check')
    .description('ask what the policy would say')
    .command('network')
    .description('would a connection be allowed? Exit code 0: allowed, 1: denied, 2: error')
    .argument('<target>', 'host, host:port, address or URL; port 443 unless named')
    .option('--method <method>', 'one request, to the path of the URL; GET when it has a path')
    .option('--sandbox <name>', 'as this sandbox; without it, by global rules alone')
    .addOption(
      new Option('--protocol <protocol>', 'transport').choices(['tcp', 'udp']).default('tcp'),
    )
    .option('--verbose', 'with the request, the rule and the policy generation')
    .option('--json', 'print JSON')
    .action((target: string, options: CheckOptions) => check(context, target, options));
}

async function list(
  context: Context,
  sandbox: string | undefined,
  options: ListOptions,
): Promise<void> {
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const answer = await client.get<{ rules: Rule[] }>('/policy/network/rules', {
      type: options.type,
      sandbox,
    });
    const rules = presetsFirst(answer.rules.filter((rule) => selected(rule, options)));
    if (options.json) return printJson(context, { rules });
    if (rules.length === 0) return context.out('No policies match the selected filters.\n');
    const { headings, row } = LAYOUTS[options.layout](options.includeInactive === true);
    const isHttp = rules.some(({ methods }) => methods !== undefined);
    const wide = isHttp ? [...headings, 'METHOD', 'PATH'] : headings;
    const rowOf = (rule: Rule): Cell[] =>
      isHttp ? [...row(rule), rule.methods?.join(',') ?? '-', rule.paths ?? '-'] : row(rule);
    context.out(table(wide, rules.map(rowOf), context.columns));
  });
}

/** What somebody added stands at the bottom, where it is looked for. */
function presetsFirst(rules: readonly Rule[]): Rule[] {
  const isPreset = (rule: Rule): boolean => rule.provenance.created_via === 'default';
  return [...rules.filter(isPreset), ...rules.filter((rule) => !isPreset(rule))];
}

function selected(rule: Rule, options: ListOptions): boolean {
  const source = options.source === 'remote' ? 'org' : options.source;
  if (source !== undefined && rule.layer !== source) return false;
  if (options.decision !== undefined && rule.decision !== options.decision) return false;
  if (options.createdVia !== undefined && rule.provenance.created_via !== options.createdVia)
    return false;
  if (options.protocol === undefined) return true;
  return rule.actions.some((action) => action.endsWith(`:${options.protocol}`));
}

type Layout = { readonly headings: string[]; readonly row: (rule: Rule) => Cell[] };

const LAYOUTS: Readonly<Record<ListOptions['layout'], (status: boolean) => Layout>> = {
  provenance: (status) => ({
    headings: [
      'PROVENANCE',
      'APPLIES_TO',
      'POLICY/RULE',
      'TYPE',
      'DECISION',
      ...(status ? ['STATUS'] : []),
      'RESOURCES',
    ],
    row: (rule) => [
      rule.layer === 'org' ? 'remote' : rule.layer,
      rule.applies_to,
      ruleLabel(rule.name),
      rule.resource_type,
      rule.decision,
      ...(status ? [rule.status] : []),
      rule.resources,
    ],
  }),
  origin: () => ({
    headings: ['NAME', 'TYPE', 'ORIGIN', 'DECISION', 'STATUS', 'RESOURCES'],
    row: (rule) => [
      ruleLabel(rule.name),
      rule.resource_type,
      rule.applies_to === 'all' ? 'local' : rule.applies_to,
      rule.decision,
      rule.status,
      rule.resources,
    ],
  }),
};

type CheckOptions = {
  readonly method?: string;
  readonly sandbox?: string;
  readonly protocol: string;
  readonly verbose?: boolean;
  readonly json?: boolean;
};

async function check(context: Context, target: string, options: CheckOptions): Promise<void> {
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const result = await client.post<CheckResult>('/policy/network/check', {
      type: 'network',
      target,
      protocol: options.protocol,
      ...(options.method !== undefined && { method: options.method }),
      ...(options.sandbox !== undefined && { sandbox_id: options.sandbox }),
      ...(options.verbose && { verbose: true }),
    });
    if (options.json) printJson(context, result);
    else context.out(checkText(result, options.verbose === true));
    context.exitWith(result.allowed ? 0 : 1);
  });
}

function checkText(result: CheckResult, verbose: boolean): string {
  const { allowed, reason = '' } = result;
  const lines = [
    `${allowed ? 'Allowed' : 'Denied'}: ${result.target}`,
    `Governance: ${result.governance.active ? 'Managed by your organization' : 'Local policy only'}`,
    `Context: ${result.context}`,
  ];
  if (!allowed) lines.push(`Reason: ${lowerFirst(reason)}`);
  if (!allowed && result.rule !== undefined) lines.push(`Rule: ${result.rule}`);
  if (verbose) {
    lines.push(`Action: ${result.action}`);
    lines.push(`Resource: ${result.resource_type} ${result.resource_value}`);
    if (result.matched_rule !== undefined) lines.push(`Matched rule: ${result.matched_rule}`);
    if (result.interception !== undefined) lines.push(...interceptionLines(result.interception));
    lines.push(`Generation: ${result.generation}`);
  }
  return `${lines.join('\n')}\n`;
}

function interceptionLines({
  intercepted,
  reason,
  credentials,
}: NonNullable<CheckResult['interception']>): string[] {
  return [
    `Intercepted: ${intercepted ? 'yes' : 'no'} (${reason})`,
    ...credentials.map(({ name, id, policy }) => `Credential: ${name} (${policy}) ${id}`),
  ];
}

/** The text form has `no matching allow rule`, the JSON form a capital. */
function lowerFirst(text: string): string {
  return text.startsWith('No ') ? `no ${text.slice(3)}` : text;
}
