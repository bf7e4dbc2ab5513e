// What undo and redo of this tab would do next, so that a button can say it, or be off.
// Law: it goes along with the machine's own list, step by step: what was done, taken back and done again, and no more of it
// than the machine keeps. Whether a step is still possible is the machine's to say: others may have written since.

/** So many steps can be taken back. */
const STEPS_MAX = 100;

/** Something that was done in one go. */
export interface UndoStep {
  readonly do: "create" | "set" | "add" | "elements" | "delete";
  readonly entityType: string;
  readonly entityId: string;
  /** The fields that it is about; none where it makes or removes the row. */
  readonly fields: readonly string[];
}

/** What undo would take back, and what redo would do again; null where there is nothing. */
export interface Undoable {
  readonly undo: UndoStep | null;
  readonly redo: UndoStep | null;
}

const NOTHING: Undoable = { undo: null, redo: null };

/** Keeps what was done in this tab. */
export class Undoing {
  readonly #listeners = new Set<(undoable: Undoable) => void>();
  #done: UndoStep[] = [];
  #undone: UndoStep[] = [];
  #now: Undoable = NOTHING;

  /** What comes next; the same object until it changes. */
  get now(): Undoable {
    return this.#now;
  }

  /** Calls `listener` at once and after each change, until the returned function is called. */
  subscribe(listener: (undoable: Undoable) => void): () => void {
    const mine = (undoable: Undoable) => listener(undoable);
    this.#listeners.add(mine);
    listener(this.#now);
    return () => { this.#listeners.delete(mine); };
  }

  /** An edit was made, as it was handed to the machine. */
  did(edit: Readonly<Record<string, unknown>>): void {
    const fields = "field" in edit ? [String(edit.field)] : edit.edit === "set" ? Object.keys(Object(edit.fields) as object) : [];
    this.#undone = [];
    this.#push({ do: edit.edit as UndoStep["do"], entityType: String(edit.entityType), entityId: String(edit.entityId), fields });
  }

  /** The last step was taken back, or could not be; it is none any more. */
  undid(done: boolean): void {
    const step = this.#done.pop();
    if (step && done) this.#undone.push(step);
    this.#tell();
  }

  /** The step that was taken back last was done again, or could not be. */
  redid(done: boolean): void {
    const step = this.#undone.pop();
    if (step && done) this.#push(step);
    else this.#tell();
  }

  /** The machine began anew, and knows of nothing. */
  clear(): void {
    [this.#done, this.#undone] = [[], []];
    this.#tell();
  }

  #push(step: UndoStep): void {
    this.#done.push(step);
    if (this.#done.length > STEPS_MAX) this.#done.shift();
    this.#tell();
  }

  #tell(): void {
    const [undo, redo] = [this.#done.at(-1) ?? null, this.#undone.at(-1) ?? null];
    if (this.#now.undo === undo && this.#now.redo === redo) return;
    this.#now = { undo, redo };
    for (const listener of [...this.#listeners]) listener(this.#now);
  }
}
