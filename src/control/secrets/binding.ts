// A stored secret and its value as workers are told of them.
import type { Binding, ServiceBinding } from '../../credentials/binding.ts';
import { registryBinding } from '../../credentials/registries.ts';
import { oauthBinding, serviceBinding } from '../../credentials/services.ts';
import { ON_DEMAND_MS } from '../../credentials/sources.ts';
import { DEFAULT_POLICY } from './input.ts';
import type { HeldSecret } from './listing.ts';
import { HOST_ONLY_SCOPE } from './store.ts';

/** @returns null for what is the host's alone: no worker may have it. */
export function bindingOf(held: HeldSecret): Binding | null {
  const { id, kind, scope, name, hosts, plaintext, scrub } = held.secret;
  if (scope === HOST_ONLY_SCOPE) return null;
  if (kind === 'service') return serviceOf(held);
  const common = { id, scope, onDemand: isOnDemand(held), value: held.value ?? '' };
  if (kind === 'registry') {
    const { username, authEndpoint } = held.secret;
    return registryBinding(name, { ...common, username: username ?? '', authEndpoint });
  }
  const { placeholder, placeholderKey, in: places } = held.secret;
  if (placeholder === null || placeholderKey === null) return null;
  return {
    ...common,
    kind,
    hosts,
    plaintext,
    scrub,
    env: name,
    placeholder,
    placeholderKey,
    in: places,
  };
}

function serviceOf(held: HeldSecret): ServiceBinding | null {
  const { secret, value, oauth: state } = held;
  const { id, scope, name, hosts, plaintext, oauth, scrub, placeholderKey } = secret;
  const policy = secret.policy ?? DEFAULT_POLICY;
  const onDemand = isOnDemand(held);
  const given = { id, scope, value: value ?? '', policy, plaintext, onDemand, scrub };
  if (oauth === null) return serviceBinding(name, given);
  if (placeholderKey === null) return null;
  // A sandbox whose grant is gone must be able to sign in anew.
  const signedOut = oauth.signInInside && (state === 'signed-out' || state === 'refused');
  return oauthBinding(name, hosts, { client: oauth, signedOut, placeholderKey }, given);
}

function isOnDemand({ secret: { oauth, command, refreshMs } }: HeldSecret): boolean {
  return oauth !== null || (command !== null && refreshMs === ON_DEMAND_MS);
}
