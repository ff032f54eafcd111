// The large buffers of a compilation, kept for the next one. Shared buffers, because the engine
// does not count those: 100 MB of ordinary ones make it collect the whole heap in mid-compilation,
// which took a third of the time at 10^6 rules. Kept rather than dropped for the same reason: what
// is not counted is not collected in time.

type Use = 'slots' | 'nodes' | 'rules';

const SLACK_BYTES = 1_048_576; // Below this a buffer is kept whatever is asked for.

/** Lent to one compilation at a time; the image of the last one lives in it until copied. */
export class Scratch {
  readonly #buffers = new Map<Use, SharedArrayBuffer>();

  /** A buffer of at least `bytes` for one use, with what it had in it; the one before is let go. */
  take(use: Use, bytes: number): SharedArrayBuffer {
    const kept = this.#buffers.get(use);
    if (kept !== undefined && kept.byteLength >= bytes) {
      if (kept.byteLength <= Math.max(SLACK_BYTES, 4 * bytes)) return kept;
    }
    const buffer = new SharedArrayBuffer(Math.ceil(bytes / 4) * 4);
    this.#buffers.set(use, buffer);
    return buffer;
  }
}
