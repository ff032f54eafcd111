import { readFileSync } from 'node:fs';
import t from 'tap';
import { CODES, type Code, SallyportError } from '../../src/base/errors.ts';

// docs/errors.md is the promise; the table is what happens. Neither may say more than the other.
t.test('every code is documented as it is', async (t) => {
  const rows = readFileSync('docs/errors.md', 'utf8').matchAll(
    /^\| `(SALLYPORT_\w+)` \| (\d+) \| (.+) \|$/gm,
  );
  const documented = new Map(
    [...rows].map(([, code, status, hint]) => [code, { status: Number(status), hint }]),
  );
  for (const [code, { status, hint }] of Object.entries(CODES)) {
    t.strictSame(documented.get(code), { status, hint }, code);
    documented.delete(code);
  }
  t.strictSame([...documented.keys()], [], 'nothing is documented that does not exist');
});

t.test('an error carries its code, status and hint, and hides its cause', async (t) => {
  const error = new SallyportError('SALLYPORT_DENIED', 'no', { cause: new Error('10.0.0.7') });
  t.equal(error.status, 403);
  t.ok(error.hint.length > 0);
  t.notMatch(JSON.stringify(error), '10.0.0.7');
});

t.test('statuses are those that HTTP knows, hints are sentences', async (t) => {
  for (const code of Object.keys(CODES) as Code[]) {
    t.ok(CODES[code].status >= 400 && CODES[code].status <= 599, code);
    t.match(CODES[code].hint, /[.;)]$|`\.?$/, `${code}: the hint ends as a sentence`);
  }
});
