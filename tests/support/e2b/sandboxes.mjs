// The sandboxes: a folder, some processes and an end each. Nothing here speaks HTTP.
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";

export const ENVD_VERSION = "0.6.13";
export const DOMAIN_USERS = ["user", "root"];

// Templates and the service that each brings on port 49999.
export const TEMPLATES = {
  base: { id: "rki5dems9wqfm4r03t7g", interpreter: false },
  "code-interpreter-v1": { id: "nlhz8vlwyupq845jsdg9", interpreter: true },
};

const ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789";

function randomWord(length) {
  return Array.from(randomBytes(length), (byte) => ALPHABET[byte % ALPHABET.length]).join("");
}

export class Sandbox {
  constructor(base, options) {
    Object.assign(this, options);
    this.id = `i${randomWord(20)}`;
    this.root = path.join(base, this.id);
    this.homes = { user: path.join(this.root, "home/user"), root: path.join(this.root, "root") };
    this.token = this.secure ? randomBytes(20).toString("hex") : undefined;
    this.trafficToken = this.publicTraffic ? null : randomBytes(20).toString("hex");
    this.startedAt = Date.now();
    this.state = "running";
    this.envdCrashed = false;
    this.processes = new Map();
    this.contexts = new Map();
    this.open = new Set(); // answers under way, which are cut when the sandbox ends
    for (const dir of [...Object.values(this.homes), path.join(this.root, "tmp")]) mkdirSync(dir, { recursive: true });
  }

  // What a process started in this sandbox finds set. The id also marks the sandbox's processes, see livePids().
  environment(user) {
    return {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: this.homes[user],
      USER: user,
      LOGNAME: user,
      E2B_SANDBOX: "true",
      E2B_SANDBOX_ID: this.id,
      E2B_TEMPLATE_ID: this.templateID,
    };
  }

  // A path of the client's as a path of this machine. "/home/user/x" and any other absolute path means one below the root
  // folder; one that we reported already is there. Relative ones start at the user's home.
  resolve(name, user = "user") {
    const home = this.homes[user];
    if (name === "" || name === "~") return home;
    if (name.startsWith("~/")) return path.join(home, name.slice(2));
    if (!path.isAbsolute(name)) return path.resolve(home, name);
    const normal = path.normalize(name);
    return normal === this.root || normal.startsWith(`${this.root}/`) ? normal : path.join(this.root, normal);
  }

  // Every process of this sandbox, daemons included: those whose environment names it.
  livePids() {
    const mark = Buffer.from(`E2B_SANDBOX_ID=${this.id}`);
    return readdirSync("/proc")
      .filter((pid) => {
        if (!/^\d+$/.test(pid)) return false;
        try {
          return readFileSync(`/proc/${pid}/environ`).includes(mark);
        } catch {
          return false; // it ended meanwhile, or belongs to somebody else
        }
      })
      .map(Number);
  }

  #killAll() {
    for (let round = 0; round < 10; round++) {
      const pids = this.livePids();
      if (pids.length === 0) return;
      for (const pid of pids) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // it ended by itself
        }
      }
    }
  }

  end(state) {
    this.state = state;
    clearTimeout(this.timer);
    this.#killAll();
    for (const res of this.open) res.destroy();
    this.#killAll(); // what was being started meanwhile
    rmSync(this.root, { recursive: true, force: true, maxRetries: 3 });
  }
}

export class Sandboxes {
  constructor(base) {
    this.base = base;
    this.all = new Map();
    this.reset();
  }

  reset() {
    for (const sandbox of this.alive()) sandbox.end("killed");
    this.all.clear();
    this.byIdempotencyKey = new Map();
    this.counters = { created: 0, killed: 0, expired: 0, died: 0, processes_started: 0, executions: 0 };
  }

  alive() {
    return [...this.all.values()].filter((sandbox) => sandbox.state === "running");
  }

  create(options, ttlMs) {
    const sandbox = new Sandbox(this.base, options);
    this.all.set(sandbox.id, sandbox);
    this.counters.created++;
    this.setTtl(sandbox, ttlMs);
    return sandbox;
  }

  setTtl(sandbox, ttlMs) {
    clearTimeout(sandbox.timer);
    sandbox.endAt = Date.now() + ttlMs;
    sandbox.timer = setTimeout(() => this.end(sandbox, "expired"), ttlMs);
  }

  // state: "killed" by the client, "expired" by its TTL, "died" by a fault
  end(sandbox, state) {
    if (sandbox.state !== "running") return;
    this.counters[state]++;
    sandbox.end(state);
  }
}
