// Everything that a screen of waiting changes does, without how it looks.
// Laws: nothing is discarded before it was asked once, for all that goes with it; what is being edited stays, whatever
// becomes of the change meanwhile.

import { AntiphonError, type Fields, type Json, type OutboxExport } from "@antiphon/client";
import { useCallback, useMemo, useState } from "react";

import { useOrganization } from "../provider.js";
import { type Outbox, useOutbox } from "../sync.js";
import { flat, type OutboxItem, itemsOf } from "./outbox-items.js";
import { saveFile } from "./surface.js";

/** What is told about what was done. */
export type OutboxNotice =
  | { readonly kind: "discarded" | "exported" | "imported" | "importedNone" | "importedPartly"; readonly n: number }
  | { readonly kind: "discardedNot" | "retried" | "saved" }
  | { readonly kind: "notSaved" | "notImported"; readonly code: string };

/** A change that is being edited. */
export interface OutboxEditing {
  readonly item: OutboxItem;
  readonly values: Fields;
}

/** A file with changes that is to be brought in, while that is asked. */
export interface OutboxImporting {
  readonly name: string;
  readonly n: number;
  readonly document: OutboxExport;
}

/** What a screen of waiting changes shows and does. */
export interface OutboxScreenState {
  readonly items: readonly OutboxItem[];
  readonly count: number;
  /** The changes that would go, while that is asked. */
  readonly asking: readonly OutboxItem[] | undefined;
  readonly editing: OutboxEditing | undefined;
  readonly notice: OutboxNotice | undefined;
  readonly retry: (item: OutboxItem) => void;
  /** Asks whether a change is to be discarded. */
  readonly askDiscard: (item: OutboxItem) => void;
  /** Discards what was asked about. */
  readonly discard: () => void;
  /** The file that is to be brought in, while that is asked. */
  readonly importing: OutboxImporting | undefined;
  /** Reads a file that was written by `exportFile`, and asks whether its changes are to be brought in. */
  readonly askImport: (file: Blob & { readonly name?: string }) => void;
  /** Brings in what was asked about. */
  readonly importFile: () => void;
  /** Ends asking and editing; nothing is changed. */
  readonly cancel: () => void;
  readonly edit: (item: OutboxItem) => void;
  readonly type: (field: string, value: Json) => void;
  readonly save: () => void;
  /** Writes the outbox to a file. */
  readonly exportFile: () => void;
}

/** The fields of a change that can be edited, with what they are to become. */
export function editable(item: OutboxItem): Fields {
  const found = item.entries.flatMap(({ change }): [string, Json][] => {
    if (change.do === "create") return Object.entries(change.data);
    return change.do === "value" ? [[change.field, change.value]] : [];
  });
  return Object.fromEntries(found);
}

/** The changes of the provider above that the server does not have yet. */
export function useOutboxScreen(): OutboxScreenState {
  const organization = useOrganization();
  const outbox = useOutbox();
  const { entries } = outbox;
  const [asked, ask] = useState<OutboxItem>();
  const [editing, edit] = useState<OutboxEditing>();
  const [notice, tell] = useState<OutboxNotice>();
  const items = useMemo(() => itemsOf(entries, (key) => waitsFor(organization, key)), [entries, organization]);
  const asking = useMemo(() => {
    if (!asked) return undefined;
    const keys = new Set(outbox.discardedWith(keyOf(asked)));
    return flat(items).filter((item) => item.key === asked.key || item.entries.some(({ key }) => keys.has(key)));
  }, [asked, items, outbox]);
  const [importing, askAbout] = useState<OutboxImporting>();
  const cancel = useCallback(() => { ask(undefined); edit(undefined); askAbout(undefined); }, []);
  return {
    items,
    count: entries.length,
    asking,
    editing,
    importing,
    notice,
    askImport: (file) => void opened(file).then(askAbout, (error: unknown) => tell(problemOf(error, "notImported"))),
    importFile: () => {
      if (!importing) return;
      tell(imported(outbox, importing.document));
      cancel();
    },
    retry: (item) => { if (outbox.retry(keyOf(item))) tell({ kind: "retried" }); },
    askDiscard: ask,
    discard: () => {
      const gone = asked ? outbox.discard(keyOf(asked)) : [];
      tell(gone.length > 0 ? { kind: "discarded", n: gone.length } : { kind: "discardedNot" });
      cancel();
    },
    cancel,
    edit: (item) => edit({ item, values: editable(item) }),
    type: (field, value) => edit((now) => now && { ...now, values: { ...now.values, [field]: value } }),
    save: () => {
      if (!editing) return;
      tell(saved(organization, editing));
      if (editing.item.state === "failed") outbox.retry(keyOf(editing.item));
      cancel();
    },
    exportFile: () => {
      const document = outbox.exportOutbox();
      saveFile(`changes-${document.organization}.json`, document);
      tell({ kind: "exported", n: document.entries.length });
    },
  };
}

/** The edit that says how the whole item stands. */
function keyOf(item: OutboxItem): string {
  return (item.entries.find(({ state }) => state === item.state) ?? item.entries[0])?.key ?? "";
}

type Editable = { collection(entityType: string): { update(id: string, fields: Fields): unknown } };

function saved(organization: object | null, { item, values }: OutboxEditing): OutboxNotice {
  const before = editable(item);
  const changed = Object.entries(values).filter(([field, value]) => JSON.stringify(before[field]) !== JSON.stringify(value));
  if (changed.length === 0) return { kind: "saved" };
  try {
    // Which types there are is known to the application only.
    if (!organization) throw new AntiphonError("NOT_OPEN");
    (organization as Editable).collection(item.entityType).update(item.entityId, Object.fromEntries(changed));
    return { kind: "saved" };
  } catch (error) {
    return problemOf(error, "notSaved");
  }
}

function problemOf(error: unknown, kind: "notSaved" | "notImported"): OutboxNotice {
  if (error instanceof AntiphonError) return { kind, code: error.code };
  throw error;
}

/** Reads a file far enough to say how much is in it; the machine looks at the rest. */
async function opened(file: Blob & { readonly name?: string }): Promise<OutboxImporting> {
  const document = await file.text().then((text) => JSON.parse(text) as Partial<OutboxExport> | null).catch(() => null);
  const entries = document?.entries;
  if (!Array.isArray(entries)) throw new AntiphonError("NOT_AN_EXPORT");
  return { name: file.name ?? "", n: entries.length, document: document as OutboxExport };
}

function imported(outbox: Outbox, document: OutboxExport): OutboxNotice {
  try {
    const { taken, unreadable } = outbox.importOutbox(document);
    if (unreadable > 0) return { kind: "importedPartly", n: unreadable };
    return { kind: taken > 0 ? "imported" : "importedNone", n: taken };
  } catch (error) {
    return problemOf(error, "notImported");
  }
}

function waitsFor(organization: ReturnType<typeof useOrganization>, key: string): string | null {
  try {
    return organization?.waits(key) ?? null;
  } catch (error) {
    // Signed out meanwhile: what is on screen stays as it was.
    if (error instanceof AntiphonError) return null;
    throw error;
  }
}
