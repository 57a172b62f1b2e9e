
const _sandpiper_RUNID = (() => { // Appended by Sandpiper (providers/self_managed/program.h)
  const { Buffer, JSON, Number, Object, Promise, TypeError, process, setImmediate } = globalThis;
  const { toString } = globalThis.Function.prototype;
  const { stdout, stderr } = process;
  const exported = module.exports;
  const mainOf = (object) => (Object(object) === object && 'main' in object ? object.main : null);
  const isMain = (value) => typeof value === 'function' && !/^class\b/.test(toString.call(value));
  const program = [typeof main === 'undefined' ? null : main, mainOf(exported), exported,
    mainOf(exports)].find(isMain);

  // The program may have a write of its own there.
  const write = (stream, ...given) => Object.getPrototypeOf(stream).write.apply(stream, given);
  const print = (document, next) => write(stdout, '\n__RAGFLOW_RESULT_RUNID__:'
    + Buffer.from(document).toString('base64') + '\n', next);
  const encode = (value) => {
    let warning = '';
    const text = JSON.stringify(value, (key, member) => {
      const isNumber = typeof member === 'number' || member instanceof Number;
      if (isNumber && !Number.isFinite(Number(member))) {
        warning = ',"warning":"NaN and infinite numbers in the value became null"';
      }
      return member;
    });
    if (text !== undefined) return '{"present":true,"value":' + text + warning + '}';
    if (STRICT) throw new TypeError('main returned no value that JSON can carry (strict_result)');
    return '{"present":false}';
  };
  const end = () => write(stderr, '', () => process.exit());
  const fail = (error) => {
    Promise.reject(error);
    setImmediate(() => process.exit(process.exitCode || 1));
  };
  const stalled = () => {
    write(stderr, 'the promise of main can never settle: nothing is left to do\n');
    process.exit(13);
  };
  const run = (given) => {
    const args = '_sandpiper_RUNID' in given ? JSON.parse(given._sandpiper_RUNID) : given;
    Object.defineProperty(module, 'exports',
      { value: exported, writable: true, enumerable: true, configurable: true });
    if (program) {
      process.once('beforeExit', stalled);
      new Promise((resolve) => { resolve(program(args)); })
        .then((value) => print(encode(value), end)).catch(fail);
    } else {
      print(Object.keys(args).length === 0 ? '{"present":false}'
        : '{"present":false,"warning":"arguments were given, but the program defines no main"}');
    }
    return new Promise(() => {});
  };

  Object.defineProperty(module, 'exports',
    { get: () => ({ main: run }), set: () => {}, configurable: true });
  if (typeof main === 'undefined') globalThis.main = run;
})();
