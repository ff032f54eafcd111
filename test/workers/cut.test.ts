import t from 'tap';
import type { Held } from '../../src/proxy/accept.ts';
import { cutConnections, cutSandboxes } from '../../src/workers/cut.ts';
import { sandboxRecord } from '../helpers/serve-settings.ts';

function held(sandbox: string | null): { connection: Held; destroyed: () => boolean } {
  let destroyed = false;
  const origin = { listener: null, remoteAddress: '', loopback: true };
  const connection = {
    origin: sandbox === null ? origin : { ...origin, sandbox },
    socket: { destroy: () => (destroyed = true) },
  } as unknown as Held;
  return { connection, destroyed: () => destroyed };
}

t.test(
  'sandboxes that are gone, others of the same name, and those in another phase',
  async (t) => {
    const before = [
      sandboxRecord('same'),
      sandboxRecord('gone'),
      sandboxRecord('again', { scope: 2 }),
      sandboxRecord('moved'),
      sandboxRecord('token'),
    ];
    const after = [
      sandboxRecord('same'),
      sandboxRecord('again', { scope: 3 }),
      sandboxRecord('moved', { phase: 'install' }),
      sandboxRecord('token', { tokenSha256: 'other', deny: 'inside' }),
      sandboxRecord('new'),
    ];
    t.strictSame(
      [...cutSandboxes(before, after)],
      [
        ['gone', 'the sandbox was removed'],
        ['again', 'the sandbox was removed'],
        ['moved', 'the sandbox is in phase install now'],
      ],
    );
    t.strictSame([...cutSandboxes(after, after)], []);
  },
);

t.test('their connections end, with the reason; those of others and of nobody stay', async (t) => {
  const [mine, theirs, nobody] = [held('gone'), held('same'), held(null)];
  const all = [mine, theirs, nobody].map(({ connection }) => connection);
  cutConnections(all, new Map());
  t.strictSame(
    [mine, theirs, nobody].map((one) => one.destroyed()),
    [false, false, false],
  );
  cutConnections(all, new Map([['gone', 'why']]));
  t.strictSame(
    [mine, theirs, nobody].map((one) => one.destroyed()),
    [true, false, false],
  );
  t.equal(mine.connection.origin.cut, 'why');
  t.equal(theirs.connection.origin.cut, undefined);
});
