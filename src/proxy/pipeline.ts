// One request's life, top to bottom: accept -> identify -> decide -> route -> relay; any failure is
// answered by respond, and every end is recorded. Read this file and you have read the product.
// A CONNECT that is intercepted brings its requests back here, one by one.
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { SecureContext } from 'node:tls';
import { SallyportError } from '../base/errors.ts';
import type { ServiceBinding } from '../credentials/binding.ts';
import type { Credentialed, CredentialRequest, Credentials } from '../credentials/inject.ts';
import { leavesLogin, scopesOf, withLogin } from '../credentials/registries.ts';
import type { Held } from './accept.ts';
import { type Approve, decideOrAsk } from './approval.ts';
import type { Deciders, Permit } from './decide.ts';
import type {
  Client,
  Ingress,
  ProxySettings,
  Received,
  Sandbox,
  Serve,
  Target,
} from './exchange.ts';
import { forwardRequestFields } from './fields.ts';
import type { Registry } from './identify.ts';
import { intercept } from './intercept.ts';
import { outgoing } from './outgoing.ts';
import { ReadBuffer } from './read-buffer.ts';
import type { Entry, Recorder } from './record.ts';
import { BAD_HEAD_HOST } from './record.ts';
import { type Login, RegistryLogins } from './registry-login.ts';
import { clientClosed, relay } from './relay.ts';
import { acceptOf, defect, isPolicyRefusal, refuse } from './respond.ts';
import { dial } from './route.ts';
import { lookForName } from './server-name.ts';
import { parseInnerTarget, parseRequestTarget } from './target.ts';
import { exchangeTokens, type TokenExchange } from './token-endpoint.ts';
import { type Passage, splice, type Tick } from './tunnel.ts';
import { answerMalformed, recordable } from './turned-away.ts';
import type { Upstreams } from './upstreams.ts';
import { explain, welcome } from './welcome.ts';

/** Everything the proxy works with; workers/serve.ts builds it once. */
export type Services = Deciders & {
  /** Read anew for each request: the daemon replaces them while traffic flows. */
  readonly current: Current;
  readonly recorder: Recorder;
  readonly upstreams: Upstreams;
  readonly tick: Tick;
  /** The worker ends connections inside tunnels, too, when they idle or it drains. */
  readonly hold: (connection: Held) => void;
  /** Has the values of these secrets refreshed. @throws SALLYPORT_CREDENTIAL_UNAVAILABLE */
  readonly demand: (ids: readonly string[]) => Promise<void>;
  /** What the daemon does for token-endpoint.ts. */
  readonly grants: Pick<TokenExchange, 'renew' | 'keep'>;
  /** Puts what no rule covers before a person. */
  readonly approve: Approve;
  /** A defect of our own, for the daemon's log. */
  readonly report: (error: unknown) => void;
};

export type Current = {
  registry: Registry;
  settings: ProxySettings;
  credentials: Credentials;
  /** TLS in the name of a host, under the proxy's authority. */
  contextFor: (host: string) => SecureContext;
};

/** With what the pipeline itself keeps. */
type Running = Services & { readonly logins: RegistryLogins };

const TUNNEL_READY = 'HTTP/1.1 200 Connection established\r\n\r\n';

/** @returns the pipeline that connections hand their requests to. */
export function createPipeline(services: Services): Serve {
  const running: Running = { ...services, logins: new RegistryLogins(services) };
  const pipeline: Serve = {
    request: (received) => serve(received, running, pipeline),
    malformed: (client, reply, error) => answerMalformed(client, reply, error, services.recorder),
  };
  return pipeline;
}

