// Mounts are judged as connections are: deny wins, nothing is denied, and what is told names the rule.
// Covers src/policy/mount-explain.ts too.
import fc from 'fast-check';
import t from 'tap';
import { readPath } from '../../src/policy/file-path.ts';
import { parsePathPatterns, patternMatches, readyPattern } from '../../src/policy/file-pattern.ts';
import {
  type Access,
  decisive,
  isAllowed,
  judgeAccess,
  judgeMount,
  mountDenial,
  mountRuleText,
  type PathRule,
  type ReadyRule,
} from '../../src/policy/mount.ts';
import { explainMount, mountRemedy } from '../../src/policy/mount-explain.ts';
import type { Decision } from '../../src/policy/rule.ts';

const HOME = ['/', 'home', 'me'];

type Written = readonly [id: string, decision: Decision, access: Access, ...patterns: string[]];

function rulesOf(written: readonly Written[], more: Partial<PathRule> = {}): ReadyRule[] {
  return written.map(([id, decision, access, ...texts]) => {
    const patterns = parsePathPatterns(texts);
    const rule = { id, source: 'local', decision, scope: 0, access, patterns, ...more } as const;
    return { rule, ready: patterns.map((one) => readyPattern(one, HOME, 'linux')) };
  });
}

function questionOf(path: string, scope = 1) {
  const segments = readPath(path, 'linux');
  if (typeof segments === 'string') throw new Error(segments);
  return { scope, segments, reserved: [['/', 'state', 'sallyport']] };
}

const RULES: readonly Written[] = [
  ['r', 'allow', 'read', '/data/**'],
  ['w', 'allow', 'write', '/data/own/**', '/data/kept'],
  ['no', 'deny', 'write', '/data/own/locked/**'],
];

t.test('read-write needs both, deny wins, and nothing is denied', async (t) => {
  const rules = rulesOf(RULES);
  const judged = (path: string, writable: boolean) =>
    judgeMount(rules, questionOf(path), writable).map(({ action, rule }) => `${action} ${rule}`);
  t.strictSame(judged('/data/x', false), ['allow r']);
  t.strictSame(judged('/data/x', true), ['allow r', 'deny null']);
  t.strictSame(judged('/data/own/a', true), ['allow r', 'allow w']);
  t.strictSame(judged('/data/own/locked/a', true), ['allow r', 'deny no']);
  t.strictSame(judged('/data/own/locked', false), ['allow r'], 'reading is not denied');
  t.strictSame(judged('/etc', true), ['deny null', 'deny null']);
  const writeAlone = rulesOf([['w', 'allow', 'write', '**']]);
  t.notOk(isAllowed(judgeMount(writeAlone, questionOf('/a'), true)));
});

t.test('rules of a sandbox are for it alone', async (t) => {
  const rules = rulesOf([['own', 'allow', 'read', '**']], { scope: 7 });
  t.equal(judgeAccess(rules, questionOf('/a', 7), 'read').action, 'allow');
  t.equal(judgeAccess(rules, questionOf('/a', 8), 'read').action, 'deny');
  t.equal(judgeAccess(rules, questionOf('/a', 0), 'read').action, 'deny');
});

