// Why nothing can listen at a place, and what to do about it. Holds no sockets.
import { SallyportError } from './errors.ts';

const NEXT: Readonly<Record<string, string>> = {
  EADDRINUSE: 'Something listens there already: end it, or choose another address.',
  EADDRNOTAVAIL: 'This machine has no such address: choose one of its own, such as 127.0.0.1.',
  EACCES:
    'The user of the daemon may not listen there: choose a port of 1024 or more, or a folder that exists and is theirs.',
  EPERM: 'Something on this machine forbids to listen there: choose another address.',
};

/**
 * @param text  what the system said; a worker's error arrives without its code, so words are looked at
 * @returns SALLYPORT_CONFLICT with the hint that fits the errno in it
 */
export function listenError(text: string, message: string, cause?: unknown): SallyportError {
  const hint = NEXT[/\bE[A-Z]{3,}\b/.exec(text)?.[0] ?? ''];
  return new SallyportError('SALLYPORT_CONFLICT', message, {
    cause,
    ...(hint !== undefined && { hint }),
  });
}
