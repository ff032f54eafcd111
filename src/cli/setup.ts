// The choice that comes before all others: which policy to begin with.
import { SallyportError } from '../base/errors.ts';
import type { ControlClient } from '../control/api/client.ts';
import { PRESETS, type PresetName } from '../policy/presets.ts';
import type { Context } from './context.ts';
import { askPreset } from './prompt.ts';

type Setup = { readonly initialized: boolean; readonly preset: string | null };

/**
 * Makes sure that a policy was chosen; asks a person, and refuses where nobody can be asked.
 *
 * @throws SALLYPORT_POLICY_UNINITIALIZED
 */
export async function ensureInitialized(context: Context, client: ControlClient): Promise<void> {
  const { initialized } = await client.get<Setup>('/policy/setup');
  if (initialized) return;
  if (context.terminal === null) {
    throw new SallyportError(
      'SALLYPORT_POLICY_UNINITIALIZED',
      `global network policy has not been initialized:\n${choices(context.program)}`,
    );
  }
  const preset = await askPreset(context.terminal);
  await initialize(context, client, preset);
}

export async function initialize(
  context: Context,
  client: ControlClient,
  preset: PresetName,
): Promise<void> {
  await client.post('/policy/setup', { preset });
  context.err(`Network policy initialized: ${PRESETS[preset].label} (${preset})\n`);
}

function choices(program: string): string {
  const names = Object.keys(PRESETS) as PresetName[];
  return names
    .map((name) => `  ${program} policy set-default ${name.padEnd(10)} ${PRESETS[name].text}`)
    .join('\n');
}
