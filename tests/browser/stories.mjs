// The stories of @antiphon/react/ui in a page, what axe-core says of it, and keys as a person presses them.

import { existsSync, readFileSync } from "node:fs";
import { appendFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const axe = fileURLToPath(new URL("../../packages/node_modules/axe-core/axe.min.js", import.meta.url));
const client = fileURLToPath(new URL("../../packages/client/dist/index.js", import.meta.url));
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Tells whether the packages were built; where they were not, says so and counts the skip. */
export function findPackages() {
  if (existsSync(axe) && existsSync(client)) return true;
  if (process.env.CI === "true") throw new Error("needs the built packages, build them with script/sdk");
  console.log("skipped: needs the built packages, install with script/sdk");
  if (process.env.ANTIPHON_SKIP_LOG) appendFileSync(process.env.ANTIPHON_SKIP_LOG, "the built packages\n");
  return false;
}

/** Goes to a story in a page that is open, and waits until it is there. */
export async function visit(page, url, story, more = "") {
  const address = `${url}?story=${story}${more}`;
  await page.evaluate("window.left = true");
  await page.send("Page.navigate", { url: address });
  await page.until("window.left === undefined && window.ready");
}

/** How the device shows things. */
export const LOOKS = {
  light: [{ name: "prefers-color-scheme", value: "light" }],
  dark: [{ name: "prefers-color-scheme", value: "dark" }],
  forced: [{ name: "forced-colors", value: "active" }, { name: "prefers-color-scheme", value: "dark" }],
};

/** Sets how the device shows things; nothing moves. */
export function look(page, name) {
  const features = [...LOOKS[name], { name: "prefers-reduced-motion", value: "reduce" }];
  return page.send("Emulation.setEmulatedMedia", { features });
}

/** What axe-core finds wrong, in one line each. */
export async function violations(page) {
  if (!(await page.evaluate("typeof window.axe === 'object'"))) await page.evaluate(`${readFileSync(axe, "utf8")}; undefined`);
  return page.evaluate(`axe.run(document, { runOnly: ${JSON.stringify(TAGS)} }).then(({ violations }) => violations.flatMap(
    ({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ": " + html.slice(0, 160) + " " + failureSummary)))`);
}

/** What is wider than its place: nobody scrolls sideways to read. */
export function tooWide(page) {
  return page.evaluate(`[document.scrollingElement, ...document.querySelectorAll("dialog[open], .antiphon")]
    .filter((element) => element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline")
    .map((element) => element.className + " " + element.scrollWidth + " > " + element.clientWidth)`);
}

const KEYS = {
  Tab: { code: "Tab", windowsVirtualKeyCode: 9 }, Enter: { code: "Enter", windowsVirtualKeyCode: 13, text: "\r" },
  Escape: { code: "Escape", windowsVirtualKeyCode: 27 }, " ": { code: "Space", windowsVirtualKeyCode: 32, text: " " },
  ArrowDown: { code: "ArrowDown", windowsVirtualKeyCode: 40 }, ArrowUp: { code: "ArrowUp", windowsVirtualKeyCode: 38 },
};

/** Presses a key. */
export async function press(page, key, modifiers = 0) {
  await page.send("Input.dispatchKeyEvent", { type: "keyDown", key, modifiers, ...KEYS[key] });
  await page.send("Input.dispatchKeyEvent", { type: "keyUp", key, modifiers, ...KEYS[key] });
}

/** Types a text where the focus is. */
export function type(page, text) {
  return page.send("Input.insertText", { text });
}

/** What has the focus, in a few words. */
export function focused(page) {
  return page.evaluate(`(() => {
    const element = document.activeElement;
    const label = element.labels?.[0]?.textContent ?? element.getAttribute("aria-label") ?? element.textContent;
    return element.tagName.toLowerCase() + ": " + label.trim().replace(/\\s+/g, " ").slice(0, 60);
  })()`);
}

/** Goes on by Tab until what has the focus begins so; fails after a round. */
export async function tabTo(page, beginning) {
  for (let n = 0; n < 60; n += 1) {
    if ((await focused(page)).startsWith(beginning)) return;
    await press(page, "Tab");
  }
  throw new Error(`Tab does not lead to ${beginning}; it is at ${await focused(page)}`);
}

/** The accessibility tree below an element, one line for each that says something. */
export async function accessibleTree(page, selector) {
  await page.send("DOM.enable");
  const { root } = await page.send("DOM.getDocument", { depth: 0 });
  const { nodeId } = await page.send("DOM.querySelector", { nodeId: root.nodeId, selector });
  const { node } = await page.send("DOM.describeNode", { nodeId });
  const { nodes } = await page.send("Accessibility.getFullAXTree");
  const byId = new Map(nodes.map((one) => [one.nodeId, one]));
  const lines = [];
  const walk = (one, depth) => {
    const role = one.role?.value;
    const silent = one.ignored || ["none", "generic", "InlineTextBox", "LineBreak"].includes(role);
    if (!silent) lines.push(`${"  ".repeat(depth)}${lineOf(one)}`);
    for (const id of one.childIds ?? []) {
      const child = byId.get(id);
      if (child) walk(child, depth + (silent ? 0 : 1));
    }
  };
  walk(nodes.find((one) => one.backendDOMNodeId === node.backendNodeId), 0);
  return `${lines.join("\n")}\n`;
}

const TOLD = ["level", "checked", "expanded", "modal", "focused", "invalid", "live", "multiline"];

function lineOf({ role, name, value, description, properties }) {
  const told = (properties ?? []).filter((one) => TOLD.includes(one.name) && ![false, "false", "off"].includes(one.value.value))
    .map((one) => `${one.name}=${one.value.value}`);
  const parts = [role.value, name?.value && JSON.stringify(name.value), value?.value && `value ${JSON.stringify(value.value)}`,
    description?.value && `described ${JSON.stringify(description.value)}`, ...told];
  return parts.filter(Boolean).join(" ");
}
