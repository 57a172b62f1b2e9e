// The test server on the wire: the reference's vectors, and what the SDKs never send.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import readline from "node:readline";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { signature } from "./envd.mjs";
import { API_KEY, startServer } from "./testing.mjs";
import {
  address,
  call,
  control,
  created,
  envelope,
  events,
  execute,
  frames,
  lines,
  request,
  speakTo,
  start,
  STREAM,
  unlessTime,
} from "./wire.mjs";

const HI = Buffer.from("hi\n").toString("base64");

let server;

before(async () => (server = speakTo(await startServer())));
afterEach(() => server.reset());
after(() => server.stop());

test("vectors: a request of the real client, and the frames that the real envd answers with", async () => {
  const sandbox = await created();
  const body = Buffer.from(
    "00000000447b2270726f63657373223a7b22636d64223a22707974686f6e33222c2261726773223a5b222d63222c22707269" +
      "6e74283129225d7d2c22737464696e223a66616c73657d",
    "hex",
  );

  const answer = await request("POST", "/process.Process/Start", { ...address(sandbox), ...STREAM }, body);

  assert.equal(answer.headers["content-type"], "application/connect+json");
  const [
    [
      ,
      {
        event: {
          start: { pid },
        },
      },
    ],
    ...rest
  ] = frames(answer.body);
  assert.ok(pid > 0);
  assert.deepEqual(rest, [
    [0, { event: { data: { stdout: "MQo=" } } }],
    [0, { event: { end: { exited: true, status: "exit status 0" } } }],
    [2, {}],
  ]);
  assert.ok(answer.body.toString("hex").endsWith("02000000027b7d"));
});

test("vectors: standard error, exit code 3, a signal, a deadline, a keep-alive", async () => {
  const sandbox = await created();

  const exit3 = await events(sandbox, "echo err >&2; exit 3");
  const killed = await events(sandbox, "kill -9 $$");
  const late = await events(sandbox, "printf 'hi\\n'; exec sleep 60", { "Connect-Timeout-Ms": "300" });
  const idle = await events(sandbox, "sleep 1.5", { "Keepalive-Ping-Interval": "1" });

  assert.deepEqual(exit3.slice(1, 3), [
    { data: { stderr: "ZXJyCg==" } },
    { end: { exitCode: 3, exited: true, status: "exit status 3", error: "exit status 3" } },
  ]);
  assert.deepEqual(killed[1], { end: { exitCode: -1, status: "signal: killed", error: "signal: killed" } });
  assert.deepEqual(late[1], { data: { stdout: HI } });
  assert.equal(late[2].error.code, "deadline_exceeded");
  assert.equal(late.length, 3);
  assert.deepEqual(idle[1], { keepalive: {} });
});

test("vectors: signatures of files", () => {
  const token = "tok-0123456789abcdef";

  assert.equal(
    signature("/home/user/mp.txt", "read", "user", token, null),
    "v1_+obcfEa8XuBbpZeO+oQpagYFkCuLbLCvSHmfMWbqrcw",
  );
  assert.equal(
    signature("/home/user/mp.txt", "read", "", token, null),
    "v1_P/5ckxd+U5ZRazX1/OHALj9SouiG4oNDNCxu4jXghcM",
  );
  assert.equal(
    signature("/home/user/mp.txt", "read", "user", token, "4102444800"),
    "v1_896Isda6pIugwGZazX+ZGSTRBpYoMy47OqaqOx18vv8",
  );
  assert.equal(
    signature("/home/user/out.txt", "write", "user", token, null),
    "v1_GhEuoUi6735l7goTIVeXvbExZmzxNIuUVN5BYAPAPag",
  );
});

