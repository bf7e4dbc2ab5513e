// One organisation's data for everything below.
// Laws: nothing is opened in render, and nothing on a server; what is below renders at once, empty and incomplete, until
// the store on this device was read. A core that cannot be loaded is thrown to the next error boundary.

import type { Client, Organization } from "@antiphon/client";
import { createContext, createElement, type ReactElement, type ReactNode, useContext, useMemo } from "react";

import { Hub } from "./hub.js";
import type { Entities } from "./register.js";
import { type Source, Sources } from "./sources.js";
import { useSource } from "./use-source.js";

/** What `AntiphonProvider` is given. */
export interface AntiphonProviderProps {
  /** Made by `createClient<Entities>`, outside of any component. */
  readonly client: Client<Entities>;
  /** The organisation's id. */
  readonly org: string;
  readonly children?: ReactNode;
}

interface Given {
  readonly client: Client<Entities>;
  /** Undefined until the store was read. */
  readonly hub: Hub | undefined;
}

type Opened = { readonly hub: Hub } | { readonly failed: unknown } | null;

const Context = createContext<Given | null>(null);
const openings = new WeakMap<object, Sources>();
const opened = new WeakMap<Organization<Entities>, Hub>();

/** Opens an organisation, and gives its data to all hooks below. */
export function AntiphonProvider({ client, org, children }: AntiphonProviderProps): ReactElement {
  const open = useSource(useMemo(() => opening(client, org), [client, org]));
  if (open && "failed" in open) throw open.failed;
  const hub = open?.hub;
  const given = useMemo(() => ({ client, hub }), [client, hub]);
  return createElement(Context.Provider, { value: given }, children);
}

/** The client of the provider above: for signing out. */
export function useClient(): Client<Entities> {
  return useGiven().client;
}

/** The organisation of the provider above, for what no hook does; null until its store on this device was read. */
export function useOrganization(): Organization<Entities> | null {
  return useGiven().hub?.organization ?? null;
}

/** The shared subscriptions of the provider above. */
export function useHub(): Hub | undefined {
  return useGiven().hub;
}

function useGiven(): Given {
  const given = useContext(Context);
  if (!given) throw new Error("an Antiphon hook is used outside of <AntiphonProvider>");
  return given;
}

function opening(client: Client<Entities>, org: string): Source<Opened> {
  const sources = openings.get(client) ?? new Sources();
  openings.set(client, sources);
  return sources.source<Opened>({
    key: org,
    nothing: null,
    begin: (set) => {
      client.org(org).then((organization) => set({ hub: hubOf(organization) }), (failed: unknown) => set({ failed }));
      return () => undefined;
    },
  });
}

function hubOf(organization: Organization<Entities>): Hub {
  const hub = opened.get(organization) ?? new Hub(organization);
  opened.set(organization, hub);
  return hub;
}
