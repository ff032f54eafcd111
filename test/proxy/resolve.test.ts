// The name cache, and the lines in front of it, against a clock of the test's own. Covers src/proxy/turns.ts.
import { mock } from 'node:test';
import tap from 'tap';
import {
  DNS_ADDRESSES_MAX,
  DNS_CACHE_ENTRIES_MAX,
  DNS_LOOKUPS_PER_SANDBOX_MAX,
  DNS_NEGATIVE_TTL_MS,
  DNS_TIMEOUT_MS,
  DNS_TTL_MS,
  DNS_WAITING_PER_SANDBOX_MAX,
} from '../../src/base/limits.ts';
import { askerOf, type Resolution, Resolver } from '../../src/proxy/resolve.ts';
import { within } from '../helpers/wire.ts';

type Answer = { addresses: string[]; ttlMs: number };

function world(answer: (host: string, asked: number) => Answer | Promise<Answer>) {
  const clock = { ms: 0 };
  const asked: string[] = [];
  const resolver = new Resolver({ wallMs: () => 0, monotonicMs: () => clock.ms }, async (host) => {
    asked.push(host);
    return answer(host, asked.length);
  });
  /** Errors that are thrown at once and those that come later, as one. */
  const resolve = async (host: string, scope = 1): Promise<Resolution> =>
    resolver.resolve(host, scope);
  return { clock, asked, resolver, resolve };
}

const coded = (code: string): Error => Object.assign(new Error(code), { code });

tap.test('an answer is kept for its time, and is the same object meanwhile', async (t) => {
  const { clock, asked, resolver, resolve } = world(() => ({
    addresses: ['192.0.2.1'],
    ttlMs: 5_000,
  }));
  const first = await resolve('a.test');
  t.same(first.addresses, ['192.0.2.1']);
  clock.ms = 4_999;
  t.equal(resolver.resolve('a.test', 1), first, 'at once');
  clock.ms = 5_000;
  t.not(await resolve('a.test'), first);
  t.same(asked, ['a.test', 'a.test']);
});

tap.test('a long time is cut, and none is none', async (t) => {
  const long = world(() => ({ addresses: ['192.0.2.1'], ttlMs: 86_400_000 }));
  await long.resolve('a.test');
  long.clock.ms = DNS_TTL_MS;
  await long.resolve('a.test');
  t.equal(long.asked.length, 2);
  const none = world((_, asked) => ({ addresses: [`192.0.2.${asked}`], ttlMs: 0 }));
  t.same((await none.resolve('a.test')).addresses, ['192.0.2.1']);
  t.same((await none.resolve('a.test')).addresses, ['192.0.2.2']);
});

tap.test('no answer is kept too, for a short time', async (t) => {
  const { clock, asked, resolve } = world(() => Promise.reject(coded('ENOTFOUND')));
  const failed = { code: 'SALLYPORT_DNS_FAILED', message: /a\.test.*ENOTFOUND/ };
  await t.rejects(resolve('a.test'), failed);
  await t.rejects(resolve('a.test'), failed);
  t.equal(asked.length, 1);
  clock.ms = DNS_NEGATIVE_TTL_MS;
  await t.rejects(resolve('a.test'), failed);
  t.equal(asked.length, 2);
});

tap.test('a name is asked for once at a time', async (t) => {
  const answer = Promise.withResolvers<Answer>();
  const { asked, resolve } = world(() => answer.promise);
  const all = Promise.all([resolve('a.test'), resolve('a.test'), resolve('b.test')]);
  t.same(asked, ['a.test', 'b.test']);
  answer.resolve({ addresses: ['192.0.2.1'], ttlMs: 0 });
  const [first, second] = await all;
  t.equal(first, second);
});

