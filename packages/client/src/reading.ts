// Rows as a person sees them: live lists, and single rows that are watched.
// Laws: a row that did not change stays the same object; listeners are called once for everything that came together;
// a list is wanted of the machine exactly while somebody listens to it.

import { AntiphonError, codeOf } from "./fault.js";
import type { EntityKey, Fields, Told } from "./words.js";

/** Calls the machine. */
export type Call = (verb: Readonly<Record<string, unknown>>) => unknown;

/** Conditions on one field: a value it equals, or bounds. */
export type Condition<V> = V | { readonly gt?: V; readonly gte?: V; readonly lt?: V; readonly lte?: V };

/** Which rows a list holds, and in which order. */
export interface QueryOptions<Row> {
  /** All of these must hold. */
  readonly where?: { readonly [F in keyof Row]?: Condition<Row[F]> };
  /** Fields to order by; a minus turns one around. Nulls come last, texts go by bytes, and the key decides ties. */
  readonly order?: readonly ((keyof Row & string) | `-${keyof Row & string}`)[];
  /** The first so many rows. */
  readonly limit?: number;
}

/** What a live list shows at one moment. */
export interface Snapshot<Row> {
  /** The rows, in order. A row that did not change is the same object as before. */
  readonly rows: readonly Row[];
  /** Their ids, in the same order. */
  readonly ids: readonly string[];
  /** Whether all rows of the list are on this device. */
  readonly complete: boolean;
  /** Why the list cannot be had: a code; null where it can. */
  readonly refused: string | null;
}

/** Keeps rows as the machine shows them, and tells who watches. */
export class Reading {
  readonly #call: Call;
  readonly #shown = new Map<string, { text: string; row: Fields }>();
  /** Rows that were shown, and may look different by now. */
  readonly #stale = new Set<string>();
  readonly #lists = new Set<LiveList>();
  readonly #watchers = new Map<string, Set<() => void>>();

  constructor(call: Call) {
    this.#call = call;
  }

  /** The row as a person sees it. */
  row(entityType: string, entityId: string): Fields | undefined {
    const key = nameOf({ entityType, entityId });
    const row = this.#call({ do: "view", entityType, entityId }) as Fields | null;
    this.#stale.delete(key);
    if (row === null) {
      this.#shown.delete(key);
      return undefined;
    }
    const text = JSON.stringify(row);
    const before = this.#shown.get(key);
    if (before?.text === text) return before.row;
    this.#shown.set(key, { text, row });
    return row;
  }

  /** The row as it was when it was last looked at: for those that are sure not to have changed. */
  known(entityType: string, entityId: string): Fields | undefined {
    const key = nameOf({ entityType, entityId });
    const shown = this.#stale.has(key) ? undefined : this.#shown.get(key);
    return shown?.row ?? this.row(entityType, entityId);
  }

  /** Calls `listener` whenever the row may look different, until the returned function is called. */
  watch(entity: EntityKey, listener: () => void): () => void {
    const opened = this.#call({ do: "open", ...entity }) as { tooMany?: string };
    if (opened.tooMany) throw new AntiphonError(codeOf(`tooMany_${opened.tooMany}`));
    const key = nameOf(entity);
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers.add(listener));
    return once(() => {
      watchers.delete(listener);
      if (watchers.size === 0) this.#watchers.delete(key);
      letGo(this.#call, { do: "close", ...entity });
    });
  }

