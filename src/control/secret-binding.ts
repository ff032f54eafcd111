// A stored secret and its value as workers are told of them.
import type { Binding, InjectionPolicy } from '../credentials/binding.ts';
import { registryBinding } from '../credentials/registries.ts';
import { oauthBinding, serviceBinding } from '../credentials/services.ts';
import { ON_DEMAND_MS } from '../credentials/sources.ts';
import { DEFAULT_POLICY } from './secret-input.ts';
import { HOST_ONLY_SCOPE, type StoredSecret } from './secret-store.ts';

/** @returns null for what is the host's alone: no worker may have it. */
export function bindingOf(secret: StoredSecret, value: string): Binding | null {
  const { id, kind, scope, name, hosts, plaintext, oauth, scrub } = secret;
  const onDemand = oauth !== null || (secret.command !== null && secret.refreshMs === ON_DEMAND_MS);
  if (scope === HOST_ONLY_SCOPE) return null;
  if (kind === 'service') {
    const policy: InjectionPolicy = secret.policy ?? DEFAULT_POLICY;
    const given = { id, scope, value, policy, plaintext, onDemand, scrub };
    return oauth === null ? serviceBinding(name, given) : oauthBinding(name, hosts, given);
  }
  const { placeholder, placeholderKey, in: places } = secret;
  const common = { id, scope, onDemand, value };
  if (kind === 'registry') {
    const { username, authEndpoint } = secret;
    return registryBinding(name, { ...common, username: username ?? '', authEndpoint });
  }
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
