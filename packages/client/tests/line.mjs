// A WebSocket whose other end is the test.

/** Stands in for `WebSocket`. */
export class Line {
  static all = [];
  said = [];
  closed = false;
  constructor(url, protocol) { Object.assign(this, { url, protocol }); Line.all.push(this); }
  send(text) { this.said.push(JSON.parse(text)); }
  close() { this.closed = true; }
  hear(message) { this.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) }); }
  of(kind) { return this.said.filter((message) => message.kind === kind); }
}
