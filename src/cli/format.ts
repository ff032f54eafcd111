// How an answer is printed where people, programs and files read it: `--format table|json|yaml`, and
// `--json`, which is short for one of them.
import { type Command, Option } from 'commander';
import { Document } from 'yaml';
import { SallyportError } from '../base/errors.ts';
import { type Context, printJson } from './context.ts';

const FORMATS = ['table', 'json', 'yaml'] as const;
type Format = (typeof FORMATS)[number];

export type FormatOptions = { readonly json?: boolean; readonly format?: Format };

/** Adds both; two that contradict each other are refused before anything is done. */
export function withFormat(command: Command): Command {
  return command
    .addOption(new Option('--format <format>', 'how to print it; default: table').choices(FORMATS))
    .option('--json', 'as --format json')
    .hook('preAction', (_, action) => checkFormat(action.opts()));
}

/** Prints the answer itself, or else what `text` makes of it. */
export function print<T>(
  context: Context,
  { json, format = json ? 'json' : 'table' }: FormatOptions,
  answer: T,
  text: (answer: T) => string,
): void {
  if (format === 'json') printJson(context, answer);
  else context.out(format === 'yaml' ? yamlOf(answer) : text(answer));
}

/** In the words of YAML 1.1, which most readers of it know: `no` and `12:30` are quoted. */
function yamlOf(answer: unknown): string {
  return new Document(answer, { version: '1.1', aliasDuplicateObjects: false }).toString({
    lineWidth: 0,
  });
}

/** @throws SALLYPORT_USAGE */
function checkFormat({ json, format = 'json' }: FormatOptions): void {
  if (!json || format === 'json') return;
  throw new SallyportError('SALLYPORT_USAGE', `--json and --format ${format} exclude each other`);
}
