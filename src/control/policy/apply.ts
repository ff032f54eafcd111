// `policy apply`: a file's policy put in force, and told as what changed.
import { APPLIED_CHANGES_MAX } from '../../base/limits.ts';
import { methodNames } from '../../policy/http.ts';
import type { Decision, Rule } from '../../policy/rule.ts';
import type { ApplyResult } from '../api/schemas-tools.ts';
import { scopeName } from './listing.ts';
import type { Plan, Wanted } from './plan.ts';
import type { PlannedPathRule } from './plan-paths.ts';
import type { PolicyService, ScopeNames } from './policy.ts';

type PathFacts = Pick<PlannedPathRule, 'access' | 'patterns'>;

type Services = { readonly policy: PolicyService; readonly sandboxes: ScopeNames };

/** @throws what PolicyService.apply throws */
export async function applyPolicy(
  { policy, sandboxes }: Services,
  wanted: Wanted,
  dryRun: boolean,
): Promise<ApplyResult> {
  const before = policy.preset;
  const { preset, kept, changes, paths } = await policy.apply(wanted, dryRun);
  const all = [...changes, ...paths.changes];
  const count = (op: Plan['changes'][number]['op']): number =>
    all.filter((change) => change.op === op).length;
  return {
    applied: !dryRun,
    preset: { before, after: preset },
    changes: all.slice(0, APPLIED_CHANGES_MAX).map((change) => ({
      op: change.op,
      rule: factsOf(change.rule, sandboxes),
      ...(change.op === 'change' && { before: factsOf(change.before, sandboxes) }),
    })),
    added: count('add'),
    removed: count('remove'),
    changed: count('change'),
    kept: kept + paths.kept,
    generation: policy.generation,
  };
}

type Facts = ApplyResult['changes'][number]['rule'];
type Told = { readonly id: string | null; readonly scope: number; readonly decision: Decision };
type ToldRule = Told & Pick<Rule, 'resources' | 'protocols' | 'http'>;

function factsOf(rule: ToldRule | (Told & PathFacts), sandboxes: ScopeNames): Facts {
  const { id, scope, decision } = rule;
  const common = { ...(id !== null && { id }), scope: scopeName(scope, sandboxes), decision };
  if ('access' in rule) {
    return { ...common, resources: rule.patterns.map(({ text }) => text), access: rule.access };
  }
  const { resources, protocols, http } = rule;
  return {
    ...common,
    resources: resources.map(({ text }) => text),
    protocols,
    ...(http && { methods: methodNames(http), paths: http.paths }),
  };
}
