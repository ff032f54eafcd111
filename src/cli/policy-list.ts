// `policy ls` and `policy check`: what is in force, and what it would say.
import { type Command, Option } from 'commander';
import type { CheckResult, Inspected } from '../control/api/schemas.ts';
import type { GovernanceFacts } from '../control/governance/status.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { type FormatOptions, print, withFormat } from './format.ts';
import {
  headerOf,
  inspectedText,
  LAYOUT_NAMES,
  type LayoutName,
  type ListedRule,
  layOut,
} from './policy-layouts.ts';
import { table } from './render.ts';
import { ensureInitialized } from './setup.ts';
import { sandboxNamed } from './values.ts';

/** Of GET /policy/network/rules; a daemon from before an upgrade knows of no bypass. */
type Listing = { readonly rules: readonly ListedRule[]; readonly bypass?: readonly string[] };

type ListOptions = FormatOptions & {
  readonly type: string;
  readonly layout?: LayoutName;
  readonly wide?: boolean;
  readonly source?: string;
  readonly decision?: string;
  readonly protocol?: string;
  readonly createdVia?: string;
  readonly sandbox?: string;
  readonly includeInactive?: boolean;
  readonly profile?: string;
};

export function addListCommands(policy: Command, context: Context): void {
  addList(policy, context);
  addProfileList(policy, context);
  addInspect(policy, context);
  addRefresh(policy, context);
  addCheck(policy, context);
}

function addList(policy: Command, context: Context): void {
  withFormat(policy.command('ls'))
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
      new Option('--layout <layout>', 'which columns; default: provenance').choices(LAYOUT_NAMES),
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
    .option('--profile <name>', 'rules of this profile; there are no profiles yet')
    .option('--wide', 'all columns, never wrapped; as --layout wide')
    .action((sandbox: string | undefined, options: ListOptions) =>
      list(context, sandboxNamed(options.sandbox, sandbox), options),
    );
}

/** As sbx has it where no profile is: they come with remote governance, which has none here. */
function addProfileList(policy: Command, context: Context): void {
  policy
    .command('profile')
    .description('named sets of rules; there are none yet')
    .command('ls')
    .alias('list')
    .description('list the profiles')
    .option('-q, --quiet', 'names alone')
    .option('--json', 'print JSON')
    .action(({ json, quiet }: { json?: boolean; quiet?: boolean }) => {
      if (json) printJson(context, { profiles: [], policy_rules_unavailable: false });
      else if (!quiet) context.out('No policy profiles found\n');
    });
}

function addInspect(policy: Command, context: Context): void {
  withFormat(policy.command('inspect'))
    .description('show one rule, or one policy with its rules, and how to remove them')
    .argument('<selector>', 'id or name; rule:NAME or policy:NAME where both fit')
    .action((selector: string, options: FormatOptions) =>
      withDaemon(context, async (client) => {
        await ensureInitialized(context, client);
        const found = await client.get<Inspected>('/policy/inspect', { selector });
        print(context, options, found, inspectedText);
      }),
    );
}

function addRefresh(policy: Command, context: Context): void {
  policy
    .command('refresh')
    .description('ask the organization that governs for its policies now')
    .option('--json', 'print JSON')
    .action(({ json }: { json?: boolean }) =>
      withDaemon(context, async (client) => {
        const governance = await client.post<GovernanceFacts>('/policy/refresh');
        if (json) return printJson(context, governance);
        const told = governance.active
          ? `Policy of ${governance.organization} refreshed`
          : 'No organization governs this daemon';
        context.out(`${told}\n`);
      }),
    );
}

function addCheck(policy: Command, context: Context): void {
  const asking = policy.command('check').description('ask what the policy would say');
  withFormat(asking.command('network'))
    .description('would a connection be allowed? Exit code 0: allowed, 1: denied, 2: error')
    .argument('<target>', 'host, host:port, address or URL; port 443 unless named')
    .option('--method <method>', 'one request, to the path of the URL; GET when it has a path')
    .option('--sandbox <name>', 'as this sandbox; without it, by global rules alone')
    .addOption(
      new Option('--protocol <protocol>', 'transport').choices(['tcp', 'udp']).default('tcp'),
    )
    .option('--verbose', 'with the request, the rule and the policy generation')
    .action((target: string, options: CheckOptions) => check(context, target, options));
}

async function list(
  context: Context,
  sandbox: string | undefined,
  options: ListOptions,
): Promise<void> {
  await withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const governance = await client.get<GovernanceFacts>('/policy/governance');
    const { bypass = [], ...answer } = await client.get<Listing>('/policy/network/rules', {
      type: options.type,
      sandbox,
      include_inactive: String(options.includeInactive === true || governance.active),
    });
    const all = inOrder(answer.rules.filter((rule) => selected(rule, options)));
    const shown = options.includeInactive ? all : all.filter(({ status }) => status === 'active');
    print(context, options, { rules: shown, bypass }, () => {
      const header = headerOf(governance, all.length - shown.length);
      const listing = listingOf(shown, options, context.columns);
      const never = bypass.length > 0 ? `\nNever intercepted: ${bypass.join(', ')}\n` : '';
      return header + listing + never;
    });
  });
}

function listingOf(rules: readonly ListedRule[], options: ListOptions, columns: number): string {
  if (rules.length === 0) return 'No policies match the selected filters.\n';
  const name = options.layout ?? (options.wide ? 'wide' : 'provenance');
  const { headings, rows } = layOut(name, rules, options.includeInactive === true);
  return table(headings, rows, name === 'wide' ? 0 : columns);
}

/**
 * Presets, then what somebody added, which is looked for at the bottom; then an organisation's rules,
 * policy by policy.
 */
function inOrder(rules: readonly ListedRule[]): ListedRule[] {
  const groups = Map.groupBy(rules, ({ layer, provenance }) => {
    if (layer === 'org') return 'org';
    return provenance.created_via === 'default' ? 'preset' : 'added';
  });
  const [presets = [], added = [], org = []] = (['preset', 'added', 'org'] as const).map((group) =>
    groups.get(group),
  );
  const policies = [...Map.groupBy(org, policyOf)].sort(([one], [other]) => (one < other ? -1 : 1));
  return [...presets, ...added, ...policies.flatMap(([, own]) => own)];
}

function policyOf({ policy_name: name, policy_id: id }: ListedRule): string {
  return name ?? id;
}

function selected(rule: ListedRule, options: ListOptions): boolean {
  if (options.profile !== undefined) return false; // No rule is a profile's.
  const source = options.source === 'remote' ? 'org' : options.source;
  if (source !== undefined && rule.layer !== source) return false;
  if (options.decision !== undefined && rule.decision !== options.decision) return false;
  if (options.createdVia !== undefined && rule.provenance.created_via !== options.createdVia)
    return false;
  if (options.protocol === undefined) return true;
  return rule.actions.some((action) => action.endsWith(`:${options.protocol}`));
}

type CheckOptions = FormatOptions & {
  readonly method?: string;
  readonly sandbox?: string;
  readonly protocol: string;
  readonly verbose?: boolean;
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
    print(context, options, result, (one) => checkText(one, options.verbose === true));
    context.exitWith(result.allowed ? 0 : 1);
  });
}

function checkText(result: CheckResult, verbose: boolean): string {
  const { allowed, reason = '' } = result;
  const lines = [
    `${allowed ? 'Allowed' : 'Denied'}: ${result.target}`,
    `Governance: ${governedBy(result.governance)}`,
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

function governedBy({ active, organization }: CheckResult['governance']): string {
  return active ? `Managed by ${organization}` : 'Local policy only';
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
