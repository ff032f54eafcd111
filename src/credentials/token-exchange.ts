// What a sandbox and a token endpoint say to each other (RFC 6749 sections 4 to 6): who asks, which
// tokens come, and the answer as the sandbox gets it, with sentinels in their place. No I/O.
import { SallyportError } from '../base/errors.ts';
import { OAUTH_ANSWER_DEPTH_MAX, OAUTH_LIFE_MS_MAX } from '../base/limits.ts';
import { spellingsOf } from './mask.ts';
import type { OAuthClient } from './oauth.ts';
import { basicOf } from './request-parts.ts';
import type { TokenSentinels } from './token-endpoints.ts';
import { faultOfValue } from './value.ts';

/** What a client asks with. */
export type TokenRequest = {
  readonly refreshToken: string | null;
  readonly clientId: string;
  readonly clientSecret: string | null;
  readonly clientAuth: OAuthClient['clientAuth'];
  readonly format: OAuthClient['format'];
};

export type Tokens = {
  readonly accessToken: string;
  readonly refreshToken: string | null;
  /** How long the access token lives; null: not told. */
  readonly lifeMs: number | null;
};

/** What a sandbox signed in for, on its way to where it is kept. */
export type SignedIn = {
  /** Of the secret whose token endpoint it is. */
  readonly id: string;
  /** Number of the sandbox. */
  readonly scope: number;
  readonly request: TokenRequest;
  readonly tokens: Tokens;
};

/** Content that is neither form nor JSON says nothing. */
export function readTokenRequest(
  contentType: string,
  authorization: string,
  content: string,
): TokenRequest {
  const format = /^application\/json\b/i.test(contentType) ? 'json' : 'form';
  const given = new Map(
    format === 'json'
      ? Object.entries(objectIn(content) ?? {})
      : new URLSearchParams(content).entries(),
  );
  const text = (name: string): string | null => {
    const value = given.get(name);
    return typeof value === 'string' && value !== '' ? value : null;
  };
  const [basicId, basicSecret] = basicOfClient(authorization);
  return {
    refreshToken: text('refresh_token'),
    clientId: text('client_id') ?? basicId ?? '',
    clientSecret: text('client_secret') ?? basicSecret ?? null,
    clientAuth: basicSecret === undefined ? 'post' : 'basic',
    format,
  };
}

/** Each was form-encoded (RFC 6749 section 2.3.1). */
function basicOfClient(authorization: string): string[] {
  const pair = basicOf(authorization)?.split(':') ?? [];
  return pair.map((one) => new URLSearchParams(`a=${one}`).get('a') ?? '');
}

/**
 * Puts sentinels in the place of tokens, however deep they stand and in whichever spelling.
 *
 * @param text  of the endpoint's answer.
 * @returns the answer for the sandbox, and the tokens if it was given an access token.
 * @throws SALLYPORT_TOKEN_EXCHANGE_REFUSED when it cannot be told what all is a token in it.
 */
export function withoutTokens(
  text: string,
  sentinels: TokenSentinels,
): { readonly text: string; readonly tokens: Tokens | null } {
  const body = objectIn(text);
  if (body === null) throw refused('the answer is no JSON object');
  const found = new Map<string, string>();
  const sealed = JSON.stringify(sealedOf(body, sentinels, found, 0));
  for (const token of found.keys()) {
    if (spellingsOf(token).some((one) => sealed.includes(JSON.stringify(one).slice(1, -1)))) {
      throw refused('the answer has a token in a place of its own');
    }
  }
  return { text: sealed, tokens: tokensIn(body) };
}

export function refused(why: string): SallyportError {
  return new SallyportError('SALLYPORT_TOKEN_EXCHANGE_REFUSED', why);
}

type Kind = 'access' | 'refresh' | 'id';

/** `access_token`, and `accessToken` of those who do not keep to the RFC. */
function kindOf(name: string): Kind | null {
  const kind = /^(access|refresh|id)_?token$/i.exec(name)?.[1]?.toLowerCase();
  return (kind as Kind | undefined) ?? null;
}

function sealedOf(
  value: unknown,
  sentinels: TokenSentinels,
  found: Map<string, string>,
  depth: number,
): unknown {
  if (depth > OAUTH_ANSWER_DEPTH_MAX) throw refused('the answer is nested too deeply');
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => sealedOf(one, sentinels, found, depth + 1));
  const entries = Object.entries(value).map(([name, inner]) => {
    const kind = kindOf(name);
    if (kind === null || inner === null || inner === '') {
      return [name, sealedOf(inner, sentinels, found, depth + 1)];
    }
    if (typeof inner !== 'string') throw refused('the answer has a token that is no text');
    found.set(inner, kind);
    return [name, kind === 'id' ? withoutSignature(inner, sentinels.access) : sentinels[kind]];
  });
  return Object.fromEntries(entries);
}

/** A client reads who signed in from its claims; without its signature it proves nothing (RFC 7515). */
function withoutSignature(token: string, sentinel: string): string {
  const [header, claims, signature, more] = token.split('.');
  const isSigned = signature !== undefined && signature !== '' && more === undefined;
  return isSigned ? `${header}.${claims}.${sentinel}` : sentinel;
}

function tokensIn(body: object): Tokens | null {
  const given = new Map<string, unknown>(Object.entries(body));
  const text = (...names: string[]): string | null => {
    const value = names.map((name) => given.get(name)).find((one) => one !== undefined);
    if (typeof value !== 'string' || value === '') return null;
    if (faultOfValue(value) === null) return value;
    throw refused('the answer has a token that cannot stand in a field');
  };
  const accessToken = text('access_token', 'accessToken');
  if (accessToken === null) return null;
  const type = given.get('token_type') ?? 'bearer';
  if (String(type).toLowerCase() !== 'bearer') throw refused('the answer has no bearer token');
  const seconds = Number(given.get('expires_in') ?? given.get('expiresIn'));
  return {
    accessToken,
    refreshToken: text('refresh_token', 'refreshToken'),
    lifeMs: seconds > 0 ? Math.min(seconds * 1_000, OAUTH_LIFE_MS_MAX) : null,
  };
}

function objectIn(text: string): object | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && !Array.isArray(parsed) ? parsed : null;
  } catch {
    return null; // The parser's message would quote the text.
  }
}
