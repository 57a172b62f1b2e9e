// process.Process of envd: really starts what it is told, in the sandbox's folder.
import { Code, ConnectError } from "@connectrpc/connect";
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, constants as flags, openSync, rmSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { constants } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { callerOf } from "./rpc.mjs";

const DATA_MAX = 32 * 1024; // bytes of output in one event
const FEED_MAX = 256; // events that wait for a slow reader before the program has to wait too
const KEEPALIVE_DEFAULT_S = 90;
const REMEMBERED_MS = 30_000; // how long Connect still answers for a process that has ended

// Go's words for the signals, which envd reports.
const SIGNAL_WORDS = {
  SIGKILL: "killed",
  SIGTERM: "terminated",
  SIGINT: "interrupt",
  SIGSEGV: "segmentation fault",
  SIGABRT: "aborted",
  SIGHUP: "hangup",
  SIGPIPE: "broken pipe",
  SIGBUS: "bus error",
  SIGFPE: "floating point exception",
  SIGQUIT: "quit",
  SIGXCPU: "CPU time limit exceeded",
  SIGILL: "illegal instruction",
  SIGTRAP: "trace/breakpoint trap",
};

function endEvent(code, signal) {
  const word = SIGNAL_WORDS[signal] ?? `signal ${constants.signals[signal]}`;
  const status = signal ? `signal: ${word}` : `exit status ${code}`;
  const error = code === 0 ? undefined : status;
  return { case: "end", value: { exitCode: signal ? -1 : code, exited: !signal, status, error } };
}

// What one stream has yet to send.
class Feed {
  items = [];
  push(item) {
    this.items.push(item);
    this.wake?.();
  }

  // The next item, or undefined after ms without one. An aborted call throws its reason.
  async take(signal, ms) {
    if (this.items.length === 0 && !signal.aborted) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
        signal.addEventListener("abort", this.wake, { once: true });
      });
      signal.removeEventListener("abort", this.wake);
    }
    if (signal.aborted) throw signal.reason;
    return this.items.shift();
  }
}

class Process {
  constructor(child, pipes, config, tag) {
    Object.assign(this, { child, pipes, config, tag, pid: child.pid, feeds: new Set(), running: true });
    for (const [name, pipe] of Object.entries(pipes)) pipe.on("data", (bytes) => this.#output(name, bytes));
    // The end is there when nobody holds the output any more, which may be long after the program itself has ended.
    const closed = Object.values(pipes).map((pipe) => new Promise((resolve) => pipe.once("close", resolve)));
    const exited = new Promise((resolve) =>
      child.once("exit", (code, signal) => {
        this.running = false;
        resolve([code, signal]);
      }),
    );
    this.complete = Promise.all([exited, ...closed]).then(([[code, signal]]) => {
      this.end = endEvent(code, signal);
      this.#publish(this.end);
    });
  }

  #output(name, bytes) {
    for (let at = 0; at < bytes.length; at += DATA_MAX)
      this.#publish({ case: "data", value: { output: { case: name, value: bytes.subarray(at, at + DATA_MAX) } } });
    if ([...this.feeds].some((feed) => feed.items.length > FEED_MAX))
      for (const pipe of Object.values(this.pipes)) pipe.pause();
  }

  #publish(event) {
    for (const feed of this.feeds) feed.push(event);
  }

  subscribe() {
    const feed = new Feed();
    feed.push({ case: "start", value: { pid: this.pid } });
    if (this.end) feed.push(this.end);
    this.feeds.add(feed);
    return feed;
  }

  resume() {
    for (const pipe of Object.values(this.pipes)) pipe.resume();
  }

  unsubscribe(feed) {
    this.feeds.delete(feed);
    this.resume();
  }
}

// Seconds between keep-alive events. Zero makes envd divide by it and crash.
function keepaliveMs(context, sandbox) {
  const text = context.requestHeader.get("keepalive-ping-interval");
  const seconds = text !== null && /^-?\d+$/.test(text) ? Number(text) : KEEPALIVE_DEFAULT_S;
  if (seconds <= 0) sandbox.envdCrashed = true;
  return seconds * 1000;
}

function startDirectory(resolve, cwd) {
  const dir = resolve(cwd ?? "");
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory())
    throw new ConnectError(`cwd '${dir}' does not exist`, Code.InvalidArgument);
  return dir;
}

function checkStart(request) {
  if (!request.process?.cmd) throw new ConnectError("cmd is missing", Code.InvalidArgument);
  if (request.pty) throw new ConnectError("a pty is not offered here", Code.Unimplemented);
}

// A true pipe as envd gives it, by way of a FIFO: what Node makes is a socket, which a program cannot open as /dev/stdout.
async function openPipes(dir) {
  const names = ["stdout", "stderr"].map((name) => path.join(dir, `.${name}-${randomBytes(8).toString("hex")}`));
  await promisify(execFile)("mkfifo", names);
  const readers = names.map((name) => openSync(name, flags.O_RDONLY | flags.O_NONBLOCK));
  const writers = names.map((name) => openSync(name, flags.O_WRONLY));
  for (const name of names) rmSync(name);
  const [stdout, stderr] = readers.map((fd) => new Socket({ fd, readable: true, writable: false }));
  return { pipes: { stdout, stderr }, writers };
}

