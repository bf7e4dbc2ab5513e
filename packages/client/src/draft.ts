// A text that is being typed: kept on the device at every stroke, an edit after a rest, merged with what others write.
// Laws: nothing that was typed is lost by a reload or a crash: the next tab takes up what one that is gone has left; what others wrote goes into the text by the machine's own
// merge, and where both changed the same words the edit is made at once upon what its author saw, so that it is judged
// like any other; while an input method composes, the text is left alone.

import type { Clock } from "./clock.js";
import { AntiphonError } from "./fault.js";
import { MERGE_PREFIX } from "./merges.js";
import type { Call, Reading } from "./reading.js";
import type { Left } from "./leaving.js";
import type { Json } from "./words.js";
import type { Edit, Writing } from "./writing.js";

/** An edit is made after so long without a stroke. */
const REST_MS = 2_000;

/** A stretch of a text that became another, in UTF-16 units of the text before. */
export interface TextChange {
  readonly at: number;
  readonly removed: number;
  readonly added: number;
}

/** What a draft shows at one moment. */
export interface DraftShown {
  /** The text as the person sees it. */
  readonly text: string;
  /** Whether something was typed that is not an edit yet. */
  readonly dirty: boolean;
  /** Why what was typed cannot become an edit now: a code. It is kept all the same. */
  readonly problem: string | null;
  /** Whether the text is still to come, because it is too long to come with its row: meanwhile nothing can be typed. */
  readonly loading: boolean;
}

/** Hears what a draft shows; with `changes` where it was not typed here, to be followed by a caret. */
export type DraftListener = (shown: DraftShown, changes: readonly TextChange[] | null) => void;

/** Names a field of a row. */
export interface FieldKey {
  readonly entityType: string;
  readonly entityId: string;
  readonly field: string;
}

/** Where a caret stands after others changed the text before or behind it. */
export function movedOffset(offset: number, changes: readonly TextChange[]): number {
  let shift = 0;
  for (const { at, removed, added } of changes) {
    if (offset <= at) break;
    if (offset < at + removed) return at + shift + Math.min(offset - at, added);
    shift += added - removed;
  }
  return offset + shift;
}

/** What drafts are made of. */
export interface DraftParts {
  readonly clock: Clock;
  readonly call: Call;
  readonly reading: Reading;
  readonly writing: Writing;
  /** What tabs that are gone have kept. */
  readonly left: () => Promise<Left[]>;
  /** Keeps a draft, or forgets it. */
  readonly keep: (name: string, text: string | null) => void;
}

/** All drafts of an organisation. */
export class Drafts {
  readonly #parts: DraftParts;
  readonly #drafts = new Map<string, Draft>();

  constructor(parts: DraftParts) {
    this.#parts = parts;
  }

