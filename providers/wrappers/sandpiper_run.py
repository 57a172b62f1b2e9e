# Runs a user's Python program and hands the value of its main to the worker.
#
#   python3 -uB sandpiper_run.py main.py [option ...]     in the program's folder
#
# Arguments come as JSON on descriptor 4, one result document goes to descriptor 3; see
# providers/protocol.h. The program must not notice this file: it gets a module of its own, its
# tracebacks are cleaned, and what is imported here hides no module of the program's folder. The
# start is kept cheap: json, the dearest part, is imported only for a main.
GIVEN = dict(globals())  # what the interpreter puts into a fresh __main__

import os
import sys
from os import fstat, getpid, write  # taken before the program can change them

RESULT, JOB = 3, 4
OUT_OF_MEMORY = b'{"limit":"memory"}'
NO_MAIN = b'{"present":false,"warning":"arguments were given, but the program defines no main"}'
NOT_FINITE = b',"warning":"NaN and infinite numbers in the value became null"'
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


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


def names_of(target):
    kind = type(target).__name__
    if kind == "Name":
        return [target.id]
    if kind == "Starred":
        return names_of(target.value)
    if kind in ("Tuple", "List"):
        return [name for item in target.elts for name in names_of(item)]
    return []


def targets_of(node):
    if hasattr(node, "items"):  # with
        return [item.optional_vars for item in node.items]
    if type(node).__name__ == "AnnAssign" and node.value is None:
        return []
    return getattr(node, "targets", None) or [getattr(node, "target", None)]


def bound_names(node):
    """The names that one statement binds, without those of the statements in its blocks."""
    kind = type(node).__name__
    if kind in ("FunctionDef", "AsyncFunctionDef"):
        return [node.name]
    if kind in ("Import", "ImportFrom"):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    if kind == "Delete":
        return []
    return [name for target in targets_of(node) for name in names_of(target)]


def find_main(source, path):
    """The kinds of the statements that bind main at module level."""
    report, sys.stderr = sys.stderr, None  # the warnings of the compile were shown already
    try:
        tree = compile(source, path, "exec", 0x400, True)  # ast.PyCF_ONLY_AST
    except (RecursionError, MemoryError):
        return {"Unknown"}  # a tree takes more than the code did
    finally:
        sys.stderr = report
    kinds = set()
    statements = [tree]
    while statements:
        node = statements.pop()
        kind = type(node).__name__
        if "main" in bound_names(node):
            kinds.add(kind)
        if kind not in ("FunctionDef", "AsyncFunctionDef", "ClassDef"):
            for block in BLOCKS:
                statements += getattr(node, block, ())
    return kinds


def import_aside(folder, *names):
    """Imports without the program's folder, and forgets what the program has files for."""
    known = set(sys.modules)
    modules = [__import__(name) for name in names]
    present = {name.partition(".")[0] for name in os.listdir(folder)}
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in present:
            del sys.modules[name]
    return modules


def without_digit_limit(convert, *arguments, **options):
    """Integers of any size are exact here; elsewhere the limit protects the program."""
    if not hasattr(sys, "set_int_max_str_digits"):
        return convert(*arguments, **options)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return convert(*arguments, **options)
    finally:
        sys.set_int_max_str_digits(limit)


def is_awaitable(value):
    if hasattr(type(value), "__await__"):
        return True
    code = getattr(value, "gi_code", None)  # of types.coroutine
    return code is not None and bool(code.co_flags & 0x100)


async def wait_for(awaitable):
    return await awaitable


def settle(value, asyncio):
    if not is_awaitable(value):
        return value
    if asyncio is None:
        import asyncio
    return asyncio.run(wait_for(value))


def result_document(value, dumps, sub):
    text = without_digit_limit(dumps, value, ensure_ascii=False)
    warning = b""
    if "NaN" in text or "Infinity" in text:
        # A string is matched whole, so that only the bare words outside of strings are replaced.
        finite = sub(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN',
                     lambda match: match[0] if match[0][0] == '"' else "null", text)
        warning = NOT_FINITE if finite != text else b""
        text = finite
    # Lone surrogates, which UTF-8 has no bytes for, become the escapes of JSON.
    return b'{"present":true,"value":' + text.encode("utf-8", "backslashreplace") + warning + b"}"


def make_module(name, path):
    module = type(sys)(name)
    vars(module).update(GIVEN, __name__=name, __file__=path, __doc__=None,
                        __loader__=type(GIVEN["__loader__"])(name, path))
    if name == "main":
        sys.modules["main"] = module
    sys.modules["__main__"] = module
    return module


def clean_traceback(traceback):
    """Takes this file's frames out."""
    kept = []
    while traceback is not None:
        if traceback.tb_frame.f_globals is not globals():
            kept.append(traceback)
        traceback = traceback.tb_next
    for entry, following in zip(kept, kept[1:] + [None]):
        entry.tb_next = following
    return kept[0] if kept else None


def report_cleanly():
    """What ends the program is reported by the interpreter, or by a hook of the program's."""
    show = getattr(sys, "excepthook", sys.__excepthook__)

    def show_cleaned(kind, error, traceback):
        traceback = clean_traceback(traceback)
        if error is not None:
            error.__traceback__ = traceback
        show(kind, error, traceback)

    sys.excepthook = show_cleaned


def is_given(job):
    return bool(job) and b"".join(job.split()) != b"{}"


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
