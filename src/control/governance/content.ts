// Files of an organisation, as they are read: within bounds, and never waiting for one that is no file.
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { SallyportError } from '../../base/errors.ts';
import { sharingOf } from '../named-file.ts';
import { failed } from './source.ts';

/**
 * @param secret  what it holds, if nobody else may use it: `token`.
 * @throws SALLYPORT_GOVERNANCE_FAILED for what cannot be read, is no file, is longer, or others may use
 */
export async function contentOf(path: string, bytesMax: number, secret?: string): Promise<Buffer> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK); // A pipe would wait.
    try {
      const status = await file.stat();
      if (!status.isFile()) throw failed(`${path} is no file`);
      if (status.size > bytesMax) throw failed(`${path} has more than ${bytesMax} bytes`);
      const shared = secret === undefined ? null : sharingOf(path, secret, status);
      if (shared !== null) throw failed(shared);
      const buffer = Buffer.alloc(status.size);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw error instanceof SallyportError ? error : failed(`${path} cannot be read`, error);
  }
}
