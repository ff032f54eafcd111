// How `policy ls` and `policy inspect` lay rules out. The columns and their words are those of sbx, by
// version; scripts cut them.

import type { Inspected } from '../control/api/schemas.ts';
import type { GovernanceFacts } from '../control/governance/status.ts';
import { ruleLabel } from '../policy/reasons.ts';
import type { Cell } from './render.ts';

/** A row of GET /policy/network/rules, as far as listings use it. */
export type ListedRule = Pick<
  Inspected['rules'][number],
  | 'id'
  | 'name'
  | 'policy_id'
  | 'policy_name'
  | 'applies_to'
  | 'resource_type'
  | 'decision'
  | 'resources'
  | 'methods'
  | 'paths'
  | 'layer'
  | 'status'
  | 'inactive_reason'
  | 'provenance'
  | 'actions'
>;

export const LAYOUT_NAMES = ['provenance', 'origin', 'overview', 'wide'] as const;
export type LayoutName = (typeof LAYOUT_NAMES)[number];

type Column = readonly [heading: string, cell: (rule: ListedRule) => Cell];
type LaidOut = { readonly headings: string[]; readonly rows: Cell[][] };

const STATUS_WIDTH = 27;

/** @param status  with a STATUS column */
export function layOut(name: LayoutName, rules: readonly ListedRule[], status: boolean): LaidOut {
  if (name === 'overview') return overview(rules, status);
  const columns = [...COLUMNS[name](status)];
  if (rules.some(({ methods }) => methods !== undefined)) columns.push(...REQUESTS);
  return {
    headings: columns.map(([heading]) => heading),
    rows: rules.map((rule) => columns.map(([, cell]) => cell(rule))),
  };
}

const RESOURCES: Column = ['RESOURCES', ({ resources }) => resources];
const TYPE: Column = ['TYPE', ({ resource_type: type }) => type];
const DECISION: Column = ['DECISION', ({ decision }) => decision];
const STATUS: Column = ['STATUS', statusCell];
const REQUESTS: readonly Column[] = [
  ['METHOD', ({ methods }) => methods?.join(',') ?? '-'],
  ['PATH', ({ paths }) => paths ?? '-'],
];

const COLUMNS: Readonly<
  Record<Exclude<LayoutName, 'overview'>, (status: boolean) => readonly Column[]>
> = {
  provenance: (status) => [
    ['PROVENANCE', ({ layer }) => (layer === 'org' ? 'remote' : layer)],
    ['APPLIES_TO', ({ applies_to: who }) => who],
    ['POLICY/RULE', ruleName],
    TYPE,
    DECISION,
    ...(status ? [STATUS] : []),
    RESOURCES,
  ],
  origin: () => [
    ['NAME', ruleName],
    TYPE,
    ['ORIGIN', ({ applies_to: who }) => (who === 'all' ? 'local' : who)],
    DECISION,
    ['STATUS', ({ status }) => status],
    RESOURCES,
  ],
  wide: (status) => [
    ['SOURCE', ({ layer }) => layer],
    ['APPLIES TO', ({ applies_to: who }) => who],
    ['POLICY', ({ policy_name: policy, policy_id: id }) => policy ?? id],
    ['POLICY_ID', ({ policy_id: id }) => id],
    ['RULE', ({ name }) => ruleLabel(name)],
    ['RULE_ID', ({ id }) => id],
    TYPE,
    DECISION,
    ...(status ? [['STATUS', ({ status }: ListedRule) => status] as Column] : []),
    RESOURCES,
  ],
};

/** Rules of an organisation are told by their policy, too. */
function ruleName({ name, policy_name: policy }: ListedRule): string {
  return policy === undefined ? ruleLabel(name) : `${policy} / ${name}`;
}

function statusCell({ status, inactive_reason: reason }: ListedRule): Cell {
  return reason === undefined ? status : wrapWords(`${status} — ${reason}`, STATUS_WIDTH);
}

function wrapWords(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}

