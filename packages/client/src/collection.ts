// The rows of one entity type, as an application reads and edits them.
// Law: every edit is answered at once from this device, online or not.

import type { LiveList, QueryOptions, Reading, Snapshot } from "./reading.js";
import type { Edit, Writing } from "./writing.js";
import type { Fields } from "./words.js";

/** A list that stays as the data are. */
export interface LiveQuery<Row> {
  /** What it shows now; empty until somebody listens. */
  readonly snapshot: Snapshot<Row>;
  /** Calls `listener` at once and after each change, until the returned function is called. */
  subscribe(listener: (snapshot: Snapshot<Row>) => void): () => void;
}

/** Names of the fields of a row whose values are of a kind. */
type FieldsOf<Row, Kind> = { [F in keyof Row]: NonNullable<Row[F]> extends Kind ? F : never }[keyof Row] & string;

/** What is added to a set field, and what is removed from it. */
export interface Elements<V> {
  readonly add?: readonly V[];
  readonly remove?: readonly V[];
}

/** The rows of one entity type. */
export class Collection<Row extends object> {
  /** The entity type. */
  readonly entityType: string;
  readonly #reading: Reading;
  readonly #writing: Writing;

  /** @internal */
  constructor(entityType: string, reading: Reading, writing: Writing) {
    this.entityType = entityType;
    this.#reading = reading;
    this.#writing = writing;
  }

  /** The row as a person sees it, with edits that are not confirmed; undefined where it is not on this device. */
  get(id: string): Row | undefined {
    return this.#reading.row(this.entityType, id) as Row | undefined;
  }

  /** Whether the row is on this device, on its way, to be had by asking (`watch`), or not there at all. */
  presence(id: string): "here" | "coming" | "elsewhere" | "nowhere" {
    return this.#reading.presence(this.entityType, id);
  }

  /**
   * Whether the value of a field is here. One above 256 KiB comes after its row, once the row is watched, alone, in a list
   * or by a draft, and stays on this device; until then the row has no such field.
   */
  loaded(id: string, field: keyof Row & string): boolean {
    return this.get(id) !== undefined && !this.#reading.lacks(this.entityType, id, field);
  }

  /** Fetches the row where it is not here, and calls `listener` at once and after each change. */
  watch(id: string, listener: (row: Row | undefined) => void): () => void {
    const stop = this.#reading.watch({ entityType: this.entityType, entityId: id }, () => listener(this.get(id)));
    listener(this.get(id));
    return stop;
  }

  /** A live list of rows. */
  query(options: QueryOptions<Row> = {}): LiveQuery<Row> {
    const list: LiveList = this.#reading.list(this.entityType, options as QueryOptions<Fields>);
    return list as unknown as LiveQuery<Row>;
  }

  /** Makes a row. Its key is `id`: one is made up where the fields hold none. */
  create(fields: Partial<Row>): Edit;
  /** Makes a row whose key is not one field `id`: `entityId` is its name, and the fields hold the key. */
  create(fields: Partial<Row>, entityId: string): Edit;
  create(fields: Partial<Row>, entityId?: string): Edit {
    const data: Fields = { ...(fields as Fields) };
    if (entityId === undefined) data.id ??= crypto.randomUUID();
    const id = entityId ?? String(data.id);
    return this.#edit(id, { edit: "create", data });
  }

  /** Gives fields new values, all together or not at all. */
  update(id: string, fields: Partial<Row>): Edit {
    return this.#edit(id, { edit: "set", fields });
  }

  /** Adds to a counter field, whatever others add meanwhile. */
  add(id: string, field: FieldsOf<Row, number | string>, by: number): Edit {
    return this.#edit(id, { edit: "add", field, by });
  }

  /** Adds elements to a set field and removes others, whatever others do meanwhile. */
  change<F extends FieldsOf<Row, readonly unknown[]>>(
    id: string, field: F, elements: Elements<NonNullable<Row[F]> extends readonly (infer V)[] ? V : never>,
  ): Edit {
    return this.#edit(id, { edit: "elements", field, add: elements.add ?? [], remove: elements.remove ?? [] });
  }

  /** Removes a row. */
  delete(id: string): Edit {
    return this.#edit(id, { edit: "delete" });
  }

  #edit(entityId: string, edit: Readonly<Record<string, unknown>>): Edit {
    return this.#writing.edit(entityId, { ...edit, entityType: this.entityType, entityId });
  }
}
