// What the machine does, for developers: how it stands, what waits, what it tells.
// Laws: it only looks; events are bounded; what is copied is what is shown.

import { AntiphonError, type OutboxEntry, type Status, type Told } from "@antiphon/client";
import { useCallback, useEffect, useState } from "react";

import { useOrganization } from "../provider.js";
import { useOutbox, useSyncStatus } from "../sync.js";
import { added, EMPTY_RING, type Kept, paused, type Ring, shownOf } from "./ring.js";
import { copyText } from "./surface.js";

/** One thing that the machine told. */
export interface ToolEvent {
  readonly atMs: number;
  readonly told: Told;
}

/** What the tools show and do. */
export interface DevToolsState {
  readonly status: Status;
  readonly position: { readonly epoch: number; readonly offset: number } | undefined;
  readonly entries: readonly OutboxEntry[];
  readonly conflicted: readonly OutboxEntry[];
  readonly events: readonly Kept<ToolEvent>[];
  /** How many events are not kept any more. */
  readonly dropped: number;
  readonly paused: boolean;
  /** How many came since it was paused. */
  readonly since: number;
  /** Whether copying worked, since it was last done. */
  readonly copied: boolean | undefined;
  readonly pause: (paused: boolean) => void;
  readonly clear: () => void;
  readonly copy: () => void;
}

/** What the tools may be told. */
export interface DevToolsOptions {
  /** So many events are kept at most. */
  readonly eventsMax?: number;
}

/** Looks at the organisation of the provider above. */
export function useDevTools({ eventsMax = 200 }: DevToolsOptions = {}): DevToolsState {
  const organization = useOrganization();
  const status = useSyncStatus();
  const { entries } = useOutbox();
  const [ring, change] = useState<Ring<ToolEvent>>(EMPTY_RING);
  const [copied, setCopied] = useState<boolean>();
  useEffect(() => organization?.onTold((told) => {
    change((now) => added(now, { atMs: Date.now(), told }, eventsMax));
  }), [organization, eventsMax]);
  const position = positionOf(organization);
  const conflicted = entries.filter(({ state }) => state === "conflicted");
  const { events, dropped, since } = shownOf(ring);
  const copy = () => {
    const shown = { at: new Date().toISOString(), status, position, outbox: entries, events };
    void copyText(JSON.stringify(shown, null, 2)).then(setCopied);
  };
  return {
    status, position, entries, conflicted, events, dropped, paused: ring.frozen !== undefined, since, copied, copy,
    pause: useCallback((isPaused: boolean) => change((now) => paused(now, isPaused)), []),
    clear: useCallback(() => change(EMPTY_RING), []),
  };
}

function positionOf(organization: ReturnType<typeof useOrganization>): DevToolsState["position"] {
  try {
    return organization?.position();
  } catch (error) {
    // Signed out meanwhile.
    if (error instanceof AntiphonError) return undefined;
    throw error;
  }
}
