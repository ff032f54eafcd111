// Which secrets a removal means.
import { SallyportError } from '../../base/errors.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { ScopeNames } from '../policy/policy.ts';
import { storedHost, storedRegistry } from './input.ts';
import { scopeText } from './listing.ts';
import { HOST_ONLY_SCOPE, type StoredSecret } from './store.ts';

/** One of service, registry, all, or of env, host and placeholder what is known of a custom secret. */
export type SecretSelector = {
  readonly service?: string | undefined;
  readonly registry?: string | undefined;
  readonly env?: string | undefined;
  readonly host?: string | undefined;
  readonly placeholder?: string | undefined;
  readonly all?: boolean | undefined;
  readonly sandbox?: string | undefined;
  /** A registry's entry for all sandboxes, and not the host's; with `all`: no sandbox's. */
  readonly global?: boolean | undefined;
};

/**
 * @returns the secrets; none only for `all`.
 * @throws SALLYPORT_USAGE without one selector, SALLYPORT_NOT_FOUND
 */
export function selectSecrets(
  secrets: readonly StoredSecret[],
  selector: SecretSelector,
  scopes: ScopeNames,
): StoredSecret[] {
  const what = whatOf(selector);
  const inScope = scopesOf(selector, scopes);
  const found = secrets.filter(
    (secret) => (inScope === null || inScope.includes(secret.scope)) && isMeant(secret, selector),
  );
  if (found.length > 0 || selector.all) return found;
  const scope = scopeText(inScope?.at(-1) ?? GLOBAL_SCOPE, scopes);
  throw new SallyportError(
    'SALLYPORT_NOT_FOUND',
    `no secret found for ${what} in scope "${scope}"`,
  );
}

/** @throws SALLYPORT_USAGE */
function whatOf({ service, registry, env, host, placeholder, all }: SecretSelector): string {
  const custom = env ?? host ?? placeholder;
  const given = [
    service === undefined ? null : `service "${service}"`,
    registry === undefined ? null : `registry "${registry}"`,
    custom === undefined ? null : `custom secret "${custom}"`,
    all ? 'everything' : null,
  ].filter((one) => one !== null);
  const [what] = given;
  if (what !== undefined && given.length === 1) return what;
  throw new SallyportError(
    'SALLYPORT_USAGE',
    'name one thing to remove: a service, --registry HOST, --env NAME or --all',
  );
}

/** @returns null for every scope. @throws SALLYPORT_NOT_FOUND for a sandbox */
function scopesOf(
  { sandbox, registry, all, global }: SecretSelector,
  scopes: ScopeNames,
): readonly number[] | null {
  if (sandbox !== undefined) return [scopes.numberOf(sandbox)];
  if (all) return global ? [HOST_ONLY_SCOPE, GLOBAL_SCOPE] : null;
  return registry !== undefined && !global ? [HOST_ONLY_SCOPE, GLOBAL_SCOPE] : [GLOBAL_SCOPE];
}

function isMeant(secret: StoredSecret, selector: SecretSelector): boolean {
  const { service, registry, env, host, placeholder, all } = selector;
  if (all) return true;
  if (service !== undefined) return secret.kind === 'service' && secret.name === service;
  if (registry !== undefined) {
    return secret.kind === 'registry' && secret.name === storedRegistry(registry);
  }
  return (
    secret.kind === 'custom' &&
    (env === undefined || secret.name === env) &&
    (host === undefined || secret.hosts.includes(storedHost(host))) &&
    (placeholder === undefined || secret.placeholder === placeholder)
  );
}
