// How a person goes through what is asked of them: what is shown, chosen, typed, and taken back again.
// Laws: a choice names the version that was on screen, and is held until the person finishes, so that it can be undone
// whole; a held choice about a version that is old by now is given back to be chosen once more; what was typed goes away
// only with the question it was typed for. Nothing here has an effect: `decisionsOf` says what is to be done.

import type { Conflict, Decision, Json } from "@antiphon/client";

import { type CaseField, type ConflictCase, type Pick, putTogether } from "./conflict-cases.js";

/** What a person may choose; which of them, depends on the kind of the case. */
export type Choice = "mine" | "theirs" | "merge" | "restore" | "letGo" | "delete" | "keepRow";

/** A choice that was made and is not carried out yet. */
export interface Held {
  readonly about: ConflictCase;
  readonly choice: Choice;
  /** What each edit becomes, where both sides were put together. */
  readonly values: Readonly<Record<string, Json>>;
}

/** What is told without being asked. */
export type DecidingNotice =
  | { readonly kind: "changedAgain" | "decided"; readonly about: ConflictCase; readonly choice?: Choice }
  | { readonly kind: "reopened" | "ended" | "undone" | "copied" | "notCopied" };

/** What was typed and picked for one edit. */
export interface Draft {
  readonly typed?: Json;
  readonly picks: Readonly<Record<string, Pick>>;
}

/** How far a person is. */
export interface Deciding {
  readonly open: boolean;
  readonly cases: readonly ConflictCase[];
  readonly currentKey: string | undefined;
  readonly held: readonly Held[];
  readonly drafts: Readonly<Record<string, Draft>>;
  readonly notice: DecidingNotice | undefined;
}

/** What happens. */
export type Step =
  | { readonly step: "begin"; readonly cases: readonly ConflictCase[]; readonly drafts: Readonly<Record<string, Draft>> }
  | { readonly step: "takeUp"; readonly drafts: Readonly<Record<string, Draft>> }
  | { readonly step: "see"; readonly cases: readonly ConflictCase[] }
  | { readonly step: "show"; readonly key?: string | undefined; readonly notice?: DecidingNotice }
  | { readonly step: "close" | "undo" }
  | { readonly step: "go"; readonly by: 1 | -1 }
  | { readonly step: "choose"; readonly choice: Choice }
  | { readonly step: "pick"; readonly key: string; readonly place: string; readonly pick: Pick }
  | { readonly step: "type"; readonly key: string; readonly value: Json }
  | { readonly step: "startAgain"; readonly key: string }
  | { readonly step: "tell"; readonly notice: DecidingNotice };

/** The beginning; `drafts` are what was typed before. */
export function begin(cases: readonly ConflictCase[], drafts: Readonly<Record<string, Draft>> = {}): Deciding {
  return { open: false, cases, currentKey: cases[0]?.key, held: [], drafts, notice: undefined };
}

/** Takes a step. */
export function decide(now: Deciding, step: Step): Deciding {
  switch (step.step) {
    case "begin": return { ...begin(step.cases, step.drafts), open: now.open };
    // What was kept by a page that is gone; what is being typed here goes before it.
    case "takeUp": return { ...now, drafts: { ...step.drafts, ...now.drafts } };
    case "see": return seen(now, step.cases);
    case "show": return withCurrent({ ...now, open: true, notice: step.notice }, caseWith(now, step.key) ?? now.currentKey);
    case "close": return { ...now, open: false, held: [], notice: undefined };
    case "go": return gone(now, step.by);
    case "choose": return chosen(now, step.choice);
    case "undo": return undone(now);
    case "pick": return drafted(now, step.key, (draft) => (
      { ...draft, picks: { ...draft.picks, [step.place]: step.pick } }));
    case "type": return drafted(now, step.key, (draft) => ({ ...draft, typed: step.value }));
    case "startAgain": return drafted(now, step.key, ({ picks }) => ({ picks }));
    case "tell": return { ...now, notice: step.notice };
  }
}

/** The cases that are not chosen yet. */
export function undecided({ cases, held }: Deciding): readonly ConflictCase[] {
  return cases.filter(({ key }) => !held.some(({ about }) => about.key === key));
}

/** The case on screen; undefined where all are chosen, or there is none. */
export function currentOf(now: Deciding): ConflictCase | undefined {
  const open = undecided(now);
  return open.find(({ key }) => key === now.currentKey) ?? open[0];
}

