// One request's life, top to bottom: accept -> identify -> decide -> route -> relay; any failure is
// answered by respond, and every end is recorded. Read this file and you have read the product.
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { SallyportError } from '../base/errors.ts';
import type { Connection, Received, Serve } from './accept.ts';
import { type Deciders, decide, type Permit } from './decide.ts';
import type { Ingress, ProxySettings, Sandbox, Target } from './exchange.ts';
import { forwardRequestFields } from './fields.ts';
import type { Registry } from './identify.ts';
import { ReadBuffer } from './read-buffer.ts';
import type { Entry, Recorder } from './record.ts';
import { BAD_HEAD_HOST } from './record.ts';
import { clientClosed, relay } from './relay.ts';
import type { Reply } from './reply.ts';
import { refuse } from './respond.ts';
import { dial, type Upstreams } from './route.ts';
import { parseRequestTarget } from './target.ts';
import { type Passage, splice, type Tick } from './tunnel.ts';
import { explain, welcome } from './welcome.ts';

/** Everything the proxy works with; workers/serve.ts builds it once. */
export type Services = Deciders & {
  /** Read anew for each request: the daemon replaces them while traffic flows. */
  readonly current: { registry: Registry; settings: ProxySettings };
  readonly recorder: Recorder;
  readonly upstreams: Upstreams;
  readonly tick: Tick;
  /** A defect of our own, for the daemon's log. */
  readonly report: (error: unknown) => void;
};

const TUNNEL_READY = 'HTTP/1.1 200 Connection established\r\n\r\n';

/** @returns the pipeline that connections hand their requests to. */
export function createPipeline(services: Services): Serve {
  return {
    request: (received) => serve(received, services),
    malformed: (connection, reply, error) => answerMalformed(connection, reply, error, services),
  };
}

async function serve(received: Received, services: Services): Promise<void> {
  const asked = targetOf(received);
  const { ingress, target } = asked;
  const opened = services.recorder.open(ingress, target);
  const entry = opened instanceof Promise ? await opened : opened;
  const passage: Passage = { up: 0, down: 0, lastMs: 0 };
  try {
    if (asked.error !== null) throw asked.error;
    const sandbox = identify(received, entry, services);
    const judged = decide(sandbox, target, entry, services);
    const permit = judged instanceof Promise ? await judged : judged;
    entry.draft.decide_ms = entry.elapsedMs();
    if (ingress === 'connect') await tunnel(permit, received, entry, passage, services);
    else await forward(permit, received, entry, passage, services);
  } catch (error) {
    fail(received, entry, error, services);
  } finally {
    finish(received, entry, passage);
  }
}

type Asked = { ingress: Ingress; target: Target; error: SallyportError | null };

/** A target that cannot be read still makes a record, under the words that the client used. */
function targetOf({ head, reply }: Received): Asked {
  const ingress = head.method === 'CONNECT' ? 'connect' : 'forward';
  try {
    const { host, port, path } = parseRequestTarget(head);
    return { ingress, target: { host, port, method: head.method, path }, error: null };
  } catch (error) {
    reply.closes = true;
    const known = error instanceof SallyportError ? error : internal(error);
    const target = { ...BAD_HEAD_HOST, method: head.method, path: '' };
    return { ingress, target, error: known };
  }
}

function identify(received: Received, entry: Entry, services: Services): Sandbox {
  const { connection, head } = received;
  const sandbox = services.current.registry.identify(connection.origin, head.proxyAuthorization);
  entry.identified(sandbox.name);
  return sandbox;
}

async function forward(
  permit: Permit,
  received: Received,
  entry: Entry,
  passage: Passage,
  services: Services,
): Promise<void> {
  const { settings } = services.current;
  refuseUnsendable(received, permit);
  const fields = forwardRequestFields(received.head, permit.target, {
    via: settings.via,
    forwardedFor: settings.forwardedFor ? received.connection.origin.remoteAddress : null,
  });
  const { upstreams, tick } = services;
  await relay({ permit, received, fields, upstreams, entry, tick, passage, via: settings.via });
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

async function tunnel(
  permit: Permit,
  received: Received,
  entry: Entry,
  passage: Passage,
  services: Services,
): Promise<void> {
  const { connection, reply } = received;
  const { socket } = connection;
  if (socket.destroyed) throw clientClosed(); // Went away while a name was resolved.
  const download = new ReadBuffer();
  const dialling = dial(permit, download.onread);
  connection.onGone = dialling.cancel;
  const upstream = await dialling.connected;
  connection.onGone = null;
  entry.draft.connect_ms = entry.elapsedMs();
  entry.draft.address = dialledOf(permit, upstream);
  reply.status = 200;
  const early = connection.release();
  socket.write(TUNNEL_READY, 'latin1');
  const failure = await splice(socket, upstream, download, early, passage, services.tick);
  if (failure !== null) entry.draft.reason = `the tunnel broke: ${codeOf(failure)}`;
}

/** With one address there is nothing to ask the kernel for. */
function dialledOf({ addresses }: Permit, upstream: Socket): string | null {
  return (addresses.length === 1 ? addresses[0] : upstream.remoteAddress) ?? null;
}

/** Turns a failure into an answer, when one can still be given. */
function fail(received: Received, entry: Entry, error: unknown, services: Services): void {
  const { reply, connection, head } = received;
  if (connection.socket.destroyed || isClientClosed(error)) {
    entry.draft.code = 'SALLYPORT_CLIENT_CLOSED';
    entry.draft.reason ??= 'the client closed the connection';
    connection.socket.destroy();
    return;
  }
  const known = error instanceof SallyportError ? error : internal(error);
  if (known.code === 'SALLYPORT_INTERNAL') services.report(error);
  if (known.code === 'SALLYPORT_NOT_AN_ORIGIN' && welcome(reply, head)) return;
  entry.draft.code = known.code;
  entry.draft.reason ??= known.message;
  if (reply.started) {
    reply.cut();
    return;
  }
  if (head.method === 'CONNECT' || !connection.contentDone) reply.closes = true;
  if (known.code === 'SALLYPORT_NOT_AN_ORIGIN') explain(reply, known);
  else refuse(reply, known, entry.draft, fieldOf(head.fields, 'accept'));
}

function finish({ reply, connection }: Received, entry: Entry, passage: Passage): void {
  entry.draft.status = reply.status;
  entry.draft.bytes_down = reply.bytes + passage.down;
  entry.draft.bytes_up = connection.contentBytes + passage.up;
  entry.close();
}

async function answerMalformed(
  connection: Connection,
  reply: Reply,
  error: SallyportError,
  { recorder }: Services,
): Promise<void> {
  const named = { ...BAD_HEAD_HOST, method: '' };
  const entry = await recorder.open('forward', named);
  entry.draft.code = error.code;
  entry.draft.reason = error.message;
  if (!connection.socket.destroyed) refuse(reply, error, entry.draft, null);
  entry.draft.status = reply.status;
  entry.close();
}

function fieldOf(fields: readonly string[], name: string): string | null {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() === name) return fields[i + 1] ?? null;
  }
  return null;
}

function isClientClosed(error: unknown): boolean {
  return codeOf(error) === codeOf(clientClosed());
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'failed';
}

function internal(cause: unknown): SallyportError {
  return new SallyportError('SALLYPORT_INTERNAL', 'a defect of the proxy ended this exchange', {
    cause,
  });
}
