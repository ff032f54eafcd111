// A sandbox that reaches TLS origins of the tests through a real daemon, and holds no credential: the
// origins note what comes to them, and what the sandbox says and keeps is looked through afterwards.
import { globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Issued, TestAuthority } from './certificates.ts';
import { type Cli, execute, isolatedCli, type Ran } from './cli.ts';
import { loopbackDns } from './dns.ts';
import { listening } from './intercept.ts';

/** A request as it came to an origin. */
export type Seen = {
  readonly host: string;
  readonly version: string;
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  /** The number of the connection it came on. */
  readonly connection: number;
};

export type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

export type Origin = {
  readonly server: Http2SecureServer;
  readonly port: number;
  readonly seen: Seen[];
  /** By host name without port; others get 404. */
  readonly handlers: Map<string, Handler>;
  /** @returns what came for this host. */
  to(host: string): Seen[];
};

export type Sandboxed = {
  readonly cli: Cli;
  readonly origin: Origin;
  /** Of the origins, to serve TLS elsewhere. */
  readonly certificate: Issued;
  readonly proxyPort: number;
  readonly proxyUrl: string;
  /** File and PEM of the proxy's authority, as `ca export` gives it. */
  readonly caFile: string;
  readonly ca: string;
  /** What programs in the sandbox have in their environment. */
  readonly env: Record<string, string>;
  /** Runs a program in the sandbox; its home is the folder of that name. */
  run(home: string, command: string, args: readonly string[], input?: string): Promise<Ran>;
  /** Stores a custom secret. @returns the placeholder that the sandbox holds. */
  secret(value: string, env: string, ...words: string[]): Promise<string>;
  folderOf(home: string): string;
};

export const SANDBOX = 'box';

/** HTTP/1.1 and HTTP/2 over TLS, in the name of whatever host is asked for. */
async function startOrigin(t: Test, certificate: Issued): Promise<Origin> {
  const seen: Seen[] = [];
  const handlers = new Map<string, Handler>();
  const connections: object[] = [];
  const numberOf = (socket: object): number => {
    if (!connections.includes(socket)) connections.push(socket);
    return connections.indexOf(socket);
  };
  const server = createSecureServer({ ...certificate, allowHTTP1: true }, (request, response) => {
    const authority = request.headers[':authority'] ?? request.headers.host ?? '';
    const host = authority.replace(/:\d+$/, '');
    const { httpVersion: version, method, url, headers } = request;
    const socket = version === '2.0' ? (request.stream.session ?? {}) : request.socket;
    seen.push({ host, version, method, url, headers, connection: numberOf(socket) });
    const handler = handlers.get(host);
    if (handler !== undefined) return handler(request, response);
    response.writeHead(404);
    response.end('no such host here');
  });
  const port = await listening(t, server);
  return { server, port, seen, handlers, to: (host) => seen.filter((one) => one.host === host) };
}

/**
 * Starts origin, name server and daemon, and gives one sandbox leave to reach `*.origin.test` and
 * `github.com`.
 */
export function sandboxed(t: Test, ...startOptions: string[]): Promise<Sandboxed> {
  return sandboxedWith(t, isolatedCli(t), startOptions);
}

/** With an instance of one's own; it is not started yet. */
export async function sandboxedWith(
  t: Test,
  cli: Cli,
  startOptions: readonly string[],
): Promise<Sandboxed> {
  const authority = TestAuthority.create();
  const names = ['*.origin.test', 'github.com', 'api.github.com'].map((name) => `DNS:${name}`);
  const certificate = authority.issue({ names: names.join() });
  const upstreamCa = join(cli.folder, 'origin-ca.pem');
  writeFileSync(upstreamCa, authority.pem);
  const [origin, dns] = await Promise.all([startOrigin(t, certificate), loopbackDns(t)]);
  const proxyPort = await cli.start(
    ...['--policy', 'deny-all', '--upstream-ca', upstreamCa, '--dns-server', dns],
    ...startOptions,
  );
  const isThere = startOptions.includes('--default-sandbox');
  const words = isThere ? ['token', SANDBOX, '--rotate'] : ['add', SANDBOX];
  const { proxy_url: proxyUrl } = JSON.parse(await cli.ok('sandbox', ...words, '--json'));
  const allowed = '127.0.0.1,*.origin.test,github.com,api.github.com';
  await cli.ok('policy', 'allow', 'network', '--sandbox', SANDBOX, allowed);
  const ca = await cli.ok('ca', 'export');
  const caFile = join(cli.folder, 'sandbox-ca.pem');
  writeFileSync(caFile, ca);
  const env = sandboxEnv(cli, proxyUrl, caFile);
  const folderOf = (home: string): string => {
    const folder = join(cli.folder, 'homes', home);
    mkdirSync(folder, { recursive: true });
    return folder;
  };
  return {
    cli,
    origin,
    certificate,
    proxyPort,
    proxyUrl,
    caFile,
    ca,
    env,
    folderOf,
    run: (home, command, args, input) => {
      const folder = folderOf(home);
      return execute(command, args, { ...env, HOME: folder }, folder, input);
    },
    secret: async (value, name, ...words) => {
      const options = ['--env', name, '--sandbox', SANDBOX, '--json', ...words];
      const ran = await cli.pipe(value, 'secret', 'set-custom', ...options);
      t.equal(ran.code, 0, `secret set-custom: ${ran.err}`);
      return JSON.parse(ran.out).secret.placeholder;
    },
  };
}

function sandboxEnv(cli: Cli, proxyUrl: string, ca: string): Record<string, string> {
  return {
    PATH: cli.env.PATH ?? '',
    http_proxy: proxyUrl,
    https_proxy: proxyUrl,
    HTTP_PROXY: proxyUrl,
    HTTPS_PROXY: proxyUrl,
    no_proxy: '',
    NO_PROXY: '',
    CURL_CA_BUNDLE: ca,
    GIT_SSL_CAINFO: ca,
    SSL_CERT_FILE: ca,
    REQUESTS_CA_BUNDLE: ca,
    NODE_EXTRA_CA_CERTS: ca,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    npm_config_update_notifier: 'false',
  };
}

/** All regular files below a folder. */
export function filesBelow(folder: string): string[] {
  return globSync('**', { cwd: folder })
    .map((path) => join(folder, path))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
}

/** @returns the files below a folder that hold any of these texts. */
export function filesWith(folder: string, texts: readonly string[]): string[] {
  return filesBelow(folder).filter((path) => {
    const bytes = readFileSync(path);
    return texts.some((text) => bytes.includes(text));
  });
}
