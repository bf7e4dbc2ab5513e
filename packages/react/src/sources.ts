// Things that are subscribed to once, whoever shows them.
// Laws: making a source does nothing, so it may be made in render; what is behind it lives from the first listener to the
// last, and a listener that comes back in the same step, as under StrictMode, finds it alive.

/** A value that changes, as `useSyncExternalStore` wants it. */
export interface Source<T> {
  /** What it is of: one of a kind may stand in until another of the kind has begun. */
  readonly kind: string;
  /** Calls `listener` after each change, until the returned function is called. */
  readonly subscribe: (listener: () => void) => () => void;
  /** What it is now; the same value until it changes. */
  readonly current: () => T;
  /** What it is where nothing can be known, as on a server. */
  readonly nothing: () => T;
}

/** How a source comes to its values. */
export interface Spring<T> {
  /** Two sources of one key are one. */
  readonly key: string;
  readonly kind?: string;
  /** What it is where nothing can be known. */
  readonly nothing: T;
  /** What it is while nobody listens. */
  readonly idle?: () => T;
  /** Begins: calls `set` with each value, until the returned function is called. */
  readonly begin: (set: (value: T) => void) => () => void;
}

/** One source that somebody listens to. */
class Live<T> {
  readonly listeners = new Set<() => void>();
  value: T;
  stop: () => void = () => undefined;

  constructor(value: T) {
    this.value = value;
  }

  readonly set = (value: T): void => {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of [...this.listeners]) listener();
  };
}

/** The sources of one organisation. */
export class Sources {
  readonly #live = new Map<string, Live<unknown>>();

  /** Makes a source; nothing happens before somebody listens. */
  source<T>(spring: Spring<T>): Source<T> {
    const { key, nothing, idle } = spring;
    // A key belongs to one kind of value: whoever makes it says which.
    const live = () => this.#live.get(key) as Live<T> | undefined;
    return {
      kind: spring.kind ?? key,
      subscribe: (listener) => this.#subscribe(live() ?? this.#begin(spring), key, listener),
      current: () => live()?.value ?? (idle ? idle() : nothing),
      nothing: () => nothing,
    };
  }

  /** How many are subscribed to, for tests. */
  get size(): number {
    return this.#live.size;
  }

  #begin<T>(spring: Spring<T>): Live<T> {
    const live = new Live<T>(spring.idle ? spring.idle() : spring.nothing);
    this.#live.set(spring.key, live as Live<unknown>);
    try {
      live.stop = spring.begin(live.set);
    } catch (error) {
      this.#live.delete(spring.key);
      throw error;
    }
    return live;
  }

  #subscribe<T>(live: Live<T>, key: string, listener: () => void): () => void {
    // One function may listen twice; each time counts.
    const mine = () => listener();
    live.listeners.add(mine);
    return () => {
      if (!live.listeners.delete(mine) || live.listeners.size > 0) return;
      queueMicrotask(() => {
        if (live.listeners.size > 0 || this.#live.get(key) !== live) return;
        this.#live.delete(key);
        live.stop();
      });
    };
  }
}

/** A source that never is anything else. */
export function constant<T>(value: T): Source<T> {
  const current = () => value;
  return { kind: "constant", subscribe: () => () => undefined, current, nothing: current };
}
