// The types of the demonstration, as `antiphon types` writes them, registered as an application registers its own.

export interface Page {
  id: string;
  organization_id: string;
  title: string | null;
  body: string | null;
  archived: boolean | null;
}
export interface Task {
  id: string;
  organization_id: string;
  page_id: string | null;
  title: string | null;
  status: "todo" | "doing" | "done" | null;
  due_on: string | null;
  priority: number | null;
  votes: number | null;
  labels: (string | null)[] | null;
}
export interface Entities {
  page: Page;
  task: Task;
}

declare module "@antiphon/react" {
  interface Register { entities: Entities }
}
