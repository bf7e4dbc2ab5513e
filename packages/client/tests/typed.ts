// What the compiler must accept and refuse, given the types that `antiphon types` writes. Compiled, never run.

import { createClient, type Snapshot } from "../src/index.js";

interface Task {
  id: string;
  title: string | null;
  status: "todo" | "done" | null;
  votes: number | null;
  labels: (string | null)[] | null;
}
interface Entities {
  task: Task;
}

const client = createClient<Entities>({ url: "https://sync.example.com", user: "alice", getToken: async () => "token" });
const tasks = (await client.org("acme")).collection("task");

tasks.query({ where: { status: "todo", votes: { gte: 2 } }, order: ["-votes", "title"], limit: 50 })
  .subscribe((shown: Snapshot<Task>) => shown.rows[0]?.status satisfies "todo" | "done" | null | undefined);
tasks.update("1", { title: "x", status: null });
tasks.add("1", "votes", 1);
tasks.change("1", "labels", { add: ["a"] });
tasks.get("1")?.labels satisfies (string | null)[] | null | undefined;

// @ts-expect-error no such type
(await client.org("acme")).collection("tsk");
// @ts-expect-error no such field
tasks.update("1", { titel: "x" });
// @ts-expect-error not one of its values
tasks.update("1", { status: "doing" });
// @ts-expect-error a text is no set
tasks.change("1", "title", { add: ["a"] });
// @ts-expect-error a set is no counter
tasks.add("1", "labels", 1);
// @ts-expect-error no such field to order by
tasks.query({ order: ["-vote"] });
// @ts-expect-error a filter compares with the field's own type
tasks.query({ where: { votes: { gte: "2" } } });
// @ts-expect-error without a user, whose data would it be
createClient<Entities>({ url: "https://sync.example.com", getToken: async () => "token" });
