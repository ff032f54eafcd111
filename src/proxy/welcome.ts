// What a client sees that opens the proxy as if it were a site: its own `/` says what it is; any
// other path is a 400 that says how to use it.
import type { SallyportError } from '../base/errors.ts';
import type { RequestHead } from './head.ts';
import type { Reply } from './reply.ts';

const WHAT = `This is a Sallyport egress proxy. It is up.

Use it as a proxy, not as a site:
  export http_proxy=http://NAME:TOKEN@HOST:PORT https_proxy=$http_proxy
  curl -x "$http_proxy" https://example.com/

\`sallyport sandbox add NAME\` prints the address with name and token.
`;

/** Answers an origin-form request to the proxy itself. */
export function welcome(reply: Reply, head: RequestHead, error: SallyportError): void {
  const home = head.target === '/' && (head.method === 'GET' || head.method === 'HEAD');
  const content = Buffer.from(home ? WHAT : `Sallyport: ${error.message}\n  code: ${error.code}\n\n${WHAT}`);
  const code = home ? '' : `X-Sallyport-Code: ${error.code}\r\n`;
  reply.start(
    home ? 200 : error.status,
    home ? 'OK' : 'Bad Request',
    `Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n${code}`,
    content.length,
  );
  reply.data(content);
  reply.end('');
}
