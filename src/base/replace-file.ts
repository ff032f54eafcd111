// A file that is on the disk whole, as it was or as it shall be: after a death, a power cut, and on a disk
// without room. For files of the user's alone.
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** @throws what the system says; the file is as it was, then */
export function replaceFile(path: string, content: string | Uint8Array): void {
  const draft = `${path}.new`;
  const file = openSync(draft, 'w', 0o600);
  try {
    writeFileSync(file, content); // All of it, or it throws: one write may take a part, and say so alone.
    fsyncSync(file);
  } catch (error) {
    rmSync(draft); // It may hold a part of a secret.
    throw error;
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  const folder = openSync(dirname(path), 'r');
  fsyncSync(folder);
  closeSync(folder);
}
