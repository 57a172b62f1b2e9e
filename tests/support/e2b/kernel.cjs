// One JavaScript kernel of the e2b test server. The same protocol as kernel.py; the evaluation is Node's own REPL:
// top-level await, the last expression's value, and declarations that stay from cell to cell and cannot be made twice.
const fs = require("node:fs");
const { Socket } = require("node:net");
const readline = require("node:readline");
const repl = require("node:repl");
const { PassThrough } = require("node:stream");
const { inspect } = require("node:util");

// In a domain the REPL would keep errors to itself and forbid cells to listen for uncaught ones: this one does nothing.
const domain = { bind: (run) => run, on: () => domain };
const session = repl.start({ input: new PassThrough(), output: new PassThrough(), useGlobal: true, domain });
let count = 0;

// What nobody caught is told, unless a cell listens for it, and the kernel goes on. The REPL listens, too.
for (const event of ["unhandledRejection", "uncaughtException"]) {
  process.on(event, (error) => process.listenerCount(event) > ours || fs.writeSync(2, `${inspect(error)}\n`));
  const ours = process.listenerCount(event);
}

function send(event) {
  fs.writeSync(4, `${JSON.stringify(event)}\n`);
}

function evaluate(code) {
  return new Promise((resolve, reject) => {
    session.eval(`${code}\n`, session.context, `cell-${count}.js`, (error, value) => {
      if (error) reject(error instanceof repl.Recoverable ? error.err : error);
      else resolve(value); // a promise is awaited by that
    });
  });
}

function shown(value) {
  return typeof value === "string" ? value : inspect(value);
}

// The count comes late: after an error, before a result. A client has to take it wherever it is.
async function run(request) {
  count++;
  const before = { ...process.env };
  Object.assign(process.env, request.environment, request.env_vars);
  const counted = () => send({ type: "number_of_executions", execution_count: count });
  try {
    const value = await evaluate(request.code);
    counted();
    if (value !== undefined) send({ type: "result", text: shown(value), extra: {}, is_main_result: true });
  } catch (error) {
    const known = error instanceof Error;
    const traceback = known ? error.stack : String(error);
    send({
      type: "error",
      name: known ? error.name : "Error",
      value: known ? error.message : String(error),
      traceback,
    });
    counted();
  }
  for (const name of Object.keys(request.env_vars)) {
    if (name in before) process.env[name] = before[name];
    else delete process.env[name];
  }
}

const lines = readline.createInterface({ input: new Socket({ fd: 3 }) });
let work = Promise.resolve();
lines.on("line", (line) => {
  const request = JSON.parse(line);
  work = work
    .then(() => run(request))
    .then(() => {
      for (const fd of [1, 2]) fs.writeSync(fd, request.mark);
      send({ type: "done" });
    });
});
lines.on("close", () => process.exit(0));
