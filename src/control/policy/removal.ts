// What a removal takes out of which rule. A resource goes from every rule of the scope that has it.
import { SallyportError } from '../../base/errors.ts';
import type { HttpMatch } from '../../policy/http.ts';
import type { Semantics } from '../../policy/precedence.ts';
import { type Decision, GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { StoredRule } from '../store.ts';
import type { Draft } from './draft.ts';

/** A rule and those of its resources that go. */
export type Removal = { readonly rule: StoredRule; readonly resources: readonly string[] };

/** Rules of a scope for these requests; null: for all that goes there. */
export function inScope(scope: number, http: HttpMatch | null): (rule: StoredRule) => boolean {
  const wanted = http === null ? undefined : JSON.stringify(http);
  return (rule) =>
    rule.scope === scope &&
    (rule.http === undefined ? undefined : JSON.stringify(rule.http)) === wanted;
}

/** Rules that go with all they have. */
export function whole(rules: readonly StoredRule[]): Removal[] {
  return rules.map((rule) => ({ rule, resources: rule.resources.map(({ text }) => text) }));
}

/**
 * What of `texts` some rules have. A rule that stays whatever a user says is passed over, unless nobody
 * else has the resource: then it is the answer.
 *
 * @throws SALLYPORT_NOT_FOUND, naming every resource that no rule has.
 */
export function selected(
  rules: readonly StoredRule[],
  texts: readonly string[],
  semantics: Semantics,
): Removal[] {
  const removable = rules.filter((rule) => fixedReason(rule, semantics) === null);
  const had = new Set(removable.flatMap(({ resources }) => resources.map(({ text }) => text)));
  return matching(texts.every((text) => had.has(text)) ? removable : rules, texts);
}

function matching(rules: readonly StoredRule[], texts: readonly string[]): Removal[] {
  const wanted = new Set(texts);
  const missing = new Set(texts);
  const found: Removal[] = [];
  for (const rule of rules) {
    const resources = rule.resources.map(({ text }) => text).filter((text) => wanted.has(text));
    if (resources.length > 0) found.push({ rule, resources });
    for (const text of resources) missing.delete(text);
  }
  if (missing.size > 0) {
    const names = [...missing].map((text) => `"${text}"`).join(', ');
    throw new SallyportError('SALLYPORT_NOT_FOUND', `no rule has the resource ${names}`);
  }
  return found;
}

/** For an error that has said why. */
export const FIXED_HINT = 'What can be done with it, `sbx policy inspect RULE` says.';

/** @returns why a rule stays whatever a user says, or null */
export function fixedReason(
  {
    source,
    createdVia,
    scope,
    decision,
  }: Pick<StoredRule, 'source' | 'createdVia' | 'scope' | 'decision'>,
  { defaults }: Semantics,
): string | null {
  if (source === 'remote') return 'it is a rule of the organization';
  if (source === 'kit') return OF_KIT[decision];
  const isPreset = createdVia === 'default' && scope === GLOBAL_SCOPE;
  return isPreset && defaults === 'fixed' ? FIXED_DEFAULT : null;
}

const OF_KIT: Readonly<Record<Decision, string>> = {
  allow: 'it comes with the kit of its sandbox, and goes with it; deny what it allows instead',
  deny: 'it comes with the kit of its sandbox, and goes with it',
};

const FIXED_DEFAULT =
  'it belongs to the default policy; deny what it allows, or set policy.defaults to removable';

/** @throws SALLYPORT_CONFLICT naming every rule that stays */
export function checkRemovable(removals: readonly Removal[], semantics: Semantics): void {
  const faults = removals.flatMap(({ rule }) => {
    const reason = fixedReason(rule, semantics);
    return reason === null ? [] : [`rule "${rule.name}" cannot be removed: ${reason}`];
  });
  if (faults.length === 0) return;
  throw new SallyportError('SALLYPORT_CONFLICT', faults.join('; '), { hint: FIXED_HINT });
}

/** Leaves the rule its other resources, under its id; an empty rule goes. */
export function takeOut(draft: Draft, { rule, resources }: Removal): void {
  const gone = new Set(resources);
  const left = rule.resources.filter(({ text }) => !gone.has(text));
  if (left.length === 0) draft.remove(rule.id);
  else draft.put({ ...rule, resources: left });
}
