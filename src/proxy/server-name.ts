// Whom TLS speaks to must be whom CONNECT named. Only that name was judged, and behind the address it
// leads to others may answer: whatever else a shared front serves (domain fronting).
import { SallyportError } from '../base/errors.ts';
import { isAddress } from '../policy/address.ts';
import { type ClientHello, readClientHello } from '../tls/client-hello.ts';
import type { Look } from './tunnel.ts';

/** Fatal alerts (RFC 8446 section 6.2), in a record of their own. */
const UNRECOGNIZED_NAME = Buffer.from([0x15, 3, 3, 0, 2, 2, 112]);
const DECODE_ERROR = Buffer.from([0x15, 3, 3, 0, 2, 2, 50]);

const HANDSHAKE = 22;

/** @throws SALLYPORT_TLS_NAME_MISMATCH */
export function checkName({ serverName }: ClientHello, host: string): void {
  if (serverName === null && isAddress(host)) return;
  if (serverName === host) return;
  throw new SallyportError(
    'SALLYPORT_TLS_NAME_MISMATCH',
    `CONNECT named ${host}, and the ClientHello ${serverName ?? 'nobody'}`,
  );
}

/** @returns the last word to a client whose ClientHello was refused; null when it was something else */
export function alertFor(error: unknown): Buffer | null {
  const code = error instanceof SallyportError ? error.code : null;
  if (code === 'SALLYPORT_TLS_NAME_MISMATCH') return UNRECOGNIZED_NAME;
  return code === 'SALLYPORT_TLS_HELLO_INVALID' ? DECODE_ERROR : null;
}

/**
 * For tunnels that are relayed blind: a look at the ClientHello, if that is what the client begins
 * with. Behind an address any name may be: the address is what was judged.
 */
export function lookForName(host: string): Look | null {
  if (isAddress(host)) return null;
  return (bytes) => {
    if (bytes[0] !== HANDSHAKE) return 'pass';
    try {
      const hello = readClientHello(bytes);
      if (hello === null) return 'more';
      checkName(hello, host);
      return 'pass';
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      return { error, lastWord: alertFor(error) };
    }
  };
}
