// What stands in the audit files of a folder, oldest first.
import { readFileSync } from 'node:fs';
import { auditFiles } from '../../src/control/audit/files.ts';

/** Lines as they were written. @throws when a file ends within one */
export function linesIn(folder: string): string[] {
  return auditFiles(folder).flatMap((path) => {
    const text = readFileSync(path, 'utf8');
    if (text !== '' && !text.endsWith('\n')) throw new Error(`${path} ends within a line`);
    return text.split('\n').filter(Boolean);
  });
}

/** @throws when a line is no JSON, or a file ends within one */
export function recordsIn<T = Readonly<Record<string, unknown>>>(folder: string): T[] {
  return linesIn(folder).map((line) => JSON.parse(line) as T);
}
