// `policy replay`: what a policy would have said of what sandboxes did. Reads files; needs no daemon.
import type { Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { readAudit } from '../control/audit/read.ts';
import { Replay, type ReplayRow } from '../control/policy/replay.ts';
import { ScopeTable } from '../documents/document.ts';
import { offlineMatcher } from '../matcher/offline.ts';
import type { AddressGuard } from '../policy/judge.ts';
import { ruleLabel } from '../policy/reasons.ts';
import { type Context, printJson } from './context.ts';
import { addressGuardOption } from './policy-diff.ts';
import { fileRules } from './policy-source.ts';
import { table } from './render.ts';
import { age, eachOf } from './values.ts';

type Options = {
  readonly log?: readonly string[];
  readonly policy: string;
  readonly since?: number;
  readonly strict?: boolean;
  readonly addressGuard: AddressGuard;
  readonly json?: boolean;
};

export function addReplayCommand(policy: Command, context: Context): void {
  policy
    .command('replay')
    .description('say which recorded exchanges a policy file would decide otherwise')
    .requiredOption('--policy <file>', 'the policy file, - for stdin')
    .option('--log <path>', 'audit files or a folder of them (default: the audit here)', eachOf)
    .option('--since <time>', 'only what began since then: 30m, 1h, 7d', age)
    .option('--strict', 'exit code 1 also for exchanges that cannot be judged again')
    .addOption(addressGuardOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Exit code 0: all would be decided as they were, 1: some would not, 2: error.
The file is taken for all the policy there is, without rules of kits and of the organization.
`,
    )
    .action((options: Options) => replay(context, options));
}

async function replay(context: Context, options: Options): Promise<void> {
  const scopes = new ScopeTable();
  const rules = await fileRules(context, options.policy, scopes);
  const found = new Replay(await offlineMatcher(rules), scopes, options.addressGuard);
  const since = options.since === undefined ? 0 : systemClock.wallMs() - options.since;
  for await (const record of readAudit(options.log ?? [context.paths.audit], since)) {
    found.add(record);
  }
  if (options.json)
    printJson(context, { ...found.counts, omitted: found.omitted, rows: found.rows });
  else context.out(textOf(found));
  const { newly_allowed: opened, newly_denied: closed, undecided } = found.counts;
  const changed = opened + closed + (options.strict ? undecided : 0);
  context.exitWith(changed > 0 ? 1 : 0);
}

function textOf({ counts, rows, omitted }: Replay): string {
  const sections = [
    section('Newly denied:', rows, 'deny'),
    section('Newly allowed:', rows, 'allow'),
    section('Not to be judged again:', rows, null),
  ].filter((text) => text !== '');
  const more = omitted > 0 ? [`and ${omitted} exchanges of other kinds\n`] : [];
  const { replayed, newly_denied: closed, newly_allowed: opened, undecided } = counts;
  const summary = `${replayed} exchanges: ${closed} newly denied, ${opened} newly allowed, ${undecided} not to be judged again\n`;
  return [...sections, ...more, summary].join('\n');
}

const HEADINGS = ['SANDBOX', 'REQUEST', 'COUNT', 'FIRST', 'RULE BEFORE', 'RULE AFTER', 'REASON'];

function section(title: string, all: readonly ReplayRow[], after: ReplayRow['after']): string {
  const rows = all.filter((row) => row.after === after);
  if (rows.length === 0) return '';
  const cells = rows.map((row) => [
    row.sandbox,
    `${row.method} ${row.target}${row.path ?? ''}`,
    String(row.count),
    String(row.first_seq),
    labelOf(row.rule_before),
    labelOf(row.rule_after),
    row.reason ?? '',
  ]);
  return `${title}\n${table(HEADINGS, cells)}`;
}

function labelOf(rule: string | null): string {
  return rule === null ? '-' : ruleLabel(rule);
}
