// HTTP rules from the command line to the listing and the check; src/policy/rule-facts.ts says what
// one must be, src/control/policy/rule-input.ts what else keeps it out.
import t from 'tap';
import type { CheckResult } from '../../../src/control/api/schemas.ts';
import { say } from '../../cli/session.ts';
import { startWorld } from '../../helpers/control.ts';

const ALLOW = ['policy', 'allow', 'network'];
const DENY = ['policy', 'deny', 'network'];

t.test('added, listed, checked, removed', async (t) => {
  const world = await startWorld(t, { preset: 'deny-all' });
  const added = await say(world, [
    ...ALLOW,
    'api.a.com',
    '--method',
    'get,HEAD',
    '--path',
    '/repos/**',
  ]);
  t.match(
    added.out,
    /^Rule added to policy local \(scope: global\): \S{36} \(api.a.com \[GET,HEAD \/repos\/\*\*\]\)\n$/,
  );
  await say(world, [...ALLOW, 'b.com']);
  await say(world, [...DENY, 'b.com', '--method', 'ANY', '--path', '/**/git-receive-pack']);
  const { out } = await say(world, ['policy', 'ls']);
  t.match(out, /TYPE +DECISION +RESOURCES +METHOD +PATH\n/);
  t.match(out, /http +allow +api\.a\.com +GET,HEAD +\/repos\/\*\*\n/);
  t.match(out, /network +allow +b\.com +- +-\n/);
  const onlyHttp = JSON.parse((await say(world, ['policy', 'ls', '--type', 'http', '--json'])).out);
  t.match(onlyHttp.rules, [
    {
      resource_type: 'http',
      methods: ['GET', 'HEAD'],
      actions: ['net:request:get', 'net:request:head'],
    },
    { methods: ['ANY'], paths: ['/**/git-receive-pack'], decision: 'deny' },
  ]);
  const check = async (...words: string[]) => {
    const { code, out } = await say(world, ['policy', 'check', 'network', ...words]);
    return [code, out] as const;
  };
  t.match(await check('https://api.a.com/repos/x'), [0, 'Allowed: api.a.com:443/repos/x']);
  t.match(await check('https://api.a.com/repos/x', '--method', 'POST'), [
    1,
    'no matching allow rule',
  ]);
  t.match(await check('https://api.a.com/repos/..%2fusers'), [1, 'segment . or ..']);
  t.match(await check('api.a.com'), [1, 'HTTP rules decide by method and path']);
  t.match(await check('b.com', '--verbose'), [0, 'Intercepted: yes (HTTP rules cover it)']);
  t.match(await check('https://b.com/o/r.git/git-receive-pack'), [1, 'Denied by local rule']);
  const json = JSON.parse((await check('https://b.com/x?y=1', '--json'))[1]) as CheckResult;
  t.match(json, { action: 'net:request:get', resource_value: 'b.com:443/x?y=1', allowed: true });

  const missing = await say(world, ['policy', 'rm', 'network', '--resource', 'api.a.com']);
  t.match(missing, { code: 1, err: /no rule has the resource "api.a.com"/ }, 'it is an HTTP rule');
  const rm = ['policy', 'rm', 'network', '--resource', 'b.com', '--method', 'ANY'];
  t.equal((await say(world, rm)).code, 1, 'another path');
  t.equal((await say(world, [...rm, '--path', '/**/git-receive-pack'])).code, 0);
  t.match(await check('https://b.com/o/r.git/git-receive-pack'), [0, 'Allowed']);
});

t.test('faults', async (t) => {
  const world = await startWorld(t);
  for (const [words, fault] of [
    [['a.com', '--path', '/a'], /--path needs --method/],
    [['a.com', '--method', 'GET,ANY'], /ANY stands alone/],
    [['a.com', '--method', 'FETCH', '--path', 'x'], /"FETCH" is no method.*begins with \//s],
    [
      ['10.0.0.1,10.0.0.0/8', '--method', 'GET'],
      /10\.0\.0\.1: an HTTP rule names hosts.*10\.0\.0\.0\/8/s,
    ],
    [['a.com', '--method', 'GET', '--protocol', 'udp'], /for tcp alone/],
  ] as const) {
    const { code, out, err } = await say(world, [...ALLOW, ...words]);
    t.strictSame([code, out], [1, ''], words.join(' '));
    t.match(err, fault);
  }
  const rm = await say(world, ['policy', 'rm', 'network', '--id', 'x', '--method', 'GET']);
  t.match(rm.err, /--method needs --resource/);
});
