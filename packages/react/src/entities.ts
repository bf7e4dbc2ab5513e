// Rows and lists of rows in components.
// Laws: a row that did not change is the same object, so a memoised child does not render again; components that show the
// same share one subscription; on a server, and until the store was read, everything is empty and incomplete.

import type { QueryOptions } from "@antiphon/client";
import { useCallback, useMemo, useState } from "react";

import { EMPTY, type Found, UNKNOWN } from "./hub.js";
import { useHub } from "./provider.js";
import type { EntityType, Row } from "./register.js";
import { constant } from "./sources.js";
import { useSource } from "./use-source.js";

/** Which rows a list shows, in which order, and how many at first. */
export interface EntitiesOptions<R> extends QueryOptions<R> {
  /** Shows so many rows at first, and as many again with each `more()`. */
  readonly pageSize?: number;
}

/** What a live list shows. */
export interface EntitiesResult<R> {
  /** The rows, in order. A row that did not change is the same object as before. */
  readonly rows: readonly R[];
  /** Their ids, in the same order. */
  readonly ids: readonly string[];
  /** Whether all rows of the list are on this device: an empty list that is complete is empty. */
  readonly complete: boolean;
  /** Why the list cannot be had: a code; null where it can. */
  readonly refused: string | null;
  /** Whether another page would show more rows. */
  readonly hasMore: boolean;
  /** Shows another page; always the same function. */
  readonly more: () => void;
}

/** What `useEntity` gives: the row, and where it is. */
export type EntityResult<R> = Found<R>;

const NO_LIST = constant(EMPTY);
const NO_ROW = constant(UNKNOWN);

/** A row as the person sees it, with edits that are not confirmed; `null` as id asks for nothing. */
export function useEntity<T extends EntityType>(entityType: T, id: string | null | undefined): EntityResult<Row<T>> {
  const hub = useHub();
  const source = useMemo(
    () => (hub && id !== null && id !== undefined ? hub.row(entityType, id) : NO_ROW),
    [hub, entityType, id],
  );
  return useSource<Found<Row<T>>>(source);
}

/**
 * A live list: filtered, ordered by the type of each column, in pages. Options may be written in place, and are compared by
 * what they say; `null` asks for nothing. While other options begin, the former rows stay.
 */
export function useEntities<T extends EntityType>(
  entityType: T, options: EntitiesOptions<Row<T>> | null = {},
): EntitiesResult<Row<T>> {
  const hub = useHub();
  const text = options && JSON.stringify([options.where, options.order, options.limit, options.pageSize]);
  const key = `${entityType} ${text}`;
  const [paging, page] = useState({ key, pages: 1 });
  const pages = paging.key === key ? paging.pages : 1;
  const source = useMemo(() => {
    if (!hub || !options) return NO_LIST;
    const { pageSize, limit, ...rest } = options;
    // One row beyond the page tells whether there are more.
    const window = pageSize === undefined ? limit : Math.min(limit ?? Infinity, pages * pageSize + 1);
    return hub.list(entityType, window === undefined ? rest : { ...rest, limit: window });
    // The options by what they say: their text stands for them.
  }, [hub, key, pages]);
  const snapshot = useSource(source);
  const more = useCallback(
    () => page((now) => ({ key, pages: now.key === key ? now.pages + 1 : 2 })),
    [key],
  );
  const shown = options?.pageSize === undefined ? Infinity : pages * options.pageSize;
  return useMemo(() => {
    const { rows, ids, complete, refused } = snapshot;
    const hasMore = rows.length > shown;
    return hasMore
      ? { rows: rows.slice(0, shown), ids: ids.slice(0, shown), complete, refused, hasMore, more }
      : { rows, ids, complete, refused, hasMore, more };
  }, [snapshot, shown, more]);
}
