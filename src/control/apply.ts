// `policy apply`: a file's policy put in force, and told as what changed.
import { APPLIED_CHANGES_MAX } from '../base/limits.ts';
import { methodNames } from '../policy/http.ts';
import type { Rule } from '../policy/rule.ts';
import { scopeName } from './listing.ts';
import type { Plan, Wanted } from './plan.ts';
import type { PolicyService, ScopeNames } from './policy.ts';
import type { ApplyResult } from './schemas-tools.ts';

type Services = { readonly policy: PolicyService; readonly sandboxes: ScopeNames };

/** @throws what PolicyService.apply throws */
export async function applyPolicy(
  { policy, sandboxes }: Services,
  wanted: Wanted,
  dryRun: boolean,
): Promise<ApplyResult> {
  const before = policy.preset;
  const { preset, kept, changes } = await policy.apply(wanted, dryRun);
  const count = (op: Plan['changes'][number]['op']): number =>
    changes.filter((change) => change.op === op).length;
  return {
    applied: !dryRun,
    preset: { before, after: preset },
    changes: changes.slice(0, APPLIED_CHANGES_MAX).map((change) => ({
      op: change.op,
      rule: factsOf(change.rule, sandboxes),
      ...(change.op === 'change' && { before: factsOf(change.before, sandboxes) }),
    })),
    added: count('add'),
    removed: count('remove'),
    changed: count('change'),
    kept,
    generation: policy.generation,
  };
}

function factsOf(
  rule: Omit<Rule, 'id' | 'source'> & { readonly id: string | null },
  sandboxes: ScopeNames,
): ApplyResult['changes'][number]['rule'] {
  const { id, scope, decision, resources, protocols, http } = rule;
  return {
    ...(id !== null && { id }),
    scope: scopeName(scope, sandboxes),
    decision,
    resources: resources.map(({ text }) => text),
    protocols,
    ...(http && { methods: methodNames(http), paths: http.paths }),
  };
}
