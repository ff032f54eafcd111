// What an instance has begun, and how that is undone. A part that cannot be closed keeps none of the others
// from it: a record that is not on file, or a lock that is held, would be worse than the first failure.
import type { Logger } from 'pino';
import { describe } from './surroundings.ts';

/** What is to be undone, the last first. */
export type Closing = (() => unknown)[];

/**
 * Closes each part, the last first.
 *
 * @returns whether all could be closed; the log tells of each that could not.
 */
export async function closeAll(closing: Closing, logger: Logger): Promise<boolean> {
  const failures = new Set<unknown>(); // A part may be in it twice, and fail once.
  for (const close of closing.reverse()) {
    try {
      await close();
    } catch (error) {
      failures.add(error);
    }
  }
  for (const error of failures) {
    logger.error({ error: describe(error) }, 'a part of the daemon cannot be closed');
  }
  return failures.size === 0;
}

/** Runs the first call; later ones wait for it. */
export function once<T>(
  work: (timeoutMs: number) => Promise<T>,
): (timeoutMs: number) => Promise<T> {
  let running: Promise<T> | undefined;
  return (timeoutMs) => {
    running ??= work(timeoutMs);
    return running;
  };
}
