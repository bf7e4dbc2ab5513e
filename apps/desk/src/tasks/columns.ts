// The columns of the board, which are the states that a task may have.

import type { TextKey } from "../texts/english.js";
import type { Speech } from "../texts/speaking.js";

/** The states, in the order in which a task goes through them. */
export const STATUSES = ["todo", "doing", "done"] as const;

/** A state of a task. */
export type TaskStatus = typeof STATUSES[number];

/** How a state is called. */
export function statusText(status: string | null, say: Speech["say"]): string {
  return isStatus(status) ? say(`status.${status}`) : status ?? say("tasks.other");
}

/** How a priority is called; a smaller number is more urgent. */
export function priorityText(priority: number | null, say: Speech["say"]): string {
  return priority === null || priority < 1 || priority > 3 ? say("task.priority.none") : say(`task.priority.${priority}` as TextKey);
}

/** Whether a text is a state that has a column. */
export function isStatus(status: string | null): status is TaskStatus {
  return (STATUSES as readonly (string | null)[]).includes(status);
}