// Like envd, which always starts a shell that lowers priorities first: a missing program is therefore exit code 127.
async function launch(sandbox, config, options, stdin) {
  const shell = ["-c", 'exec /usr/bin/nice -n 0 "$@"', "sh", config.cmd, ...config.args];
  const { pipes, writers } = await openPipes(sandbox.root);
  try {
    const child = spawn("/bin/sh", shell, {
      ...options,
      detached: true,
      stdio: [stdin ? "pipe" : "ignore", ...writers],
    });
    child.stdin?.on("error", () => {}); // a program may end without reading its input
    await new Promise((resolve, reject) => child.once("error", reject).once("spawn", resolve));
    return { child, pipes };
  } catch (error) {
    for (const pipe of Object.values(pipes)) pipe.destroy();
    // An argument that is too long.
    throw new ConnectError(`error starting process: ${error.message}`, Code.InvalidArgument);
  } finally {
    writers.forEach(closeSync);
  }
}

function selected(sandbox, selector) {
  const { case: by, value } = selector?.selector ?? {};
  const found = [...sandbox.processes.values()].find((one) => by !== undefined && one[by] === value);
  if (!found) throw new ConnectError(`process with ${by} ${value} not found`, Code.NotFound);
  return found;
}

function running(sandbox, selector) {
  const found = selected(sandbox, selector);
  if (!found.running) throw new ConnectError(`process with pid ${found.pid} not found`, Code.NotFound);
  return found;
}

async function* events(proc, context, sandbox) {
  const idle = keepaliveMs(context, sandbox);
  const feed = proc.subscribe();
  try {
    for (;;) {
      if (sandbox.envdCrashed) return; // the stream then closes as if all were well
      const event = await feed.take(context.signal, idle);
      if (feed.items.length === 0) proc.resume();
      yield { event: { event: event ?? { case: "keepalive", value: {} } } };
      if (event?.case === "end") return;
    }
  } finally {
    proc.unsubscribe(feed);
  }
}

// The deadline kills the program that was started, and only that. A client that hangs up ends nothing, nor does it lift the
// deadline: hence the timer, a little late so that the stream has ended before the program does.
function killAtDeadline(context, child) {
  const left = context.timeoutMs();
  if (left === undefined) return;
  const timer = setTimeout(() => child.kill("SIGKILL"), Math.max(0, left) + 10);
  child.once("exit", () => clearTimeout(timer));
}

export function processService(counters) {
  return {
    async *start(request, context) {
      const { sandbox, user, resolve } = callerOf(context);
      checkStart(request);
      const config = request.process;
      const env = { ...sandbox.environment(user), ...sandbox.envVars, ...config.envs };
      // Our mark stays whatever the client sets: by it the sandbox's processes are found at its end.
      env.E2B_SANDBOX_ID = sandbox.id;
      const options = { env, cwd: startDirectory(resolve, config.cwd) };
      const { child, pipes } = await launch(sandbox, config, options, request.stdin ?? true);
      if (sandbox.state !== "running") child.kill("SIGKILL");
      const proc = new Process(child, pipes, config, request.tag);
      counters().processes_started++;
      sandbox.processes.set(proc.pid, proc);
      killAtDeadline(context, child);
      proc.complete.then(() => setTimeout(() => sandbox.processes.delete(proc.pid), REMEMBERED_MS).unref());
      yield* events(proc, context, sandbox);
    },

    async *connect(request, context) {
      const { sandbox } = callerOf(context);
      yield* events(selected(sandbox, request.process), context, sandbox);
    },

    async list(request, context) {
      const live = [...callerOf(context).sandbox.processes.values()].filter((proc) => proc.running);
      return { processes: live.map(({ config, pid, tag }) => ({ config, pid, tag })) };
    },

    async sendInput(request, context) {
      const { child } = running(callerOf(context).sandbox, request.process);
      if (request.input?.input.case !== "stdin")
        throw new ConnectError("tty not assigned to process", Code.FailedPrecondition);
      if (!child.stdin?.writable) throw new ConnectError("stdin not enabled or closed", Code.FailedPrecondition);
      await new Promise((resolve) => child.stdin.write(request.input.input.value, resolve));
      return {};
    },

    async closeStdin(request, context) {
      const { child } = running(callerOf(context).sandbox, request.process);
      if (!child.stdin) throw new ConnectError("stdin not enabled or closed", Code.FailedPrecondition);
      child.stdin.end();
      return {};
    },

    async sendSignal(request, context) {
      const { child } = running(callerOf(context).sandbox, request.process);
      const name = { 9: "SIGKILL", 15: "SIGTERM" }[request.signal];
      if (!name) throw new ConnectError(`invalid signal: ${request.signal}`, Code.Unimplemented);
      child.kill(name);
      return {};
    },
  };
}
