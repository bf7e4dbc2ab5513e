// An organisation whose data are written down in a story: it is shown by the real hooks, and nothing leaves the page.
// Law: what a component asks for is answered from the story, and what it does is noted in `deeds`.

import {
  AntiphonError, type Client, type Conflict, type Decision, type Edit, type Fields, type Imported, type Json, type MergedPiece, type OutboxEntry, type OutboxExport,
  type PendingAtSignOut, type Status, type Told,
} from "@antiphon/client";

/** What a story says of the data. */
export interface Scene {
  readonly status?: Partial<Status>;
  readonly entries?: readonly OutboxEntry[];
  /** What an edit waits for, by key. */
  readonly waits?: Readonly<Record<string, string>>;
  /** How texts meet, by my text. */
  readonly pieces?: Readonly<Record<string, readonly MergedPiece[]>>;
  /** What was typed into merges before the page was loaded, by key. */
  readonly merges?: Readonly<Record<string, Json>>;
  /** Fails signing out with this code. */
  readonly signOutFails?: string;
}

/** Half past eleven, on the day of all stories. */
export const NOW_MS = Date.UTC(2026, 10, 21, 11, 30);

const QUIET: Status = {
  connection: "online", refusedStatus: null, leading: true, listed: true, rows: 42, pending: 0, conflicted: 0, failed: 0,
  transport: "socket", asOf: new Date(NOW_MS - 5_000).toISOString(), storage: "device", persisted: true, notices: [],
};

/** Stands in for an organisation. */
export class FakeOrganization {
  readonly id = "acme";
  /** What was done with it, in order. */
  readonly deeds: unknown[] = [];
  /** What was kept of merges, in order. */
  readonly kept: unknown[] = [];
  /** Refuses the next decision with this code. */
  refuseNext: string | undefined;
  readonly #scene: Scene;
  readonly #told = new Set<(told: Told) => void>();
  readonly #hearing = new Set<(status: Status) => void>();
  #entries: readonly OutboxEntry[];
  #status: Status;

  constructor(scene: Scene) {
    this.#scene = scene;
    this.#entries = scene.entries ?? [];
    this.#status = { ...this.#counted(), ...scene.status };
  }

