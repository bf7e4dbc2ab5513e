// The last events, and how many came before them.
// Law: bounded, whatever comes; while it is paused, what is shown stands still and what comes is counted.

/** One event, as it is kept. */
export interface Kept<T> {
  readonly number: number;
  readonly event: T;
}

/** The last events. */
export interface Ring<T> {
  readonly kept: readonly Kept<T>[];
  /** How many came in all. */
  readonly count: number;
  /** What was there when it was paused; undefined while it goes on. */
  readonly frozen: readonly Kept<T>[] | undefined;
  /** How many had come when it was paused. */
  readonly frozenCount: number;
}

/** A ring with nothing in it. */
export const EMPTY_RING: Ring<never> = { kept: [], count: 0, frozen: undefined, frozenCount: 0 };

/** Takes an event in; at most `eventsMax` are kept. */
export function added<T>(ring: Ring<T>, event: T, eventsMax: number): Ring<T> {
  const count = ring.count + 1;
  return { ...ring, count, kept: [...ring.kept, { number: count, event }].slice(-eventsMax) };
}

/** Stands still, or goes on. */
export function paused<T>(ring: Ring<T>, isPaused: boolean): Ring<T> {
  return isPaused
    ? { ...ring, frozen: ring.frozen ?? ring.kept, frozenCount: ring.frozen ? ring.frozenCount : ring.count }
    : { ...ring, frozen: undefined, frozenCount: 0 };
}

/** What is to be shown. */
export function shownOf<T>(ring: Ring<T>): { readonly events: readonly Kept<T>[]; readonly dropped: number; readonly since: number } {
  const events = ring.frozen ?? ring.kept;
  const upTo = ring.frozen ? ring.frozenCount : ring.count;
  return { events, dropped: upTo - events.length, since: ring.frozen ? ring.count - ring.frozenCount : 0 };
}
