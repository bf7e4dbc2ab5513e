// Rows as a person sees them: live lists, and single rows that are watched.
// Laws: a row that did not change stays the same object; listeners are called once for everything that came together;
// a list is wanted of the machine exactly while somebody listens to it. Which rows it holds, and where, the machine says:
// here its changes are carried out, so that an edit costs what it changes, and not the list.

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
  readonly #shown = new Map<string, Fields>();
  readonly #lists = new Set<LiveList>();
  readonly #watchers = new Map<string, Set<() => void>>();

  constructor(call: Call) {
    this.#call = call;
  }

  /** The row as a person sees it. */
  row(entityType: string, entityId: string): Fields | undefined {
    const row = this.#call({ do: "view", entityType, entityId }) as Fields | null;
    if (row !== null) return this.same(entityType, entityId, row);
    this.#shown.delete(nameOf({ entityType, entityId }));
    return undefined;
  }

  /** Where the row is. */
  presence(entityType: string, entityId: string): "here" | "coming" | "elsewhere" | "nowhere" {
    const presence = this.#presence(entityType, entityId);
    return presence === "partly" ? "here" : presence;
  }

  /** Whether a field's value is not here although its row is: it is too long to come along. */
  lacks(entityType: string, entityId: string, field: string): boolean {
    if (this.#presence(entityType, entityId) !== "partly") return false;
    const row = this.row(entityType, entityId);
    return row !== undefined && !Object.hasOwn(row, field);
  }

  #presence(entityType: string, entityId: string) {
    return this.#call({ do: "presence", entityType, entityId }) as "here" | "partly" | "coming" | "elsewhere" | "nowhere";
  }

  /** Takes a row as the machine shows it: the object that shows it already, where it looks the same. */
  same(entityType: string, entityId: string, row: Fields): Fields {
    const key = nameOf({ entityType, entityId });
    const before = this.#shown.get(key);
    if (before && JSON.stringify(before) === JSON.stringify(row)) return before;
    this.#shown.set(key, row);
    return row;
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
  }

  /** Takes in what the machine told. */
  take(told: Told): void {
    if (told.told === "rows") {
      const types = new Set<string>();
      const watching: (() => void)[] = [];
      for (const entity of told.about) {
        types.add(entity.entityType);
        watching.push(...(this.#watchers.get(nameOf(entity)) ?? []));
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
    const changes = this.#call({ do: "changes", subscription: this.subscription }) as Changes | null;
    if (!changes) return false;
    const before = this.#snapshot;
    const ids = changes.anew ? [] : [...before.ids];
    const rows = changes.anew ? [] : [...before.rows];
    for (const at of changes.gone) {
      ids.splice(at, 1);
      rows.splice(at, 1);
    }
    for (const [at, [id, row]] of changes.come) {
      ids.splice(at, 0, id);
      rows.splice(at, 0, this.#reading.same(this.entityType, id, row));
    }
    ids.length = rows.length = changes.rows;
    const { complete, refused } = changes;
    const same = before.complete === complete && before.refused === refused
      && before.rows.length === rows.length && rows.every((row, at) => row === before.rows[at]);
    if (same) return false;
    this.#snapshot = { rows, ids, complete, refused };
    return true;
  }
}

/** What is different about a list since it was asked about last, to be carried out in this order. */
interface Changes {
  readonly complete: boolean;
  readonly refused: string | null;
  /** What was shown before is void. */
  readonly anew: boolean;
  /** Indices that are taken out. */
  readonly gone: readonly number[];
  /** Rows that are put in. */
  readonly come: readonly (readonly [number, readonly [string, Fields]])[];
  /** So many rows remain. */
  readonly rows: number;
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