test("vectors: the lines of a cell", async () => {
  const sandbox = await created({ templateID: "code-interpreter-v1" });

  const answer = await execute(sandbox, { code: "print('hi')\n1+1" });

  assert.equal(answer.headers["content-type"], undefined);
  const [first, ...rest] = lines(answer).map(unlessTime);
  assert.deepEqual(first, { type: "number_of_executions", execution_count: 1 });
  assert.deepEqual(rest.at(-1), { type: "end_of_execution" });
  assert.deepEqual(
    rest.find(({ type }) => type === "stdout"),
    { type: "stdout", text: "hi\n", timestamp: "" },
  );
  assert.deepEqual(
    rest.find(({ type }) => type === "result"),
    { type: "result", text: "2", extra: {}, is_main_result: true },
  );
});

test("a stream request is exactly one envelope of the right content type", async () => {
  const sandbox = await created();
  const one = envelope({ process: { cmd: "true" }, stdin: false });
  const post = (body, type = "application/connect+json") =>
    request("POST", "/process.Process/Start", { ...address(sandbox), ...STREAM, "Content-Type": type }, body);
  const code = async (body) => frames((await post(body)).body).at(-1)[1].error?.code;

  const json = await post(JSON.stringify({ process: { cmd: "true" } }), "application/json");

  assert.equal(await code(Buffer.alloc(0)), "unimplemented");
  assert.equal(await code(Buffer.concat([one, one])), "unimplemented");
  assert.equal(await code("not an envelope"), "invalid_argument");
  assert.equal(await code(envelope("{nonsense")), "invalid_argument");
  assert.equal(json.status, 415);
  assert.ok(json.headers["accept-post"]);
  assert.equal((await server.state()).violations.length, 5);
});

test("what the real service passes over is noted", async () => {
  const sandbox = await created();
  const noted = async (...args) => {
    await start(sandbox, "true", ...args);
    return (await server.state()).violations.length;
  };

  assert.equal(await noted(), 0);
  assert.equal(await noted({ "X-API-Key": API_KEY }), 1);
  assert.equal(await noted({}, { surprise: 1 }), 2);
  assert.equal(await noted({ "Connect-Timeout-Ms": "0" }), 3);
  assert.equal(await noted({ "Connect-Protocol-Version": "2" }), 4);
  await control("GET", "/health", undefined, { "X-Access-Token": "x" });
  assert.match((await server.state()).violations.at(-1), /x-access-token on the control plane/);
});

test("unary errors are words with a status; the ones before Connect are numbers", async () => {
  const sandbox = await created();

  const missing = await call(sandbox, "/process.Process/SendSignal", { process: { pid: 1 }, signal: "SIGNAL_SIGKILL" });
  const update = await call(sandbox, "/process.Process/Update", {});
  const secret = await start({ sandboxID: sandbox.sandboxID }, "true");
  const nowhere = await call(sandbox, "/process.Process/Nothing", {});

  assert.equal(missing.status, 404);
  assert.equal(JSON.parse(missing.body).code, "not_found");
  assert.equal(update.status, 501);
  assert.equal(secret.status, 401);
  assert.equal(JSON.parse(secret.body).code, 401);
  assert.equal(nowhere.status, 404);
});

test("programs that cannot start", async () => {
  const sandbox = await created();
  const run = (cmd, more = {}) => events(sandbox, "", {}, { process: { cmd, ...more } });

  const missing = await run("no-such-program");
  const denied = await run("/etc/passwd");
  const long = await run("echo", { args: ["x".repeat(200_000)] });
  const lost = await run("true", { cwd: "/nowhere" });

  assert.equal(missing.at(-2).end.exitCode, 127);
  assert.ok(missing[1].data.stderr);
  assert.equal(denied.at(-2).end.exitCode, 126);
  assert.equal(long[0].error.code, "invalid_argument");
  assert.equal(lost[0].error.code, "invalid_argument");
});

test("a program's output is a pipe, of any bytes", async () => {
  const sandbox = await created();

  const found = await events(sandbox, "printf 'a\\0b\\377' > /dev/stdout; test -p /dev/stderr && echo pipe");

  const data = found.filter((event) => event.data).map((event) => Buffer.from(event.data.stdout, "base64"));
  assert.deepEqual(Buffer.concat(data), Buffer.from("a\0b\xffpipe\n", "latin1"));
});

