// What an instance has on the disk, opened: rules and secrets, their key, the log, the audit.
import { hostname, platform, userInfo } from 'node:os';
import type { Logger } from 'pino';
import type { KeyPlace, KeyStore } from '../credentials/key-store.ts';
import { Audit } from './audit/audit.ts';
import { Followers } from './audit/follow.ts';
import { DecisionLog } from './audit/log.ts';
import type { AuditSettings } from './audit/settings.ts';
import type { Closing } from './closing.ts';
import { openSecretKey } from './secrets/key.ts';
import { Store } from './store.ts';
import { describe, type Surroundings } from './surroundings.ts';

export type State = {
  store: Store;
  keys: KeyStore;
  log: DecisionLog;
  audit: Audit;
  followers: Followers;
};

export type StateOptions = {
  readonly keyStore: KeyPlace;
  readonly audit: AuditSettings;
  /** How long rows of the log are kept. */
  readonly logKeepMs: number;
  readonly version: string;
};

/** @throws SALLYPORT_STORE_CORRUPT, SALLYPORT_VAULT_UNREADABLE for a key file that cannot be used */
export async function openState(
  options: StateOptions,
  around: Surroundings,
  closing: Closing,
): Promise<State> {
  const { paths, clock, logger } = around;
  const store = Store.open(paths.policyDatabase);
  closing.push(() => store.close());
  store.removeOrphans();
  const keys = await openSecretKey(options.keyStore, around, store.secrets);
  const log = DecisionLog.open(paths.logDatabase, {
    clock,
    keepMs: options.logKeepMs,
    onTrouble: (error) =>
      logger.warn({ error: describe(error) }, 'the log of decisions cannot be written'),
  });
  closing.push(() => log.close());
  const audit = await openAudit(options, around);
  audit.announce();
  closing.push(() => closeAudit(audit, logger));
  return { store, keys, log, audit, followers: new Followers() };
}

function openAudit(
  { audit, version }: StateOptions,
  { paths, clock, logger }: Surroundings,
): Promise<Audit> {
  const meanwhile = audit.mode === 'required' ? 'no exchange begins' : 'records may be lost';
  return Audit.open({
    folder: paths.audit,
    ...audit,
    clock,
    program: {
      client_name: 'sallyport',
      app_version: version,
      hostname: hostname(),
      os: platform(),
      username: userInfo().username,
    },
    onKept: (error) =>
      logger.warn({ error: describe(error) }, 'old files of the audit cannot be deleted'),
    onTrouble: (error) => {
      const facts = error === null ? {} : { error: describe(error) };
      if (error === null) logger.info('the audit can be written again');
      else logger.error(facts, `the audit cannot be written: ${meanwhile}`);
    },
  });
}

async function closeAudit(audit: Audit, logger: Logger): Promise<void> {
  await audit.close();
  const { lost } = audit.status;
  if (lost > 0) logger.error({ lost }, 'records of this daemon are missing in the audit');
}
