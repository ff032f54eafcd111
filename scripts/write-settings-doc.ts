// Writes docs/settings.md and docs/settings.schema.json from src/control/settings/keys.ts.
// Run: node scripts/write-settings-doc.ts
import { writeFileSync } from 'node:fs';
import { isLive, SETTING_KEYS, SETTINGS, variableOf } from '../src/control/settings/keys.ts';
import { settingsSchema } from '../src/control/settings/file.ts';

const rows = SETTING_KEYS.map((key) => {
  const { type, fallback, option, description } = SETTINGS[key];
  const cells = [
    `\`${key}\``,
    type,
    `\`${JSON.stringify(fallback)}\``,
    `\`${variableOf(key)}\``,
    option === '' ? '' : `\`${option}\``,
    isLive(key) ? 'at once' : 'next start',
    description,
  ];
  return `| ${cells.join(' | ')} |`;
});

writeFileSync(
  'docs/settings.md',
  `# Settings

The first that gives a value wins:

1. an option of \`sallyport daemon start\`; it is kept for starts on demand and for \`daemon restart\`, until a \`daemon start\`
   comes without it,
2. the environment variable, as it was when the daemon started; an empty one counts as none,
3. the file \`$XDG_CONFIG_HOME/sallyport/settings.json\` (\`~/.config/sallyport/settings.json\`), one JSON object from key to value;
   its schema is [settings.schema.json](settings.schema.json), also printed by \`sallyport settings schema\`,
4. the default.

\`sallyport settings list\` shows what wins, and from where. \`settings set KEY VALUE\` and \`settings unset KEY\` change the file, whole or
not at all; so may an editor, within 2 s. A list is written as JSON or with commas between its elements. A key that is not known,
and a variable of these groups that is none, is refused with the nearest one that is: a daemon does not start on it, and one that
runs keeps what it has. What is said to hold at the next start waits for \`sallyport daemon restart\`.

| key | type | default | variable | option | holds | what it does |
|---|---|---|---|---|---|---|
${rows.join('\n')}
`,
);
writeFileSync('docs/settings.schema.json', `${JSON.stringify(settingsSchema(), null, 2)}\n`);
