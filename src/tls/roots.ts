// The authorities that destinations are verified against: the machine's own, and what a sandbox needs
// to verify the same ones itself. No files of ours; the runtime reads those of the system.
import { X509Certificate } from 'node:crypto';
import { getCACertificates } from 'node:tls';
import { isMadeHere, pemBlocks } from './authority.ts';

/** PEM of the system's store, each once; where a container has none, the one that came with the runtime. */
export function systemAuthorities(): readonly string[] {
  const system = getCACertificates('system');
  return [...new Set(system.length > 0 ? system : getCACertificates('bundled'))];
}

/**
 * What a program needs whose own store is replaced: the system's authorities and the given ones.
 *
 * @param system  PEM. What cannot be read is left out, and so are authorities of this program: those
 *   that were replaced are no longer trusted, though this process may have been given them as roots.
 * @param added   PEM, any number of certificates each.
 * @returns PEM of each certificate once, the given ones first
 */
export function trustedAuthorities(
  system: readonly string[],
  added: readonly string[],
): readonly string[] {
  const own = readable(added.flatMap(pemBlocks));
  const others = readable(system).filter((certificate) => !isMadeHere(certificate));
  return [...new Set([...own, ...others].map((certificate) => certificate.toString()))];
}

function readable(pems: readonly string[]): X509Certificate[] {
  return pems.flatMap((pem) => {
    try {
      return [new X509Certificate(pem)];
    } catch {
      return [];
    }
  });
}
