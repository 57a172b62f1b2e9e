// The e2b test server: control plane and data plane of the service on one loopback port. It really executes what it is
// told, refuses what the real one refuses, and notes what no correct client sends. sdk_test.mjs, the official SDKs at
// work, proves it.
//
//   run server.mjs [--port N] [NAME=VALUE ...]      the names are those of "config" below
//
// Prints "ready http://127.0.0.1:PORT" and ends, with all it started, when its parent does.
//
// A request is for the data plane if its host is <port>-<sandbox>.<domain> or, with an address or localhost as host, if it
// has both headers E2b-Sandbox-Id and E2b-Sandbox-Port. For the tests alone:
//
//   GET  /_test/state        sandboxes alive, counters, requests by operation, violations
//   POST /_test/faults       one fault or a list of them, see faults.mjs; DELETE forgets them
//   POST /_test/config       members of "config"
//   POST /_test/end          {id} or {}: this sandbox, or every one, is gone as after its TTL
//   POST /_test/reset        everything as at the start, all sandboxes gone
import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { ControlPlane } from "./control.mjs";
import { Envd } from "./envd.mjs";
import { Faults, Shaper } from "./faults.mjs";
import { Interpreter } from "./interpreter.mjs";
import { Sandboxes } from "./sandboxes.mjs";
import { delay, readBody, send, sendJson, sendText } from "./http.mjs";

const DEFAULTS = {
  api_key: `e2b_${"0".repeat(40)}`,
  keepalive_ms: 5000, // of the interpreter's keep-alive lines
  max_sandboxes: 10_000, // concurrent ones; beyond: 429
  create_v1: 201, // another status: the endpoint answers that, as if it were withdrawn or not yet there
  create_v2: 201,
  idempotency: 1, // 0: an Idempotency-Key means nothing
};
const ENVD_PORT = 49983;
const INTERPRETER_PORT = 49999;
const RESERVED = ["/init", "/freeze", "/upgrade"];
const BROWSERS = /mozilla|chrome|safari|firefox|edge|opera|msie/i;
const GIVE_UP_MS = 20; // until the end of a connection is read behind its last call

const config = { ...DEFAULTS };
const base = mkdtempSync(path.join(tmpdir(), "sandpiper-e2b-"));
const sandboxes = new Sandboxes(base);
const faults = new Faults();
let violations = [];
let requests = {};

function violation(req, what) {
  violations.push(`${req.method} ${req.url.split("?")[0]}: ${what}`);
}

const control = new ControlPlane({ sandboxes, config, violation });
const envd = new Envd({ sandboxes, violation });
const interpreter = new Interpreter({ sandboxes, config, violation });

// What stands in front of the sandboxes answers JSON, or HTML if it takes the client for a browser.
function proxyError(req, res, status, id, message, more = {}) {
  const json = /json/.test(req.headers.accept ?? "") || !BROWSERS.test(req.headers["user-agent"] ?? "");
  if (json) sendJson(res, status, { sandboxId: id, message, code: status, ...more });
  else send(res, status, { "Content-Type": "text/html" }, `<html><body><h1>${message}</h1></body></html>`);
}

// Where a request goes: undefined for the control plane, {wrong} if the proxy cannot tell, else {id, port}.
function address(req) {
  const host = (req.headers.host ?? "").replace(/:\d+$/, "");
  const [id, port] = [req.headers["e2b-sandbox-id"], req.headers["e2b-sandbox-port"]];
  const byHost = /^(\d+)-([^.]*)\./.exec(host);
  if (byHost) return checked(byHost[2], byHost[1]);
  if (id === undefined && port === undefined)
    return host.startsWith("sandbox.") ? { wrong: "missing header" } : undefined;
  return id === undefined || port === undefined ? { wrong: "missing header" } : checked(id, port);
}

function checked(id, port) {
  if (!/^[a-z0-9]+$/.test(id)) return { wrong: "Invalid sandbox ID" };
  return /^\d{1,5}$/.test(port) ? { id, port: Number(port) } : { wrong: "Invalid sandbox port" };
}

function isHealth(req, url) {
  return req.method === "GET" && url.pathname === "/health";
}

// A call that its client gave up may be read only after the end of its sandbox.
function isGivenUp(req) {
  return req.socket.destroyed || req.socket.readableEnded;
}

// True once the proxy has answered by itself.
function refusedByProxy(req, res, url, { id, port }, sandbox) {
  if (!sandbox || sandbox.state !== "running") {
    if (sandbox?.state === "killed" && !isHealth(req, url) && !isGivenUp(req))
      violation(req, "call on a sandbox that the client has killed");
    proxyError(req, res, 502, id, "The sandbox was not found");
  } else if (port === ENVD_PORT && RESERVED.includes(url.pathname)) {
    violation(req, "call of an endpoint that is the control plane's");
    proxyError(req, res, 404, id, "The endpoint is reserved");
  } else if (!isOpen(sandbox, port)) {
    proxyError(req, res, 502, id, "The sandbox is running but port is not open", { port });
  } else if (
    port !== ENVD_PORT &&
    sandbox.trafficToken &&
    req.headers["e2b-traffic-access-token"] !== sandbox.trafficToken
  ) {
    proxyError(req, res, 403, id, "Sandbox is secured with traffic access token. Token header is missing or invalid.");
  } else return false;
  return true;
}

