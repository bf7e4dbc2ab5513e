// Live rows in a query cache: one subscription for each query, from its first fetch until the cache lets go of it.
// Laws: what the cache holds is what the rows are, and no fetch that began earlier puts back what they were; what came
// together is told together; data of an organisation that was closed do not stay. It asks the network for nothing.

import { AntiphonError, type Organization } from "@antiphon/client";
import { notifyManager, type Query, type QueryCacheNotifyEvent, type QueryClient, type QueryKey } from "@tanstack/query-core";

/** Anything that is read of an organisation and stays as the data are. */
export interface Source {
  readonly org: Organization<object>;
  /** Calls `listener` at once and after each change, until the returned function is called. */
  subscribe(listener: (data: unknown) => void): () => void;
}

interface Live {
  readonly query: Query;
  readonly client: QueryClient;
  readonly org: Organization<object>;
  latest: unknown;
  stop: () => void;
}

const lives = new WeakMap<Query, Live>();
const follows = new WeakSet<QueryClient>();
const organizations = new WeakMap<Organization<object>, Set<Live>>();
const changed = new Set<Live>();

/** Tells whether the query is kept as the rows of `org` are. */
export function isLive(query: Query, org: Organization<object>): boolean {
  return lives.get(query)?.org === org;
}

/** Begins to keep a query live, unless it is already, and gives what it shows now; throws by code. */
export function fetchLive(client: QueryClient, queryKey: QueryKey, source: Source): unknown {
  const query = client.getQueryCache().find({ queryKey, exact: true });
  const known = query && lives.get(query);
  if (known?.org === source.org) return known.latest;
  if (known) end(known);
  // A query that went while it was fetched: nobody can let go of what it would begin.
  if (!query) return once(source);
  return begin({ query, client, org: source.org, latest: undefined, stop: () => undefined }, source);
}

function begin(live: Live, source: Source): unknown {
  let begun = false;
  live.stop = source.subscribe((data) => {
    live.latest = data;
    if (begun) later(live);
  });
  begun = true;
  lives.set(live.query, live);
  mates(live.org).add(live);
  follow(live.client);
  return live.latest;
}

/** Lets go of the rows; what the cache holds is its own from now on. */
function end(live: Live): void {
  live.stop();
  changed.delete(live);
  organizations.get(live.org)?.delete(live);
  if (lives.get(live.query) === live) lives.delete(live.query);
}

function once(source: Source): unknown {
  let shown: unknown;
  source.subscribe((data) => { shown = data; })();
  return shown;
}

/** The live queries of an organisation; the first of them listens for its end. */
function mates(org: Organization<object>): Set<Live> {
  const known = organizations.get(org);
  if (known) return known;
  const all = new Set<Live>();
  organizations.set(org, all);
  org.onStatus(({ notices }) => {
    if (!notices.some(({ code }) => code === "CLOSED")) return;
    notifyManager.batch(() => { for (const live of [...all]) clear(live); });
  });
  return all;
}

/** Nobody is signed in any more: the rows must not be left on the screen. */
function clear(live: Live): void {
  end(live);
  live.query.setState({ data: undefined, dataUpdatedAt: 0, status: "error", error: new AntiphonError("CLOSED"), fetchStatus: "idle" });
}

/** What changes in one go is told in one go. */
function later(live: Live): void {
  if (changed.size === 0) queueMicrotask(flush);
  changed.add(live);
}

function flush(): void {
  const now = [...changed];
  changed.clear();
  notifyManager.batch(() => { for (const live of now) write(live); });
}

function write(live: Live): void {
  if (lives.get(live.query) !== live || live.query.state.data === live.latest) return;
  live.client.setQueryData(live.query.queryKey, live.latest);
}

/** Listens to the cache of a client, once. */
function follow(client: QueryClient): void {
  if (follows.has(client)) return;
  follows.add(client);
  client.getQueryCache().subscribe((event: QueryCacheNotifyEvent) => {
    const live = lives.get(event.query);
    if (!live) return;
    if (event.type === "removed") end(live);
    // A fetch brings what the rows were when it began.
    if (event.type === "updated" && event.action.type === "success" && !event.action.manual) write(live);
  });
}
