// What workers are told, and what the daemon itself goes to destinations with.
import { createServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { Configuration, type ProxyOptions } from '../../src/control/configuration.ts';
import { askForToken } from '../../src/credentials/token-request.ts';
import { TestAuthority } from '../helpers/certificates.ts';
import { certificate, listening } from '../helpers/intercept.ts';
import { SERVE_SETTINGS } from '../helpers/serve-settings.ts';

const OPTIONS: ProxyOptions = {
  listen: '127.0.0.1:0',
  workers: 1,
  addressGuard: 'strict',
  via: false,
  forwardedFor: false,
  dnsServers: [],
  logLevel: 'info',
  deny: 'connect',
  approvals: 'off',
  browserCommand: [],
  approvalWaitMs: 60_000,
  bypass: [],
  upstreamAuthorities: [certificate.authority],
  clientCertificates: [],
};

t.test('client certificates: a token endpoint gets them, workers are told no key', async (t) => {
  const clients = TestAuthority.create('Clients');
  const { cert: chain, key } = clients.issue({ names: 'DNS:agent' });
  const mutual = { ...certificate, requestCert: true, rejectUnauthorized: true, ca: clients.pem };
  const server = createServer(mutual, (request, response) => {
    const access_token = (request.socket as TLSSocket).getPeerCertificate().subject.CN;
    response.end(JSON.stringify({ access_token }));
  });
  const port = await listening(t, server);
  const resource = `localhost:${port}`;
  const clientCertificates = [{ resource, chain, key }];
  const configuration = new Configuration(
    { ...OPTIONS, clientCertificates },
    { reusePort: true, clock: systemClock },
  );

  const { authority: material, ticketKeys } = SERVE_SETTINGS;
  const settings = configuration.settings([], { material, ticketKeys: Buffer.from(ticketKeys) });
  t.strictSame(settings.clientCertificates, [resource]);
  t.notOk(JSON.stringify(settings).includes(JSON.stringify(key).slice(1, -1)));
  t.equal(configuration.certificateOf(resource)?.key, key);
  t.equal(configuration.certificateOf('localhost'), null);

  const ask = async (host: string) =>
    askForToken(
      {
        url: `https://localhost:${port}/token`,
        authorization: null,
        form: new URLSearchParams({ grant_type: 'client_credentials' }),
        format: 'form',
      },
      {
        context: await configuration.trusted(host, port),
        signal: AbortSignal.timeout(10_000),
      },
    );
  t.match(await ask('localhost'), { status: 200, body: { access_token: 'DNS-agent' } });
  await t.rejects(ask('elsewhere.test'), { code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE' });
});
