// A secret in the daemon: what is stored of it, and where its value comes from.
import type { Clock } from '../../base/clock.ts';
import { SallyportError } from '../../base/errors.ts';
import {
  type OAuthOptions,
  type OAuthSecrets,
  OAuthSource,
  type OAuthState,
} from '../../credentials/oauth.ts';
import { CommandSource, ON_DEMAND_MS, type Source } from '../../credentials/sources.ts';
import type { SignedIn } from '../../credentials/token-exchange.ts';
import { faultOfValue } from '../../credentials/value.ts';
import { GLOBAL_SCOPE } from '../../policy/rule.ts';
import type { SecretsImportedAnswer } from '../api/schemas-secret.ts';
import type { Draft } from './input.ts';
import type { HeldSecret } from './listing.ts';
import type { StoredSecret } from './store.ts';

export class Entry implements HeldSecret {
  /** Replaced when what is sealed changes. */
  secret: StoredSecret;
  /** null when the value is stored. */
  readonly source: Source | null;
  /** What the source gave that all workers have. */
  told: string | null = null;
  /** The failure that the operator was told of last. */
  reported: unknown = null;
  readonly #value: string | null;

  /** @param value  of a secret without a source; null when it cannot be read. */
  constructor(secret: StoredSecret, value: string | null, source: Source | null) {
    this.secret = secret;
    this.source = source;
    this.#value = source === null && secret.oauth === null ? value : null;
  }

  get value(): string | null {
    return this.source === null ? this.#value : this.source.last;
  }

  get oauth(): OAuthState | null {
    return this.source instanceof OAuthSource ? this.source.state : null;
  }
}

/** Of scope, kind and name. */
export function inOrder({ secret: a }: Entry, { secret: b }: Entry): number {
  return a.scope - b.scope || a.kind.localeCompare(b.kind) || a.name.localeCompare(b.name);
}

export type Imported = SecretsImportedAnswer['imported'][number];

/** What became of a secret that was set. */
export type Stored = { readonly held: HeldSecret; readonly replaced: boolean };

export type SourceSurroundings = {
  readonly clock: Clock;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
  /** What a token endpoint may be certified by, and what it is presented. */
  readonly trusted: OAuthOptions['contextTowards'];
};

/**
 * @param text  what is sealed of the secret.
 * @returns null for one whose value that is.
 */
export function sourceOf(
  { command, refreshMs, oauth }: Pick<StoredSecret, 'command' | 'refreshMs' | 'oauth'>,
  text: string | null,
  { clock, signal, trusted }: SourceSurroundings,
): Source | null {
  if (command !== null) {
    return new CommandSource({ command, refreshMs: refreshMs ?? ON_DEMAND_MS, clock, signal });
  }
  if (oauth === null || text === null) return null;
  const secrets = JSON.parse(text) as OAuthSecrets;
  return new OAuthSource({ client: oauth, secrets, clock, signal, contextTowards: trusted });
}

/**
 * A sandbox's own grant, for the hosts and with the policy of the secret that lets it sign in.
 *
 * @param there  what the sandbox has already in its place.
 * @param nowMs  since the Unix epoch.
 * @throws SALLYPORT_CREDENTIAL_UNAVAILABLE when that does not let it, any more, or somebody gave it another.
 */
export function signedInDraft(
  declared: StoredSecret,
  there: StoredSecret | undefined,
  { scope, request, tokens }: SignedIn,
  nowMs: number,
): Draft {
  const { oauth } = declared;
  if (!oauth?.signInInside || (declared.scope !== GLOBAL_SCOPE && declared.scope !== scope)) {
    throw new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', 'nobody may sign in there');
  }
  if (there !== undefined && !there.oauth?.signInInside) {
    const why = 'the sandbox has a secret that was set for it, and cannot replace that';
    throw new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', why);
  }
  const { clientAuth, format, clientSecret } = request;
  const { accessToken: token, refreshToken, lifeMs } = tokens;
  const endsAtMs = lifeMs === null ? null : nowMs + lifeMs;
  // People will see it, and a sandbox chose it.
  const clientId = faultOfValue(request.clientId) === null ? request.clientId : '';
  const secrets: OAuthSecrets = { refreshToken, clientSecret, access: { token, endsAtMs } };
  const client = { ...oauth, clientId, clientAuth, format };
  return { ...declared, oauth: client, value: JSON.stringify(secrets) };
}

/** Another has taken its place. */
export function changed(): SallyportError {
  return new SallyportError('SALLYPORT_CREDENTIAL_UNAVAILABLE', 'the secret was changed');
}

/** @throws SALLYPORT_SECRET_INVALID: who sets it is there to correct it. */
export async function tried(source: Source): Promise<void> {
  try {
    await source.fetch();
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    throw new SallyportError('SALLYPORT_SECRET_INVALID', error.message);
  }
}
