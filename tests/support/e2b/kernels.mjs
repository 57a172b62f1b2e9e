// A context of the code interpreter: one kernel process that runs one cell at a time.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import readline from "node:readline";
import { StringDecoder } from "node:string_decoder";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

const PROGRAMS = {
  python: ["/usr/bin/python3", [here("kernel.py")]],
  javascript: [process.execPath, [here("kernel.cjs")]],
};

const ALIASES = {
  python: "python",
  javascript: "javascript",
  js: "javascript",
  typescript: "javascript",
  ts: "javascript",
};

export function languageOf(name) {
  return ALIASES[(name ?? "python").trim().toLowerCase()];
}

// One output pipe. Text goes to the cell that runs; the mark behind it says that the cell's output is complete.
class Output {
  constructor(pipe, name, kernel) {
    Object.assign(this, { name, kernel, bytes: Buffer.alloc(0), decoder: new StringDecoder("utf8") });
    pipe.on("data", (chunk) => this.#take(chunk));
  }

  expect(mark) {
    this.mark = Buffer.from(mark);
    this.complete = new Promise((resolve) => (this.resolve = resolve));
  }

  #take(chunk) {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    const at = this.mark ? this.bytes.indexOf(this.mark) : -1;
    if (at < 0) return this.#emit(this.bytes.length - this.#partOfMark());
    this.#emit(at);
    this.bytes = this.bytes.subarray(this.mark.length);
    this.mark = undefined;
    return this.resolve();
  }

  // How many of the last bytes may be the mark's first.
  #partOfMark() {
    let length = Math.min(this.mark ? this.mark.length - 1 : 0, this.bytes.length);
    while (length > 0 && !this.bytes.subarray(-length).equals(this.mark.subarray(0, length))) length--;
    return length;
  }

  #emit(length) {
    const text = this.decoder.write(this.bytes.subarray(0, length));
    this.bytes = this.bytes.subarray(length);
    if (text !== "") this.kernel.output({ type: this.name, text, timestamp: new Date().toISOString() });
  }
}

export class Context {
  constructor(sandbox, language, cwd) {
    this.id = `${randomBytes(4).toString("hex")}-${randomBytes(2).toString("hex")}`;
    Object.assign(this, { sandbox, language, cwd, environmentSet: false, late: [], queue: Promise.resolve() });
  }

  // A directory that does not exist is taken without a word.
  #directory() {
    return statSync(this.cwd, { throwIfNoEntry: false })?.isDirectory() ? this.cwd : this.sandbox.homes.user;
  }

  #start() {
    const [program, args] = PROGRAMS[this.language];
    this.child = spawn(program, args, {
      cwd: this.#directory(),
      env: this.sandbox.environment("root"),
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
    });
    this.child.on("error", () => {}); // its folder is gone: "ended" says the rest
    this.child.stdio[3].on("error", () => {}); // the kernel ended before it read the request
    this.outputs = [new Output(this.child.stdout, "stdout", this), new Output(this.child.stderr, "stderr", this)];
    readline.createInterface({ input: this.child.stdio[4] }).on("line", (line) => this.#event(JSON.parse(line)));
    // A process that the kernel left behind may hold its output: then not every byte is waited for.
    this.ended = new Promise((resolve) =>
      this.child.once("close", resolve).once("exit", () => setTimeout(resolve, 200)),
    );
  }

  // What comes while no cell runs: a JavaScript timer's output turns up in the next call, a Python thread's is lost.
  output(line) {
    if (this.emit) this.emit(line);
    else if (this.language === "javascript") this.late.push(line);
  }

  #event(event) {
    if (event.type === "done") this.done();
    else this.emit?.(event);
  }

  // Runs one cell, when those before it are through, and hands its lines to emit.
  execute(request, emit) {
    this.queue = this.queue.then(() => this.#run(request, emit));
    return this.queue;
  }

  async #run({ code, envVars, allowed }, emit) {
    if (this.sandbox.state !== "running") return; // it ended while this cell waited for its turn
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) this.#start();
    const child = this.child;
    const mark = randomBytes(16).toString("hex");
    for (const output of this.outputs) output.expect(mark);
    this.emit = emit;
    for (const line of this.late.splice(0)) emit(line);
    const finished = new Promise((resolve) => (this.done = resolve));
    // The sandbox's variables are asked of envd, with the caller's token, once in a context's life.
    const environment = allowed && !this.environmentSet ? this.sandbox.envVars : {};
    this.environmentSet = true;
    child.stdio[3].write(`${JSON.stringify({ code, env_vars: envVars, environment, mark })}\n`);
    const complete = Promise.all([finished, ...this.outputs.map((output) => output.complete)]);
    const died = await Promise.race([complete.then(() => false), this.ended.then(() => true)]);
    // A JavaScript kernel that ends goes unnoticed: the call hangs.
    if (died && this.language === "javascript" && !this.stopped) await new Promise(() => {});
    this.emit = undefined;
    if (died) emit({ type: "error", name: "ContextRestarting", value: "Context was restarted", traceback: "" });
  }

  async restart() {
    this.stopped = true;
    this.child?.kill("SIGKILL");
    await this.ended;
    this.stopped = false;
    this.child = undefined;
    this.queue = Promise.resolve();
  }
}
