// Reference document 003: what a sandbox may do before anybody adds a rule, and what no rule changes.
// Its §2 and §4, on the workspace and on the inside of the virtual machine, are of the runtime that
// starts sandboxes.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import t from 'tap';
import { TestAuthority } from '../helpers/certificates.ts';
import { type Cli, execute } from '../helpers/cli.ts';
import { temporaryFolder } from '../helpers/control.ts';
import { listening } from '../helpers/intercept.ts';
import {
  cutLog,
  cutTable,
  type ReferenceWorld,
  referenceWorld,
  SBX,
} from '../helpers/reference.ts';

const VALUE = 'the-real-token-0123456789';
/** Special-use addresses of both families, and names for this machine. */
const INNER = [
  ...['10.1.2.3', '172.16.1.2', '192.168.1.2', '169.254.1.1', '169.254.169.254', '127.0.0.1'],
  ...['[::1]:443', '[fe80::1]:443', '[fd00::1]:443', 'localhost', 'host.docker.internal'],
];

let world: ReferenceWorld;
let cli: Cli;
/** A TLS origin that answers with the credential it was given. */
let securePort: number;
let authorityFile: string;
t.before(async () => {
  const authority = TestAuthority.create();
  authorityFile = join(temporaryFolder(t), 'origin.pem');
  writeFileSync(authorityFile, authority.pem);
  const words = ['--policy', 'balanced', '--upstream-ca', authorityFile];
  world = await referenceWorld(t, ['my-sandbox'], ...words);
  cli = world.cli;
  await world.add('plain');
  const certificate = authority.issue({ names: 'DNS:*.secure.test' });
  const server = createServer(certificate, ({ headers }, response) => {
    response.end(`got ${headers.authorization}\n`);
  });
  securePort = await listening(t, server);
});

t.test('003 §1: HTTP, HTTPS and all else are refused without a rule', async (t) => {
  t.equal((await world.visit('plain', 'blocked.example.com')).status, 403);
  for (const place of ['blocked.example.com:443', '192.0.2.1:22', '8.8.8.8:53']) {
    t.equal((await world.tunnel('plain', place)).status, 403, place);
  }
  t.equal((await world.check('8.8.8.8:53', { protocol: 'udp' })).allowed, false);
  const { rows } = cutTable(
    await cli.ok('policy', 'ls', '--type', 'network', '--decision', 'allow'),
  );
  t.ok(rows.length > 5, 'what is allowed is listed');
  t.equal(world.origin.connections, 0);
});

t.test('003 §1, §5: inner addresses stay shut though everything is allowed', async (t) => {
  await world.rule('allow', '**');
  t.strictSame(await world.allowed(['example.com', '1.1.1.1']), [true, true]);
  for (const place of INNER) t.strictSame(await world.allowed([place]), [false], place);
  const named = await world.visit('plain', 'public-name.test');
  t.equal(named.status, 403, 'a name that leads to one does not help');
  t.match(named.head, '\r\nX-Sallyport-Code: SALLYPORT_ADDRESS_FORBIDDEN\r\n');
  t.equal((await world.tunnel('plain', 'localhost:2375')).status, 403, 'nor is Docker reached');
  t.equal(world.origin.connections, 0);
});

t.test('003 §5: no sandbox reaches another, nor what governs it', async (t) => {
  const proxy = world.proxyPort();
  await world.rule('allow', `localhost:${proxy},127.0.0.1:${proxy}`);
  for (const host of ['localhost', '127.0.0.1', 'host.docker.internal', 'public-name.test']) {
    // 502 where the name has another address, at which nobody listens.
    t.not((await world.tunnel('plain', `${host}:${proxy}`)).status, 200, host);
  }
  await world.rule('allow', `localhost:${world.origin.port}`, 'my-sandbox');
  const service = `localhost:${world.origin.port}`;
  t.equal((await world.visit('my-sandbox', service)).status, 200);
  t.equal((await world.visit('plain', service)).status, 403, 'a rule is of its sandbox alone');
});

t.test('003 §5, 000 §1: no rule carries UDP or ICMP', async (t) => {
  const saved = await cli.pipe('', 'policy', 'allow', 'network', '--protocol', 'udp', '**:53');
  t.equal(saved.code, 0);
  t.match(saved.err, /^WARNING: .*UDP/, 'and who saves one is told');
  const icmp = await cli.pipe('', 'policy', 'allow', 'network', '--protocol', 'icmp', '**');
  t.equal(icmp.code, 1);
  const socket = createSocket('udp4');
  t.teardown(() => void socket.close());
  socket.connect(world.proxyPort(), '127.0.0.1');
  await once(socket, 'connect');
  socket.send('anything');
  const [error] = await once(socket, 'error');
  t.equal(error.code, 'ECONNREFUSED', 'nobody listens for datagrams');
});

t.test('003 §3, 000 §1.9: credentials are given by name, and never seen inside', async (t) => {
  const ask = (host: string): ReturnType<ReferenceWorld['inside']> => {
    const url = `https://${host}.secure.test:${securePort}/`;
    const curl = `curl -sS --cacert "$SSL_CERT_FILE" -H "authorization: $API_TOKEN" ${url}; env`;
    return world.inside('my-sandbox', 'sh', '-c', curl);
  };
  t.match((await ask('none')).out, /^got (undefined|)\n/, 'there are none to begin with');
  const custom = ['--host', 'api.secure.test', '--env', 'API_TOKEN'];
  t.equal((await cli.pipe(VALUE, 'secret', 'set-custom', ...custom)).code, 0);
  const { out, err } = await ask('api');
  t.match(out, `got ${VALUE}\n`);
  t.match(out, /^API_TOKEN=sbx-cs-/m, 'inside is what stands for it');
  t.notMatch(out.replace(`got ${VALUE}\n`, ''), VALUE, err);

  const env = { ...cli.env, GEMINI_API_KEY: VALUE };
  const imported = await execute(process.execPath, [SBX, 'secret', 'import', 'google'], env);
  t.equal(imported.code, 0, 'or from the environment, when asked to');
  const seen = (await world.inside('my-sandbox', 'env')).out;
  t.match(seen, /^GEMINI_API_KEY=/m);
  t.notMatch(seen, VALUE);

  const allowed = cutLog(await cli.ok('policy', 'log', 'my-sandbox')).get('Allowed requests:');
  const modeOf = (host: string): unknown =>
    allowed?.rows.find(({ HOST }) => HOST === `${host}.secure.test:${securePort}`)?.PROXY;
  t.strictSame([modeOf('none'), modeOf('api')], ['forward-bypass', 'forward']);
});
