import { once } from 'node:events';
import t from 'tap';
import { FOLLOW_QUEUE_BYTES_MAX, FOLLOWERS_MAX } from '../../../src/base/limits.ts';
import { Followers } from '../../../src/control/audit/follow.ts';
import { outcomeOf } from '../../helpers/control.ts';

async function linesOf(reader: AsyncIterable<unknown>): Promise<Record<string, unknown>[]> {
  let text = '';
  for await (const piece of reader) text += String(piece);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

t.test('each reader gets the decisions it asked for', async (t) => {
  const followers = new Followers();
  const all = followers.follow({});
  const one = followers.follow({ sandbox: 'other' });
  followers.publish([
    outcomeOf({ verdict: 'deny', status: 403, rule: null, reason: 'why' }),
    outcomeOf({ verdict: 'none' }),
    outcomeOf({ sandbox: 'other', bypass: 'example.com' }),
  ]);
  const mount = { sandbox: 'box', mode: 'mount:read', place: '/data', verdict: 'allow' } as const;
  followers.tell({ ...mount, time_ms: 0, rule: 'r', reason: null });
  followers.close();
  const lines = await linesOf(all);
  t.strictSame(lines[0], {
    time: '2026-01-02T03:04:05.678Z',
    sandbox: 'box',
    decision: 'deny',
    host: 'example.com:443',
    type: 'network',
    proxy_type: 'forward-bypass',
    method: 'CONNECT',
    status: 403,
    rule: null,
    reason: 'why',
  });
  t.equal(lines.length, 3);
  t.match(lines[2], { host: '/data', type: 'filesystem', proxy_type: 'mount:read', rule: 'r' });
  t.strictSame(
    (await linesOf(one)).map(({ sandbox, reason }) => [sandbox, reason]),
    [['other', 'on the bypass list: example.com']],
  );
});

t.test('a reader that falls behind is told so and cut; the others are not held up', async (t) => {
  const followers = new Followers();
  const slow = followers.follow({});
  const batch = Array.from({ length: 1_000 }, () => outcomeOf());
  for (let i = 0; i < 20; i++) followers.publish(batch);
  t.ok(slow.readableLength < 2 * FOLLOW_QUEUE_BYTES_MAX);
  const quick = followers.follow({});
  followers.publish([outcomeOf()]);
  followers.close();
  t.match((await linesOf(slow)).at(-1), { code: 'SALLYPORT_OVERLOADED', message: /fell behind/ });
  t.equal((await linesOf(quick)).length, 1);
});

t.test('there are only so many readers, and one that leaves makes room', async (t) => {
  const followers = new Followers();
  const readers = Array.from({ length: FOLLOWERS_MAX }, () => followers.follow({}));
  t.throws(() => followers.follow({}), { code: 'SALLYPORT_OVERLOADED' });
  const [first] = readers;
  first?.destroy();
  if (first !== undefined) await once(first, 'close');
  followers.follow({});
  followers.close();
});