tap.test('answers are put in normal form, once each, and are bounded', async (t) => {
  const many = Array.from({ length: 500 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const { resolve } = world((host) => ({
    addresses:
      host === 'many.test'
        ? many
        : ['::FFFF:127.0.0.1', '2001:DB8:0::1', '2001:db8::1', 'nonsense', ''],
    ttlMs: 1,
  }));
  const { addresses } = await resolve('a.test');
  t.ok(addresses.includes('2001:db8::1' as (typeof addresses)[number]));
  t.equal(addresses.length, 2);
  t.ok(
    addresses.every(
      (address) => address === '2001:db8::1' || /127\.0\.0\.1$|7f00:1$/.test(address),
    ),
  );
  t.equal((await resolve('many.test')).addresses.length, DNS_ADDRESSES_MAX);
});

tap.test('an empty answer is none', async (t) => {
  const { resolve } = world(() => ({ addresses: ['nonsense'], ttlMs: 1 }));
  await t.rejects(resolve('a.test'), { code: 'SALLYPORT_DNS_FAILED', message: /no address/ });
});

tap.test('the cache is bounded; the oldest leave', async (t) => {
  const { asked, resolver, resolve } = world(() => ({ addresses: ['192.0.2.1'], ttlMs: 10_000 }));
  for (let i = 0; i <= DNS_CACHE_ENTRIES_MAX; i++) await resolve(`${i}.test`);
  t.equal(asked.length, DNS_CACHE_ENTRIES_MAX + 1);
  t.notOk(resolver.resolve('1.test', 1) instanceof Promise, 'still there');
  await resolve('0.test');
  t.equal(asked.length, DNS_CACHE_ENTRIES_MAX + 2);
});

tap.test('no answer in time', async (t) => {
  const { resolve, asked } = world((_, count) =>
    count === 1 ? new Promise(() => {}) : { addresses: ['192.0.2.1'], ttlMs: 1 },
  );
  mock.timers.enable({ apis: ['setTimeout'] });
  const late = resolve('a.test');
  mock.timers.tick(DNS_TIMEOUT_MS);
  mock.timers.reset();
  await t.rejects(late, { code: 'SALLYPORT_DNS_TIMEOUT', status: 504 });
  t.match(await resolve('a.test'), { addresses: ['192.0.2.1'] }, 'and it is asked again');
  t.equal(asked.length, 2);
});

tap.test('a sandbox that asks for many slow names is alone in its line', async (t) => {
  const slow = new Map<string, (answer: Answer) => void>();
  const good = { addresses: ['192.0.2.1'], ttlMs: 1_000 };
  const { asked, resolve } = world((host) => {
    if (!host.startsWith('slow')) return good;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    slow.set(host, resolve);
    return promise;
  });
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const count = DNS_LOOKUPS_PER_SANDBOX_MAX + DNS_WAITING_PER_SANDBOX_MAX;
  const all = Array.from({ length: count }, (_, i) => resolve(`slow${i}.test`));
  const settled = Promise.allSettled(all);
  t.equal(asked.length, DNS_LOOKUPS_PER_SANDBOX_MAX, 'no more of them at one time');
  const again = resolve(`slow${count - 1}.test`);
  await t.rejects(resolve('one-more.test'), { code: 'SALLYPORT_OVERLOADED', status: 503 });
  t.match(await resolve('one-more.test', 2), { addresses: ['192.0.2.1'] }, 'others go on');
  const theirs = resolve(`slow${count - 1}.test`, 2);
  t.equal(asked.at(-1), `slow${count - 1}.test`, 'and wait in no line of its');
  slow.get(`slow${count - 1}.test`)?.(good);
  t.equal((await theirs).addresses[0], '192.0.2.1');
  slow.get('slow0.test')?.(good);
  await all[0];
  await new Promise(setImmediate);
  t.equal(asked.at(-1), `slow${DNS_LOOKUPS_PER_SANDBOX_MAX}.test`, 'the next in line');
  mock.timers.tick(DNS_TIMEOUT_MS);
  const late = { code: 'SALLYPORT_DNS_TIMEOUT' };
  await t.rejects(again, { ...late, message: /waited too long behind other names/ });
  t.equal((await settled).filter(({ status }) => status === 'fulfilled').length, 1);
  const before = asked.length;
  const next = resolve('next.test');
  t.equal(asked.length, before, 'what nobody waits for any more is still under way');
  slow.get('slow1.test')?.(good);
  t.match(await next, { addresses: ['192.0.2.1'] });
});

tap.test("the system's own resolver", async (t) => {
  const resolver = new Resolver({ wallMs: () => 0, monotonicMs: () => 0 }, askerOf([]));
  const { addresses } = await within(
    'localhost',
    Promise.resolve(resolver.resolve('localhost', 1)),
  );
  t.ok(addresses.some((address) => address === '127.0.0.1' || address === '::1'));
});
