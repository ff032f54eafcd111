// Where the variables of a sandbox come from: the daemon knows all of them but the token, which it
// showed once. What `env` and `run` have in common.
import { SallyportError } from '../base/errors.ts';
import type { ControlClient } from '../control/api/client.ts';
import type { SandboxEnvironment } from '../control/api/routes-environment.ts';
import type { SandboxIssue } from '../control/api/schemas.ts';
import type { Context } from './context.ts';
import { type ProxyPlace, type Variables, variablesFor } from './variables.ts';

/** By this variable a token is handed in: the words of a command are there for all users to see. */
export const TOKEN_VARIABLE = 'SALLYPORT_TOKEN';

/** The name by which containers reach the machine they run on. */
export const CONTAINER_HOST = 'host.docker.internal';

export type EnvironmentOptions = {
  /** Absent: the daemon's default sandbox. */
  readonly sandbox?: string | undefined;
  /** Its token; absent: that of TOKEN_VARIABLE. */
  readonly token?: string | undefined;
  /** Give it a new one. */
  readonly rotate?: boolean | undefined;
  /** Where it reaches the proxy, if elsewhere than this machine does. */
  readonly proxy?: URL | undefined;
  /** Where it finds the certificates, if elsewhere than this machine does. */
  readonly caDir?: string | undefined;
  /** It is a container of this machine. */
  readonly container?: boolean | undefined;
};

export type FoundEnvironment = {
  readonly variables: Variables;
  readonly proxy: ProxyPlace;
  /** The folder of certificates on this machine. */
  readonly trustFolder: string;
};

/** @throws SALLYPORT_USAGE when the token is needed and not there, SALLYPORT_NOT_FOUND */
export async function findEnvironment(
  context: Context,
  client: ControlClient,
  options: EnvironmentOptions,
): Promise<FoundEnvironment> {
  const { sandbox, caDir } = options;
  const facts = await client.get<SandboxEnvironment>('/environment', { sandbox });
  const place = placeOf(facts, options); // Before a token is changed for nothing.
  const proxy = { ...place, userinfo: await userinfoOf(context, client, facts, options) };
  const { secrets, trust } = facts;
  const trustFolder = caDir ?? trust.folder;
  const variables = variablesFor({ proxy, trustFolder, authority: trust.authority, secrets });
  for (const name of Object.keys(secrets)) {
    if (variables[name] === secrets[name]) continue;
    context.err(`The secret ${name} is left out: the variable is needed for the proxy\n`);
  }
  return { variables, proxy, trustFolder: trust.folder };
}

/** @throws SALLYPORT_USAGE for a unix socket without --proxy */
function placeOf(
  { sandbox, proxy_url }: SandboxEnvironment,
  { proxy, container }: EnvironmentOptions,
): Omit<ProxyPlace, 'userinfo'> {
  if (proxy === undefined && proxy_url === null) {
    throw usage(
      `sandbox "${sandbox}" has a unix socket, which no variable can name: lead a port to it, and name that with --proxy`,
    );
  }
  const { hostname, port } = proxy ?? new URL(proxy_url ?? '');
  const isHere = /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname);
  const host = container && proxy === undefined && isHere ? CONTAINER_HOST : hostname;
  return { host, port: port === '' ? '80' : port }; // URL leaves out the port of its scheme.
}

async function userinfoOf(
  context: Context,
  client: ControlClient,
  facts: SandboxEnvironment,
  { token, rotate, container }: EnvironmentOptions,
): Promise<string> {
  const { sandbox, identified_by: by } = facts;
  const needed = by === 'token' || (by === 'default' && container); // Loopback clients alone are it.
  if (!needed) {
    if (!rotate) return '';
    throw usage(`sandbox "${sandbox}" is known without a token (${by}); --rotate is not for it`);
  }
  if (rotate) {
    const path = `/sandbox/${encodeURIComponent(sandbox)}/token`;
    const { proxy_url } = await client.post<SandboxIssue>(path);
    return `${sandbox}:${new URL(proxy_url).password}@`;
  }
  const given = token ?? context.env[TOKEN_VARIABLE] ?? '';
  if (given !== '') return `${sandbox}:${encodeURIComponent(given)}@`;
  throw usage(
    `the token of sandbox "${sandbox}" was shown once, and only its hash is kept. ` +
      `Hand it in as ${TOKEN_VARIABLE}, or get a new one with --rotate: the old one is refused from then on`,
  );
}

function usage(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
