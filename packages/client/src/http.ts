// What the machine asks of the server, as HTTP (protocol 1, 4, 5).
// Laws: the token goes into a header and nowhere else, to one server only, so redirects are not followed; an answer is
// handed on as it is. It refuses to retry: when to ask again is the machine's to say.

import { LongValues } from "./long.js";
import type { Ask } from "./words.js";

/** An answer may have so many characters. */
const ANSWER_CHARS_MAX = 128 << 20;

/** What the server answered. */
export interface Answer {
  readonly status: number;
  readonly retryAfterMs: number | null;
  readonly serverMs: number | null;
  readonly body: string;
}

/** Where a stream begins, and what the rows before it were read under. */
export interface From {
  readonly offset: number;
  readonly epoch: number;
  readonly access: string;
}

/** Asks one server about one organisation. */
export class Http {
  readonly #base: string;
  readonly #fetch: typeof fetch;
  /** Which columns name a row of each type, as the newest schema has it. */
  readonly #keys = new Map<string, readonly string[]>();
  readonly #long: LongValues;
  /** The newest token that was asked with. */
  #token = "";

  constructor(url: string, org: string, fetcher: typeof fetch) {
    this.#base = `${url.replace(/\/+$/, "")}/v1/orgs/${encodeURIComponent(org)}`;
    this.#fetch = fetcher;
    this.#long = new LongValues((entityType, id, field) => this.#field(entityType, id, field));
  }

  /** Asks, and reads the answer to its end; fails where there is none. */
  async ask(ask: Ask, token: string, signal: AbortSignal): Promise<Answer> {
    const [path, body] = this.#address(ask);
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    const init: RequestInit = { headers, signal, redirect: "error", cache: "no-store", credentials: "omit" };
    if (body !== undefined) Object.assign(init, { method: "POST", body });
    this.#token = token;
    const answer = await readAnswer(await this.#fetch(this.#base + path, init));
    if (answer.status !== 200) return answer;
    if (ask.ask === "schema") this.#learn(answer.body);
    if (ask.ask !== "ids" || !answer.body.includes("\"omitted\"")) return answer;
    const { entityType } = ask;
    return { ...answer, body: await this.#long.complete(entityType, answer.body, (data) => this.#idOf(entityType, data), signal) };
  }

  /** Opens the stream; fails where there is no answer. */
  open(from: From, token: string, signal: AbortSignal): Promise<Response> {
    return this.#live("sse", from, { accept: "text/event-stream", authorization: `Bearer ${token}` }, signal);
  }

  /** Asks for what comes after, and waits for it so long; fails where there is no answer. */
  poll(from: From, asked: { waitS: number; limit: number }, token: string, signal: AbortSignal): Promise<Response> {
    const form = `poll&timeout=${asked.waitS}&limit=${asked.limit}`;
    return this.#live(form, from, { authorization: `Bearer ${token}` }, signal);
  }

  #live(form: string, { offset, epoch, access }: From, headers: HeadersInit, signal: AbortSignal): Promise<Response> {
    const query = new URLSearchParams({ offset: String(offset), epoch: String(epoch), access });
    const init: RequestInit = { headers, signal, redirect: "error", cache: "no-store", credentials: "omit" };
    return this.#fetch(`${this.#base}/live?live=${form}&${query}`, init);
  }

  #address(ask: Ask): [string, string?] {
    if (ask.ask === "schema") return ["/schema"];
    if (ask.ask === "mutations") return ["/mutations", ask.body];
    const query = new URLSearchParams();
    if (ask.ask === "ids") {
      query.set("ids", ask.ids.map((id) => this.#quoted(ask.entityType, id)).join(","));
    } else {
      if (ask.ask === "subset") for (const [name, value] of ask.parameters) query.append(name, value);
      query.set("limit", String(ask.limit));
      if (ask.after !== null) query.set("after", ask.after);
    }
    return [`/entities/${encodeURIComponent(ask.entityType)}?${query}`];
  }

  /** An id of several columns is a JSON array already; one of one column may hold a comma. */
  #quoted(entityType: string, id: string): string {
    const parts = this.#keys.get(entityType)?.length ?? (looksLikeParts(id) ? 2 : 1);
    return parts === 1 ? JSON.stringify([id]) : id;
  }

  /** The id of a row by its fields as they are written; null where its key is not known, or not among them. */
  #idOf(entityType: string, data: ReadonlyMap<string, string>): string | null {
    const parts: string[] = [];
    for (const column of this.#keys.get(entityType) ?? []) {
      const value = data.get(JSON.stringify(column).slice(1, -1));
      if (value === undefined) return null;
      parts.push(value.startsWith("\"") ? JSON.parse(value) as string : value);
    }
    if (parts.length <= 1) return parts[0] ?? null;
    return JSON.stringify(parts);
  }

  /** The answer with a value that is too long to come with its row, or null. A request that is cancelled does not end it. */
  async #field(entityType: string, entityId: string, field: string): Promise<string | null> {
    const path = [entityType, entityId, "fields", field].map(encodeURIComponent).join("/");
    const headers = { authorization: `Bearer ${this.#token}` };
    const init: RequestInit = { headers, redirect: "error", cache: "no-store", credentials: "omit" };
    const answer = await readAnswer(await this.#fetch(`${this.#base}/entities/${path}`, init));
    if ([401, 429, 502, 503, 504].includes(answer.status)) throw new Error(`a value: ${answer.status}`);
    return answer.status === 200 ? answer.body : null;
  }

  #learn(body: string): void {
    try {
      const { types } = JSON.parse(body) as { types?: Record<string, { key?: unknown }> };
      for (const [name, shape] of Object.entries(types ?? {})) {
        if (Array.isArray(shape.key)) this.#keys.set(name, shape.key.map(String));
      }
    } catch {
      // The machine says what is wrong with it.
    }
  }
}

/** Reads an answer to its end. */
export async function readAnswer(response: Response): Promise<Answer> {
  const body = await response.text();
  if (body.length > ANSWER_CHARS_MAX) throw new Error("an answer without an end");
  return {
    status: response.status,
    retryAfterMs: retryAfterMs(response.headers),
    serverMs: moment(response.headers.get("date")),
    body,
  };
}

/** The code of a problem document, or null where it is none. */
export function problemCode(body: string): string | null {
  try {
    const { code } = JSON.parse(body) as { code?: unknown };
    return typeof code === "string" ? code : null;
  } catch {
    return null;
  }
}

/** How long the server asks to wait: seconds, or a moment of its own clock. */
export function retryAfterMs(headers: Headers): number | null {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const [until, now] = [moment(text), moment(headers.get("date"))];
  return until === null || now === null ? null : Math.max(0, until - now);
}

function moment(text: string | null): number | null {
  const at = text === null ? Number.NaN : Date.parse(text);
  return Number.isFinite(at) && at >= 0 ? at : null;
}

function looksLikeParts(id: string): boolean {
  try {
    const parts: unknown = JSON.parse(id);
    return Array.isArray(parts) && parts.length > 1 && parts.every((part) => typeof part === "string");
  } catch {
    return false;
  }
}
