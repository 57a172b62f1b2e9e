// Connect RPC by @connectrpc/connect, so that framing, codecs and error words are somebody else's implementation. This file
// only feeds it: it reads the request, notes what no correct client sends, and writes the answer.
import { Code, ConnectError, createConnectRouter, createContextKey, createContextValues } from "@connectrpc/connect";
import { createFileRegistry, fromBinary, fromJsonString } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { readFileSync } from "node:fs";
import { DOMAIN_USERS } from "./sandboxes.mjs";
import { readBody, send } from "./http.mjs";

const caller = createContextKey(undefined);

// Compiled from proto/ when the packages are installed, which puts it beside the folder this program was started in.
const registry = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(new URL("../e2b.binpb", import.meta.url))),
);

// The user that the request acts for, and its sandbox. The Basic header only chooses an account, it proves nothing.
export function callerOf(context) {
  const { sandbox, authorization } = context.values.get(caller);
  const basic = /^Basic (.*)$/.exec(authorization ?? "");
  const user = basic ? Buffer.from(basic[1], "base64").toString().split(":")[0] : "user";
  if (!DOMAIN_USERS.includes(user)) throw new ConnectError(`invalid username: '${user}'`, Code.Unauthenticated);
  return { sandbox, user, resolve: (name) => sandbox.resolve(name, user) };
}

export class Rpc {
  constructor(services, violation) {
    this.violation = violation;
    const router = createConnectRouter({ grpc: false, grpcWeb: false });
    for (const [name, implementation] of Object.entries(services))
      router.service(registry.getService(name), implementation);
    this.handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  }

  // "process.Start" for "/process.Process/Start"
  operation(pathname) {
    const handler = this.handlers.get(pathname);
    return handler && `${pathname.slice(1).split(".")[0]}.${handler.method.name}`;
  }

  async answer(req, res, url, sandbox) {
    const handler = this.handlers.get(url.pathname);
    const body = await readBody(req);
    for (const wrong of lint(req, handler.method, body)) this.violation(req, wrong);
    const abort = new AbortController();
    res.once("close", () => abort.abort());
    const answer = await handler({
      httpVersion: req.httpVersion,
      method: req.method,
      url: url.toString(),
      header: new Headers(Object.entries(req.headers).map(([name, value]) => [name, String(value)])),
      body: (async function* bytes() {
        yield body;
      })(),
      signal: abort.signal,
      contextValues: createContextValues().set(caller, { sandbox, authorization: req.headers.authorization }),
    });
    await write(res, answer);
  }
}

// The library refuses another content type, but does not say what it would take.
const ACCEPTED = {
  "Accept-Post": "application/connect+json, application/connect+proto, application/json, application/proto",
};

async function write(res, answer) {
  const headers = Object.fromEntries(answer.header ?? []);
  if (answer.body === undefined) return send(res, answer.status, answer.status === 415 ? ACCEPTED : headers);
  try {
    // The headers go after the first read: a handler may still set some until then.
    const chunks = answer.body[Symbol.asyncIterator]();
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
      if (!res.headersSent && !res.began) res.writeHead(answer.status, headers);
      res.began = true;
      await new Promise((resolve, reject) => {
        res.write(next.value, (error) => (error ? reject(error) : resolve()));
      });
    }
    res.end();
  } catch {
    res.destroy(); // the client is gone
  }
  return undefined;
}

// What is wrong with a request in the eyes of a strict reader.
function lint(req, method, body) {
  const found = [];
  const headers = req.headers;
  const stream = method.methodKind !== "unary";
  if (headers["connect-protocol-version"] !== "1") found.push("no header Connect-Protocol-Version: 1");
  const timeout = headers["connect-timeout-ms"];
  if (timeout !== undefined && !/^[1-9]\d{0,9}$/.test(timeout)) found.push(`Connect-Timeout-Ms: ${timeout}`);
  const ping = headers["keepalive-ping-interval"];
  if (stream && ping !== undefined && !/^[1-9]\d*$/.test(ping)) found.push(`Keepalive-Ping-Interval: ${ping}`);
  if (headers["content-type"] !== (stream ? "application/connect+json" : "application/json"))
    found.push(`content type ${headers["content-type"]}`);
  else found.push(...lintMessage(method, stream ? unwrapped(body) : body));
  return found;
}

// The payload of the one envelope that a stream request consists of; undefined if it is anything else.
function unwrapped(body) {
  const whole = body.length >= 5 && body[0] === 0 && body.length === 5 + body.readUInt32BE(1);
  return whole ? body.subarray(5) : undefined;
}

function lintMessage(method, payload) {
  if (payload === undefined) return ["the body is not exactly one plain envelope"];
  try {
    fromJsonString(method.input, payload.toString("utf8"), { registry });
    return [];
  } catch (error) {
    return [`the message does not fit ${method.input.typeName}: ${error.message.slice(0, 120)}`];
  }
}
