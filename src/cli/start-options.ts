// How the daemon was last started, so that a restart, and a start on demand, brings back the same
// proxy and not one on another port. The choice of a policy is no part of it: that is made once.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Paths } from '../control/paths.ts';

/** Options as typed: `['--listen', '127.0.0.1:3128']`, `['--via']`. */
export type StartOption = readonly [flag: string, value?: string];

const Remembered = z.array(z.union([z.tuple([z.string()]), z.tuple([z.string(), z.string()])]));

/** @returns what was remembered; nothing when that is missing or damaged. */
export function rememberedStart({ state }: Paths): readonly StartOption[] {
  try {
    return Remembered.parse(JSON.parse(readFileSync(fileIn(state), 'utf8')));
  } catch {
    return [];
  }
}

/** Writes it whole or not at all; the state folder exists. */
export function rememberStart({ state }: Paths, options: readonly StartOption[]): void {
  const kept = options.filter(([flag]) => flag !== '--policy');
  const draft = `${fileIn(state)}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(kept)}\n`, { mode: 0o600 });
  renameSync(draft, fileIn(state));
}

/** @returns the remembered options, each replaced by what was given for it now. */
export function withRemembered(
  remembered: readonly StartOption[],
  given: readonly StartOption[],
): readonly StartOption[] {
  const replaced = new Set(given.map(([flag]) => flag));
  return [...remembered.filter(([flag]) => !replaced.has(flag)), ...given];
}

function fileIn(state: string): string {
  return join(state, 'start.json');
}
