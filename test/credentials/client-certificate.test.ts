// Which certificate is presented where: only where it was given for.
import t from 'tap';
import { ClientCertificates, certificateId } from '../../src/credentials/client-certificate.ts';

t.test('by the grammar of rules; of several the first', async (t) => {
  const certificates = new ClientCertificates(
    ['api.test:8443', 'api.test', '*.inner.test', 'a.inner.test', '10.0.0.1'],
    async () => null,
  );
  for (const [host, port, resource] of [
    ['api.test', 8443, 'api.test:8443'],
    ['api.test', 443, 'api.test'],
    ['a.inner.test', 443, '*.inner.test'],
    ['10.0.0.1', 443, '10.0.0.1'],
    ['inner.test', 443, null],
    ['a.b.inner.test', 443, null],
    ['sub.api.test', 443, null],
    ['api.test.evil.test', 443, null],
    ['10.0.0.2', 443, null],
  ] as const) {
    t.equal(certificates.towards(host, port), resource, `${host}:${port}`);
  }
  t.equal(certificateId('api.test'), 'client-certificate:api.test');
});
