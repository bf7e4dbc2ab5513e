// The application's types, known to every hook at once.
// Law: said in one place, by declaration merging; where nothing was said, rows are documents of JSON.

import type { Json } from "@antiphon/client";

/**
 * Says what the entity types are, once for the whole application:
 *
 * ```ts
 * declare module "@antiphon/react" { interface Register { entities: Entities } }
 * ```
 *
 * `Entities` is what `antiphon types` writes.
 */
export interface Register {}

/** The fields of each entity type, as the application registered them. */
export type Entities = Register extends { entities: infer Registered extends object }
  ? Registered
  : Record<string, Record<string, Json>>;

/** The name of an entity type. */
export type EntityType = keyof Entities & string;

/** A row of an entity type. */
export type Row<T extends EntityType = EntityType> = Entities[T] & object;

/** The names of a type's fields that hold text. */
export type TextField<T extends EntityType> = {
  [F in keyof Row<T>]: NonNullable<Row<T>[F]> extends string ? F : never;
}[keyof Row<T>] & string;
