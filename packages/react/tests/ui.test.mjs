// What the components of @antiphon/react/ui are made of, in Node: texts, comparison, cases, choices, the order of the
// outbox. How they look and are handled is tested in a browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AntiphonProvider } from "@antiphon/react";
import {
  casesOf, ConflictDialog, DevTools, differenceOf, english, german, itemsOf, OutboxScreen, phaseOf, pseudoCatalogue, pseudoMessage, putTogether, speaker,
  SignOutDialog, SyncBadge, SyncBanner, useConflictDialog, useDevTools, useOutboxScreen, useSignOut, useSyncBadge, useSyncBanner,
} from "@antiphon/react/ui";
import { createClient } from "@antiphon/client";
import { createElement } from "react";
import { renderToString } from "react-dom/server";

import { begin, currentOf, decide, decisionsOf, placeName, valueOf } from "../dist/ui/deciding.js";
import { added, EMPTY_RING, paused, shownOf } from "../dist/ui/ring.js";

const catalogues = { german, pseudo: pseudoCatalogue() };
const formsOf = (message) => (typeof message === "string" ? { other: message } : message);
const placesOf = (text) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

test("an application's own texts are said beside the catalogue's, with its plurals and marked for tests sdk_04", () => {
  const own = { "mine.count": { one: "{n} Seite", other: "{n} Seiten" }, "mine.of": "von {name}" };
  const say = speaker(german, own);
  assert.deepEqual([say("mine.count", { n: 1 }), say("mine.count", { n: 2_000 }), say("close"), say("mine.of", { name: "Bob" })], ["1 Seite", "2.000 Seiten", "Schließen", "von Bob"]);
  assert.equal(say("mine.of", { name: "مينا" }), "von \u2068مينا\u2069");
  const marked = pseudoMessage(own["mine.count"]);
  assert.match(marked.one, /^⟦\{n\} .+⟧$/u);
  assert.equal(Object.keys(marked).join(), "one,other");
});

test("every language has every text, with the same places in it and a form for each of its numbers sdk_04", () => {
  for (const [name, { locale, messages }] of Object.entries({ english: { locale: "en", messages: english }, ...catalogues })) {
    assert.deepEqual(Object.keys(messages).sort(), Object.keys(english).sort(), name);
    const rules = new Intl.PluralRules(locale).resolvedOptions().pluralCategories;
    for (const [key, message] of Object.entries(messages)) {
      if (typeof message !== "string") assert.deepEqual(Object.keys(message).sort(), [...rules].sort(), `${name}: ${key}`);
      // Where there is one, its number need not be said.
      const forms = Object.entries(formsOf(message)).map(([rule, text]) => [rule, placesOf(text)]);
      const wanted = placesOf(formsOf(english[key]).other);
      for (const [rule, places] of forms) {
        assert.deepEqual(places, wanted.filter((place) => rule !== "one" || places.includes(place) || place !== "{n}"), `${name}: ${key}`);
      }
    }
  }
});

test("a text is said by number, in the language's own digits, and a foreign name is kept apart sdk_04", () => {
  const polish = {
    locale: "pl", direction: "ltr",
    messages: { ...english, "outbox.count": { one: "{n} zmiana", few: "{n} zmiany", many: "{n} zmian", other: "{n} zmiany" } },
  };
  const say = speaker(polish);
  assert.deepEqual([1, 2, 5, 12_345].map((n) => say("outbox.count", { n })), ["1 zmiana", "2 zmiany", "5 zmian", "12\u00a0345 zmian"]);
  const arabic = speaker({ locale: "ar-EG", direction: "rtl", messages: english });
  assert.equal(arabic("conflict.keepTheirs", { name: "Mina" }), "Keep \u2068Mina\u2069’s");
  assert.equal(arabic("conflict.count", { n: 3, total: 12 }), "٣ of ١٢");
  assert.equal(speaker(german, { "banner.syncNow": "Los" })("banner.syncNow"), "Los");
});

