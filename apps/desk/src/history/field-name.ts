// How fields are called, and how their values are read.

import { priorityText, statusText } from "../tasks/columns.js";
import type { TextKey } from "../texts/english.js";
import type { Speech } from "../texts/speaking.js";

const NAMED: readonly string[] = ["title", "body", "position", "archived", "status", "assignee", "priority", "due_on", "labels", "votes", "page_id"];

const VALUES: Readonly<Record<string, (value: unknown, speech: Speech) => string>> = {
  status: (value, { say }) => statusText(String(value), say),
  assignee: (value, { person }) => person(String(value)),
  priority: (value, { say }) => priorityText(Number(value), say),
  due_on: (value, { date }) => date(String(value)),
  labels: (value, { locale }) => (Array.isArray(value) && value.length > 0 ? new Intl.ListFormat(locale).format(value.map(String)) : "–"),
};

/** How a field is called, within a sentence. */
export function fieldName(field: string, say: Speech["say"]): string {
  return NAMED.includes(field) ? say(`field.${field}` as TextKey) : say("field.other");
}

/** How a field is called where it stands alone. */
export function fieldLabel(field: string, { say, locale }: Speech): string {
  const name = fieldName(field, say);
  return name.charAt(0).toLocaleUpperCase(locale) + name.slice(1);
}

/** Whether a value of a field has words of its own. */
export function hasWords(field: string): boolean {
  return Object.hasOwn(VALUES, field);
}

/** A value of a field, for a person. */
export function valueText(field: string, value: unknown, speech: Speech): string {
  return value === null || value === undefined || value === "" ? "–" : VALUES[field]?.(value, speech) ?? String(value);
}
