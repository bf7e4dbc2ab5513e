// A waiting change in words.

import type { OutboxEntry } from "@antiphon/client";

import type { OutboxItem } from "./outbox-items.js";
import type { Ui } from "./settings.js";
import { lineOf } from "./values.js";

/** Says what a change is. */
export function changeTitle(ui: Ui, item: OutboxItem): string {
  const entity = ui.entity(item);
  const does = item.entries.map(({ change }) => change.do);
  if (does.includes("delete")) return ui.say("outbox.delete", { entity });
  return ui.say(does.includes("create") ? "outbox.create" : "outbox.change", { entity });
}

/** Says what becomes of each field. */
export function changeLines(ui: Ui, item: OutboxItem): string[] {
  return item.entries.flatMap((entry) => linesOf(ui, entry));
}

function linesOf(ui: Ui, { change, entityType }: OutboxEntry): string[] {
  const about = (field: string) => ({ entityType, field });
  const set = (field: string, value: Parameters<typeof lineOf>[2]) => {
    const label = ui.label(about(field));
    if (value === null || value === "" || value === undefined) return ui.say("outbox.clear", { field: label });
    return ui.say("outbox.set", { field: label, value: lineOf(ui, about(field), value) });
  };
  switch (change.do) {
    case "create": return Object.entries(change.data).map(([field, value]) => set(field, value));
    case "value": return [set(change.field, change.value)];
    case "delete": return [];
    case "add": {
      const field = ui.label(about(change.field));
      const taken = String(change.by).startsWith("-");
      const by = taken ? Number(String(change.by).slice(1)) : change.by;
      return [ui.say(taken ? "outbox.take" : "outbox.add", { field, value: lineOf(ui, about(change.field), by) })];
    }
    case "elements": {
      const field = ui.label(about(change.field));
      const [added, removed] = [change.add, change.remove].map((all) => lineOf(ui, about(change.field), [...all]));
      const key = change.add.length === 0 ? "outbox.elementsRemoved" : change.remove.length === 0 ? "outbox.elementsAdded" : "outbox.elements";
      return [ui.say(key, { field, added: added ?? "", removed: removed ?? "" })];
    }
  }
}
