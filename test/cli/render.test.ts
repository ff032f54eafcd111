import t from 'tap';
import { logTime, table } from '../../src/cli/render.ts';

t.test('columns are as wide as their widest cell, two spaces apart', async (t) => {
  const text = table(['A', 'LONG HEADING', 'C'], [['wide cell', 'x', 'last']]);
  t.equal(text, 'A          LONG HEADING  C\nwide cell  x             last\n');
});

t.test('a list stands one item a line, rows with lists apart', async (t) => {
  const text = table(
    ['NAME', 'R'],
    [
      ['a', ['1', '2']],
      ['b', '3'],
    ],
  );
  t.equal(text, 'NAME  R\na     1\n      2\n\nb     3\n');
});

t.test('a narrow terminal wraps the last column and cuts nothing', async (t) => {
  const long = 'x'.repeat(50);
  const text = table(['ID', 'R'], [['id-that-stays-whole', long]], 45);
  const lines = text.trimEnd().split('\n');
  t.ok(lines.every((line) => line.length <= 45));
  t.equal(
    lines
      .slice(1)
      .map((line) => line.slice(21))
      .join(''),
    long,
  );
  t.match(lines[1], 'id-that-stays-whole');
  t.equal(
    table(['ID', 'R'], [['id', long]], 10).split('\n')[1],
    `id  ${long}`,
    'too narrow to wrap: left whole',
  );
});

t.test('no rows is a heading', async (t) => {
  t.equal(table(['A', 'B'], []), 'A  B\n');
});

t.test('log times are local, day before month', async (t) => {
  const local = new Date(2026, 0, 29, 9, 5, 7);
  t.equal(logTime(local.toISOString()), '09:05:07 29-Jan');
});

t.test('what is in a cell stays there', async (t) => {
  const text = table(['A'], [['x\u001b[2J\ny\u202e']]);
  t.equal(text, 'A\nx\\u{1b}[2J\\u{a}y\\u{202e}\n');
});
