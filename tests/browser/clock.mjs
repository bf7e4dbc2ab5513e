// A page's clocks under the hand of a test: `clock.rush(600)` lets an hour pass in six seconds, `clock.ahead(ms)` sets the
// wall clock wrong. Law: timers that were set before go on at the new rate; the network stays as fast as it is.

/** Runs in the page, before its own scripts. */
function take() {
  const [wall, tick, set, clear] = [Date.now.bind(Date), performance.now.bind(performance), setTimeout, clearTimeout];
  const timers = new Map();
  let [rate, turnedAt, gained, off, number] = [1, tick(), 0, 0, 0];
  const extra = () => gained + (tick() - turnedAt) * (rate - 1);
  const arm = (id) => {
    const timer = timers.get(id);
    clear(timer.real);
    const leftMs = Math.max(0, timer.dueMs - performance.now());
    timer.real = set(() => { timers.delete(id); timer.act(...timer.rest); }, leftMs / rate);
  };
  performance.now = () => tick() + extra();
  Date.now = () => Math.floor(wall() + extra() + off);
  window.setTimeout = (act, ms = 0, ...rest) => {
    number += 1;
    timers.set(number, { act, rest, dueMs: performance.now() + ms, real: undefined });
    arm(number);
    return number;
  };
  window.clearTimeout = (id) => {
    clear(timers.get(id)?.real);
    timers.delete(id);
  };
  window.clock = {
    rush(next) {
      [gained, turnedAt, rate] = [extra(), tick(), next];
      for (const id of timers.keys()) arm(id);
    },
    ahead(ms) { off = ms; },
  };
}

/** For `open(name, { first })`: the page's clocks, set so many milliseconds ahead. */
export function ownClock(aheadMs = 0) {
  return `(${take})(); clock.ahead(${aheadMs});`;
}

/** Lets `ms` pass in the page, so many times as fast. */
export async function pass(page, ms, rate) {
  await page.evaluate(`window.passedAt = performance.now() + ${ms}; clock.rush(${rate})`);
  await page.until("performance.now() >= passedAt");
  await page.evaluate("clock.rush(1)");
}
