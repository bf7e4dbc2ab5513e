// Everything that a dialog about conflicts does, without how it looks.
// Laws: what was typed outlives the dialog, and the component it stands in; choices are carried out when the dialog is
// closed, in whatever way, or the page goes away; one that meets a newer version opens the dialog once more.

import { AntiphonError, type Json } from "@antiphon/client";
import { useCallback, useEffect, useMemo, useReducer, useRef, useState } from "react";

import { useOrganization } from "../provider.js";
import { useConflicts, useOutbox } from "../sync.js";
import { type CaseField, type ConflictCase, type Pick, casesOf } from "./conflict-cases.js";
import {
  begin, type Choice, currentOf, decide, type Deciding, decisionsOf, type Draft, type DecidingNotice, type Held, type Step, undecided, valueOf,
} from "./deciding.js";
import { copyText } from "./surface.js";

/** What a dialog about conflicts shows and does. */
export interface ConflictDialogState {
  readonly open: boolean;
  /** The case on screen; undefined where all are chosen, or there is none. */
  readonly current: ConflictCase | undefined;
  /** Which of how many it is, from one. */
  readonly position: number;
  readonly total: number;
  /** How many are chosen, and not carried out yet. */
  readonly held: number;
  readonly notice: DecidingNotice | undefined;
  /** Opens it, at a case or at any edit of one. */
  readonly show: (key?: string) => void;
  /** Closes it; what was chosen is carried out, what was typed is kept. */
  readonly close: () => void;
  readonly next: () => void;
  readonly previous: () => void;
  readonly choose: (choice: Choice) => void;
  /** Takes the last choice back. */
  readonly undo: () => void;
  readonly draftOf: (field: CaseField) => Draft | undefined;
  readonly valueOf: (field: CaseField) => Json;
  readonly pick: (field: CaseField, place: string, pick: Pick) => void;
  readonly type: (field: CaseField, value: Json) => void;
  readonly startAgain: (field: CaseField) => void;
  /** Copies a text, and says whether that worked. */
  readonly copy: (text: string) => void;
}

/** What was typed, by organisation: a dialog that is taken off the page and comes back has it again. */
const typedBefore = new WeakMap<object, Readonly<Record<string, Draft>>>();

function typedIn(organization: object | null): Readonly<Record<string, Draft>> {
  return (organization ? typedBefore.get(organization) : undefined) ?? {};
}

/** The conflicts of the provider above, one after the other. */
export function useConflictDialog(): ConflictDialogState {
  const organization = useOrganization();
  const { entries } = useOutbox();
  const { resolve } = useConflicts();
  const cases = useMemo(
    () => casesOf(entries, organization ? (base, mine, theirs) => organization.mergeText(base, mine, theirs) : undefined),
    [entries, organization],
  );
  const [now, step] = useReducer(decide, undefined, () => begin(cases, typedIn(organization)));
  const [of, setOf] = useState(organization);
  if (of !== organization) {
    setOf(organization);
    step({ step: "begin", cases, drafts: typedIn(organization) });
  }
  // What changed meanwhile is taken in before anything is shown: nobody chooses about a version that was not on screen.
  if (now.cases !== cases) step({ step: "see", cases });
  useKept(organization, now.drafts, step);

  const latest = useRef<Deciding>(now);
  useEffect(() => { latest.current = now; });
  const carryOut = useCallback(() => {
    const { held } = latest.current;
    latest.current = { ...latest.current, held: [] };
    return held.filter((one) => !carriedOut(one, resolve));
  }, [resolve]);
  const close = useCallback(() => {
    const [newer] = carryOut();
    step({ step: "close" });
    if (newer) step({ step: "show", key: newer.about.key, notice: { kind: "reopened" } });
  }, [carryOut]);
  useLeaving(carryOut);

  const copy = useCallback((text: string) => {
    void copyText(text).then((copied) => step({ step: "tell", notice: { kind: copied ? "copied" : "notCopied" } }));
  }, []);
  const left = undecided(now);
  const current = currentOf(now);
  return {
    open: now.open,
    current,
    position: now.held.length + Math.max(0, left.findIndex((one) => one === current)) + 1,
    total: cases.length,
    held: now.held.length,
    notice: now.notice,
    show: useCallback((key?: string) => step({ step: "show", key }), []),
    close,
    next: useCallback(() => step({ step: "go", by: 1 }), []),
    previous: useCallback(() => step({ step: "go", by: -1 }), []),
    choose: useCallback((choice: Choice) => step({ step: "choose", choice }), []),
    undo: useCallback(() => step({ step: "undo" }), []),
    draftOf: (field) => now.drafts[field.key],
    valueOf: (field) => valueOf(field, now.drafts[field.key]),
    pick: useCallback((field: CaseField, place: string, pick: Pick) => step({ step: "pick", key: field.key, place, pick }), []),
    type: useCallback((field: CaseField, value: Json) => step({ step: "type", key: field.key, value }), []),
    startAgain: useCallback((field: CaseField) => step({ step: "startAgain", key: field.key }), []),
    copy,
  };
}

/** Keeps what was typed with the organisation's data, so that a reload does not lose it, and takes up what was kept. */
function useKept(
  organization: ReturnType<typeof useOrganization>, drafts: Readonly<Record<string, Draft>>, step: (step: Step) => void,
): void {
  const before = useRef(drafts);
  useEffect(() => {
    if (!organization) return;
    typedBefore.set(organization, drafts);
    const keys = new Set([...Object.keys(before.current), ...Object.keys(drafts)]);
    for (const key of keys) {
      if (before.current[key] !== drafts[key]) organization.keepMerge(key, (drafts[key] ?? null) as Json);
    }
    before.current = drafts;
  }, [organization, drafts]);
  useEffect(() => organization?.onMerges((typed) => {
    step({ step: "takeUp", drafts: Object.fromEntries([...typed].flatMap(([key, kept]) => draftOf(key, kept))) });
  }), [organization, step]);
}

/** What was kept, where it is a draft at all. */
function draftOf(key: string, kept: Json): [string, Draft][] {
  if (typeof kept !== "object" || kept === null || Array.isArray(kept)) return [];
  const { typed, picks } = kept;
  if (typeof picks !== "object" || picks === null || Array.isArray(picks)) return [];
  return [[key, { ...(typed === undefined ? {} : { typed }), picks: picks as Draft["picks"] }]];
}

/** Says what was chosen to the machine; false where the other side is newer than what was on screen. */
function carriedOut(held: Held, resolve: ReturnType<typeof useConflicts>["resolve"]): boolean {
  for (const { conflict, decision } of decisionsOf(held)) {
    try {
      resolve(conflict, decision);
    } catch (error) {
      if (!(error instanceof AntiphonError)) throw error;
      if (error.code === "NEWER") return false;
      // Decided elsewhere meanwhile, or the page goes away: the question is still there, or is not any more.
      if (!["NO_CONFLICT", "NOT_POSSIBLE", "CLOSED", "NOT_OPEN"].includes(error.code)) throw error;
    }
  }
  return true;
}

/** Carries out what was chosen when the page, or the component, goes away. */
function useLeaving(carryOut: () => unknown): void {
  const act = useRef(carryOut);
  useEffect(() => { act.current = carryOut; });
  useEffect(() => {
    const leave = () => { act.current(); };
    addEventListener("pagehide", leave);
    return () => {
      removeEventListener("pagehide", leave);
      leave();
    };
  }, []);
}