t.test('what holds the keys of the proxy, or lies among them, is given to nobody', async (t) => {
  const rules = rulesOf([['all', 'allow', 'read', '**']]);
  const judge = (path: string) => judgeAccess(rules, questionOf(path), 'read');
  for (const path of ['/', '/state', '/state/sallyport', '/state/sallyport/audit/x']) {
    t.match(judge(path), { action: 'deny', kind: 'explicit', rule: null }, path);
    t.match(explainMount(rules, questionOf(path), path, false).why, `no rule can allow ${path}`);
    const remedy = mountRemedy(rules, questionOf(path), { path, writable: false, scopeWords: [] });
    t.match(remedy, { commands: [], note: /no rule/ });
  }
  for (const path of ['/state/other', '/state/sallyport2', '/s']) {
    t.equal(judge(path).action, 'allow', path);
  }
  const verdicts = [judge('/state')];
  t.match(mountDenial(verdicts, '/state', null), 'fs:mount:read denied: the keys or the socket of');
  t.match(mountRuleText(verdicts, '/state'), /^denied: op\(action=fs:mount:read/);
});

t.test('what is told', async (t) => {
  const rules = rulesOf(RULES);
  const judge = (path: string) => judgeMount(rules, questionOf(path), true);
  t.equal(
    mountDenial(judge('/etc'), '/etc', null),
    '403 Forbidden: mount policy denied: /etc: ' +
      'fs:mount:read denied: no applicable policies for op(action=fs:mount:read, resource=fs:path:/etc); ' +
      'fs:mount:write denied: no applicable policies for op(action=fs:mount:write, resource=fs:path:/etc)',
  );
  const locked = '/data/own/locked/a';
  t.equal(
    mountDenial(judge(locked), locked, null),
    `403 Forbidden: mount policy denied: ${locked}: fs:mount:write denied: ` +
      `rule "no" matched op(action=fs:mount:write, resource=fs:path:${locked})`,
  );
  t.equal(mountRuleText(judge('/data/own'), '/data/own'), 'r, w');
  t.match(mountRuleText(judge(locked), locked), /^denied: rule "no" matched op\(/);
  t.match(
    mountRuleText(judge('/etc'), '/etc'),
    /^no applicable policies for op\(action=fs:mount:read/,
  );
  t.match(decisive(judge(locked)), { access: 'write', reason: 'Denied by local rule' });
  const org = rulesOf([['secret-name', 'deny', 'read', '~/']], { source: 'remote' });
  const denied = mountDenial(judgeMount(org, questionOf('/home/me'), false), '/home/me', 'Ask us.');
  t.match(denied, 'fs:mount:read denied: Denied by organization policy\nAsk us.');
  t.notMatch(denied, 'secret-name');
});

const access = fc.constantFrom('read' as const, 'write' as const);
const pattern = fc.constantFrom('**', '/a', '/a/*', '/a/**', '/*/b', '/**/b', '~/**', '/c');
const written = fc.tuple(
  fc.uuid(),
  fc.constantFrom('allow' as const, 'deny' as const),
  access,
  pattern,
  pattern,
);
const path = fc.constantFrom('/d', '/a', '/a/b', '/a/b/c', '/c', '/home/me', '/home/me/b', '/x');

t.test('deny wins, whatever the rules', async (t) => {
  let allowed = 0;
  fc.assert(
    fc.property(fc.array(written, { maxLength: 6 }), path, access, (list, where, asked) => {
      const rules = rulesOf(list);
      const question = questionOf(where);
      const covering = rules.filter(
        ({ rule, ready }) =>
          rule.access === asked && ready.some((one) => patternMatches(one, question.segments)),
      );
      const decisions = covering.map(({ rule }) => rule.decision);
      const expected = !decisions.includes('deny') && decisions.includes('allow');
      if (expected) allowed++;
      return (judgeAccess(rules, question, asked).action === 'allow') === expected;
    }),
    { numRuns: 3_000 },
  );
  t.ok(allowed > 100);
});

t.test('an explanation has the verdict, and its way out turns it around', async (t) => {
  let turned = 0;
  fc.assert(
    fc.property(
      fc.array(written, { maxLength: 6 }),
      path,
      fc.boolean(),
      (list, where, writable) => {
        const rules = rulesOf(list);
        const question = questionOf(where);
        const told = explainMount(rules, question, where, writable);
        const before = isAllowed(told.verdicts);
        if (before !== isAllowed(judgeMount(rules, question, writable))) return false;
        const { commands } = mountRemedy(rules, question, {
          path: where,
          writable,
          scopeWords: [],
        });
        const after = commands.reduce(applied, rules);
        if (isAllowed(judgeMount(after, question, writable)) === before) return false;
        turned++;
        return true;
      },
    ),
    { numRuns: 2_000 },
  );
  t.equal(turned, 2_000);
});

/** Runs one command of a remedy on rules. */
function applied(rules: readonly ReadyRule[], command: string): ReadyRule[] {
  const words = command.split(' ');
  if (words[1] === 'rm') return rules.filter(({ rule }) => rule.id !== words.at(-1));
  const [, decision] = words as [string, Decision];
  const flags = words.filter((word) => word.startsWith('--'));
  const where = words.at(-1) ?? '';
  return [
    ...rules,
    ...rulesOf(flags.map((flag) => [command, decision, flag.slice(2) as Access, where])),
  ];
}

t.test('what had a say, and what nearly had', async (t) => {
  const rules = rulesOf([
    ...RULES,
    ['also', 'allow', 'read', '~/x'],
    ['kids', 'allow', 'read', '/srv/*'],
  ]);
  const told = explainMount(rules, questionOf('/data/own/locked/a'), '/data/own/locked/a', true);
  t.match(told.considered, [
    { rule: { id: 'r' }, standing: 'decides' },
    { rule: { id: 'no' }, standing: 'decides', pattern: '/data/own/locked/**' },
    { rule: { id: 'w' }, standing: 'overruled', why: 'it allows writing, but rule no denies' },
  ]);
  t.equal(told.why, 'local rule no (/data/own/locked/**) denies writing /data/own/locked/a');
  const deeper = explainMount(rules, questionOf('/srv/a/b'), '/srv/a/b', false);
  t.match(deeper.near, [{ rule: { id: 'kids' }, why: /goes no deeper/ }]);
  const other = explainMount(rules, questionOf('/data/x'), '/data/x', true);
  t.match(other.near, [{ rule: { id: 'r' }, why: 'it is for reading alone' }]);
  t.equal(other.why, 'no rule allows writing /data/x');
  t.equal(
    explainMount(rules, questionOf('/data/kept'), '/data/kept', true).why,
    'rules allow reading and writing /data/kept, and no rule denies it',
  );
});

t.test('what no command changes is said', async (t) => {
  const asked = { path: '/a', writable: false, scopeWords: [] };
  for (const [source, note] of [
    ['remote', /organization/],
    ['kit', /kit/],
  ] as const) {
    const rules = rulesOf([['x', 'deny', 'read', '**']], { source });
    t.match(mountRemedy(rules, questionOf('/a'), asked), { commands: [], note });
  }
  const odd = mountRemedy([], questionOf('/a[1]'), { ...asked, path: '/a[1]' });
  t.match(odd, { commands: [], note: /no pattern can be exactly this path/ });
  const scoped = mountRemedy([], questionOf("/a b'c"), {
    path: "/a b'c",
    writable: true,
    scopeWords: ['--sandbox', 'box'],
  });
  t.strictSame(scoped.commands, [
    "policy allow filesystem --sandbox box --read --write '/a b'\\''c'",
  ]);
});
