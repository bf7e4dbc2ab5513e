// What a person types into a merge of a conflict, kept until the conflict is decided: it outlives the page.
// Laws: it is kept at every stroke, beside the records, as drafts are; what a tab that is gone has left is taken up by the
// next one that asks; what is about no conflict any more is forgotten. What it says is its owner's business.

import type { Left } from "./leaving.js";
import type { Json } from "./words.js";

/** How the names of what is kept begin; those of drafts are JSON. */
export const MERGE_PREFIX = "merge ";

/** What merges are made of. */
export interface MergeParts {
  readonly keep: (name: string, text: string | null) => void;
  /** What tabs that are gone have kept. */
  readonly left: () => Promise<Left[]>;
  /** The edits about which a person is asked. */
  readonly asked: () => ReadonlySet<string>;
}

/** What was typed into merges, by the edit that it is about. */
export class Merges {
  readonly #parts: MergeParts;
  readonly #typed = new Map<string, Json>();
  readonly #listeners = new Set<(typed: ReadonlyMap<string, Json>) => void>();

  constructor(parts: MergeParts) {
    this.#parts = parts;
  }

  /** Keeps what was typed about an edit, or forgets it. */
  keep(key: string, typed: Json | null): void {
    const text = typed === null ? null : JSON.stringify(typed);
    if ((this.#typed.has(key) ? JSON.stringify(this.#typed.get(key)) : null) === text) return;
    if (typed === null) this.#typed.delete(key);
    else this.#typed.set(key, typed);
    this.#parts.keep(MERGE_PREFIX + key, text);
  }

  /** Calls `listener` with what was typed once it was read, and when another tab has left something. */
  subscribe(listener: (typed: ReadonlyMap<string, Json>) => void): () => void {
    const mine = (typed: ReadonlyMap<string, Json>) => listener(typed);
    this.#listeners.add(mine);
    void this.takeUp();
    return () => { this.#listeners.delete(mine); };
  }

  /** Takes up what tabs that are gone have left about what is still asked. */
  async takeUp(): Promise<void> {
    if (this.#listeners.size === 0) return;
    // Where it cannot be read, or everything was closed meanwhile, it stays for the next.
    const left = await this.#parts.left().catch(() => []);
    if (this.#listeners.size === 0) return;
    const asked = this.#parts.asked();
    for (const { name, text, drop } of left) {
      if (!name.startsWith(MERGE_PREFIX)) continue;
      const key = name.slice(MERGE_PREFIX.length);
      if (asked.has(key) && !this.#typed.has(key)) this.#takeUp(key, text);
      drop();
    }
    for (const key of [...this.#typed.keys()]) if (!asked.has(key)) this.keep(key, null);
    for (const listener of [...this.#listeners]) listener(new Map(this.#typed));
  }

  #takeUp(key: string, text: string): void {
    try {
      this.keep(key, JSON.parse(text) as Json);
    } catch {
      // Half written, and so nothing.
    }
  }
}
