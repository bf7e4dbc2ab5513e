// The guided minute: what is to be done in each step, what the page can do for a person, and how one sees that it is done.
// Law: a step is done when the windows say so, however it was done.

import type { TextKey } from "../texts/english.js";
import type { Command, WindowState } from "./words.js";

/** Whose window. */
export type Who = "alice" | "bob";

/** How both windows stand, and whose plug is pulled. */
export interface Scene {
  readonly alice: WindowState | undefined;
  readonly bob: WindowState | undefined;
  readonly pulled: Readonly<Record<Who, boolean>>;
  /** The titles when the step began. */
  readonly before: Readonly<Record<Who, string | null>>;
}

/** One step. */
export interface Step {
  readonly text: Extract<TextKey, `try.step.${string}`>;
  readonly done: (scene: Scene) => boolean;
  /** What the page does where the person would rather watch; a plug is the page's own. */
  readonly deed?: { readonly who: Who; readonly command: Command };
  /** What happens when the step begins. */
  readonly begins?: { readonly who: Who; readonly command: Command };
}

const waits = (state: WindowState | undefined) => state !== undefined && state.moving.length > 0;
const conflicted = (state: WindowState | undefined) => state?.moving.some((edit) => edit.state === "conflicted") ?? false;
const same = ({ alice, bob }: Scene) => alice !== undefined && bob !== undefined && alice.title === bob.title && !waits(alice) && !waits(bob);

/** The steps, in order; after the last there is only reading. */
export const STEPS: readonly Step[] = [
  {
    text: "try.step.share",
    deed: { who: "alice", command: { desk: "rename", title: "Welcome aboard" } },
    done: (scene) => same(scene) && scene.alice?.title !== scene.before.alice,
  },
  { text: "try.step.pull", deed: { who: "bob", command: { desk: "pull", pulled: true } }, done: ({ pulled }) => pulled.bob },
  {
    text: "try.step.offline",
    deed: { who: "bob", command: { desk: "rename", title: "Welcome, says Bob" } },
    done: ({ bob, before }) => waits(bob) && bob?.title !== before.bob,
  },
  {
    text: "try.step.meanwhile",
    deed: { who: "alice", command: { desk: "rename", title: "Welcome, says Alice" } },
    done: ({ alice, before }) => !waits(alice) && alice !== undefined && alice.title !== before.alice,
  },
  { text: "try.step.plug", deed: { who: "bob", command: { desk: "pull", pulled: false } }, done: ({ bob, pulled }) => !pulled.bob && conflicted(bob) },
  { text: "try.step.choose", begins: { who: "bob", command: { desk: "choose" } }, done: (scene) => !conflicted(scene.bob) && same(scene) },
  { text: "try.step.end", done: () => false },
];
