// An origin's answer on its way to a sandbox that must not see the secrets its request carried: they
// are masked in fields, content and trailers, while the answer streams. What is not whole is not
// passed on: an answer that breaks off ends here with its last bytes kept (CVE-2026-101998).
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { SallyportError } from '../base/errors.ts';
import { SCRUB_HELD_MS } from '../base/limits.ts';
import { Masker, maskText, type Scrubbing } from '../credentials/mask.ts';
import { Decoder, type Flow, isDecodable } from './decoder.ts';

type Controller = Dispatcher.DispatchController;
type Handler = Required<Dispatcher.DispatchHandler>;

/** No longer true of content that was decoded, or that is masked. */
const LEFT_OUT_WHEN_DECODED = new Set([
  'content-encoding',
  'content-length',
  'accept-ranges',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
]);

/**
 * Request fields for an answer that can be searched: whole, and in a coding that is known.
 *
 * @param fields  flat name, value.
 */
export function searchable(fields: readonly string[]): string[] {
  const asked: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const value = fields[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (lower === 'range' || lower === 'if-range') continue; // A secret may lie across two parts.
    asked.push(name, lower === 'accept-encoding' ? knownCodings(value) : value);
  }
  return asked;
}

function knownCodings(value: string): string {
  const isKnown = (item: string): boolean => {
    const coding = item.split(';', 1)[0]?.trim().toLowerCase() ?? '';
    return coding === 'identity' || isDecodable(coding);
  };
  return value.split(',').filter(isKnown).join(',').trim() || 'identity';
}

/** Stands between an origin and relay.ts, in the words of undici's handlers. */
export class Scrubber implements Dispatcher.DispatchHandler {
  readonly #inner: Handler;
  readonly #method: string;
  readonly #scrubbing: Scrubbing;
  readonly #onMasked: (count: number) => void;
  readonly #masker: Masker;
  #shown: Shown | null = null;
  #decoder: Decoder | null = null;
  #timer: NodeJS.Timeout | null = null;
  #done = false;

  /**
   * @param method    of the request: HEAD has no content.
   * @param onMasked  told how often something was masked, when it was.
   */
  constructor(
    inner: Dispatcher.DispatchHandler,
    method: string,
    scrubbing: Scrubbing,
    onMasked: (count: number) => void,
  ) {
    this.#inner = inner as Handler;
    this.#method = method;
    this.#scrubbing = scrubbing;
    this.#onMasked = onMasked;
    this.#masker = new Masker(scrubbing.needles);
  }

  onRequestStart(controller: Controller, context: unknown): void {
    this.#inner.onRequestStart(controller, context);
  }

