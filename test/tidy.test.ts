// Properties of the code itself. A rule that is not checked here is a wish, so each house rule in
// STYLE.md that a program can see has a test below, and the message says what to do instead.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import t from 'tap';

/** The floors, lowest first. A file may import its own folder and any folder on a lower floor. */
const FLOORS: readonly (readonly string[])[] = [
  ['assembly', 'src/base'],
  ['src/policy'],
  ['src/matcher', 'src/tls', 'src/credentials', 'src/documents'],
  ['src/proxy'],
  ['src/workers'],
  ['src/control'],
  ['src/governance'],
  ['src/cli'],
];

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 60;

type Ban = {
  readonly pattern: RegExp;
  readonly instead: string;
  readonly except?: readonly string[];
};
const BANNED: readonly Ban[] = [
  {
    pattern: /\bnew Permit\(/,
    instead: 'call decide(): it alone may grant a permit',
    except: ['src/proxy/decide.ts'],
  },
  {
    pattern: /\bDate\.now\(|\bperformance\.now\(/,
    instead: 'take a Clock from src/base/clock.ts',
    except: ['src/base/clock.ts'],
  },
  {
    pattern: /\bprocess\.(env|argv|exit)\b/,
    instead: 'pass it in from src/cli/main.ts',
    except: ['src/cli/main.ts', 'src/control/daemon.ts'],
  },
  { pattern: /\b(FIXME|XXX|TODO)\b/, instead: 'finish it before it lands' },
];

type Source = { readonly path: string; readonly text: string; readonly imports: readonly string[] };

const sources = globSync(['assembly/**/*.ts', 'src/**/*.ts']).map((path): Source => {
  const text = readFileSync(path, 'utf8');
  const specifiers = text.matchAll(/^(?:import|export)\b[^'"]*?from '(\.[^']+)'/gm);
  const imports = [...specifiers].map(([, to]) => normalize(join(dirname(path), to ?? '')));
  return { path, text, imports };
});

function floorOf(path: string): number {
  return FLOORS.findIndex((folders) => folders.some((folder) => path.startsWith(`${folder}/`)));
}

function folderOf(path: string): string | undefined {
  return FLOORS[floorOf(path)]?.find((folder) => path.startsWith(`${folder}/`));
}

t.test('imports only go down', async (t) => {
  t.ok(sources.length > 0, 'there are sources to check');
  for (const { path, imports } of sources) {
    t.not(floorOf(path), -1, `${path}: its folder has a floor`);
    const sideways = imports.filter(
      (to) => folderOf(to) !== folderOf(path) && floorOf(to) >= floorOf(path),
    );
    t.strictSame(sideways, [], `${path}: imports nothing from its own floor or above`);
  }
});

t.test('files and functions fit in a head', async (t) => {
  for (const { path, text } of sources) {
    const lines = text.split('\n');
    t.ok(lines.length <= FILE_LINES_MAX, `${path}: ${lines.length} of ${FILE_LINES_MAX} lines`);
    const starts = lines.flatMap((line, i) =>
      /^(?:export )?(?:async )?function /.test(line) ? [i] : [],
    );
    for (const start of starts) {
      const length = lines.slice(start).indexOf('}') + 1;
      t.ok(
        length <= FUNCTION_LINES_MAX,
        `${path}:${start + 1}: ${length} of ${FUNCTION_LINES_MAX} lines`,
      );
    }
  }
});

t.test('nothing banned', async (t) => {
  for (const { path, text } of sources) {
    for (const { pattern, instead, except } of BANNED) {
      if (except?.includes(path)) continue;
      t.notMatch(text, pattern, `${path}: ${pattern} is banned; ${instead}`);
    }
  }
});

t.test('src/ knows one file of assembly/', async (t) => {
  for (const { path, imports } of sources) {
    if (!path.startsWith('src/')) continue;
    const foreign = imports.filter(
      (to) => to.startsWith('assembly/') && to !== 'assembly/layout.ts',
    );
    t.strictSame(foreign, [], `${path}: imports only assembly/layout.ts from there`);
  }
});

t.test('every source file has its test', async (t) => {
  // Types have nothing to run, and these are run whole by the end-to-end tests.
  const elsewhere = new Set([
    'src/base/webassembly.d.ts',
    'src/cli/main.ts',
    'src/credentials/binding.ts',
    'src/policy/decision.ts',
    'src/policy/rule.ts',
    'src/proxy/exchange.ts',
    'src/workers/messages.ts',
  ]);
  const tests = globSync('test/**/*.test.ts')
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n');
  for (const { path } of sources) {
    if (!path.startsWith('src/') || elsewhere.has(path)) continue;
    const mirrored = existsSync(path.replace(/^src/, 'test').replace(/\.ts$/, '.test.ts'));
    t.ok(mirrored || tests.includes(path), `${path}: has a mirrored test, or a test that names it`);
  }
});
