// Where Desk shows how its data stand. Law: all of it is @antiphon/react/ui, which is told Desk's language and how its
// rows, fields and people are called; Desk adds where it stands, and the journal.

import type { EntityKey } from "@antiphon/client";
import { useOrganization } from "@antiphon/react";
import {
  ConflictDialog, type ConflictDialogState, DevTools, type FieldOf, type FieldSlot, OutboxScreen, SyncBadge, SyncBanner, UiProvider, useConflictDialog, useDevTools, useOutboxScreen, useSyncBadge, useSyncBanner,
} from "@antiphon/react/ui";
import { createContext, memo, type ReactNode, useCallback, useContext, useMemo } from "react";

import { go } from "./address.js";
import type { Entities } from "./entities.js";
import { fieldLabel, hasWords, valueText } from "./history/field-name.js";
import { Journal } from "./journal.js";
import { titleOf } from "./pages/title.js";
import { NewRelease } from "./release.js";
import { type Speech, useSpeech } from "./texts/speaking.js";
import { InFrame } from "./try/in-frame.js";
import { inFrame } from "./try/plug.js";

const DialogContext = createContext<ConflictDialogState | null>(null);

/** Tells the components below how Desk speaks, and holds the one dialog about conflicts. */
export function Synchronising({ user, children }: { readonly user: string; readonly children: ReactNode }): ReactNode {
  const speech = useSpeech();
  const organization = useOrganization();
  const entityName = useCallback(({ entityType, entityId }: EntityKey) => {
    const row = organization?.collection(entityType as keyof Entities).get(entityId);
    return speech.say(entityType === "task" ? "entity.task" : "entity.page", { title: titleOf(row, speech.say) });
  }, [organization, speech]);
  const field = useCallback((about: FieldOf) => slotOf(about, speech), [speech]);
  const personName = useCallback((id: string) => (id === user ? undefined : speech.person(id)), [speech, user]);
  return (
    <UiProvider catalogue={speech.catalogue} entityName={entityName} field={field} personName={personName}>
      <WithDialog user={user}>{children}</WithDialog>
    </UiProvider>
  );
}

function WithDialog({ user, children }: { readonly user: string; readonly children: ReactNode }): ReactNode {
  const dialog = useConflictDialog();
  return (
    <DialogContext.Provider value={dialog}>
      {children}
      {inFrame ? <InFrame user={user} choose={dialog.show} /> : null}
      <ConflictDialog state={dialog} />
    </DialogContext.Provider>
  );
}

function slotOf({ field }: FieldOf, speech: Speech): FieldSlot {
  const label = fieldLabel(field, speech);
  return hasWords(field) && field !== "labels" ? { label, text: (value) => valueText(field, value, speech) } : { label };
}

/** How the whole stands, below the bar, and what is to be done about it besides. */
export function Standing({ children }: { readonly children?: ReactNode }): ReactNode {
  const dialog = useContext(DialogContext);
  return (
    <div className="standing">
      <SyncBanner state={useSyncBanner()} onChoose={() => dialog?.show()} onShowOutbox={() => go({ screen: "waiting" })} />
      <NewRelease />
      {children}
    </div>
  );
}

/** How a row stands, beside it. */
export const RowBadge = memo(function RowBadge({ entityType, entityId }: { readonly entityType: keyof Entities; readonly entityId: string }): ReactNode {
  return <SyncBadge compact state={useSyncBadge(useMemo(() => ({ entityType, entityId }), [entityType, entityId]))} />;
});

/** How a field of a row stands, beside its name. */
export function FieldBadge({ entityType, entityId, field }: { readonly entityType: keyof Entities; readonly entityId: string; readonly field: string }): ReactNode {
  return <SyncBadge compact state={useSyncBadge({ entityType, entityId, field })} />;
}

/** The screen of waiting changes, with what was decided without asking, and how it works inside. */
export function WaitingScreen(): ReactNode {
  const { say } = useSpeech();
  const dialog = useContext(DialogContext);
  return (
    <main id="content" tabIndex={-1} className="narrow">
      <h1 className="unseen">{say("outbox.title")}</h1>
      <OutboxScreen state={useOutboxScreen()} onChoose={(key) => dialog?.show(key)} />
      <Journal />
      <Rules />
      <Inside />
    </main>
  );
}

const RULES = ["rules.title", "rules.body", "rules.labels", "rules.votes", "rules.rest", "rules.gone"] as const;

/** What becomes of two changes, in plain words. */
function Rules(): ReactNode {
  const { say } = useSpeech();
  return <details><summary>{say("rules.head")}</summary><ul className="rules">{RULES.map((key) => <li key={key}>{say(key)}</li>)}</ul></details>;
}

function Inside(): ReactNode {
  const { say } = useSpeech();
  const tools = useDevTools({ eventsMax: 100 });
  return <details><summary>{say("waiting.inside")}</summary><DevTools state={tools} /></details>;
}
