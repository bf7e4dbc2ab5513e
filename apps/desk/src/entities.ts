// The rows that Desk shows, as `antiphon types` writes them for the demonstration's tables.

/** A page of words. */
export interface Page {
  id: string;
  organization_id: string;
  title: string | null;
  /** Absent while it is still to come, because it is too long to come with its row. */
  body?: string | null;
  position: string | null;
  archived: boolean | null;
  created_at: string | null;
}

/** Something to be done. */
export interface Task {
  id: string;
  organization_id: string;
  page_id: string | null;
  title: string | null;
  status: string | null;
  assignee: string | null;
  priority: number | null;
  due_on: string | null;
  labels: (string | null)[] | null;
  votes: number | null;
  position: string | null;
  created_at: string | null;
}

/** Every type that Desk shows. */
export interface Entities {
  page: Page;
  task: Task;
}

declare module "@antiphon/react" {
  interface Register { entities: Entities }
}
