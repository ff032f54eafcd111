// The key of the secrets for one instance: from its file or the keychain, with a word in the daemon's log.
import type { Logger } from 'pino';
import { type KeyPlace, KeyStore } from '../../credentials/key-store.ts';
import type { Keychain } from '../../credentials/keychain.ts';
import type { Paths } from '../paths.ts';
import type { SecretStore } from './store.ts';

type Around = { readonly paths: Paths; readonly keychain: Keychain; readonly logger: Logger };

/**
 * @returns also when the key cannot be had: then its secrets are unreadable, and the log says what to do.
 * @throws SALLYPORT_VAULT_UNREADABLE for a key file that cannot be used.
 */
export async function openSecretKey(
  place: KeyPlace,
  { paths, keychain, logger }: Around,
  secrets: SecretStore,
): Promise<KeyStore> {
  const keys = await KeyStore.open({
    keyFile: paths.vaultKey,
    provided: paths.vaultKeyProvided,
    place,
    keychain,
    isNeeded: () => secrets.all().some(({ sealed }) => sealed !== null),
    report: (level, message) => logger[level](message),
  });
  if (keys.status.problem !== null) logger.warn(keys.status.problem);
  return keys;
}
