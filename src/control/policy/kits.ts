// The rules of kits in the policy: given with their sandbox, and made right at a start, should a crash
// have come between the two.
import { isDeepStrictEqual } from 'node:util';
import { rulesOfKit } from '../../policy/kit.ts';
import type { Rule } from '../../policy/rule.ts';
import type { StoredSandbox } from '../store.ts';
import type { GivenRule, PolicyService } from './policy.ts';

type Policy = Pick<PolicyService, 'rules' | 'provision'>;

/** Puts the rules of a sandbox's kit in force. @throws SALLYPORT_POLICY_INVALID */
export async function provisionKit(
  sandbox: StoredSandbox,
  policy: Pick<Policy, 'provision'>,
): Promise<void> {
  if (sandbox.kit === null) return;
  await policy.provision(sandbox.number, rulesOfKit(sandbox.kit, sandbox));
}

/** Has the rules of all kits as their sandboxes say. */
export async function restoreKits(
  sandboxes: readonly StoredSandbox[],
  policy: Policy,
): Promise<void> {
  const ofKits = policy.rules.filter(({ source }) => source === 'kit');
  const byScope = Map.groupBy(ofKits, ({ scope }) => scope);
  for (const sandbox of sandboxes) {
    if (sandbox.kit === null) continue;
    const wanted = rulesOfKit(sandbox.kit, sandbox).map(factsOf);
    const there = (byScope.get(sandbox.number) ?? []).map(factsOf);
    if (!isDeepStrictEqual(there, wanted)) await provisionKit(sandbox, policy);
  }
}

function factsOf({ id, decision, resources, protocols, http, awaits }: GivenRule & Partial<Rule>) {
  return { id, decision, resources: resources.map(({ text }) => text), protocols, http, awaits };
}
