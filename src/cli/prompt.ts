// Questions to a person. Nothing here is reached without a terminal: commands refuse first, and say
// which flag answers the question.
import { confirm, password, select } from '@inquirer/prompts';
import { PRESETS, type PresetName } from '../policy/presets.ts';

/** Streams to ask on: the process's own, or those of a test. */
export type Terminal = {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
};

type Key = { readonly name?: string; readonly ctrl?: boolean };

// Each line fits 80 columns.
const EXPLANATION = `Choose a default network policy:

  Nothing leaves a sandbox unless a rule allows it. A preset is the set of
  rules to begin with, for all sandboxes; add and remove rules at any time.
  To choose anew later, run \`sbx policy reset\`.

`;

/**
 * Asks for the preset to begin with: arrow keys and Enter, or its number alone. Escape cancels.
 *
 * @throws ExitPromptError for Ctrl-C, AbortPromptError for Escape and the end of the
 *   input; both are inquirer's.
 */
export async function askPreset(terminal: Terminal): Promise<PresetName> {
  const width = Math.max(...Object.values(PRESETS).map(({ label }) => label.length));
  const choices = (Object.keys(PRESETS) as PresetName[]).map((value) => {
    const { label, text } = PRESETS[value];
    return { value, name: `${label.padEnd(width)}  — ${text}`, short: label };
  });
  const keys = watchKeys(terminal.input, choices.length);
  terminal.output.write(EXPLANATION);
  try {
    return await select<PresetName>(
      {
        message: 'Default network policy:',
        choices,
        default: 'balanced',
        theme: { indexMode: 'number', style: { keysHelpTip: () => KEYS } },
      },
      { ...terminal, signal: keys.signal },
    );
  } catch (error) {
    const chosen = choices[keys.number() - 1];
    if (chosen === undefined) throw error;
    return chosen.value;
  } finally {
    keys.release();
  }
}

const KEYS = '  Use ↑/↓ to navigate, Enter to select, or press 1–3. Esc cancels.';

/**
 * Asks yes or no; no is the default.
 *
 * @throws ExitPromptError for Ctrl-C, AbortPromptError for Escape and the end of the input
 */
export async function askConfirmation(message: string, terminal: Terminal): Promise<boolean> {
  const keys = watchKeys(terminal.input, 0);
  try {
    return await confirm({ message, default: false }, { ...terminal, signal: keys.signal });
  } finally {
    keys.release();
  }
}

/**
 * Lets one of several be chosen.
 *
 * @throws ExitPromptError for Ctrl-C, AbortPromptError for Escape and the end of the input
 */
export async function askChoice(
  message: string,
  choices: readonly string[],
  terminal: Terminal,
): Promise<string> {
  const keys = watchKeys(terminal.input, 0);
  try {
    return await select<string>({ message, choices }, { ...terminal, signal: keys.signal });
  } finally {
    keys.release();
  }
}

/**
 * Asks for what nobody may see: nothing that is typed appears.
 *
 * @throws ExitPromptError for Ctrl-C, AbortPromptError for Escape and the end of the input
 */
export async function askSecret(
  message: string,
  terminal: Terminal,
  empty: 'is refused' | 'may be empty' = 'is refused',
): Promise<string> {
  const keys = watchKeys(terminal.input, 0);
  const validate = (value: string): boolean | string =>
    value !== '' || empty === 'may be empty' || 'Type or paste it.';
  try {
    // inquirer would let Ctrl-T show it.
    const config = { message, validate, toggleMask: false };
    return await password(config, { ...terminal, signal: keys.signal });
  } finally {
    keys.release();
  }
}

type Keys = {
  /** Ends the question. */
  readonly signal: AbortSignal;
  /** The number that ended it, or 0. */
  readonly number: () => number;
  readonly release: () => void;
};

/**
 * What inquirer leaves open: its select only moves to a number, where here a number answers, and at
 * the end of the input (Ctrl-D) it waits on until the process has nothing to do and ends with 0.
 */
function watchKeys(input: NodeJS.ReadableStream, count: number): Keys {
  const abort = new AbortController();
  let number = 0;
  const end = (): void => abort.abort();
  const onKey = (_: unknown, { name, ctrl }: Key = {}): void => {
    const pressed = Number(name);
    const answers = pressed >= 1 && pressed <= count;
    if (answers) number ||= pressed;
    if (answers || name === 'escape' || (ctrl && name === 'd')) end();
  };
  input.on('keypress', onKey).on('end', end);
  return {
    signal: abort.signal,
    number: () => number,
    release: () => void input.off('keypress', onKey).off('end', end),
  };
}
