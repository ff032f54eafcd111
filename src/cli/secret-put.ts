// Hands a secret to the daemon, and says what became of it.
import { SallyportError } from '../base/errors.ts';
import type { ControlClient } from '../control/api/client.ts';
import type { Context } from './context.ts';
import { askConfirmation } from './prompt.ts';
import { sayApplied } from './secret-scope.ts';

type Answer = {
  readonly secret: { readonly scope: string };
  readonly replaced: boolean;
  readonly applied: number;
};

export function sayStored(context: Context, answer: Answer, what: string): void {
  const done = answer.replaced ? 'replaced' : 'stored';
  context.out(`Secret ${done}: ${what}, scope "${answer.secret.scope}"\n`);
  sayApplied(context, answer.applied);
}

/** Asks before one is replaced; a script must say --force. @returns null when the person said no */
export async function store<T>(
  context: Context,
  client: ControlClient,
  path: string,
  body: object,
  { force }: { readonly force?: boolean },
): Promise<T | null> {
  try {
    return await client.post<T>(path, force ? { ...body, replace: true } : body);
  } catch (error) {
    const there = error instanceof SallyportError && error.code === 'SALLYPORT_CONFLICT';
    if (!there || context.terminal === null) throw error;
  }
  if (await askConfirmation('There is one already. Replace it?', context.terminal)) {
    return client.post<T>(path, { ...body, replace: true });
  }
  context.err('Cancelled\n');
  context.exitWith(1);
  return null;
}
