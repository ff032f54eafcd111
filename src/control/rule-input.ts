// A rule that somebody adds, and what may keep it from being taken beside those that are there.
import { SallyportError } from '../base/errors.ts';
import type { RuleInput } from '../policy/rule-facts.ts';
import type { Draft } from './draft.ts';
import type { StoredRule } from './store.ts';

export type NewRule = RuleInput & {
  /** Absent: global. */
  readonly sandbox?: string | undefined;
};

/** As sbx has it: the same resource cannot be allowed and denied in one scope. @throws SALLYPORT_CONFLICT */
export function checkConflicts(added: readonly StoredRule[], draft: Draft): void {
  const faults = added.flatMap((rule) => {
    const texts = new Set(rule.resources.map(({ text }) => text));
    const against = draft.select(
      ({ scope, source, decision, http }) =>
        scope === rule.scope &&
        source === 'local' &&
        decision !== rule.decision &&
        !http &&
        !rule.http,
    );
    return against.flatMap(({ id, decision, resources }) =>
      resources
        .filter(({ text }) => texts.has(text))
        .map(({ text }) => `"${text}" conflicts with existing ${decision} rule "${id}"`),
    );
  });
  const [first] = added;
  if (first === undefined || faults.length === 0) return;
  const what = `${first.decision} network rule: ${first.decision}`;
  throw new SallyportError('SALLYPORT_CONFLICT', `${what}: ${faults.join('; ')}`);
}
