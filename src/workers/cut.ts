// Which connections end although nobody closed them: those of sandboxes that are gone, or that went
// into another phase. What is open there may have been allowed by what held before.
import type { Held } from '../proxy/accept.ts';
import type { SandboxRecord } from './messages.ts';

/** @returns why, by the name of the sandbox */
export function cutSandboxes(
  before: readonly SandboxRecord[],
  after: readonly SandboxRecord[],
): ReadonlyMap<string, string> {
  const now = new Map(after.map((record) => [record.name, record]));
  const cut = new Map<string, string>();
  for (const { name, scope, phase } of before) {
    const record = now.get(name);
    if (record?.scope !== scope) cut.set(name, 'the sandbox was removed');
    else if (record.phase !== phase) cut.set(name, `the sandbox is in phase ${record.phase} now`);
  }
  return cut;
}

export function cutConnections(
  connections: Iterable<Held>,
  cut: ReadonlyMap<string, string>,
): void {
  if (cut.size === 0) return;
  for (const { origin, socket } of connections) {
    const why = origin.sandbox === undefined ? undefined : cut.get(origin.sandbox);
    if (why === undefined) continue;
    origin.cut = why;
    socket.destroy();
  }
}