async function serve(received: Received, services: Running, pipeline: Serve): Promise<void> {
  const asked = targetOf(received);
  const { ingress, target } = asked;
  const opened = services.recorder.open(ingress, target);
  const entry = opened instanceof Promise ? await recordable(opened, received, target) : opened;
  if (entry === null) return;
  const passage: Passage = { up: 0, down: 0, lastMs: 0 };
  const { inside } = received.client;
  if (inside !== null) entry.inside(inside.sandbox);
  try {
    if (asked.error !== null) throw asked.error;
    const sandbox = identify(received, entry, services);
    const judged = permitOf(received.client, sandbox, target, entry, services);
    const permit = judged instanceof Promise ? await judged : judged;
    entry.draft.decide_ms = entry.elapsedMs();
    const isConnect = received.head.method === 'CONNECT';
    const exchange: Exchange = { sandbox, target, received, entry, passage, services };
    if (!isConnect && permit !== null) await forward(permit, exchange);
    else if (permit === null || isIntercepted(exchange)) await speak(exchange, pipeline);
    else await tunnel(permit, exchange);
  } catch (error) {
    fail(received, entry, error, services);
  } finally {
    finish(received, entry, passage);
  }
}

type Asked = { ingress: Ingress; target: Target; error: SallyportError | null };

type Exchange = {
  readonly sandbox: Sandbox;
  readonly target: Target;
  readonly received: Received;
  readonly entry: Entry;
  readonly passage: Passage;
  readonly services: Running;
};

/** A target that cannot be read still makes a record, under the words that the client used. */
function targetOf({ client, head, reply }: Received): Asked {
  const { inside } = client;
  const ingress = inside !== null || head.method === 'CONNECT' ? 'connect' : 'forward';
  try {
    const parsed = inside === null ? parseRequestTarget(head) : parseInnerTarget(head, inside);
    const { host, port, path } = parsed;
    return { ingress, target: { host, port, method: head.method, path }, error: null };
  } catch (error) {
    reply.closes = true;
    const known = error instanceof SallyportError ? error : defect(error);
    const { host, port } = inside ?? BAD_HEAD_HOST;
    const target = { host, port, method: head.method, path: '' };
    return { ingress, target, error: known };
  }
}

function identify({ client, head }: Received, entry: Entry, services: Services): Sandbox {
  const { registry } = services.current;
  const { inside, origin } = client;
  const sandbox =
    inside === null
      ? registry.identify(origin, head.proxyAuthorization)
      : registry.named(inside.sandbox);
  entry.identified(sandbox.name);
  origin.sandbox = sandbox.name;
  return sandbox;
}

/** @returns null for a CONNECT that is refused, where the refusal is to be read inside the tunnel. */
function permitOf(
  client: Client,
  sandbox: Sandbox,
  target: Target,
  entry: Entry,
  services: Services,
): Permit | Promise<Permit | null> | null {
  const deny = sandbox.deny ?? services.current.settings.deny;
  if (target.method !== 'CONNECT' || deny === 'connect') {
    return decideOrAsk(client, sandbox, target, entry, services);
  }
  const refused = (error: unknown): null => {
    if (entry.closed || !(error instanceof SallyportError && isPolicyRefusal(error.code)))
      throw error;
    return null;
  };
  try {
    const judged = decideOrAsk(client, sandbox, target, entry, services);
    return judged instanceof Promise ? judged.catch(refused) : judged;
  } catch (error) {
    return refused(error);
  }
}

/** Whether the proxy must speak inside: it has a credential, or a certificate, for the destination. */
function isIntercepted({ sandbox, target, entry, services }: Exchange): boolean {
  const { credentials, settings } = services.current;
  const { host, port } = target;
  entry.draft.bypass = settings.bypassOf(host, port);
  if (entry.draft.bypass !== null) return false;
  return (
    settings.certificateFor(host, port) !== null ||
    credentials.boundTo(sandbox.scope, host, port).length > 0 ||
    credentials.tokenEndpoints.has(sandbox.scope, host, port)
  );
}

