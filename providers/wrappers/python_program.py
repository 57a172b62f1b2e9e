# What a user's Python program and the value of its main are: the first part of sandpiper_run.py,
# which starts a program, and of sandpiper_cell.py, which runs one inside a kernel.
#
# The program must not notice this file: it gets a module of its own, its tracebacks are cleaned, and
# what is imported here hides no module of the program's folder. The start is kept cheap: json, the
# dearest part, is imported only for a main.
GIVEN = dict(globals())  # what the interpreter puts into a fresh __main__

import os
import sys

OUT_OF_MEMORY = b'{"limit":"memory"}'
NO_MAIN = b'{"present":false,"warning":"arguments were given, but the program defines no main"}'
NOT_FINITE = b',"warning":"NaN and infinite numbers in the value became null"'
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


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


def is_given(job):
    return bool(job) and b"".join(job.split()) != b"{}"
