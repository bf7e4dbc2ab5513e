// What becomes of each edit, as it moves: saved here, on its way, on the server, or a question for a person.

import { type ReactNode, useEffect, useState } from "react";

import { fieldName } from "../history/field-name.js";
import { useSpeech } from "../texts/speaking.js";
import type { Who } from "./guide.js";
import type { Moving, WindowState } from "./words.js";

const SHOWN_MAX = 12;
type Shown = { readonly who: Who; readonly edit: Moving; readonly state: Moving["state"] | "done" };
const SIGNS = { pending: "●", sent: "↑", accepted: "↑", conflicted: "?", failed: "✕", done: "✓" } as const;

/** The strip of edits, the newest first. */
export function Strip({ windows, pulled }: {
  readonly windows: Readonly<Record<Who, WindowState | undefined>>; readonly pulled: Readonly<Record<Who, boolean>>;
}): ReactNode {
  const { say } = useSpeech();
  const [shown, show] = useState<readonly Shown[]>([]);
  useEffect(() => { show((before) => moved(before, windows)); }, [windows]);
  return (
    <section aria-labelledby="strip-title">
      <h2 id="strip-title">{say("try.strip")}</h2>
      {shown.length === 0 ? <p className="hint">{say("try.stripEmpty")}</p> : null}
      <ol className="strip">
        {shown.map(({ who, edit, state }) => {
          const waits = state === "pending" || state === "sent";
          const word = waits && pulled[who] ? "try.state.pending" : `try.state.${state}` as const;
          return (
            <li key={`${who} ${edit.key}`} data-state={state}>
              <span aria-hidden="true">{SIGNS[state]}</span> {say("try.edit", { name: who === "alice" ? "Alice" : "Bob", field: edit.field === null ? say("field.other") : fieldName(edit.field, say) })} <strong>{say(word)}</strong>
            </li>
          );
        })}
      </ol>
    </section>
  );
}

function moved(before: readonly Shown[], windows: Readonly<Record<Who, WindowState | undefined>>): readonly Shown[] {
  const now = (["alice", "bob"] as const).flatMap((who) => (windows[who]?.moving ?? []).map((edit) => ({ who, edit })));
  const is = (one: { who: Who; edit: Moving }) => (other: { who: Who; edit: Moving }) => one.who === other.who && one.edit.key === other.edit.key;
  const kept = before.map((one): Shown => {
    const found = now.find(is(one));
    return found ? { ...found, state: found.edit.state } : { ...one, state: "done" };
  });
  const fresh = now.filter((one) => !before.some(is(one))).map((one): Shown => ({ ...one, state: one.edit.state }));
  return [...fresh.reverse(), ...kept].slice(0, SHOWN_MAX);
}
