import t from 'tap';
import type { Held } from '../../src/proxy/accept.ts';
import { cutConnections, cutSandboxes } from '../../src/workers/cut.ts';
import type { SandboxRecord } from '../../src/workers/messages.ts';

function record(name: string, facts: Partial<SandboxRecord> = {}): SandboxRecord {
  return {
    name,
    scope: 1,
    tokenSha256: '',
    listen: null,
    sourceAddress: null,
    deny: null,
    phase: 'runtime',
    ...facts,
  };
}

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
      record('same'),
      record('gone'),
      record('again', { scope: 2 }),
      record('moved'),
      record('token'),
    ];
    const after = [
      record('same'),
      record('again', { scope: 3 }),
      record('moved', { phase: 'install' }),
      record('token', { tokenSha256: 'other', deny: 'inside' }),
      record('new'),
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
