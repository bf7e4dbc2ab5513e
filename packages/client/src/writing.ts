// Edits: made at once, and followed until they are saved on this device and settled with the server.
// Law: an edit that the machine does not take throws by code, and nothing was changed; one that it takes is never lost
// silently: `saved` says whether this device holds it, `settled` what became of it.

import { AntiphonError, codeOf, storeCode } from "./fault.js";
import type { Call } from "./reading.js";
import type { OutboxEntry, Told } from "./words.js";

/** What became of an edit: the server has it, a person is asked, it was refused, or it was taken back. */
export type Outcome = "applied" | "conflict" | "refused" | "takenBack";

/** An edit that was made. */
export interface Edit {
  /** The row's id. */
  readonly id: string;
  /** The name of everything that was edited in one go; null where it took back what never left. */
  readonly group: string | null;
  /** Resolves once this device holds it; fails by code where it cannot be kept, and the edit is in memory only. */
  readonly saved: Promise<void>;
  /** Resolves once it is known what became of it; that may take as long as the device is offline. */
  readonly settled: Promise<Outcome>;
}

interface Followed {
  /** Whether it is saved, here or at the server. */
  held: boolean;
  saved: { resolve: () => void; reject: (error: AntiphonError) => void } | undefined;
  settle: (outcome: Outcome) => void;
}

/** Makes edits, and follows them. */
export class Writing {
  readonly #call: Call;
  readonly #did: (edit: Readonly<Record<string, unknown>>) => void;
  readonly #followed = new Map<string, Followed>();

  /** `did` hears of each edit that was made. */
  constructor(call: Call, did: (edit: Readonly<Record<string, unknown>>) => void = () => undefined) {
    this.#call = call;
    this.#did = did;
  }

  /** Makes an edit, `upon` the text that its author saw; throws by code where it is not taken. */
  edit(id: string, edit: Readonly<Record<string, unknown>>, upon?: string): Edit {
    const verb = upon === undefined ? { do: "edit", edit } : { do: "edit", edit, upon };
    const made = this.#call(verb) as { group?: string | null; refused?: string };
    if (made.refused !== undefined) throw new AntiphonError(codeOf(made.refused));
    this.#did(edit);
    const group = made.group ?? null;
    if (group === null) {
      return { id, group, saved: Promise.resolve(), settled: Promise.resolve("takenBack") };
    }
    return { id, group, ...this.#follow(group) };
  }

  /** The edits that are not confirmed, in order. */
  outbox(): OutboxEntry[] {
    return this.#call({ do: "outbox" }) as OutboxEntry[];
  }

  /** The keys of edits that were made here and are not saved. */
  unsaved(): ReadonlySet<string> {
    const groups = new Set([...this.#followed].flatMap(([group, { held }]) => (held ? [] : [group])));
    return new Set(groups.size === 0 ? [] : this.outbox().flatMap(({ key, group }) => (groups.has(group) ? [key] : [])));
  }

  /** Takes in what the machine told. */
  take(told: Told): void {
    if (this.#followed.size === 0) return;
    if (told.told === "saved") {
      const groups = new Map(this.outbox().map((entry) => [entry.key, entry.group]));
      for (const key of told.about) this.#saved(groups.get(key) ?? key);
    }
    if (told.told === "notSaved") {
      for (const { saved } of this.#followed.values()) saved?.reject(new AntiphonError(storeCode(told.about.reason)));
    }
    if (told.told === "outbox") this.look("applied");
  }

  /** Looks what became of edits; those that are gone from the outbox came to `gone`. */
  look(gone: Outcome): void {
    const states = new Map<string, Outcome | undefined>();
    for (const { group, state } of this.outbox()) {
      const outcome = state === "conflicted" ? "conflict" : state === "failed" ? "refused" : states.get(group);
      states.set(group, outcome);
    }
    for (const [group, followed] of this.#followed) {
      const outcome = states.has(group) ? states.get(group) : gone;
      if (outcome === undefined) continue;
      followed.settle(outcome);
      // What the server has does not have to be kept here.
      if (outcome === "applied") this.#saved(group);
      if (!states.has(group)) this.#followed.delete(group);
    }
  }

  #saved(group: string): void {
    const followed = this.#followed.get(group);
    if (!followed) return;
    followed.held = true;
    followed.saved?.resolve();
  }

  #follow(group: string): { saved: Promise<void>; settled: Promise<Outcome> } {
    const before = this.#followed.get(group);
    const followed: Followed = { held: false, saved: undefined, settle: () => undefined };
    const saved = new Promise<void>((resolve, reject) => { followed.saved = { resolve, reject }; });
    // Whoever does not ask is told by the status.
    saved.catch(() => undefined);
    const settled = new Promise<Outcome>((resolve) => { followed.settle = resolve; });
    if (before) join(before, followed);
    this.#followed.set(group, followed);
    return { saved, settled };
  }
}

/** An edit that went into an earlier one ends as that does. */
function join(before: Followed, after: Followed): void {
  const [saved, settle] = [after.saved, after.settle];
  after.saved = {
    resolve: () => { before.saved?.resolve(); saved?.resolve(); },
    reject: (error) => { before.saved?.reject(error); saved?.reject(error); },
  };
  after.settle = (outcome) => { before.settle(outcome); settle(outcome); };
}
