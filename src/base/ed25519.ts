// Ed25519 keys (RFC 8032) as people hand them over: PEM, made with `openssl genpkey -algorithm ed25519`.
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

/** @returns null for what is none; the parser's message may quote it. */
export function ed25519PrivateKey(pem: string): KeyObject | null {
  return ed25519Key(() => createPrivateKey(pem));
}

/** @returns null for what is none; of a private key, its public part. */
export function ed25519PublicKey(pem: string): KeyObject | null {
  return ed25519Key(() => createPublicKey(pem));
}

function ed25519Key(read: () => KeyObject): KeyObject | null {
  try {
    const key = read();
    return key.asymmetricKeyType === 'ed25519' ? key : null;
  } catch {
    return null;
  }
}
