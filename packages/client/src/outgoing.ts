// What a page says over a WebSocket, no faster than the server reads it (protocol 4: 20 messages a second, 40 at once).
// Law: a message is never dropped, and what was read is acknowledged once there is room, the newest only. It refuses to
// hold more than is said in the handshake of every organisation: acknowledgements are counted, not queued.

/** Below what the server takes, so that none of ours is dropped. */
const AT_ONCE = 30;
const A_SECOND = 15;

/** A message to the server. */
export type Message = { readonly kind: string } & Readonly<Record<string, unknown>>;

/** Sends in time. */
export class Outgoing {
  readonly #send: (text: string) => void;
  readonly #waiting: Message[] = [];
  readonly #acks = new Map<string, number>();
  #room = AT_ONCE;
  #countedMs = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (text: string) => void) {
    this.#send = send;
  }

  /** Says this, in its turn. */
  say(message: Message): void {
    this.#waiting.push(message);
    this.#drain();
  }

  /** Everything up to `offset` was taken in. */
  ack(id: string, offset: number): void {
    this.#acks.set(id, offset);
    this.#drain();
  }

  /** Says nothing any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
    this.#acks.clear();
  }

  #drain(): void {
    const nowMs = performance.now();
    this.#room = Math.min(AT_ONCE, this.#room + ((nowMs - this.#countedMs) * A_SECOND) / 1000);
    this.#countedMs = nowMs;
    for (let next = this.#next(); next; next = this.#next()) {
      this.#room -= 1;
      this.#send(JSON.stringify(next));
    }
    clearTimeout(this.#timer);
    if (this.#waiting.length + this.#acks.size > 0) this.#timer = setTimeout(() => this.#drain(), 1000 / A_SECOND);
  }

  #next(): Message | undefined {
    if (this.#room < 1) return undefined;
    const message = this.#waiting.shift();
    if (message) return message;
    for (const [id, offset] of this.#acks) {
      this.#acks.delete(id);
      return { kind: "ack", id, offset };
    }
    return undefined;
  }
}
