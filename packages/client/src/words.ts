// The words of the client machine's face, as docs/reference/client-face.md has them.
// Law: only names and shapes; what the machine means by them is its own business.

/** A JSON document. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
/** The fields of a row. */
export type Fields = Record<string, Json>;

/** Names a row of any type. */
export interface EntityKey {
  readonly entityType: string;
  readonly entityId: string;
}

/** The name that the store keeps a text under. */
export type RecordName =
  | "turn"
  | "meta"
  | { readonly entry: string }
  | { readonly journal: string }
  | { readonly row: { readonly generation: number; readonly entityType: string; readonly entityId: string } };

/** A record: its name and its text. */
export type StoredRecord = readonly [RecordName, string];

/** One write of a save. */
export type Write =
  | { readonly put: StoredRecord }
  | { readonly remove: RecordName }
  | { readonly clear: { readonly entityType: string; readonly generation: number } };

/** A request of the machine to the server. */
export type Ask =
  | { readonly ask: "schema" }
  | { readonly ask: "list"; readonly entityType: string; readonly after: string | null; readonly limit: number }
  | {
    readonly ask: "subset"; readonly entityType: string; readonly parameters: readonly (readonly [string, string])[];
    readonly after: string | null; readonly limit: number;
  }
  | { readonly ask: "ids"; readonly entityType: string; readonly ids: readonly string[] }
  | { readonly ask: "mutations"; readonly body: string };

/** Whether the server answers; a refusal holds HTTP's status. */
export type Network = "connecting" | "online" | "offline" | { readonly refused: number };

/** What the machine says of itself. */
export interface MachineStatus {
  readonly network: Network;
  readonly leading: boolean;
  readonly listed: boolean;
  readonly rows: number;
  readonly pending: number;
  readonly conflicted: number;
  readonly failed: number;
  readonly asOf: string | null;
  readonly notSaving: string | null;
  /** The server refuses because the user is no member any more; absent otherwise. */
  readonly expelled?: true;
}

/** What whoever shows the data is told. */
export type Told =
  | { readonly told: "rows"; readonly about: readonly EntityKey[] }
  | { readonly told: "subsets"; readonly about: readonly number[] }
  | { readonly told: "outbox" | "tokenWanted" | "newIdentity" }
  | { readonly told: "saved"; readonly about: readonly string[] }
  | { readonly told: "notSaved"; readonly about: { readonly reason: string } }
  | { readonly told: "status"; readonly about: MachineStatus }
  | { readonly told: "decided"; readonly about: JournalLine }
  | { readonly told: "conflict" | "failed"; readonly about: string }
  | { readonly told: "nonsense"; readonly about: string };

/** What the machine wants done. */
export type Want =
  | { readonly want: "request"; readonly id: number; readonly request: Ask }
  | { readonly want: "cancel"; readonly id: number }
  | { readonly want: "open"; readonly stream: number; readonly offset: number; readonly epoch: number; readonly access: string }
  | { readonly want: "close"; readonly stream: number }
  | { readonly want: "save"; readonly token: number; readonly fence: number | null; readonly writes: readonly Write[] }
  | { readonly want: "claim"; readonly beyond: number }
  | { readonly want: "read"; readonly token: number; readonly all: boolean }
  | { readonly want: "share"; readonly message: string }
  | ({ readonly want: "tell" } & Told);

/** The other side of a conflict. */
export interface Theirs {
  readonly id: string | null;
  readonly value: Json;
  readonly gone: boolean;
  readonly actor: string | null;
  readonly at: string | null;
}

/** One stretch of two edits that met: text that is settled, or a place that both changed differently. */
export type MergedPiece =
  | { readonly merged: string }
  | { readonly overlap: { readonly base: string; readonly mine: string; readonly theirs: string } };

/** What an edit does. */
export type Change =
  | { readonly do: "create"; readonly data: Fields }
  | { readonly do: "value"; readonly field: string; readonly value: Json }
  | { readonly do: "add"; readonly field: string; readonly by: Json }
  | { readonly do: "elements"; readonly field: string; readonly add: readonly Json[]; readonly remove: readonly Json[] }
  | { readonly do: "delete"; readonly row: Fields | null };

/** One edit that is not confirmed yet. */
export interface OutboxEntry extends EntityKey {
  readonly key: string;
  readonly group: string;
  readonly change: Change;
  /** What the field held when the edit began, where that is known. */
  readonly base?: Json;
  readonly state: "pending" | "sent" | "accepted" | "conflicted" | "failed";
  /** When it was made, in milliseconds since 1970. */
  readonly createdMs: number;
  /** How often the server answered about it without taking it. */
  readonly attempts: number;
  readonly theirs?: Theirs;
  readonly refused?: { readonly code: string; readonly detail: string };
}

/** One decision that was taken without asking. */
export interface JournalLine extends EntityKey {
  readonly atMs: number;
  readonly entry: string;
  readonly field: string | null;
  readonly base: Json;
  readonly mine: Json;
  readonly theirs: Theirs | null;
  readonly rule: Json;
}

/** An outbox as a document, to be kept elsewhere and brought back. */
export interface OutboxExport {
  readonly format: number;
  readonly user: string;
  readonly organization: string;
  readonly entries: readonly Json[];
}
