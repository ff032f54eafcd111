// What an instance has on the disk, opened: rules and secrets, their key, the log, the audit.
import type { KeyPlace, KeyStore } from '../credentials/key-store.ts';
import { Audit } from './audit.ts';
import { Followers } from './follow.ts';
import { DecisionLog } from './log.ts';
import { openSecretKey } from './secret-key.ts';
import { Store } from './store.ts';
import { type Closing, describe, type Surroundings } from './surroundings.ts';

export type State = {
  store: Store;
  keys: KeyStore;
  log: DecisionLog;
  audit: Audit;
  followers: Followers;
};

/** @throws SALLYPORT_STORE_CORRUPT, SALLYPORT_VAULT_UNREADABLE for a key file that cannot be used */
export async function openState(
  place: KeyPlace,
  around: Surroundings,
  closing: Closing,
): Promise<State> {
  const { paths, logger } = around;
  const store = Store.open(paths.policyDatabase);
  closing.push(() => store.close());
  const keys = await openSecretKey(place, around, store.secrets);
  const log = DecisionLog.open(paths.logDatabase, (error) =>
    logger.warn({ error: describe(error) }, 'the log of decisions cannot be written'),
  );
  closing.push(() => log.close());
  const audit = await Audit.open({
    folder: paths.audit,
    onTrouble: (error) => {
      if (error === null) logger.info('the audit can be written again');
      else
        logger.error(
          { error: describe(error) },
          'the audit cannot be written; the proxy waits for it',
        );
    },
  });
  closing.push(() => audit.close());
  return { store, keys, log, audit, followers: new Followers() };
}
