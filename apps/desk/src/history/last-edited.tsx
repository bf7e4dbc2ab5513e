// Who changed a row last: this person just now, or whom the server names.

import { useEntity, useOutbox, useSyncStatus } from "@antiphon/react";
import type { ReactNode } from "react";

import type { Entities } from "../entities.js";
import { useSpeech } from "../texts/speaking.js";
import { useHistory } from "./past.js";

/** One line about it, which keeps its place while it is not known. */
export function LastEdited({ entityType, id }: { readonly entityType: keyof Entities; readonly id: string }): ReactNode {
  const { say, time, moment, person } = useSpeech();
  const { row } = useEntity(entityType, id);
  const { entries } = useOutbox();
  const online = useSyncStatus(({ connection }) => connection === "online");
  const { items: [last] } = useHistory(entityType, id, row, 1);
  const mine = entries.some((entry) => entry.entityType === entityType && entry.entityId === id);
  if (mine) return <p className="edited">{say("edited.here")}</p>;
  if (!last) return <p className="edited">{online ? "\u00a0" : say("edited.unknown")}</p>;
  const actor = last.tx?.actor ?? null;
  const values = { time: time(last.createdAt), name: actor === null ? "" : person(actor) };
  return <p className="edited" title={moment(last.createdAt)}>{say(actor === null ? "edited.byNobody" : "edited.by", values)}</p>;
}
