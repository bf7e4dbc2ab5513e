// A window of Desk inside of `/try`: it tells how it stands, and does what it is asked.

import { useEntity, useMutate, useOutbox, useSyncStatus } from "@antiphon/react";
import { type ReactNode, useEffect } from "react";

import { pull } from "./plug.js";
import { type Command, GUIDED_PAGE, hear, type WindowState } from "./words.js";

/** Tells and hears; nothing is seen of it. */
export function InFrame({ user, choose }: { readonly user: string; readonly choose: () => void }): ReactNode {
  const { entries } = useOutbox();
  const connection = useSyncStatus((status) => status.connection);
  const { row } = useEntity("page", GUIDED_PAGE);
  const pages = useMutate("page");
  const title = row?.title ?? null;
  useEffect(() => {
    const moving = entries.map(({ key, entityType, change, state }) => ({ key, entityType, field: "field" in change ? change.field : null, state }));
    parent.postMessage({ desk: "state", user, connection, title, moving } satisfies WindowState, location.origin);
  }, [user, entries, connection, title]);
  useEffect(() => hear<Command>((said, from) => {
    if (from !== parent) return;
    if (said.desk === "pull") pull(said.pulled);
    if (said.desk === "rename") pages.update(GUIDED_PAGE, { title: said.title });
    if (said.desk === "choose") choose();
  }), [pages, choose]);
  return null;
}