/** Numbers that look like chance, and are the same each time. */
function chance(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("a comparison holds both texts to the letter, and counts words sdk_04", () => {
  const next = chance(7);
  const words = ["one", "two", "drei", "שלום", "😀", ",", "\n", "你好"];
  const text = () => Array.from({ length: next(14) }, () => words[next(words.length)] + " ".repeat(next(3))).join("");
  for (let n = 0; n < 3_000; n += 1) {
    const [before, after] = [text(), text()];
    const { runs } = differenceOf(before, after);
    const side = (without) => runs.filter(({ kind }) => kind !== without).map((run) => run.text).join("");
    assert.deepEqual([side("added"), side("removed")], [before, after]);
    assert.ok(runs.every((run, index) => run.text !== "" && run.kind !== runs[index + 1]?.kind), "runs are as long as they can be");
  }
  const { runs, wordsAdded, wordsRemoved } = differenceOf("Open at nine sharp.", "Open at half past ten.");
  assert.deepEqual(runs.map(({ kind, text: run }) => [kind, run]), [
    ["kept", "Open at "], ["removed", "nine sharp"], ["added", "half past ten"], ["kept", "."]]);
  assert.deepEqual([wordsAdded, wordsRemoved], [3, 2]);
});

test("texts that differ in too much are not compared, whatever that would cost sdk_04", () => {
  const long = (word) => Array.from({ length: 20_000 }, (_, n) => `${word}${n}`).join(" ");
  const began = performance.now();
  assert.equal(differenceOf(long("a").slice(0, 90_000), long("b").slice(0, 90_000)), undefined);
  assert.equal(differenceOf("a".repeat(150_000), "b".repeat(150_000)), undefined);
  assert.ok(performance.now() - began < 3_000);
});

const theirs = (value, more = {}) => ({ id: "t1", value, gone: false, actor: "mina", at: "2026-11-21T11:20:00Z", ...more });
let made = 0;
function entry(change, more = {}) {
  made += 1;
  const key = more.key ?? `e${made}`;
  return { key, group: key, entityType: "page", entityId: "p", change, state: "conflicted", createdMs: made, attempts: 0, ...more };
}
const set = (field, value) => ({ do: "value", field, value });

test("each conflict is in one case: what is decided in one go sdk_04 core_13", () => {
  const entries = [
    entry(set("title", "a"), { key: "1", group: "g", base: "", theirs: theirs("b") }),
    entry(set("rank", 1), { key: "2", state: "pending" }),
    entry(set("rank", 1), { key: "3", group: "g", theirs: theirs(2, { at: "2026-11-21T11:25:00Z", actor: "noor" }) }),
    entry(set("title", "c"), { key: "4", entityId: "q", theirs: theirs({ title: "x" }, { id: null, gone: true }) }),
    entry(set("body", "d"), { key: "5", entityId: "q", theirs: theirs({ title: "x" }, { id: null, gone: true }) }),
    entry({ do: "delete", row: { title: "x", body: "y", tags: ["a"] } }, { key: "6", entityId: "r", theirs: theirs({ title: "x", body: "z", tags: ["a"] }) }),
    entry({ do: "delete", row: null }, { key: "7", entityId: "s", theirs: theirs(null) }),
  ];
  const merged = (base, mine, other) => [{ overlap: { base, mine, theirs: other } }];
  const cases = casesOf(entries, merged);
  assert.deepEqual(cases.map(({ key, kind, conflicts, known }) => [key, kind, conflicts.map((one) => one.key), known]), [
    ["1", "fields", ["1", "3"], true], ["4", "gone", ["4", "5"], true], ["6", "deletion", ["6"], true], ["7", "deletion", ["7"], false],
  ]);
  assert.equal(cases[0].theirs.actor, "noor", "the latest of the other side");
  assert.deepEqual(cases[0].fields.map(({ pieces }) => pieces?.length), [1, undefined], "only texts are put together");
  assert.deepEqual(cases[2].fields.map(({ field, base, theirs: now }) => [field, base, now]), [["body", "y", "z"]]);
});

test("both sides are put together as they were picked, and never run into one word sdk_04 core_07", () => {
  const pieces = [{ merged: "at " }, { overlap: { base: "9", mine: "8", theirs: "10" } }, { merged: " " }, { overlap: { base: "", mine: "x", theirs: "" } }];
  assert.equal(putTogether(pieces, []), "at 8 x");
  assert.equal(putTogether(pieces, ["theirs", "theirs"]), "at 10 ");
  assert.equal(putTogether(pieces, ["both", "both"]), "at 8 10 x");
});

function asked(theirId = "t1") {
  return casesOf([
    entry(set("title", "mine"), { key: "a", base: "base", theirs: theirs("other", { id: theirId }) }),
    entry(set("rank", 1), { key: "b", base: 0, theirs: theirs(2) }),
  ], (base, mine, other) => [{ overlap: { base, mine, theirs: other } }]);
}
const steps = (start, ...more) => more.reduce(decide, start);

test("a choice is held with the version that was on screen, and taken back whole sdk_04 core_08", () => {
  const shown = steps(begin(asked()), { step: "show" });
  const chosen = steps(shown, { step: "choose", choice: "theirs" });
  assert.equal(currentOf(chosen).key, "b");
  assert.deepEqual(decisionsOf(chosen.held[0]).map(({ conflict, decision }) => [conflict.key, conflict.theirs.id, decision]), [["a", "t1", "keepTheirs"]]);
  const back = steps(chosen, { step: "undo" });
  assert.deepEqual([back.held.length, currentOf(back).key, back.notice.kind], [0, "a", "undone"]);
  const both = steps(chosen, { step: "choose", choice: "mine" });
  assert.equal(currentOf(both), undefined);
});

test("a held choice about an old version is given back, and what was typed stays sdk_04 core_08", () => {
  const typed = steps(begin(asked()), { step: "show" }, { step: "type", key: "a", value: "typed" });
  const held = steps(typed, { step: "choose", choice: "merge" });
  assert.deepEqual(decisionsOf(held.held[0])[0].decision, { merge: "typed" });
  const newer = steps(held, { step: "see", cases: asked("t2") });
  assert.deepEqual([newer.held.length, newer.notice.kind, currentOf(newer).key], [0, "reopened", "a"]);
  assert.equal(newer.drafts.a.typed, "typed");
  const told = steps(typed, { step: "see", cases: asked("t2") });
  assert.equal(told.notice.kind, "changedAgain");
  const same = steps(typed, { step: "see", cases: asked() });
  assert.equal(same.notice, undefined, "what did not change is not told");
  const ended = steps(typed, { step: "see", cases: asked().slice(1) });
  assert.deepEqual([ended.notice.kind, currentOf(ended).key, ended.drafts], ["ended", "b", {}]);
});

test("what was typed is replaced by the person's own wish only sdk_04", () => {
  const [title] = asked()[0].fields;
  const place = placeName({ base: "base", mine: "mine", theirs: "other" });
  const picked = steps(begin(asked()), { step: "pick", key: "a", place, pick: "theirs" });
  assert.equal(valueOf(title, picked.drafts.a), "other");
  const typed = steps(picked, { step: "type", key: "a", value: "typed" }, { step: "pick", key: "a", place, pick: "mine" });
  assert.equal(valueOf(title, typed.drafts.a), "typed");
  assert.equal(valueOf(title, steps(typed, { step: "startAgain", key: "a" }).drafts.a), "mine");
});

test("who waits stands under what it waits for, and nothing under itself sdk_04 core_04", () => {
  const of = (key, group = key) => entry(set("title", key), { key, group, state: "pending" });
  const entries = [of("a"), of("b"), of("c1", "c"), of("c2", "c"), of("d")];
  const shape = (items) => items.map(({ key, waiting }) => (waiting.length > 0 ? [key, shape(waiting)] : key));
  const waits = { b: "a", c2: "b", d: "unknown" };
  assert.deepEqual(shape(itemsOf(entries, (key) => waits[key] ?? null)), [["a", [["b", ["c"]]]], "d"]);
  const round = { a: "b", b: "a" };
  assert.deepEqual(shape(itemsOf(entries.slice(0, 2), (key) => round[key])), [["b", ["a"]]]);
  assert.deepEqual(shape(itemsOf(entries, (key) => (key === "b" ? "c" : null))), ["a", ["c", ["b"]], "d"], "a group is waited for as well");
});

test("the panel keeps so many events and no more, and stands still where it is paused sdk_04", () => {
  let ring = EMPTY_RING;
  for (let n = 1; n <= 10; n += 1) ring = added(ring, n, 4);
  assert.deepEqual([shownOf(ring).events.map(({ event }) => event), shownOf(ring).dropped], [[7, 8, 9, 10], 6]);
  const still = added(paused(ring, true), 11, 4);
  assert.deepEqual([shownOf(still).events.map(({ event }) => event), shownOf(still).dropped, shownOf(still).since], [[7, 8, 9, 10], 6, 1]);
  assert.deepEqual(shownOf(paused(still, false)).events.map(({ event }) => event), [8, 9, 10, 11]);
});

test("the banner says what is: nothing is up to date that is not all here sdk_04 core_15", () => {
  const status = (more) => ({ connection: "online", listed: true, pending: 0, ...more });
  const phases = [{}, { pending: 1 }, { listed: false }, { connection: "offline", pending: 1 }, { connection: "refused" }, { connection: "connecting" }, { connection: "connecting", pending: 1 }];
  assert.deepEqual(phases.map((more) => phaseOf(status(more))), ["upToDate", "syncing", "loading", "offline", "refused", "connecting", "waiting"]);
});

function All() {
  const of = (component, state, more = {}) => createElement(component, { key: component.name, state, ...more });
  return [
    of(ConflictDialog, useConflictDialog()), of(OutboxScreen, useOutboxScreen()), of(SyncBanner, useSyncBanner()), of(DevTools, useDevTools()),
    of(SignOutDialog, useSignOut({ onSignedOut: () => undefined })),
    of(SyncBadge, useSyncBadge({ entityType: "page", entityId: "p" }), { showSaved: true }),
  ];
}

test("every component is rendered on a server, where nothing is known yet sdk_04 sdk_02", () => {
  const client = createClient({ url: "http://test.invalid", user: "alice", getToken: () => "test" });
  const html = renderToString(createElement(AntiphonProvider, { client, org: "acme" }, createElement(All)));
  assert.match(html, /Connecting/);
  assert.match(html, /Nothing waits/);
  assert.equal(html.match(/<dialog/g).length, 5, "the dialogs are there, and closed");
  assert.doesNotMatch(html, /<dialog[^>]* open/);
});
