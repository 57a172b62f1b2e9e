// The control plane: create, connect, list, kill. Everything a client sends is checked; what the real service would ignore
// but no client of its has a reason to send is a violation too.
import { TEMPLATES, ENVD_VERSION } from "./sandboxes.mjs";
import { isPlainObject, readBody, sendError, sendJson, sendText, send, strangeHeaders } from "./http.mjs";

const ALLOWED_HEADERS = new Set(["x-api-key", "idempotency-key"]);
const MAX_TTL_S = 24 * 3600;
const PAGE_MAX = 100;

const isText = (value) => typeof value === "string";
const isBool = (value) => typeof value === "boolean";
const isInt = (value) => Number.isInteger(value);
const isTextMap = (value) => isPlainObject(value) && Object.values(value).every(isText);
const isTextList = (value) => Array.isArray(value) && value.every(isText);

const NETWORK_FIELDS = {
  allowOut: isTextList,
  denyOut: isTextList,
  allowPublicTraffic: isBool,
  maskRequestHost: isText,
};

const CREATE_FIELDS = {
  templateID: isText,
  timeout: isInt,
  allow_internet_access: isBool,
  metadata: isTextMap,
  envVars: isTextMap,
  network: (value) => isPlainObject(value) && !wrongField(value, NETWORK_FIELDS),
  autoPause: isBool,
};

function wrongField(body, fields) {
  const name = Object.keys(body).find((key) => !(key in fields) || !fields[key](body[key]));
  if (name === undefined) return undefined;
  return name in fields ? `wrong type of field ${name}` : `unknown field ${name}`;
}

// A refusal that ends the request. "strange" marks what no correct client sends.
class Refusal extends Error {
  constructor(status, message, strange = false) {
    super(message);
    this.status = status;
    this.strange = strange;
  }
}

async function readJson(req, fields, { optional = false } = {}) {
  const raw = await readBody(req);
  if (optional && raw.length === 0) return {};
  if (!/^application\/json\b/i.test(req.headers["content-type"] ?? ""))
    throw new Refusal(400, "the content type is not application/json", true);
  let body;
  try {
    body = JSON.parse(raw.toString("utf8"));
  } catch {
    throw new Refusal(400, "the body is not JSON", true);
  }
  const wrong = isPlainObject(body) ? wrongField(body, fields) : "the body is not an object";
  if (wrong) throw new Refusal(400, `request body has an error: ${wrong}`, true);
  return body;
}

function checkTtl(seconds, strangeIfWrong) {
  if (seconds <= 0) throw new Refusal(400, "timeout must be greater than 0", strangeIfWrong);
  if (seconds > MAX_TTL_S) throw new Refusal(400, `Timeout cannot be greater than ${MAX_TTL_S / 3600} hours`);
}

function templateOf(reference) {
  const name = reference.trim().toLowerCase();
  if (!/^([a-z0-9_-]+\/)?[a-z0-9_-]+(:[a-z0-9._-]+)?$/.test(name))
    throw new Refusal(400, `invalid template reference '${reference}'`);
  const alias = name.split(":")[0].split("/").pop();
  const found = Object.entries(TEMPLATES).find(([key, template]) => key === alias || template.id === alias);
  if (!found) throw new Refusal(404, `template '${name}' not found`);
  return { alias: found[0], templateID: found[1].id, interpreter: found[1].interpreter };
}

function checkNetwork(network, secure) {
  if (network.allowPublicTraffic === false && !secure)
    throw new Refusal(400, "allowPublicTraffic can only be false for a secured sandbox");
  const domains = (network.allowOut ?? []).filter((rule) => !/^[\d.]+(\/\d+)?$/.test(rule));
  if (domains.length > 0 && !(network.denyOut ?? []).includes("0.0.0.0/0"))
    throw new Refusal(400, "domains in allowOut need 0.0.0.0/0 in denyOut");
}

// The object that create, connect and resume answer with.
function handle(sandbox) {
  return {
    templateID: sandbox.templateID,
    sandboxID: sandbox.id,
    clientID: "6532622b",
    alias: sandbox.alias,
    envdVersion: ENVD_VERSION,
    ...(sandbox.secure ? { envdAccessToken: sandbox.token } : {}),
    trafficAccessToken: sandbox.trafficToken,
    domain: null,
  };
}

function listed(sandbox) {
  return {
    templateID: sandbox.templateID,
    alias: sandbox.alias,
    sandboxID: sandbox.id,
    clientID: "6532622b",
    startedAt: new Date(sandbox.startedAt).toISOString(),
    endAt: new Date(sandbox.endAt).toISOString(),
    cpuCount: 2,
    memoryMB: 512,
    diskSizeMB: 1024,
    metadata: sandbox.metadata,
    state: sandbox.state,
    envdVersion: ENVD_VERSION,
  };
}

function detail(sandbox) {
  return { ...listed(sandbox), ...(sandbox.secure ? { envdAccessToken: sandbox.token } : {}), domain: null };
}

