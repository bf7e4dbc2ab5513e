// What the compiler must accept and refuse, with an adapter and without one. Compiled, never run.

import { type AntiphonError, createClient, type Outcome, type Snapshot } from "@antiphon/client";
import { MutationObserver, QueryClient as CoreClient, QueryObserver } from "@tanstack/query-core";
import { QueryClient, useMutation, useQuery, useSuspenseQueries, useSuspenseQuery } from "@tanstack/react-query";

import { liveQueries, type LiveRow } from "../src/index.js";

interface Task {
  id: string;
  title: string | null;
  votes: number | null;
}
interface Entities {
  task: Task;
}

const client = createClient<Entities>({ url: "https://sync.example.com", user: "alice", getToken: async () => "token" });
const live = liveQueries(await client.org("acme"));

export function Tasks() {
  const list = useQuery(live.list("task", { where: { votes: { gte: 2 } }, order: ["-votes"], limit: 50 }));
  list.data satisfies Snapshot<Task> | undefined;
  list.error satisfies AntiphonError | null;
  const titles = useSuspenseQuery({ ...live.list("task"), select: ({ rows }) => rows.map(({ title }) => title), gcTime: 10_000 });
  titles.data satisfies (string | null)[];
  const row = useSuspenseQuery(live.row("task", "1"));
  row.data satisfies LiveRow<Task>;
  const [one, all] = useSuspenseQueries({ queries: [live.row("task", "1"), live.list("task")] });
  [one.data.row?.title, all.data.complete] satisfies [string | null | undefined, boolean];
  const rename = useMutation(live.edit("task", (tasks, { id, title }: { id: string; title: string }) => tasks.update(id, { title })));
  rename.data satisfies Outcome | undefined;
  return <button onClick={() => rename.mutate({ id: "1", title: "x" })}>{row.data.row?.title}</button>;
}

new QueryObserver(new CoreClient(), live.list("task")).getCurrentResult().data satisfies Snapshot<Task> | undefined;
new QueryClient().getQueryData(live.row("task", "1").queryKey) satisfies LiveRow<Task> | undefined;
(await new QueryClient().fetchQuery(live.list("task"))).rows satisfies readonly Task[];
new MutationObserver(new CoreClient(), live.edit("task", (tasks, id: string) => tasks.delete(id)));

// @ts-expect-error no such type
live.list("tsk");
// @ts-expect-error no such field
live.list("task", { order: ["titel"] });
// @ts-expect-error a filter compares with the field's own type
live.list("task", { where: { votes: "2" } });
// @ts-expect-error no such field
live.edit("task", (tasks, id: string) => tasks.update(id, { titel: "x" }));
