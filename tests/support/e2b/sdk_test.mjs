// The official SDKs against the test server: what passes here shows that the server behaves as the service does. Nothing of
// it knows Sandpiper.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { API_KEY, startServer } from "./testing.mjs";

let server;
let Sandbox;
let CodeSandbox;
let sdk;

before(async () => {
  server = await startServer();
  Object.assign(process.env, { E2B_API_KEY: API_KEY, E2B_API_URL: server.url, E2B_SANDBOX_URL: server.url });
  sdk = await import("e2b"); // reads the environment when it is loaded
  Sandbox = sdk.Sandbox;
  CodeSandbox = (await import("@e2b/code-interpreter")).Sandbox;
});
afterEach(async () => {
  const { violations } = await server.state();
  assert.deepEqual(violations, [], "the SDK's requests are what the server expects");
  await server.reset();
});
after(() => server.stop());

const running = () => Sandbox.create({ timeoutMs: 60_000 });
const interpreter = () => CodeSandbox.create({ timeoutMs: 60_000 });

test("a sandbox is created, found, listed and killed", async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 60_000, metadata: { run: "a b", "k/ö": "1&2" } });

  const info = await sandbox.getInfo();
  const listed = await Sandbox.list({ query: { metadata: { run: "a b", "k/ö": "1&2" } } }).nextItems();
  const others = await Sandbox.list({ query: { metadata: { run: "b" } } }).nextItems();

  assert.equal(info.state, "running");
  assert.equal(info.name, "base");
  assert.deepEqual(info.metadata, { run: "a b", "k/ö": "1&2" });
  assert.deepEqual(
    listed.map(({ sandboxId }) => sandboxId),
    [sandbox.sandboxId],
  );
  assert.equal(others.length, 0);
  assert.equal(await sandbox.isRunning(), true);
  assert.equal(await sandbox.kill(), true);
  assert.equal(await sandbox.kill(), false);
  assert.equal(await sandbox.isRunning(), false);
});

test("a list is read page by page", async () => {
  for (let i = 0; i < 5; i++) await running();

  const pages = Sandbox.list({ limit: 2 });
  const seen = [];
  while (pages.hasNext) seen.push(...(await pages.nextItems()).map(({ sandboxId }) => sandboxId));

  assert.equal(new Set(seen).size, 5);
});

test("another client connects to a sandbox and prolongs it", async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 10_000 });

  const same = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 100_000 });

  assert.equal((await same.commands.run("echo hello")).stdout, "hello\n");
  assert.ok((await same.getInfo()).endAt - Date.now() > 90_000);
});

test("a time-out that is shortened ends the sandbox", async () => {
  const sandbox = await running();

  await sandbox.setTimeout(1000);
  while (await sandbox.isRunning()) await new Promise((resolve) => setTimeout(resolve, 50));

  await assert.rejects(sandbox.commands.run("true"), sdk.SandboxNotFoundError);
  assert.equal((await server.state()).expired, 1);
  await assert.rejects(sandbox.getInfo(), sdk.NotFoundError);
});

test("a wrong key and an unknown template are refused", async () => {
  const wrong = { apiKey: `e2b_${"1".repeat(40)}` };

  await assert.rejects(Sandbox.create(wrong), sdk.AuthenticationError);
  await assert.rejects(Sandbox.create("no-such-template"), /template 'no-such-template' not found/);
});

test("too many sandboxes are a rate limit", async () => {
  await server.config({ max_sandboxes: 0 });

  await assert.rejects(Sandbox.create({ retries: 0 }), sdk.RateLimitError);
});

test("a command gives its output and exit code", async () => {
  const sandbox = await running();

  const result = await sandbox.commands.run("echo out; echo err >&2; printf no-newline");

  assert.equal(result.exitCode, 0);
  assert.equal(result.stdout, "out\nno-newline");
  assert.equal(result.stderr, "err\n");
  await assert.rejects(sandbox.commands.run("echo partial; exit 3"), (error) => {
    assert.ok(error instanceof sdk.CommandExitError);
    assert.equal(error.exitCode, 3);
    assert.equal(error.stdout, "partial\n");
    return true;
  });
});

test("output streams while the command runs, and splits nowhere that matters", async () => {
  const sandbox = await running();
  const pieces = [];

  const result = await sandbox.commands.run(
    "for i in 1 2 3; do printf 'a\\360\\237\\230'; sleep 0.1; printf '\\200'; done",
    { onStdout: (text) => pieces.push(text) },
  );

  assert.equal(result.stdout, "a😀a😀a😀");
  assert.ok(pieces.length > 1);
});