test("the end waits for whoever holds the output; a deadline kills the direct child alone", async () => {
  const sandbox = await created();
  const started = Date.now();

  const held = await events(sandbox, "sleep 0.5 & exit 4");
  const took = Date.now() - started;
  await events(sandbox, "sleep 30 & wait", { "Connect-Timeout-Ms": "500" });
  const listed = async () => (await call(sandbox, "/process.Process/List", {})).body.toString();
  while ((await listed()) !== "{}") await new Promise((resolve) => setTimeout(resolve, 20));

  assert.equal(held.at(-2).end.exitCode, 4);
  assert.ok(took >= 500);
  assert.equal((await server.state()).sandboxes[0].processes, 1);
});

test("a client that hangs up does not end the program, yet its deadline holds", async () => {
  const sandbox = await created();

  await start(sandbox, "exec sleep 30", { "Connect-Timeout-Ms": "3000" }, {}, (req) => req.destroy());
  const listed = JSON.parse((await call(sandbox, "/process.Process/List", {})).body);
  assert.deepEqual(
    listed.processes.map(({ config }) => config.args),
    [["-c", "exec sleep 30"]],
  );
  while ((await server.state()).sandboxes[0].processes > 0) await new Promise((resolve) => setTimeout(resolve, 20));
});

test("a keep-alive interval of zero crashes envd", async () => {
  const sandbox = await created();

  const stream = await start(sandbox, "sleep 5", { "Keepalive-Ping-Interval": "0" });
  const health = await request("GET", "/health", address(sandbox));

  assert.deepEqual(frames(stream.body).at(-1), [2, {}]);
  assert.ok(!stream.body.includes('"end"'));
  assert.equal(health.status, 502);
  assert.equal(JSON.parse(health.body).port, 49983);
});

test("create: the older endpoint is insecure and short unless told otherwise", async () => {
  const old = await control("POST", "/sandboxes", { templateID: "base" });
  const secured = await created({ secure: true }, "");
  const wrong = await control("POST", "/v2/sandboxes", { templateID: "base", secure: true });

  assert.equal(JSON.parse(old.body).envdAccessToken, undefined);
  assert.equal((await server.state()).sandboxes[0].ttl_s, 15);
  assert.equal(secured.envdAccessToken.length, 40);
  assert.equal(secured.trafficAccessToken, null);
  assert.equal(secured.domain, null);
  assert.equal(wrong.status, 400);
});

test("create: the body is checked, also when it comes in chunks", async () => {
  const chunked = await request(
    "POST",
    "/v2/sandboxes",
    { "X-API-Key": API_KEY, "Content-Type": "application/json", "Transfer-Encoding": "chunked" },
    '{"templateID":"base","envVars":{}}',
  );
  const status = async (body) => (await control("POST", "/v2/sandboxes", body)).status;

  assert.equal(chunked.status, 201);
  assert.equal(await status({}), 400);
  assert.equal(await status({ templateID: 1 }), 400);
  assert.equal(await status({ templateID: "base", timeout: 0 }), 400);
  assert.equal(await status({ templateID: "base", timeout: 1.5 }), 400);
  assert.equal(await status({ templateID: "base", timeout: 86_401 }), 400);
  assert.equal(await status({ templateID: "base", metadata: { a: 1 } }), 400);
  assert.equal(await status({ templateID: "base", other: 1 }), 400);
  assert.equal(await status({ templateID: "base", network: { allowOut: ["example.com"] } }), 400);
  assert.equal(await status({ templateID: "gone" }), 404);
  assert.equal((await control("POST", "/v2/sandboxes", { templateID: "base" }, { "X-API-Key": "bare" })).status, 401);
});

test("create: withdrawn endpoints, and a quota", async () => {
  await server.config({ create_v1: 404, max_sandboxes: 1 });

  const old = await control("POST", "/sandboxes", { templateID: "base" });
  await created();
  const full = await control("POST", "/v2/sandboxes", { templateID: "base" });

  assert.equal(old.status, 404);
  assert.doesNotMatch(old.body.toString(), /template/);
  assert.equal(full.status, 429);
  assert.equal(full.headers["retry-after"], undefined);
});

