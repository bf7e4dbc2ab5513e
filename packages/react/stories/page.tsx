// The page of the stories: without a story it lists all; ?story=NAME shows one, &language=de|pseudo and &direction=rtl in
// another language. What was done in a story is in `window.story`.

import { type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { AntiphonProvider } from "../src/index.js";
import { type Catalogue, german, pseudoCatalogue, UiProvider } from "../src/ui/index.js";
import { conflict } from "./conflict.stories.js";
import { FakeOrganization, NOW_MS } from "./fake.js";
import { outbox } from "./outbox.stories.js";
import { badges, banners, devTools, signingOut } from "./status.stories.js";
import type { Story } from "./story.js";

const all: ReadonlyMap<string, Story> = new Map(
  Object.entries({ conflict, outbox, banners, badges, signingOut, devTools })
    .flatMap(([component, stories]) => Object.entries(stories).map(([name, story]) => [`${component}/${name}`, story])),
);
const asked = new URLSearchParams(location.search);
const NAMES: Readonly<Record<string, string>> = { mina: "Mina", noor: "Noor" };

function catalogue(): Catalogue | undefined {
  const direction = asked.get("direction") === "rtl" ? "rtl" : "ltr";
  if (asked.get("language") === "de") return german;
  return asked.get("language") === "pseudo" ? pseudoCatalogue(direction) : undefined;
}

function Shown({ story, organization }: { readonly story: Story; readonly organization: FakeOrganization }): ReactNode {
  const language = catalogue();
  return (
    <AntiphonProvider client={organization.client()} org="acme">
      <UiProvider {...(language ? { catalogue: language } : {})} personName={(id) => NAMES[id]} now={() => NOW_MS} timeZone="UTC">
        {story.show(organization)}
      </UiProvider>
    </AntiphonProvider>
  );
}

function List(): ReactNode {
  return (
    <main>
      <h1>Stories</h1>
      <ul>
        {[...all.keys()].map((name) => (
          <li key={name}>
            <a href={`?story=${name}`}>{name}</a> (<a href={`?story=${name}&language=de`}>de</a>, <a href={`?story=${name}&language=pseudo&direction=rtl`}>pseudo, rtl</a>)
          </li>
        ))}
      </ul>
    </main>
  );
}

/** Waits until an element is there. */
function found(selector: string): Promise<HTMLElement> {
  return new Promise((resolve) => {
    const look = () => {
      const element = document.querySelector<HTMLElement>(selector);
      if (element) resolve(element);
      else requestAnimationFrame(look);
    };
    look();
  });
}

/** Chooses a file with this text, as a person would. */
function chooseFile(input: HTMLInputElement, text: string): void {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], "changes-acme.json", { type: "application/json" }));
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

/** Brings a story where it is to be looked at, and says so. */
async function begin({ press, file, ready = "main" }: Partial<Story>): Promise<void> {
  if (press !== undefined) (await found(press)).click();
  if (file !== undefined) chooseFile(await found("input[type=file]") as HTMLInputElement, file);
  await found(ready);
  Object.assign(window, { ready: true });
}

const name = asked.get("story");
const story = name === null ? undefined : all.get(name);
const organization = new FakeOrganization(story?.scene ?? {});
const client = organization.client();
organization.client = () => client;
document.documentElement.lang = asked.get("language") === "de" ? "de" : "en";
document.documentElement.dir = asked.get("direction") === "rtl" ? "rtl" : "ltr";
Object.assign(window, { chooseFile, story: organization, stories: [...all.keys()] });
createRoot(document.getElementById("root")!).render(
  <StrictMode>{story ? <Shown story={story} organization={organization} /> : <List />}</StrictMode>,
);
void begin(story ?? {});
