// In-flight slots: what a worker is doing right now, in memory that outlives the worker. A slot is
// taken before an exchange is judged and freed by the daemon when the exchange is on file, so a
// worker that dies leaves the names of what it interrupted, and an audit that cannot keep up runs
// the worker out of slots instead of losing records.
//
//   0       8       16         80        112        368    370       384
//   ├───────┼───────┼──────────┼─────────┼──────────┼──────┼─────────┤
//   │ state │ time  │ sandbox  │ method  │ host     │ port │ ingress │
//   │ i32   │ f64   │ 1 + 63   │ 1 + 31  │ 1 + 253  │ u16  │ u8      │
import {
  EXCHANGES_PER_WORKER_MAX,
  HOST_BYTES_MAX,
  SANDBOX_NAME_BYTES_MAX,
} from '../base/limits.ts';
import type { Ingress } from '../proxy/exchange.ts';

const SLOT_BYTES = 384;
const TIME = 8; // f64
const SANDBOX = 16;
const METHOD = 80;
const METHOD_BYTES_MAX = 31;
const HOST = 112;
const PORT = 368; // u16
const INGRESS = 370; // u8, 1 for connect
const FREE = 0;
const OPEN = 1;

/** What is known of an exchange that never ended. */
export type Interrupted = {
  readonly slot: number;
  readonly timeMs: number;
  readonly sandbox: string;
  readonly ingress: Ingress;
  readonly method: string;
  readonly host: string;
  readonly port: number;
};

/** @returns memory for the slots of one worker, all free. */
export function createInflight(): SharedArrayBuffer {
  return new SharedArrayBuffer(EXCHANGES_PER_WORKER_MAX * SLOT_BYTES);
}

/** One worker's slots, from either side. */
export class Inflight {
  readonly #states: Int32Array;
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #cursor = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#states = new Int32Array(memory);
    this.#bytes = Buffer.from(memory);
    this.#view = new DataView(memory);
  }

  /**
   * Worker side: takes a free slot for an exchange.
   *
   * @returns the slot, or -1 when all are taken.
   */
  take(timeMs: number, ingress: Ingress, method: string, host: string, port: number): number {
    for (let tries = 0; tries < EXCHANGES_PER_WORKER_MAX; tries++) {
      const slot = this.#cursor;
      this.#cursor = (slot + 1) % EXCHANGES_PER_WORKER_MAX;
      if (Atomics.load(this.#states, stateAt(slot)) !== FREE) continue;
      const at = slot * SLOT_BYTES;
      this.#view.setFloat64(at + TIME, timeMs, true);
      this.#bytes[at + SANDBOX] = 0;
      this.#write(at + METHOD, method, METHOD_BYTES_MAX);
      this.#write(at + HOST, host, HOST_BYTES_MAX);
      this.#view.setUint16(at + PORT, port, true);
      this.#bytes[at + INGRESS] = ingress === 'connect' ? 1 : 0;
      Atomics.store(this.#states, stateAt(slot), OPEN);
      return slot;
    }
    return -1;
  }

  /** Worker side: adds who is asking, once known. */
  name(slot: number, sandbox: string): void {
    this.#write(slot * SLOT_BYTES + SANDBOX, sandbox, SANDBOX_NAME_BYTES_MAX);
  }

  /** Daemon side: the exchange is on file. */
  free(slot: number): void {
    Atomics.store(this.#states, stateAt(slot), FREE);
  }

  /** Daemon side, after the worker has died: what it left open. */
  interrupted(): Interrupted[] {
    const found: Interrupted[] = [];
    for (let slot = 0; slot < EXCHANGES_PER_WORKER_MAX; slot++) {
      if (Atomics.load(this.#states, stateAt(slot)) !== OPEN) continue;
      const at = slot * SLOT_BYTES;
      found.push({
        slot,
        timeMs: this.#view.getFloat64(at + TIME, true),
        sandbox: this.#read(at + SANDBOX),
        ingress: this.#bytes[at + INGRESS] === 1 ? 'connect' : 'forward',
        method: this.#read(at + METHOD),
        host: this.#read(at + HOST),
        port: this.#view.getUint16(at + PORT, true),
      });
    }
    return found;
  }

  #write(at: number, text: string, bytesMax: number): void {
    this.#bytes[at] = this.#bytes.write(text, at + 1, bytesMax, 'latin1');
  }

  #read(at: number): string {
    const length = this.#bytes[at] ?? 0;
    return this.#bytes.toString('latin1', at + 1, at + 1 + length);
  }
}

function stateAt(slot: number): number {
  return (slot * SLOT_BYTES) / Int32Array.BYTES_PER_ELEMENT;
}
