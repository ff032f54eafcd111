// Certificates for origins, made by openssl and not by the code under test.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** PEM. */
export type Issued = { readonly key: string; readonly cert: string };

type Wanted = {
  /** As openssl writes it: `DNS:localhost`, `IP:127.0.0.1`. */
  readonly names: string;
  /** Negative: expired. */
  readonly days?: number;
  readonly key?: 'ec' | 'rsa1024' | 'rsa2048';
  /** Makes an authority that can issue in turn. */
  readonly authority?: boolean;
  /** Further extensions, as openssl writes them. */
  readonly extensions?: readonly string[];
  readonly digest?: 'sha1' | 'sha256';
  /** The first moment of its time, as openssl writes it: `20990101000000Z`; then `days` is not looked at. */
  readonly from?: string;
};

const KEYS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa1024: ['-newkey', 'rsa:1024'],
  rsa2048: ['-newkey', 'rsa:2048'],
} as const;

function openssl(...words: string[]): void {
  execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** An authority of the tests, and what it issues. */
export class TestAuthority {
  readonly #folder: string;
  readonly #stem: string;
  #serial = 0;

  private constructor(folder: string, stem: string) {
    this.#folder = folder;
    this.#stem = stem;
  }

  static create(name = 'Test Authority'): TestAuthority {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-certificates-'));
    const stem = join(folder, 'root');
    const files = ['-keyout', `${stem}.key`, '-out', `${stem}.pem`];
    openssl('req', '-x509', ...KEYS.ec, '-nodes', ...files, '-days', '2', '-subj', `/CN=${name}`);
    return new TestAuthority(folder, stem);
  }

  /** A certificate under itself, and no authority. */
  static selfSigned(names: string): Issued {
    const stem = join(mkdtempSync(join(tmpdir(), 'sallyport-certificates-')), 'self');
    const files = ['-keyout', `${stem}.key`, '-out', `${stem}.pem`];
    const about = ['-subj', '/CN=self', '-addext', `subjectAltName=${names}`];
    openssl('req', '-x509', ...KEYS.ec, '-nodes', ...files, '-days', '2', ...about);
    return { key: readFileSync(`${stem}.key`, 'utf8'), cert: readFileSync(`${stem}.pem`, 'utf8') };
  }

  /** Its own certificate, PEM. */
  get pem(): string {
    return readFileSync(`${this.#stem}.pem`, 'utf8');
  }

  get keyPem(): string {
    return readFileSync(`${this.#stem}.key`, 'utf8');
  }

  issue(wanted: Wanted): Issued {
    const stem = this.#issue(wanted);
    return { key: readFileSync(`${stem}.key`, 'utf8'), cert: readFileSync(`${stem}.pem`, 'utf8') };
  }

  /** An authority below this one, or something that would like to be one. */
  below(wanted: Partial<Wanted> = {}): TestAuthority {
    const below = { names: 'DNS:below', authority: true, ...wanted };
    return new TestAuthority(this.#folder, this.#issue(below));
  }

  #issue({ names, days = 2, key = 'ec', authority = false, ...more }: Wanted): string {
    const stem = `${this.#stem}-${this.#serial++}`;
    const extensions = authority
      ? 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n'
      : `subjectAltName=${names}\n`;
    writeFileSync(
      `${stem}.ext`,
      extensions + (more.extensions ?? []).map((one) => `${one}\n`).join(''),
    );
    const files = ['-keyout', `${stem}.key`, '-out', `${stem}.csr`];
    openssl('req', ...KEYS[key], '-nodes', ...files, '-subj', `/CN=${names.replace(/\W/g, '-')}`);
    const made = ['-extfile', `${stem}.ext`, '-in', `${stem}.csr`, '-out', `${stem}.pem`];
    const { digest = 'sha256', from } = more;
    if (from !== undefined) {
      this.#issueFrom(from, made);
      return stem;
    }
    const issuer = ['-CA', `${this.#stem}.pem`, '-CAkey', `${this.#stem}.key`, '-CAcreateserial'];
    openssl('x509', '-req', ...issuer, ...made, `-${digest}`, '-days', String(days));
    return stem;
  }

  /** Only `openssl ca` lets one say when a certificate begins; it wants a small database for that. */
  #issueFrom(from: string, made: readonly string[]): void {
    const base = `${this.#stem}-ca`;
    writeFileSync(`${base}.index`, '');
    writeFileSync(
      `${base}.conf`,
      `[ca]\ndefault_ca=x\n[x]\nnew_certs_dir=${this.#folder}\ndatabase=${base}.index\n` +
        'rand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=optional\n',
    );
    const issuer = ['-cert', `${this.#stem}.pem`, '-keyfile', `${this.#stem}.key`];
    const time = ['-startdate', from, '-enddate', '21000101000000Z'];
    openssl('ca', '-batch', '-notext', '-config', `${base}.conf`, ...issuer, ...made, ...time);
  }
}

/** One for a whole test file, with what most tests need of it. */
export function localhostCertificate(): Issued & { readonly authority: string } {
  const authority = TestAuthority.create();
  return { ...authority.issue({ names: 'DNS:localhost,IP:127.0.0.1' }), authority: authority.pem };
}
