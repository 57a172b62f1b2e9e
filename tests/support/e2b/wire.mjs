// A client that shows the bytes, and breaks rules if asked to: for the tests of what the SDKs never send.
import assert from "node:assert/strict";
import http from "node:http";
import { API_KEY } from "./testing.mjs";

let base;

// The server that all the calls below are for.
export function speakTo(server) {
  base = server.url;
  return server;
}

// {status, headers, body} of one request; "cut" if the connection broke before the answer's end.
export function request(method, path, headers = {}, body = undefined, onData = () => {}) {
  return new Promise((resolve) => {
    const req = http.request(base + path, { method, headers, agent: false });
    const chunks = [];
    const settle = (res, cut) =>
      resolve({ status: res?.statusCode, headers: res?.headers, body: Buffer.concat(chunks), cut });
    req.on("error", () => settle(undefined, true));
    req.on("response", (res) => {
      res.on("data", (chunk) => {
        chunks.push(chunk);
        onData(req, chunk);
      });
      res.on("end", () => settle(res, false));
      res.on("error", () => settle(res, true));
    });
    req.end(body);
  });
}

export const control = (method, path, body, headers = {}) =>
  request(
    method,
    path,
    { "X-API-Key": API_KEY, ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
    body && JSON.stringify(body),
  );

export async function created(body = {}, version = "/v2") {
  const answer = await control("POST", `${version}/sandboxes`, { templateID: "base", timeout: 60, ...body });
  assert.equal(answer.status, 201, answer.body.toString());
  return JSON.parse(answer.body);
}

export const address = (sandbox, port = 49983) => ({
  "E2b-Sandbox-Id": sandbox.sandboxID,
  "E2b-Sandbox-Port": String(port),
  ...(sandbox.envdAccessToken ? { "X-Access-Token": sandbox.envdAccessToken } : {}),
});

export function envelope(value) {
  const payload = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, payload]);
}

// [[flags, message], …]
export function frames(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1))
    found.push([bytes[at], JSON.parse(bytes.subarray(at + 5, at + 5 + bytes.readUInt32BE(at + 1)))]);
  return found;
}

export const STREAM = { "Content-Type": "application/connect+json", "Connect-Protocol-Version": "1" };
export const UNARY = { "Content-Type": "application/json", "Connect-Protocol-Version": "1" };

export function start(sandbox, line, headers = {}, more = {}, onData = undefined) {
  const message = { process: { cmd: "/bin/bash", args: ["-c", line] }, stdin: false, ...more };
  return request(
    "POST",
    "/process.Process/Start",
    { ...address(sandbox), ...STREAM, ...headers },
    envelope(message),
    onData,
  );
}

export const events = async (...args) =>
  frames((await start(...args)).body).map(([, message]) => message.event ?? message);
export const call = (sandbox, method, message) =>
  request("POST", method, { ...address(sandbox), ...UNARY }, JSON.stringify(message));
export const execute = (sandbox, body, onData = undefined) =>
  request(
    "POST",
    "/execute",
    { ...address(sandbox, 49999), "Content-Type": "application/json" },
    JSON.stringify(body),
    onData,
  );
export const lines = (answer) =>
  answer.body
    .toString()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
export const unlessTime = (value) => (value.timestamp === undefined ? value : { ...value, timestamp: "" });
