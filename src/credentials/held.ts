// What one sandbox holds in place of the secrets that are bound to one destination.
import type { Binding, CustomBinding } from './binding.ts';
import { placeholderFor } from './placeholder.ts';
import { tokenSentinels } from './token-endpoints.ts';

export type Held = {
  /** By placeholder. */
  readonly custom: ReadonlyMap<string, CustomBinding>;
  /** Of grants: their tokens go into fields of their own. */
  readonly sentinels: ReadonlySet<string>;
};

/** @param bound  of several with one placeholder, the first counts. */
export function heldBy(scope: number, bound: readonly Binding[]): Held {
  const custom = new Map<string, CustomBinding>();
  const sentinels = new Set<string>();
  for (const one of bound) {
    if (one.kind === 'custom') {
      const placeholder = placeholderFor(one, scope);
      if (!custom.has(placeholder)) custom.set(placeholder, one);
    } else if (one.kind === 'service' && one.tokenEndpoint !== undefined) {
      const { access, refresh } = tokenSentinels(one.tokenEndpoint, scope);
      sentinels.add(access).add(refresh);
    }
  }
  return { custom, sentinels };
}
