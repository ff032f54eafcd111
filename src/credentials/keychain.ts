// The keychain of the operating system, for one short text at a time: the Secret Service by libsecret's
// `secret-tool` on Linux, the login keychain by `security` on macOS. The text goes in by stdin, never
// on a command line, which other users see. Nothing here asks a person, or waits for one.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KEYCHAIN_OUTPUT_BYTES_MAX, KEYCHAIN_TIMEOUT_MS } from '../base/limits.ts';
import { outputOfProgram, type Program, ProgramError } from './child.ts';

export type Keychain = {
  /**
   * @param id  letters and digits
   * @returns null when there is nothing under this id.
   * @throws KeychainError
   */
  readonly find: (id: string) => Promise<string | null>;
  /**
   * Replaces what is there.
   *
   * @param text  letters and digits
   * @throws KeychainError
   */
  readonly store: (id: string, text: string) => Promise<void>;
};

/** Why a keychain is of no use at present; the message is for people. */
export class KeychainError extends Error {
  override readonly name = 'KeychainError';
}

type Env = Readonly<Record<string, string | undefined>>;
/** Runs a program. @throws KeychainError */
type Ask = (command: string, args: string[], input?: string) => Promise<string>;

const LABEL = 'Sallyport: key of the secrets';
/** errSecItemNotFound (-25300) and errSecInteractionNotAllowed (-25308) as exit codes of `security`. */
const MAC_NOT_FOUND = 44;
const MAC_LOCKED = 36;

/**
 * The keychain of this user. It may turn out, each time it is asked, that there is none.
 *
 * @param env  PATH, and what leads to the session bus: DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR
 * @param platform  process.platform
 * @param timeoutMs  for each answer
 */
export function keychainOf(env: Env, platform: string, timeoutMs = KEYCHAIN_TIMEOUT_MS): Keychain {
  const ask: Ask = (command, args, input) => answerOf({ command, args, env, input, timeoutMs });
  if (platform === 'darwin') return macKeychain(ask);
  if (platform === 'linux' && hasSessionBus(env)) return secretService(ask);
  const why = platform === 'linux' ? 'there is no D-Bus session' : `none is known on ${platform}`;
  const refuse = (): Promise<never> => Promise.reject(new KeychainError(why));
  return { find: refuse, store: refuse };
}

/** Without one, libsecret would start a bus of its own (dbus-launch). */
function hasSessionBus({ DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: runtime }: Env) {
  return Boolean(address) || (Boolean(runtime) && existsSync(join(runtime ?? '', 'bus')));
}

function secretService(ask: Ask): Keychain {
  const attributes = (id: string): string[] => ['application', 'sallyport', 'key', id];
  return {
    // Not `lookup`: that asks the person to unlock a locked keychain, and waits for the answer.
    find: async (id) => {
      const found = await ask('secret-tool', ['search', ...attributes(id)]);
      const text = /^secret = (.*)$/m.exec(found)?.[1];
      if (text === undefined && /^\[/.test(found)) throw new KeychainError('it is locked');
      return text ?? null;
    },
    store: async (id, text) => {
      const args = ['store', `--label=${LABEL}`, ...attributes(id)];
      await ask('secret-tool', args, text);
    },
  };
}

function macKeychain(ask: Ask): Keychain {
  return {
    find: async (id) => {
      const args = ['find-generic-password', '-s', 'sallyport', '-a', id, '-w'];
      try {
        return (await ask('security', args)).trimEnd();
      } catch (error) {
        const exitCode = exitCodeOf(error);
        if (exitCode === MAC_NOT_FOUND) return null;
        throw exitCode === MAC_LOCKED ? new KeychainError('it is locked') : error;
      }
    },
    store: async (id, text) => {
      const words = `add-generic-password -U -s sallyport -a ${id} -l "${LABEL}" -w ${text}\n`;
      await ask('security', ['-i'], words);
    },
  };
}

function exitCodeOf(error: unknown): number | null {
  const cause = error instanceof KeychainError ? error.cause : null;
  return cause instanceof ProgramError ? cause.exitCode : null;
}

/** @throws KeychainError */
async function answerOf(program: Omit<Program, 'bytesMax'>): Promise<string> {
  try {
    return await outputOfProgram({ ...program, bytesMax: KEYCHAIN_OUTPUT_BYTES_MAX });
  } catch (cause) {
    if (!(cause instanceof ProgramError)) throw cause;
    throw new KeychainError(`${program.command} ${cause.message}`, { cause });
  }
}
