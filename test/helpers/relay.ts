// One origin, one proxy that lets it be reached, one raw client: what tests of relaying begin with.
import type { RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import type { Test } from 'tap';
import type { ProxySettings } from '../../src/proxy/exchange.ts';
import { startProxy, type TestProxy } from './proxy.ts';
import { httpOrigin, type Origin, tcpOrigin, type Wire, wire } from './wire.ts';

export type World = { origin: Origin; proxy: TestProxy; client: Wire };

/** A proxy that lets `origin` be reached, and a client of it. */
export async function around(
  t: Test,
  origin: Origin,
  settings: Partial<ProxySettings> = {},
): Promise<World> {
  const proxy = await startProxy({ rules: [['allow', `localhost:${origin.port}`]], settings });
  const client = await wire(proxy.port);
  t.teardown(async () => {
    client.socket.destroy();
    await proxy.close();
    origin.close();
  });
  return { origin, proxy, client };
}

export const withHttp = async (
  t: Test,
  listener: RequestListener,
  settings: Partial<ProxySettings> = {},
) => around(t, await httpOrigin(listener), settings);

export const withTcp = async (t: Test, serve: (socket: Socket) => void) =>
  around(t, await tcpOrigin(serve));

/** An origin that answers each request head with the same bytes. */
export function answering(bytes: string): (socket: Socket) => void {
  return (socket) => {
    let seen = '';
    socket.on('data', (chunk) => {
      seen += chunk.toString('latin1');
      for (let at = seen.indexOf('\r\n\r\n'); at >= 0; at = seen.indexOf('\r\n\r\n')) {
        seen = seen.slice(at + 4);
        socket.write(Buffer.from(bytes, 'latin1'));
      }
    });
  };
}
