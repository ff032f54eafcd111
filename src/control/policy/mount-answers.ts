// What is told of a judged mount: the answers of `check filesystem`, `explain` and the mount itself.
import { EXPLAINED_RULES_MAX, NEAR_RULES_MAX } from '../../base/limits.ts';
import {
  type AccessVerdict,
  actionOf,
  decisive,
  isAllowed,
  mountDenial,
  type PathRule,
  pathTouches,
} from '../../policy/mount.ts';
import { explainMount, mountRemedy } from '../../policy/mount-explain.ts';
import { type Governance, inactiveReason, type Semantics } from '../../policy/precedence.ts';
import { ruleLabel } from '../../policy/reasons.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { MountExplained, MountResult } from '../api/schemas-filesystem.ts';
import type { ExplainedRule } from '../api/schemas-tools.ts';
import type { GovernanceFacts } from '../governance/status.ts';
import { scopeName } from './listing.ts';
import type { JudgedMount } from './mounts.ts';
import type { ScopeNames } from './policy.ts';

type Around = {
  readonly sandboxes: ScopeNames;
  readonly governance: () => GovernanceFacts;
  readonly policy: { readonly governance: { readonly supportMessage: string | null } | null };
};

export function mountAnswer(
  { asked, question, resolved, verdicts, generation }: JudgedMount,
  { sandboxes, governance, policy }: Around,
): MountResult {
  const allowed = isAllowed(verdicts);
  const deciding = decisive(verdicts);
  const support = policy.governance?.supportMessage ?? null;
  const { rule, ...facts } = verdictFacts(deciding);
  return {
    type: 'filesystem',
    target: asked.path,
    action: actionOf(deciding.access),
    resource_type: 'fs:path',
    resource_value: resolved.path,
    found: resolved.found,
    allowed,
    context: scopeName(question.scope, sandboxes),
    governance: governance(),
    ...(!allowed && { ...facts, ...(rule !== undefined && { rule }) }),
    accesses: verdicts.map((verdict) => ({
      action: actionOf(verdict.access),
      allowed: verdict.action === 'allow',
      ...verdictFacts(verdict),
    })),
    ...(!allowed && { message: mountDenial(verdicts, resolved.path, support) }),
    generation,
  };
}

type Facts = Pick<MountResult, 'deny_kind' | 'origin' | 'reason' | 'rule'>;

function verdictFacts({ action, kind, source, reason, rule }: AccessVerdict): Facts {
  return {
    ...(action === 'deny' && { deny_kind: kind }),
    ...(source !== null && { origin: source === 'remote' ? 'org' : source }),
    ...(reason !== null && { reason }),
    ...(rule !== null && { rule: ruleLabel(rule) }),
  };
}

const GOVERNED =
  'your organization decides, and does not leave filesystem rules to local policy; only who manages its policy can change that';

type ExplainAround = Pick<Around, 'sandboxes'> & {
  readonly policy: { readonly governance: Governance | null; readonly semantics: Semantics };
};

export function mountExplanation(
  { asked, question, rules, inactive, resolved, generation }: JudgedMount,
  { sandboxes, policy: { governance, semantics } }: ExplainAround,
): MountExplained {
  const { path } = resolved;
  const { writable, sandbox } = asked;
  const { verdicts, why, considered, near } = explainMount(rules, question, path, writable);
  const allowed = isAllowed(verdicts);
  const { reason, rule } = decisive(verdicts);
  const scopeWords = question.scope === GLOBAL_SCOPE ? [] : ['--sandbox', sandbox ?? ''];
  const to = allowed ? 'deny' : 'allow';
  const isOurs = { source: 'local', decision: to } as const;
  const { commands, note } =
    inactiveReason(isOurs, 'filesystem', governance, semantics) === null
      ? mountRemedy(rules, question, { path, writable, scopeWords })
      : { commands: [], note: GOVERNED };
  const factsOf = (one: PathRule, pattern: string): ExplainedRule => ({
    rule: ruleLabel(one.id),
    source: one.source,
    scope: scopeName(one.scope, sandboxes),
    decision: one.decision,
    resource: `${one.access} ${pattern}`,
  });
  return {
    target: path,
    context: scopeName(question.scope, sandboxes),
    allowed,
    why,
    ...(reason !== null && { reason }),
    ...(rule !== null && { rule: ruleLabel(rule) }),
    considered: considered
      .slice(0, EXPLAINED_RULES_MAX)
      .map((one) => ({ ...factsOf(one.rule, one.pattern), standing: one.standing, why: one.why })),
    considered_total: considered.length,
    inactive: inactive.slice(0, EXPLAINED_RULES_MAX).flatMap(({ ready, why }) => {
      const pattern = pathTouches(ready, question);
      return pattern === null ? [] : [{ ...factsOf(ready.rule, pattern.text), why }];
    }),
    nearest: near
      .slice(0, NEAR_RULES_MAX)
      .map((one) => ({ ...factsOf(one.rule, one.pattern), why: one.why })),
    change: {
      to,
      commands: [...commands],
      ...(note !== undefined && { note }),
    },
    generation,
  };
}