export class ControlPlane {
  constructor({ sandboxes, config, violation }) {
    Object.assign(this, { sandboxes, config, violation });
    // [operation, method, path, answer]; the operation's name is also what faults are aimed at.
    this.routes = [
      ["health", "GET", /^\/health$/, (req, res) => sendText(res, 200, "Health check successful")],
      ["create", "POST", /^\/sandboxes$/, (req, res) => this.createV1(req, res)],
      ["create", "POST", /^\/v2\/sandboxes$/, (req, res) => this.createV2(req, res)],
      ["list", "GET", /^\/sandboxes$/, (req, res, url) => this.listV1(res, url)],
      ["list", "GET", /^\/v2\/sandboxes$/, (req, res, url) => this.listV2(res, url)],
      ["get", "GET", /^\/sandboxes\/([^/]+)$/, (req, res, url, id) => sendJson(res, 200, detail(this.find(id)))],
      ["delete", "DELETE", /^\/sandboxes\/([^/]+)$/, (req, res, url, id) => this.kill(res, id)],
      ["timeout", "POST", /^\/sandboxes\/([^/]+)\/timeout$/, (req, res, url, id) => this.setTimeout(req, res, id)],
      ["refresh", "POST", /^\/sandboxes\/([^/]+)\/refreshes$/, (req, res, url, id) => this.refresh(req, res, id)],
      ["connect", "POST", /^\/sandboxes\/([^/]+)\/connect$/, (req, res, url, id) => this.connect(req, res, id, false)],
      [
        "connect",
        "POST",
        /^\/v2\/sandboxes\/([^/]+)\/connect$/,
        (req, res, url, id) => this.connect(req, res, id, true),
      ],
      ["resume", "POST", /^\/sandboxes\/([^/]+)\/resume$/, (req, res, url, id) => this.resume(req, res, id)],
    ];
  }

  match(req, url) {
    for (const [operation, method, pattern, answer] of this.routes) {
      const found = method === req.method && pattern.exec(url.pathname);
      if (found) return { operation, run: (request, res) => answer(request, res, url, found[1]) };
    }
    return { operation: "unknown", run: (request, res) => this.unknown(request, res, url) };
  }