test("much output arrives whole", async () => {
  const sandbox = await running();

  const result = await sandbox.commands.run("/usr/bin/python3 -c \"print('x' * 5000000)\"");

  assert.equal(result.stdout.length, 5_000_001);
});

test("a command is stopped at its time-out", async () => {
  const sandbox = await running();
  const start = Date.now();

  await assert.rejects(sandbox.commands.run("exec sleep 60", { timeoutMs: 500 }), sdk.TimeoutError);

  assert.ok(Date.now() - start < 5000);
  while ((await sandbox.commands.list()).length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
});

test("environment, directory and user of a command", async () => {
  const sandbox = await Sandbox.create({ envs: { COMMON: "all", OWN: "common" } });
  await sandbox.files.makeDir("work/deep");

  const set = await sandbox.commands.run("echo $COMMON $OWN; pwd", { envs: { OWN: "it's mine" }, cwd: "work/deep" });
  const later = await sandbox.commands.run("echo $OWN; pwd", { cwd: "/home/user/work" });
  const root = await sandbox.commands.run("echo $USER; pwd", { user: "root" });

  assert.match(set.stdout, /^all it's mine\n.*\/work\/deep\n$/);
  assert.match(later.stdout, /^common\n.*\/home\/user\/work\n$/);
  assert.match(root.stdout, /^root\n.*\/root\n$/);
  await assert.rejects(sandbox.commands.run("true", { cwd: "missing" }), sdk.InvalidArgumentError);
  await assert.rejects(sandbox.commands.run("true", { user: "nobody-here" }), sdk.AuthenticationError);
});

test("a command in the background is listed, fed, joined and killed", async () => {
  const sandbox = await running();
  const cat = await sandbox.commands.run("cat", { background: true, stdin: true });
  const sleeper = await sandbox.commands.run("exec sleep 60", { background: true });

  assert.deepEqual((await sandbox.commands.list()).map(({ pid }) => pid).sort(), [cat.pid, sleeper.pid].sort());
  const joined = await sandbox.commands.connect(cat.pid);
  await sandbox.commands.sendStdin(cat.pid, "fed\n");
  await sandbox.commands.closeStdin(cat.pid);
  assert.equal((await cat.wait()).stdout, "fed\n");
  assert.equal((await joined.wait()).exitCode, 0);
  assert.equal(await sleeper.kill(), true);
  await assert.rejects(sleeper.wait(), /signal: killed/);
  assert.equal(await sandbox.commands.kill(sleeper.pid), false);
});

test("standard input is empty unless asked for", async () => {
  const sandbox = await running();

  assert.equal((await sandbox.commands.run("cat; echo end")).stdout, "end\n");
});

test("a sandbox killed while a command runs is a time-out that says so", async () => {
  const sandbox = await running();
  const command = await sandbox.commands.run("sleep 60", { background: true });

  const ended = assert.rejects(command.wait(), sdk.TimeoutError);
  await Sandbox.kill(sandbox.sandboxId);

  await ended;
});

test("files are written, read, listed, moved and removed", async () => {
  const sandbox = await running();
  const { files } = sandbox;
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i % 256));
  const name = "a dir/ü+%&=#.bin";

  const written = await files.write(name, bytes);
  await files.write("empty.txt", "");
  await files.write([
    { path: "m/1.txt", data: "one" },
    { path: "m/2.txt", data: "two" },
  ]);
  await files.write("gzipped.txt", "packed", { gzip: true });

  assert.deepEqual(Buffer.from(await files.read(name, { format: "bytes" })), bytes);
  assert.equal((await files.getInfo(name)).path, written.path);
  assert.equal(await files.read("empty.txt"), "");
  assert.equal(await files.read("gzipped.txt"), "packed");
  assert.equal(await files.read(written.path.replace("ü+%&=#.bin", "../m/2.txt")), "two");
  assert.equal(await files.makeDir("m"), false);
  assert.deepEqual(
    (await files.list("m")).map((entry) => [entry.name, entry.type, entry.size]),
    [
      ["1.txt", "file", 3],
      ["2.txt", "file", 3],
    ],
  );
  assert.deepEqual(
    (await files.list("", { depth: 2 })).map((entry) => entry.name),
    ["a dir", "ü+%&=#.bin", "empty.txt", "gzipped.txt", "m", "1.txt", "2.txt"],
  );
  await files.rename("m/1.txt", "n/3.txt");
  assert.equal(await files.exists("m/1.txt"), false);
  assert.equal(await files.read("n/3.txt"), "one");
  await files.remove("n");
  await files.remove("n");
  assert.equal(await files.exists("n"), false);
  await assert.rejects(files.read("n/3.txt"), sdk.FileNotFoundError);
  await assert.rejects(files.list("nowhere"), sdk.FileNotFoundError);
  await assert.rejects(files.read("m"), sdk.InvalidArgumentError);
});

