// Runs a user's JavaScript program inside a kernel, whose global names live on from one program to
// the next.
//
// Behind javascript_program.cjs, in one text: the body of an async function (require, __filename,
// JOB) whose promise the kernel awaits. JOB is base64 of a JSON object {code, arguments, marker,
// files: [[name, content], ...], strict} whose texts are base64, save for marker and the names of
// files. The value of main, and how the program ended, go to standard output in a line behind the
// marker: base64 of the result document of providers/protocol.h with the members "exit" and "us".

const IDLE_LOOK_MS = 5;
const ABSENT = '{"present":false'; // not closed: "exit" follows
const { clearInterval, console, setInterval } = globalThis;
const { chdir, hrtime, stdout } = process;

const decoded = (text) => Buffer.from(text, 'base64');
const job = parse(decoded(JOB).toString());
const given = decoded(job.arguments).toString();

function putFiles(folder, file) {
  fs.rmSync(path.join(folder, 'artifacts'), { recursive: true, force: true });
  fs.mkdirSync(path.join(folder, 'artifacts'));
  [[file, job.code], ...job.files].forEach(([name, text]) => {
    const target = path.resolve(folder, name);
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, decoded(text));
  });
}

function goTo(folder) {
  try {
    chdir(folder);
  } catch (error) {
    // the program removed it
  }
}

function makeModule(file, name) {
  const module = new Module(file, null);
  module.filename = file;
  module.paths = Module._nodeModulePaths(path.dirname(file));
  return Object.assign(module, { id: name });
}

// A script's own names become the kernel's. One that returns at its top level is no script.
function isScript(source) {
  try {
    return Boolean(new vm.Script(source));
  } catch (error) {
    return false;
  }
}

function runCommonJs(source, file, handover) {
  const module = makeModule(file, '.');
  const { exports } = module;
  if (isScript(source)) {
    const space = { exports, require: module.require.bind(module), module, __filename: file };
    space.require.main = module;
    Object.assign(globalThis, space, { __dirname: path.dirname(file) });
    (0, eval)(`${source}${handover.line}//# sourceURL=${file}`);
  } else {
    module._compile(source + handover.line, file);
  }
  return [handover.main, mainOf(module.exports), module.exports, mainOf(exports)];
}

// A module of ours can import, whatever the kernel is.
async function runEsModule(source, file, handover) {
  const copy = path.join(path.dirname(file), `main.${process.hrtime.bigint()}.mjs`);
  const loader = makeModule(file, 'loader');
  fs.writeFileSync(copy, source + handover.line);
  loader._compile('exports.load = (url) => import(url);', file);
  const namespace = await loader.exports.load(require('url').pathToFileURL(copy).href);
  return [handover.main, namespace.main, namespace.default];
}

// The first look at an output stream makes it, and from then on it counts.
function resources() {
  const streams = [process.stdout, process.stderr];
  return streams && (process.getActiveResourcesInfo?.().length ?? 0);
}

// A plain script goes on until it has nothing left to do: as many timers, sockets and the like are
// there as before it.
function idle(before) {
  return new Promise((resolve) => {
    const look = setInterval(() => {
      if (resources() > before + 1) return; // this timer is one
      clearInterval(look);
      resolve();
    }, IDLE_LOOK_MS);
  });
}

function documentOf(value) {
  const { text, finite } = encode(value);
  if (text !== undefined) {
    return `{"present":true,"value":${text}${finite ? '' : `,"warning":"${NOT_FINITE}"`}`;
  }
  if (job.strict) {
    throw new TypeError('main returned no value that JSON can carry (strict_result)');
  }
  return ABSENT;
}

async function run() {
  const before = resources();
  const file = path.join(process.cwd(), 'main.js');
  putFiles(process.cwd(), file);
  const source = decoded(job.code).toString().replace(/^\uFEFF/, '');
  const handover = makeHandover();
  const esModule = isEsModule(source, file);
  const candidates = await (esModule ? runEsModule : runCommonJs)(source, file, handover);
  const main = candidates.find(isMain);
  if (main) return documentOf(await main(given ? parse(given) : {}));
  await idle(before);
  if (given.replace(/\s/g, '') in { '': 1, '{}': 1 }) return ABSENT;
  return `${ABSENT},"warning":"${NO_MAIN}"`;
}

// The first end counts: the program's last line or main's promise, process.exit, or an error that
// nobody caught, also in a callback.
async function untilItEnds() {
  const { exit } = process;
  let settle;
  let over = false;
  const end = new Promise((resolve) => { settle = resolve; });
  const finish = (document, code) => {
    over = true;
    settle({ document, code: Number(code ?? 0) & 0xff });
  };
  const fail = (error) => {
    if (over) return;
    console.error(cleanStack(error));
    finish(ABSENT, 1);
  };
  process.exit = (code = process.exitCode) => {
    finish(ABSENT, code);
    throw new Error('process.exit'); // nothing of the program comes after it
  };
  process.on('uncaughtException', fail);
  run().then((document) => finish(document, process.exitCode), fail);
  const outcome = await end;
  process.off('uncaughtException', fail);
  process.exit = exit;
  process.exitCode = undefined;
  return outcome;
}

const { log } = console;
const { write } = stdout;
const folder = process.cwd();
const since = hrtime.bigint();
const { document, code } = await untilItEnds();
const took = (hrtime.bigint() - since) / 1000n;
Object.assign(stdout, { write }); // the program may have put others in their places
Object.assign(console, { log });
goTo(folder);
const text = Buffer.from(`${document},"exit":${code},"us":${took}}`).toString('base64');
log.call(console, `\n${job.marker}${text}`);