/** CONNECT, intercepted: TLS ends here, and the requests inside are served one by one. */
async function speak(exchange: Exchange, pipeline: Serve): Promise<void> {
  const { sandbox, target, received, entry, services } = exchange;
  const { client, reply } = received;
  if (client.gone) throw clientClosed(); // Went away while a name was resolved.
  entry.draft.mode = 'forward';
  reply.status = 200;
  const { transport, early } = client.takeOver();
  const socket = socketOf(transport);
  socket.write(TUNNEL_READY, 'latin1');
  const { host, port } = target;
  const inside = { host, port, sandbox: sandbox.name, approval: entry.approval };
  const { current, hold, tick } = services;
  const interceptor = { contextFor: current.contextFor, hold, tick, serve: pipeline };
  await intercept(socket, early, client.origin, inside, interceptor);
}

/** A request for one resource; inside a tunnel over TLS, and with the credential that is bound to it. */
async function forward(permit: Permit, exchange: Exchange): Promise<void> {
  const { sandbox, received, entry, services } = exchange;
  refuseUnsendable(received, permit);
  const { scope } = sandbox;
  const { host, port, path } = permit.target;
  const secure = received.client.inside !== null;
  const asked = { host, port: secure ? port : null, path };
  const endpoints = services.current.credentials.tokenEndpoints;
  const declared = endpoints.at(scope, asked);
  if (declared.length === 0) return send(permit, exchange);
  const relay = (changed: Received): Promise<void> =>
    send(permit, { ...exchange, received: changed }, declared);
  const use = (id: string): void => {
    entry.draft.injected = id;
  };
  const made = { declared, endpoints, scope, host, received, secure, relay, use };
  await exchangeTokens({ ...made, ...services.grants });
}

/** @param grants  whose tokens may be asked for with it: none of them goes along. */
async function send(
  permit: Permit,
  exchange: Exchange,
  grants?: readonly ServiceBinding[],
): Promise<void> {
  const { sandbox, received, entry, passage, services } = exchange;
  const { client, head } = received;
  const { host, port } = permit.target;
  const except = grants?.map(({ service }) => service);
  const demanded = services.current.credentials.demandedBy(sandbox.scope, host, port, except);
  if (demanded.length > 0) await services.demand(demanded);
  const { settings, credentials } = services.current;
  const secure = client.inside !== null;
  const sent = forwardRequestFields(head, permit.target, {
    via: settings.via,
    forwardedFor: settings.forwardedFor ? client.origin.remoteAddress : null,
    defaultPort: secure ? 443 : 80,
  });
  const destination = { scope: sandbox.scope, host, port, secure, except };
  const made = outgoing(received, sent, permit.target.path, destination, credentials);
  const filled = made instanceof Promise ? await made : made;
  const login = secure ? await logIn(permit, { ...destination, ...filled }, exchange) : null;
  const { fields, path, injected } = login?.applied ?? filled;
  const certificate = secure ? settings.certificateFor(host, port) : null;
  entry.draft.injected = idsOf(entry.draft.injected, ...injected, certificate);
  const { upstreams, tick } = services;
  const over = !secure ? 'tcp' : client.http2 ? 'tls-http2' : 'tls';
  const { via } = settings;
  const scrubbing = credentials.scrubbing(sandbox.scope, host, port);
  const way = { over, upstreams, via, scrubbing } as const;
  const { content } = filled;
  await relay({ permit, received, fields, path, content, entry, tick, passage, ...way });
  if (received.reply.status === 401) login?.forget();
}

/** For the record. */
function idsOf(...used: readonly (string | null)[]): string | null {
  return used.filter((id) => id !== null).join() || null;
}

type LoggedIn = Pick<Login, 'forget'> & { readonly applied: Credentialed };

/** At a registry, where the client leaves that to us. @returns null when nothing is to be added */
async function logIn(
  { target }: Permit,
  request: CredentialRequest & Pick<Credentialed, 'injected'>,
  { sandbox, services }: Exchange,
): Promise<LoggedIn | null> {
  const { scope, host, port, fields, path } = request;
  const binding = services.current.credentials.registryAt(scope, host, port);
  const scopes = binding === null ? null : scopesOf(target.method, path);
  if (binding === null || scopes === null || !leavesLogin(fields)) return null;
  const login = await services.logins.login({ binding, sandbox, host: target.host, port, scopes });
  if (login === null) return null;
  const injected = [...request.injected, binding.id];
  const applied = { fields: withLogin(fields, login.authorization), path, injected };
  return { applied, forget: login.forget };
}

