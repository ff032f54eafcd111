// Who may ask a governance server: bearer tokens of 256 random bits, shown once, kept as their SHA-256.
import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { GOVERNANCE_TOKENS_MAX } from '../base/limits.ts';
import { ApiError } from './errors.ts';
import type { GovernanceStore, Role, StoredToken } from './store.ts';

const TOKEN_BYTES = 32;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/**
 * @param name  whose it is; changes are recorded under it.
 * @returns the token; it cannot be read again.
 * @throws SALLYPORT_USAGE, SALLYPORT_CONFLICT, SALLYPORT_OVERLOADED
 */
export function issueToken(store: GovernanceStore, name: string, role: Role, clock: Clock): string {
  if (!NAME.test(name)) {
    throw new SallyportError('SALLYPORT_USAGE', `"${name}" is no name: letters, digits, . _ @ -`);
  }
  const token = `spg_${randomBytes(TOKEN_BYTES).toString('base64url')}`;
  store.transaction(() => {
    const all = store.tokens();
    if (all.some((one) => one.name === name)) {
      throw new SallyportError('SALLYPORT_CONFLICT', `there is a token "${name}" already`);
    }
    if (all.length >= GOVERNANCE_TOKENS_MAX) {
      throw new SallyportError('SALLYPORT_OVERLOADED', `at most ${GOVERNANCE_TOKENS_MAX} tokens`);
    }
    store.addToken({ name, role, createdMs: clock.wallMs() }, hashOf(token));
  });
  return token;
}

/** It opens nothing from now on. @throws SALLYPORT_NOT_FOUND */
export function revokeToken(store: GovernanceStore, name: string): void {
  store.transaction(() => {
    if (!store.tokens().some((one) => one.name === name)) {
      throw new SallyportError('SALLYPORT_NOT_FOUND', `token "${name}" not found`);
    }
    store.removeToken(name);
  });
}

/**
 * Who asks. The hash is looked up, so how long that takes says nothing of any token.
 *
 * @throws ApiError
 */
export function callerOf(store: GovernanceStore, authorization: string | undefined): StoredToken {
  const token = /^bearer (\S{1,256})$/i.exec(authorization ?? '')?.[1];
  const found = token === undefined ? null : store.tokenOf(hashOf(token));
  if (found !== null) return found;
  throw new ApiError('unauthenticated', 'the token is missing or not known');
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
