// A small application with every component of @antiphon/react/ui, in which tests/browser/react-ui.test.mjs lets two
// people meet: the page's own data, hooks and components, nothing else.

import { createClient } from "@antiphon/client";
import { AntiphonProvider, useEntities, useMutate, useOrganization } from "@antiphon/react";
import {
  ConflictDialog, DevTools, OutboxScreen, SignOutDialog, SyncBadge, SyncBanner, UiProvider, useConflictDialog, useDevTools,
  useOutboxScreen, useSignOut, useSyncBadge, useSyncBanner,
} from "@antiphon/react/ui";
import { type ReactNode, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

import type { Entities, Page } from "./entities.js";

const user = new URLSearchParams(location.search).get("user") ?? "alice";
const client = createClient<Entities>({
  url: location.origin, user, getToken: async () => (await fetch(`/token/${user}`)).text(),
});

function Line({ page }: { readonly page: Page }): ReactNode {
  const { update } = useMutate("page");
  const badge = useSyncBadge({ entityType: "page", entityId: page.id });
  const [typed, type] = useState<string>();
  const save = () => {
    if (typed !== undefined) update(page.id, { body: typed });
    type(undefined);
  };
  return (
    <li data-page={page.id}>
      <label>
        {page.title}
        <textarea value={typed ?? page.body ?? ""} onChange={(event) => type(event.target.value)} onBlur={save} />
      </label>
      <SyncBadge state={badge} />
    </li>
  );
}

function Application(): ReactNode {
  const dialog = useConflictDialog();
  const signOut = useSignOut({ onSignedOut: () => { document.title = "signed out"; } });
  const { rows } = useEntities("page", { order: ["title"], where: { archived: false } });
  Object.assign(window, { organization: useOrganization() });
  return (
    <>
      <SyncBanner state={useSyncBanner()} onChoose={dialog.show} />
      <main>
        <h1>Pages</h1>
        <button type="button" onClick={signOut.show}>Leave</button>
        <ul>{rows.map((page) => <Line key={page.id} page={page as Page} />)}</ul>
        <OutboxScreen state={useOutboxScreen()} onChoose={dialog.show} />
        <DevTools state={useDevTools()} />
      </main>
      <ConflictDialog state={dialog} />
      <SignOutDialog state={signOut} />
    </>
  );
}

const NAMES: Readonly<Record<string, string>> = { alice: "Alice", bob: "Bob" };

createRoot(document.querySelector("#root") as HTMLElement).render(
  <StrictMode>
    <AntiphonProvider client={client} org="acme">
      <UiProvider personName={(id) => NAMES[id]} entityName={({ entityType }) => (entityType === "page" ? "the page" : undefined)}>
        <Application />
      </UiProvider>
    </AntiphonProvider>
  </StrictMode>,
);
