// One command from its words to its exit code: whatever is thrown on the way becomes words on the
// error stream, and with --json a document on the output. main.ts runs it on the process, tests on streams of their own.
import { CommanderError } from 'commander';
import { type Code, SallyportError } from '../base/errors.ts';
import { type Context, createContext, type Surroundings } from './context.ts';
import { createProgram } from './program.ts';
import { EXIT_NOT_RUN } from './run.ts';

const EXIT_INTERRUPTED = 130;

/** What inquirer throws when a question is not answered: Ctrl-C, and Escape or the end of the input. */
const CANCELLING: ReadonlySet<string> = new Set(['ExitPromptError', 'AbortPromptError']);

// The hints of the table are for clients of the proxy and of the API; here a command was typed.
const HINTS: Partial<Record<Code, string>> = {
  SALLYPORT_REQUEST_INVALID: 'Nothing was changed. The form is shown by --help.',
  SALLYPORT_TARGET_INVALID: 'Name a host, host:port, an address or a URL.',
};

/** @returns the exit code: 0, 1, 130 after Ctrl-C at a question; some `policy` commands and `run` have more */
export async function runCommand(
  given: Omit<Surroundings, 'exitWith' | 'words'>,
  words: readonly string[],
): Promise<number> {
  let exitCode = 0;
  const exitWith = (code: number): void => {
    exitCode = code;
  };
  const context = createContext({ ...given, exitWith, words });
  try {
    await createProgram(context).parseAsync(words, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) debugError(context, error);
    if (asksForJson(words)) sayAsJson(error, given.out);
    return failed(error, failureOf(words), given.err);
  }
}

/** Commands for which 1 is an answer: a denial, a finding, a difference. Their errors need another code. */
const ANSWERING: ReadonlySet<string> = new Set([
  'policy check',
  'policy lint',
  'policy diff',
  'policy replay',
  'policy import',
  'audit verify',
]);

/** `run` has the codes of its command. */
function failureOf(words: readonly string[]): number {
  const [group, command] = words.filter((word) => !word.startsWith('-'));
  if (group === 'run') return EXIT_NOT_RUN;
  return ANSWERING.has(`${group} ${command}`) ? 2 : 1;
}

function failed(error: unknown, code: number, err: (text: string) => void): number {
  // commander has said what is wrong, or printed what was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : code;
  const name = error instanceof Error ? error.name : '';
  if (CANCELLING.has(name)) {
    err('Cancelled\n');
    return name === 'ExitPromptError' ? EXIT_INTERRUPTED : code;
  }
  err(`ERROR: ${wordsOf(error)}\n`);
  return code;
}

/** Where it was thrown, and what it was thrown for. */
function debugError({ debug }: Context, error: unknown): void {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    for (const line of (at.stack ?? at.message).split('\n')) debug(line);
  }
}

function wordsOf(error: unknown): string {
  if (error instanceof SallyportError) return `${error.message}\n${hintOf(error)}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function hintOf({ code, hint }: SallyportError): string {
  return HINTS[code] ?? hint;
}

/** Looked for in the words: when these are at fault, nobody has parsed them. Those of `run` are its command's. */
function asksForJson(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  const own = end < 0 ? words : words.slice(0, end);
  if (words.find((word) => !word.startsWith('-')) === 'run') return false;
  return own.some((word, i) => MACHINE.test(word === '--format' ? `${word}=${own[i + 1]}` : word));
}

/** What is JSON is YAML, too. */
const MACHINE = /^--(json|format=(json|yaml))$/;

type Failure = { readonly code: Code; readonly message: string; readonly hint: string };

/** What failed, on one line, which is whole behind those of a stream, too. Help is no failure. */
function sayAsJson(error: unknown, out: (text: string) => void): void {
  if (error instanceof CommanderError && error.exitCode === 0) return;
  const { code, message, hint } = failureFrom(error);
  out(`${JSON.stringify({ code, message, hint })}\n`);
}

function failureFrom(error: unknown): Failure {
  if (error instanceof SallyportError) {
    return { code: error.code, message: error.message, hint: hintOf(error) };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CommanderError) {
    return failureFrom(new SallyportError('SALLYPORT_USAGE', message.replace(/^error: /, '')));
  }
  const name = error instanceof Error ? error.name : '';
  const code = CANCELLING.has(name) ? 'SALLYPORT_CANCELLED' : 'SALLYPORT_INTERNAL';
  return failureFrom(new SallyportError(code, message));
}
