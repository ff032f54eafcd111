// Requests that get no further than the door: those whose head cannot be read, and those that could
// not be recorded.
import { SallyportError } from '../base/errors.ts';
import type { Answer, Client, Received, Target } from './exchange.ts';
import { BAD_HEAD_HOST, type Entry, type Recorder } from './record.ts';
import { acceptOf, defect, refuse } from './respond.ts';

const UNJUDGED = {
  verdict: 'none',
  deny_kind: null,
  rule: null,
  source: null,
  reason: null,
} as const;

/** @returns null when it cannot be recorded: then it does not take place, and has been refused. */
export function recordable(
  opened: Promise<Entry>,
  { client, head, reply }: Received,
  { host, port }: Pick<Target, 'host' | 'port'>,
): Promise<Entry | null> {
  return opened.catch((error: unknown) => {
    const known = error instanceof SallyportError ? error : defect(error);
    if (head.method === 'CONNECT' || !client.contentDone) reply.closes = true;
    if (!client.gone) refuse(reply, known, { host, port, ...UNJUDGED }, acceptOf(head));
    return null;
  });
}

/** Answers a head that cannot be read; recorded, if that can be. */
export async function answerMalformed(
  client: Client,
  reply: Answer,
  error: SallyportError,
  recorder: Recorder,
): Promise<void> {
  const { host, port } = client.inside ?? BAD_HEAD_HOST;
  const named = { host, port, method: '', path: '' };
  const opened = recorder.open(client.inside === null ? 'forward' : 'connect', named);
  const entry = opened instanceof Promise ? await opened.catch(() => null) : opened;
  if (client.inside !== null) entry?.inside(client.inside.sandbox);
  if (entry !== null) {
    entry.draft.code = error.code;
    entry.draft.reason = error.message;
  }
  if (!client.gone) refuse(reply, error, entry?.draft ?? { host, port, ...UNJUDGED }, null);
  if (entry !== null) entry.draft.status = reply.status;
  entry?.close();
}
