// Values that are too long to come with their row (protocol 2, `omitted`): whoever asks for rows by their ids has them too.
// Laws: a value is put in only where it is the very one that the row names, by its checksum; what cannot be had is left
// named, and the row is handed on without it. Each value is asked for once at a time, and only so much in one answer. It
// refuses to read values: they go from one document into the other as they are written.

import { membersOf, partsOf } from "./raw.js";

/** Rows of one answer are completed by so many bytes; the rest comes once it is opened. */
const FILLED_BYTES_MAX = 16 << 20;

/** Asks for the value of a field; gives the answer's text, or null where there is none. */
export type AskField = (entityType: string, entityId: string, field: string) => Promise<string | null>;

/** So many values are remembered of answers that nobody waited for. */
const COMING_MAX = 64;

/** Completes rows. */
export class LongValues {
  readonly #ask: AskField;
  /** What is on its way or has come, by row, field and checksum, until it was handed on. */
  readonly #coming = new Map<string, Promise<string | null>>();

  constructor(ask: AskField) {
    this.#ask = ask;
  }

  /** Completes the rows of an answer; `idOf` names a row by its fields as they are written. */
  async complete(
    entityType: string, body: string, idOf: (data: ReadonlyMap<string, string>) => string | null, signal: AbortSignal,
  ): Promise<string> {
    const answer = membersOf(body);
    const items = partsOf(answer.get("items") ?? "") ?? [];
    let room = FILLED_BYTES_MAX;
    let filled = false;
    const used: string[] = [];
    for (const [at, text] of items.entries()) {
      const item = membersOf(text);
      const data = membersOf(item.get("data") ?? "");
      const id = idOf(data);
      if (id === null) continue;
      for (const [name, named] of membersOf(item.get("omitted") ?? "")) {
        const { bytes, checksum } = JSON.parse(named) as { bytes?: number; checksum?: string };
        if (checksum === undefined || (bytes ?? 0) > room) continue;
        const about = { entityType, id, field: JSON.parse(`"${name}"`) as string, checksum };
        const value = await this.#value(about);
        used.push(JSON.stringify(about));
        if (value === null) continue;
        room -= bytes ?? 0;
        data.set(name, value);
        filled = true;
      }
      item.set("data", written(data));
      items[at] = written(item);
    }
    // An answer that nobody waits for any more is asked for again: what came of it is there then.
    if (!signal.aborted) for (const name of used) this.#coming.delete(name);
    return filled ? written(answer.set("items", `[${items.join(",")}]`)) : body;
  }

  #value(about: { entityType: string; id: string; field: string; checksum: string }): Promise<string | null> {
    const name = JSON.stringify(about);
    const coming = this.#coming.get(name)
      ?? this.#ask(about.entityType, about.id, about.field).then((text) => valueOf(text, about.checksum));
    this.#coming.set(name, coming);
    coming.catch(() => { this.#coming.delete(name); });
    const [oldest] = this.#coming.keys();
    if (this.#coming.size > COMING_MAX && oldest !== undefined) this.#coming.delete(oldest);
    return coming;
  }
}

/** The value in an answer, where it is the one that is meant. */
function valueOf(text: string | null, checksum: string): string | null {
  if (text === null) return null;
  const members = membersOf(text);
  return members.get("checksum") === JSON.stringify(checksum) ? members.get("value") ?? null : null;
}

function written(members: ReadonlyMap<string, string>): string {
  return `{${[...members].map(([name, value]) => `"${name}":${value}`).join(",")}}`;
}
