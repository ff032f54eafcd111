// What speaks against a certificate, by the OCSP answer that its own host sends.
import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { OCSP_BYTES_MAX } from '../../src/base/limits.ts';
import { statusFault } from '../../src/tls/ocsp.ts';
import { type Issued, TestAuthority } from '../helpers/certificates.ts';
import { ocspAnswer } from '../helpers/ocsp.ts';

const DAY_MS = 86_400_000;
const root = TestAuthority.create();
const plain = root.issue({ names: 'DNS:plain' });
const promising = root.issue({
  names: 'DNS:promising',
  extensions: ['tlsfeature=status_request'],
});
const issuers = [new X509Certificate(plain.cert), new X509Certificate(root.pem)];

function fault(
  { cert }: Issued,
  staple: Buffer | null,
  nowMs = Date.now(),
  among: readonly X509Certificate[] = issuers,
): string | null {
  return statusFault(new X509Certificate(cert), staple, () => among, nowMs);
}

t.test('one that promises nothing: only a revocation counts', async (t) => {
  t.equal(fault(plain, null), null);
  t.equal(fault(plain, ocspAnswer(root, plain, 'good')), null);
  t.equal(fault(plain, ocspAnswer(root, plain, 'unknown')), null);
  t.equal(fault(plain, ocspAnswer(root, plain, 'revoked')), 'CERT_REVOKED');
  t.equal(fault(plain, ocspAnswer(root, promising, 'revoked')), null, 'about another one');
  t.equal(fault(plain, Buffer.from('3003', 'hex')), null, 'no DER');
  t.equal(fault(plain, Buffer.from('30030a0103', 'hex')), null, 'try later');
});

t.test('a revocation counts, whoever signed it and however old it is', async (t) => {
  const stranger = TestAuthority.create('Somebody else');
  const signer = { cert: stranger.pem, key: stranger.keyPem };
  t.equal(fault(plain, ocspAnswer(root, plain, 'revoked', { signer })), 'CERT_REVOKED');
  const answer = ocspAnswer(root, plain, 'revoked', { options: ['-badsig'] });
  t.equal(fault(plain, answer, Date.now() + 9 * DAY_MS), 'CERT_REVOKED');
  t.equal(fault(promising, ocspAnswer(root, promising, 'revoked')), 'CERT_REVOKED');
});

t.test('one that promises a good word', async (t) => {
  t.equal(fault(promising, ocspAnswer(root, promising, 'good')), null);
  t.equal(fault(promising, null), 'CERT_STATUS_MISSING');
  for (const [name, staple] of [
    ['unknown', ocspAnswer(root, promising, 'unknown')],
    ['about another one', ocspAnswer(root, plain, 'good')],
    ['empty', Buffer.alloc(0)],
    ['no DER', Buffer.from('3003', 'hex')],
    ['another structure', Buffer.from('3003020101', 'hex')],
    ['try later', Buffer.from('30030a0103', 'hex')],
    [
      'too long',
      Buffer.concat([ocspAnswer(root, promising, 'good'), Buffer.alloc(OCSP_BYTES_MAX)]),
    ],
    ['nested without end', Buffer.alloc(OCSP_BYTES_MAX, '3080', 'hex')],
  ] as const) {
    t.equal(fault(promising, staple), 'CERT_STATUS_NOT_GOOD', name);
  }
});

t.test('its time', async (t) => {
  const good = ocspAnswer(root, promising, 'good', { days: 1 });
  t.equal(fault(promising, good, Date.now() + DAY_MS / 2), null);
  t.equal(fault(promising, good, Date.now() + 2 * DAY_MS), 'CERT_STATUS_EXPIRED');
  t.equal(fault(promising, good, Date.now() - 60_000), null, 'a clock that is a little behind');
  t.equal(fault(promising, good, Date.now() - DAY_MS), 'CERT_STATUS_EXPIRED');
  const endless = ocspAnswer(root, promising, 'good', { days: null });
  t.equal(fault(promising, endless), 'CERT_STATUS_EXPIRED');
});

t.test('its signature', async (t) => {
  const bad = ocspAnswer(root, promising, 'good', { options: ['-badsig'] });
  t.equal(fault(promising, bad), 'CERT_STATUS_SIGNATURE');
  const good = ocspAnswer(root, promising, 'good');
  t.equal(fault(promising, good, Date.now(), []), 'CERT_STATUS_SIGNATURE', 'no issuer is known');
  const namesake = new X509Certificate(TestAuthority.create().pem);
  t.equal(fault(promising, good, Date.now(), [namesake]), 'CERT_STATUS_SIGNATURE');
  const weak = ocspAnswer(root, promising, 'good', { options: ['-rmd', 'sha1'] });
  t.equal(fault(promising, weak), 'CERT_STATUS_SIGNATURE');
  const strong = ocspAnswer(root, promising, 'good', { options: ['-rmd', 'sha384'] });
  t.equal(fault(promising, strong), null);
  const serial = Buffer.from(new X509Certificate(promising.cert).serialNumber, 'hex');
  const at = good.indexOf(serial);
  for (let i = at - 50; i < at + serial.length + 30; i++) {
    const changed = Buffer.from(good);
    changed[i] = (changed[i] ?? 0) ^ 1;
    t.not(fault(promising, changed), null, `byte ${i} of what is signed`);
  }
});

t.test('a responder that the issuer delegated to, and others', async (t) => {
  const extensions = ['extendedKeyUsage=OCSPSigning'];
  const says = (signer: Issued, nowMs?: number): string | null =>
    fault(promising, ocspAnswer(root, promising, 'good', { signer, days: 9 }), nowMs);
  const delegate = root.issue({ names: 'DNS:responder', extensions, days: 3 });
  t.equal(says(delegate), null);
  t.equal(says(root.issue({ names: 'DNS:responder', extensions, key: 'rsa2048' })), null);
  t.equal(says(delegate, Date.now() + 5 * DAY_MS), 'CERT_STATUS_SIGNATURE', 'expired');
  t.equal(says(root.issue({ names: 'DNS:leaf' })), 'CERT_STATUS_SIGNATURE', 'not for that');
  const stranger = TestAuthority.create().issue({ names: 'DNS:responder', extensions });
  t.equal(says(stranger), 'CERT_STATUS_SIGNATURE', 'of an authority with the same name');
  t.equal(says(plain), 'CERT_STATUS_SIGNATURE', 'another host of the same authority');
});
