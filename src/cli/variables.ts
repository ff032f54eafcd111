// The variables by which programs in a sandbox find the proxy, trust it, and know their secrets; and
// how shells and container engines are told them.
import { posix } from 'node:path';
import { SallyportError } from '../base/errors.ts';
import { TRUST_FILES } from '../control/trust.ts';
import { TRUST_STORE_PASSWORD } from '../tls/pkcs12.ts';

export type Variables = Readonly<Record<string, string>>;

/** Where a sandbox reaches the proxy. */
export type ProxyPlace = {
  /** An IPv6 address in brackets. */
  readonly host: string;
  readonly port: string;
  /** `NAME:TOKEN@`, or '' where the sandbox is known without. */
  readonly userinfo: string;
};

type Given = {
  readonly proxy: ProxyPlace;
  /** The folder of TRUST_FILES as the sandbox sees it. */
  readonly trustFolder: string;
  /** PEM of the proxy's authority. */
  readonly authority: string;
  /** What stands in place of secrets. */
  readonly secrets: Variables;
};

/**
 * A sandbox talks to itself without the proxy, which would take `localhost` for the host's. Spelled
 * for those who compare text, for those who want brackets, and for those who know ranges.
 */
const NO_PROXY = 'localhost,127.0.0.1,::1,[::1],127.0.0.0/8';

/** Programs whose own authorities are replaced by what the variable names: it must name all. */
const REPLACING = [
  'SSL_CERT_FILE', // OpenSSL, Go, Python, Ruby, Rust, .NET. They read their folder, SSL_CERT_DIR, besides.
  'REQUESTS_CA_BUNDLE',
  'PIP_CERT',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'CARGO_HTTP_CAINFO',
  'npm_config_cafile',
  'YARN_HTTPS_CA_FILE_PATH',
  'AWS_CA_BUNDLE',
  'CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE',
  'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
  'NIX_SSL_CERT_FILE',
];

/** Programs that add what it names to their own. */
const ADDING = ['NODE_EXTRA_CA_CERTS', 'DENO_CERT'];

/** Secrets first: a secret that somebody called HTTPS_PROXY must not lead past the proxy. */
export function variablesFor({ proxy, trustFolder, authority, secrets }: Given): Variables {
  // The port is always there: curl takes 1080 for one that is left out.
  const url = `http://${proxy.userinfo}${proxy.host}:${proxy.port}`;
  const file = (name: string): string => posix.join(trustFolder, name);
  const all = (names: readonly string[], value: string): Variables =>
    Object.fromEntries(names.map((name) => [name, value]));
  return {
    ...secrets,
    // curl and others pass over the upper-case HTTP_PROXY: a CGI client could set it. ALL_PROXY is for
    // schemes without a variable, so that these end at the proxy too, and at no other one.
    ...all(['http_proxy', 'https_proxy', 'all_proxy'], url),
    ...all(['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'], url),
    ...all(['no_proxy', 'NO_PROXY'], NO_PROXY),
    NODE_USE_ENV_PROXY: '1', // Node 24 and later read the variables above only then.
    ...all(ADDING, file(TRUST_FILES.added)),
    ...all(REPLACING, file(TRUST_FILES.bundle)),
    JAVA_TOOL_OPTIONS: javaOptions(proxy, file(TRUST_FILES.java)),
    PROXY_CA_CERT_B64: Buffer.from(authority).toString('base64'), // As sbx has it, for images that install it.
  };
}

/**
 * Java reads no variable of the proxy, and prints this one at each start: the token must not be in it.
 * So Java gets through where a sandbox is known without one.
 */
function javaOptions({ host, port }: ProxyPlace, trustStore: string): string {
  const name = host.replace(/^\[|\]$/g, '');
  const properties = {
    'http.proxyHost': name,
    'http.proxyPort': port,
    'https.proxyHost': name,
    'https.proxyPort': port,
    'http.nonProxyHosts': 'localhost|127.*|[::1]',
    'javax.net.ssl.trustStore': trustStore,
    'javax.net.ssl.trustStoreType': 'PKCS12',
    'javax.net.ssl.trustStorePassword': TRUST_STORE_PASSWORD,
  };
  const words = Object.entries(properties).map(([name, value]) => `-D${name}=${value}`);
  return words.map((word) => (/[\s'"]/.test(word) ? quoted(word) : word)).join(' ');
}

/** Lines that a POSIX shell takes as they are: `eval "$(sallyport env)"`. */
export function shellText(variables: Variables): string {
  return linesOf(variables, (name, value) => `export ${name}=${quoted(value)}`);
}

/**
 * Lines for `docker run --env-file`, which knows no quotes.
 *
 * @throws SALLYPORT_USAGE for a value of several lines: there is no way to write one
 */
export function envFileText(variables: Variables): string {
  return linesOf(variables, (name, value) => {
    if (!/[\r\n]/.test(value)) return `${name}=${value}`;
    throw new SallyportError('SALLYPORT_USAGE', `${name} has several lines; an env file cannot`);
  });
}

function linesOf(variables: Variables, line: (name: string, value: string) => string): string {
  return Object.entries(variables)
    .map(([name, value]) => `${line(name, value)}\n`)
    .join('');
}

/** One word, whatever is in it, to a POSIX shell, and to Java. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}
