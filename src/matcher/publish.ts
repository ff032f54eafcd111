// The one writer of images. It writes a compiled policy where no lane reads, moves all lanes to it
// by one atomic store, and answers when no lane is left in the one before. Readers never wait for it.
import { randomInt } from 'node:crypto';
import { setImmediate, setTimeout } from 'node:timers/promises';
import {
  CONTROL_DESCRIPTORS,
  CONTROL_SEQUENCE,
  DESCRIPTOR_BASE,
  DESCRIPTOR_BYTES,
  DESCRIPTOR_GENERATION,
  DESCRIPTOR_LENGTH,
  HEADER_GENERATION,
  IMAGE_ALIGN,
  IMAGES_BASE,
  LANE_BYTES,
  LANE_EPOCH,
  LANES_BASE,
  LANES_MAX,
} from '../../assembly/layout.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { SallyportError } from '../base/errors.ts';
import { PUBLISH_WAIT_MS_MAX } from '../base/limits.ts';
import { type CompiledImage, compile } from '../policy/compile.ts';
import { Scratch } from '../policy/compile-scratch.ts';
import type { Rule } from '../policy/rule.ts';
import { createMemory, growTo, loadModule } from './memory.ts';

/** A policy that compiled and fits, but is not in force. */
export type Prepared = {
  readonly image: CompiledImage;
  readonly scratch: Scratch;
  readonly compileMs: number;
};

export type Publication = {
  readonly generation: number;
  readonly bytes: number;
  readonly compileMs: number;
  /** From the first byte written to the last lane gone. */
  readonly commitMs: number;
};

export type PublisherOptions = {
  readonly clock?: Clock;
  readonly waitMs?: number;
  /** Start of the name hashes, 32 bits; random unless a test needs one. */
  readonly seed?: number;
};

/** A lane that was inside a match when the images were switched. */
type Straggler = { readonly lane: number; readonly epoch: number };

const IMMEDIATES_MAX = 200; // Past this a lane's thread is not running; look once a millisecond.

export class Publisher {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly #clock: Clock;
  readonly #waitMs: number;
  readonly #words: Int32Array;
  readonly #seed: number;
  #active = { base: IMAGES_BASE, end: IMAGES_BASE };
  #sequence = 0;
  #generation = 0;
  #stragglers: Straggler[] = [];
  #scratch: Scratch | null = null;
  readonly #committed = new WeakSet<CompiledImage>();
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(clock: Clock, waitMs: number, seed: number) {
    this.#seed = seed;
    this.memory = createMemory();
    this.module = loadModule();
    this.#clock = clock;
    this.#waitMs = waitMs;
    this.#words = new Int32Array(this.memory.buffer, 0, IMAGES_BASE / 4);
  }

  /** A publisher with a memory of its own, in which nothing is published: every answer is deny. */
  static async create(options: PublisherOptions = {}): Promise<Publisher> {
    const {
      clock = systemClock,
      waitMs = PUBLISH_WAIT_MS_MAX,
      seed = randomInt(2 ** 32),
    } = options;
    return new Publisher(clock, waitMs, seed);
  }

  /** Of the policy in force; 0 before the first. */
  get generation(): number {
    return this.#generation;
  }

  /** Prepares and commits. @throws what those throw */
  async publish(rules: readonly Rule[]): Promise<Publication> {
    return this.commit(this.prepare(rules));
  }

