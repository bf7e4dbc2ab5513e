// The page in which tests/browser/react.test.mjs looks at the hooks: against the real server, and each over a server in
// memory. What a component did is counted where the test reads it.

import { createClient } from "@antiphon/client";
import { TestServer } from "@antiphon/client/testing";
import {
  AntiphonProvider, type EntitiesOptions, useClient, useConflicts, useDraft, useEntities, useEntity, useJournal, useMutate,
  useOrganization, useOutbox, useSyncStatus, useUndo,
} from "@antiphon/react";
import { memo, type ReactNode, StrictMode, useEffect, useState } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";

import type { Entities, Page, Task } from "./entities.js";

const counts: Record<string, number> = {};
const count = (what: string) => { counts[what] = (counts[what] ?? 0) + 1; };
const place = document.querySelector("#root") as HTMLElement;
/** What a component last saw, by its name. */
const seen: Record<string, unknown> = {};

const TYPES = {
  task: {
    fields: {
      id: { type: "text" }, title: { type: "text", merge: "manual" }, status: { type: "text" }, votes: { type: "int4", merge: "counter" },
      priority: { type: "int4" },
    },
    rows: [1, 2, 3, 4, 5].map((n) => ({ id: `t${n}`, title: `task ${n}`, status: n > 3 ? "done" : "todo", votes: 0, priority: n })),
  },
  page: {
    fields: { id: { type: "text" }, title: { type: "text", merge: "lww" }, body: { type: "text", merge: "text" } },
    rows: [{ id: "p1", title: "page", body: "one two three" }],
  },
} as const;

/** A client over a server in memory, and how often its lists are subscribed to. */
async function inMemory(given: { server?: TestServer } = {}) {
  const server = given.server ?? new TestServer(TYPES);
  const client = createClient<Entities>(server.options);
  const org = await client.org("acme");
  const lists = { began: 0, now: 0 };
  const collection = org.collection.bind(org);
  org.collection = ((entityType: "task") => {
    const rows = collection(entityType);
    const query = rows.query.bind(rows);
    rows.query = (options) => {
      const live = query(options);
      const subscribe = live.subscribe.bind(live);
      live.subscribe = (listener) => {
        lists.began += 1;
        lists.now += 1;
        const stop = subscribe(listener);
        return () => { lists.now -= 1; stop(); };
      };
      return live;
    };
    return rows;
  }) as typeof org.collection;
  await new Promise<void>((resolve) => { org.onStatus(({ listed }) => { if (listed) resolve(); }); });
  const render = (children: ReactNode) => {
    const root = createRoot(place);
    root.render(<StrictMode><AntiphonProvider client={client} org="acme">{children}</AntiphonProvider></StrictMode>);
    return root;
  };
  return { server, client, org, lists, render };
}

const Item = memo(function Item({ task }: { task: Task }) {
  count(`item ${task.id}`);
  useEffect(() => { count(`mounted ${task.id}`); }, [task.id]);
  return <li>{task.title}</li>;
});

function List({ name, options }: { name: string; options: EntitiesOptions<Task> | null }) {
  const list = useEntities("task", options);
  count(name);
  seen[name] = list;
  return <ul data-complete={list.complete}>{list.rows.map((task) => <Item key={task.id} task={task} />)}</ul>;
}

function Editor({ id }: { id: string }) {
  const draft = useDraft("page", id, "body");
  seen.draft = draft;
  return <textarea {...draft.props} data-dirty={draft.dirty} />;
}

/** Everything else that there is, in one component. */
function Everything() {
  seen.client = useClient();
  seen.org = useOrganization();
  seen.status = useSyncStatus();
  seen.pending = useSyncStatus((status) => status.pending);
  seen.outbox = useOutbox();
  seen.conflicts = useConflicts();
  seen.journal = useJournal();
  seen.undo = useUndo();
  seen.tasks = useMutate("task");
  seen.task = useEntity("task", "t1");
  seen.nobody = useEntity("task", "nobody");
  seen.nothing = useEntity("task", null);
  return null;
}

let choose: (options: EntitiesOptions<Task> | null) => void;
function Chosen({ first }: { first: EntitiesOptions<Task> | null }) {
  const [options, set] = useState(first);
  choose = set;
  return <List name="chosen" options={options} />;
}

/** The application of the walk against the real server. */
function Pages() {
  const { rows, complete, ids } = useEntities("page", { where: { archived: false }, order: ["title"] });
  count("pages");
  seen.pages = { rows, complete, ids };
  return <ul data-complete={complete}>{rows.map((page) => <Line key={page.id} page={page} />)}</ul>;
}

const Line = memo(function Line({ page }: { page: Page }) {
  count(`page ${page.id}`);
  return <li id={page.id}>{page.title}</li>;
});

function real() {
  const query = new URLSearchParams(location.search);
  const getToken = async () => (await fetch("/token/alice")).text();
  const client = createClient<Entities>({ url: location.origin, user: "alice", getToken });
  const edited = query.get("edit");
  createRoot(place).render(
    <StrictMode>
      <AntiphonProvider client={client} org="acme"><Pages /><Everything />{edited && <Editor id={edited} />}</AntiphonProvider>
    </StrictMode>,
  );
}

/** The page requires trusted types, and React writes no text as HTML; only this test does. */
function trusted(html: string): string {
  const { trustedTypes } = window as unknown as { trustedTypes: { createPolicy(name: string, rules: object): { createHTML(html: string): string } } };
  return trustedTypes.createPolicy("server", { createHTML: (text: string) => text }).createHTML(html);
}

/** Lets a page that a server rendered come alive. */
async function hydrate() {
  const server = new TestServer(TYPES);
  const client = createClient<Entities>(server.options);
  const page = <AntiphonProvider client={client} org="acme"><List name="hydrated" options={{ order: ["priority"] }} /></AntiphonProvider>;
  const html = renderToString(page);
  place.innerHTML = trusted(html);
  const complaints: string[] = [];
  hydrateRoot(place, page, { onRecoverableError: (error) => complaints.push(String(error)) });
  return { html, complaints };
}

Object.assign(window, {
  counts, seen, place, inMemory, List, Chosen, Everything, Editor, hydrate, choose: (options: EntitiesOptions<Task> | null) => choose(options),
  /** Renders one of the components above by its name. */
  show: (world: Awaited<ReturnType<typeof inMemory>>, name: "List" | "Chosen" | "Everything" | "Editor", ...props: object[]) => {
    const parts: Record<string, (props: never) => ReactNode> = { List, Chosen, Everything, Editor };
    const Part = parts[name] as (props: object) => ReactNode;
    return world.render(props.map((given, at) => <Part key={at} {...given} />));
  },
});
if (location.search) real();
