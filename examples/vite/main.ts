import { createClient } from "@antiphon/client";
import type { Entities } from "./entities.js";

const getToken = async () => (await (await fetch("/dev/session")).json()).tokens.alice as string;
const client = createClient<Entities>({ url: location.origin, user: "alice", getToken });
const pages = (await client.org("acme")).collection("page");
pages.query({ where: { archived: false }, order: ["title"] }).subscribe(({ rows }) => {
  document.getElementById("list")!.replaceChildren(...rows.map(({ title }) => (
    Object.assign(document.createElement("li"), { textContent: title }))));
});
