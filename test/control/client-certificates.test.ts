// What is wrong with a client certificate is said at the start, with its place, and all at once:
// src/control/client-certificates.ts, and src/control/named-file.ts, which reads it.
import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  CLIENT_CERTIFICATE_FILE_BYTES_MAX,
  CLIENT_CERTIFICATES_MAX,
} from '../../src/base/limits.ts';
import {
  readClientCertificates,
  splitClientCertificate,
} from '../../src/control/client-certificates.ts';
import { type Issued, TestAuthority } from '../helpers/certificates.ts';
import { temporaryFolder } from '../helpers/control.ts';

const DAY_MS = 86_400_000;
const root = TestAuthority.create();
const good = root.issue({ names: 'DNS:client', days: 90 });
const other = root.issue({ names: 'DNS:other', days: 90 });

function files(t: Test): (name: string, content: string, mode?: number) => string {
  const folder = temporaryFolder(t);
  return (name, content, mode = 0o600) => {
    const file = join(folder, name);
    writeFileSync(file, content);
    chmodSync(file, mode);
    return file;
  };
}

function read(given: readonly string[], bypass: readonly string[] = [], nowMs = Date.now()) {
  return readClientCertificates(given, bypass, nowMs);
}

t.test('two files, one with both, and a chain', async (t) => {
  const file = files(t);
  const cert = file('c.pem', good.cert);
  const key = file('k.pem', good.key);
  const both = file('both.pem', other.key + other.cert);
  const below = root.below();
  const leaf: Issued = below.issue({ names: 'DNS:deep', days: 90 });
  const chain = file('chain.pem', leaf.cert + below.pem);
  const deepKey = file('deep.pem', leaf.key);
  const { certificates, warnings } = read([
    `API.test=${cert},${key}`,
    `*.inner.test:8443=${both}`,
    `10.0.0.1=${chain},${deepKey}`,
  ]);
  t.strictSame(warnings, []);
  t.strictSame(
    certificates.map(({ resource }) => resource),
    ['api.test', '*.inner.test:8443', '10.0.0.1'],
  );
  t.equal(certificates[0]?.chain, good.cert);
  t.equal(certificates[2]?.chain.match(/BEGIN CERTIFICATE/g)?.length, 2);
  t.match(certificates[1]?.key, /^-----BEGIN PRIVATE KEY-----/);
  t.strictSame(read([]), { certificates: [], warnings: [] });
  t.same(splitClientCertificate('a.test=b=c,d'), { host: 'a.test', files: ['b=c', 'd'] });
});

t.test('what works, but not as it should', async (t) => {
  const file = files(t);
  const cert = file('c.pem', good.cert);
  const key = file('k2.pem', good.key);
  t.match(read([`a.test=${cert},${key}`], [], Date.now() + 61 * DAY_MS).warnings, [/expires soon/]);
  const server = root.issue({
    names: 'DNS:x',
    days: 90,
    extensions: ['extendedKeyUsage=serverAuth'],
  });
  t.match(read([`a.test=${file('s.pem', server.key + server.cert)}`]).warnings, [
    /not for clients/,
  ]);
  const client = root.issue({
    names: 'DNS:x',
    days: 90,
    extensions: ['extendedKeyUsage=clientAuth'],
  });
  t.strictSame(read([`a.test=${file('u.pem', client.key + client.cert)}`]).warnings, []);
});

t.test('a key is for nobody else to use', async (t) => {
  const file = files(t);
  const cert = file('c.pem', good.cert, 0o644);
  for (const [mode, wanted] of [
    [0o600, true],
    [0o400, true],
    [0o640, process.getuid?.() === 0],
    [0o644, false],
    [0o604, false],
    [0o660, false],
    [0o602, false],
  ] as const) {
    const key = file(`k${mode}.pem`, good.key, mode);
    const given = [`a.test=${cert},${key}`];
    if (wanted) t.equal(read(given).certificates.length, 1, mode.toString(8));
    else t.throws(() => read(given), { message: /others may use .*; run chmod 600/ });
  }
  const both = file('both.pem', good.cert + good.key, 0o644);
  t.throws(() => read([`a.test=${both}`]), { message: /others may use the key in .*both\.pem/ });
});