  /** The draft of a field; making one does nothing before it is listened to or typed into. */
  of(key: FieldKey): Draft {
    const name = JSON.stringify([key.entityType, key.entityId, key.field]);
    const there = this.#drafts.get(name);
    if (there) return there;
    const begun = () => void this.takeUp(name);
    const draft = new Draft(key, name, this.#parts, begun, (active) => this.#active(name, draft, active));
    this.#drafts.set(name, draft);
    return draft;
  }

  /** Makes edits of everything that was typed. */
  flush(): void {
    for (const draft of this.#drafts.values()) draft.flush();
  }

  /** Takes up what was typed in tabs that are gone: of one field, or of all. */
  async takeUp(only?: string): Promise<void> {
    // Where it cannot be read, it stays for the next.
    for (const left of await this.#parts.left().catch(() => [])) {
      if (left.name.startsWith(MERGE_PREFIX) || (only !== undefined && left.name !== only)) continue;
      const key = keyOf(left.name);
      if (!key || this.of(key).takeUp(left.text)) left.drop();
    }
  }

  #active(name: string, draft: Draft, active: boolean): void {
    if (active) this.#drafts.set(name, draft);
    else if (this.#drafts.get(name) === draft) this.#drafts.delete(name);
  }
}

/** A text field of a row, as it is being typed. */
export class Draft {
  readonly #key: FieldKey;
  readonly #name: string;
  readonly #parts: DraftParts;
  readonly #begun: () => void;
  readonly #active: (active: boolean) => void;
  readonly #listeners = new Set<DraftListener>();
  #stop: (() => void) | undefined;
  #unrest: (() => void) | undefined;
  /** What the field held when typing began, or when others' words were merged last. */
  #base: Json = null;
  /** The same, without edits that this device does not hold yet: what a draft that is kept was begun with. */
  #keptBase: Json = null;
  #unsaved = 0;
  #shown: DraftShown = { text: "", dirty: false, problem: null, loading: false };
  /** Whether the field's value was here once. */
  #known = false;
  #composing = false;

  /** @internal */
  constructor(key: FieldKey, name: string, parts: DraftParts, begun: () => void, active: (active: boolean) => void) {
    this.#key = key;
    this.#name = name;
    this.#parts = parts;
    this.#begun = begun;
    this.#active = active;
  }

  /** What it shows now. */
  get shown(): DraftShown {
    if (!this.#stop && !this.#shown.dirty) this.#take();
    return this.#shown;
  }

  /** Calls `listener` at once and after each change, until the returned function is called; the last one to leave flushes. */
  subscribe(listener: DraftListener): () => void {
    if (!this.#stop) this.#begin();
    // One function may listen twice; each time counts.
    const mine: DraftListener = (shown, changes) => listener(shown, changes);
    this.#listeners.add(mine);
    listener(this.#shown, null);
    return () => {
      this.#listeners.delete(mine);
      // Whoever comes back in the same step, as React does under StrictMode, finds it as it was.
      queueMicrotask(() => { if (this.#listeners.size === 0) this.#end(); });
    };
  }

  /** Takes what was typed; it is kept at once, and becomes an edit after two seconds of rest. */
  setText(text: string): void {
    if (!this.#stop && !this.#shown.dirty) this.#take();
    if (this.#shown.loading) return this.#show({ ...this.#shown, problem: "NOT_LOADED" }, null);
    if (text === this.#shown.text) return;
    this.#show({ ...this.#shown, text, dirty: text !== textOf(this.#base) }, null);
    this.#keep();
    this.#rest();
  }

  /** An input method composes, or has ended: meanwhile others' words wait. */
  composing(composing: boolean): void {
    this.#composing = composing;
    if (!composing) this.#look();
  }

  /** Makes an edit of what was typed, now; null where there is nothing, or it cannot be one (`problem`). */
  flush(): Edit | null {
    this.#look();
    return this.#shown.dirty ? this.#send() : null;
  }

  /** @internal Goes on with what was typed in a tab that is gone; false where that cannot be now. */
  takeUp(text: string): boolean {
    const kept = readKept(text);
    if (!kept) return true;
    const value = this.#value();
    if (value === undefined) return false;
    // What was typed here meanwhile is what others are to the one who typed there.
    const base = textOf(kept.base);
    const mine = this.#shown.dirty ? this.#merge(base, kept.text, this.#shown.text).text : kept.text;
    if (mine === null) return false;
    if (!this.#shown.dirty) this.#hold(kept.base);
    this.#show({ text: mine, dirty: mine !== textOf(this.#base), problem: null, loading: false }, []);
    this.#keep();
    if (this.#stop) this.#look();
    else this.flush();
    if (this.#shown.dirty) this.#rest();
    return true;
  }

  /** Forgets what was typed since the last edit. */
  discard(): void {
    this.#unrest?.();
    this.#hold(this.#value() ?? null);
    this.#show({ text: textOf(this.#base), dirty: false, problem: null, loading: this.#isLoading() }, null);
    this.#keep();
  }

  #begin(): void {
    const stop = this.#parts.reading.watch(this.#key, () => this.#look());
    this.#stop = stop;
    this.#active(true);
    this.#look();
    if (this.#shown.dirty) this.#rest();
    this.#begun();
  }

  #end(): void {
    if (!this.#stop) return;
    this.#composing = false;
    this.flush();
    this.#unrest?.();
    this.#stop();
    this.#stop = undefined;
    this.#active(false);
  }

  #value(): Json | undefined {
    try {
      return this.#parts.reading.row(this.#key.entityType, this.#key.entityId)?.[this.#key.field];
    } catch (error) {
      if (error instanceof AntiphonError) return undefined;
      throw error;
    }
  }

  #isLoading(): boolean {
    if (this.#known) return false;
    try {
      return this.#parts.reading.lacks(this.#key.entityType, this.#key.entityId, this.#key.field);
    } catch (error) {
      if (error instanceof AntiphonError) return false;
      throw error;
    }
  }

  /** Shows the field as it is. */
  #take(): void {
    const value = this.#value();
    this.#known = value !== undefined;
    this.#hold(value ?? null);
    const [text, loading] = [textOf(this.#base), this.#isLoading()];
    if (text !== this.#shown.text || loading !== this.#shown.loading) this.#shown = { text, dirty: false, problem: null, loading };
  }

  /** Takes in what the field holds by now. */
  #look(): void {
    const value = this.#composing ? undefined : this.#value();
    if (value === undefined) {
      if (!this.#composing) this.#show({ ...this.#shown, loading: this.#isLoading() }, null);
      return;
    }
    this.#known = true;
    // What a tab that is gone has left could not be taken up before.
    if (this.#shown.loading) this.#begun();
    if (value === this.#base) return this.#show({ ...this.#shown, loading: false }, null);
    const [base, { text, dirty }, theirs] = [textOf(this.#base), this.#shown, textOf(value)];
    if (!dirty && text === "") {
      this.#hold(value);
      return this.#show({ text: theirs, dirty: false, problem: null, loading: false }, []);
    }
    const merged = this.#merge(base, text, theirs);
    if (merged.text === null) {
      this.#send();
      return;
    }
    this.#hold(value);
    this.#show({ text: merged.text, dirty: merged.text !== theirs, problem: null, loading: false }, merged.changes);
    if (dirty) this.#keep();
  }

  #merge(base: string, mine: string, theirs: string): { text: string | null; changes: TextChange[] } {
    return this.#parts.call({ do: "merge", base, mine, theirs }) as { text: string | null; changes: TextChange[] };
  }

  #send(): Edit | null {
    this.#unrest?.();
    const { entityType, entityId, field } = this.#key;
    const { text } = this.#shown;
    let edit: Edit;
    try {
      edit = this.#parts.writing.edit(entityId, { edit: "set", entityType, entityId, fields: { [field]: text } }, textOf(this.#base));
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      this.#show({ ...this.#shown, problem: error.code }, null);
      return null;
    }
    this.#unsaved += 1;
    this.#hold(text);
    this.#show({ text, dirty: false, problem: null, loading: false }, null);
    // What this device does not hold as an edit stays kept as a draft.
    edit.saved.then(() => {
      this.#unsaved -= 1;
      this.#hold(this.#base);
      this.#keep();
    }, () => undefined);
    return edit;
  }

  /** From now on this is what typing begins with. */
  #hold(base: Json): void {
    this.#base = base;
    if (this.#unsaved === 0) this.#keptBase = base;
  }

  #rest(): void {
    this.#unrest?.();
    this.#unrest = this.#parts.clock.after(REST_MS, () => {
      if (this.#composing) this.#rest();
      else this.flush();
    });
  }

  #keep(): void {
    const { text, dirty } = this.#shown;
    this.#parts.keep(this.#name, dirty ? JSON.stringify({ base: this.#keptBase, text }) : null);
  }

  #show(shown: DraftShown, changes: readonly TextChange[] | null): void {
    const before = this.#shown;
    const same = before.text === shown.text && before.dirty === shown.dirty && before.problem === shown.problem;
    if (same && before.loading === shown.loading) return;
    this.#shown = shown;
    for (const listener of [...this.#listeners]) listener(shown, changes);
  }
}

function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

function readKept(kept: string): { base: Json; text: string } | undefined {
  const { base = null, text } = parsed(kept) as { base?: Json; text?: unknown };
  return typeof text === "string" ? { base, text } : undefined;
}

function keyOf(name: string): FieldKey | undefined {
  const parts = parsed(name);
  const [entityType, entityId, field] = Array.isArray(parts) ? parts as unknown[] : [];
  if (typeof entityType !== "string" || typeof entityId !== "string" || typeof field !== "string") return undefined;
  return { entityType, entityId, field };
}

/** Reads what this package wrote; what is none of it is nothing. */
function parsed(text: string): object {
  try {
    return Object(JSON.parse(text)) as object;
  } catch {
    return {};
  }
}
