// The screen of waiting changes.

import type { ReactNode } from "react";

import { OutboxScreen, useOutboxScreen } from "../src/ui/index.js";
import { BODY, entry, set, theirs } from "./data.js";
import type { Stories } from "./story.js";

function Shown(): ReactNode {
  return (
    <main>
      <h1>Acme</h1>
      <OutboxScreen state={useOutboxScreen()} onChoose={(key) => { document.title = `choose ${key}`; }} />
    </main>
  );
}

const shown = { show: () => <Shown /> };
const tree = {
  entries: [
    entry({ do: "create", data: { title: "Plans", body: "First draft" } }, { key: "page", entityId: "plans", state: "failed", attempts: 10, refused: { code: "CONSTRAINT", detail: "pages_title_check" } }),
    entry(set("title", "Plans for May"), { key: "title", entityId: "plans" }),
    entry({ do: "create", data: { title: "Book a room", page_id: "plans" } }, { key: "task", entityType: "task", entityId: "room" }),
    entry({ do: "add", field: "votes", by: 2 }, { key: "votes", entityType: "task", entityId: "room" }),
    entry(set("body", BODY.mine), { key: "other", state: "sent" }),
  ],
  waits: { title: "page", task: "page", votes: "task" },
};

const exported = (user: string) => ({
  format: 1, user, organization: "acme", entries: [entry(set("title", "From the other device"), { key: "brought", entityId: "far" })],
});

export const outbox: Stories = {
  empty: { ...shown, scene: {} },
  tree: { ...shown, scene: tree, ready: "[data-item]" },
  states: {
    ...shown,
    scene: {
      entries: [
        entry(set("title", "Welcome to Acme"), { state: "conflicted", base: "Welcome", theirs: theirs("Hello"), key: "asked" }),
        entry(set("rank", 3), { group: "g" }), entry(set("pinned", null), { group: "g" }),
        entry({ do: "delete", row: null }, { entityId: "old", state: "accepted" }),
        entry({ do: "elements", field: "labels", add: ["urgent", "home"], remove: ["later"] }),
        entry({ do: "elements", field: "labels", add: [], remove: ["later"] }),
        entry({ do: "add", field: "votes", by: -3 }),
        entry(set("secret", "x"), { state: "failed", attempts: 1, refused: { code: "SOMETHING_NEW", detail: "told by a newer server" } }),
      ],
    },
  },
  asking: { ...shown, scene: tree, press: "[data-item=page] .antiphon-buttons button:nth-of-type(3)", ready: "dialog[open] h2:focus" },
  importing: { ...shown, scene: tree, file: JSON.stringify(exported("alice")), ready: "dialog[open] h2:focus" },
  importedNot: { ...shown, scene: {}, file: "<html>", ready: "[role=status]:not(:empty)" },
  editing: { ...shown, scene: tree, press: "[data-item=page] .antiphon-buttons button:nth-of-type(2)", ready: "dialog[open] h2:focus" },
};
