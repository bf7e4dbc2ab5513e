// What a story is: data, and what is shown of them.

import type { ReactNode } from "react";

import type { FakeOrganization, Scene } from "./fake.js";

/** One state of one component. */
export interface Story {
  readonly scene: Scene;
  readonly show: (organization: FakeOrganization) => ReactNode;
  /** What is pressed once it is there: a selector. */
  readonly press?: string;
  /** What stands in the file that is chosen once there is a place for one. */
  readonly file?: string;
  /** What is there once all is: a selector. */
  readonly ready?: string;
}

/** The states of one component, by name. */
export type Stories = Readonly<Record<string, Story>>;
