// Lines of SQL to run in the database behind both windows: whatever writes there, they show it.

import { type FormEvent, type ReactNode, useState } from "react";

import { type TextKey } from "../texts/english.js";
import { useSpeech } from "../texts/speaking.js";
import { GUIDED_PAGE } from "./words.js";

const LINES: readonly { readonly text: TextKey; readonly sql: string }[] = [
  { text: "try.sql.rename", sql: `update pages set title = 'Renamed in SQL' where id = '${GUIDED_PAGE}'` },
  { text: "try.sql.body", sql: `update pages set body = body || E'\\n\\nAdded by **SQL**.' where id = '${GUIDED_PAGE}'` },
  { text: "try.sql.page", sql: "insert into pages (organization_id, title, body, position, archived) values ('acme', 'A page from SQL', 'It came through the log.', '0', false)" },
  { text: "try.sql.tasks", sql: "update tasks set status = 'done' where organization_id = 'acme' and status = 'doing'" },
];

interface Answer { readonly error?: { readonly message: string } | null; readonly results?: readonly { readonly affected?: number }[]; readonly detail?: string }

/** The box. */
export function SqlBox(): ReactNode {
  const { say } = useSpeech();
  const [sql, set] = useState(LINES[0]?.sql ?? "");
  const [told, tell] = useState("");
  const run = async (event: FormEvent) => {
    event.preventDefault();
    try {
      const { tokens } = await (await fetch("/dev/session")).json() as { tokens: Readonly<Record<string, string>> };
      const headers = { authorization: `Bearer ${tokens.admin}`, "content-type": "application/json" };
      const answer = await (await fetch("/dev/sql", { method: "POST", headers, body: JSON.stringify({ sql }) })).json() as Answer;
      const rows = (answer.results ?? []).reduce((sum, { affected }) => sum + (affected ?? 0), 0);
      tell(answer.error?.message ?? answer.detail ?? say("try.sql.done", { n: rows }));
    } catch {
      tell(say("try.sql.failed"));
    }
  };
  return (
    <section aria-labelledby="sql-title">
      <h2 id="sql-title">{say("try.sql")}</h2>
      <form className="sql" onSubmit={(event) => void run(event)}>
        <select aria-label={say("try.sql.prepared")} onChange={(event) => set(LINES[Number(event.target.value)]?.sql ?? "")}>
          {LINES.map(({ text }, at) => <option key={text} value={at}>{say(text)}</option>)}
        </select>
        <textarea aria-label="SQL" rows={3} spellCheck={false} dir="ltr" value={sql} onChange={(event) => set(event.target.value)} />
        <div className="buttons"><button type="submit">{say("try.sql.run")}</button><span role="status">{told}</span></div>
      </form>
    </section>
  );
}