test("links in a listing show their targets", async () => {
  const sandbox = await running();
  await sandbox.commands.run(
    "mkdir d; echo x > d/f; ln -s d/f to-file; ln -s d to-dir; ln -s gone broken; mkfifo pipe",
  );

  const entries = Object.fromEntries((await sandbox.files.list("", { depth: 3 })).map((entry) => [entry.name, entry]));

  assert.deepEqual(Object.keys(entries), ["d", "f", "to-dir", "to-file"]); // the SDK leaves out what has no type
  assert.equal(entries["to-file"].type, "file");
  assert.equal(entries["to-dir"].type, "dir");
  assert.ok(entries["to-file"].symlinkTarget.endsWith("/d/f"));
  assert.equal(entries.f.symlinkTarget, undefined);
});

test("a signed address opens a file without a token, until it expires", async () => {
  const sandbox = await running();
  await sandbox.files.write("mp.txt", "content");
  const routed = { headers: { "E2b-Sandbox-Id": sandbox.sandboxId, "E2b-Sandbox-Port": "49983" } };
  const get = async (url) => {
    const answer = await fetch(url, routed);
    return [answer.status, await answer.text()];
  };

  const url = await sandbox.downloadUrl("mp.txt", { user: "user", useSignatureExpiration: 60 });
  const expired = await sandbox.downloadUrl("mp.txt", { useSignatureExpiration: -60 });
  const form = new FormData();
  form.append("file", new Blob(["uploaded"]), "x");
  const upload = await fetch(await sandbox.uploadUrl("up.txt"), { method: "POST", body: form, ...routed });

  assert.deepEqual(await get(url), [200, "content"]);
  assert.equal((await get(expired))[0], 401);
  assert.equal((await get(url.replace("mp.txt", "up.txt")))[0], 401);
  assert.equal((await get(`${server.url}/files?path=mp.txt`))[0], 401);
  assert.equal(upload.status, 200);
  assert.equal(await sandbox.files.read("up.txt"), "uploaded");
});

test("Python cells give output, value, error, and keep their state", async () => {
  const sandbox = await interpreter();
  const stdout = [];

  const first = await sandbox.runCode("import sys\nx = 20\nprint('out')\nprint('err', file=sys.stderr)\nx + 1", {
    onStdout: ({ line }) => stdout.push(line),
  });
  const second = await sandbox.runCode("x += 1\n'text'");
  const failed = await sandbox.runCode("1/0");
  const exited = await sandbox.runCode("raise SystemExit(3)");

  assert.equal(first.text, "21");
  assert.deepEqual(first.logs, { stdout: ["out\n"], stderr: ["err\n"] });
  assert.deepEqual(stdout, ["out\n"]);
  assert.equal(first.executionCount, 1);
  assert.equal(second.text, "text");
  assert.equal(failed.error.name, "ZeroDivisionError");
  assert.match(failed.error.traceback, /division by zero/);
  assert.deepEqual([exited.error.name, exited.error.value], ["SystemExit", "3"]);
});

test("Python cells show rich results, await, and cannot read input", async () => {
  const sandbox = await interpreter();

  const rich = await sandbox.runCode(
    "class Picture:\n def _repr_png_(self): return 'aGk='\n def __repr__(self): return 'pic'\n" +
      "display(Picture())\nPicture()",
  );
  const awaited = await sandbox.runCode("import asyncio\nawait asyncio.sleep(0)\n7");
  const nested = await sandbox.runCode("asyncio.run(asyncio.sleep(0))");
  const input = await sandbox.runCode("input()");

  assert.deepEqual(
    rich.results.map(({ png, text, isMainResult }) => [png, text, isMainResult]),
    [
      ["aGk=", "pic", false],
      ["aGk=", "pic", true],
    ],
  );
  assert.equal(awaited.text, "7");
  assert.match(nested.error.value, /running event loop/);
  assert.equal(input.error.name, "StdinNotImplementedError");
});

