// Rendering on a server, in Node: no browser is there, and nothing is opened.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "@antiphon/client";
import {
  AntiphonProvider, useConflicts, useDraft, useEntities, useEntity, useJournal, useMutate, useOrganization, useOutbox,
  useSyncStatus, useUndo,
} from "@antiphon/react";
import { createElement } from "react";
import { renderToPipeableStream, renderToString } from "react-dom/server";
import { Writable } from "node:stream";

/** What a browser has and a server may not, or must not use: touching it is a mistake. */
const FORBIDDEN = ["window", "document", "indexedDB", "localStorage", "BroadcastChannel", "fetch", "WebSocket", "WebAssembly"];

function Everything() {
  const list = useEntities("task", { order: ["title"], pageSize: 10 });
  const shown = {
    rows: list.rows, complete: list.complete, hasMore: list.hasMore,
    task: useEntity("task", "1"), status: useSyncStatus((status) => status.connection), entries: useOutbox().entries,
    conflicts: useConflicts().conflicts, lines: useJournal().lines, text: useDraft("task", "1", "title").text,
    organization: useOrganization(), undone: useUndo().undo(),
  };
  let refused;
  try {
    useMutate("task").update("1", { title: "x" });
  } catch ({ code }) {
    refused = code;
  }
  return createElement("pre", { dangerouslySetInnerHTML: { __html: JSON.stringify({ ...shown, refused }) } });
}

const expected = {
  rows: [], complete: false, hasMore: false, task: { presence: "coming" }, status: "connecting", entries: [], conflicts: [],
  lines: [], text: "", organization: null, undone: false, refused: "NOT_OPEN",
};

/** Runs where each of these throws. */
function forbidding(run) {
  const before = FORBIDDEN.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  const touched = [];
  for (const name of FORBIDDEN) {
    Object.defineProperty(globalThis, name, { configurable: true, get: () => { touched.push(name); return undefined; } });
  }
  try {
    return [run(), touched];
  } finally {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  }
}

test("a server renders every hook empty and incomplete, and touches nothing of a browser sdk_03", () => {
  const [html, touched] = forbidding(() => {
    const client = createClient({ url: "https://sync.example.com", user: "alice", getToken: () => assert.fail("no token is needed") });
    return renderToString(createElement(AntiphonProvider, { client, org: "acme" }, createElement(Everything)));
  });
  assert.deepEqual(JSON.parse(html.slice("<pre>".length, -"</pre>".length)), expected);
  // React looks whether there is a window; nothing else is asked for.
  assert.deepEqual(touched.filter((name) => name !== "window"), []);
});

test("rendering as a stream gives the same sdk_03", async () => {
  const client = createClient({ url: "https://sync.example.com", user: "alice", getToken: () => "" });
  const page = createElement(AntiphonProvider, { client, org: "acme" }, createElement(Everything));
  const html = await new Promise((resolve, reject) => {
    let text = "";
    const sink = new Writable({ write(part, _, done) { text += part; done(); }, final(done) { resolve(text); done(); } });
    const { pipe } = renderToPipeableStream(page, { onAllReady: () => pipe(sink), onError: reject });
  });
  assert.match(html, /"complete":false/);
});

test("a hook outside of a provider says so sdk_03", () => {
  assert.throws(() => renderToString(createElement(Everything)), /outside of <AntiphonProvider>/);
});
