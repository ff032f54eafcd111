// A rule that somebody adds, and what may keep it from being taken beside those that are there.
import { SallyportError } from '../../base/errors.ts';
import type { RuleInput } from '../../policy/rule-facts.ts';
import type { StoredRule } from '../store.ts';

export type NewRule = RuleInput & {
  /** Absent: global. */
  readonly sandbox?: string | undefined;
  /** A person said yes to a question. @see approvals.ts; wall clock, null: it does not end */
  readonly approved?: { readonly expiresAtMs: number | null } | undefined;
};

/** One comma list, or several. */
export function listsOf(resources: string | readonly string[]): readonly string[] {
  return typeof resources === 'string' ? [resources] : resources;
}

type Listed = Pick<StoredRule, 'id' | 'scope' | 'source' | 'decision' | 'http' | 'resources'>;

/**
 * As sbx has it: the same resource cannot be allowed and denied in one scope.
 *
 * @param others  rules that are there, or will be.
 * @throws SALLYPORT_CONFLICT naming every one
 */
export function checkConflicts(added: readonly Listed[], others: readonly Listed[]): void {
  const plain = others.filter(({ source, http }) => source === 'local' && http === undefined);
  const named = Map.groupBy(
    plain.flatMap((rule) => rule.resources.map(({ text }) => ({ rule, text }))),
    ({ rule: { scope, decision }, text }) => `${scope} ${decision} ${text}`,
  );
  const faults = added
    .filter(({ http }) => http === undefined)
    .flatMap(({ scope, decision, resources }) =>
      resources.flatMap(({ text }) => {
        const opposite = decision === 'allow' ? 'deny' : 'allow';
        return (named.get(`${scope} ${opposite} ${text}`) ?? []).map(
          ({ rule }) => `"${text}" conflicts with existing ${opposite} rule "${rule.id}"`,
        );
      }),
    );
  const [first] = added;
  if (first === undefined || faults.length === 0) return;
  const what = `${first.decision} network rule: ${first.decision}`;
  throw new SallyportError('SALLYPORT_CONFLICT', `${what}: ${faults.join('; ')}`);
}

/** To those who may not go on. */
export function uninitialized(): SallyportError {
  return new SallyportError(
    'SALLYPORT_POLICY_UNINITIALIZED',
    'global network policy has not been initialized; run `sbx policy set-default allow-all|balanced|deny-all`',
  );
}

export function initializedAs(preset: string): SallyportError {
  return new SallyportError(
    'SALLYPORT_CONFLICT',
    `the global network policy is already initialized as ${preset}; to choose again, run \`sbx policy reset\` first`,
    { hint: 'Or keep it, and change single rules: `sbx policy allow|deny|rm network`.' },
  );
}
