// `daemon start --client-cert` as an operator types it, and an origin that takes nobody else.
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { TestAuthority } from '../helpers/certificates.ts';
import { execute, isolatedCli } from '../helpers/cli.ts';
import { certificate, listening } from '../helpers/intercept.ts';

t.test('checked, warned of, presented, told of, and there again after a restart', async (t) => {
  const cli = isolatedCli(t);
  const clients = TestAuthority.create();
  const { cert, key } = clients.issue({ names: 'DNS:agent', days: 10 });
  const origin = createServer(
    { ...certificate, requestCert: true, rejectUnauthorized: true, ca: clients.pem },
    (request, response) => {
      response.end(`hello ${(request.socket as TLSSocket).getPeerCertificate().subject.CN}`);
    },
  );
  const port = await listening(t, origin);
  const place = `localhost:${port}`;
  const write = (name: string, content: string): string => {
    const file = join(cli.folder, name);
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  };
  const upstream = write('upstream.pem', certificate.authority);
  const pem = write('agent.pem', cert + key);
  const start = ['daemon', 'start', '-d', '--listen', '127.0.0.1:0', '--upstream-ca', upstream];
  const wrong = await cli.run(...start, '--client-cert', `${place}=${upstream},${pem}`);
  t.match(wrong, { code: 1, err: /agent\.pem is not that of the certificate in .*upstream\.pem/ });

  const given = ['--policy', 'deny-all', '--client-cert', `${place}=${pem}`];
  chmodSync(pem, 0o644);
  t.match(await cli.run(...start, ...given), { code: 1, err: `chmod 600 ${pem}` });
  chmodSync(pem, 0o600);
  t.match(await cli.run(...start, ...given), { code: 0, err: /^WARNING: .* expires soon/ });
  await cli.ok('policy', 'allow', 'network', place);
  const { proxy_url } = JSON.parse(await cli.ok('sandbox', 'add', 'box', '--json'));
  const ca = write('ca.pem', (await cli.run('ca', 'export')).out);
  const fetched = async (proxy: string) => {
    const env = { ...cli.env, CURL_CA_BUNDLE: ca, no_proxy: '' };
    return execute('curl', ['-sS', '-x', proxy, `https://${place}/`], env);
  };
  t.match(await fetched(proxy_url), { out: 'hello DNS-agent', err: '' });
  t.match(
    await cli.ok('policy', 'check', 'network', place, '--verbose'),
    new RegExp(
      `Intercepted: yes \\(a client certificate is bound to it\\)\nCredential: ${place} \\(presented.*CN=DNS-agent, until .*GMT\\) client-certificate:${place}\n`,
    ),
  );
  t.match(await cli.run('daemon', 'restart'), { code: 0, err: /soon/ });
  const { listen } = JSON.parse((await cli.run('daemon', 'status', '--json')).out);
  const moved = new URL(proxy_url);
  moved.host = listen;
  t.match(await fetched(moved.href), { out: 'hello DNS-agent', err: '' });
});
