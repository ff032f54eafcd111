// The questions, on streams in place of a terminal: keys go in, the answer comes out.
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import t from 'tap';
import {
  askChoice,
  askConfirmation,
  askPreset,
  askSecret,
  type Terminal,
} from '../../src/cli/prompt.ts';

const UP = '\u001b[A';
const DOWN = '\u001b[B';
const ESCAPE = '\u001b';
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';

function terminal(): { input: PassThrough; output: PassThrough; shown: () => string } {
  const [input, output] = [new PassThrough(), new PassThrough()];
  let text = '';
  output.on('data', (chunk) => {
    text += chunk;
  });
  return { input, output, shown: () => text };
}

t.test('Balanced stands selected; arrows move, Enter and numbers answer', async (t) => {
  for (const [keys, answer] of [
    ['\r', 'balanced'],
    [`${UP}\r`, 'allow-all'],
    [`${DOWN}\r`, 'deny-all'],
    [`${DOWN}${DOWN}\r`, 'allow-all'],
    ['1', 'allow-all'],
    ['2', 'balanced'],
    ['3', 'deny-all'],
    ['3\r', 'deny-all'],
    ['971', 'allow-all'],
  ]) {
    const { input, output, shown } = terminal();
    const asked = askPreset({ input, output });
    setImmediate(() => input.write(keys));
    t.equal(await asked, answer, JSON.stringify(keys));
    for (const words of [
      'Choose a default network policy:',
      '1. Open         — All network traffic allowed, no restrictions.',
      '2. Balanced     — Default deny, with common dev sites allowed.',
      '3. Locked Down  — All network traffic blocked unless you allow it.',
      'Use ↑/↓ to navigate, Enter to select, or press 1–3.',
    ]) {
      t.match(shown(), words);
    }
    t.equal(input.listenerCount('keypress'), 0, 'nothing listens on');
  }
});

t.test('Ctrl-C and Escape leave without an answer, and the cursor visible', async (t) => {
  for (const [key, name] of [
    [CTRL_C, 'ExitPromptError'],
    [CTRL_D, 'AbortPromptError'],
    [ESCAPE, 'AbortPromptError'],
  ]) {
    const { input, output, shown } = terminal();
    const asked = askPreset({ input, output });
    setImmediate(() => input.write(key));
    await t.rejects(asked, { name });
    t.equal(shown().lastIndexOf('\u001b[?25h') > shown().lastIndexOf('\u001b[?25l'), true);
  }
});

t.test('no is the default of a confirmation', async (t) => {
  for (const [keys, answer] of [
    ['\r', false],
    ['y\r', true],
    ['n\r', false],
  ] as const) {
    const { input, output, shown } = terminal();
    const asked = askConfirmation('Remove?', { input, output });
    setImmediate(() => input.write(keys));
    t.equal(await asked, answer);
    t.match(shown(), /Remove\?.* .*\(y\/N\)/);
  }
});

t.test('one of several is chosen', async (t) => {
  const { input, output } = terminal();
  const asked = askChoice('Which?', ['a', 'b'], { input, output });
  setImmediate(() => input.write(`${DOWN}\r`));
  t.equal(await asked, 'b');
});

t.test('what is secret is typed unseen, and cannot be nothing', async (t) => {
  const { input, output, shown } = terminal();
  const asked = askSecret('Secret:', { input, output });
  setImmediate(() => input.write('\r'));
  while (!shown().includes('Type or paste it.')) await once(output, 'data');
  input.write('ZZ\u0014'); // Ctrl-T
  setImmediate(() => input.write('ZZ\r'));
  t.equal(await asked, 'ZZZZ');
  t.match(shown(), 'Secret:');
  t.notMatch(shown(), 'Z');
});

t.test('the end of the input ends a question', async (t) => {
  const questions: ((terminal: Terminal) => Promise<unknown>)[] = [
    askPreset,
    (terminal) => askConfirmation('Remove?', terminal),
    (terminal) => askChoice('Which?', ['a', 'b'], terminal),
    (terminal) => askSecret('Secret:', terminal),
  ];
  for (const ask of questions) {
    const { input, output } = terminal();
    const asked = ask({ input, output });
    setImmediate(() => input.end());
    await t.rejects(asked, { name: 'AbortPromptError' });
  }
});
