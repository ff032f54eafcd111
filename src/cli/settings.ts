// `settings list|get|set|unset|schema`. With a daemon they go through it, so that a change is in force when
// it is answered; without one they work on the file, which the next start reads.
import type { Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import type { ControlClient } from '../control/api/client.ts';
import { createFolders } from '../control/paths.ts';
import { instanceOptions } from '../control/settings/effect.ts';
import { checkKey, settingsSchema } from '../control/settings/file.ts';
import { readValue, SETTING_KEYS, SETTINGS, type SettingKey } from '../control/settings/keys.ts';
import type { LiveRecord } from '../control/settings/live.ts';
import { removeOverride, type SettingRecord, Settings } from '../control/settings/settings.ts';
import { type Context, clientFor, isRunning, printJson } from './context.ts';
import { absoluteOf } from './daemon-options.ts';
import { table } from './render.ts';

/** Without a daemon nothing waits for its restart. */
type Told = SettingRecord & Partial<Pick<LiveRecord, 'restart_pending'>>;

type Store = {
  records(): Promise<readonly Told[]>;
  set(key: SettingKey, value: unknown): Promise<Told>;
  unset(key: string): Promise<Told | null>;
};

export function addSettingCommands(program: Command, context: Context): void {
  const settings = program
    .command('settings')
    .description(
      'what the proxy goes by: option of the start, else variable, else file, else default',
    );
  settings
    .command('list')
    .alias('ls')
    .description('list all settings with their values and where these come from')
    .option('--no-trunc', 'whole values and descriptions, one setting a block')
    .option('--json', 'print JSON')
    .action((options: { trunc: boolean; json?: boolean }) => list(context, options));
  settings
    .command('get')
    .argument('<key>')
    .description('print the value of a setting')
    .option('--json', 'print JSON, with where it comes from')
    .action((key: string, { json }: { json?: boolean }) => get(context, key, json === true));
  settings
    .command('set')
    .argument('<key>')
    .argument('<value>', 'a list is JSON, or its elements with commas between')
    .description('write a setting to the file')
    .option('--json', 'print JSON')
    .addHelpText('after', EXAMPLES)
    .action((key: string, value: string, { json }: { json?: boolean }) =>
      set(context, key, value, json === true),
    );
  settings
    .command('unset')
    .argument('<key>')
    .description('take a setting out of the file')
    .option('--json', 'print JSON')
    .action((key: string, { json }: { json?: boolean }) => unset(context, key, json === true));
  settings
    .command('schema')
    .description('print the JSON Schema of the file')
    .action(() => printJson(context, settingsSchema()));
}

const EXAMPLES = `
Examples:
  $ sallyport settings set network.bypass "pinned.example.com,*.bank.example"
  $ sallyport settings set policy.defaults removable
  $ sallyport settings set daemon.listen 127.0.0.1:8080 && sallyport daemon restart
`;

async function list(
  context: Context,
  { trunc, json }: { trunc: boolean; json?: boolean },
): Promise<void> {
  const records = await withStore(context, (store) => store.records());
  if (json) return printJson(context, records);
  if (!trunc) return context.out(records.map(blockOf).join('\n'));
  const rows = records.map((record) => [
    record.key,
    shortened(textOf(record.value), VALUE_COLUMNS),
    record.type,
    record.source,
    restartCell(record),
    shortened(record.description, DESCRIPTION_COLUMNS),
  ]);
  context.out(table(['KEY', 'VALUE', 'TYPE', 'SOURCE', 'RESTART', 'DESCRIPTION'], rows));
  if (rows.some((row) => row.some((cell) => cell.endsWith('…')))) {
    context.out('\nSome fields were truncated; use --no-trunc or --json to see them in full.\n');
  }
  if (records.some(({ restart_pending: pending }) => pending)) {
    context.out('\nRESTART=pending: the value is in use after `sallyport daemon restart`.\n');
  }
}

async function get(context: Context, key: string, json: boolean): Promise<void> {
  const wanted = checkKey(key);
  const records = await withStore(context, (store) => store.records());
  for (const record of records) {
    if (record.key !== wanted) continue;
    if (json) printJson(context, record);
    else context.out(`${textOf(record.value)}\n`);
  }
}

async function set(context: Context, name: string, text: string, json: boolean): Promise<void> {
  const key = checkKey(name);
  const value = absoluteOf(key, readValue(key, text));
  const record = await withStore(context, (store) => store.set(key, value));
  if (json) return printJson(context, record);
  context.out(`${key} set to ${textOf(value)}\n${consequences(record, context)}`);
}

async function unset(context: Context, key: string, json: boolean): Promise<void> {
  const record = await withStore(context, (store) => store.unset(key));
  if (json) return printJson(context, record ?? { key, removed: true });
  context.out(`${key} is not set in ${context.paths.settings}\n`);
  if (record !== null) context.out(consequences(record, context));
}

/** What of a change does not hold, and why. */
function consequences(record: Told, { program }: Context): string {
  const { source, option, env_var: variable } = record;
  const winner = { option: `${option} of the last start`, envvar: variable };
  const lines =
    source === 'option' || source === 'envvar'
      ? [`It has no effect: ${winner[source]} wins, with ${textOf(record.value)}`]
      : [];
  if (record.restart_pending) {
    lines.push(`It takes effect at the next start: ${program} daemon restart`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

async function withStore<T>(context: Context, use: (store: Store) => Promise<T>): Promise<T> {
  const client = clientFor(context);
  try {
    return await use((await isRunning(client)) ? ofDaemon(client) : ofFile(context));
  } finally {
    await client.close();
  }
}

function ofDaemon(client: ControlClient): Store {
  const place = (key: string): string => `/daemon/settings/${encodeURIComponent(key)}`;
  return {
    records: async () =>
      (await client.get<{ settings: LiveRecord[] }>('/daemon/settings')).settings,
    set: (key, value) => client.put<LiveRecord>(place(key), { value }),
    unset: (key) => client.delete<LiveRecord>(place(key)),
  };
}

function ofFile({ paths, env }: Context): Store {
  const load = (): Settings => Settings.load({ path: paths.settings, env, given: {} });
  return {
    records: async () => load().records(),
    set: async (key, value) => {
      createFolders(paths);
      const next = load().with(key, value);
      instanceOptions(next.values, systemClock.wallMs()); // What could not start is not written.
      next.save();
      return next.record(key);
    },
    unset: async (name) => {
      removeOverride(paths.settings, name);
      const key = SETTING_KEYS.find((one) => one === name);
      return key === undefined ? null : load().record(key);
    },
  };
}

const VALUE_COLUMNS = 32;
const DESCRIPTION_COLUMNS = 48;

function shortened(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, columns - 1)}…`;
}

function restartCell({ requires_restart: needed, restart_pending: pending }: Told): string {
  if (pending) return 'pending';
  return needed ? 'yes' : '';
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function blockOf(record: Told): string {
  const { key, type, source, option, env_var: variable } = record;
  const lines = [
    ['Value', textOf(record.value)],
    ['Default', textOf(record.default)],
    ['Type', type],
    ['Source', source],
    ['Variable', variable],
    ...(option === '' ? [] : [['Option', `daemon start ${option}`]]),
    ['Restart', restartCell(record) || 'no'],
    ['Description', SETTINGS[key].description],
  ];
  return `${key}\n${lines.map(([name = '', text]) => `  ${`${name}:`.padEnd(13)}${text}\n`).join('')}`;
}
