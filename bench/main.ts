// `npm run bench [-- --smoke] [-- proxies|matcher|publish|change|tls|tunnels ...] [-- --seconds N]`: runs
// the benches named, or all. Each `NAME.bench.ts` answers one question and is a program of its own.

import { once } from 'node:events';
import { globSync } from 'node:fs';
import { basename, join } from 'node:path';
import { start } from './process.ts';

const words = process.argv.slice(2);
const options = words.filter(
  (word, i) => word.startsWith('--') || words[i - 1]?.startsWith('--seconds'),
);
const named = words.filter((word) => !options.includes(word));
const known = globSync('*.bench.ts', { cwd: import.meta.dirname }).map((file) =>
  basename(file, '.bench.ts'),
);
const unknown = named.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  process.stderr.write(
    `no bench named ${unknown.join(', ')}; there are ${known.sort().join(', ')}\n`,
  );
  process.exit(1);
}

for (const name of known.sort().filter((one) => named.length === 0 || named.includes(one))) {
  process.stdout.write(`\n== ${name}\n`);
  const child = start(
    process.execPath,
    [join(import.meta.dirname, `${name}.bench.ts`), ...options],
    {
      stdio: 'inherit',
    },
  );
  const [code] = await once(child, 'exit');
  // A missed budget is said by the bench; only one that could not run fails the whole.
  if (code !== 0) {
    process.stderr.write(`${name} failed\n`);
    process.exitCode = 1;
  }
}
