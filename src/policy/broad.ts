// Allow rules that open more than people mean: a small list, each entry with its reason. What is not on
// it may be broad all the same.
import { covers } from './covers.ts';
import { parseResources, type Resource } from './resource.ts';
import type { Rule } from './rule.ts';

type Entry = {
  readonly text: string;
  readonly resource: Resource;
  readonly reason: string;
  /** A path of an HTTP rule can narrow it down; else only another host can. */
  readonly byPath: boolean;
};

const TENANTS =
  'anybody can have a name there, and receive what is sent to it; name the one you use';
const CONTENT =
  'anybody can publish there, or read what is put there; narrow it with --method and --path';
const CDN = 'it serves the content of any of its customers; name the host you use';
/** Of addresses that no proposal opens. */
export const METADATA = 'clouds hand out credentials there to whoever asks';

/** Everybody's names under one domain. */
const SHARED: readonly (readonly [reason: string, patterns: readonly string[]])[] = [
  [
    TENANTS,
    [
      '*.amazonaws.com',
      '*.s3.amazonaws.com',
      '*.googleapis.com',
      '*.blob.core.windows.net',
      '*.azurewebsites.net',
      '*.digitaloceanspaces.com',
      '*.r2.dev',
      '*.workers.dev',
      '*.pages.dev',
      '*.github.io',
      '*.gitlab.io',
      '*.netlify.app',
      '*.vercel.app',
      '*.herokuapp.com',
      '*.appspot.com',
      '*.run.app',
      '*.web.app',
      '*.firebaseapp.com',
      '*.ngrok.io',
      '*.ngrok-free.app',
      '*.trycloudflare.com',
      '*.githubusercontent.com',
    ],
  ],
  [CDN, ['*.cloudfront.net', '*.fastly.net', '*.akamaized.net', '*.azureedge.net']],
];

/** Single hosts that serve everybody's content under their paths. */
const CONTENT_HOSTS = [
  'raw.githubusercontent.com',
  'gist.githubusercontent.com',
  'gist.github.com',
  'storage.googleapis.com',
  's3.amazonaws.com',
  'cdn.jsdelivr.net',
  'unpkg.com',
  'pastebin.com',
  'transfer.sh',
  'webhook.site',
];

/** Under these, names are given out one level lower than under a top-level domain. */
const SECOND_LEVEL_SUFFIXES: ReadonlySet<string> = new Set([
  ...['co.uk', 'org.uk', 'ac.uk', 'gov.uk', 'me.uk', 'ltd.uk', 'plc.uk', 'net.uk', 'sch.uk'],
  ...['com.au', 'net.au', 'org.au', 'edu.au', 'gov.au', 'id.au'],
  ...['co.jp', 'ne.jp', 'or.jp', 'ac.jp', 'go.jp', 'ad.jp', 'ed.jp', 'gr.jp', 'lg.jp'],
  ...['co.nz', 'net.nz', 'org.nz', 'govt.nz', 'ac.nz', 'co.za', 'org.za', 'co.il', 'org.il'],
  ...['com.br', 'net.br', 'org.br', 'gov.br', 'com.cn', 'net.cn', 'org.cn', 'gov.cn', 'edu.cn'],
  ...['co.in', 'net.in', 'org.in', 'gov.in', 'ac.in', 'firm.in', 'gen.in', 'ind.in'],
  ...['co.kr', 'or.kr', 'go.kr', 'ac.kr', 'com.tw', 'org.tw', 'com.hk', 'org.hk', 'com.sg'],
  ...['com.mx', 'com.ar', 'com.tr', 'com.ua', 'com.pl', 'com.my', 'com.ph', 'com.vn', 'co.id'],
  ...['com.co', 'com.pe', 'com.ve', 'com.eg', 'com.sa', 'com.ng', 'co.ke', 'co.th', 'in.th'],
  ...['eu.org', 'uk.com', 'us.com', 'de.com', 'gb.net', 'co.com', 'eu.com', 'ru.com', 'za.com'],
]);

const METADATA_ADDRESSES = ['169.254.169.254', '100.100.100.200', '168.63.129.16'];

function entriesOf(texts: readonly string[], reason: string, byPath: boolean): Entry[] {
  return parseResources(texts.join(',')).map((resource) => ({
    text: resource.text,
    resource,
    reason,
    byPath,
  }));
}

const ENTRIES: readonly Entry[] = [
  ...SHARED.flatMap(([reason, texts]) => entriesOf(texts, reason, false)),
  ...entriesOf(CONTENT_HOSTS, CONTENT, true),
  ...entriesOf(METADATA_ADDRESSES, METADATA, false),
];

const V4_LENGTH_MIN = 8;
const V6_LENGTH_MIN = 19; // Regional registries have /12 to /23.

/** The domain that somebody has who has this name: `a.example.co.uk` is of `example.co.uk`. */
export function siteOf(host: string): string {
  const labels = host.split('.');
  const suffix = SECOND_LEVEL_SUFFIXES.has(labels.slice(-2).join('.')) ? 2 : 1;
  return labels.slice(-suffix - 1).join('.');
}

/** @returns why what an allow rule opens by one of its resources is broad; null when it is not. */
export function broadness(resource: Resource, rule: Pick<Rule, 'http'>): string | null {
  return broadForm(resource) ?? listed(resource, rule);
}

function broadForm(resource: Resource): string | null {
  if (resource.kind === 'any') return 'it opens every host and every public address';
  if (resource.kind === 'cidr') {
    const least = resource.bytes.length === 4 ? V4_LENGTH_MIN : V6_LENGTH_MIN;
    return resource.prefixLength < least ? 'the range is larger than any one network' : null;
  }
  if (resource.prefix === 'none') return null;
  const suffix = resource.labels.join('.');
  if (resource.labels.length === 1) return `it opens a whole top-level domain, ${suffix}`;
  return SECOND_LEVEL_SUFFIXES.has(suffix) ? `everybody's domains are under ${suffix}` : null;
}

function listed(resource: Resource, { http }: Pick<Rule, 'http'>): string | null {
  const narrowed = http !== undefined && !http.paths.includes('/**');
  const portless = { ...resource, port: 0 };
  const entry = ENTRIES.find((one) => covers(portless, one.resource) && !(one.byPath && narrowed));
  return entry === undefined ? null : `it opens ${entry.text}: ${entry.reason}`;
}