/** What can be seen to fail already is not begun upstream. */
function refuseUnsendable({ content }: Received, { target }: Permit): void {
  if (content instanceof Readable && content.errored !== null) throw content.errored;
  if (target.path === '*') {
    throw new SallyportError(
      'SALLYPORT_TARGET_INVALID',
      'OPTIONS for a whole server is not forwarded; name a path',
    );
  }
}

async function tunnel(permit: Permit, exchange: Exchange): Promise<void> {
  const { received, entry, passage, services } = exchange;
  const { client, reply } = received;
  if (client.gone) throw clientClosed(); // Went away while a name was resolved.
  const download = new ReadBuffer();
  const dialling = dial(permit, download.onread);
  client.onGone = dialling.cancel;
  const upstream = await dialling.connected;
  client.onGone = null;
  entry.draft.connect_ms = entry.elapsedMs();
  entry.draft.address = dialledOf(permit, upstream);
  reply.status = 200;
  const { transport, early } = client.takeOver();
  const socket = socketOf(transport);
  socket.write(TUNNEL_READY, 'latin1');
  const look = entry.draft.bypass === null ? lookForName(permit.target.host) : null;
  const failure = await splice(socket, upstream, download, early, passage, services.tick, look);
  if (failure instanceof SallyportError) throw failure;
  if (failure !== null) entry.draft.reason = `the tunnel broke: ${codeOf(failure)}`;
}

/** CONNECT comes on connections of HTTP/1.1 alone; http2-head.ts and target.ts see to that. */
function socketOf(transport: unknown): Socket {
  if (transport instanceof Socket) return transport;
  throw defect(new Error('CONNECT on something that is no socket'));
}

/** With one address there is nothing to ask the kernel for. */
function dialledOf({ addresses }: Permit, upstream: Socket): string | null {
  return (addresses.length === 1 ? addresses[0] : upstream.remoteAddress) ?? null;
}

/** Turns a failure into an answer, when one can still be given. */
function fail(received: Received, entry: Entry, error: unknown, services: Services): void {
  const { reply, client, head } = received;
  const isTunnel = head.method === 'CONNECT' && reply.started; // Closed, then, by whoever failed.
  if ((client.gone && !isTunnel) || isClientClosed(error)) {
    entry.draft.code = 'SALLYPORT_CLIENT_CLOSED';
    entry.draft.reason ??= client.origin.cut ?? 'the client closed the connection';
    client.destroy();
    return;
  }
  const known = error instanceof SallyportError ? error : defect(error);
  if (known.code === 'SALLYPORT_INTERNAL') services.report(error);
  if (known.code === 'SALLYPORT_NOT_AN_ORIGIN' && welcome(reply, head)) return;
  entry.draft.code = known.code;
  entry.draft.reason ??= known.message;
  if (!isTunnel) answer(received, known, entry, services.current.settings);
}

function answer(
  { reply, client, head }: Received,
  error: SallyportError,
  entry: Entry,
  { supportMessage }: ProxySettings,
): void {
  if (reply.started) {
    reply.cut();
    return;
  }
  if (head.method === 'CONNECT' || !client.contentDone) reply.closes = true;
  if (error.code === 'SALLYPORT_NOT_AN_ORIGIN') explain(reply, error);
  else refuse(reply, error, entry.draft, acceptOf(head), supportMessage);
}

function finish({ reply, client }: Received, entry: Entry, passage: Passage): void {
  entry.draft.reason ??= client.origin.cut ?? null;
  entry.draft.status = reply.status;
  entry.draft.bytes_down = reply.bytes + passage.down;
  entry.draft.bytes_up = client.contentBytes + passage.up;
  entry.close();
}

function isClientClosed(error: unknown): boolean {
  return codeOf(error) === codeOf(clientClosed());
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'failed';
}
