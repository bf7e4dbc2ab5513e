// How pages and tasks are called.

import type { Speech } from "../texts/speaking.js";

const CHARS_MAX = 300;

/** How a page or a task is called on screen. */
export function titleOf(row: { readonly title: string | null } | undefined, say: Speech["say"]): string {
  const title = row?.title?.trim() ?? "";
  return title === "" ? say("pages.untitled") : title.length > CHARS_MAX ? `${title.slice(0, CHARS_MAX)}…` : title;
}
