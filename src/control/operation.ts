// How an operation is spelled in listings, logs and answers; scripts search for these words.
import type { Protocol } from '../policy/rule.ts';

/** @param hostPort  host:port */
export function operation(hostPort: string, protocol: Protocol): string {
  return `op(action=net:connect:${protocol}, resource=net:domain:${hostPort})`;
}
