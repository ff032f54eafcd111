// Keychains for tests: programs that behave as `secret-tool` and `security` do, in processes of their
// own, and a real Secret Service (gnome-keyring) on a bus of its own.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Test } from 'tap';
import { temporaryFolder } from './control.ts';
import { within } from './wire.ts';

type Env = Record<string, string>;

/** As a keychain is met with: it answers, is locked, never answers, or fails. */
type Mood = 'open' | 'locked' | 'silent' | 'broken';

export type FakeKeychain = {
  /** What leads to it. */
  readonly env: Env;
  setMood(mood: Mood): void;
  /** The items it has, by id. */
  items(): Record<string, string>;
  setItem(id: string, text: string): void;
  /** Every command line that it was called with. */
  calls(): string;
};

const PRELUDE = `#!/bin/sh
here=$(dirname "$0")
printf '%s\\n' "$*" >> "$here/calls"
read -r mood < "$here/mood"
case $mood in
  silent) sleep 60 ;;
  broken) echo broken >&2; exit 3 ;;
esac
`;

/** What secret-tool 0.20 does with gnome-keyring 42: a search shows a locked item without its secret. */
const SECRET_TOOL = `${PRELUDE}
for id; do :; done
item="$here/items/$id"
case $1 in
  search)
    [ -e "$item" ] || exit 0
    printf '[/1]\\nlabel = A label\\n'
    [ "$mood" = locked ] || printf 'secret = %s\\n' "$(cat "$item")"
    printf 'created = 2026-01-02 03:04:05\\n'
    echo 'attribute.application = sallyport' >&2 ;;
  store) if [ "$mood" = locked ]; then exit 1; fi; cat > "$item" ;;
  *) exit 2 ;;
esac
`;

/** What `security` of macOS does: its exit code is the low byte of the OSStatus. */
const SECURITY = `${PRELUDE}
if [ "$1" = -i ]; then
  read -r line
  if [ "$mood" = locked ]; then exit 0; fi
  eval "set -- $line"
  [ "$1 $2 $3 $5 $7 $9" = 'add-generic-password -U -s -a -l -w' ] || exit 2
  printf '%s' "\${10}" > "$here/items/$6"
elif [ "$1" = find-generic-password ]; then
  [ -e "$here/items/$5" ] || exit 44
  if [ "$mood" = locked ]; then exit 36; fi
  cat "$here/items/$5"; echo
fi
`;

/** One that is open and has nothing. */
export function fakeKeychain(t: Test, program: 'secret-tool' | 'security'): FakeKeychain {
  const folder = temporaryFolder(t);
  const script = program === 'security' ? SECURITY : SECRET_TOOL;
  writeFileSync(join(folder, program), script, { mode: 0o700 });
  mkdirSync(join(folder, 'items'));
  writeFileSync(join(folder, 'calls'), '');
  const setMood = (mood: Mood): void => writeFileSync(join(folder, 'mood'), `${mood}\n`);
  setMood('open');
  const read = (...path: string[]): string => readFileSync(join(folder, ...path), 'utf8');
  return {
    env: {
      PATH: `${folder}:/usr/bin:/bin`,
      DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nothing/here',
    },
    setMood,
    items: () =>
      Object.fromEntries(readdirSync(join(folder, 'items')).map((id) => [id, read('items', id)])),
    setItem: (id, text) => writeFileSync(join(folder, 'items', id), text),
    calls: () => read('calls'),
  };
}

export type SecretService = {
  /** What leads to it. */
  readonly env: Env;
  /** Ends the keyring and starts it again, as after the next boot. */
  restart(mood: 'open' | 'locked'): Promise<void>;
};

const PROGRAMS = ['dbus-daemon', 'gnome-keyring-daemon', 'secret-tool'];

/** A word for `skip` when a real Secret Service cannot run here; else false. */
export function withoutSecretService(): string | false {
  const missing = PROGRAMS.filter((program) => {
    try {
      execFileSync('/bin/sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
      return false;
    } catch {
      return true;
    }
  });
  return missing.length > 0 && `not installed: ${missing.join(', ')}`;
}

/** A session bus with gnome-keyring on it, in folders of their own; open, and has nothing. */
export async function secretService(t: Test): Promise<SecretService> {
  const folder = temporaryFolder(t);
  const env: Env = { PATH: process.env.PATH ?? '', HOME: folder, XDG_RUNTIME_DIR: folder };
  const bus = spawn('dbus-daemon', ['--session', '--nofork', '--print-address'], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let keyring: ChildProcess | null = null;
  t.teardown(async () => {
    if (keyring !== null) await ended(keyring);
    await ended(bus);
  });
  const [address] = await within('the bus', once(bus.stdout, 'data'));
  env.DBUS_SESSION_BUS_ADDRESS = String(address).trim();
  const restart = async (mood: 'open' | 'locked'): Promise<void> => {
    if (keyring !== null) await ended(keyring);
    const how = mood === 'open' ? ['--unlock'] : [];
    keyring = spawn('gnome-keyring-daemon', [...how, '--foreground', '--components=secrets'], {
      env,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    keyring.stdin?.end(mood === 'open' ? 'a-password' : '');
    await within('the keyring', untilOwned(env));
  };
  await restart('open');
  return { env, restart };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** Until the keyring has its name on the bus: before, the bus itself would start another one. */
async function untilOwned(env: Env): Promise<void> {
  const call = [
    '--session',
    '--print-reply',
    '--dest=org.freedesktop.DBus',
    '/org/freedesktop/DBus',
    'org.freedesktop.DBus.NameHasOwner',
    'string:org.freedesktop.secrets',
  ];
  for (;;) {
    const said = execFileSync('dbus-send', call, { env, encoding: 'utf8' });
    if (said.includes('boolean true')) return;
    await setTimeout(20);
  }
}
