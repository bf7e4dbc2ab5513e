// One waiting change, with those that wait for it below.

import { type ReactNode, useId } from "react";

import type { OutboxItem } from "./outbox-items.js";
import { changeLines, changeTitle } from "./outbox-words.js";
import { useUi } from "./settings.js";
import { StateMark } from "./sync-badge.js";
import { Time } from "./times.js";
import { editable, type OutboxScreenState } from "./use-outbox-screen.js";

interface ItemProps {
  readonly item: OutboxItem;
  readonly state: OutboxScreenState;
  readonly onChoose: ((key: string) => void) | undefined;
  readonly depth: number;
}

/** A change in the list. */
export function OutboxItemView({ item, state, onChoose, depth }: ItemProps): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const titleId = useId();
  return (
    <li className="antiphon-item" data-item={item.key} data-state={item.state}>
      <div role="group" aria-labelledby={titleId}>
        <h3 id={titleId} tabIndex={-1} data-neighbour="">{changeTitle(ui, item)}</h3>
        <p className="antiphon-state"><StateMark state={item.state} /> {say(`outbox.state.${item.state}`)}</p>
        <Lines item={item} />
        {depth > 0 ? <p>{say("outbox.waits")}</p> : null}
        <Refusal item={item} />
        <Time at={item.createdMs} />
        <Buttons item={item} state={state} onChoose={onChoose} depth={depth} />
      </div>
      {item.waiting.length > 0 ? (
        <ol className="antiphon-items">
          {item.waiting.map((one) => <OutboxItemView key={one.key} item={one} state={state} onChoose={onChoose} depth={depth + 1} />)}
        </ol>
      ) : null}
    </li>
  );
}

function Lines({ item }: { readonly item: OutboxItem }): ReactNode {
  const lines = changeLines(useUi(), item);
  if (lines.length === 0) return null;
  return <ul className="antiphon-lines">{lines.map((line, index) => <li key={index}>{line}</li>)}</ul>;
}

function Refusal({ item }: { readonly item: OutboxItem }): ReactNode {
  const ui = useUi();
  const { refused } = item;
  return (
    <>
      {refused ? <p className="antiphon-problem">{ui.coded("reason", refused.code)}</p> : null}
      {item.attempts > 0 ? <p>{ui.say("outbox.attempts", { n: item.attempts })}</p> : null}
      {refused ? (
        <details>
          <summary>{ui.say("outbox.report")}</summary>
          <p className="antiphon-data" dir="ltr"><code>{refused.code}</code> {refused.detail}</p>
        </details>
      ) : null}
    </>
  );
}

function Buttons({ item, state, onChoose }: ItemProps): ReactNode {
  const ui = useUi();
  const change = changeTitle(ui, item);
  const button = (action: "retry" | "edit" | "choose" | "discard", act: () => void) => {
    const label = ui.say(`outbox.${action}`);
    return <button type="button" aria-label={ui.say("outbox.actionOn", { action: label, change })} onClick={act}>{label}</button>;
  };
  const conflicted = item.entries.find((entry) => entry.state === "conflicted");
  const waits = item.state === "pending" || item.state === "failed";
  return (
    <div className="antiphon-buttons">
      {item.state === "failed" ? button("retry", () => state.retry(item)) : null}
      {conflicted && onChoose ? button("choose", () => onChoose(conflicted.key)) : null}
      {waits && Object.keys(editable(item)).length > 0 ? button("edit", () => state.edit(item)) : null}
      {waits || conflicted ? button("discard", () => state.askDiscard(item)) : null}
    </div>
  );
}
