# Runs a user's Python program and hands the value of its main to the worker.
#
#   python3 -uB sandpiper_run.py main.py [option ...]     in the program's folder
#
# Arguments come as JSON on descriptor 4, one result document goes to descriptor 3; see
# providers/protocol.h. Behind python_program.py, in one file.
from os import fstat, getpid, write  # taken before the program can change them

RESULT, JOB = 3, 4


class Channel:
    """The way back to the worker: one document, from this process only."""

    def __init__(self):
        os.set_inheritable(RESULT, False)
        self.document = b""
        self.pid = getpid()
        self.identity = self.identify()

    def identify(self):
        try:
            stat = fstat(RESULT)
            return stat.st_dev, stat.st_ino
        except OSError:
            return None

    def send(self):
        """False: the descriptor is another one by now."""
        rest = self.document
        if not rest or getpid() != self.pid:  # a forked child came out of the program
            return True
        if self.identify() != self.identity:
            return False
        try:
            while rest:
                rest = rest[write(RESULT, rest):]
        except BrokenPipeError:
            pass  # the worker has stopped listening and knows why
        return True


def read_job():
    parts = []
    while True:
        part = os.read(JOB, 1 << 20)
        if not part:
            break
        parts.append(part)
    os.close(JOB)
    return b"".join(parts)


def settle(value, asyncio):
    if not is_awaitable(value):
        return value
    if asyncio is None:
        import asyncio
    return asyncio.run(wait_for(value))


def make_module(name, path):
    module = type(sys)(name)
    vars(module).update(GIVEN, __name__=name, __file__=path, __doc__=None,
                        __loader__=type(GIVEN["__loader__"])(name, path))
    if name == "main":
        sys.modules["main"] = module
    sys.modules["__main__"] = module
    return module


def report_cleanly():
    """What ends the program is reported by the interpreter, or by a hook of the program's."""
    show = getattr(sys, "excepthook", sys.__excepthook__)

    def show_cleaned(kind, error, traceback):
        traceback = clean_traceback(traceback)
        if error is not None:
            error.__traceback__ = traceback
        show(kind, error, traceback)

    sys.excepthook = show_cleaned


def run_plain(code, path, job, channel):
    if is_given(job):
        channel.document = NO_MAIN
    sys.path.insert(0, os.path.dirname(path))
    exec(code, vars(make_module("__main__", path)))


def run_main(code, path, job, channel, kinds):
    folder = os.path.dirname(path)
    json, re = import_aside(folder, "json", "re")
    asyncio = import_aside(folder, "asyncio")[0] if "AsyncFunctionDef" in kinds else None
    arguments = without_digit_limit(json.loads, job) if job else {}
    dumps, sub = json.dumps, re.sub
    module = make_module("main", path)
    sys.path.insert(0, folder)
    exec(code, vars(module))
    main = vars(module).get("main")
    if callable(main):
        value = settle(main(**arguments), asyncio)
        channel.document = result_document(value, dumps, sub)
    elif is_given(job):
        channel.document = NO_MAIN


def run(program, channel):
    job = read_job()
    path = os.path.join(os.getcwd(), program)
    del sys.path[0]  # this file's folder
    sys.argv = [program]
    with open(path, "rb") as file:
        source = file.read()
    code = compile(source, path, "exec", 0, True)
    kinds = find_main(source, path) if "main" in code.co_names else None
    if kinds:
        run_main(code, path, job, channel, kinds)
    else:
        run_plain(code, path, job, channel)
    if not channel.send():
        raise RuntimeError("the program closed the descriptor that carries the value of main")


CHANNEL = Channel()
try:
    run(sys.argv[1], CHANNEL)
except BaseException as error:
    if isinstance(error, MemoryError):
        CHANNEL.document = OUT_OF_MEMORY
    report_cleanly()
    CHANNEL.send()
    raise
