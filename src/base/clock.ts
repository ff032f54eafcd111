/** Time as the product sees it. Tests hand in their own; nothing else may read a clock. */
export type Clock = {
  /** Milliseconds since the Unix epoch, for records that people read. */
  readonly wallMs: () => number;
  /** Monotonic milliseconds with a fraction, for durations and deadlines. */
  readonly monotonicMs: () => number;
};

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
