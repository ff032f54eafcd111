// The questions, on streams in place of a terminal: keys go in, the answer comes out.
import { PassThrough } from 'node:stream';
import t from 'tap';
import { askConfirmation, askPreset } from '../../src/cli/prompt.ts';

const UP = '\u001b[A';
const DOWN = '\u001b[B';

function terminal(): { input: PassThrough; output: PassThrough; shown: () => string } {
  const [input, output] = [new PassThrough(), new PassThrough()];
  let text = '';
  output.on('data', (chunk) => {
    text += chunk;
  });
  return { input, output, shown: () => text };
}

t.test('Balanced stands selected; arrows and numbers move', async (t) => {
  for (const [keys, answer] of [
    ['\r', 'balanced'],
    [`${UP}\r`, 'allow-all'],
    [`${DOWN}\r`, 'deny-all'],
    ['1\r', 'allow-all'],
    ['3\r', 'deny-all'],
  ]) {
    const { input, output, shown } = terminal();
    const asked = askPreset({ input, output });
    setImmediate(() => input.write(keys));
    t.equal(await asked, answer);
    for (const words of [
      'Choose a default network policy:',
      'Open',
      'Balanced',
      'Locked Down',
      '1–3',
    ]) {
      t.match(shown(), words);
    }
  }
});

t.test('no is the default of a confirmation', async (t) => {
  for (const [keys, answer] of [
    ['\r', false],
    ['y\r', true],
    ['n\r', false],
  ] as const) {
    const { input, output } = terminal();
    const asked = askConfirmation('Remove?', { input, output });
    setImmediate(() => input.write(keys));
    t.equal(await asked, answer);
  }
});
