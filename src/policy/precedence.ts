// Which rules count. While an organisation governs, its rules decide; local rules and those of kits
// count only where it leaves a type of rule to them. Inside what counts, deny wins.
import type { Rule } from './rule.ts';

/** What an organisation may leave to local policy. HTTP rules are network rules. */
export type RuleType = 'network' | 'filesystem';

/** The organisation that governs, and whether its word can be had. */
export type Governance = {
  readonly organization: string;
  /** Types of rules that local policy and kits may decide beside it. */
  readonly delegates: readonly RuleType[];
  /** false: its rules are too old to grant anything; its denies stand. */
  readonly available: boolean;
  /** Added to its refusals, for people: whom to ask. */
  readonly supportMessage: string | null;
};

/** How rules are taken where the versions of sbx differ. */
export type Semantics = {
  /** Under an organisation: whether local and kit denies count, as in the newest version, or not. */
  readonly localDenies: 'inactive' | 'active';
  /** An allow and a deny for the same resource in one scope: both are kept, or the later is refused. */
  readonly conflicts: 'store' | 'refuse';
  /** Whether rules of a preset can be removed. */
  readonly defaults: 'fixed' | 'removable';
  /** Whether kits may grant anything, as in sbx even under deny-all; what they deny stays denied. */
  readonly kitAllows: 'active' | 'inactive';
};

export const SEMANTICS: Semantics = {
  localDenies: 'inactive',
  conflicts: 'store',
  defaults: 'fixed',
  kitAllows: 'active',
};

const OVERRULED =
  'corporate policy takes precedence and does not delegate this rule type to local policy.';
const KITS_GRANT_NOTHING = 'kits grant nothing here (policy.kitAllows).';
const UNAVAILABLE = 'the policy of the organization cannot be had, so nothing is granted.';

/** What of a rule says whether it counts. */
type Standing = Pick<Rule, 'source' | 'decision' | 'awaits'>;
/** What of the semantics does. */
type Taken = Pick<Semantics, 'localDenies' | 'kitAllows'>;

/** @returns why a rule does not count at present, or null when it does. */
export function inactiveReason(
  { source, decision, awaits }: Standing,
  type: RuleType,
  governance: Governance | null,
  { localDenies, kitAllows }: Taken,
): string | null {
  if (awaits !== undefined) return `its sandbox is not in phase ${awaits}.`;
  if (source === 'kit' && decision === 'allow' && kitAllows === 'inactive') {
    return KITS_GRANT_NOTHING;
  }
  if (governance === null) return null;
  if (decision === 'allow' && !governance.available) return UNAVAILABLE;
  if (source === 'remote' || governance.delegates.includes(type)) return null;
  return decision === 'deny' && localDenies === 'active' ? null : OVERRULED;
}

/** The network rules that count, in their order. */
export function inForce<R extends Standing>(
  rules: readonly R[],
  governance: Governance | null,
  semantics: Taken,
): readonly R[] {
  const counts = (rule: R): boolean =>
    inactiveReason(rule, 'network', governance, semantics) === null;
  // Kept as it is where that can be: the list may be long.
  return rules.every(counts) ? rules : rules.filter(counts);
}
