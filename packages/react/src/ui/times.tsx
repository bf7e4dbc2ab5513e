// Times as a person reads them: by the clock, how long ago, in full with the zone, and for machines.

import type { ReactNode } from "react";

import { type Ui, useUi } from "./settings.js";

const DAY_MS = 86_400_000;
const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["day", DAY_MS], ["hour", 3_600_000], ["minute", 60_000], ["second", 1_000],
];

function format(ui: Ui, ms: number, options: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat(ui.locale, { ...options, ...(ui.timeZone ? { timeZone: ui.timeZone } : {}) }).format(ms);
}

/** The time of day, with the day where it is not today; undefined where it is no time. */
export function clockText(ui: Ui, at: number | string | null): string | undefined {
  const ms = msOf(at);
  if (ms === undefined) return undefined;
  const day = (of: number) => format(ui, of, { dateStyle: "short" });
  const time = format(ui, ms, { timeStyle: "short" });
  return day(ms) === day(ui.now()) ? ui.say("time.today", { time }) : format(ui, ms, { dateStyle: "medium", timeStyle: "short" });
}

/** The time of day alone. */
export function timeText(ui: Ui, at: number | string | null): string | undefined {
  const ms = msOf(at);
  return ms === undefined ? undefined : format(ui, ms, { timeStyle: "short" });
}

/** How long ago, in the largest unit that fits. */
export function agoText(ui: Ui, ms: number): string {
  const since = ms - ui.now();
  const [unit, size] = STEPS.find(([, length]) => Math.abs(since) >= length) ?? ["second", 1_000];
  return new Intl.RelativeTimeFormat(ui.locale, { numeric: "auto" }).format(Math.round(since / size), unit);
}

/** A time: how long ago, and in full with its zone. */
export function Time({ at }: { readonly at: number | string | null }): ReactNode {
  const ui = useUi();
  const ms = msOf(at);
  if (ms === undefined) return null;
  const full = format(ui, ms, {
    year: "numeric", month: "long", day: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short",
  });
  return (
    <time className="antiphon-time" dateTime={new Date(ms).toISOString()}>
      {ui.say("time.full", { relative: agoText(ui, ms), full })}
    </time>
  );
}

function msOf(at: number | string | null): number | undefined {
  if (at === null) return undefined;
  const ms = typeof at === "number" ? at : Date.parse(at);
  return Number.isFinite(ms) ? ms : undefined;
}
