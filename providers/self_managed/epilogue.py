
try:  # RUNID, appended by Sandpiper (providers/self_managed/program.h): calls main
    _sandpiper_RUNID = main
except NameError:
    _sandpiper_RUNID = None


def main(**arguments):
    global main
    from importlib import import_module as load
    runtime, python = load("sys"), load("builtins")  # the program may have names like theirs

    def is_main(target):
        kind = target.__class__.__name__
        if kind == "Starred":
            return is_main(target.value)
        if kind in ("Tuple", "List"):
            return python.any(is_main(item) for item in target.elts)
        return kind == "Name" and target.id == "main"

    def binds_main(node):
        kind, parts = node.__class__.__name__, node.__dict__
        if kind in ("FunctionDef", "AsyncFunctionDef", "ClassDef"):
            return node.name == "main" and kind != "ClassDef"
        if kind in ("Import", "ImportFrom"):
            return "main" in [name.asname or name.name.split(".")[0] for name in node.names]
        targets = [parts.get("target"), *parts.get("targets", ())]
        targets += [item.optional_vars for item in parts.get("items", ())]
        if kind != "Delete" and (kind != "AnnAssign" or node.value):
            if python.any(is_main(target) for target in targets):
                return True
        blocks = ("body", "orelse", "finalbody", "handlers", "cases")
        return python.any(binds_main(child) for block in blocks for child in parts.get(block, ()))

    def defines_main():  # not by a class, or only while it ran
        parse, warnings = python.compile, load("warnings")
        try:
            with load("io").open_code(wait.__code__.co_filename) as file:
                program = file.read().partition(b"\ntry:  # RUNID")[0]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they were shown already
                return binds_main(parse(program, "main.py", "exec", 0x400, True))
        except Exception:
            return True  # it took the file away, or is too deep for a tree

    async def wait(awaitable):
        return await awaitable

    def settle(value):
        generator = value.gi_code.co_flags & 0x100 if python.hasattr(value, "gi_code") else 0
        if generator or python.hasattr(value.__class__, "__await__"):
            return load("asyncio").run(wait(value))
        return value

    def without_digit_limit(convert, value, **options):
        if not python.hasattr(runtime, "set_int_max_str_digits"):
            return convert(value, **options)
        limit = runtime.get_int_max_str_digits()
        runtime.set_int_max_str_digits(0)
        try:
            return convert(value, **options)
        finally:
            runtime.set_int_max_str_digits(limit)

    def encode(value):
        text = without_digit_limit(load("json").dumps, value, ensure_ascii=False)
        finite = text
        if "NaN" in text or "Infinity" in text:
            finite = load("re").sub(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN',
                                    lambda word: word[0] if word[0][0] == '"' else "null", text)
        warning = ',"warning":"NaN and infinite numbers in the value became null"'
        return '{"present":true,"value":' + finite + (warning if finite != text else "") + "}"

    main = _sandpiper_RUNID
    if "_sandpiper_RUNID" in arguments:
        arguments = without_digit_limit(load("json").loads, arguments["_sandpiper_RUNID"])
    document = '{"present":false}'
    if python.callable(main) and defines_main():
        try:
            value = settle(main(**arguments))
        except BaseException as error:
            error.__traceback__ = error.__traceback__.tb_next
            raise
        document = encode(value)
    elif arguments:
        document = ('{"present":false,'
                    '"warning":"arguments were given, but the program defines no main"}')
    try:
        runtime.stdout.flush()
    except (AttributeError, ValueError):
        pass  # the program closed it, or put something else there
    line = load("binascii").b2a_base64(document.encode("utf-8", "backslashreplace"))
    line = b"\n__RAGFLOW_RESULT_RUNID__:" + line
    while line:
        line = line[load("os").write(1, line):]
    raise SystemExit
