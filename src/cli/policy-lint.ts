// `policy lint`: what is wrong with a policy without being invalid, of a file or of what is in force.
import type { Command } from 'commander';
import { LINT_FINDINGS_MAX } from '../base/limits.ts';
import { ScopeTable } from '../documents/document.ts';
import { methodNames } from '../policy/http.ts';
import { type Finding, type Lint, lint } from '../policy/lint.ts';
import { ruleLabel } from '../policy/reasons.ts';
import { commandOf, requestWords } from '../policy/remedy.ts';
import { GLOBAL_SCOPE, type Rule } from '../policy/rule.ts';
import { type Context, printJson, withDaemon } from './context.ts';
import { fileRules, runningRules } from './policy-source.ts';
import { ensureInitialized } from './setup.ts';

type Options = { readonly all?: boolean; readonly json?: boolean };

type Linted = { readonly lint: Lint; readonly rules: number; readonly scopes: ScopeTable };

export function addLintCommand(policy: Command, context: Context): void {
  policy
    .command('lint')
    .description(
      'find rules without effect, rules against each other, and rules that are too broad',
    )
    .argument('[file]', 'a policy file, - for stdin; without it, the policy in force')
    .option('--all', 'rules of the preset, of kits and of the organization, too')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Exit code 0: nothing found, 1: something found, 2: error.

contradictory  allowed and denied alike
unreachable    an allow that lies wholly under a deny
duplicate      said before
shadowed       said by a broader rule
ineffective    an allow for some requests, next to one for all
over-broad     an allow that opens more than people mean, such as **.amazonaws.com
`,
    )
    .action((file: string | undefined, options: Options) => run(context, file, options));
}

async function run(context: Context, file: string | undefined, options: Options): Promise<void> {
  const linted = await (file === undefined
    ? lintRunning(context, options)
    : lintFile(context, file, options));
  if (options.json) printJson(context, jsonOf(linted));
  else context.out(textOf(linted, file === undefined ? context.program : null));
  context.exitWith(linted.lint.findings.length > 0 || !linted.lint.complete ? 1 : 0);
}

async function lintFile(context: Context, file: string, { all }: Options): Promise<Linted> {
  const scopes = new ScopeTable();
  const rules = await fileRules(context, file, scopes);
  const found = lint(rules, ({ id }) => all === true || !id.startsWith('default-'));
  return { lint: found, rules: rules.length, scopes };
}

/** What the user cannot change is found fault with on demand. */
function lintRunning(context: Context, { all }: Options): Promise<Linted> {
  return withDaemon(context, async (client) => {
    await ensureInitialized(context, client);
    const scopes = new ScopeTable();
    const rules = await runningRules(client, scopes);
    const fixed = new Set(
      rules
        .filter(({ source, createdVia }) => source !== 'local' || createdVia === 'default')
        .map(({ id }) => id),
    );
    const found = lint(rules, ({ id }) => all === true || !fixed.has(id));
    return { lint: found, rules: rules.length, scopes };
  });
}

function textOf({ lint, rules, scopes }: Linted, program: string | null): string {
  const { findings, complete } = lint;
  const shown = findings.slice(0, LINT_FINDINGS_MAX);
  const hidden = findings.length - shown.length;
  const lines = shown.flatMap((finding) => findingLines(finding, scopes, program));
  if (hidden > 0) lines.push(`and ${hidden} more`);
  if (!complete) lines.push('There are too many rules that overlap to compare them all.');
  const summary =
    findings.length === 0 ? `No findings in ${rules} rules.` : summaryOf(findings, rules);
  return `${[...lines, summary].join('\n')}\n`;
}

function findingLines(finding: Finding, scopes: ScopeTable, program: string | null): string[] {
  const { kind, severity, rule, reason } = finding;
  const fix = program === null ? null : fixOf(finding, program);
  return [
    `${severity}: ${kind}: ${saidBy(finding)}`,
    `  rule ${ruleLabel(rule.id)} (${scopeText(rule, scopes)})`,
    `  ${reason}`,
    ...(fix === null ? [] : [`  To remove it: ${fix}`]),
    '',
  ];
}

function saidBy({ rule, resource }: Pick<Finding, 'rule' | 'resource'>): string {
  return [rule.decision, resource.text, ...requestWords(rule.http)].join(' ');
}

/** Only where nothing else would go with it. */
function fixOf({ kind, rule }: Finding, program: string): string | null {
  if (kind === 'over-broad' || rule.source !== 'local' || rule.resources.length > 1) return null;
  return `${program} ${commandOf({ op: 'remove', rule }, String)}`;
}

function summaryOf(findings: readonly Finding[], rules: number): string {
  const counts = (['error', 'warning', 'info'] as const).flatMap((severity) => {
    const count = findings.filter((one) => one.severity === severity).length;
    return count === 0 ? [] : [`${count} ${severity}`];
  });
  const found = findings.length === 1 ? '1 finding' : `${findings.length} findings`;
  return `${found} in ${rules} rules: ${counts.join(', ')}`;
}

function jsonOf({ lint: { findings, complete }, rules, scopes }: Linted): unknown {
  return {
    findings: findings.slice(0, LINT_FINDINGS_MAX).map((finding) => ({
      kind: finding.kind,
      severity: finding.severity,
      ...factsOf(finding, scopes),
      ...(finding.by && { by: factsOf(finding.by, scopes) }),
      reason: finding.reason,
    })),
    total: findings.length,
    complete,
    rules,
  };
}

function factsOf(
  { rule, resource }: Pick<Finding, 'rule' | 'resource'>,
  scopes: ScopeTable,
): Record<string, unknown> {
  const { id, source, decision, http } = rule;
  return {
    rule: ruleLabel(id),
    source,
    scope: scopeText(rule, scopes),
    decision,
    resource: resource.text,
    ...(http && { methods: methodNames(http), paths: http.paths }),
  };
}

function scopeText({ scope }: Rule, scopes: ScopeTable): string {
  return scope === GLOBAL_SCOPE ? 'global' : `sandbox:${scopes.nameOf(scope)}`;
}
