// Questions to a person. Nothing here is reached without a terminal: commands refuse first, and say
// which flag answers the question.
import { confirm, select } from '@inquirer/prompts';
import { PRESETS, type PresetName } from '../policy/presets.ts';

/** Streams to ask on; tests hand in their own. */
export type Terminal = {
  readonly input?: NodeJS.ReadableStream;
  readonly output?: NodeJS.WritableStream;
};

const EXPLANATION = `Nothing leaves a sandbox unless a rule allows it. A preset gives the rules to begin with,
for all sandboxes; you can add and remove rules at any time. To choose again later,
run \`sbx policy reset\`.`;

/** Asks for the preset to begin with: arrow keys and Enter, or its number. */
export async function askPreset(terminal: Terminal = {}): Promise<PresetName> {
  const width = Math.max(...Object.values(PRESETS).map(({ label }) => label.length));
  const choices = (Object.keys(PRESETS) as PresetName[]).map((value) => {
    const { label, text } = PRESETS[value];
    return { value, name: `${label.padEnd(width)} — ${text}` };
  });
  return select<PresetName>(
    {
      message: `Choose a default network policy:\n${EXPLANATION}\n`,
      choices,
      default: 'balanced',
      theme: {
        indexMode: 'number',
        style: { keysHelpTip: () => 'Use ↑/↓ to navigate, Enter to select, or press 1–3.' },
      },
    },
    terminal,
  );
}

/** Asks yes or no; no is the default. */
export async function askConfirmation(message: string, terminal: Terminal = {}): Promise<boolean> {
  return confirm({ message, default: false }, terminal);
}