test("create: the same Idempotency-Key is the same sandbox", async () => {
  const make = (body, key) =>
    control("POST", "/v2/sandboxes", { templateID: "base", ...body }, { "Idempotency-Key": key });

  const [one, two] = [await make({}, "k-1"), await make({}, "k-1")];
  const other = await make({ timeout: 9 }, "k-1");
  const illegal = await make({}, "K 1");

  assert.equal(JSON.parse(one.body).sandboxID, JSON.parse(two.body).sandboxID);
  assert.equal(other.status, 409);
  assert.equal(illegal.status, 400);
  assert.equal((await server.state()).created, 1);
});

test("time-outs: refreshing only extends, connecting too, zero ends at once", async () => {
  const sandbox = await created({ timeout: 100 });
  const path = `/sandboxes/${sandbox.sandboxID}`;
  const ttl = async () => (await server.state()).sandboxes[0].ttl_s;

  assert.equal((await control("POST", `${path}/refreshes`, { duration: 20 })).status, 204);
  assert.equal(await ttl(), 100);
  assert.equal((await control("POST", `/v2${path}/connect`)).status, 200);
  assert.ok((await ttl()) >= 300);
  assert.equal((await control("POST", `${path}/connect`)).status, 400);
  assert.equal((await control("POST", `${path}/resume`, { timeout: 1 })).status, 409);
  assert.equal((await control("POST", `${path}/timeout`, { timeout: 0 })).status, 204);
  while ((await server.state()).expired === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal((await control("DELETE", path)).status, 404);
});

test("the proxy finds a sandbox by host or by both headers", async () => {
  const sandbox = await created({ secure: true }, "");
  const token = { "X-Access-Token": sandbox.envdAccessToken };
  const status = async (headers, path = "/envs") => (await request("GET", path, { ...token, ...headers })).status;

  assert.equal(await status({ Host: `49983-${sandbox.sandboxID}.e2b.test` }), 200);
  assert.equal(await status({ Host: "sandbox.e2b.test", ...address(sandbox) }), 200);
  assert.equal(await status({ "E2b-Sandbox-Id": sandbox.sandboxID }), 400);
  assert.equal(await status({ ...address(sandbox), "E2b-Sandbox-Id": "A-b" }), 400);
  assert.equal(await status(address(sandbox), "/init"), 404);
  assert.equal(await status(address(sandbox, 8080)), 502);
  assert.equal(await status(address({ ...sandbox, sandboxID: "inothere" })), 502);
});

test("the proxy answers a browser with HTML", async () => {
  const gone = { "E2b-Sandbox-Id": "igone", "E2b-Sandbox-Port": "49983" };

  const html = await request("GET", "/health", { ...gone, "User-Agent": "Mozilla/5.0" });
  const json = await request("GET", "/health", { ...gone, "User-Agent": "Mozilla/5.0", Accept: "application/json" });

  assert.match(html.headers["content-type"], /html/);
  assert.equal(JSON.parse(json.body).code, 502);
});

test("a call on a sandbox that was killed is a violation, a probe of its health is not", async () => {
  const sandbox = await created();
  await control("DELETE", `/sandboxes/${sandbox.sandboxID}`);

  const probe = await request("GET", "/health", address(sandbox));
  const before = (await server.state()).violations.length;
  const late = await start(sandbox, "true");

  assert.deepEqual([probe.status, before, late.status], [502, 0, 502]);
  assert.equal((await server.state()).violations.length, 1);
});

test("files: refusals", async () => {
  const sandbox = await created();
  const to = (query, type, body) =>
    request("POST", `/files${query}`, { ...address(sandbox), "Content-Type": type }, body);

  assert.equal((await to("?path=a", "text/plain", "x")).status, 400);
  assert.equal((await to("", "application/octet-stream", "x")).status, 400);
  assert.equal((await to("?path=a&username=who", "application/octet-stream", "x")).status, 401);
  assert.equal((await to("?path=~", "application/octet-stream", "x")).status, 400);
  const saved = await to("?path=a", "application/octet-stream", "12345");
  assert.match(saved.headers["content-type"], /^text\/plain/);
  assert.deepEqual(
    JSON.parse(saved.body).map(({ name, type }) => [name, type]),
    [["a", "file"]],
  );
  const part = await request("GET", "/files?path=a", { ...address(sandbox), Range: "bytes=1-2" });
  assert.deepEqual([part.status, part.body.toString()], [206, "23"]);
});

test("cells: what is refused before the stream", async () => {
  const sandbox = await created({ templateID: "code-interpreter-v1" });
  const status = async (body) => (await execute(sandbox, body)).status;

  assert.equal(await status({ code: "1", context_id: "x", language: "python" }), 400);
  assert.equal(await status({ code: "1", context_id: "x" }), 404);
  assert.equal(await status({ language: "python" }), 422);
  assert.equal(await status({ code: "1", language: "cobol" }), 500);
  assert.equal(await status({ code: "'null is absent'", context_id: null, language: null, env_vars: null }), 200);
});

test("cells: without the token the sandbox's variables are missing", async () => {
  const sandbox = await created({ templateID: "code-interpreter-v1", envVars: { HELLO: "there" } });
  const code = { code: "import os\nprint(os.environ.get('HELLO'))" };

  const without = await execute({ sandboxID: sandbox.sandboxID }, code);
  const afterwards = await execute(sandbox, code);

  assert.match(without.body.toString(), /None/);
  assert.match(afterwards.body.toString(), /None/); // they are asked for once in a context's life
});

test("cells: an end of the JavaScript process hangs, and lines go on to say so", async () => {
  await server.config({ keepalive_ms: 20 });
  const sandbox = await created({ templateID: "code-interpreter-v1" });
  let seen = 0;

  await execute(sandbox, { code: "process.exit(0)", language: "javascript" }, (req, chunk) => {
    seen += chunk.includes("keepalive");
    if (seen > 3) req.destroy();
  });

  assert.ok(seen > 3);
});

test("cells: an error that nobody caught is told, or goes to the cell's listener", async () => {
  const sandbox = await created({ templateID: "code-interpreter-v1" });
  const run = async (code) => (await execute(sandbox, { code, language: "javascript" })).body.toString();
  const late = "setTimeout(() => { setTimeout(go, 10); throw new Error('late') }, 10)";

  const told = await run(`await new Promise((go) => ${late})`);
  const heard = await run(`process.on('uncaughtException', ({ message }) => console.log('heard ' + message))
    await new Promise((go) => ${late})`);

  assert.match(told, /"stderr","text":"Error: late/);
  assert.match(heard, /"stdout","text":"heard late/);
  assert.doesNotMatch(heard, /stderr/);
});

test("cells: a timer's late output lands in the next call, a thread's is lost", async () => {
  const sandbox = await created({ templateID: "code-interpreter-v1" });
  const later = async (first, language, second) => {
    await execute(sandbox, { code: first, language });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    return (await execute(sandbox, { code: second, language })).body.toString();
  };

  const timer = "setTimeout(() => { console.log('late'); globalThis.told = true }, 50); 0";
  assert.match(
    await later(timer, "javascript", "while (!globalThis.told) await new Promise((go) => setTimeout(go, 10))"),
    /late/,
  );
  assert.doesNotMatch(
    await later("import threading\nthreading.Timer(0.05, print, ['late']).start()", "python", "1"),
    /late/,
  );
});

test("the server ends with its parent, and its sandboxes with it", async () => {
  const program = fileURLToPath(new URL("server.mjs", import.meta.url));
  const quoted = [process.execPath, ...process.execArgv, program].map((word) => `'${word}'`).join(" ");
  const parent = spawn("/bin/sh", ["-c", `${quoted} & wait`], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(readline.createInterface({ input: parent.stdout }), "line");

  parent.kill("SIGKILL");

  const health = () =>
    fetch(`${line.replace("ready ", "")}/health`).then(
      () => true,
      () => false,
    );
  while (await health()) await new Promise((resolve) => setTimeout(resolve, 50));
});
