// Options of queries for rows and lists, and of mutations for edits: what every adapter of TanStack Query takes.
// Laws: keys name the user and the organisation, so that nobody meets what another user left in the cache; a query that
// is live is never stale, one that is not begins anew when somebody looks; nothing is asked of the network twice.

import type { AntiphonError, Collection, Edit, Organization, Outcome, QueryOptions, Snapshot } from "@antiphon/client";
import type { DataTag, Query, QueryClient, QueryKey } from "@tanstack/query-core";

import { fetchLive, isLive, type Source } from "./live.js";

/** Options of a query that is live. */
export interface LiveOptions<Data> {
  readonly queryKey: DataTag<QueryKey, Data, AntiphonError>;
  readonly queryFn: (context: { readonly client: QueryClient; readonly queryKey: QueryKey }) => Data;
  readonly staleTime: (query: Query<any, any, any, any>) => number | "static";
  readonly retry: false;
  readonly networkMode: "always";
  readonly structuralSharing: false;
  readonly refetchOnReconnect: false;
  readonly refetchOnWindowFocus: false;
}

/** A row, and where it is. */
export interface LiveRow<Row> {
  /** The row as a person sees it; undefined where it is not on this device. */
  readonly row: Row | undefined;
  /** Whether the row is on this device, on its way, to be had by asking, or not there at all. */
  readonly presence: "here" | "coming" | "elsewhere" | "nowhere";
}

/** Options of a row's query: the row, and where it is. */
export type RowOptions<Row> = LiveOptions<LiveRow<Row>>;

/** Options of a list's query: its rows, whether they are all, and why there are none. */
export type ListOptions<Row> = LiveOptions<Snapshot<Row>>;

/** Options of a mutation that makes an edit, and ends as the edit does. */
export interface EditOptions<Variables> {
  readonly mutationKey: QueryKey;
  readonly mutationFn: (variables: Variables) => Promise<Outcome>;
  readonly retry: false;
  readonly networkMode: "always";
}

/** Makes options for the data of one organisation. */
export class LiveQueries<Entities extends object> {
  /** What the keys of all of its queries begin with. */
  readonly queryKey: QueryKey;
  readonly #org: Organization<Entities>;

  /** @internal */
  constructor(org: Organization<Entities>) {
    this.#org = org;
    this.queryKey = ["antiphon", org.user, org.id];
  }

  /** One row as a person sees it; it is fetched where it is not on this device. */
  row<T extends keyof Entities & string>(entityType: T, id: string): RowOptions<Entities[T] & object> {
    type Row = Entities[T] & object;
    const rows = this.#org.collection(entityType);
    return this.#options<LiveRow<Row>>(["row", entityType, id], (listener) => {
      let last: LiveRow<Row> | undefined;
      const look = (row: Row | undefined) => {
        const presence = row ? "here" : rows.presence(id);
        if (last && row === last.row && presence === last.presence) return;
        listener(last = { row, presence });
      };
      // A row that is not there says nothing: whether it comes is told along with how everything stands.
      const deaf = this.#org.onTold((told) => { if (told.told === "status" && !last?.row) look(rows.get(id)); });
      try {
        const stop = rows.watch(id, look);
        return () => { deaf(); stop(); };
      } catch (error) {
        deaf();
        throw error;
      }
    });
  }

  /** A live list of rows. */
  list<T extends keyof Entities & string>(
    entityType: T, options: QueryOptions<Entities[T] & object> = {},
  ): ListOptions<Entities[T] & object> {
    type Row = Entities[T] & object;
    const rows = this.#org.collection(entityType);
    return this.#options<Snapshot<Row>>(["list", entityType, options], (listener) => rows.query(options).subscribe(listener));
  }

  /** An edit as a mutation. It is seen at once; it ends once it is known what became of it, offline that may be long. */
  edit<T extends keyof Entities & string, Variables>(
    entityType: T, make: (rows: Collection<Entities[T] & object>, variables: Variables) => Edit,
  ): EditOptions<Variables> {
    const rows = this.#org.collection(entityType);
    const mutationFn = async (variables: Variables) => {
      const edit = make(rows, variables);
      await edit.saved;
      return edit.settled;
    };
    return { mutationKey: [...this.queryKey, "edit", entityType], mutationFn, retry: false, networkMode: "always" };
  }

  #options<Data>(name: QueryKey, subscribe: (listener: (data: Data) => void) => () => void): LiveOptions<Data> {
    const org = this.#org as Organization<object>;
    const source: Source = { org, subscribe };
    return {
      queryKey: [...this.queryKey, ...name] as unknown as DataTag<QueryKey, Data, AntiphonError>,
      queryFn: ({ client, queryKey }) => fetchLive(client, queryKey, source) as Data,
      staleTime: (query) => (isLive(query, org) ? "static" : 0),
      retry: false,
      networkMode: "always",
      structuralSharing: false,
      refetchOnReconnect: false,
      refetchOnWindowFocus: false,
    };
  }
}

/** Makes options for the data of an organisation that was opened with `client.org`. */
export function liveQueries<Entities extends object>(org: Organization<Entities>): LiveQueries<Entities> {
  return new LiveQueries(org);
}
