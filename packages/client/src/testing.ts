// A server in memory for an application's own tests: the same core as in a page, no network, no browser.
// Laws: it answers as the protocol says, and checks each field as the server does, so conflicts are real ones; the
// network is a switch. It knows types that are kept whole only, with one key column `id`; it checks no tokens.

import type { ClientOptions } from "./client.js";
import type { Clock } from "./clock.js";
import { memoryStore } from "./store.js";
import type { Fields, Json } from "./words.js";

export { memoryStore };

/** A longer value does not come with its row. */
const LONG_CHARS = 256 << 10;
/** A request, its answer, what the machine makes of it and its saving. */
const TURNS = 8;

/** A field of a type: Postgres' name of its type, and how edits of it meet. */
export interface TestField {
  readonly type: string;
  readonly merge?: "lww" | "manual" | "text" | "counter" | "set";
}

/** A type: its fields, and the rows that are there at the beginning. */
export interface TestType {
  readonly fields: Readonly<Record<string, TestField>>;
  readonly rows?: readonly Fields[];
}

interface Row {
  data: Fields;
  /** Who wrote each field; `*` for those without a mark of their own. */
  ids: Record<string, string>;
  actor: string | null;
}

interface Mutation {
  readonly entityType: string;
  readonly entityId: string;
  readonly action: "create" | "update" | "delete";
  readonly data: Fields | null;
  readonly tx: {
    readonly transactionId: string; readonly sourceId: string; readonly changedField: string | null;
    readonly expectedTransactionId: string | null; readonly op?: { add?: Json; remove?: Json };
  };
}

type Result = Record<string, Json>;

/** A clock that stands until a test lets time pass. */
export class TestClock implements Clock {
  #wallMs: number;
  #tickMs = 0;
  readonly #waiting = new Set<{ readonly dueMs: number; readonly call: () => void }>();

  constructor(wallMs = Date.now()) {
    this.#wallMs = wallMs;
  }

  readonly wallMs = (): number => this.#wallMs;

  readonly tickMs = (): number => this.#tickMs;

  readonly after = (ms: number, call: () => void): (() => void) => {
    const one = { dueMs: this.#tickMs + ms, call };
    this.#waiting.add(one);
    return () => { this.#waiting.delete(one); };
  };

  /** Lets time pass on both clocks: what comes due is called at its moment, and what it begins gets its turn before the next. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#tickMs + ms;
    await turn();
    for (;;) {
      const next = [...this.#waiting].sort((one, other) => one.dueMs - other.dueMs)[0];
      if (!next || next.dueMs > endMs) break;
      this.#waiting.delete(next);
      this.#go(Math.max(next.dueMs, this.#tickMs));
      next.call();
      await turn();
    }
    this.#go(endMs);
    await turn();
  }

  /** Puts the wall's clock elsewhere, as a person does; the steady one stays. */
  set(wallMs: number): void {
    this.#wallMs = wallMs;
  }

  #go(tickMs: number): void {
    this.#wallMs += tickMs - this.#tickMs;
    this.#tickMs = tickMs;
  }
}

/** Lets everything have its turn that waits for nothing but that: requests to a `TestServer` and its store take several. */
async function turn(): Promise<void> {
  for (let at = 0; at < TURNS; at += 1) await new Promise((resolve) => { setTimeout(resolve); });
}

/** A server in memory, for one user and one organisation. */
export class TestServer {
  /** Every request that came, as `GET /v1/...`. */
  readonly requests: string[] = [];
  readonly #types: Readonly<Record<string, TestType>>;
  readonly #rows = new Map<string, Map<string, Row>>();
  readonly #applied = new Set<string>();
  readonly #activities: Fields[] = [];
  readonly #streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
  readonly #answers: { status: number; body: Json }[] = [];
  readonly #user: string;
  #online = true;
  #xid = 1_000;

