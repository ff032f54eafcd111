// Every value that crosses between the daemon and a worker thread. Policy does not: it is in the
// shared memory (src/matcher), in force without a message.
import type { MessagePort } from 'node:worker_threads';
import type { Binding } from '../credentials/binding.ts';
import type { KeyPair } from '../credentials/client-certificate.ts';
import type { KitPhase } from '../policy/rule.ts';
import type { Refused } from '../proxy/record.ts';
import type { AuthorityMaterial } from '../tls/authority.ts';
import type { ApprovalAnswer, ApprovalQuestion } from './approvals.ts';
import type { Question } from './demands.ts';
import type { OutcomeBatch } from './outcomes.ts';

/** Where a worker listens. A unix path cannot be shared between threads: one worker takes it. */
export type Listen =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** What a worker knows of a sandbox: enough to recognise it, nothing to impersonate it. */
export type SandboxRecord = {
  readonly name: string;
  /** The number that rules are scoped by; never reused. */
  readonly scope: number;
  /** Hex SHA-256 of the token. */
  readonly tokenSha256: string;
  /** Its own listener, on which no authentication is asked; null for none. */
  readonly listen: Listen | null;
  /** Canonical source address that identifies it on the shared listener; null for none. */
  readonly sourceAddress: string | null;
  /** Where its refused CONNECTs are told; null: as the settings say. */
  readonly deny: 'inside' | 'connect' | null;
  /** When it changes, what the sandbox has open ends. */
  readonly phase: KitPhase;
};

export type ServeSettings = {
  readonly listen: Listen & { readonly kind: 'tcp' };
  /** Share the port between threads (SO_REUSEPORT). */
  readonly reusePort: boolean;
  /** Whether unauthenticated loopback clients are taken for this sandbox; null: they get 407. */
  readonly defaultSandbox: string | null;
  /** `docker`: `**` and names may lead to private addresses, as sbx itself allows. */
  readonly addressGuard: 'strict' | 'docker';
  readonly via: boolean;
  readonly forwardedFor: boolean;
  /** Addresses (`ip:port`) of the proxy itself and of the control API: never dialled. */
  readonly ownAddresses: readonly string[];
  /** Name servers (`ip` or `ip:port`) asked instead of the system's resolver; empty: the system's. */
  readonly dnsServers: readonly string[];
  readonly logLevel: string;
  /** Where a refused CONNECT is told: by its status, or inside TLS. */
  readonly deny: 'inside' | 'connect';
  /** Resources that are never intercepted. */
  readonly bypass: readonly string[];
  /** Ends the refusals of an organisation's policy; null: none governs, or has nothing to say. */
  readonly supportMessage: string | null;
  /** Whether what no rule covers is put before a person. */
  readonly approvals: boolean;
  /** PEM of authorities that destinations may have beside the system's. */
  readonly upstreamAuthorities: readonly string[];
  /** Resources that a client certificate is presented to. Its key is asked for with `certificate`. */
  readonly clientCertificates: readonly string[];
  /** What the leaves of intercepted hosts are signed with. */
  readonly authority: AuthorityMaterial;
  /** 48 bytes, the same for all workers: a session begun on one goes on on another. */
  readonly ticketKeys: Uint8Array;
};

/** The argument of the Piscina task workers/serve.ts. */
export type ServeTask = {
  /** 0-based; also the lane. Worker 0 owns the unix listeners. */
  readonly worker: number;
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  /** In-flight slots, see workers/inflight.ts. */
  readonly inflight: SharedArrayBuffer;
  readonly settings: ServeSettings;
  readonly sandboxes: readonly SandboxRecord[];
  /** Credentials with their values: for this process's threads alone. */
  readonly bindings: readonly Binding[];
  /** Whether exchanges may begin; see the message `audit`. */
  readonly auditAvailable: boolean;
  /** For one sandbox at one time. */
  readonly lookupsMax: number;
  readonly port: MessagePort;
};

export type ToWorker =
  /** Replaces all sandboxes, bindings and settings; answered by `configured` with the same number. */
  | {
      readonly type: 'configure';
      readonly number: number;
      readonly settings: ServeSettings;
      readonly sandboxes: readonly SandboxRecord[];
      readonly bindings: readonly Binding[];
    }
  /** The answer to `demand` and `keep`: the bindings that this worker has now hold a fresh value, or an error. */
  | { readonly type: 'demanded'; readonly number: number; readonly error: string | null }
  /** The answer to `certificate`: for this process's threads alone. */
  | { readonly type: 'certified'; readonly resource: string; readonly pair: KeyPair | null }
  /** Whether records can be written: while they cannot, no exchange begins. */
  | { readonly type: 'audit'; readonly available: boolean }
  | ApprovalAnswer
  /** Stop accepting, finish what runs within the time, then end the task. */
  | { readonly type: 'drain'; readonly timeoutMs: number };

export type FromWorker =
  /** All listeners accept; `port` is the one in use when 0 was asked for. */
  | { readonly type: 'listening'; readonly port: number; readonly threadId: number }
  | { readonly type: 'configured'; readonly number: number; readonly error: string | null }
  /** Have a secret ready, or keep one; answered by `demanded` with the same number. */
  | Question
  | ApprovalQuestion
  /** A destination is dialled that this client certificate is for; answered by `certified`. */
  | { readonly type: 'certificate'; readonly resource: string }
  | { readonly type: 'outcomes'; readonly batch: OutcomeBatch }
  /** Exchanges that did not take place, since none could be recorded. */
  | { readonly type: 'refused'; readonly refused: readonly Refused[] }
  | {
      readonly type: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly message: string;
      readonly facts: Readonly<Record<string, unknown>>;
    };