  async answer(route, req, res) {
    for (const name of strangeHeaders(req, ALLOWED_HEADERS)) this.violation(req, `header ${name} on the control plane`);
    try {
      if (route.operation !== "health") this.checkKey(req);
      await route.run(req, res);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.strange) this.violation(req, error.message);
      sendError(res, error.status, error.message);
    }
  }

  unknown(req, res, url) {
    this.violation(req, "no such endpoint");
    sendError(res, 404, `no matching operation was found: ${req.method} ${url.pathname}`);
  }

  checkKey(req) {
    const key = req.headers["x-api-key"];
    if (key === undefined || !key.startsWith("e2b_"))
      throw new Refusal(401, "authorization header is malformed: no credentials");
    if (key !== this.config.api_key) throw new Refusal(401, "Invalid API key");
  }

  find(id) {
    const sandbox = this.sandboxes.all.get(id.split("-")[0]);
    if (!sandbox || sandbox.state !== "running") throw new Refusal(404, `sandbox '${id}' not found`);
    return sandbox;
  }

  async createV1(req, res) {
    if (this.config.create_v1 !== 201) throw new Refusal(this.config.create_v1, "this endpoint was withdrawn");
    const body = await readJson(req, { ...CREATE_FIELDS, secure: isBool });
    this.create(req, res, { timeout: 15, secure: false, ...body });
  }

  async createV2(req, res) {
    if (this.config.create_v2 !== 201) throw new Refusal(this.config.create_v2, "no matching operation was found");
    const body = await readJson(req, CREATE_FIELDS);
    this.create(req, res, { timeout: 300, ...body, secure: true });
  }

  create(req, res, body) {
    if (body.templateID === undefined) throw new Refusal(400, "request body has an error: templateID is missing", true);
    checkTtl(body.timeout, true);
    if (body.autoPause) throw new Refusal(400, "autoPause is not offered here", true);
    const template = templateOf(body.templateID);
    checkNetwork(body.network ?? {}, body.secure);
    const earlier = this.repeated(req, body);
    if (earlier) return sendJson(res, 201, handle(earlier));
    const alive = this.sandboxes.alive().length;
    if (alive >= this.config.max_sandboxes)
      return sendError(res, 429, `you have reached the maximum number of concurrent E2B sandboxes (${alive})`);
    const sandbox = this.sandboxes.create(
      {
        ...template,
        secure: body.secure,
        publicTraffic: body.network?.allowPublicTraffic ?? true,
        internet: body.allow_internet_access ?? true,
        metadata: body.metadata ?? {},
        envVars: body.envVars ?? {},
      },
      body.timeout * 1000,
    );
    this.remember(req, body, sandbox);
    return sendJson(res, 201, handle(sandbox));
  }

  // A create repeated under its Idempotency-Key gives the same sandbox.
  repeated(req, body) {
    const key = req.headers["idempotency-key"];
    if (key === undefined || !this.config.idempotency) return undefined;
    if (!/^[a-z0-9-]{1,255}$/.test(key)) throw new Refusal(400, "invalid Idempotency-Key", true);
    const earlier = this.sandboxes.byIdempotencyKey.get(key);
    if (earlier && earlier.body !== JSON.stringify(body))
      throw new Refusal(409, "the Idempotency-Key was used with another body", true);
    return earlier?.sandbox;
  }

  remember(req, body, sandbox) {
    const key = req.headers["idempotency-key"];
    if (key !== undefined) this.sandboxes.byIdempotencyKey.set(key, { sandbox, body: JSON.stringify(body) });
  }

  kill(res, id) {
    this.sandboxes.end(this.find(id), "killed");
    send(res, 204, {});
  }

  async setTimeout(req, res, id) {
    const { timeout } = await readJson(req, { timeout: isInt });
    if (timeout === undefined || timeout < 0) throw new Refusal(400, "timeout must be at least 0", true);
    if (timeout > MAX_TTL_S) checkTtl(timeout, false);
    this.sandboxes.setTtl(this.find(id), timeout * 1000);
    send(res, 204, {});
  }

  async refresh(req, res, id) {
    const { duration = 15 } = await readJson(req, { duration: isInt }, { optional: true });
    if (duration < 0 || duration > 3600) throw new Refusal(400, "duration must be 0 to 3600", true);
    this.extend(this.find(id), Math.max(duration, 15));
    send(res, 204, {});
  }

  async connect(req, res, id, bodyOptional) {
    const { timeout = 300 } = await readJson(req, { timeout: isInt }, { optional: bodyOptional });
    checkTtl(timeout, true);
    const sandbox = this.find(id);
    this.extend(sandbox, timeout);
    sendJson(res, 200, handle(sandbox));
  }

  async resume(req, res, id) {
    await readJson(req, { timeout: isInt, autoPause: isBool }, { optional: true });
    throw new Refusal(409, `sandbox '${this.find(id).id}' is already running`);
  }

  extend(sandbox, seconds) {
    if (Date.now() + seconds * 1000 > sandbox.endAt) this.sandboxes.setTtl(sandbox, seconds * 1000);
  }

  listV1(res, url) {
    this.checkQuery(url, ["metadata"]);
    sendJson(res, 200, this.filtered(url).map(listed));
  }

  listV2(res, url) {
    this.checkQuery(url, ["metadata", "state", "limit", "nextToken", "template", "startedAfter", "order"]);
    const query = url.searchParams;
    const limit = query.has("limit") ? Number(query.get("limit")) : PAGE_MAX;
    if (!Number.isInteger(limit) || limit < 1 || limit > PAGE_MAX)
      throw new Refusal(400, "limit must be 1 to 100", true);
    const states = (query.get("state") ?? "running,paused").split(",");
    if (!states.every((state) => ["running", "paused"].includes(state))) throw new Refusal(400, "unknown state", true);
    const matching = states.includes("running") ? this.filtered(url) : [];
    if (query.get("order") !== "asc") matching.reverse();
    const from = query.has("nextToken") ? this.afterToken(matching, query.get("nextToken")) : 0;
    const page = matching.slice(from, from + limit);
    const more = from + limit < matching.length;
    const next = more ? { "X-Next-Token": Buffer.from(page.at(-1).id).toString("base64url") } : {};
    sendJson(res, 200, page.map(listed), { "X-Total-Running": String(matching.length), ...next });
  }

  checkQuery(url, allowed) {
    const strange = [...url.searchParams.keys()].find((key) => !allowed.includes(key));
    if (strange) throw new Refusal(400, `unknown query parameter ${strange}`, true);
  }

  afterToken(matching, token) {
    const at = matching.findIndex((sandbox) => sandbox.id === Buffer.from(token, "base64url").toString());
    if (at < 0) throw new Refusal(400, "invalid next token", true);
    return at + 1;
  }

  // The running sandboxes, the oldest first, that the query asks for. Metadata pairs are percent-encoded twice: once each,
  // once as a query of their own.
  filtered(url) {
    const query = url.searchParams;
    const pairs = [...new URLSearchParams(query.get("metadata") ?? "")].map((pair) => pair.map(decodeURIComponent));
    const after = query.has("startedAfter") ? Date.parse(query.get("startedAfter")) : 0;
    const template = query.get("template");
    return this.sandboxes
      .alive()
      .filter(
        (sandbox) =>
          pairs.every(([key, value]) => sandbox.metadata[key] === value) &&
          sandbox.startedAt > after &&
          (template === null || [sandbox.alias, sandbox.templateID].includes(template)),
      );
  }
}
