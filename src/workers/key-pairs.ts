// Keys of client certificates: asked of the daemon when a destination first needs one, so that a worker
// that never goes there does not have it.
import type { KeyPair } from '../credentials/client-certificate.ts';

export class KeyPairs {
  readonly #post: (resource: string) => void;
  readonly #asked = new Map<string, PromiseWithResolvers<KeyPair | null>>();

  /** @param post  sends `certificate` to the daemon */
  constructor(post: (resource: string) => void) {
    this.#post = post;
  }

  /** @returns null when the daemon has none. What it gave is not kept here. */
  ask(resource: string): Promise<KeyPair | null> {
    const known = this.#asked.get(resource);
    if (known !== undefined) return known.promise;
    const asked = Promise.withResolvers<KeyPair | null>();
    this.#asked.set(resource, asked);
    this.#post(resource);
    return asked.promise;
  }

  /** The daemon's `certified`. */
  answer(resource: string, pair: KeyPair | null): void {
    this.#asked.get(resource)?.resolve(pair);
    this.#asked.delete(resource);
  }
}
