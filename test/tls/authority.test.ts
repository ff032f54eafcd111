// Authorities and what they issue, as openssl and real clients see them. src/tls/x509.ts makes them.
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import tap, { type Test } from 'tap';
import {
  type AuthorityMaterial,
  createAuthority,
  describeAuthority,
  exportAuthority,
  importAuthority,
  needsRenewal,
} from '../../src/tls/authority.ts';
import { LeafMinter } from '../../src/tls/leaf.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { temporaryFolder } from '../helpers/control.ts';

const NOW = Date.now() + 60_000; // What openssl makes meanwhile is not from the future.
const DAY_MS = 86_400_000;

/** openssl's own word, as strict as it can be. @returns what it says */
function verify(
  t: Test,
  { trustPem }: AuthorityMaterial,
  leaf: string,
  ...words: string[]
): string {
  const folder = temporaryFolder(t);
  const [trust, file] = [join(folder, 'trust.pem'), join(folder, 'leaf.pem')];
  writeFileSync(trust, trustPem);
  writeFileSync(file, leaf);
  try {
    const strict = ['-x509_strict', '-purpose', 'sslserver', '-untrusted', file, '-CAfile', trust];
    return execFileSync('openssl', ['verify', ...strict, ...words, file], {
      stdio: 'pipe',
    }).toString();
  } catch (error) {
    return String((error as { stderr: Buffer }).stderr);
  }
}

tap.test('an authority of our own, and leaves for names and addresses', (t) => {
  const authority = createAuthority({ name: 'Proxy CA', nowMs: NOW });
  const minter = new LeafMinter(authority);
  const long = `${'a'.repeat(60)}.example.com`;
  for (const [host, kind] of [
    ['api.example.com', 'hostname'],
    [long, 'hostname'],
    ['192.0.2.1', 'ip'],
    ['2001:db8::1', 'ip'],
  ] as const) {
    const { certificatePem } = minter.mint(host, NOW);
    t.match(verify(t, authority, certificatePem, `-verify_${kind}`, host), /: OK/, host);
    const leaf = new X509Certificate(certificatePem);
    t.notOk(leaf.ca);
    t.equal(leaf.serialNumber.length, 32, '128 bits');
    t.ok(leaf.validToDate.getTime() - NOW <= 8 * DAY_MS, 'short-lived');
  }
  t.notMatch(
    verify(t, authority, minter.mint('a.test', NOW).certificatePem, '-verify_hostname', 'b.test'),
    /: OK/,
  );
  const serials = new Set(
    Array.from(
      { length: 100 },
      () => new X509Certificate(minter.mint('a.test', NOW).certificatePem).serialNumber,
    ),
  );
  t.equal(serials.size, 100);
  const text = execFileSync('openssl', ['x509', '-noout', '-text'], {
    input: authority.certificatePem,
  }).toString();
  t.match(text, /Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
  t.match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign/);
  t.end();
});

tap.test('an authority for some domains is good for no others', (t) => {
  const authority = createAuthority({ name: 'Proxy CA', nowMs: NOW, permitted: ['example.com'] });
  const minter = new LeafMinter(authority);
  t.match(verify(t, authority, minter.mint('a.example.com', NOW).certificatePem), /: OK/);
  t.match(
    verify(t, authority, minter.mint('a.example.org', NOW).certificatePem),
    /permitted subtree violation/,
  );
  t.end();
});

tap.test('a leaf does not outlive its authority, which is renewed before', (t) => {
  const authority = createAuthority({ name: 'Proxy CA', nowMs: NOW });
  const ends = Date.parse(describeAuthority(authority).not_after);
  t.notOk(needsRenewal(authority, NOW));
  t.ok(needsRenewal(authority, ends - 30 * DAY_MS));
  t.equal(new LeafMinter(authority).mint('a.test', ends - DAY_MS).notAfterMs, ends);
  t.end();
});

for (const [kind, words] of [
  ['rsa', ['rsa:2048']],
  ['ec', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']],
] as const) {
  tap.test(`an organisation's own authority: ${kind}, PEM and PKCS#12`, (t) => {
    const folder = temporaryFolder(t);
    const [key, cert, p12] = ['key', 'pem', 'p12'].map((end) => join(folder, `org.${end}`)) as [
      string,
      string,
      string,
    ];
    const made = [
      '-keyout',
      key,
      '-out',
      cert,
      '-days',
      '9',
      '-subj',
      '/O=Org/CN=Org CA',
      '-addext',
      'keyUsage=critical,keyCertSign',
    ];
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', ...words, '-passout', 'pass:open', ...made],
      { stdio: 'pipe' },
    );
    const pass = ['-passin', 'pass:open', '-passout', 'pass:sesame'];
    execFileSync('openssl', [
      'pkcs12',
      '-export',
      '-in',
      cert,
      '-inkey',
      key,
      '-out',
      p12,
      ...pass,
    ]);
    const pem = Buffer.concat([readFileSync(key), readFileSync(cert)]);
    for (const imported of [
      importAuthority(pem, 'open', NOW),
      importAuthority(readFileSync(p12), 'sesame', NOW),
    ]) {
      t.match(describeAuthority(imported).key, kind);
      const leaf = new LeafMinter(imported).mint('a.test', NOW).certificatePem;
      t.match(verify(t, imported, leaf, '-verify_hostname', 'a.test'), /: OK/);
    }
    for (const [content, passphrase] of [
      [pem, 'wrong'],
      [pem, null],
      [readFileSync(p12), 'wrong'],
    ] as const) {
      t.throws(() => importAuthority(content, passphrase, NOW), {
        code: 'SALLYPORT_AUTHORITY_INVALID',
      });
    }
    t.end();
  });
}

tap.test('an intermediate authority sends its chain, and its root is what clients trust', (t) => {
  const root = TestAuthority.create('Org Root');
  const below = root.below();
  const whole = Buffer.from(below.pem + root.pem + below.keyPem);
  const imported = importAuthority(whole, null, NOW);
  t.equal(exportAuthority(imported, 'pem').toString().trim(), root.pem.trim());
  t.equal(exportAuthority(imported, 'bundle').toString().match(/BEGIN/g)?.length, 2);
  t.same(exportAuthority(imported, 'der'), new X509Certificate(root.pem).raw);
  const { certificatePem } = new LeafMinter(imported).mint('a.test', NOW);
  t.equal(certificatePem.match(/BEGIN/g)?.length, 2, 'the leaf and the intermediate');
  t.equal(new X509Certificate(certificatePem).checkIssued(new X509Certificate(below.pem)), true);
  t.end();
});

tap.test('what is no authority is refused, every fault named', (t) => {
  const root = TestAuthority.create();
  const leaf = root.issue({ names: 'DNS:a.test' });
  const expired = root.issue({ names: 'DNS:a.test', days: -1, key: 'rsa1024' });
  const cases: readonly [string, RegExp][] = [
    ['', /neither PEM nor/],
    [root.pem, /no private key/],
    [leaf.key, /no certificate/],
    [root.pem + leaf.key, /no certificate in it belongs to the key/],
    [leaf.cert + leaf.key, /no CA certificate/],
    [expired.cert + expired.key, /no CA certificate.*; it has expired.*; its key must be/],
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', /cannot be read/],
  ];
  for (const [content, fault] of cases) {
    t.throws(() => importAuthority(Buffer.from(content), null, NOW), {
      code: 'SALLYPORT_AUTHORITY_INVALID',
      message: fault,
    });
  }
  t.end();
});
