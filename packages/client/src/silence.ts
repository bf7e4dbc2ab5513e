// Whether something that promised to speak has fallen silent.
// Law: a timer that comes late, after a sleep or in a hidden tab, says nothing about the other side yet: what came
// meanwhile is heard first.

/** A timer that is so late was held up, and what was to be heard may have been, too. */
const LATE_MS = 2_000;

/** Calls once nothing was heard for as long as promised. */
export class Silence {
  readonly #silent: () => void;
  #dueMs: number;
  #late = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(promiseMs: number, silent: () => void) {
    this.#silent = silent;
    this.#dueMs = performance.now() + promiseMs;
    this.#arm();
  }

  /** Something was heard; the next comes within the promise. */
  heard(promiseMs: number): void {
    this.#late = false;
    this.#dueMs = performance.now() + promiseMs;
  }

  /** Something was asked, and is answered within so long. */
  asked(answerMs: number): void {
    const dueMs = performance.now() + answerMs;
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    this.stop();
    this.#arm();
  }

  /** Nothing is waited for any more. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    this.#timer = setTimeout(() => this.#look(), Math.max(0, this.#dueMs - performance.now()));
  }

  #look(): void {
    const lateMs = performance.now() - this.#dueMs;
    if (lateMs >= 0 && (this.#late || lateMs < LATE_MS)) return this.#silent();
    if (lateMs >= 0) {
      this.#late = true;
      this.#dueMs = performance.now() + LATE_MS;
    }
    this.#arm();
  }
}
