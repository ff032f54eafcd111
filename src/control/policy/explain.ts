// `policy explain`: looks at all rules in force for one target, in slices, so that the daemon answers
// others meanwhile. What is found is decided and worded in policy/explain.ts.
import { setImmediate as turn } from 'node:timers/promises';
import { EXPLAIN_SLICE_MAX, EXPLAINED_RULES_MAX, NEAR_RULES_MAX } from '../../base/limits.ts';
import { type Asked, type Considered, explain, judgeBy, touches } from '../../policy/explain.ts';
import {
  type HttpMatch,
  methodNames,
  type PathCovered,
  somePathMatches,
} from '../../policy/http.ts';
import type { AddressGuard, TargetVerdict } from '../../policy/judge.ts';
import { type Near, nearMiss } from '../../policy/near.ts';
import { readingsOf } from '../../policy/path.ts';
import {
  type Governance,
  inactiveReason,
  inForce,
  type Semantics,
} from '../../policy/precedence.ts';
import { ruleLabel } from '../../policy/reasons.ts';
import { commandOf, remedyOf } from '../../policy/remedy.ts';
import { formatHostPort, type Resource } from '../../policy/resource.ts';
import { GLOBAL_SCOPE, type Rule } from '../../policy/rule.ts';
import { parseTarget } from '../../policy/target.ts';
import type { ExplainedRule, ExplainResult } from '../api/schemas-tools.ts';
import { type CheckRequest, requestOf } from './check.ts';
import { scopeName } from './listing.ts';
import type { ScopeNames } from './policy.ts';

type Services = {
  readonly policy: {
    readonly rules: readonly Rule[];
    readonly generation: number;
    readonly governance: Governance | null;
    readonly semantics: Semantics;
  };
  readonly sandboxes: ScopeNames;
  readonly addressGuard: AddressGuard;
};

/** @throws SALLYPORT_NOT_FOUND for an unknown sandbox, SALLYPORT_TARGET_INVALID, SALLYPORT_USAGE */
export async function explainTarget(
  { policy, sandboxes, addressGuard }: Services,
  { target, sandbox_id: sandbox, protocol, method }: Omit<CheckRequest, 'verbose'>,
): Promise<ExplainResult> {
  const scope = sandbox === undefined ? GLOBAL_SCOPE : sandboxes.numberOf(sandbox);
  const { host, port, path } = parseTarget(target);
  const question = { scope, host, port, protocol };
  const request = requestOf(method, path);
  const { rules, generation, governance, semantics } = policy;
  const reasonOf = (rule: Rule): string | null =>
    inactiveReason(rule, 'network', governance, semantics);
  const covering = await slicewise(rules, (rule) => touches(rule, question) !== null);
  const touching = inForce(covering, governance, semantics);
  // As `policy check` has it: where no HTTP rule asks, a URL is its host.
  const { http } = judgeBy(touching, { question, guard: addressGuard });
  const asked: Asked = {
    question,
    guard: addressGuard,
    ...((http || method !== undefined) && { request }),
    covered: await remembered(touching, request),
  };
  const explanation = explain(touching, asked, EXPLAINED_RULES_MAX);
  const { verdict, why, considered } = explanation;
  const nameOf = (number: number): string => scopeName(number, sandboxes);
  const active = (rule: Rule): boolean => reasonOf(rule) === null;
  const near = verdict.kind === 'implicit' ? await nearest(rules, active, asked, nameOf) : [];
  const inactive = covering.flatMap((rule) => inactiveFacts(rule, asked, reasonOf(rule), nameOf));
  const steps = isLeftToUs(verdict, policy) ? remedyOf(touching, explanation, asked) : GOVERNED;
  const plain = (number: number): string => sandboxes.nameOf(number) ?? `#${number}`;
  return {
    target: formatHostPort(host, port) + (asked.request?.target ?? ''),
    ...(asked.request && { method: asked.request.method }),
    context: nameOf(scope),
    protocol,
    allowed: verdict.action === 'allow',
    why,
    ...(verdict.reason !== null && { reason: verdict.reason }),
    ...(verdict.rule !== null && { rule: ruleLabel(verdict.rule) }),
    considered: considered.map((one) => consideredOf(one, nameOf)),
    considered_total: touching.length,
    inactive: inactive.slice(0, EXPLAINED_RULES_MAX),
    nearest: near.map((one) => ({ ...ruleFacts(one, nameOf), why: one.why })),
    change: {
      to: verdict.action === 'allow' ? 'deny' : 'allow',
      commands: typeof steps === 'string' ? [] : steps.map((step) => commandOf(step, plain)),
      ...(typeof steps === 'string' && { note: steps }),
    },
    generation,
  };
}