  constructor(types: Readonly<Record<string, TestType>>, user = "alice") {
    this.#types = types;
    this.#user = user;
    for (const [name, { rows }] of Object.entries(types)) {
      const made = (rows ?? []).map((data): [string, Row] => [String(data.id), { data: { ...data }, ids: { "*": this.#sqlId() }, actor: null }]);
      this.#rows.set(name, new Map(made));
    }
  }

  /** What `createClient` needs to speak with it; the core has to be given as `wasm` where there is no `fetch` for files. */
  get options(): Pick<ClientOptions, "url" | "user" | "getToken" | "storage" | "fetch"> {
    return { url: "http://test.invalid", user: this.#user, getToken: () => "test", storage: memoryStore(), fetch: this.fetch };
  }

  /** Whether the network is there; taking it away ends every stream. */
  get online(): boolean {
    return this.#online;
  }

  set online(online: boolean) {
    this.#online = online;
    if (online) return;
    for (const stream of this.#streams) stream.close();
    this.#streams.clear();
  }

  /** The rows of a type, as the server has them. */
  rows(entityType: string): Fields[] {
    return [...this.#of(entityType).values()].map(({ data }) => ({ ...data }));
  }

  /** Answers the next request with this instead, once: a 401, a 503, half a document. */
  answerNext(status: number, body: Json = null): void {
    this.#answers.push({ status, body });
  }

  /** Writes as another application would: fields of a row, or null to delete it. */
  write(entityType: string, id: string, fields: Fields | null): void {
    const row = this.#of(entityType).get(id);
    const transactionId = this.#sqlId();
    if (fields === null) {
      this.#of(entityType).delete(id);
      this.#tell(entityType, id, "delete", null, [], transactionId, "sql", null);
      return;
    }
    const next: Row = { data: { ...row?.data, id, ...fields }, ids: { ...row?.ids }, actor: null };
    if (!row) next.ids["*"] = transactionId;
    for (const field of Object.keys(fields)) next.ids[field] = transactionId;
    this.#of(entityType).set(id, next);
    this.#tell(entityType, id, row ? "update" : "create", next.data, Object.keys(row ? fields : next.data), transactionId, "sql", null);
  }

  /** Stands in for `fetch`. */
  readonly fetch: typeof fetch = async (input, init) => {
    const url = new URL(String(input));
    init?.signal?.throwIfAborted();
    if (!this.#online) throw new TypeError("no network");
    this.requests.push(`${init?.method ?? "GET"} ${url.pathname}`);
    const scripted = this.#answers.shift();
    if (scripted) return json(scripted.body, scripted.status);
    const [, , , , part, entityType] = url.pathname.split("/");
    if (part === "schema") return json({ types: this.#schema(), access: "a" });
    if (part === "live") return this.#live(Number(url.searchParams.get("offset")), init?.signal);
    if (part === "mutations") return json({ results: this.#mutate(String(init?.body)) });
    const [id, fields, field] = url.pathname.split("/").slice(6).map(decodeURIComponent);
    if (fields === "fields" && entityType !== undefined) return this.#field(entityType, id ?? "", field ?? "");
    if (part === "entities" && entityType !== undefined) return json(this.#list(decodeURIComponent(entityType), url.searchParams));
    return json({ code: "NOT_FOUND" }, 404);
  };

  #of(entityType: string): Map<string, Row> {
    const rows = this.#rows.get(entityType);
    if (!rows) throw new Error(`the test server has no type ${entityType}`);
    return rows;
  }

  #schema(): Json {
    const types = Object.entries(this.#types).map(([name, { fields }]): [string, Json] => {
      const update = Object.keys(fields).filter((field) => field !== "id");
      const known = { ...fields } as unknown as Json;
      return [name, {
        schema: 1, key: ["id"], sync: "all", create: "offline", together: [], refs: {}, fields: known,
        can: { create: true, update, delete: true },
      }];
    });
    return Object.fromEntries(types);
  }

  #list(entityType: string, query: URLSearchParams): Json {
    const ids = query.get("ids");
    const wanted = ids === null ? undefined : new Set((JSON.parse(`[${ids}]`) as string[][]).map(([id]) => id));
    const found = [...this.#of(entityType)].filter(([id]) => !wanted || wanted.has(id));
    // Pages go by key, text by bytes.
    found.sort(([one], [other]) => (one < other ? -1 : 1));
    const items = found.map(([, row]) => ({ ...cut(row.data), tx: txOf(row) }));
    return { items, next: null, offset: this.#activities.length, epoch: 1, snapshot: `${this.#xid + 1}:${this.#xid + 1}:`, access: "a", schema: 1 };
  }

  #field(entityType: string, id: string, field: string): Response {
    const value = this.#of(entityType).get(id)?.data[field];
    if (value === undefined) return json({ code: "NOT_FOUND" }, 404);
    return json({ field, value, ...named(value) });
  }

  #live(offset: number, signal?: AbortSignal | null): Response {
    let mine: ReadableStreamDefaultController<Uint8Array> | undefined;
    const drop = () => { if (mine) this.#streams.delete(mine); };
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        mine = controller;
        for (const activity of this.#activities.slice(offset)) controller.enqueue(frame("change", activity));
        controller.enqueue(frame("offset", { offset: this.#activities.length, epoch: 1, access: "a", asOf: new Date().toISOString() }));
        this.#streams.add(controller);
      },
      cancel: drop,
    });
    signal?.addEventListener("abort", () => {
      if (mine && this.#streams.delete(mine)) mine.error(new DOMException("aborted", "AbortError"));
    });
    return new Response(body, { status: 200, headers: { "content-type": "text/event-stream" } });
  }

  #mutate(body: string): Json {
    return (JSON.parse(body) as { mutations: Mutation[] }).mutations.map((mutation) => this.#apply(mutation));
  }

  #apply(mutation: Mutation): Result {
    const { entityType, entityId, action, tx } = mutation;
    const { transactionId } = tx;
    const row = this.#of(entityType).get(entityId);
    if (this.#applied.has(transactionId)) return { transactionId, status: "duplicate", data: row?.data ?? null, commit: { xid: "1" } };
    if (action === "create" && row) return refused(transactionId, "rejected", { code: "ALREADY_EXISTS", status: 409 });
    if (action !== "create" && !row) return refused(transactionId, "rejected", { code: "ENTITY_GONE", status: 404 });
    const field = tx.changedField;
    if (row && !tx.op) {
      const serverTransactionId = idOf(row, action === "delete" ? null : field);
      if (serverTransactionId !== tx.expectedTransactionId) {
        return refused(transactionId, "conflict", {
          code: "FIELD_CONFLICT", status: 409, field, expectedTransactionId: tx.expectedTransactionId, serverTransactionId,
          serverValue: field === null ? null : cut(row.data).data[field] ?? null, serverSourceId: "sql", serverActor: row.actor,
          changedAt: new Date().toISOString(),
        });
      }
    }
    this.#applied.add(transactionId);
    const data = action === "delete" ? null : { ...row?.data, ...(tx.op && field !== null ? { [field]: operated(row?.data[field], tx.op) } : mutation.data) };
    const changed = action === "create" ? Object.keys(data ?? {}) : field === null ? [] : [field];
    if (data === null) this.#of(entityType).delete(entityId);
    else {
      const ids = { "*": transactionId, ...row?.ids, ...Object.fromEntries(changed.map((name) => [name, transactionId])) };
      this.#of(entityType).set(entityId, { data, ids, actor: this.#user });
    }
    this.#tell(entityType, entityId, action, data, changed, transactionId, tx.sourceId, field);
    return { transactionId, status: "applied", data, commit: { xid: String(this.#xid) } };
  }

  #tell(
    entityType: string, entityId: string, action: string, data: Fields | null, changedKeys: string[], transactionId: string,
    sourceId: string, changedField: string | null,
  ): void {
    this.#xid += 1;
    const activity: Fields = {
      activityId: this.#activities.length + 1, entityType, entityId, action, changedKeys, unchanged: [],
      ...(data ? cut(data) : { data: null, omitted: {} }), schema: 1, tx: { transactionId, sourceId, actor: sourceId === "sql" ? null : this.#user, changedField },
      createdAt: new Date().toISOString(), commit: { lsn: "0/1", seq: 0, last: true, xid: String(this.#xid) },
    };
    this.#activities.push(activity);
    for (const stream of this.#streams) stream.enqueue(frame("change", activity));
  }

  #sqlId(): string {
    this.#xid += 1;
    return `${String(Date.now()).padStart(13, "0")}.0000.sql-${this.#xid}`;
  }
}

/** A row without the values that are too long to come along, which are named. */
function cut(row: Fields): { data: Fields; omitted: Fields } {
  const long = Object.entries(row).filter(([, value]) => JSON.stringify(value).length > LONG_CHARS);
  const names = new Set(long.map(([name]) => name));
  return {
    data: Object.fromEntries(Object.entries(row).filter(([name]) => !names.has(name))),
    omitted: Object.fromEntries(long.map(([name, value]) => [name, named(value)])),
  };
}

function named(value: Json): { bytes: number; checksum: string } {
  const text = JSON.stringify(value);
  let checksum = 0;
  for (let at = 0; at < text.length; at += 1) checksum = (Math.imul(checksum, 31) + text.charCodeAt(at)) | 0;
  return { bytes: text.length, checksum: `test:${checksum}` };
}

function txOf(row: Row): Json {
  return { transactionId: newest(row), sourceId: "sql", actor: row.actor, changedField: null, fields: { ...row.ids } };
}

function newest(row: Row): string {
  return Object.values(row.ids).reduce((one, other) => (one > other ? one : other));
}

/** Who wrote the field, or the row where no field is named. */
function idOf(row: Row, field: string | null): string | null {
  return field === null ? newest(row) : row.ids[field] ?? row.ids["*"] ?? null;
}

function operated(present: Json | undefined, op: { add?: Json; remove?: Json }): Json {
  if (!Array.isArray(op.add) && !Array.isArray(op.remove)) return Number(present ?? 0) + Number(op.add ?? 0);
  const texts = (value: Json | undefined) => new Set((Array.isArray(value) ? value : []).map((one) => JSON.stringify(one)));
  const [kept, removed] = [texts(present), texts(op.remove)];
  for (const one of texts(op.add)) kept.add(one);
  return [...kept].filter((one) => !removed.has(one)).map((one) => JSON.parse(one) as Json);
}

function refused(transactionId: string, status: string, problem: Record<string, Json>): Result {
  return { transactionId, status, problem };
}

function frame(event: string, data: Json): Uint8Array {
  return new TextEncoder().encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

function json(body: Json, status = 200): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}
