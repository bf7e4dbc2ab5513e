// Server-sent events out of text that may be cut anywhere (WHATWG, protocol 4).
// Law: an event counts once its empty line has come; what a stream ends with in the middle is nothing. It refuses to
// hold more than one event of a bounded size.

/** An event may have so many characters; the server's frames are far below. */
const EVENT_CHARS_MAX = 32 << 20;

/** What a stream said: an event, only that it lives, or how long to wait before coming back. */
export type Word = { event: string; data: string } | "alive" | { retryMs: number };

/** Takes a stream's text apart. */
export class EventReader {
  #line = "";
  #afterReturn = false;
  #event = "";
  #data: string | undefined;

  /** Takes text; undefined where one event has no end. */
  push(text: string): Word[] | undefined {
    const words: Word[] = [];
    // A line may end in \r\n, and the two may come apart.
    const whole = this.#afterReturn && text.startsWith("\n") ? text.slice(1) : text;
    if (text !== "") this.#afterReturn = text.endsWith("\r");
    const lines = whole.split(/\r\n|\n|\r/);
    for (let at = 0; at < lines.length - 1; at += 1) {
      const word = this.#endLine(this.#line + (lines[at] ?? ""));
      this.#line = "";
      if (word) words.push(word);
    }
    this.#line += lines[lines.length - 1] ?? "";
    return this.#line.length + (this.#data?.length ?? 0) > EVENT_CHARS_MAX ? undefined : words;
  }

  #endLine(line: string): Word | undefined {
    if (line === "") {
      const [event, data] = [this.#event, this.#data];
      this.#event = "";
      this.#data = undefined;
      return data === undefined ? undefined : { event, data };
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "") return "alive";
    if (field === "event") this.#event = value;
    if (field === "data") this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    if (field === "retry" && /^\d{1,9}$/.test(value)) return { retryMs: Number(value) };
    // The position is in the data, and the machine asks for it by `offset`.
    return undefined;
  }
}
