// The test server's misbehaviour: each kind of fault, seen from the wire.
import assert from "node:assert/strict";
import http from "node:http";
import { after, afterEach, before, test } from "node:test";
import { API_KEY, startServer } from "./testing.mjs";
import { control, created, envelope, execute, frames, lines, request, speakTo, start } from "./wire.mjs";

const HI = Buffer.from("hi\n").toString("base64");

let server;

before(async () => (server = speakTo(await startServer())));
afterEach(() => server.reset());
after(() => server.stop());

test("throttling, HTML, a lost answer, a delay, a reset", async () => {
  const body = { templateID: "base" };
  const create = () => control("POST", "/v2/sandboxes", body);
  await server.fault(
    {
      on: "create",
      answer: { status: 429, headers: { "Retry-After": "1" }, body: { code: 429, message: "slow down" } },
    },
    { on: "create", answer: { status: 502, headers: { "Content-Type": "text/html" }, body: "<html>" } },
    { on: "create", answer: { status: 504 }, work: true },
    { on: "create", delay_ms: 200 },
    { on: "create", reset: true },
  );

  const [throttled, html, lost] = [await create(), await create(), await create()];
  const madeByLost = (await server.state()).created;
  const started = Date.now();
  const slow = await create();
  const took = Date.now() - started;
  const reset = await create();

  assert.deepEqual([throttled.status, throttled.headers["retry-after"]], [429, "1"]);
  assert.deepEqual([html.status, html.body.toString()], [502, "<html>"]);
  assert.deepEqual([lost.status, madeByLost], [504, 1]);
  assert.ok(slow.status === 201 && took >= 200);
  assert.equal(reset.cut, true);
  assert.equal((await server.state()).faults_left, 0);
});

test("an answer that comes when the client has gone leaves the sandbox behind", async () => {
  await server.fault({ on: "create", late_ms: 10_000 });

  const req = http.request(`${server.url}/v2/sandboxes`, {
    method: "POST",
    agent: false,
    headers: { "X-API-Key": API_KEY, "Content-Type": "application/json" },
  });
  req.on("error", () => {});
  req.end('{"templateID":"base"}');
  while ((await server.state()).created === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  req.destroy();

  assert.equal((await server.state()).sandboxes.length, 1);
});

test("the answer's object is changed, a token lost", async () => {
  await server.fault({ on: "create", patch: { envdAccessToken: null, envdVersion: "0.0.9", domain: "evil.test/x" } });

  const sandbox = await created();

  assert.deepEqual([sandbox.envdAccessToken, sandbox.envdVersion, sandbox.domain], [undefined, "0.0.9", "evil.test/x"]);
});

test("a stream that ends without an end event, cleanly or not", async () => {
  const sandbox = await created();
  await server.fault(
    { on: "process.Start", drop: "end" },
    { on: "process.Start", cut_at: "end" },
    { on: "process.Start", drop: "eos" },
  );

  const clean = await start(sandbox, "echo hi");
  const cut = await start(sandbox, "echo hi");
  const open = await start(sandbox, "echo hi");

  assert.deepEqual(frames(clean.body).slice(1), [
    [0, { event: { data: { stdout: HI } } }],
    [2, {}],
  ]);
  assert.equal(cut.cut, true);
  assert.deepEqual(frames(cut.body).at(-1), [0, { event: { data: { stdout: HI } } }]);
  assert.equal(open.cut, false);
  assert.ok(frames(open.body).at(-1)[1].event.end);
});

test("strange frames, a keep-alive many times over", async () => {
  const sandbox = await created();
  const keepalive = envelope({ event: { keepalive: {} } }).toString("hex");
  await server.fault(
    { on: "process.Start", insert: { after: "start", hex: "00ffffffff" } },
    { on: "process.Start", insert: { after: "start", hex: keepalive, repeat: 3 } },
    { on: "process.Start", insert: { after: "eos", text: "more" } },
  );

  const huge = await start(sandbox, "true");
  const often = await start(sandbox, "true");
  const behind = await start(sandbox, "true");

  assert.ok(huge.body.includes(Buffer.from("00ffffffff", "hex")));
  assert.deepEqual(frames(often.body).slice(1, 4), Array(3).fill([0, { event: { keepalive: {} } }]));
  assert.ok(behind.body.toString().endsWith("{}more"));
});

test("a cut within a frame, a stall, and every byte on its own", async () => {
  const sandbox = await created();
  await server.fault(
    { on: "process.Start", cut_after: 7 },
    { on: "process.Start", stall_after: 7 },
    { on: "process.Start", split: true },
  );

  const cut = await start(sandbox, "echo hi");
  const stalled = await start(sandbox, "echo hi", {}, {}, (req) => setTimeout(() => req.destroy(), 200));
  const chunks = [];
  const split = await start(sandbox, "echo hi", {}, {}, (req, chunk) => chunks.push(chunk.length));

  assert.deepEqual([cut.cut, cut.body.length], [true, 7]);
  assert.deepEqual([stalled.cut, stalled.body.length], [true, 7]);
  assert.equal(frames(split.body).length, 4);
  assert.ok(chunks.every((length) => length === 1));
});

test("a sandbox that dies before, during, or is ended from outside", async () => {
  const [one, two, three] = [await created(), await created(), await created()];
  await server.fault({ on: "process.Start", die: true }, { on: "process.Start", die_at: "data" });

  const gone = await start(one, "true");
  const during = await start(two, "echo hi; sleep 60");
  await server.end(three.sandboxID);

  assert.equal(gone.status, 502);
  assert.equal(during.cut, true);
  const { died, sandboxes, violations } = await server.state();
  assert.deepEqual([died, sandboxes.length, violations], [3, 0, []]);
});

test("lines of a cell left out, put in, cut", async () => {
  const sandbox = await created({ templateID: "code-interpreter-v1" });
  await server.fault(
    { on: "execute", drop: "end_of_execution" },
    { on: "execute", insert: { after: "number_of_executions", text: '{"type":"keepalive"}\n', repeat: 2 } },
    { on: "execute", cut_at: "result" },
  );

  const endless = lines(await execute(sandbox, { code: "1" }));
  const kept = lines(await execute(sandbox, { code: "1" }));
  const cut = await execute(sandbox, { code: "1" });

  assert.notEqual(endless.at(-1).type, "end_of_execution");
  assert.equal(kept.filter(({ type }) => type === "keepalive").length, 2);
  assert.equal(cut.cut, true);
});

test("aimed at one sandbox, after some requests, and for ever", async () => {
  const [one, two] = [await created({ metadata: { who: "one" } }), await created({ metadata: { who: "two" } })];
  await server.fault({ on: "delete", metadata: { who: "two" }, skip: 1, times: 0, answer: { status: 500 } });
  const kill = async ({ sandboxID }) => (await control("DELETE", `/sandboxes/${sandboxID}`)).status;

  assert.equal(await kill(one), 204);
  assert.equal(await kill(two), 204); // spared once
  assert.deepEqual([await kill(two), await kill(two)], [500, 500]);
});
