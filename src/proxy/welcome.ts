// What a client sees that opens the proxy as if it were a site: its own `/` says what it is; any
// other path is a 400 that says how to use it.
import { STATUS_CODES } from 'node:http';
import type { SallyportError } from '../base/errors.ts';
import type { Answer } from './exchange.ts';
import type { RequestHead } from './head.ts';

const WHAT = `This is a Sallyport egress proxy. It is up.

Use it as a proxy, not as a site:
  export http_proxy=http://NAME:TOKEN@HOST:PORT https_proxy=$http_proxy
  curl -x "$http_proxy" https://example.com/

\`sallyport sandbox add NAME\` prints the address with name and token.
`;

/**
 * Answers `GET /` to the proxy itself.
 *
 * @returns false when the request is for something else, and nothing was answered.
 */
export function welcome(reply: Answer, head: RequestHead): boolean {
  const home = head.target === '/' && (head.method === 'GET' || head.method === 'HEAD');
  if (home) answer(reply, 200, '', WHAT);
  return home;
}

/** Answers any other request that takes the proxy for the site. */
export function explain(reply: Answer, error: SallyportError): void {
  const text = `Sallyport: ${error.message}\n  code: ${error.code}\n\n${WHAT}`;
  answer(reply, error.status, `X-Sallyport-Code: ${error.code}\r\n`, text);
}

function answer(reply: Answer, status: number, fields: string, text: string): void {
  const content = Buffer.from(text);
  const type = 'Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n';
  reply.start(status, STATUS_CODES[status] ?? '', `${type}${fields}`, content.length);
  reply.data(content);
  reply.end('');
}