/** Paths of 8 KiB against hostile patterns take long: so each pair is compared once, in slices. */
async function remembered(rules: readonly Rule[], request: Asked['request']): Promise<PathCovered> {
  const known = new Map<HttpMatch, Map<string, boolean>>();
  const covered: PathCovered = (match, path) => {
    const answers = known.get(match) ?? new Map<string, boolean>();
    known.set(match, answers);
    const answer = answers.get(path) ?? somePathMatches(match, path);
    answers.set(path, answer);
    return answer;
  };
  const readings = request === undefined ? [] : readingsOf(request.target);
  for (const { http } of rules) {
    for (const path of http === undefined || typeof readings === 'string' ? [] : readings) {
      if (http !== undefined) covered(http, path);
      await turn();
    }
  }
  return covered;
}

const GOVERNED =
  'your organization decides, and does not leave network rules to local policy; only who manages its policy can change that';

/** Whether a local rule could turn the verdict around. */
function isLeftToUs(
  { action }: TargetVerdict,
  { governance, semantics }: Services['policy'],
): boolean {
  const decision = action === 'allow' ? 'deny' : 'allow';
  return inactiveReason({ source: 'local', decision }, 'network', governance, semantics) === null;
}

/** What would have a say if its source had one. */
function inactiveFacts(
  rule: Rule,
  { question }: Asked,
  why: string | null,
  nameOf: (scope: number) => string,
): (ExplainedRule & { readonly why: string })[] {
  const resource = why === null ? null : touches(rule, question);
  return resource === null || why === null
    ? []
    : [{ ...ruleFacts({ rule, resource }, nameOf), why }];
}

/** The nearest first; of those as near, the first in the list. */
async function nearest(
  rules: readonly Rule[],
  isActive: (rule: Rule) => boolean,
  { question }: Asked,
  nameOf: (scope: number) => string,
): Promise<Near[]> {
  let found: Near[] = [];
  await slicewise(rules, (rule) => {
    const near = isActive(rule) ? nearMiss(rule, question, nameOf) : null;
    if (near === null) return false;
    found = [...found, near].sort((a, b) => a.distance - b.distance).slice(0, NEAR_RULES_MAX);
    return false;
  });
  return found;
}

/** Array.filter with pauses. */
async function slicewise(
  rules: readonly Rule[],
  keep: (rule: Rule) => boolean,
): Promise<readonly Rule[]> {
  const kept: Rule[] = [];
  for (let at = 0; at < rules.length; at += EXPLAIN_SLICE_MAX) {
    if (at > 0) await turn();
    for (const rule of rules.slice(at, at + EXPLAIN_SLICE_MAX)) if (keep(rule)) kept.push(rule);
  }
  return kept;
}

function consideredOf(
  one: Considered,
  nameOf: (scope: number) => string,
): ExplainResult['considered'][number] {
  return { ...ruleFacts(one, nameOf), standing: one.standing, why: one.why };
}

function ruleFacts(
  { rule, resource }: { readonly rule: Rule; readonly resource: Resource },
  nameOf: (scope: number) => string,
): ExplainedRule {
  const { http } = rule;
  return {
    rule: ruleLabel(rule.id),
    source: rule.source,
    scope: nameOf(rule.scope),
    decision: rule.decision,
    resource: resource.text,
    ...(http && { methods: methodNames(http), paths: http.paths }),
  };
}