  /** Makes a live list; nothing is wanted until somebody listens. */
  list(entityType: string, options: QueryOptions<Fields>): LiveList {
    return new LiveList(this, this.#call, this.#lists, subsetOf(entityType, options));
  }

  /** The machine began anew: wants again what is wanted. */
  rejoin(): void {
    for (const key of this.#shown.keys()) this.#stale.add(key);
    for (const [key, watchers] of this.#watchers) {
      const [entityType = "", ...id] = key.split("\n");
      for (const watcher of watchers) {
        this.#call({ do: "open", entityType, entityId: id.join("\n") });
        watcher();
      }
    }
    for (const list of this.#lists) list.rejoin();
  }

  /** Nobody looks any more: what was shown is let go of. */
  rest(): void {
    if (this.#lists.size > 0 || this.#watchers.size > 0) return;
    this.#shown.clear();
    this.#stale.clear();
  }

  /** Takes in what the machine told. */
  take(told: Told): void {
    if (told.told === "rows") {
      const types = new Set<string>();
      const watching: (() => void)[] = [];
      for (const entity of told.about) {
        const key = nameOf(entity);
        if (this.#shown.has(key)) this.#stale.add(key);
        types.add(entity.entityType);
        watching.push(...(this.#watchers.get(key) ?? []));
      }
      for (const list of this.#lists) if (types.has(list.entityType)) list.refresh();
      for (const listener of watching) listener();
    }
    if (told.told === "subsets") {
      const numbers = new Set(told.about);
      for (const list of this.#lists) if (list.subscription !== undefined && numbers.has(list.subscription)) list.refresh();
    }
  }
}

type Subset = ReturnType<typeof subsetOf>;

/** A list that stays as the data are. */
export class LiveList {
  readonly #reading: Reading;
  readonly #call: Call;
  readonly #lists: Set<LiveList>;
  readonly #subset: Subset;
  readonly #listeners = new Set<(snapshot: Snapshot<Fields>) => void>();
  #snapshot: Snapshot<Fields> = { rows: [], ids: [], complete: false, refused: null };
  /** The machine's number of it, while it is wanted. */
  subscription: number | undefined;

  constructor(reading: Reading, call: Call, lists: Set<LiveList>, subset: Subset) {
    this.#reading = reading;
    this.#call = call;
    this.#lists = lists;
    this.#subset = subset;
  }

  /** The type of its rows. */
  get entityType(): string {
    return this.#subset.entityType;
  }

  /** What it shows now; empty until somebody listens. */
  get snapshot(): Snapshot<Fields> {
    return this.#snapshot;
  }

  /** Calls `listener` at once and after each change, until the returned function is called. */
  subscribe(listener: (snapshot: Snapshot<Fields>) => void): () => void {
    if (this.#listeners.size === 0) this.#begin();
    this.#listeners.add(listener);
    listener(this.#snapshot);
    return once(() => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#end();
    });
  }

  /** Looks again, and tells listeners where it is different. */
  refresh(): void {
    if (this.#look()) for (const listener of [...this.#listeners]) listener(this.#snapshot);
  }

  /** Wants it again of a machine that began anew. */
  rejoin(): void {
    this.#want();
    this.refresh();
  }

  #begin(): void {
    this.#want();
    this.#lists.add(this);
    this.#look();
  }

  #want(): void {
    const begun = this.#call({ do: "subscribe", subset: this.#subset }) as { subscription?: number };
    if (begun.subscription === undefined) throw new AntiphonError("TOO_MANY_SUBSETS");
    this.subscription = begun.subscription;
  }

  #end(): void {
    this.#lists.delete(this);
    letGo(this.#call, { do: "release", subscription: this.subscription });
    this.subscription = undefined;
    this.#reading.rest();
  }

  #look(): boolean {
    const found = this.#call({ do: "query", subscription: this.subscription }) as
      { complete: boolean; ids: string[]; refused: string | null } | null;
    if (!found) return false;
    const rows: Fields[] = [];
    const ids = found.ids.filter((id) => {
      const row = this.#reading.known(this.entityType, id);
      if (row) rows.push(row);
      return row !== undefined;
    });
    const before = this.#snapshot;
    const same = before.complete === found.complete && before.refused === found.refused
      && before.rows.length === rows.length && rows.every((row, at) => row === before.rows[at]);
    if (same) return false;
    this.#snapshot = { rows, ids, complete: found.complete, refused: found.refused };
    return true;
  }
}

function subsetOf(entityType: string, options: QueryOptions<Fields>) {
  const filters = Object.entries(options.where ?? {}).flatMap(([field, condition]) => {
    if (typeof condition !== "object" || condition === null || Array.isArray(condition)) {
      return [{ field, test: "eq", value: written(condition) }];
    }
    return Object.entries(condition).map(([test, value]) => ({ field, test, value: written(value) }));
  });
  const order = (options.order ?? []).map((level) => (
    level.startsWith("-") ? { field: level.slice(1), descending: true } : { field: level }));
  return { entityType, filters, order, ...(options.limit === undefined ? {} : { windowRows: options.limit }) };
}

/** A value as lists write it. */
function written(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function nameOf(entity: EntityKey): string {
  return `${entity.entityType}\n${entity.entityId}`;
}

/** Wants something no more; where everything was closed meanwhile, nothing is wanted anyway. */
function letGo(call: Call, verb: Readonly<Record<string, unknown>>): void {
  try {
    call(verb);
  } catch (error) {
    if (!(error instanceof AntiphonError && error.code === "CLOSED")) throw error;
  }
}

function once(act: () => void): () => void {
  let done = false;
  return () => {
    if (!done) act();
    done = true;
  };
}
