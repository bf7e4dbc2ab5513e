// Which tab speaks for a user, with all of their organisations: one Web Lock for (application, server, user).
// Laws: one tab has the lock and leads every store that any tab has open, so there is one connection; whoever hands it
// over hands over everything. Which stores are open is what their locks say; words between tabs only hint at it. It
// refuses to know what leading means.

/** Stores that others opened or closed are looked for so often, besides when they say so. */
const LOOK_MS = 30_000;

/** What one tab says to all others of the user. */
type LeadMessage = "opened" | "stop";

/** One store of the user, open in this tab. */
export interface Member {
  readonly name: string;
  /** This tab speaks for the user from now on. */
  lead(): void;
  /** Another tab does. */
  follow(): void;
}

/** What happens to a user's tab. */
export interface LeadHearing {
  /** These stores are open in other tabs, and this tab leads; none where it does not. */
  needed(names: ReadonlySet<string>): void;
  /** Another tab signs the user out. */
  stop(): void;
}

/** This tab among all tabs of a user. */
export class Lead {
  readonly #name: string;
  readonly #hearing: LeadHearing;
  readonly #members = new Set<Member>();
  #channel: BroadcastChannel | undefined;
  #release: (() => void) | undefined;
  #taking: Promise<void> | undefined;
  #queue: AbortController | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `name` is how the names of the user's stores begin. */
  constructor(name: string, hearing: LeadHearing) {
    this.#name = name;
    this.#hearing = hearing;
  }

  /** Whether this tab has the lock. */
  get leads(): boolean {
    return this.#release !== undefined;
  }

  /** Comes in with a store; tells whether this tab leads. From then on it waits for its turn. */
  async enter(member: Member): Promise<boolean> {
    this.#members.add(member);
    if (typeof BroadcastChannel === "function") this.#channel ??= this.#listen();
    if (!this.leads) await (this.#taking ??= this.#take({ ifAvailable: true }));
    if (!this.leads) this.#wait();
    return this.leads;
  }

  /** A store was closed here; with the last one whoever waits has the lock at once. */
  leave(member: Member): void {
    if (!this.#members.delete(member) || this.#members.size > 0) return;
    this.#queue?.abort();
    this.#queue = undefined;
    this.#taking = undefined;
    this.#release?.();
    this.#lost();
    this.#channel?.close();
    this.#channel = undefined;
  }

  /** A machine took over from a silent leader: the lock comes along, and with it everything else. */
  wonBySilence(): void {
    if (this.leads) return;
    this.#queue?.abort();
    void this.#take({ steal: true });
  }

  /** A store was opened here, or left: whoever leads looks. */
  opened(): void {
    this.#channel?.postMessage("opened" satisfies LeadMessage);
    void this.#look();
  }

  /** Stops all other tabs. */
  stopOthers(): void {
    this.#channel?.postMessage("stop" satisfies LeadMessage);
  }

  #listen(): BroadcastChannel {
    const channel = new BroadcastChannel(this.#name);
    channel.onmessage = ({ data }: MessageEvent<LeadMessage>) => {
      if (data === "stop") this.#hearing.stop();
      else void this.#look();
    };
    return channel;
  }

  #wait(): void {
    if (this.#queue && !this.#queue.signal.aborted) return;
    this.#queue = new AbortController();
    void this.#take({ signal: this.#queue.signal });
  }

  /** Asks for the lock; returns once it was granted or refused. It is held until the last store leaves, or it is stolen. */
  #take(options: LockOptions): Promise<void> {
    return new Promise((settled) => {
      let release: (() => void) | undefined;
      const held = (lock: Lock | null) => {
        if (!lock || this.#members.size === 0) return settled();
        const released = new Promise<void>((resolve) => { release = resolve; });
        this.#release = release;
        this.#queue = undefined;
        this.#timer = setInterval(() => void this.#look(), LOOK_MS);
        for (const member of this.#members) member.lead();
        void this.#look();
        settled();
        return released;
      };
      navigator.locks.request(this.#name, options, held).catch(() => {
        settled();
        if (!release || this.#release !== release) return;
        // It was stolen.
        this.#lost();
        for (const member of this.#members) member.follow();
        if (this.#members.size > 0) this.#wait();
      });
    });
  }

  #lost(): void {
    clearInterval(this.#timer);
    if (!this.leads) return;
    this.#release = undefined;
    this.#taking = undefined;
    this.#hearing.needed(new Set());
  }

  /** Every open store has a lock that its tabs share: those of which there are more than are held here are needed. */
  async #look(): Promise<void> {
    if (!this.leads) return;
    const { held = [] } = await navigator.locks.query().catch((): LockManagerSnapshot => ({}));
    if (!this.leads) return;
    const names = held.flatMap(({ name = "" }) => (name.startsWith(`${this.#name}:`) && name.endsWith(OPEN) ? [name] : []));
    for (const { name } of this.#members) {
      const mine = names.indexOf(openName(name));
      if (mine >= 0) names.splice(mine, 1);
    }
    this.#hearing.needed(new Set(names.map((name) => name.slice(0, -OPEN.length))));
  }
}

const OPEN = ":open";

/** The name of the lock that every tab shares while it has the store open. */
export function openName(name: string): string {
  return name + OPEN;
}