  onResponseStart(controller: Controller, status: number, _: unknown, reason = ''): void {
    const shown = new Shown(controller);
    shown.rawHeaders = this.#masked(controller.rawHeaders);
    const bare = status < 200 || status === 204 || status === 304 || this.#method === 'HEAD';
    const coding = bare ? null : this.#codingOf(status, shown.rawHeaders);
    if (coding !== null) {
      shown.rawHeaders = decodedFields(shown.rawHeaders);
      this.#decoder = new Decoder(coding, controller, {
        data: (chunk) => this.#pass(this.#masker.push(chunk)),
        end: () => this.#end(controller),
        error: (error) => this.#break(error, controller),
      });
      shown.flow = this.#decoder;
    }
    this.#shown = shown;
    const phrase = maskText(reason, this.#scrubbing.needles).text;
    this.#inner.onResponseStart(shown, status, {}, phrase);
  }

  onResponseData(_: Controller, chunk: Buffer): void {
    if (this.#done) return;
    if (this.#decoder === null) this.#pass(this.#masker.push(chunk));
    else this.#decoder.write(chunk);
  }

  onResponseEnd(controller: Controller): void {
    if (this.#decoder === null) this.#end(controller);
    else this.#decoder.end();
  }

  /** What the masker keeps, and the decoder has not given, stays here. */
  onResponseError(controller: Controller, error: Error): void {
    if (this.#done) return;
    this.#finish();
    this.#inner.onResponseError(controller, error);
  }

  onRequestUpgrade(controller: Controller, status: number, _: unknown, socket: Duplex): void {
    if (this.#scrubbing.strict) {
      socket.destroy();
      this.onResponseError(controller, uninspectable('it leaves HTTP'));
      return;
    }
    const shown = new Shown(controller);
    shown.rawHeaders = this.#masked(controller.rawHeaders);
    this.#inner.onRequestUpgrade(shown, status, {}, socket);
  }

  /** @returns the content coding to undo, null for none or one that may pass as it is. @throws SALLYPORT_RESPONSE_UNINSPECTABLE */
  #codingOf(status: number, fields: readonly string[]): string | null {
    const codings = valuesOf(fields, 'content-encoding');
    const fault = faultOf(status, codings, valuesOf(fields, 'grpc-encoding'));
    const [coding = 'identity'] = codings;
    if (fault === null) return coding === 'identity' ? null : coding;
    if (this.#scrubbing.strict) throw uninspectable(fault);
    return null;
  }

  #pass(bytes: Buffer): void {
    if (this.#done || this.#shown === null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = this.#masker.waits ? setTimeout(() => this.#release(), SCRUB_HELD_MS) : null;
    if (bytes.length > 0) this.#inner.onResponseData(this.#shown, bytes);
  }

  #release(): void {
    this.#pass(this.#masker.release());
  }

  #end(controller: Controller): void {
    const shown = this.#shown;
    if (this.#done || shown === null) return;
    this.#release();
    this.#finish();
    shown.rawTrailers = this.#masked(controller.rawTrailers);
    this.#inner.onResponseEnd(shown, {});
  }

  #break(error: Error, controller: Controller): void {
    if (this.#done) return;
    this.onResponseError(controller, error);
    controller.abort(error);
  }

  #finish(): void {
    this.#done = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#decoder?.destroy();
    if (this.#masker.count > 0) this.#onMasked(this.#masker.count);
  }

  /** Names stay as they are: a secret in one would be an origin's way of spelling, and those are endless. */
  #masked(raw: unknown): string[] {
    if (!Array.isArray(raw)) return [];
    return (raw as (Buffer | string)[]).map((part, i) => {
      const text = typeof part === 'string' ? part : part.toString('latin1');
      if (i % 2 === 0) return text;
      const { text: masked, count } = maskText(text, this.#scrubbing.needles);
      if (count > 0) this.#onMasked(count);
      return masked;
    });
  }
}

/** What makes an answer impossible to search, null when it can be. */
function faultOf(status: number, codings: string[], messages: string[]): string | null {
  const [coding = 'identity'] = codings;
  const [message = 'identity'] = messages; // gRPC compresses within its own frames.
  if (status === 206) return 'it is a part of the content';
  if (message !== 'identity') return `its messages are in ${message}`;
  const isKnown = coding === 'identity' || isDecodable(coding);
  return isKnown && codings.length < 2 ? null : `its content is in ${codings.join(', ')}`;
}

/** The origin's controller as relay.ts sees it: with other fields, and the decoder's flow. */
class Shown implements Controller {
  readonly #origin: Controller;
  flow: Flow;
  rawHeaders: string[] = [];
  rawTrailers: string[] = [];

  constructor(origin: Controller) {
    this.#origin = origin;
    this.flow = origin;
  }

  get aborted(): boolean {
    return this.#origin.aborted;
  }

  get reason(): Error | null {
    return this.#origin.reason;
  }

  get paused(): boolean {
    return this.flow.paused;
  }

  abort(reason: Error): void {
    this.#origin.abort(reason);
  }

  pause(): void {
    this.flow.pause();
  }

  resume(): void {
    this.flow.resume();
  }
}

/** As of a resource without the coding: what spoke of its bytes is gone (RFC 9110 section 7.7). */
function decodedFields(fields: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const value = fields[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (LEFT_OUT_WHEN_DECODED.has(lower)) continue;
    const isStrong = lower === 'etag' && value.startsWith('"');
    kept.push(name, isStrong ? `W/${value}` : value);
  }
  return kept;
}

function valuesOf(fields: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]?.toLowerCase() !== name) continue;
    for (const one of (fields[i + 1] ?? '').split(',')) values.push(one.trim().toLowerCase());
  }
  return values.filter((one) => one !== '');
}

function uninspectable(why: string): SallyportError {
  return new SallyportError(
    'SALLYPORT_RESPONSE_UNINSPECTABLE',
    `the answer cannot be searched for secrets: ${why}`,
  );
}
