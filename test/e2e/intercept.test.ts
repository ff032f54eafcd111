// Programs that people run in sandboxes, unchanged, through hosts that are intercepted: the secret
// arrives at the origin, in the place where its placeholder stood, and the program never has it.
import t, { type Test } from 'tap';
import type { Ran } from '../helpers/cli.ts';
import { filesWith, type Sandboxed, type Seen, sandboxed } from '../helpers/sandboxed.ts';

let world: Sandboxed;
t.before(async () => {
  world = await sandboxed(t, '--workers', '2', '--deny', 'inside');
});

/** Neither what a program said nor what it keeps in its home holds the secret. */
function unseen(t: Test, home: string, secret: string, ran?: Ran): void {
  t.notMatch(`${ran?.out}${ran?.err}`, secret, 'it never said it');
  t.strictSame(filesWith(world.folderOf(home), [secret]), [], 'nor keeps it');
}

/** The one request that came for a host, in which no placeholder is left. */
function arrived(t: Test, host: string, placeholder: string): Seen {
  const [one, ...more] = world.origin.to(host);
  t.equal(more.length, 0, `one request for ${host}`);
  if (one === undefined) return t.bailout(`nothing came for ${host}`) as never;
  t.notMatch(JSON.stringify([one.url, one.headers]), placeholder);
  return one;
}

for (const [name, version] of [
  ['--http1.1', '1.1'],
  ['--http2', '2.0'],
] as const) {
  t.test(`curl ${name}`, async (t) => {
    const host = `curl${version.at(0)}.origin.test`;
    const secret = `curl-secret-${version}-0123456789`;
    const { origin } = world;
    origin.handlers.set(host, (_, response) => void response.end('content'));
    const placeholder = await world.secret(secret, `CURL_${version.at(0)}`, '--host', host);
    const url = `https://${host}:${origin.port}/file?key=${placeholder}`;
    const field = `Authorization: Bearer ${placeholder}`;
    const write = '\n%{http_code} %{http_version}';
    const ran = await world.run('curl', 'curl', ['-sS', name, '-H', field, '-w', write, url]);
    t.equal(ran.out, `content\n200 ${version.replace('.0', '')}`, ran.err);
    const seen = arrived(t, host, placeholder);
    t.match(seen, { version, url: `/file?key=${secret}` });
    t.equal(seen.headers.authorization, `Bearer ${secret}`);
    unseen(t, 'curl', secret, ran);
  });
}

t.test('curl -I of a denied host reads the refusal', async (t) => {
  const ran = await world.run('curl', 'curl', ['-sS', '-I', 'https://denied.example.com/']);
  t.match(
    ran.out,
    /^HTTP\/1.1 200 [^\n]+\n\r\nHTTP\/2 403 \r\n[\s\S]*x-sallyport-code: SALLYPORT_DENIED\r/i,
    ran.err,
  );
});
