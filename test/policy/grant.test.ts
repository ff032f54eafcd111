// Leave for one connection fills silence, and overrules nothing.
import t from 'tap';
import { grantOnce, ONCE_RULE } from '../../src/policy/grant.ts';
import type { Host } from '../../src/policy/host.ts';
import { judgeAddresses, judgeTarget } from '../../src/policy/judge.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { rulesOf } from '../helpers/rules.ts';

const host = (text: string) => text as Host;

t.test('silence becomes leave, for that host and port alone', async (t) => {
  const rules = rulesOf(['deny', 'bad.test,*.sub.test'], ['allow', 'good.test']);
  const question = { scope: 1, host: host('new.test'), port: 443, protocol: 'tcp' } as const;
  const matcher = grantOnce(referenceMatcher(rules), question);
  t.match(judgeTarget(matcher, question, 'strict'), { action: 'allow', rule: ONCE_RULE });
  for (const other of [
    { port: 80 },
    { host: host('a.new.test') },
    { scope: 2 },
    { protocol: 'udp' as const },
  ]) {
    const asked = { ...question, ...other };
    t.match(judgeTarget(matcher, asked, 'strict'), { action: 'deny', kind: 'implicit' });
  }
  for (const name of ['bad.test', 'x.sub.test']) {
    const asked = { ...question, host: host(name) };
    const overruled = grantOnce(referenceMatcher(rules), asked);
    t.match(judgeTarget(overruled, asked, 'strict'), { action: 'deny', kind: 'explicit' });
  }
  const good = { ...question, host: host('good.test') };
  t.not(judgeTarget(grantOnce(referenceMatcher(rules), good), good, 'strict').rule, ONCE_RULE);
});

t.test('where HTTP rules cover a host, one connection is more than they would give', async (t) => {
  const [rule] = rulesOf(['allow', 'api.test']);
  if (rule === undefined) throw new Error('one');
  const rules = [{ ...rule, http: { methods: ['GET'], paths: ['/a'] } }];
  const question = { scope: 1, host: host('api.test'), port: 443, protocol: 'tcp' } as const;
  const matcher = grantOnce(referenceMatcher(rules), question);
  const asked = { method: 'POST', target: '/a' };
  t.match(judgeTarget(matcher, question, 'strict', asked), { action: 'deny' });
});

t.test('an address that is named may be special; one that a name leads to may not', async (t) => {
  const address = { scope: 1, host: host('10.1.2.3'), port: 22, protocol: 'tcp' } as const;
  const named = grantOnce(referenceMatcher([]), address);
  t.match(judgeTarget(named, address, 'strict'), { action: 'allow' });
  t.match(judgeAddresses(named, address, ['10.1.2.3'] as never, 'strict').checked, ['10.1.2.3']);
  const name = { ...address, host: host('inner.test') };
  const matcher = grantOnce(referenceMatcher([]), name);
  const judged = judgeAddresses(matcher, name, ['10.1.2.3', '127.0.0.1'] as never, 'strict');
  t.strictSame(judged.checked, []);
  const local = { ...address, host: host('localhost') };
  t.match(judgeTarget(grantOnce(referenceMatcher([]), local), local, 'strict'), {
    action: 'allow',
  });
});
