// What shells, container engines and Java make of the variables, whatever is in them.
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { envFileText, shellText, variablesFor } from '../../src/cli/variables.ts';

const NASTY = {
  QUOTES: `it's "quoted" '' "`,
  COMMANDS: '$(touch /tmp/never) `touch /tmp/never` $HOME ~ !! *',
  BREAKS: 'a\nb\r\n\tc \\',
  EMPTY: '',
  UNICODE: 'ä€𝄞',
  OPTION: '-n',
};

const given = {
  proxy: { host: '127.0.0.1', port: '80', userinfo: 'box:t0ken@' },
  trustFolder: '/trust',
  authority: 'PEM',
  secrets: {},
};

t.test('a POSIX shell has every value as it is', async (t) => {
  for (const shell of ['sh', 'bash']) {
    const script = `eval "$(cat)"; exec ${process.execPath} -p 'JSON.stringify(process.env)'`;
    const ran = spawnSync(shell, ['-c', script], { input: shellText(NASTY), encoding: 'utf8' });
    t.equal(ran.status, 0, ran.stderr);
    t.match(JSON.parse(ran.stdout), NASTY);
  }
});

t.test('an env file has no quotes, and no way to write a line break', async (t) => {
  const { BREAKS: _, ...rest } = NASTY;
  const lines = envFileText(rest).split('\n');
  t.equal(lines[0], `QUOTES=${NASTY.QUOTES}`);
  t.equal(lines.length, Object.keys(rest).length + 1);
  t.throws(() => envFileText({ A: 'a\nB=b' }), { code: 'SALLYPORT_USAGE', message: /^A has/ });
});

t.test('the proxy is where every program looks for it, with its port', async (t) => {
  const { JAVA_TOOL_OPTIONS, ...all } = variablesFor(given);
  const url = 'http://box:t0ken@127.0.0.1:80';
  for (const name of ['http_proxy', 'https_proxy', 'all_proxy']) {
    t.equal(all[name], url);
    t.equal(all[name.toUpperCase()], url);
  }
  t.equal(all.NO_PROXY, all.no_proxy);
  t.equal(all.NODE_EXTRA_CA_CERTS, '/trust/ca.pem', 'added to its own');
  t.equal(all.SSL_CERT_FILE, '/trust/bundle.pem', 'in place of its own');
  t.equal(Buffer.from(all.PROXY_CA_CERT_B64 ?? '', 'base64').toString(), 'PEM');
  t.match(JAVA_TOOL_OPTIONS, '-Dhttps.proxyPort=80 ');
  t.notMatch(JAVA_TOOL_OPTIONS, 't0ken', 'Java prints it at each start');
  const six = variablesFor({ ...given, proxy: { host: '[::1]', port: '3128', userinfo: '' } });
  t.equal(six.HTTP_PROXY, 'http://[::1]:3128');
  t.match(six.JAVA_TOOL_OPTIONS, '-Dhttp.proxyHost=::1 ');
});

t.test('no secret takes the place of a variable of the proxy', async (t) => {
  const secrets = { HTTPS_PROXY: 'sbx-cs-1', NO_PROXY: '*', KEY: 'sbx-cs-2' };
  const { HTTPS_PROXY, NO_PROXY, KEY } = variablesFor({ ...given, secrets });
  t.strictSame([HTTPS_PROXY, KEY], ['http://box:t0ken@127.0.0.1:80', 'sbx-cs-2']);
  t.not(NO_PROXY, '*');
});

const java = spawnSync('java', ['-version']).error === undefined;

t.test('Java takes its options apart as they were meant', { skip: !java }, async (t) => {
  const trustFolder = `/a folder/with 'quotes' "and" more`;
  const { JAVA_TOOL_OPTIONS } = variablesFor({ ...given, trustFolder });
  const ran = spawnSync('java', ['-XshowSettings:properties', '-version'], {
    env: { ...process.env, JAVA_TOOL_OPTIONS },
    encoding: 'utf8',
  });
  t.match(ran.stderr, `trustStore = ${trustFolder}/truststore.p12\n`);
  t.match(ran.stderr, 'trustStoreType = PKCS12\n');
  t.match(ran.stderr, 'http.nonProxyHosts = localhost|127.*|[::1]\n');
});
