import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { createAuthority } from '../../src/tls/authority.ts';
import { systemAuthorities, trustedAuthorities } from '../../src/tls/roots.ts';
import { TestAuthority } from '../helpers/certificates.ts';

const own = (name: string): string => createAuthority({ name, nowMs: Date.now() }).trustPem;
const subjects = (pems: readonly string[]): string[] =>
  pems.map((pem) => new X509Certificate(pem).subject.replaceAll('\n', ' '));

t.test('the given ones first, each once, and what cannot be read is left out', async (t) => {
  const [one, two] = [TestAuthority.create('One').pem, TestAuthority.create('Two').pem];
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  const all = trustedAuthorities([one, broken, two.trim()], [`# a comment\n${two}`]);
  t.strictSame(subjects(all), ['CN=Two', 'CN=One']);
});

t.test('an authority of ours that was replaced is not trusted again', async (t) => {
  const [before, now] = [own('Sallyport Proxy CA'), own('Sallyport Proxy CA')];
  t.strictSame(trustedAuthorities([before, now], [now]), [now]);
  const theirs = TestAuthority.create('Org').pem;
  t.strictSame(
    subjects(trustedAuthorities([before], [theirs])),
    ['CN=Org'],
    'an imported one, too',
  );
});

t.test('the system has some, and none twice', async (t) => {
  const system = systemAuthorities();
  t.ok(system.length > 0);
  t.equal(new Set(system).size, system.length);
});