test("a kernel that dies is replaced", async () => {
  const sandbox = await interpreter();
  await sandbox.runCode("x = 1");

  const died = await sandbox.runCode("import os\nos._exit(1)");
  const next = await sandbox.runCode("x");

  assert.equal(died.error.name, "ContextRestarting");
  assert.equal(next.error.name, "NameError");
});

test("JavaScript cells await, keep declarations and refuse them twice", async () => {
  const sandbox = await interpreter();
  const run = (code) => sandbox.runCode(code, { language: "js" });

  const first = await run(
    "const a = await Promise.resolve(4)\nfunction main() { return a * 2 }\nconsole.log('hi')\nmain()",
  );
  const promised = await run("(async () => main() + 1)()");
  const rejected = await run("Promise.reject(new TypeError('no'))");
  const thrown = await run("throw new RangeError('far')");
  await run("const fixed = 1");
  const twice = await run("const fixed = 2");

  assert.deepEqual(first.logs.stdout, ["hi\n"]);
  assert.equal(first.text, "8");
  assert.equal(promised.text, "9");
  assert.deepEqual([rejected.error.name, rejected.error.value], ["TypeError", "no"]);
  assert.deepEqual([thrown.error.name, thrown.error.value], ["RangeError", "far"]);
  assert.equal(twice.error.name, "SyntaxError");
});

test("contexts are apart, listed, restarted and removed", async () => {
  const sandbox = await interpreter();
  await sandbox.files.makeDir("/home/user/place");
  const one = await sandbox.createCodeContext({ cwd: "/home/user/place" });
  const two = await sandbox.createCodeContext({ language: "javascript" });

  await sandbox.runCode("x = 1", { context: one });
  const other = await sandbox.runCode("x");
  const place = await sandbox.runCode("import os\nprint(os.getcwd(), x)", { context: one });
  const script = await sandbox.runCode("typeof process.version", { context: two });
  await sandbox.restartCodeContext(one);
  const anew = await sandbox.runCode("x", { context: one });
  const listed = await sandbox.listCodeContexts();
  await sandbox.removeCodeContext(two);

  assert.equal(other.error.name, "NameError");
  assert.match(place.logs.stdout.join(""), /\/home\/user\/place 1\n$/);
  assert.equal(script.text, "string");
  assert.equal(anew.error.name, "NameError");
  assert.equal(listed.length, 3);
  await assert.rejects(sandbox.runCode("1", { context: two }), sdk.NotFoundError);
});

test("variables of the sandbox and of one cell", async () => {
  const sandbox = await CodeSandbox.create({ envs: { COMMON: "it's all" } });
  const code = "import os\nos.environ.get('COMMON'), os.environ.get('OWN')";

  const own = await sandbox.runCode(code, { envs: { OWN: "mine" } });
  const after = await sandbox.runCode(code);
  const quoted = await sandbox.runCode(code, { envs: { OWN: "it's mine" } });

  assert.equal(own.text, `("it's all", 'mine')`);
  assert.equal(after.text, `("it's all", None)`);
  assert.equal(quoted.error.name, "SyntaxError");
});

test("a cell over its time-out leaves its kernel busy", async () => {
  await server.config({ keepalive_ms: 50 });
  const sandbox = await interpreter();

  await assert.rejects(sandbox.runCode("import time\ntime.sleep(1)", { timeoutMs: 300 }), sdk.TimeoutError);
  const next = await sandbox.runCode("'free'");

  assert.equal(next.text, "free");
});

test("a template without the interpreter says that its port is not open", async () => {
  const sandbox = await CodeSandbox.create("base");

  await assert.rejects(sandbox.runCode("1"), /port is not open/);
});

test("without public traffic the interpreter wants the traffic token", async () => {
  const sandbox = await CodeSandbox.create({ network: { allowPublicTraffic: false } });

  assert.equal((await sandbox.runCode("6*7")).text, "42");
  assert.equal(sandbox.trafficAccessToken.length, 40);
});

test("nothing is left of what a sandbox ran", async () => {
  const sandbox = await interpreter();
  await sandbox.runCode("import subprocess\nsubprocess.Popen(['setsid', 'sleep', '300'])");
  await sandbox.commands.run("setsid sleep 300 >/dev/null 2>&1 &");
  assert.ok((await server.state()).sandboxes[0].processes >= 3);

  await sandbox.kill();

  const { sandboxes, killed } = await server.state();
  assert.deepEqual([sandboxes.length, killed], [0, 1]);
});
