// What the compiler must accept and refuse, given the types that `antiphon types` writes. Compiled, never run.

import { createClient } from "@antiphon/client";
import { AntiphonProvider, useConflicts, useDraft, useEntities, useEntity, useMutate, useSyncStatus } from "@antiphon/react";

import type { Entities } from "./entities.js";

const client = createClient<Entities>({ url: "https://sync.example.com", user: "alice", getToken: async () => "token" });

export function Application() {
  return <AntiphonProvider client={client} org="acme"><Tasks /></AntiphonProvider>;
}

function Tasks() {
  const { rows, complete, more } = useEntities("task", { where: { status: "todo", votes: { gte: 2 } }, order: ["-votes", "title"], pageSize: 20 });
  const { row, presence } = useEntity("page", rows[0]?.id);
  const tasks = useMutate("task");
  const draft = useDraft("page", row?.id, "body");
  const pending = useSyncStatus((status) => status.pending);
  const { conflicts, resolve } = useConflicts();
  presence satisfies "here" | "coming" | "elsewhere" | "nowhere";
  pending satisfies number;
  conflicts.forEach((conflict) => resolve(conflict, { merge: "both" }));
  return <section aria-busy={!complete}>
    {rows.map((task) => <button key={task.id} onClick={() => tasks.add(task.id, "votes", 1).saved.catch(alert)}>{task.title}</button>)}
    <input {...draft.props} /><textarea {...draft.props} />
    <button onClick={more}>{row?.body}</button>
  </section>;
}

export function Refused() {
  const tasks = useMutate("task");
  const { rows } = useEntities("task");
  rows[0]?.labels satisfies (string | null)[] | null | undefined;
  // @ts-expect-error no such type
  useEntities("tsk");
  // @ts-expect-error no such field to filter by
  useEntities("task", { where: { titel: "x" } });
  // @ts-expect-error no such field to order by
  useEntities("task", { order: ["-vote"] });
  // @ts-expect-error a filter compares with the field's own type
  useEntities("task", { where: { votes: { gte: "2" } } });
  // @ts-expect-error a number is no text to be typed
  useDraft("task", "1", "votes");
  // @ts-expect-error not a field of this type
  useDraft("task", "1", "body");
  // @ts-expect-error not one of its values
  tasks.update("1", { status: "waiting" });
  // @ts-expect-error a list has no such thing
  useEntities("task").data;
  // @ts-expect-error rows are not written to
  rows.push();
}
