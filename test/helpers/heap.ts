// How much memory objects take: for tests of what waits in few pieces.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose_gc');
const collect: () => void = runInNewContext('gc');

/** @returns bytes of objects that are in use */
export function heap(): number {
  collect();
  return process.memoryUsage().heapUsed;
}
