export async function show(createClient, more) {
  const getToken = async () => (await (await fetch("/dev/session")).json()).tokens.alice;
  const acme = await createClient({ url: location.origin, user: "alice", getToken, ...more }).org("acme");
  const item = ({ title }) => Object.assign(document.createElement("li"), { textContent: title });
  const list = document.getElementById("list");
  acme.collection("page").query({ order: ["title"] }).subscribe(({ rows }) => list.replaceChildren(...rows.map(item)));
}
