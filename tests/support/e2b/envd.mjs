// envd, port 49983 of a sandbox: plain HTTP for health and files, Connect RPC for the rest.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { cpus, freemem, totalmem } from "node:os";
import path from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { filesystemService } from "./fs_service.mjs";
import { processService } from "./process_service.mjs";
import { Rpc } from "./rpc.mjs";
import { DOMAIN_USERS } from "./sandboxes.mjs";
import { readBody, send, sendError, sendJson, sendText, strangeHeaders } from "./http.mjs";

const ALLOWED_HEADERS = new Set(
  (
    "e2b-sandbox-id e2b-sandbox-port x-access-token e2b-traffic-access-token authorization connect-protocol-version " +
    "connect-timeout-ms connect-accept-encoding keepalive-ping-interval content-encoding range"
  ).split(" "),
);

const UNAUTHORIZED = "unauthorized access, please provide a valid access token or method signing if supported";

const TYPES = {
  ".txt": "text/plain; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".svg": "image/svg+xml",
  ".pdf": "application/pdf",
  ".csv": "text/csv; charset=utf-8",
};

// What a signed URL carries instead of the token: a hash over path, operation, user and token, and over the end of its
// validity if it has one.
export function signature(name, operation, user, token, expiration) {
  const text = [name, operation, user, token, ...(expiration === null ? [] : [expiration])].join(":");
  return `v1_${createHash("sha256").update(text).digest("base64").replace(/=+$/, "")}`;
}

function filesAllowed(req, url, sandbox) {
  if (!sandbox.secure || req.headers["x-access-token"] === sandbox.token) return undefined;
  const query = url.searchParams;
  if (!query.has("signature")) return UNAUTHORIZED;
  const expiration = query.get("signature_expiration");
  const operation = req.method === "GET" ? "read" : "write";
  const expected = signature(
    query.get("path") ?? "",
    operation,
    query.get("username") ?? "",
    sandbox.token,
    expiration,
  );
  if (query.get("signature") !== expected) return "invalid signature";
  return expiration !== null && Number(expiration) < Date.now() / 1000 ? "signature is already expired" : undefined;
}

class FileError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function save(name, bytes) {
  const info = await stat(name).catch(() => undefined);
  if (info?.isDirectory()) throw new FileError(400, `path is a directory: ${name}`);
  try {
    await mkdir(path.dirname(name), { recursive: true });
    await writeFile(name, bytes);
  } catch (error) {
    throw new FileError(error.code === "ENOSPC" ? 507 : 500, `error opening file: ${error.message}`);
  }
  return { name: path.basename(name), path: name, type: "file" };
}

async function formParts(body, type) {
  try {
    return [...(await new Response(body, { headers: { "Content-Type": type } }).formData())];
  } catch {
    throw new FileError(400, "error parsing multipart form");
  }
}

export class Envd {
  constructor({ sandboxes, violation }) {
    this.violation = violation;
    this.rpc = new Rpc(
      {
        "process.Process": processService(() => sandboxes.counters),
        "filesystem.Filesystem": filesystemService,
      },
      violation,
    );
    this.plain = {
      "GET /health": ["envd.health", (req, res) => send(res, 204, {})],
      "GET /envs": ["envd.envs", this.secured((req, res, url, sandbox) => sendJson(res, 200, sandbox.envVars))],
      "GET /metrics": ["envd.metrics", this.secured((req, res) => this.metrics(res))],
      "GET /files": ["files.read", (req, res, url, sandbox) => this.files(req, res, url, sandbox)],
      "POST /files": ["files.write", (req, res, url, sandbox) => this.files(req, res, url, sandbox)],
    };
  }

  match(req, url) {
    const [operation, run] = this.plain[`${req.method} ${url.pathname}`] ?? [];
    if (run) return { operation, run };
    const call = this.rpc.operation(url.pathname);
    if (!call) return { operation: "unknown", run: (request, res) => this.unknown(request, res) };
    return { operation: call, run: this.secured((...args) => this.rpc.answer(...args)) };
  }

  answer(route, req, res, url, sandbox) {
    for (const name of strangeHeaders(req, ALLOWED_HEADERS)) this.violation(req, `header ${name} to envd`);
    return route.run(req, res, url, sandbox);
  }

