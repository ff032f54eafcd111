// Which listeners a worker should have: the shared one, and one for each sandbox that has its own.
import type { Listen, SandboxRecord, ServeSettings } from './messages.ts';

/** A listener, named by what it is, so that two configurations can be compared. */
export type Wanted = {
  readonly key: string;
  /** Whose own listener it is; null for the shared one. */
  readonly sandbox: string | null;
  readonly listen: Listen;
};

/**
 * @param worker  0-based. A unix path, or any port where SO_REUSEPORT is missing, is opened by
 *   worker 0 alone.
 */
export function listenersOf(
  settings: ServeSettings,
  sandboxes: readonly SandboxRecord[],
  worker: number,
): Wanted[] {
  const wanted: Wanted[] = [{ key: 'main', sandbox: null, listen: settings.listen }];
  for (const { name, listen } of sandboxes) {
    if (listen === null) continue;
    const shared = listen.kind === 'tcp' && settings.reusePort;
    if (!shared && worker !== 0) continue;
    const place = listen.kind === 'tcp' ? `${listen.host} ${listen.port}` : listen.path;
    wanted.push({ key: `${name} ${listen.kind} ${place}`, sandbox: name, listen });
  }
  return wanted;
}
