// Time as the client uses it, so that a test can be its master (SDK-07).
// Laws: the steady clock never goes back, whatever the wall's does; what was taken back is not called. Whoever waits for
// the network waits in real time: the clocks of a line and of its silence are not these.

/** The wall's clock, a steady one, and something to be called by. */
export interface Clock {
  /** Milliseconds since 1970, as the device has them; a person may put it elsewhere at any time. */
  readonly wallMs: () => number;
  /** Milliseconds of a clock that never goes back. */
  readonly tickMs: () => number;
  /** Calls once, when so many milliseconds of the steady clock have passed; returns what takes it back. */
  readonly after: (ms: number, call: () => void) => () => void;
}

/** The device's own. */
export const deviceClock: Clock = {
  wallMs: () => Date.now(),
  tickMs: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => { clearTimeout(timer); };
  },
};
