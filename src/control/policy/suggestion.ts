// Suggested rules as a policy file: those alone, to be added, or with the rules that are there and
// without what lets everything pass.
import type { DocumentRule, PolicyDocument, ScopeTable } from '../../documents/document.ts';
import type { Resource } from '../../policy/resource.ts';
import type { Decision, Rule } from '../../policy/rule.ts';
import type { Part, Refused, Suggested, Suggestions } from '../../policy/suggest.ts';
import type { SeenExchanges } from '../audit/seen.ts';

export type Suggestion = {
  readonly document: PolicyDocument;
  /** Why each of the suggested rules is in it. */
  readonly parts: ReadonlyMap<DocumentRule, readonly Part<SeenExchanges>[]>;
  readonly refused: readonly Refused<SeenExchanges>[];
};

type Ruled = Pick<Rule, 'decision' | 'resources' | 'http'>;

/** Whether a rule lets everything pass, so that what passes says what is needed. */
export function isOpen(rule: Ruled): boolean {
  return rule.resources.some((resource) => opensAll(rule, resource));
}

/** The rules without that. */
export function closed<R extends Ruled>(rules: readonly R[]): R[] {
  return rules
    .map((rule) => ({ ...rule, resources: rule.resources.filter((one) => !opensAll(rule, one)) }))
    .filter(({ resources }) => resources.length > 0);
}

function opensAll(
  { decision, http }: { decision: Decision; http?: unknown },
  resource: Resource,
): boolean {
  return (
    decision === 'allow' && http === undefined && resource.kind === 'any' && resource.port === 0
  );
}

/**
 * @param there  sandboxes that can have rules.
 * @param whole  the local policy, if the suggestion is to replace it; null: to be added to it.
 */
export function suggestionOf(
  { suggested, refused }: Suggestions<SeenExchanges>,
  scopes: ScopeTable,
  there: ReadonlySet<string>,
  whole: PolicyDocument | null,
): Suggestion {
  const parts = new Map<DocumentRule, readonly Part<SeenExchanges>[]>();
  const gone: Refused<SeenExchanges>[] = [];
  for (const one of suggested) {
    const sandbox = scopes.nameOf(one.rule.scope) ?? null;
    if (sandbox === null || there.has(sandbox)) parts.set(ruleOf(one, sandbox), one.parts);
    else gone.push(...one.parts.flatMap((part) => part.seen.map((seen) => ({ seen, why: GONE }))));
  }
  const rules = [...parts.keys()];
  const document = whole === null ? addition(rules) : replacement(whole, rules);
  return { document, parts, refused: [...refused, ...gone] };
}

const GONE = 'its sandbox is gone; --global makes rules for all sandboxes';

function ruleOf({ rule }: Suggested<SeenExchanges>, sandbox: string | null): DocumentRule {
  const { decision, resources, protocols, http } = rule;
  return { id: null, decision, resources, protocols, ...(http && { http }), sandbox, at: '' };
}

const NOTHING: PolicyDocument = {
  preset: null,
  presetRules: null,
  rules: [],
  filesystem: null,
  presetFilesystem: null,
  sandboxes: [],
};

function addition(rules: readonly DocumentRule[]): PolicyDocument {
  return { ...NOTHING, rules };
}

/** allow-all without what it allows is deny-all. */
function replacement(whole: PolicyDocument, rules: readonly DocumentRule[]): PolicyDocument {
  const isAll = whole.preset === 'allow-all';
  return {
    ...whole,
    preset: isAll ? 'deny-all' : whole.preset,
    presetRules: isAll || whole.presetRules === null ? null : closed(whole.presetRules),
    rules: [...closed(whole.rules), ...rules],
  };
}
