// What the machine asks of the server, as HTTP (protocol 1, 4, 5).
// Laws: the token goes into a header and nowhere else, to one server only, so redirects are not followed; an answer is
// handed on as it is. It refuses to retry: when to ask again is the machine's to say.

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

/** Asks one server about one organisation. */
export class Http {
  readonly #base: string;
  readonly #fetch: typeof fetch;
  /** How many columns name a row of each type, as the newest schema has it. */
  readonly #keyParts = new Map<string, number>();

  constructor(url: string, org: string, fetcher: typeof fetch) {
    this.#base = `${url.replace(/\/+$/, "")}/v1/orgs/${encodeURIComponent(org)}`;
    this.#fetch = fetcher;
  }

  /** Asks, and reads the answer to its end; fails where there is none. */
  async ask(ask: Ask, token: string, signal: AbortSignal): Promise<Answer> {
    const [path, body] = this.#address(ask);
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    const init: RequestInit = { headers, signal, redirect: "error", cache: "no-store", credentials: "omit" };
    if (body !== undefined) Object.assign(init, { method: "POST", body });
    const answer = await readAnswer(await this.#fetch(this.#base + path, init));
    if (ask.ask === "schema" && answer.status === 200) this.#learn(answer.body);
    return answer;
  }

  /** Opens the stream; fails where there is no answer. */
  open(from: { offset: number; epoch: number; access: string }, token: string, signal: AbortSignal): Promise<Response> {
    const query = new URLSearchParams({
      live: "sse", offset: String(from.offset), epoch: String(from.epoch), access: from.access,
    });
    const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream" };
    const init: RequestInit = { headers, signal, redirect: "error", cache: "no-store", credentials: "omit" };
    return this.#fetch(`${this.#base}/live?${query}`, init);
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
    const parts = this.#keyParts.get(entityType) ?? (looksLikeParts(id) ? 2 : 1);
    return parts === 1 ? JSON.stringify([id]) : id;
  }

  #learn(body: string): void {
    try {
      const { types } = JSON.parse(body) as { types?: Record<string, { key?: unknown }> };
      for (const [name, shape] of Object.entries(types ?? {})) {
        if (Array.isArray(shape.key)) this.#keyParts.set(name, shape.key.length);
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
