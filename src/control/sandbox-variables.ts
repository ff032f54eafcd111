// What a sandbox holds in place of the secrets that it may use: names of variables, and the texts
// that the proxy knows them by. Never a value.
import { placeholderFor } from '../credentials/placeholder.ts';
import { SERVICES } from '../credentials/services.ts';
import { GLOBAL_SCOPE } from '../policy/rule.ts';
import type { StoredSecret } from './secrets/store.ts';

/**
 * The variables of one sandbox. Where two secrets have the same variable, the sandbox's own comes
 * before a global one, and then the one that was given the name before one that has it by itself.
 *
 * @param scope  the sandbox's number
 */
export function sandboxVariables(
  secrets: readonly StoredSecret[],
  scope: number,
): Record<string, string> {
  const held = secrets.filter((secret) => secret.scope === scope || secret.scope === GLOBAL_SCOPE);
  const byRank = held.toSorted((a, b) => rankOf(a) - rankOf(b)); // The last one wins.
  return Object.assign({}, ...byRank.map((secret) => variablesOf(secret, scope)));
}

function rankOf({ scope, kind }: StoredSecret): number {
  return (scope === GLOBAL_SCOPE ? 0 : 2) + (kind === 'custom' ? 1 : 0);
}

function variablesOf(secret: StoredSecret, scope: number): Readonly<Record<string, string>> {
  const { kind, name, placeholder, placeholderKey } = secret;
  if (kind === 'service') return SERVICES[name]?.sandboxEnv ?? {};
  if (kind === 'registry' || placeholder === null || placeholderKey === null) return {};
  return { [name]: placeholderFor({ placeholder, placeholderKey }, scope) };
}
