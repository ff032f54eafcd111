// The grammar of filesystem rules, and the matcher against the obvious one.
import fc from 'fast-check';
import t from 'tap';
import { foldCase, type PathStyle, readPath } from '../../src/policy/file-path.ts';
import {
  isForStyle,
  parsePathPatterns,
  patternMatches,
  readyPattern,
} from '../../src/policy/file-pattern.ts';

const HOMES = {
  linux: ['/', 'home', 'me'],
  macos: ['/', 'users', 'me'],
  windows: ['c:', 'users', 'me'],
} as const;

function matches(text: string, path: string, style: PathStyle = 'linux'): boolean {
  const [pattern] = parsePathPatterns([text]);
  const segments = readPath(path, style);
  if (pattern === undefined || typeof segments === 'string') throw new Error(`${text} ${segments}`);
  return patternMatches(readyPattern(pattern, HOMES[style], style), segments);
}

t.test('a pattern has one spelling', async (t) => {
  for (const [text, spelled, form] of [
    ['**', '**', 'everywhere'],
    ['/', '/', 'posix'],
    ['/data/', '/data', 'posix'],
    ['/data/*/x-*', '/data/*/x-*', 'posix'],
    ['~', '~/', 'everywhere'],
    ['~/', '~/', 'everywhere'],
    ['~/**', '~/**', 'everywhere'],
    ['~\\src\\', '~\\src', 'windows'],
    ['**/.ssh/**', '**/.ssh/**', 'posix'],
    ['c:\\Data\\**', 'C:\\Data\\**', 'windows'],
    ['C:', 'C:\\', 'windows'],
    ['*:\\data\\**', '*:\\data\\**', 'windows'],
    ['\\\\wsl$\\Ubuntu\\home\\**', '\\\\wsl.localhost\\Ubuntu\\home\\**', 'windows'],
    ['\\\\nas\\share', '\\\\nas\\share', 'windows'],
  ] as const) {
    t.match(parsePathPatterns([text]), [{ text: spelled, form }], text);
    t.strictSame(parsePathPatterns([spelled]), parsePathPatterns([text]), `${spelled} again`);
  }
  t.equal(parsePathPatterns(['/a', '/a/']).length, 1, 'the same twice');
  const [posix, windows, both] = parsePathPatterns(['/a', 'C:\\a', '~/a']);
  if (!posix || !windows || !both) throw new Error('three');
  t.strictSame([isForStyle(posix, 'macos'), isForStyle(posix, 'windows')], [true, false]);
  t.strictSame([isForStyle(windows, 'linux'), isForStyle(windows, 'windows')], [false, true]);
  t.strictSame([isForStyle(both, 'linux'), isForStyle(both, 'windows')], [true, true]);
});

