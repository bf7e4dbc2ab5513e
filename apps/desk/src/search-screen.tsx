// Search over what is on this device: every page and task whose words hold all of those that were typed.
// Law: each row is made comparable once and kept so while it stays the same, so that a stroke costs little in ten thousand.

import { useEntities } from "@antiphon/react";
import { type ReactNode, useDeferredValue, useMemo } from "react";

import { addressOf, go, type Place } from "./address.js";
import { titleOf } from "./pages/title.js";
import { RowBadge } from "./sync.js";
import { useSpeech } from "./texts/speaking.js";

const FOUND_MAX = 50;
const AROUND_CHARS = 60;

interface Row { readonly id: string; readonly title: string | null; readonly body?: string | null; readonly labels?: readonly (string | null)[] | null }
interface Match { readonly row: Row; readonly place: Place; readonly excerpt: string }

/** The screen of search. */
export function SearchScreen({ words }: { readonly words: string }): ReactNode {
  const { say } = useSpeech();
  const asked = useDeferredValue(words.trim());
  const pages = useEntities("page", { order: ["position"] });
  const tasks = useEntities("task", { order: ["position"] });
  const found = useMemo(() => [
    ...matches(pages.rows, asked, (id) => ({ screen: "pages", id })), ...matches(tasks.rows, asked, (id) => ({ screen: "tasks", id })),
  ], [pages.rows, tasks.rows, asked]);
  const count = found.length > FOUND_MAX ? say("search.some", { n: FOUND_MAX }) : say(found.length > 0 ? "search.found" : "search.nothing", { n: found.length });
  return (
    <main id="content" tabIndex={-1} className="narrow">
      <h1>{say("search.title")}</h1>
      <input
        type="search" value={words} aria-label={say("search.label")} placeholder={say("search.label")} autoFocus dir="auto"
        onChange={(event) => go({ screen: "search", words: event.target.value }, { replace: true })}
      />
      <p className="hint" role="status">{asked === "" ? say("search.about") : count}</p>
      <ol className="found">
        {found.slice(0, FOUND_MAX).map(({ row, place, excerpt }) => (
          <li key={row.id}>
            <a href={addressOf(place)} dir="auto">{titleOf(row, say)}</a>
            <RowBadge entityType={place.screen === "pages" ? "page" : "task"} entityId={row.id} />
            <span className="tag">{say(place.screen === "pages" ? "trash.page" : "trash.task")}</span>
            {excerpt === "" ? null : <p dir="auto">{excerpt}</p>}
          </li>
        ))}
      </ol>
    </main>
  );
}

const plain = new WeakMap<Row, string>();

/** A text as it is compared: without accents and capitals. */
function comparable(text: string): string {
  return text.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase();
}

function comparableRow(row: Row): string {
  const known = plain.get(row) ?? comparable([row.title, row.body, ...row.labels ?? []].filter(Boolean).join("\n"));
  plain.set(row, known);
  return known;
}

function matches(rows: readonly Row[], asked: string, place: (id: string) => Place): Match[] {
  const words = comparable(asked).split(/\s+/).filter(Boolean);
  if (words.length === 0) return [];
  const hits = rows.filter((row) => words.every((word) => comparableRow(row).includes(word)));
  return hits.slice(0, FOUND_MAX + 1).map((row) => ({ row, place: place(row.id), excerpt: excerptOf(row.body ?? "", words[0] as string) }));
}

function excerptOf(text: string, word: string): string {
  const at = text.toLowerCase().indexOf(word);
  if (at < 0) return text.slice(0, 2 * AROUND_CHARS);
  const from = Math.max(0, at - AROUND_CHARS);
  return `${from > 0 ? "…" : ""}${text.slice(from, at + AROUND_CHARS)}`;
}
