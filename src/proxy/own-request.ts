// A request of the proxy itself, on behalf of one of a sandbox: judged as the sandbox's own would be,
// over verified TLS, with a record of its own. It follows no redirect and reads a short answer whole.
import type { Dispatcher } from 'undici';
import { SallyportError } from '../base/errors.ts';
import { Gathering } from '../base/gathering.ts';
import { type Deciders, decide } from './decide.ts';
import type { Sandbox, Target } from './exchange.ts';
import { hostField } from './fields.ts';
import type { Entry, Recorder } from './record.ts';
import type { Upstreams } from './upstreams.ts';

export type OwnServices = Deciders & {
  readonly recorder: Recorder;
  readonly upstreams: Upstreams;
};

export type OwnRequest = {
  readonly sandbox: Sandbox;
  /** GET, whatever its method says. */
  readonly target: Target;
  /** Flat, without Host. */
  readonly fields: readonly string[];
  /** Id of the secret in the fields; null for none. */
  readonly injected: string | null;
  readonly answerBytesMax: number;
  /** Ends it. */
  readonly signal: AbortSignal;
};

export type OwnAnswer = {
  readonly status: number;
  readonly fields: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
};

/**
 * Asks, and keeps no word of the answer.
 *
 * @throws what `decide` throws; SALLYPORT_UPSTREAM_UNREACHABLE, SALLYPORT_UPSTREAM_TIMEOUT,
 *   SALLYPORT_UPSTREAM_CERTIFICATE, SALLYPORT_UPSTREAM_MALFORMED for an answer that is too long.
 */
export async function requestOwn(
  request: OwnRequest,
  { recorder, upstreams, ...deciders }: OwnServices,
): Promise<OwnAnswer> {
  const { sandbox, target, signal } = request;
  const entry = await recorder.open('connect', target);
  entry.inside(sandbox.name);
  try {
    signal.throwIfAborted(); // No slot was free until nobody waited any more.
    const permit = await decide(sandbox, target, entry, deciders);
    if (permit === null) throw new TypeError('only a CONNECT is let in without a permit');
    entry.draft.decide_ms = entry.elapsedMs();
    const upstream = await upstreams.secureTowards(permit, false);
    entry.draft.address = upstream.address;
    entry.draft.connect_ms = entry.elapsedMs();
    const { certificateFor } = deciders.current.settings;
    const used = [request.injected, certificateFor(target.host, target.port)];
    entry.draft.injected = used.filter((one) => one !== null).join() || null;
    const answer = await exchange(request, upstream.dispatcher);
    entry.draft.status = answer.status;
    return answer;
  } catch (error) {
    throw recorded(error, target, entry);
  } finally {
    entry.close();
  }
}

function exchange(
  { target, fields, answerBytesMax, signal }: OwnRequest,
  dispatcher: Pick<Dispatcher, 'dispatch'>,
): Promise<OwnAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<OwnAnswer>();
  const gathering = new Gathering();
  let head = { status: 0, fields: {} as OwnAnswer['fields'] };
  dispatcher.dispatch(
    {
      method: 'GET',
      path: target.path,
      headers: ['host', hostField(target.host, target.port, 443), ...fields],
      body: null,
    },
    {
      onRequestStart: (controller) => {
        const abort = (): void => controller.abort(signal.reason);
        if (signal.aborted) abort();
        else signal.addEventListener('abort', abort, { once: true });
      },
      onResponseStart: (_, status, headers) => {
        head = { status, fields: headers };
      },
      onResponseData: (controller, chunk) => {
        gathering.add(chunk);
        if (gathering.length > answerBytesMax) controller.abort(tooLong(target));
      },
      onResponseEnd: () => resolve({ ...head, text: gathering.bytes().toString() }),
      onResponseError: (_, error) => reject(error),
    },
  );
  return promise;
}

function recorded(error: unknown, { host }: Target, entry: Entry): SallyportError {
  const known =
    error instanceof SallyportError
      ? error
      : new SallyportError('SALLYPORT_UPSTREAM_UNREACHABLE', `no answer from ${host}`, {
          cause: error,
        });
  entry.draft.code = known.code;
  entry.draft.reason ??= known.message;
  return known;
}

function tooLong({ host }: Target): SallyportError {
  return new SallyportError('SALLYPORT_UPSTREAM_MALFORMED', `the answer of ${host} is too long`);
}