t.test('every fault is named with its place', async (t) => {
  for (const [text, fault] of [
    ['', /begins with/],
    ['data', /begins with/],
    ['./data', /begins with/],
    ['~me/x', /begins with/],
    ['$HOME/**', /variables are not expanded/],
    ['%USERPROFILE%\\**', /variables are not expanded/],
    ['/a/../b', /segment \.\./],
    ['/a/./b', /segment \./],
    ['/a//b', /empty segment/],
    ['/a/**b', /\*\* is a segment of its own/],
    ['/a/***', /\*\* is a segment of its own/],
    ['/a/?', /\? has no meaning/],
    ['/a/[ab]', /\[ has no meaning/],
    ['/a/{b,c}', /\{ has no meaning/],
    ['/a\n', /control character/],
    ['C:/data', /the separator of a pattern is \\/],
    ['C:data', /begins with/],
    ['C:\\a:b', /: has no meaning/],
    ['\\\\nas', /begins with/],
    ['\\\\*\\share', /no wildcards/],
    [`/${'a'.repeat(1024)}`, /more than 1024 bytes/],
    ['/a'.repeat(129), /more than 128 segments/],
  ] as const) {
    t.throws(() => parsePathPatterns([text]), { code: 'SALLYPORT_POLICY_INVALID', message: fault });
  }
  t.throws(() => parsePathPatterns(['/ok', 'x', '/..']), {
    message: /^element 2 "x": it begins.*; element 3 "\/\.\.": it has a segment/s,
  });
  t.throws(() => parsePathPatterns([]), { message: /at least one path/ });
  t.throws(() => parsePathPatterns(Array.from({ length: 257 }, () => '/a')), {
    message: /at most 256/,
  });
});

t.test('what a pattern covers', async (t) => {
  for (const [text, covered, others] of [
    ['/data', ['/data'], ['/', '/data/x', '/datax', '/Data']],
    ['/data/*', ['/data/x'], ['/data', '/data/x/y']],
    ['/data/**', ['/data', '/data/x', '/data/x/y'], ['/', '/data2', '/dat']],
    ['/*/x', ['/a/x'], ['/x', '/a/b/x']],
    ['/**/x', ['/x', '/a/x', '/a/b/x'], ['/a/xx', '/a/x/b']],
    ['/a/**/b/**/c', ['/a/b/c', '/a/b/b/c', '/a/1/b/2/c/c'], ['/a/c', '/a/c/b']],
    ['/p-*/x', ['/p-/x', '/p-1/x'], ['/p/x', '/p-1/y/x']],
    ['**', ['/', '/a', '/a/b'], []],
    ['**/.ssh', ['/.ssh', '/home/me/.ssh'], ['/home/me/.ssh/id']],
    ['~/', ['/home/me'], ['/home/me/x', '/home']],
    ['~/**', ['/home/me', '/home/me/a/b'], ['/home/me2', '/home']],
    ['/', ['/'], ['/a']],
    ['C:\\x', [], ['/x', '/C:/x']],
  ] as const) {
    for (const path of covered) t.ok(matches(text, path), `${text} covers ${path}`);
    for (const path of others) t.notOk(matches(text, path), `${text} does not cover ${path}`);
  }
});

t.test('on Windows', async (t) => {
  for (const [text, covered, others] of [
    ['C:\\Data\\**', ['c:\\data', 'C:\\DATA\\x'], ['D:\\data', '\\\\c\\data\\x']],
    ['*:\\data\\**', ['C:\\data\\x', 'z:\\Data'], ['\\\\nas\\data\\x', 'C:\\x\\data']],
    [
      '\\\\wsl.localhost\\Ubuntu\\home\\**',
      ['\\\\wsl$\\ubuntu\\home\\me'],
      ['\\\\wsl$\\other\\home'],
    ],
    ['~/**', ['C:\\Users\\Me\\src'], ['C:\\Users\\You']],
    ['~\\src', ['C:\\Users\\Me\\src'], []],
    ['**', ['C:\\', '\\\\nas\\share\\x'], []],
    ['**\\.ssh', ['C:\\a\\.SSH', '\\\\nas\\share\\.ssh'], ['C:\\.ssh\\x']],
    ['/data', [], ['C:\\data']],
  ] as const) {
    for (const path of covered) t.ok(matches(text, path, 'windows'), `${text} covers ${path}`);
    for (const path of others) t.notOk(matches(text, path, 'windows'), `${text} not ${path}`);
  }
  t.ok(matches('/Data/Ä', '/data/ä', 'macos'));
});

t.test('a home with a star in its name is taken by the letter', async (t) => {
  const [pattern] = parsePathPatterns(['~/x']);
  if (pattern === undefined) throw new Error('one');
  const ready = readyPattern(pattern, ['/', 'h*'], 'linux');
  t.ok(patternMatches(ready, ['/', 'h*', 'x']));
  t.notOk(patternMatches(ready, ['/', 'home', 'x']));
});

/** As one would say it: a letter at a time, a segment at a time, trying everything. */
function obvious(steps: readonly string[], names: readonly string[]): boolean {
  const [step, ...later] = steps;
  if (step === undefined) return names.length === 0;
  if (step === '**') {
    return names.some((_, i) => obvious(later, names.slice(i))) || obvious(later, []);
  }
  const [name, ...rest] = names;
  return name !== undefined && name !== '' && letters(step, name) && obvious(later, rest);
}

function letters(step: string, name: string): boolean {
  if (step === '') return name === '';
  if (step.startsWith('*')) {
    return letters(step.slice(1), name) || (name !== '' && letters(step, name.slice(1)));
  }
  return step[0] === name[0] && letters(step.slice(1), name.slice(1));
}

const name = fc.stringMatching(/^[abA]{1,3}$/);
const step = fc.oneof(
  name,
  fc.constant('*'),
  fc.constant('**'),
  fc.stringMatching(/^[ab*]{1,4}$/).filter((text) => !text.includes('**')),
);
const root = fc.constantFrom('/', '~/', '**/');

t.test('the matcher is the obvious one', async (t) => {
  let covered = 0;
  fc.assert(
    fc.property(
      root,
      fc.array(step, { maxLength: 6 }),
      fc.array(name, { maxLength: 6 }),
      fc.constantFrom('linux' as const, 'macos' as const),
      (start, steps, names, style) => {
        const path = `/${[...(start === '~/' ? HOMES[style].slice(1) : []), ...names].join('/')}`;
        const fold = (text: string): string => foldCase(text, style);
        const whole = { '/': ['/'], '~/': [...HOMES[style]], '**/': ['**'] }[start] ?? [];
        const expected = obvious(
          [...whole, ...steps.map(fold)],
          path === '/' ? ['/'] : ['/', ...path.slice(1).split('/').map(fold)],
        );
        if (expected) covered++;
        return matches(start + steps.join('/'), path, style) === expected;
      },
    ),
    { numRuns: 5_000 },
  );
  t.ok(covered > 200, `${covered} pairs match`);
});

t.test('no pattern makes it slow', async (t) => {
  const deep = `/${'a/'.repeat(120)}b`;
  const startedMs = performance.now();
  for (let i = 0; i < 100; i++) {
    t.notOk(matches(`/${'**/a/'.repeat(60)}c`, deep));
    t.notOk(matches(`/${'*a'.repeat(400)}b`, `/${'a'.repeat(3000)}`));
  }
  t.ok(performance.now() - startedMs < 5_000);
});
