// Readers and writers over one WebSocket each: how late an edit arrives, and that no limit is passed.
//
// A writer puts the time at which it sends an edit into the row; every reader takes that time from the `change` that
// comes back, by the same clock: from sent, over committed and durable, to arrived. Thresholds are the assertions, and
// k6 ends with 99 where one does not hold. Nothing is slept for: each socket works by what arrives and by timers.
// Set by script/bench: API, TOKEN, SCENARIO. For a try: ARRIVAL_P99_MS, SOAK_SECONDS.

import { check } from "k6";
import exec from "k6/execution";
import { Counter, Rate, Trend } from "k6/metrics";
import ws from "k6/ws";

const SCENARIOS = {
  // Enough to see that everything works.
  smoke: { readers: 5, writers: 2, seconds: 20, editsPerSecond: 4, p95: 500, p99: 1_000 },
  // All come at once, and write at the most that one socket may.
  burst: { readers: 100, writers: 5, seconds: 60, editsPerSecond: 15, p95: 1_000, p99: 2_000 },
  // Long enough for what grows to show.
  soak: { readers: 50, writers: 4, seconds: Number(__ENV.SOAK_SECONDS || 1_800), editsPerSecond: 5, p95: 500, p99: 1_000 },
};
const name = __ENV.SCENARIO || "smoke";
const plan = SCENARIOS[name];
if (!plan) throw new Error(`no scenario ${name}: one of ${Object.keys(SCENARIOS).join(", ")}`);
const p99 = Number(__ENV.ARRIVAL_P99_MS || plan.p99);
// What a socket is promised: 1 MiB a second with a burst of 4 MiB (`limits` of the welcome).
const BYTES_PER_SECOND = 1 << 20;
const BYTES_BURST = 4 << 20;
// Readers stay longer than writers write, to see the last edits.
const GRACE_SECONDS = 5;

const arrival = new Trend("antiphon_arrival_ms", true);
const answer = new Trend("antiphon_answer_ms", true);
const changes = new Counter("antiphon_changes");
const applied = new Rate("antiphon_applied");
const rate = new Rate("antiphon_byte_rate_kept");
const faults = new Counter("antiphon_faults");
const behind = new Counter("antiphon_went_back");

const scenario = (exec, vus, seconds) => ({
  executor: "per-vu-iterations", vus, iterations: 1, exec, maxDuration: `${seconds + 30}s`, gracefulStop: "10s",
});

export const options = {
  scenarios: {
    readers: scenario("read", plan.readers, plan.seconds + GRACE_SECONDS),
    writers: { ...scenario("write", plan.writers, plan.seconds), startTime: "2s" },
  },
  thresholds: {
    antiphon_arrival_ms: [`p(95)<${Math.min(plan.p95, p99)}`, `p(99)<${p99}`],
    antiphon_changes: [`count>=${Math.floor(plan.readers * plan.writers * plan.editsPerSecond * plan.seconds * 0.8)}`],
    antiphon_applied: ["rate==1"],
    antiphon_byte_rate_kept: ["rate==1"],
    antiphon_faults: ["count==0"],
    antiphon_went_back: ["count==0"],
    checks: ["rate==1"],
  },
  summaryTrendStats: ["min", "med", "p(95)", "p(99)", "max"],
};
// A counter that nothing was added to is absent, and its threshold would not be looked at.
export function setup() {
  faults.add(0);
  behind.add(0);
}

// Opens a socket, says who we are, and hands frames by kind to `on`; `welcome` comes first.
function connect(seconds, on) {
  const url = `${__ENV.API.replace(/^http/, "ws")}/v1/ws`;
  const response = ws.connect(url, { headers: { "Sec-WebSocket-Protocol": "antiphon.v1" } }, (socket) => {
    const say = (message) => socket.send(JSON.stringify(message));
    let welcome = null;
    let ended = false;
    let bytes = 0;
    let began = Date.now();
    socket.on("open", () => say({ kind: "hello", token: __ENV.TOKEN }));
    socket.on("message", (text) => {
      bytes += text.length;
      const frame = JSON.parse(text);
      if (frame.kind === "welcome") {
        welcome = frame;
        began = Date.now();
      }
      if (["error", "reset", "notice"].includes(frame.kind)) {
        faults.add(1);
        console.error(text);
      }
      if (on[frame.kind]) on[frame.kind](frame, say, socket);
    });
    socket.on("error", (error) => {
      faults.add(1);
      console.error(error.error());
    });
    socket.on("close", () => {
      if (!ended) faults.add(1);
    });
    socket.setTimeout(() => {
      ended = true;
      const elapsed = (Date.now() - began) / 1_000;
      rate.add(bytes <= BYTES_BURST + BYTES_PER_SECOND * elapsed);
      check(welcome, { "was welcomed": (frame) => frame !== null });
      socket.close();
    }, seconds * 1_000);
  });
  check(response, { "became a WebSocket": (answered) => answered && answered.status === 101 });
}

// Subscribes at the head, takes each change and acknowledges it by twenty.
export function read() {
  let last = 0;
  let count = 0;
  connect(plan.seconds + GRACE_SECONDS, {
    welcome: (_, say) => say({ kind: "subscribe", id: "pages", org: "acme", offset: "now", entityTypes: ["page"] }),
    change: ({ activity }, say) => {
      if (activity.activityId <= last) behind.add(1);
      last = activity.activityId;
      count += 1;
      if (count % 20 === 0) say({ kind: "ack", id: "pages", offset: last });
      const sent = /^k6 (\d+)$/.exec(activity.data?.title ?? "");
      if (!sent) return;
      arrival.add(Date.now() - Number(sent[1]));
      changes.add(1);
    },
  });
}

// Creates a page with each edit; its title is the time.
export function write() {
  const node = `k6-${exec.vu.idInTest}`;
  const open = new Map();
  let number = 0;
  connect(plan.seconds, {
    welcome: (_, say, socket) => {
      socket.setInterval(() => {
        const sent = Date.now();
        const tx = { transactionId: `${sent}.${String(number % 10_000).padStart(4, "0")}.${node}`, sourceId: node };
        const id = uuid();
        const data = { id, title: `k6 ${sent}` };
        const requestId = String(number++);
        open.set(requestId, sent);
        say({ kind: "mutate", org: "acme", requestId, mutations: [{ entityType: "page", entityId: id, action: "create", data, tx }] });
      }, 1_000 / plan.editsPerSecond);
    },
    result: ({ requestId, results }) => {
      answer.add(Date.now() - open.get(requestId));
      open.delete(requestId);
      applied.add(results[0].status === "applied");
    },
  });
}

function uuid() {
  const digits = Array.from({ length: 32 }, () => Math.floor(Math.random() * 16).toString(16));
  digits[12] = "4";
  digits[16] = "8";
  return digits.join("").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
