// What every plane needs of HTTP: bodies in, answers out, and the checks that are the same for all.

const BODY_MAX = 64 * 1024 * 1024;

// Headers that any HTTP client may send, and those that the official SDKs add for statistics.
const COMMON_HEADERS = new Set(
  (
    "host connection content-type content-length transfer-encoding accept accept-encoding accept-language user-agent " +
    "sec-fetch-mode lang lang_version package_version publisher release sdk_runtime system browser"
  ).split(" "),
);

export async function readBody(req) {
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    size += chunk.length;
    if (size > BODY_MAX) throw new Error("body too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function send(res, status, headers, body = "") {
  if (res.destroyed) return;
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body);
  const length = status === 204 ? {} : { "Content-Length": bytes.length };
  res.writeHead(status, { ...headers, ...length });
  res.end(status === 204 ? undefined : bytes);
}

export function sendJson(res, status, value, headers = {}) {
  send(res, status, { "Content-Type": "application/json", ...headers }, JSON.stringify(value));
}

export function sendText(res, status, text) {
  send(res, status, { "Content-Type": "text/plain; charset=utf-8" }, text);
}

// Error body of the control plane and of envd's plain endpoints.
export function sendError(res, status, message, more = {}, headers = {}) {
  sendJson(res, status, { code: status, message, ...more }, headers);
}

// Names what this plane's callers have no reason to send: above all a key or a token of another plane.
export function strangeHeaders(req, allowed) {
  return Object.keys(req.headers).filter((name) => !COMMON_HEADERS.has(name) && !allowed.has(name));
}

export function isPlainObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