/** One row a policy; its summary counts resources, as sbx does. */
function overview(rules: readonly ListedRule[], status: boolean): LaidOut {
  const policies = new Map<string, ListedRule[]>();
  for (const rule of rules) {
    const key = JSON.stringify([rule.policy_id, rule.layer, rule.applies_to, rule.status]);
    policies.set(key, [...(policies.get(key) ?? []), rule]);
  }
  const rows = [...policies.values()].map((own): Cell[] => {
    const [first] = own;
    if (first === undefined) return [];
    const { policy_id: id, policy_name: name = id, layer, applies_to: who } = first;
    return [name, layer, who, summary(own), ...(status ? [first.status] : [])];
  });
  const headings = ['POLICY', 'SOURCE', 'APPLIES TO', 'SUMMARY', ...(status ? ['STATUS'] : [])];
  return { headings, rows };
}

const SUMMED = [
  ['network', ['network', 'http']],
  ['filesystem read', ['filesystem:read']],
  ['filesystem write', ['filesystem:write']],
] as const;

/** `network: 42 allow, 1 deny; filesystem read: 1 allow` */
function summary(rules: readonly ListedRule[]): string {
  const isLayered = rules.some(({ methods }) => methods !== undefined);
  const parts = SUMMED.map(([label, types]) => {
    const own = rules.filter(({ resource_type: type }) => types.some((one) => one === type));
    return [label, counted(own, isLayered && label === 'network')] as const;
  });
  return parts.flatMap(([label, told]) => (told === '' ? [] : [`${label}: ${told}`])).join('; ');
}

/** @param layers  tell rules for requests (L7) from those for connections (L4) */
function counted(rules: readonly ListedRule[], layers: boolean): string {
  const counts = new Map<string, number>();
  for (const { decision, resources, methods } of rules) {
    const layer = methods === undefined ? ' (L4)' : ' (L7)';
    const key = `${decision}${layers ? layer : ''}`;
    counts.set(key, (counts.get(key) ?? 0) + resources.length);
  }
  const told = [...counts].sort(([one], [other]) => one.localeCompare(other));
  return told.map(([key, count]) => `${count} ${key}`).join(', ');
}

/** What stands above a listing while an organisation governs. */
export function headerOf(governance: GovernanceFacts, hidden: number): string {
  if (!governance.active) return '';
  const { organization, last_synced_status: status = 'ok', last_synced_at: at } = governance;
  const state = status === 'ok' ? 'OK' : status;
  const { last_synced_message: message } = governance;
  const lines = [
    'Policy rules',
    '------------',
    `Governance  Managed by ${organization}`,
    `Sync        ${state}${at === undefined ? '' : `, last synced ${clockTime(at)}`}${message === undefined ? '' : ` (${message})`}`,
  ];
  if (hidden > 0) {
    const what = `${hidden} inactive ${hidden === 1 ? 'rule' : 'rules'}`;
    lines.push(`Hidden      ${what}. Show with: sbx policy ls --include-inactive`);
  }
  return `${lines.join('\n')}\n\n`;
}

function clockTime(iso: string): string {
  return new Date(iso).toTimeString().slice(0, 8);
}

/** Each resource a line, and the exact command that removes the rule. */
export function inspectedText({ policy, rules }: Inspected): string {
  const head = [`Policy: ${policy.name} (${policy.id})`, `Source: ${policy.source}`];
  const blocks = rules.map((rule) =>
    [
      `Rule: ${ruleLabel(rule.name)} (${rule.id})`,
      `  Type:       ${rule.resource_type}`,
      `  Decision:   ${rule.decision}`,
      `  Applies to: ${rule.applies_to}`,
      `  Status:     ${rule.status}${rule.inactive_reason === undefined ? '' : ` — ${rule.inactive_reason}`}`,
      ...(rule.methods === undefined
        ? []
        : [`  Requests:   ${rule.methods.join(',')} ${rule.paths?.join(' ')}`]),
      '  Resources:',
      ...rule.resources.map((resource) => `    ${resource}`),
      ...changeLines(rule),
    ].join('\n'),
  );
  return `${[head.join('\n'), ...blocks].join('\n\n')}\n`;
}

function changeLines(rule: Inspected['rules'][number]): string[] {
  const { remove_command: remove, override_command: override } = rule;
  if (remove !== undefined) return [`  Remove:     ${remove}`];
  const lines = [`  Read-only:  ${rule.read_only_reason ?? 'it cannot be removed'}`];
  if (override !== undefined) lines.push(`  Override:   ${override}`);
  return lines;
}
