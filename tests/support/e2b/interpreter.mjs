// The code interpreter, port 49999 of a sandbox whose template brings it.
import { Context, languageOf } from "./kernels.mjs";
import { isPlainObject, readBody, sendJson, sendText, strangeHeaders } from "./http.mjs";

const ALLOWED_HEADERS = new Set("e2b-sandbox-id e2b-sandbox-port x-access-token e2b-traffic-access-token".split(" "));

const isText = (value) => typeof value === "string";
const isTextMap = (value) => isPlainObject(value) && Object.values(value).every(isText);

const EXECUTE_FIELDS = { code: isText, context_id: isText, language: isText, env_vars: isTextMap };
const CONTEXT_FIELDS = { language: isText, cwd: isText };

// A body that does not fit: 422, as the real server's validation words it.
class Unprocessable extends Error {}

export class Interpreter {
  constructor({ sandboxes, config, violation }) {
    Object.assign(this, { sandboxes, config, violation });
    this.routes = [
      ["interpreter.health", "GET", /^\/health$/, (req, res) => sendJson(res, 200, "OK")],
      ["execute", "POST", /^\/execute$/, (req, res, sandbox) => this.execute(req, res, sandbox)],
      ["contexts.create", "POST", /^\/contexts$/, (req, res, sandbox) => this.createContext(req, res, sandbox)],
      ["contexts.list", "GET", /^\/contexts$/, (req, res, sandbox) => this.listContexts(res, sandbox)],
      [
        "contexts.restart",
        "POST",
        /^\/contexts\/([^/]+)\/restart$/,
        (req, res, sandbox, id) => this.restart(res, sandbox, id),
      ],
      ["contexts.delete", "DELETE", /^\/contexts\/([^/]+)$/, (req, res, sandbox, id) => this.remove(res, sandbox, id)],
    ];
  }

  match(req, url) {
    for (const [operation, method, pattern, answer] of this.routes) {
      const found = method === req.method && pattern.exec(url.pathname);
      if (found) return { operation, run: (request, res, at, sandbox) => answer(request, res, sandbox, found[1]) };
    }
    return { operation: "unknown", run: (request, res) => this.unknown(request, res) };
  }

  async answer(route, req, res, url, sandbox) {
    for (const name of strangeHeaders(req, ALLOWED_HEADERS)) this.violation(req, `header ${name} to the interpreter`);
    try {
      await route.run(req, res, url, sandbox);
    } catch (error) {
      if (!(error instanceof Unprocessable)) throw error;
      this.violation(req, error.message);
      sendJson(res, 422, { detail: [{ type: "value_error", loc: ["body"], msg: error.message }] });
    }
  }

  unknown(req, res) {
    this.violation(req, "no such endpoint of the interpreter");
    sendJson(res, 404, { detail: "Not Found" });
  }

  // null is as good as absent. A field that the real server would pass over is noted.
  async readJson(req, fields) {
    let body;
    try {
      body = JSON.parse((await readBody(req)).toString("utf8"));
    } catch {
      throw new Unprocessable("JSON decode error");
    }
    if (!isPlainObject(body)) throw new Unprocessable("the body is not an object");
    if (!/^application\/json\b/.test(req.headers["content-type"] ?? ""))
      throw new Unprocessable("not application/json");
    const given = Object.entries(body).filter(([, value]) => value !== null);
    for (const [name, value] of given) {
      if (!(name in fields)) this.violation(req, `unknown field ${name}`);
      else if (!fields[name](value)) throw new Unprocessable(`wrong type of field ${name}`);
    }
    return Object.fromEntries(given);
  }

  async execute(req, res, sandbox) {
    const body = await this.readJson(req, EXECUTE_FIELDS);
    if (body.code === undefined) throw new Unprocessable("field code is required");
    if (body.context_id !== undefined && body.language !== undefined)
      return sendText(res, 400, "Only one of context_id or language can be provided");
    const context = this.contextFor(sandbox, body);
    if (!context)
      return body.context_id === undefined
        ? sendText(res, 500, `Internal Server Error: no kernel for ${body.language}`)
        : sendText(res, 404, `Context ${body.context_id} not found`);
    this.sandboxes.counters.executions++;
    const allowed = !sandbox.secure || req.headers["x-access-token"] === sandbox.token;
    return this.stream(res, context, { code: body.code, envVars: body.env_vars ?? {}, allowed });
  }

  contextFor(sandbox, { context_id, language }) {
    if (context_id !== undefined) return sandbox.contexts.get(context_id);
    const known = languageOf(language);
    if (!known) return undefined;
    sandbox.defaults ??= {};
    if (!sandbox.contexts.has(sandbox.defaults[known])) sandbox.defaults[known] = this.add(sandbox, known).id;
    return sandbox.contexts.get(sandbox.defaults[known]);
  }

  add(sandbox, language, cwd) {
    const context = new Context(sandbox, language, sandbox.resolve(cwd ?? ""));
    sandbox.contexts.set(context.id, context);
    return context;
  }

  // JSON lines without a content type. Nothing ends the kernel when the client hangs up: its next call has to wait.
  async stream(res, context, request) {
    res.writeHead(200, {});
    res.flushHeaders();
    const line = (value) => res.write(`${JSON.stringify(value)}\n`, () => {});
    const timer = setInterval(() => line({ type: "keepalive" }), this.config.keepalive_ms);
    res.once("close", () => clearInterval(timer));
    await context.execute(request, (value) => {
      timer.refresh();
      line(value);
    });
    clearInterval(timer);
    line({ type: "end_of_execution" });
    res.end();
  }

  async createContext(req, res, sandbox) {
    const body = await this.readJson(req, CONTEXT_FIELDS);
    const language = languageOf(body.language);
    if (!language) return sendText(res, 500, `Internal Server Error: no kernel for ${body.language}`);
    return sendJson(res, 200, this.shown(this.add(sandbox, language, body.cwd)));
  }

  shown({ id, language, cwd }) {
    return { id, language, cwd };
  }

  listContexts(res, sandbox) {
    sendJson(res, 200, [...sandbox.contexts.values()].map(this.shown));
  }

  async restart(res, sandbox, id) {
    const context = sandbox.contexts.get(id);
    if (!context) return sendText(res, 404, `Context ${id} not found`);
    await context.restart();
    return sendJson(res, 200, null);
  }

  async remove(res, sandbox, id) {
    const context = sandbox.contexts.get(id);
    if (!context) return sendText(res, 404, `Context ${id} not found`);
    sandbox.contexts.delete(id);
    await context.restart();
    return sendJson(res, 200, null);
  }
}
