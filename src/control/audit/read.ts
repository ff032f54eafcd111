// Records of the audit for those who learn from them: one after the other, whatever the number.
import { createReadStream, statSync } from 'node:fs';
import { z } from 'zod';
import { SallyportError } from '../../base/errors.ts';
import { AUDIT_LINE_BYTES_MAX } from '../../base/limits.ts';
import { placeOf } from './chain.ts';
import { NATIVE } from './record.ts';
import { filesAt } from './verify.ts';

const LINE_FEED = 0x0a;
const EXCHANGES = ['network_egress', 'http_request'];

/** What of an exchange says what was asked and answered; schema.ts has all of it. */
const Exchange = z.object({
  seq: z.number(),
  time: z.string(),
  sandbox: z.string(),
  mode: z.string(),
  method: z.string(),
  path: z.string().nullable(),
  host: z.string(),
  port: z.number(),
  address: z.string().nullable(),
  verdict: z.enum(['allow', 'deny', 'none']),
  deny_kind: z.enum(['explicit', 'implicit']).nullable(),
  rule: z.string().nullable(),
  reason: z.string().nullable(),
  code: z.string().nullable(),
});

export type RecordedExchange = z.infer<typeof Exchange>;

/**
 * @param paths  files, or folders of them.
 * @param sinceMs  exchanges that began earlier are passed over; 0 for none.
 * @throws SALLYPORT_USAGE naming the file and line of what is no record
 */
export async function* readAudit(
  paths: readonly string[],
  sinceMs: number,
): AsyncGenerator<RecordedExchange, void, undefined> {
  for (const file of paths.flatMap(filesAt)) {
    if (statSync(file).mtimeMs < sinceMs) continue; // Nothing was written to it since.
    let number = 0;
    for await (const line of linesOf(file)) {
      const record = recordOf(line, `${file}:${++number}`);
      if (record !== null && Date.parse(record.time) >= sinceMs) yield record;
    }
  }
}

/** Whole lines: one that is being written is none yet. */
async function* linesOf(file: string): AsyncGenerator<string, void, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(file)) {
    const bytes = Buffer.concat([rest, chunk as Buffer]);
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      yield bytes.toString('utf8', start, end);
      start = end + 1;
    }
    rest = bytes.subarray(start);
    if (rest.length > AUDIT_LINE_BYTES_MAX) throw noRecord(`${file}: a line is too long`);
  }
}

/** @returns null for a record of something else than an exchange */
function recordOf(line: string, place: string): RecordedExchange | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw noRecord(`${place}: this is no record`);
  }
  const { action_type: type } = (value ?? {}) as { readonly action_type?: unknown };
  if (type !== undefined && !EXCHANGES.includes(String(type))) return null;
  const { data, error } = Exchange.safeParse(value);
  if (data !== undefined) return data;
  const format = placeOf(line)?.format ?? NATIVE.name;
  if (format !== NATIVE.name) {
    throw noRecord(`${place}: it is written as ${format}, which can be verified and not read`);
  }
  const [issue] = error.issues;
  throw noRecord(`${place}: this is no record: ${issue?.path.join('.')}: ${issue?.message}`);
}

function noRecord(message: string): SallyportError {
  return new SallyportError('SALLYPORT_USAGE', message);
}