function isOpen(sandbox, port) {
  return port === ENVD_PORT ? !sandbox.envdCrashed : port === INTERPRETER_PORT && sandbox.interpreter;
}

function findRoute(req, url) {
  const target = address(req);
  if (target === undefined) return { ...control.match(req, url), plane: control };
  if (target.wrong) return { operation: "proxy", wrong: target.wrong };
  const plane = target.port === INTERPRETER_PORT ? interpreter : envd;
  return { ...plane.match(req, url), plane, target, sandbox: sandboxes.all.get(target.id) };
}

async function serve(route, req, res, url) {
  if (route.wrong) {
    violation(req, route.wrong);
    return sendText(res, 400, route.wrong);
  }
  if (!route.target) return control.answer(route, req, res);
  if (route.sandbox?.state === "killed") await delay(GIVE_UP_MS);
  if (refusedByProxy(req, res, url, route.target, route.sandbox)) return undefined;
  route.sandbox.open.add(res);
  res.once("close", () => route.sandbox.open.delete(res));
  return route.plane.answer(route, req, res, url, route.sandbox);
}

// An answer that nobody reads: the work is done, and what it says is lost.
function lost(res) {
  const nowhere = Object.create(res);
  const written = (...args) => args.find((arg) => typeof arg === "function")?.() ?? true;
  return Object.assign(nowhere, { writeHead: () => nowhere, flushHeaders: () => {}, write: written, end: written });
}

function sandboxNamed(route, url) {
  return route.sandbox ?? sandboxes.all.get(url.pathname.split("/").find((part) => sandboxes.all.has(part)));
}

async function handle(req, res) {
  const url = new URL(req.url, "http://server");
  if (url.pathname.startsWith("/_test/")) return testCall(req, res, url);
  const route = findRoute(req, url);
  requests[route.operation] = (requests[route.operation] ?? 0) + 1;
  const sandbox = sandboxNamed(route, url);
  const fault = faults.take(route.operation, sandbox);
  if (fault.reset) return req.socket.resetAndDestroy();
  if (fault.delay_ms) await delay(fault.delay_ms);
  const die = () => sandbox && sandboxes.end(sandbox, "died");
  if (fault.die) die();
  if (fault.answer) {
    if (fault.work) await serve(route, req, lost(res), url);
    const { status, headers = {}, body = "" } = fault.answer;
    return typeof body === "string" ? send(res, status, headers, body) : sendJson(res, status, body, headers);
  }
  if (Object.keys(fault).length > 0) new Shaper(res, route.operation, fault, die);
  return serve(route, req, res, url);
}

function state() {
  const alive = sandboxes.alive().map(({ id, alias, metadata, secure, internet, startedAt, endAt, ...sandbox }) => ({
    id,
    template: alias,
    metadata,
    secure,
    internet,
    ttl_s: Math.round((endAt - startedAt) / 1000),
    root: sandbox.root,
    processes: sandboxes.all.get(id).livePids().length,
    contexts: sandbox.contexts.size,
  }));
  return { sandboxes: alive, ...sandboxes.counters, requests, violations, faults_left: faults.list.length };
}

function reset() {
  Object.assign(config, DEFAULTS);
  sandboxes.reset();
  faults.clear();
  violations = [];
  requests = {};
}

function configure(values) {
  const strange = Object.keys(values).find((name) => !(name in DEFAULTS));
  if (strange) throw new Error(`no such setting: ${strange}`);
  Object.assign(config, values);
}

function endSandboxes(id) {
  for (const sandbox of sandboxes.alive()) if (id === undefined || sandbox.id === id) sandboxes.end(sandbox, "died");
}

const TEST_CALLS = {
  "POST faults": (body) => [body].flat().forEach((fault) => faults.add(fault)),
  "DELETE faults": () => faults.clear(),
  "POST config": configure,
  "POST end": ({ id }) => endSandboxes(id),
  "POST reset": reset,
  "GET state": () => {},
};

async function testCall(req, res, url) {
  const call = TEST_CALLS[`${req.method} ${url.pathname.slice("/_test/".length)}`];
  if (!call) return sendText(res, 404, "no such test call\n");
  try {
    const text = (await readBody(req)).toString("utf8");
    call(text === "" ? {} : JSON.parse(text));
    return sendJson(res, 200, state());
  } catch (error) {
    return sendText(res, 400, `${error.message}\n`);
  }
}

const server = createServer((req, res) => {
  handle(req, res).catch((error) => {
    if (res.destroyed || req.destroyed) return; // the client is gone, or its sandbox
    violation(req, `the server failed: ${error.stack}`);
    res.destroy();
  });
});
server.keepAliveTimeout = 120_000; // a client that reuses a connection must not find it just closed
server.requestTimeout = 0;

function stop() {
  sandboxes.reset();
  rmSync(base, { recursive: true, force: true });
  process.exit(0);
}

function main(args) {
  let port = 0;
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--port") port = Number(args[++i]);
    else {
      const [name, value] = args[i].split("=");
      configure({ [name]: typeof DEFAULTS[name] === "number" ? Number(value) : value });
    }
  }
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && stop(), 200);
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.once(signal, stop);
  server.listen(port, "127.0.0.1", () => console.log(`ready http://127.0.0.1:${server.address().port}`));
}

main(process.argv.slice(2));