  /**
   * Compiles rules without putting them in force. Blocks this thread for up to a second.
   *
   * @throws SALLYPORT_POLICY_TOO_LARGE, naming the size; the policy in force stays.
   */
  prepare(rules: readonly Rule[]): Prepared {
    const startMs = this.#clock.monotonicMs();
    const scratch = this.#scratch ?? new Scratch();
    this.#scratch = null; // The prepared image lives in it until it is committed.
    const image = compile(rules, { seed: this.#seed, scratch });
    return { image, scratch, compileMs: this.#clock.monotonicMs() - startMs };
  }

  /**
   * Puts a prepared policy in force in every lane. Commits take turns in the order of the calls.
   *
   * @returns when every match from now on uses it, and none uses the one before.
   * @throws  SALLYPORT_POLICY_TOO_LARGE  no memory; the policy in force stays.
   * @throws  SALLYPORT_PUBLISH_TIMEOUT   a lane is stuck inside a match. Stuck in the policy before
   *          the last: nothing was changed. Stuck in the last: the new one is in force but there.
   */
  commit(prepared: Prepared): Promise<Publication> {
    const mine = this.#turn.then(() => this.#commit(prepared));
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  /** Declares a lane empty: its thread has died, perhaps inside a match. */
  releaseLane(lane: number): void {
    const at = epochAt(lane);
    const epoch = Atomics.load(this.#words, at);
    if (epoch & 1) Atomics.store(this.#words, at, epoch + 1);
  }

  async #commit({ image, scratch, compileMs }: Prepared): Promise<Publication> {
    const startMs = this.#clock.monotonicMs();
    if (this.#committed.has(image)) {
      throw new SallyportError('SALLYPORT_INTERNAL', 'a prepared policy is committed once');
    }
    await this.#settle();
    const base = this.#placeFor(image.bytes);
    growTo(this.memory, base + image.bytes);
    this.#write(image, base, this.#generation + 1);
    this.#committed.add(image);
    this.#scratch = scratch;
    this.#active = { base, end: base + image.bytes };
    this.#generation += 1;
    const generation = this.#generation;
    this.#switchTo(base, image.bytes, generation);
    await this.#settle();
    const commitMs = this.#clock.monotonicMs() - startMs;
    return { generation, bytes: image.bytes, compileMs, commitMs };
  }

  /** Before the active image if it fits there, else behind it. */
  #placeFor(bytes: number): number {
    if (this.#generation === 0 || IMAGES_BASE + bytes <= this.#active.base) return IMAGES_BASE;
    return Math.ceil(this.#active.end / IMAGE_ALIGN) * IMAGE_ALIGN;
  }

  #write({ parts }: CompiledImage, base: number, generation: number): void {
    const target = new Uint8Array(this.memory.buffer, base);
    let at = 0;
    for (const part of parts) {
      target.set(part, at);
      at += part.length;
    }
    new DataView(this.memory.buffer, base).setUint32(HEADER_GENERATION, generation, true);
  }

  /** No lane reads the idle descriptor: whoever could is a straggler, and those are gone. */
  #switchTo(base: number, bytes: number, generation: number): void {
    this.#sequence += 1;
    const at = (CONTROL_DESCRIPTORS + (this.#sequence & 1) * DESCRIPTOR_BYTES) / 4;
    this.#words[at + DESCRIPTOR_BASE / 4] = base;
    this.#words[at + DESCRIPTOR_LENGTH / 4] = bytes;
    this.#words[at + DESCRIPTOR_GENERATION / 4] = generation;
    Atomics.store(this.#words, CONTROL_SEQUENCE / 4, this.#sequence);
    for (let lane = 0; lane < LANES_MAX; lane++) {
      const epoch = Atomics.load(this.#words, epochAt(lane));
      if (epoch & 1) this.#stragglers.push({ lane, epoch });
    }
  }

  /** Waits until no lane is left in an older image. @throws SALLYPORT_PUBLISH_TIMEOUT */
  async #settle(): Promise<void> {
    const deadlineMs = this.#clock.monotonicMs() + this.#waitMs;
    for (let looks = 0; ; looks++) {
      this.#stragglers = this.#stragglers.filter(
        ({ lane, epoch }) => Atomics.load(this.#words, epochAt(lane)) === epoch,
      );
      const [first] = this.#stragglers;
      if (first === undefined) return;
      if (this.#clock.monotonicMs() > deadlineMs) {
        throw new SallyportError(
          'SALLYPORT_PUBLISH_TIMEOUT',
          `lane ${first.lane} has not left the policy before generation ${this.#generation}`,
        );
      }
      await (looks < IMMEDIATES_MAX ? setImmediate() : setTimeout(1));
    }
  }
}

function epochAt(lane: number): number {
  return (LANES_BASE + lane * LANE_BYTES + LANE_EPOCH) / 4;
}
