// The secrets of a daemon without the daemon: over a folder of their own, with a record in the place of
// its workers.
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { SallyportError } from '../../src/base/errors.ts';
import { Secrets } from '../../src/control/secrets/secrets.ts';
import { Store } from '../../src/control/store.ts';
import type { Binding } from '../../src/credentials/binding.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { keyIn, temporaryFolder } from './control.ts';
import { scopesOf } from './policy.ts';

type Life = {
  readonly secrets: Secrets;
  readonly store: Store;
  readonly close: () => Promise<void>;
};

export type SecretsWorld = Life & {
  readonly folder: string;
  /** What the workers were told, each time. */
  readonly pushed: Binding[][];
  readonly reports: object[];
  /** Whether workers refuse what they are told, and how far the clock is ahead. */
  readonly state: { refusing: boolean; aheadMs: number };
  /** The next life, over the same folder. */
  begin(): Promise<Life>;
};

type Options = {
  /** Their numbers begin with 7. */
  readonly sandboxes?: readonly string[];
  /** PEM of who certifies token endpoints, in place of the system's authorities. */
  readonly ca?: string;
};

export async function startSecrets(
  t: Test,
  { sandboxes = ['box'], ca }: Options = {},
): Promise<SecretsWorld> {
  const folder = temporaryFolder(t);
  const pushed: Binding[][] = [];
  const reports: object[] = [];
  const state = { refusing: false, aheadMs: 0 };
  const begin = async (): Promise<Life> => {
    const store = Store.open(join(folder, 'policy.db'));
    const isNeeded = (): boolean => store.secrets.all().some(({ sealed }) => sealed !== null);
    const secrets: Secrets = new Secrets({
      store: store.secrets,
      vault: new Vault(await keyIn(join(folder, 'vault.key'), isNeeded)),
      clock: {
        ...systemClock,
        wallMs: () => systemClock.wallMs() + state.aheadMs,
        monotonicMs: () => systemClock.monotonicMs() + state.aheadMs,
      },
      scopes: scopesOf(sandboxes, 7),
      trusted: async () => createSecureContext({ ca }),
      onChange: async () => {
        pushed.push(secrets.bindings());
        if (state.refusing) throw new SallyportError('SALLYPORT_PUBLISH_TIMEOUT', 'stuck');
      },
      report: (message, facts) => void reports.push({ message, ...facts }),
    });
    const close = async (): Promise<void> => {
      await secrets.close();
      store.close();
    };
    return { secrets, store, close };
  };
  const first = await begin();
  t.teardown(() => first.close().catch(() => {}));
  return { folder, pushed, reports, state, begin, ...first };
}
