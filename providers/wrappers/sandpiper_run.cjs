// Runs a user's JavaScript program and hands the value of its main to the worker.
//
//   node sandpiper_run.cjs main.js [strict]     in the program's folder
//
// Arguments come as JSON on descriptor 4, one result document goes to descriptor 3; see
// providers/protocol.h. The program is compiled from its own file and under its own name, so its
// errors look as they always do. A line behind its last one hands its top-level main over. What has
// the syntax of an ES module is loaded as one, from a copy beside it. Behind
// javascript_program.cjs, in one file.

const RESULT = 3;
const JOB = 4;
const UNSETTLED = 13; // Node's own exit code for a top-level await that can never settle
const { writeSync } = fs; // taken before the program can change it

function readJob() {
  const text = fs.readFileSync(JOB, 'utf8');
  fs.closeSync(JOB);
  return text;
}

let sent = false;

function send(document) {
  if (sent) return;
  sent = true;
  const bytes = Buffer.from(document);
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(RESULT, bytes, at);
  } catch (error) {
    if (error.code !== 'EPIPE') throw error; // the worker has stopped listening and knows why
  }
}

function sendValue(value, strict) {
  const { text, finite } = encode(value);
  if (text === undefined) {
    if (strict) throw new TypeError('main returned no value that JSON can carry (strict_result)');
    return;
  }
  send(`{"present":true,"value":${text}${finite ? '' : `,"warning":"${NOT_FINITE}"`}}`);
}

function flush(stream, next) {
  if (stream.writable) stream.write('', next);
  else next();
}

function endAfterOutput(code = process.exitCode) {
  flush(process.stdout, () => flush(process.stderr, () => process.exit(code)));
}

function refuse(error) {
  process.stderr.write(`${cleanStack(error)}\n`);
  endAfterOutput(1);
}

// A rejection nobody handles is reported by Node and ends the process with 1. A handler of the
// program's may keep the process alive, but not the run.
function endAfterReport() {
  setImmediate(() => endAfterOutput(process.exitCode || 1));
}

// Returns a function that ends the watch.
function watchForStall(what) {
  const stalled = () => {
    process.stderr.write(`${what} can never settle: nothing is left to do\n`);
    process.exit(UNSETTLED);
  };
  process.once('beforeExit', stalled);
  return () => process.off('beforeExit', stalled);
}

let called = false;

function callMain(main, job, strict) {
  called = true;
  const settled = watchForStall('the promise of main');
  let returned = false;
  let value;
  try {
    value = main(job ? parse(job) : {});
    returned = true;
  } finally {
    if (!returned) endAfterReport();
  }
  Promise.resolve(value).then((result) => {
    settled();
    try {
      sendValue(result, strict);
    } catch (error) {
      refuse(error);
      return;
    }
    endAfterOutput();
  }, (error) => {
    settled();
    Promise.reject(error);
    endAfterReport();
  });
}

// The document waits for the end, in case the program runs out of memory first.
function noteArguments(job) {
  if (job && job.replace(/\s/g, '') !== '{}') {
    process.once('exit', () => called || send(`{"present":false,"warning":"${NO_MAIN}"}`));
  }
}

function finish(candidates, job, strict) {
  const main = candidates.find(isMain);
  if (main) callMain(main, job, strict);
  else noteArguments(job);
}

// Whether the program seems to have a main. It decides what `require.main === module` is, by which
// programs find out whether they are to start something themselves, and is needed before they run.
function seemsToHaveMain(source) {
  const callable = '(?:async\\b|function\\b|\\(|[\\w$]+\\s*=>)';
  const [, exported] = /\bexports\s*=\s*([A-Za-z_]\w*)\s*(?:;|$)/m.exec(source) || [];
  const signs = [
    '\\b(?:function\\s*\\*?\\s*|(?:const|let|var)\\s+|exports\\.)main\\b',
    '\\{[^{}]*\\bmain\\b[^{}]*\\}\\s*=',
    '\\bexports\\s*=\\s*\\{[^}]*\\bmain\\b',
    `\\bexports\\s*=\\s*${callable}`,
    exported && `\\bfunction\\s*\\*?\\s*${exported}\\b|\\b${exported}\\s*=\\s*${callable}`,
  ];
  return signs.some((sign) => sign && new RegExp(sign).test(source));
}

function makeModule(file, asMain) {
  const parent = new Module(file, null);
  parent.filename = file;
  const module = asMain ? new Module('.', null) : new Module(file, parent);
  module.filename = file;
  module.paths = Module._nodeModulePaths(path.dirname(file));
  process.mainModule = asMain ? module : parent;
  Module._cache[file] = module;
  return module;
}

function runCommonJs(source, file, job, strict) {
  const handover = makeHandover();
  const asMain = !seemsToHaveMain(source);
  const module = makeModule(file, asMain);
  if (asMain) noteArguments(job); // a script may end before its last line
  const { exports } = module;
  module._compile(source + handover.line, file, 'commonjs');
  module.loaded = true;
  finish([handover.main, mainOf(module.exports), module.exports, mainOf(exports)], job, strict);
}

// The copy keeps relative imports and line numbers, whatever the folder's package.json says.
function runEsModule(source, file, job, strict) {
  const handover = makeHandover();
  const { name, dir } = path.parse(file);
  let copy = path.join(dir, `${name}.mjs`);
  if (fs.existsSync(copy)) copy = path.join(dir, `${name}.${process.pid}.mjs`);
  fs.writeFileSync(copy, source + handover.line);
  if (!/\bmain\b/.test(source)) process.argv[1] = copy;
  const settled = watchForStall('the module');
  import(require('url').pathToFileURL(copy)).then((namespace) => {
    settled();
    finish([handover.main, namespace.main, namespace.default], job, strict);
  });
}

// What Node is about to report. Heap exhaustion aborts it without a word to us, but a buffer that
// cannot be had is an error like others.
process.on('uncaughtExceptionMonitor', (error) => {
  if (typeof error?.stack === 'string') error.stack = cleanStack(error);
  if (error?.message === 'Array buffer allocation failed'
      && process.listenerCount('uncaughtException') === 0) send('{"limit":"memory"}');
});
process.on('SIGUSR1', () => {}); // else it starts the inspector

const [, , program, ...options] = process.argv;
const file = path.resolve(program);
const job = readJob();
const source = fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
const strict = options.includes('strict');
process.argv.splice(1, process.argv.length, file);
if (isEsModule(source, file)) runEsModule(source, file, job, strict);
else runCommonJs(source, file, job, strict);