  unknown(req, res) {
    this.violation(req, "no such endpoint of envd");
    sendText(res, 404, "404 page not found\n");
  }

  // The same call for those who know the sandbox's token.
  secured(run) {
    return (req, res, url, sandbox) => {
      if (!sandbox.secure || req.headers["x-access-token"] === sandbox.token) return run(req, res, url, sandbox);
      return sendError(res, 401, UNAUTHORIZED);
    };
  }

  metrics(res) {
    const used = totalmem() - freemem();
    sendJson(res, 200, {
      ts: Math.floor(Date.now() / 1000),
      cpu_count: cpus().length,
      cpu_used_pct: 1.5,
      mem_total: totalmem(),
      mem_used: used,
      mem_total_mib: Math.floor(totalmem() / 2 ** 20),
      mem_used_mib: Math.floor(used / 2 ** 20),
      disk_total: 2 ** 30,
      disk_used: 0,
    });
  }

  async files(req, res, url, sandbox) {
    const refused = filesAllowed(req, url, sandbox);
    if (refused) return sendError(res, 401, refused);
    const known = ["path", "username", "signature", "signature_expiration"];
    const strange = [...url.searchParams.keys()].find((key) => !known.includes(key));
    if (strange) this.violation(req, `query parameter ${strange}`);
    try {
      const user = url.searchParams.get("username") ?? "user";
      if (!DOMAIN_USERS.includes(user)) throw new FileError(401, `error looking up user '${user}'`);
      const resolve = (name) => sandbox.resolve(name, user);
      return await (req.method === "GET" ? this.read(req, res, url, resolve) : this.write(req, res, url, resolve));
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      return sendError(res, error.status, error.message);
    }
  }

  async read(req, res, url, resolve) {
    const name = resolve(url.searchParams.get("path") ?? "");
    const info = await stat(name).catch(() => undefined);
    if (!info) throw new FileError(404, `path '${name}' does not exist`);
    if (info.isDirectory()) throw new FileError(400, `path '${name}' is a directory`);
    // The real one opens a FIFO and waits for ever.
    if (!info.isFile()) return this.violation(req, "reads what is no regular file");
    const headers = {
      "Content-Type": TYPES[path.extname(name)] ?? "application/octet-stream",
      "Accept-Ranges": "bytes",
    };
    const range = /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? "");
    const from = range ? Number(range[1]) : 0;
    const to = range && range[2] !== "" ? Math.min(Number(range[2]), info.size - 1) : info.size - 1;
    if (range && from > to) throw new FileError(416, "range not satisfiable");
    if (range) headers["Content-Range"] = `bytes ${from}-${to}/${info.size}`;
    const bytes = info.size === 0 ? Buffer.alloc(0) : await collect(createReadStream(name, { start: from, end: to }));
    if (!range && /\bgzip\b/.test(req.headers["accept-encoding"] ?? ""))
      return send(res, 200, { ...headers, "Content-Encoding": "gzip" }, gzipSync(bytes));
    return send(res, range ? 206 : 200, headers, bytes);
  }

  async write(req, res, url, resolve) {
    const type = req.headers["content-type"] ?? "";
    const target = url.searchParams.get("path");
    const raw = await readBody(req);
    const body = req.headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw;
    let saved;
    if (type.startsWith("multipart/form-data"))
      saved = await this.saveForm(req, await formParts(body, type), target, resolve);
    else if (type === "application/octet-stream") saved = [await save(this.target(resolve, target), body)];
    else throw new FileError(400, `unsupported content type ${type}`);
    // JSON, yet labelled as text.
    send(res, 200, { "Content-Type": "text/plain; charset=utf-8" }, JSON.stringify(saved));
  }

  target(resolve, name) {
    if (!name) throw new FileError(400, "path is required");
    return resolve(name);
  }

  async saveForm(req, parts, target, resolve) {
    const files = parts.filter(([name, part]) => name === "file" && typeof part !== "string");
    if (files.length !== parts.length) this.violation(req, "a form part that is not a file named file");
    if (files.length === 0) throw new FileError(400, "no file in the form");
    if (target && files.length > 1) throw new FileError(400, "path is only allowed for a single file");
    const saved = [];
    for (const [, part] of files)
      saved.push(await save(this.target(resolve, target ?? part.name), Buffer.from(await part.arrayBuffer())));
    return saved;
  }
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
