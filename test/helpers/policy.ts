// The policy of a daemon without the daemon: over a store of its own, with sandboxes that are names.
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { SallyportError } from '../../src/base/errors.ts';
import type { Wanted } from '../../src/control/policy/plan.ts';
import { PolicyService, type ScopeNames } from '../../src/control/policy/policy.ts';
import { Store } from '../../src/control/store.ts';
import { temporaryFolder } from './control.ts';

/** Sandboxes of these names, numbered in order. @param first  number of the first */
export function scopesOf(names: readonly string[], first = 1): ScopeNames {
  return {
    numberOf: (name) => {
      if (names.includes(name)) return names.indexOf(name) + first;
      throw new SallyportError('SALLYPORT_NOT_FOUND', `sandbox "${name}" not found`);
    },
    nameOf: (number) => names[number - first],
  };
}

/** What it publishes is counted and goes nowhere. */
export async function startPolicy(
  t: Parameters<typeof temporaryFolder>[0],
  sandboxes: ScopeNames,
): Promise<{
  store: Store;
  policy: PolicyService;
  services: { policy: PolicyService; sandboxes: ScopeNames };
}> {
  const store = Store.open(join(temporaryFolder(t), 'policy.db'));
  t.teardown(() => store.close());
  const publisher = {
    generation: 0,
    prepare: () => null,
    commit: async () => void publisher.generation++,
  };
  const policy = await PolicyService.start(store, publisher, sandboxes, systemClock);
  return { store, policy, services: { policy, sandboxes } };
}

/** In the place of all there is: nothing, but for `facts`. */
export function wantedOf(facts: Partial<Wanted>): Wanted {
  const none = { presetRules: null, rules: [], sandboxes: [] };
  const paths = { filesystem: null, presetFilesystem: null };
  return { mode: 'replace', preset: 'deny-all', ...none, ...paths, ...facts };
}
