// The banner, the badges, signing out, and the developers' panel.

import { type ReactNode, useEffect } from "react";

import { useOrganization } from "../src/index.js";
import {
  type BadgeState, DevTools, SignOutDialog, SyncBadge, SyncBanner, useDevTools, useSignOut, useSyncBadge, useSyncBanner,
} from "../src/ui/index.js";
import { entry, set, theirs } from "./data.js";
import type { FakeOrganization } from "./fake.js";
import type { Stories } from "./story.js";

const nothing = () => undefined;
const two = [entry(set("title", "Welcome to Acme")), entry(set("rank", 3))];
const needing = [
  ...two, entry(set("title", "x"), { state: "conflicted", base: "y", theirs: theirs("z") }),
  entry(set("rank", -1), { state: "failed", refused: { code: "CONSTRAINT", detail: "" } }),
];
const notice = (code: string) => ({ code, message: code });

function Banner(): ReactNode {
  return <main><h1>Acme</h1><SyncBanner state={useSyncBanner()} onChoose={nothing} onShowOutbox={nothing} /></main>;
}

const banner = { show: () => <Banner /> };

export const banners: Stories = {
  upToDate: { ...banner, scene: {} },
  connecting: { ...banner, scene: { status: { connection: "connecting", listed: false } } },
  loading: { ...banner, scene: { status: { listed: false, rows: 1_234 } } },
  offline: { ...banner, scene: { status: { connection: "offline" } } },
  offlineWaiting: { ...banner, scene: { status: { connection: "offline", persisted: false, notices: [notice("STORE_NOT_PERSISTED")] }, entries: two } },
  refused: { ...banner, scene: { status: { connection: "refused", refusedStatus: 403 } } },
  waiting: { ...banner, scene: { status: { connection: "connecting" }, entries: two } },
  syncing: { ...banner, scene: { entries: two } },
  needsYou: { ...banner, scene: { entries: needing } },
  memory: { ...banner, scene: { status: { storage: "memory", persisted: null, notices: [notice("STORE_IN_MEMORY"), notice("UNHEARD_OF")] } } },
  storage: { ...banner, scene: {}, press: "summary" },
};

const STATES: readonly BadgeState[] = ["saved", "here", "sending", "conflict", "rejected"];

function Badges(): ReactNode {
  const own = useSyncBadge({ entityType: "page", entityId: "welcome", field: "title" });
  return (
    <main>
      <h1>Acme</h1>
      <ul>{STATES.map((state) => <li key={state}><SyncBadge state={state} showSaved /></li>)}</ul>
      <ul>{STATES.map((state) => <li key={state}><SyncBadge state={state} showSaved compact /></li>)}</ul>
      <p id="own"><SyncBadge state={own} showSaved /></p>
    </main>
  );
}

export const badges: Stories = { all: { show: () => <Badges />, scene: { entries: needing } } };

function SignOut(): ReactNode {
  const state = useSignOut({ onSignedOut: () => { document.title = "signed out"; } });
  const { show } = state;
  useEffect(() => show(), [show]);
  return <main><h1>Acme</h1><button type="button" onClick={show}>Open</button><SignOutDialog state={state} /></main>;
}

const signOut = { show: () => <SignOut />, ready: "dialog[open] h2:focus" };

export const signingOut: Stories = {
  nothingWaits: { ...signOut, scene: {} },
  waiting: { ...signOut, scene: { entries: two } },
  needsYou: { ...signOut, scene: { entries: needing } },
  notSent: { ...signOut, scene: { entries: two, signOutFails: "OUTBOX_NOT_EMPTY" }, press: ".antiphon-sign-out .antiphon-primary", ready: ".antiphon-sign-out [role=status]:not(:empty)" },
};

function Tools({ organization }: { readonly organization: FakeOrganization }): ReactNode {
  const state = useDevTools({ eventsMax: 5 });
  const opened = useOrganization();
  useEffect(() => {
    if (!opened) return;
    for (let n = 1; n <= 8; n += 1) organization.tell({ told: "rows", about: [{ entityType: "page", entityId: `p${n}` }] });
    organization.tell({ told: "nonsense", about: "a frame that nobody knows" });
  }, [organization, opened]);
  return <main><h1>Acme</h1><DevTools state={state} /></main>;
}

const tools = { show: (organization: FakeOrganization) => <Tools organization={organization} /> };

export const devTools: Stories = {
  full: { ...tools, scene: { entries: needing } },
  quiet: { ...tools, scene: { status: { leading: false, asOf: null, notices: [notice("STORE_FULL")] } } },
  paused: { ...tools, scene: {}, press: ".antiphon-tools .antiphon-scroll button" },
};
