// Every command that has to be told something shows how, and what is shown is understood.
import type { Command } from 'commander';
import t from 'tap';
import { createContext } from '../../src/cli/context.ts';
import { createProgram } from '../../src/cli/program.ts';

let written = '';
const program = createProgram(
  createContext({
    program: 'sallyport',
    version: '0.0.0',
    env: { HOME: '/nowhere' },
    terminal: null,
    stdin: null,
    columns: 0,
    launcher: '',
    out: (text) => {
      written += text;
    },
    err: () => {},
    exitWith: () => {},
    onInterrupt: () => () => {},
  }),
);

function leaves(command: Command, path = ''): [string, Command][] {
  if (command.commands.length === 0) return [[path, command]];
  return command.commands.flatMap((sub) => leaves(sub, `${path} ${sub.name()}`.trim()));
}

function examplesOf(command: Command): string[] {
  written = '';
  command.outputHelp();
  const text = written.replaceAll('\\\n', ' ');
  return [...text.matchAll(/^ {2}\$ .*?((?:sbx|sallyport) .*)$/gm)].map(([, line = '']) => line);
}

/** As a shell would: without the remark behind it, the end of a $(), and what is sent elsewhere. */
function wordsOf(line: string): string[] {
  const [typed = ''] = line.replace(/\)".*$/, '').split(/ {3,}| [<>|&]+ /);
  return [...typed.matchAll(/(?:"([^"]*)"|([^\s"]+))/g)].map(
    ([, quoted, bare]) => quoted ?? bare ?? '',
  );
}

for (const [path, command] of leaves(program)) {
  t.test(`sallyport ${path}`, async (t) => {
    const examples = examplesOf(command);
    const isTold =
      command.registeredArguments.length > 0 || command.options.some((one) => one.required);
    if (isTold) t.ok(examples.length > 0, 'has examples');
    for (const line of examples) {
      const [, ...words] = wordsOf(line);
      t.strictSame(words.slice(0, path.split(' ').length), path.split(' '), line);
      const { operands, unknown } = command.parseOptions(words.slice(path.split(' ').length));
      t.strictSame(
        unknown.filter((word) => path !== 'run' && word.startsWith('-')),
        [],
        line,
      );
      const [least, most] = boundsOf(command);
      t.ok(operands.length >= least && operands.length <= most, `${line}: ${operands}`);
    }
  });
}

function boundsOf({ registeredArguments: all }: Command): [least: number, most: number] {
  const most = all.some(({ variadic }) => variadic) ? Number.POSITIVE_INFINITY : all.length;
  return [all.filter(({ required }) => required).length, most];
}
