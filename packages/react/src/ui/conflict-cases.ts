// What a person is asked, put together from the outbox: one case for what is decided in one go.
// Laws: each conflicted edit is in one case and no other; a row that others deleted is one case with all that was typed
// into it; edits that were made together are one case; a case is named by its first edit, so it stays itself while the
// other side changes.

import type { Conflict, EntityKey, Fields, Json, MergedPiece, OutboxEntry, Theirs } from "@antiphon/client";

/** What happened: both changed a field, others deleted what was changed here, or changed what was deleted here. */
export type CaseKind = "fields" | "gone" | "deletion";

/** One field of a case. */
export interface CaseField {
  /** Names the edit in the outbox. */
  readonly key: string;
  readonly field: string;
  /** What it was before; undefined where that is not known. */
  readonly base: Json | undefined;
  readonly mine: Json;
  readonly theirs: Json;
  /** How the texts meet, where all three are texts. */
  readonly pieces: readonly MergedPiece[] | undefined;
}

/** What is decided in one go. */
export interface ConflictCase extends EntityKey {
  /** Names the case, as long as it lasts. */
  readonly key: string;
  readonly kind: CaseKind;
  /** The fields at stake; for a deletion, those that the others changed. */
  readonly fields: readonly CaseField[];
  /** The other side, as it is now. */
  readonly theirs: Theirs;
  /** When I did it, in milliseconds since 1970. */
  readonly mineAtMs: number;
  /** Names the version of the other side that this shows. */
  readonly version: string;
  /** For a deletion: whether it is known what the others changed. */
  readonly known: boolean;
  /** What is handed to the machine. */
  readonly conflicts: readonly Conflict[];
}

/** How texts meet: the machine's own `mergeText`. */
export type MergeText = (base: string, mine: string, theirs: string) => readonly MergedPiece[];

type Disputed = OutboxEntry & { readonly theirs: Theirs };

/** Puts the cases together, in the order of the outbox. */
export function casesOf(entries: readonly OutboxEntry[], mergeText?: MergeText): ConflictCase[] {
  const cases = new Map<string, Disputed[]>();
  for (const entry of entries) {
    if (entry.state !== "conflicted" || !entry.theirs) continue;
    const disputed = entry as Disputed;
    const name = caseName(disputed);
    const members = cases.get(name);
    if (members) members.push(disputed);
    else cases.set(name, [disputed]);
  }
  return [...cases.values()].map((members) => caseOf(members, mergeText));
}

function caseName({ theirs, group, entityType, entityId }: Disputed): string {
  return theirs.gone ? JSON.stringify([entityType, entityId]) : group;
}

function caseOf(members: readonly Disputed[], mergeText: MergeText | undefined): ConflictCase {
  const first = members[0]!;
  const latest = members.reduce((one, other) => ((other.theirs.at ?? "") > (one.theirs.at ?? "") ? other : one));
  const { entityType, entityId } = first;
  const shared = {
    key: first.key,
    entityType,
    entityId,
    theirs: latest.theirs,
    mineAtMs: Math.max(...members.map(({ createdMs }) => createdMs)),
    version: JSON.stringify(members.map(({ key, theirs }) => [key, theirs.id, theirs.gone])),
    conflicts: members.map(conflictOf),
  };
  if (first.theirs.gone) return { ...shared, kind: "gone", known: true, fields: members.flatMap(typedFields) };
  if (first.change.do === "delete") {
    const changed = changedFields(first, first.change.row);
    return { ...shared, kind: "deletion", known: changed !== undefined, fields: changed ?? [] };
  }
  return { ...shared, kind: "fields", known: true, fields: members.flatMap((entry) => disputedField(entry, mergeText)) };
}

function disputedField(entry: Disputed, mergeText: MergeText | undefined): CaseField[] {
  if (entry.change.do !== "value") return [];
  const { field, value: mine } = entry.change;
  const { key, base, theirs: { value: theirs } } = entry;
  const texts = typeof base === "string" && typeof mine === "string" && typeof theirs === "string";
  return [{ key, field, base, mine, theirs, pieces: texts ? mergeText?.(base, mine, theirs) : undefined }];
}

/** What was typed into a row that is gone. */
function typedFields(entry: Disputed): CaseField[] {
  const { key, base, change } = entry;
  if (change.do === "create") {
    return Object.entries(change.data).map(([field, mine]) => ({ key, field, base: undefined, mine, theirs: null, pieces: undefined }));
  }
  if (change.do !== "value") return [];
  return [{ key, field: change.field, base, mine: change.value, theirs: null, pieces: undefined }];
}

/** What the others changed of a row that was deleted here; undefined where that is not known. */
function changedFields(entry: Disputed, row: Fields | null): CaseField[] | undefined {
  const now = entry.theirs.value;
  if (row === null || typeof now !== "object" || now === null || Array.isArray(now)) return undefined;
  const names = [...new Set([...Object.keys(row), ...Object.keys(now)])];
  return names
    .filter((field) => JSON.stringify(row[field]) !== JSON.stringify(now[field]))
    .map((field) => ({
      key: entry.key, field, base: row[field], mine: row[field] ?? null, theirs: now[field] ?? null, pieces: undefined,
    }));
}

function conflictOf(entry: Disputed): Conflict {
  const { key, group, entityType, entityId, change, base, theirs } = entry;
  const field = "field" in change ? change.field : null;
  const mine = change.do === "value" ? change.value : change.do === "create" ? change.data : null;
  return { key, group, entityType, entityId, field, base, mine, theirs };
}

/** What was chosen at the places where both sides changed a text. */
export type Pick = "mine" | "theirs" | "both";

/** Puts a text together from its pieces and what was chosen; mine where nothing was. */
export function putTogether(pieces: readonly MergedPiece[], picks: readonly (Pick | undefined)[]): string {
  let place = -1;
  return pieces.map((piece) => {
    if ("merged" in piece) return piece.merged;
    place += 1;
    return pickedText(piece.overlap, picks[place] ?? "mine");
  }).join("");
}

function pickedText({ mine, theirs }: { readonly mine: string; readonly theirs: string }, pick: Pick): string {
  if (pick === "mine") return mine;
  if (pick === "theirs") return theirs;
  // Two texts that meet without a space would become one word.
  const apart = mine === "" || theirs === "" || /\s$/u.test(mine) || /^\s/u.test(theirs);
  return apart ? mine + theirs : `${mine} ${theirs}`;
}
