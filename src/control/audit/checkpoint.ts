// Checkpoints of the audit: records that an operator's key signs. A signature covers its line up to
// itself, and so by `prev` all lines before it: who has not got the key cannot make them anew.
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { ed25519PrivateKey, ed25519PublicKey } from '../../base/ed25519.ts';
import { SallyportError } from '../../base/errors.ts';

export type Signer = {
  /** Hex SHA-256 of the public key (SubjectPublicKeyInfo). */
  readonly key: string;
  /** @returns Base64. */
  readonly sign: (text: string) => string;
};

/** Public keys by what checkpoints name them by. */
export type PublicKeys = ReadonlyMap<string, KeyObject>;

/** Behind everything that it covers. */
const SIGNATURE = /,"signature":"([A-Za-z0-9+/]+={0,2})"\}{1,2}\n$/;

/** @param pem  Ed25519, PKCS#8. @throws SALLYPORT_USAGE */
export function signerOf(pem: string): Signer {
  const key = ed25519PrivateKey(pem);
  if (key === null) throw new SallyportError('SALLYPORT_USAGE', 'this is no Ed25519 private key');
  return {
    key: keyId(createPublicKey(key)),
    sign: (text) => sign(null, Buffer.from(text), key).toString('base64'),
  };
}

/** @param pems  Ed25519, each one key. @throws SALLYPORT_USAGE */
export function publicKeysOf(pems: readonly string[]): PublicKeys {
  return new Map(
    pems.map((pem): [string, KeyObject] => {
      const key = ed25519PublicKey(pem);
      if (key === null)
        throw new SallyportError('SALLYPORT_USAGE', 'this is no Ed25519 public key');
      return [keyId(key), key];
    }),
  );
}

/** @param line  of a checkpoint, with its line feed. @returns whether this key signed it. */
export function isSigned(line: string, key: KeyObject): boolean {
  const found = SIGNATURE.exec(line);
  if (found === null) return false;
  const covered = Buffer.from(line.slice(0, found.index));
  return verify(null, covered, key, Buffer.from(found[1] ?? '', 'base64'));
}

function keyId(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}
