// Secrets as people may see them: what they are for, never what they are. The JSON of `secret ls`
// and GET /secrets.

import type { OAuthClient, OAuthState } from '../../credentials/oauth.ts';
import { placeholderFor } from '../../credentials/placeholder.ts';
import { ON_DEMAND_MS } from '../../credentials/sources.ts';
import { masked } from '../../credentials/value.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { SecretRow, SecretsAnswer } from '../api/schemas-secret.ts';
import type { ScopeNames } from '../policy/policy.ts';
import { HOST_ONLY_SCOPE, type StoredSecret } from './store.ts';

export type HeldSecret = {
  readonly secret: StoredSecret;
  /** As it is now; null when the vault cannot open it, or its source gave none. */
  readonly value: string | null;
  /** How its grant fares; null without one that can be read. */
  readonly oauth: OAuthState | null;
};

/** In place of a value that the vault cannot open. */
export const UNREADABLE = '(unreadable)';

export type SecretFilter = {
  /** Names that nothing is stored for are no fault. */
  readonly sandbox?: string | undefined;
  readonly service?: string | undefined;
  readonly scope?: 'global' | undefined;
};

type Row = SecretRow;
type CustomRow = SecretsAnswer['custom_secrets'][number];

export function listSecrets(
  held: readonly HeldSecret[],
  scopes: ScopeNames,
  filter: SecretFilter,
): SecretsAnswer {
  const shown = held.filter(({ secret }) => isShown(secret, scopes, filter));
  return {
    secrets: shown
      .filter(({ secret }) => secret.kind !== 'custom')
      .map((one) => listSecret(one, scopes)),
    custom_secrets: shown
      .filter(({ secret }) => secret.kind === 'custom')
      .map((one) => listCustom(one, scopes)),
    shadowed_services: [],
  };
}

/** `(global)`, `(host only)` or the sandbox: as sbx writes it, no name can be taken for another. */
export function scopeText(scope: number, scopes: Pick<ScopeNames, 'nameOf'>): string {
  if (scope === GLOBAL_SCOPE) return '(global)';
  if (scope === HOST_ONLY_SCOPE) return '(host only)';
  return scopes.nameOf(scope) ?? `#${scope}`;
}

/** `service "github"`, `registry "ghcr.io"`, `custom secret "NPM_TOKEN"` */
export function secretText({ kind, name }: Pick<StoredSecret, 'kind' | 'name'>): string {
  return `${kind === 'custom' ? 'custom secret' : kind} "${name}"`;
}

/** Of a service or a registry. */
export function listSecret(held: HeldSecret, scopes: ScopeNames): Row {
  const { kind, scope, name, username, policy, plaintext, scrub, oauth, hosts } = held.secret;
  return {
    scope: scopeText(scope, scopes),
    type: kind === 'registry' ? 'registry' : 'service',
    name,
    secret: shownValue(held),
    ...(username === null ? {} : { username }),
    ...(policy === null ? {} : { policy, allow_plaintext: plaintext, scrub }),
    ...(oauth === null ? {} : { targets: [...hosts], ...oauthFacts(oauth, held.oauth) }),
    ...sourceFacts(held.secret),
  };
}

export function listCustom(held: HeldSecret, scopes: ScopeNames): CustomRow {
  const { secret } = held;
  return {
    scope: scopeText(secret.scope, scopes),
    targets: [...secret.hosts],
    env: secret.name,
    placeholder: shownPlaceholder(secret),
    secret: shownValue(held),
    in: [...secret.in],
    allow_plaintext: secret.plaintext,
    scrub: secret.scrub,
    ...sourceFacts(secret),
  };
}

function isShown(secret: StoredSecret, scopes: ScopeNames, filter: SecretFilter): boolean {
  const { sandbox, service, scope } = filter;
  if (scope === 'global' && secret.scope !== GLOBAL_SCOPE) return false;
  if (sandbox !== undefined && scopes.nameOf(secret.scope) !== sandbox) return false;
  return service === undefined || (secret.kind === 'service' && secret.name === service);
}

function shownValue({ secret, value, oauth }: HeldSecret): string {
  if (secret.oauth !== null) return OAUTH_LABELS[oauth ?? 'unreadable'];
  if (value === null) return secret.command === null ? UNREADABLE : '(unavailable)';
  if (secret.command !== null) return '(command)';
  return secret.kind === 'service' ? '(stored)' : masked(value);
}

/** The first as sbx writes it. */
const OAUTH_LABELS = {
  ok: '(oauth configured)',
  unavailable: '(oauth unavailable)',
  refused: '(oauth refused, sign in again)',
  'signed-out': '(oauth, each sandbox signs in)',
  unreadable: UNREADABLE,
} as const;

function oauthFacts(client: OAuthClient, state: OAuthState | null): Pick<Row, 'source' | 'oauth'> {
  const { tokenUrl, clientId, scope, signInInside } = client;
  return {
    source: 'oauth',
    oauth: {
      token_url: tokenUrl,
      client_id: clientId,
      ...(scope === null ? {} : { scope }),
      sign_in_inside: signInInside,
      state: state ?? 'unreadable',
    },
  };
}

/** A sandbox's own placeholder as it holds it; one of all sandboxes differs from each to each. */
function shownPlaceholder({ scope, placeholder, placeholderKey }: StoredSecret): string {
  if (placeholder === null || placeholderKey === null) return '';
  return scope === GLOBAL_SCOPE
    ? placeholder
    : placeholderFor({ placeholder, placeholderKey }, scope);
}

/** The command itself stays inside: people write credentials into commands, too. */
function sourceFacts({ command, refreshMs }: StoredSecret): Pick<Row, 'source' | 'refresh'> {
  if (command === null || refreshMs === null) return {};
  return { source: 'command', refresh: durationText(refreshMs) };
}

function durationText(ms: number): string {
  if (ms === ON_DEMAND_MS) return 'on-demand';
  for (const [unit, unitMs] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ] as const) {
    if (ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  }
  return `${ms}ms`;
}
