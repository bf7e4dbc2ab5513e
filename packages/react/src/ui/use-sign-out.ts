// Everything that a dialog about signing out does, without how it looks.
// Laws: nothing that was typed goes away unless the person said so twice; while it works, nothing else can be chosen;
// where sending fails, the person is still signed in.

import { AntiphonError, type OutboxExport, type PendingAtSignOut } from "@antiphon/client";
import { useCallback, useState } from "react";

import { useClient } from "../provider.js";
import { useSyncStatus } from "../sync.js";
import { saveFile } from "./surface.js";

/** What a dialog about signing out shows and does. */
export interface SignOutState {
  readonly open: boolean;
  /** How many changes the server does not have. */
  readonly waiting: number;
  /** How many of them need a person, so that sending is not enough. */
  readonly needing: number;
  readonly choice: PendingAtSignOut;
  /** Whether discarding is to be confirmed now. */
  readonly confirming: boolean;
  readonly working: boolean;
  /** The code of what went wrong. */
  readonly problem: string | undefined;
  readonly show: () => void;
  readonly close: () => void;
  readonly choose: (choice: PendingAtSignOut) => void;
  /** Signs out as chosen; discarding is asked about once more. */
  readonly signOut: () => void;
}

/** What is to happen around signing out. */
export interface SignOutOptions {
  /** Called once nothing of the user is open any more; exported documents come along. */
  readonly onSignedOut: (exported: readonly OutboxExport[]) => void;
  /** How long sending may take. */
  readonly timeoutMs?: number;
}

/** Signing out of the client of the provider above. */
export function useSignOut({ onSignedOut, timeoutMs }: SignOutOptions): SignOutState {
  const client = useClient();
  const { pending, conflicted, failed } = useSyncStatus();
  const [open, setOpen] = useState(false);
  const [chosen, choose] = useState<PendingAtSignOut>();
  const [confirming, confirm] = useState(false);
  const [working, work] = useState(false);
  const [problem, tell] = useState<string>();
  const waiting = pending + conflicted + failed;
  const needing = conflicted + failed;
  const choice = chosen ?? (needing > 0 ? "keep" : "send");

  const act = async () => {
    if (choice === "discard" && waiting > 0 && !confirming) return confirm(true);
    work(true);
    tell(undefined);
    try {
      const exported = await client.signOut({ pending: choice, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
      for (const document of exported) saveFile(`changes-${document.organization}.json`, document);
      setOpen(false);
      onSignedOut(exported);
    } catch (error) {
      tell(error instanceof AntiphonError ? error.code : String(error));
    } finally {
      work(false);
      confirm(false);
    }
  };
  return {
    open, waiting, needing, choice, confirming, working, problem,
    show: useCallback(() => { setOpen(true); tell(undefined); }, []),
    // What is on its way cannot be called back by closing a dialog.
    close: () => { if (!working) { setOpen(false); confirm(false); } },
    choose: (next) => { if (!working) { choose(next); confirm(false); } },
    signOut: () => void act(),
  };
}