t.test('what is no file, and what is too long', { timeout: 10_000 }, async (t) => {
  const folder = temporaryFolder(t);
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const path of [folder, pipe, '/dev/zero']) {
    t.throws(() => read([`a.test=${path}`]), { message: `${path} is no file` });
  }
  const long = join(folder, 'long.pem');
  writeFileSync(long, good.cert + ' '.repeat(CLIENT_CERTIFICATE_FILE_BYTES_MAX));
  t.throws(() => read([`a.test=${long}`]), { message: /long\.pem is too long/ });
});

t.test('faults, each with its place', async (t) => {
  const file = files(t);
  const cert = file('c.pem', good.cert);
  const key = file('k.pem', good.key);
  const foreign = file('other.pem', other.key);
  const weak = root.issue({ names: 'DNS:weak', days: 90, key: 'rsa1024' });
  const future = root.issue({ names: 'DNS:x', from: '20990101000000Z' });
  const nonsense = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  const sealed = execFileSync('openssl', ['pkcs8', '-topk8', '-passout', 'pass:x', '-in', key]);
  for (const [given, fault] of [
    ['a.test', /write HOST=/],
    ['=x', /write HOST=/],
    ['a.test=', /write HOST=/],
    [`a.test=${cert},${key},${key}`, /write HOST=/],
    [`a.test,b.test=${cert},${key}`, /write HOST=/],
    [`a b=${cert},${key}`, /"a b"/],
    [`**=${cert},${key}`, /too wide/],
    [`10.0.0.0/8=${cert},${key}`, /too wide/],
    [`a.test=${cert}.not,${key}`, /c\.pem\.not cannot be read: ENOENT/],
    [`a.test=${cert},${key}.not`, /k\.pem\.not cannot be read: ENOENT/],
    [`a.test=${key},${key}`, /k\.pem holds no certificate/],
    [`a.test=${file('n.pem', nonsense)},${key}`, /certificate 1 in .*n\.pem cannot be read/],
    [`a.test=${file('n2.pem', good.cert + nonsense)},${key}`, /certificate 2 in .*n2\.pem/],
    [`a.test=${cert}`, /c\.pem holds no private key/],
    [`a.test=${cert},${file('e.pem', String(sealed))}`, /e\.pem is encrypted/],
    [`a.test=${cert},${foreign}`, /other\.pem is not that of the certificate in .*c\.pem/],
    [`a.test=${file('f.pem', future.key + future.cert)}`, /f\.pem is not valid before Jan.* 2099/],
    [`a.test=${file('w.pem', weak.key + weak.cert)}`, /w\.pem cannot be used: .*small/i],
  ] as const) {
    t.throws(() => read([given]), { code: 'SALLYPORT_USAGE', message: fault }, given);
  }
  const late = Date.now() + 91 * DAY_MS;
  t.throws(() => read([`a.test=${cert},${key}`], [], late), { message: /c\.pem has expired/ });
  const fine = `a.test=${cert},${key}`;
  t.throws(() => read([fine, 'x', fine, 'y=z']), {
    message:
      /-cert x: write.*; --client-cert a\.test=.*already; --client-cert y=z: z cannot be read/,
  });
  const many = Array.from({ length: CLIENT_CERTIFICATES_MAX + 1 }, (_, i) =>
    fine.replace('a.test', `a${i}.test`),
  );
  t.throws(() => read(many), { message: /^--client-cert: 65 are given, at most 64 fit$/ });
});

t.test('what is never intercepted can be presented nothing', async (t) => {
  const file = files(t);
  const pem = `${file('c.pem', good.cert)},${file('k.pem', good.key)}`;
  for (const [host, bypass] of [
    ['a.test', 'a.test'],
    ['a.test', '*.test'],
    ['a.test:8443', 'a.test'],
    ['a.test:8443', '**'],
    ['*.test', '*.test'],
  ] as const) {
    const wanted = { message: new RegExp(`--bypass ${bypass.replaceAll('*', '\\*')} keeps`) };
    t.throws(() => read([`${host}=${pem}`], [bypass]), wanted, `${host} ${bypass}`);
  }
  for (const [host, bypass] of [
    ['a.test', 'b.test'],
    ['a.test', 'a.test:8443'],
    ['*.test', 'a.test'],
  ] as const) {
    t.equal(read([`${host}=${pem}`], [bypass]).certificates.length, 1, `${host} ${bypass}`);
  }
});
