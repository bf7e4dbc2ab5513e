// How one row, or one field of it, stands: a sign and a word.
// Law: never colour alone, and never the sign alone: what is not seen as a word is read as one.

import type { EntityKey, OutboxEntry } from "@antiphon/client";
import { type ReactNode, useMemo } from "react";

import { useOutbox } from "../sync.js";
import { UiProvider, type UiSettings, useUi } from "./settings.js";

/** How a row or a field stands. */
export type BadgeState = "saved" | "here" | "sending" | "conflict" | "rejected";

const OF_STATE: Readonly<Record<OutboxEntry["state"], BadgeState>> = {
  pending: "here", sent: "sending", accepted: "sending", conflicted: "conflict", failed: "rejected",
};
const PRESSING: readonly BadgeState[] = ["conflict", "rejected", "here", "sending"];
const SIGNS: Readonly<Record<BadgeState, string>> = { saved: "✓", here: "●", sending: "↑", conflict: "!", rejected: "✕" };

/** What a badge is about: a row, or a field of it. */
export interface BadgeAbout extends EntityKey {
  readonly field?: string;
}

/** How a row, or a field of it, stands. */
export function useSyncBadge({ entityType, entityId, field }: BadgeAbout): BadgeState {
  const { entries } = useOutbox();
  return useMemo(() => {
    const mine = entries.filter((entry) => (
      entry.entityType === entityType && entry.entityId === entityId && (field === undefined || concerns(entry, field))));
    const states = mine.map(({ state }) => OF_STATE[state]);
    return PRESSING.find((state) => states.includes(state)) ?? "saved";
  }, [entries, entityType, entityId, field]);
}

function concerns({ change }: OutboxEntry, field: string): boolean {
  if (change.do === "create") return Object.hasOwn(change.data, field);
  return change.do === "delete" || change.field === field;
}

/** What the badge is given: what `useSyncBadge` gives, and how it looks. */
export interface SyncBadgeProps extends UiSettings {
  readonly state: BadgeState;
  /** The sign alone is seen; the word is still read. */
  readonly compact?: boolean;
  /** Shows that all is saved, too; nothing is shown then where this is left out. */
  readonly showSaved?: boolean;
}

/** How a row, or a field of it, stands: a sign and a word. */
export function SyncBadge({ state, compact = false, showSaved = false, ...settings }: SyncBadgeProps): ReactNode {
  if (state === "saved" && !showSaved) return null;
  return <UiProvider {...settings}><Badge state={state} compact={compact} /></UiProvider>;
}

function Badge({ state, compact }: { readonly state: BadgeState; readonly compact: boolean }): ReactNode {
  const { say, locale, direction } = useUi();
  const word = say(`badge.${state}`);
  return (
    <span className="antiphon antiphon-badge" lang={locale} dir={direction} data-state={state} title={compact ? word : undefined}>
      <Sign state={state} />
      <span className={compact ? "antiphon-unseen" : undefined}>{word}</span>
    </span>
  );
}

function Sign({ state }: { readonly state: BadgeState }): ReactNode {
  return <span className="antiphon-sign" data-state={state} aria-hidden="true">{SIGNS[state]}</span>;
}

/** The sign of an edit's state, beside its word. */
export function StateMark({ state }: { readonly state: OutboxEntry["state"] }): ReactNode {
  return <Sign state={OF_STATE[state]} />;
}