/** What is to be said to the machine about a held choice. */
export function decisionsOf({ about, choice, values }: Held): readonly { readonly conflict: Conflict; readonly decision: Decision }[] {
  if (choice === "restore") {
    const conflict = about.conflicts[0];
    return conflict ? [{ conflict, decision: "restore" }] : [];
  }
  return about.conflicts.map((conflict) => ({ conflict, decision: decisionOf(choice, values[conflict.key]) }));
}

function decisionOf(choice: Choice, value: Json | undefined): Decision {
  if (choice === "merge" && value !== undefined) return { merge: value };
  return choice === "theirs" || choice === "letGo" || choice === "keepRow" ? "keepTheirs" : "keepMine";
}

/** Names a place where both sides changed a text, as long as neither changes it again. */
export function placeName(overlap: { readonly base: string; readonly mine: string; readonly theirs: string }): string {
  return JSON.stringify([overlap.base, overlap.mine, overlap.theirs]);
}

/** The one place of a field that is chosen as a whole. */
export const WHOLE = "whole";

/** What a field becomes as things stand: what was typed, or what was picked. */
export function valueOf(field: CaseField, draft: Draft | undefined): Json {
  if (draft?.typed !== undefined) return draft.typed;
  const picks = draft?.picks ?? {};
  if (!field.pieces) return picks[WHOLE] === "theirs" ? field.theirs : field.mine;
  const chosenPicks = field.pieces.flatMap((piece) => ("overlap" in piece ? [picks[placeName(piece.overlap)]] : []));
  return putTogether(field.pieces, chosenPicks);
}

/** Finds the case that an edit belongs to. */
function caseWith({ cases }: Deciding, key: string | undefined): string | undefined {
  return cases.find((one) => one.conflicts.some((conflict) => conflict.key === key))?.key;
}

function drafted(now: Deciding, key: string, change: (draft: Draft) => Draft): Deciding {
  return { ...now, drafts: { ...now.drafts, [key]: change(now.drafts[key] ?? { picks: {} }) } };
}

function withCurrent(now: Deciding, key: string | undefined): Deciding {
  return { ...now, currentKey: currentOf({ ...now, currentKey: key })?.key };
}

function gone(now: Deciding, by: 1 | -1): Deciding {
  const open = undecided(now);
  const index = open.findIndex(({ key }) => key === currentOf(now)?.key);
  const next = open[(index + by + open.length) % open.length];
  return { ...now, currentKey: next?.key, notice: undefined };
}

function chosen(now: Deciding, choice: Choice): Deciding {
  const about = currentOf(now);
  if (!about) return now;
  const values = Object.fromEntries(about.fields.map((field) => [field.key, valueOf(field, now.drafts[field.key])]));
  const index = undecided(now).findIndex(({ key }) => key === about.key);
  const held = [...now.held, { about, choice, values: choice === "merge" ? values : {} }];
  const left = undecided({ ...now, held });
  return { ...now, held, currentKey: (left[index] ?? left[0])?.key, notice: { kind: "decided", about, choice } };
}

function undone(now: Deciding): Deciding {
  const last = now.held.at(-1);
  if (!last) return now;
  return { ...now, held: now.held.slice(0, -1), currentKey: last.about.key, notice: { kind: "undone" } };
}

/** The other side, or the outbox, is different now. */
function seen(now: Deciding, cases: readonly ConflictCase[]): Deciding {
  const byKey = new Map(cases.map((one) => [one.key, one]));
  const held = now.held.filter(({ about }) => byKey.get(about.key)?.version === about.version);
  const before = currentOf(now);
  const present = before && byKey.get(before.key);
  const lost = now.held.find((one) => !held.includes(one));
  let { notice } = now;
  if (lost) notice = byKey.has(lost.about.key) ? { kind: "reopened" } : { kind: "ended" };
  else if (now.open && before && !present) notice = { kind: "ended" };
  else if (now.open && before && present && present.version !== before.version) notice = { kind: "changedAgain", about: present };
  const keys = new Set(cases.flatMap(({ fields, conflicts }) => [...fields, ...conflicts].map(({ key }) => key)));
  const drafts = Object.fromEntries(Object.entries(now.drafts).filter(([key]) => keys.has(key)));
  const back = lost && byKey.has(lost.about.key) ? lost.about.key : now.currentKey;
  return withCurrent({ ...now, cases, held, drafts, notice }, back);
}
