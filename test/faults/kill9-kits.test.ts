// kill -9 while sandboxes change their phase and settings are written: afterwards each sandbox is in the
// phase that was last acknowledged or in the one that was asked for, the rules in force are those of
// that phase, and the file of the settings is whole.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { ControlClient } from '../../src/control/api/client.ts';
import { resolvePaths } from '../../src/control/paths.ts';
import { waitUntilStopped } from '../../src/control/spawn.ts';
import { startDaemon, temporaryEnv } from '../helpers/control.ts';

const KILLS = 12;
const BOXES = ['one', 'two', 'three'];
const KIT = {
  name: 'k',
  install: { allow: ['install.test'] },
  runtime: { allow: ['runtime.test'], deny: ['both.test'] },
};

type Phase = 'install' | 'runtime';
/** What was asked for last, and what of it was answered. */
type Word = { asked: Phase; acknowledged: Phase };

/** Changes its phase until the daemon is gone. */
async function toggles(socket: string, name: string, word: Word, onAck: () => void): Promise<void> {
  const client = new ControlClient(socket);
  try {
    for (;;) {
      word.asked = word.acknowledged === 'install' ? 'runtime' : 'install';
      await client.post(`/sandbox/${name}/phase`, { phase: word.asked });
      word.acknowledged = word.asked;
      onAck();
    }
  } catch {
    // It was killed.
  } finally {
    await client.close();
  }
}

/** Writes a setting until the daemon is gone. @returns the last value that was acknowledged */
async function settings(socket: string, from: number): Promise<{ acknowledged: number }> {
  const client = new ControlClient(socket);
  let acknowledged = from;
  try {
    for (;;) {
      const value = [`host-${acknowledged + 1}.test`, 'x'.repeat(60)];
      await client.put('/daemon/settings/network.bypass', { value });
      acknowledged++;
    }
  } catch {
    return { acknowledged };
  } finally {
    await client.close();
  }
}

t.test(`${KILLS} kills amid changes of phases and settings`, { timeout: 200_000 }, async (t) => {
  const env = temporaryEnv(t);
  const paths = resolvePaths(env);
  const words = new Map(
    BOXES.map((name): [string, Word] => [name, { asked: 'runtime', acknowledged: 'runtime' }]),
  );
  let written = 0;
  for (let round = 0; round < KILLS; round++) {
    const { pid, socket } = await startDaemon(env, { 'policy.preset': 'deny-all' });
    const client = new ControlClient(socket);
    if (round === 0) for (const name of BOXES) await client.post('/sandbox', { name, kit: KIT });
    else await checkAll(client, words);
    await client.close();
    let left = 3 + Math.floor(Math.random() * 40);
    const onAck = (): void => {
      if (left-- === 0) process.kill(pid, 'SIGKILL');
    };
    const [{ acknowledged }] = await Promise.all([
      settings(socket, written),
      ...[...words].map(([name, word]) => toggles(socket, name, word, onAck)),
    ]);
    t.ok(waitUntilStopped(paths, 10_000));
    const file = JSON.parse(readFileSync(paths.settings, 'utf8'));
    const [host = ''] = file['network.bypass'] as string[];
    const stands = Number(/^host-(\d+)\.test$/.exec(host)?.[1]);
    t.ok(
      stands === acknowledged || stands === acknowledged + 1,
      'the file is whole, and not older',
    );
    written = stands;
  }
  const { pid, socket } = await startDaemon(env);
  const client = new ControlClient(socket);
  await checkAll(client, words);
  await client.close();
  process.kill(pid, 'SIGTERM');
  t.ok(waitUntilStopped(paths, 10_000));

  async function checkAll(client: ControlClient, words: ReadonlyMap<string, Word>): Promise<void> {
    for (const [name, word] of words) {
      const { phase } = await client.get<{ phase: Phase }>(`/sandbox/${name}`);
      t.ok(phase === word.asked || phase === word.acknowledged, 'asked for, or acknowledged');
      word.acknowledged = phase;
      const allowed = async (target: string): Promise<boolean> => {
        const body = { target, sandbox_id: name };
        return (await client.post<{ allowed: boolean }>('/policy/network/check', body)).allowed;
      };
      t.strictSame(
        [await allowed('install.test'), await allowed('runtime.test')],
        [phase === 'install', phase === 'runtime'],
        'and its rules are in force',
      );
    }
  }
});
