// What is on the server alone (protocol 4): the history of a row, the rows of a type that are gone, and values that are
// too long to be sent along with their row.
// Laws: this is the server's memory and not this device's, so it needs the network, and says `OFFLINE` where there is none;
// what it gives is neither kept nor live.

import { AntiphonError } from "./fault.js";
import type { SessionOptions } from "./session.js";
import type { Fields, Json } from "./words.js";

/** One thing that became of a row. */
export interface Activity {
  readonly activityId: number;
  readonly action: "create" | "update" | "delete";
  /** The row as it was then, as far as it may be seen; null for a delete. Of `unchanged` fields the values are not known. */
  readonly data: Fields | null;
  readonly changedKeys: readonly string[];
  readonly unchanged?: readonly string[];
  /** Who wrote it; null for somebody outside of Antiphon. */
  readonly tx: { readonly actor: string | null } | null;
  readonly createdAt: string;
}

/** A row that is gone, as it was last. */
export interface DeletedRow {
  readonly entityId: string;
  readonly deletedAt: string;
  readonly deletedBy: string | null;
  readonly data: Fields;
}

/** A part of what the server remembers, the newest first. */
export interface PastPage<Item, Next> {
  readonly items: readonly Item[];
  /** Where the next part begins; null where there is none. */
  readonly next: Next | null;
}

/** Asks the server what became of rows. */
export class Past {
  readonly #options: SessionOptions;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** What became of a row, the newest first, from below the activity `before` on. */
  history(entityType: string, entityId: string, before: number | null, limit: number): Promise<PastPage<Activity, number>> {
    const path = `${encodeURIComponent(entityType)}/${encodeURIComponent(entityId)}/history`;
    return this.#ask(path, { limit, before });
  }

  /** The rows of a type that are gone, the latest first, from `after` on. */
  deleted(entityType: string, after: string | null, limit: number): Promise<PastPage<DeletedRow, string>> {
    return this.#ask(`${encodeURIComponent(entityType)}/deleted`, { limit, after });
  }

  /** The value of a field that was too long to come with its row. */
  async field(entityType: string, entityId: string, field: string): Promise<Json> {
    const path = [entityType, entityId, "fields", field].map(encodeURIComponent).join("/");
    const { value } = await this.#ask<{ value: Json }>(path, {});
    return value;
  }

  async #ask<Page>(path: string, given: Readonly<Record<string, string | number | null>>, again = true): Promise<Page> {
    const { url, org, token, fetch: fetcher } = this.#options;
    const known = Object.entries(given).flatMap(([name, value]) => (value === null ? [] : [[name, String(value)]]));
    const query = known.length === 0 ? "" : `?${new URLSearchParams(known)}`;
    const address = `${url.replace(/\/+$/, "")}/v1/orgs/${encodeURIComponent(org)}/entities/${path}${query}`;
    const bearer = await token.current();
    const init: RequestInit = { headers: { authorization: `Bearer ${bearer}` }, redirect: "error", cache: "no-store", credentials: "omit" };
    const answer = await fetcher(address, init).catch(() => { throw new AntiphonError("OFFLINE"); });
    if (answer.status === 401 && again) {
      token.refuse(bearer);
      return this.#ask(path, given, false);
    }
    const body = await answer.json().catch(() => ({})) as { code?: unknown };
    if (!answer.ok) throw new AntiphonError(typeof body.code === "string" ? body.code : "TRY_AGAIN");
    return body as Page;
  }
}
