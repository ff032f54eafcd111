// Where the proxy and the control API can be reached: no sandbox is ever connected to these, however
// it spells them and whatever the policy says.
import { networkInterfaces } from 'node:os';
import { type Address, parseAddress } from '../policy/address.ts';
import type { Listen } from '../workers/messages.ts';

/**
 * @param listens  all TCP listeners of this instance; unix sockets cannot be dialled by a sandbox.
 * @param machine  all addresses of this machine, for listeners on every address.
 * @returns `ip:port` for each.
 */
export function ownAddresses(listens: readonly Listen[], machine: readonly Address[]): string[] {
  const places = listens.flatMap((listen) => {
    if (listen.kind === 'unix') return [];
    const everywhere = listen.host === '0.0.0.0' || listen.host === '::';
    const hosts = everywhere ? [listen.host, '127.0.0.1', '::1', ...machine] : [listen.host];
    return hosts.map((host) => `${host}:${listen.port}`);
  });
  return [...new Set(places)];
}

/** All addresses of this machine at this moment. */
export function machineAddresses(): Address[] {
  return Object.values(networkInterfaces()).flatMap((interfaces) =>
    (interfaces ?? []).flatMap(({ address }) => parseAddress(address) ?? []),
  );
}