  /** Changes what is in the outbox, as the machine would. */
  change(how: (entries: readonly OutboxEntry[]) => readonly OutboxEntry[]): void {
    this.#entries = how(this.#entries);
    this.#status = { ...this.#status, ...this.#counted(), ...this.#scene.status };
    for (const hear of [...this.#hearing]) hear(this.#status);
    this.tell({ told: "outbox" });
  }

  /** Tells something, as the machine would. */
  tell(told: Told): void {
    for (const hear of [...this.#told]) hear(told);
  }

  get status(): Status {
    return this.#status;
  }

  onStatus(hear: (status: Status) => void): () => void {
    this.#hearing.add(hear);
    hear(this.#status);
    return () => { this.#hearing.delete(hear); };
  }

  onTold(hear: (told: Told) => void): () => void {
    this.#told.add(hear);
    return () => { this.#told.delete(hear); };
  }

  outbox(): OutboxEntry[] {
    return [...this.#entries];
  }

  conflicts(): Conflict[] {
    return [];
  }

  journal(): [] {
    return [];
  }

  resolve(conflict: Conflict, decision: Decision): void {
    const entry = this.#entries.find(({ key }) => key === conflict.key);
    const refused = this.refuseNext;
    this.refuseNext = undefined;
    if (refused !== undefined) throw new AntiphonError(refused);
    if (!entry) throw new AntiphonError("NO_CONFLICT");
    if (entry.theirs?.id !== conflict.theirs.id) throw new AntiphonError("NEWER");
    this.deeds.push({ resolve: conflict.key, decision });
    const gone = decision === "restore" ? (one: OutboxEntry) => one.entityId !== entry.entityId : (one: OutboxEntry) => one !== entry;
    this.change((entries) => entries.filter(gone));
  }

  mergeText(base: string, mine: string, theirs: string): readonly MergedPiece[] {
    return this.#scene.pieces?.[mine] ?? [{ overlap: { base, mine, theirs } }];
  }

  retry(key: string): boolean {
    this.deeds.push({ retry: key });
    this.change((entries) => entries.map((entry) => (entry.key === key ? sentAgain(entry) : entry)));
    return true;
  }

  discardedWith(key: string): string[] {
    const group = this.#entries.find((entry) => entry.key === key)?.group;
    const members = this.#entries.filter((entry) => entry.group === group).map((entry) => entry.key);
    const below = Object.entries(this.#scene.waits ?? {}).filter(([, parent]) => members.includes(parent)).map(([child]) => child);
    return [...members, ...below.flatMap((child) => this.discardedWith(child))];
  }

  discard(key: string): string[] {
    const gone = this.discardedWith(key);
    this.deeds.push({ discard: gone });
    this.change((entries) => entries.filter((entry) => !gone.includes(entry.key)));
    return gone;
  }

  waits(key: string): string | null {
    return this.#scene.waits?.[key] ?? null;
  }

  exportOutbox(): OutboxExport {
    this.deeds.push("export");
    return { format: 1, user: "alice", organization: "acme", entries: this.#entries.map(({ key }) => key) };
  }

  importOutbox(document: OutboxExport): Imported {
    if (document.user !== "alice") throw new AntiphonError("NOT_YOURS");
    const taken = document.entries as unknown as OutboxEntry[];
    this.deeds.push({ import: taken.length });
    this.change((entries) => [...entries, ...taken]);
    return { taken: taken.length, known: 0, unreadable: 0 };
  }

  keepMerge(key: string, typed: Json | null): void {
    this.kept.push([key, typed]);
  }

  onMerges(listener: (typed: ReadonlyMap<string, Json>) => void): () => void {
    const timer = setTimeout(() => listener(new Map(Object.entries(this.#scene.merges ?? {}))));
    return () => clearTimeout(timer);
  }

  position(): { epoch: number; offset: number } {
    return { epoch: 1, offset: 4_711 };
  }

  syncNow(): void {
    this.deeds.push("syncNow");
  }

  collection(entityType: string): { update: (id: string, fields: Fields) => Edit } {
    const settled = Promise.resolve("applied" as const);
    return {
      update: (id, fields) => {
        this.deeds.push({ update: [entityType, id, fields] });
        this.change((entries) => entries.map((entry) => (entry.entityId === id ? typed(entry, fields) : entry)));
        return { id, group: "edited", saved: Promise.resolve(), settled };
      },
    };
  }

  /** A client that opens this organisation only. */
  client(): Client<never> {
    const signOut = async ({ pending }: { readonly pending: PendingAtSignOut }) => {
      this.deeds.push({ signOut: pending });
      if (this.#scene.signOutFails !== undefined) throw new AntiphonError(this.#scene.signOutFails);
      return [];
    };
    return { org: async () => this, signOut } as unknown as Client<never>;
  }

  #counted(): Status {
    const count = (...states: OutboxEntry["state"][]) => this.#entries.filter(({ state }) => states.includes(state)).length;
    return { ...QUIET, pending: count("pending", "sent", "accepted"), conflicted: count("conflicted"), failed: count("failed") };
  }
}

function sentAgain({ refused, ...entry }: OutboxEntry): OutboxEntry {
  return refused ? { ...entry, state: "sent" } : entry;
}

function typed(entry: OutboxEntry, fields: Fields): OutboxEntry {
  const { change } = entry;
  if (change.do === "create") return { ...entry, change: { ...change, data: { ...change.data, ...fields } } };
  if (change.do !== "value" || !(change.field in fields)) return entry;
  return { ...entry, change: { ...change, value: fields[change.field] ?? null } };
}
