// Misbehaviour on demand. A fault is aimed at an operation ("create", "delete", "process.Start", "files.write", "execute";
// "*" is any) and used up after "times" requests. All members but "on" are optional:
//
//   on, times (1; 0: for ever), skip (requests to spare first), chance (0 to 1), metadata (only sandboxes that have these)
//
// before the request is served:
//   reset       true: the connection is reset at once
//   delay_ms    the answer is begun only then
//   die         true: the sandbox is gone, as after its TTL
//   answer      {status, headers, body}: this instead (body: text, or a value to send as JSON); with "work" the request is
//               served all the same, only its answer is lost
//   work        see answer
// while it is answered:
//   late_ms     the request is served at once, its answer is held back
//   status, headers  instead of those of the real answer
//   patch       members put into the answer's JSON object; null removes one
//   drop        a kind of frame (start, data, end, keepalive, eos) or line (stdout, result, end_of_execution, …) left out
//   insert      {after: kind, hex | text, repeat}: these bytes after the first frame or line of that kind
//   split       true: every byte in a chunk of its own
//   cut_after   bytes of the body, then the connection is cut; stall_after: then nothing more comes
//   cut_at      a kind: the connection is cut before the first frame or line of that kind; stall_at: nothing more comes
//   die_at      a kind: the sandbox dies before the first frame or line of that kind

const MEMBERS = new Set(
  (
    "on times skip chance metadata reset delay_ms die answer work late_ms status headers patch drop insert split " +
    "cut_after stall_after cut_at stall_at die_at"
  ).split(" "),
);

export class Faults {
  constructor(seed = 1) {
    this.list = [];
    this.seed = seed;
  }

  add(fault) {
    const strange = Object.keys(fault).find((name) => !MEMBERS.has(name));
    if (strange || typeof fault.on !== "string") throw new Error(`fault: bad member ${strange ?? "on"}`);
    this.list.push({ times: 1, skip: 0, chance: 1, metadata: {}, ...fault });
  }

  clear() {
    this.list = [];
  }

  // Repeatable from run to run, unlike Math.random().
  #random() {
    this.seed = (Math.imul(this.seed, 1664525) + 1013904223) >>> 0;
    return this.seed / 2 ** 32;
  }

  take(operation, sandbox) {
    const at = this.list.findIndex(
      (fault) =>
        (fault.on === "*" || fault.on === operation) &&
        Object.entries(fault.metadata).every(([key, value]) => sandbox?.metadata[key] === value) &&
        (fault.chance === 1 || this.#random() < fault.chance) &&
        (fault.skip === 0 || fault.skip-- < 0),
    );
    if (at < 0) return {};
    const fault = this.list[at];
    if (fault.times === 1) this.list.splice(at, 1);
    else if (fault.times > 0) fault.times--;
    return fault;
  }
}

function body(bytes, last) {
  return last ? [[bytes], Buffer.alloc(0)] : [[], bytes];
}

function frames(bytes) {
  const pieces = [];
  while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
    const length = 5 + bytes.readUInt32BE(1);
    pieces.push(bytes.subarray(0, length));
    bytes = bytes.subarray(length);
  }
  return [pieces, bytes];
}

function lines(bytes) {
  const pieces = [];
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10)) {
    pieces.push(bytes.subarray(0, at + 1));
    bytes = bytes.subarray(at + 1);
  }
  return [pieces, bytes];
}

function frameKind(piece) {
  return piece[0] & 2 ? "eos" : Object.keys(JSON.parse(piece.subarray(5)).event)[0];
}

// How an answer is taken apart: a Connect stream as frames, the kernel's answer as lines, all else is one piece.
function formOf(operation, status, headers) {
  const type = Object.entries(headers).find(([name]) => name.toLowerCase() === "content-type")?.[1];
  if (type === "application/connect+json") return { read: frames, kindOf: frameKind };
  if (operation === "execute" && status === 200) return { read: lines, kindOf: (line) => JSON.parse(line).type };
  return { read: body, kindOf: () => "body" };
}

function patched(bytes, patch) {
  if (!patch) return bytes;
  const value = { ...JSON.parse(bytes), ...patch };
  for (const [key, member] of Object.entries(patch)) if (member === null) delete value[key];
  return Buffer.from(JSON.stringify(value));
}

// Puts itself between an answer and the connection. The handler writes as if nothing were wrong.
export class Shaper {
  constructor(res, operation, fault, die) {
    Object.assign(this, { res, operation, fault, die });
    this.real = {
      write: res.write.bind(res),
      end: res.end.bind(res),
      writeHead: res.writeHead.bind(res),
      flushHeaders: res.flushHeaders.bind(res),
    };
    this.rest = Buffer.alloc(0);
    this.sent = 0;
    this.stalled = false;
    this.inserted = false;
    this.work = fault.late_ms ? new Promise((resolve) => setTimeout(resolve, fault.late_ms)) : Promise.resolve();
    res.writeHead = (status, headers) => this.#head(status, headers);
    res.write = (chunk, ...more) =>
      this.#queue(
        chunk,
        false,
        more.find((item) => typeof item === "function"),
      );
    res.flushHeaders = () => this.#queue("", false);
    res.end = (chunk) => this.#queue(chunk ?? "", true);
  }

  #head(status, headers = {}) {
    const kept = Object.entries({ ...headers, ...this.fault.headers }).filter(
      ([name]) =>
        !(name.toLowerCase() === "content-length" && (this.fault.patch || this.fault.insert || this.fault.split)),
    );
    this.form = formOf(this.operation, status, headers);
    this.head = [this.fault.status ?? status, Object.fromEntries(kept)];
    return this.res;
  }

  #queue(chunk, last, done = () => {}) {
    const bytes = Buffer.from(chunk); // a copy: the writer may use its memory again
    this.work = this.work
      .then(() => this.#pass(bytes, last))
      .then(
        () => done(),
        () => this.res.destroy(),
      );
    return true;
  }

  async #pass(bytes, last) {
    if (this.head) {
      this.real.writeHead(...this.head);
      this.real.flushHeaders();
      this.head = undefined;
    }
    const [pieces, rest] = this.form.read(Buffer.concat([this.rest, bytes]), last);
    this.rest = rest;
    for (const piece of pieces) await this.#piece(piece);
    if (last && !this.stalled) this.real.end();
  }

  async #piece(piece) {
    const { drop, insert, cut_at, stall_at, die_at, patch } = this.fault;
    const kind = this.form.kindOf(piece);
    if (kind === cut_at) return this.res.destroy();
    if (kind === stall_at) this.stalled = true;
    if (kind === die_at) this.die();
    if (kind !== drop) await this.#write(patched(piece, patch));
    if (insert?.after === kind && !this.inserted) {
      this.inserted = true;
      const bytes = insert.hex === undefined ? Buffer.from(insert.text) : Buffer.from(insert.hex, "hex");
      for (let i = 0; i < (insert.repeat ?? 1); i++) await this.#write(bytes);
    }
    return undefined;
  }

  async #write(bytes) {
    const { cut_after = Infinity, stall_after = Infinity, split } = this.fault;
    const allowed = bytes.subarray(0, Math.max(0, Math.min(cut_after, stall_after) - this.sent));
    this.sent += allowed.length;
    const step = split ? 1 : allowed.length;
    for (let at = 0; at < allowed.length && !this.stalled; at += step) {
      await new Promise((resolve) => this.real.write(allowed.subarray(at, at + step), resolve));
      if (split) await new Promise(setImmediate);
    }
    if (this.sent >= cut_after) this.res.destroy();
    if (this.sent >= stall_after) this.stalled = true;
  }
}
