// Ending a connection so that the far side can tell it from a clean end. It knows no HTTP.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/**
 * Closes at once, with a TCP reset: a FIN would tell the far side that it has everything. Unix
 * sockets have no reset and are just closed; of TLS, an end without close_notify says the same.
 */
export function reset(socket: Socket): void {
  if (socket instanceof TLSSocket || socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
