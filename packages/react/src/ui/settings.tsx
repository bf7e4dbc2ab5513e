// How the components speak and show values: the language, an application's own words, fields, things and people.
// Laws: everything has a default, so that a component works without any of it; settings nest, the inner ones win; a
// clock is asked at each rendering and never kept.

import type { EntityKey, Json } from "@antiphon/client";
import { type ComponentType, createContext, type ReactNode, useContext, useMemo } from "react";

import { english } from "./messages-en.js";
import { type Catalogue, knows, type Message, type Say, speaker } from "./messages.js";

/** A field of a type of rows. */
export interface FieldOf {
  readonly entityType: string;
  readonly field: string;
}

/** What is handed to a component that shows a value. */
export interface ShowProps extends FieldOf {
  readonly value: Json;
}

/** What is handed to a component in which a value is edited. */
export interface EditProps extends ShowProps {
  /** The id that the label belongs to. */
  readonly id: string;
  /** The id of a text that explains it, where there is one. */
  readonly describedBy: string | undefined;
  readonly onChange: (value: Json) => void;
}

/** How a field is called, shown and edited; what is left out has a default. */
export interface FieldSlot {
  readonly label?: string;
  /** The value in one line of words. */
  readonly text?: (value: Json) => string;
  readonly show?: ComponentType<ShowProps>;
  readonly edit?: ComponentType<EditProps>;
}

/** What may be set, for one component or for all below. */
export interface UiSettings {
  /** The language; English where it is left out. */
  readonly catalogue?: Catalogue;
  /** An application's own texts, by key. */
  readonly messages?: Partial<Record<string, Message>>;
  /** The slot of a field. */
  readonly field?: (about: FieldOf) => FieldSlot | undefined;
  /** How a row is called, with its type: `Page “Welcome”`. */
  readonly entityName?: (entity: EntityKey) => string | undefined;
  /** How a person is called. */
  readonly personName?: (actor: string) => string | undefined;
  /** The time zone, where it is not the device's. */
  readonly timeZone?: string;
  /** The present, in milliseconds since 1970. */
  readonly now?: () => number;
}

/** How the components speak and show values. */
export interface Ui {
  readonly say: Say;
  readonly locale: string;
  readonly direction: "ltr" | "rtl";
  readonly timeZone: string | undefined;
  readonly now: () => number;
  readonly slot: (about: FieldOf) => FieldSlot;
  readonly label: (about: FieldOf) => string;
  readonly entity: (entity: EntityKey) => string;
  readonly person: (actor: string | null) => string;
  /** Says a text of a family by its code; where there is none, the family's last resort, with the code. */
  readonly coded: (family: "reason" | "notice", code: string) => string;
}

const ENGLISH: Catalogue = { locale: "en", direction: "ltr", messages: english };
const Settings = createContext<UiSettings>({});

/** Sets how the components below speak and show values. */
export function UiProvider({ children, ...settings }: UiSettings & { readonly children: ReactNode }): ReactNode {
  const outer = useContext(Settings);
  const own = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  const messages = settings.messages && outer.messages ? { ...outer.messages, ...settings.messages } : undefined;
  return <Settings.Provider value={{ ...outer, ...own, ...(messages ? { messages } : {}) }}>{children}</Settings.Provider>;
}

/** How the components speak and show values here. */
export function useUi(): Ui {
  const settings = useContext(Settings);
  const { catalogue, messages } = settings;
  const say = useMemo(() => speaker(catalogue ?? ENGLISH, messages), [catalogue, messages]);
  return useMemo(() => uiOf(settings, say), [settings, say]);
}

function uiOf(settings: UiSettings, say: Say): Ui {
  const catalogue = settings.catalogue ?? ENGLISH;
  const slot = (about: FieldOf) => settings.field?.(about) ?? {};
  return {
    say,
    locale: catalogue.locale,
    direction: catalogue.direction,
    timeZone: settings.timeZone,
    now: settings.now ?? Date.now,
    slot,
    label: (about) => slot(about).label ?? named(about.field),
    entity: (key) => settings.entityName?.(key) ?? say("entity", { type: key.entityType, name: key.entityId }),
    person: (actor) => (actor === null ? say("someone") : settings.personName?.(actor) ?? actor),
    coded: (family, code) => {
      const own: `reason.${string}` | `notice.${string}` = `${family}.${code}`;
      return knows(catalogue, settings.messages ?? {}, own) ? say(own as "reason.other") : say(`${family}.other`, { code });
    },
  };
}

/** A field's name as a heading has it, where the application says nothing. */
function named(field: string): string {
  const words = field.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
