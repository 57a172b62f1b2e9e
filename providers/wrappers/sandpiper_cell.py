# Runs a user's Python program inside a kernel, whose names live on from one program to the next.
#
# Behind python_program.py, in one text, which a line of code executes with two names in its scope:
# JOB, base64 of a JSON object {code, arguments, marker, files: [[name, content], ...]} whose values
# are base64 (arguments: of JSON text, empty for none), and SPACE, the kernel's global names. The
# value of main, and how the program ended, go to standard output in a line behind the marker: base64
# of the result document of providers/protocol.h with the members "exit" and "us".


from time import perf_counter


def decoded(text):
    from base64 import b64decode

    return b64decode(text)


def settle_in_kernel(value):
    """A kernel's own loop runs below us and waits for us, so another thread has to do it."""
    if not is_awaitable(value):
        return value
    import asyncio
    from contextvars import copy_context
    from threading import Thread

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait_for(value))
    outcome = {}

    def work():
        try:
            outcome["value"] = asyncio.run(wait_for(value))
        except BaseException as error:
            outcome["error"] = error

    thread = Thread(target=copy_context().run, args=(work,))
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def put_files(folder, path, source, files):
    import shutil

    shutil.rmtree(os.path.join(folder, "artifacts"), ignore_errors=True)
    os.makedirs(os.path.join(folder, "artifacts"))
    for name, content in [(path, source)] + files:
        name = os.path.join(folder, name)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "wb") as file:
            file.write(content)


def run_in(space, path, source, arguments):
    """The result document."""
    code = compile(source, path, "exec", 0, True)
    kinds = find_main(source, path) if "main" in code.co_names else None
    folder = os.path.dirname(path)
    json, re = import_aside(folder, "json", "re")
    dumps, sub = json.dumps, re.sub
    values = without_digit_limit(json.loads, arguments) if arguments else {}
    space.update(__name__="main" if kinds else "__main__", __file__=path)
    if kinds:
        space.pop("main", None)  # an earlier program's
        sys.modules["main"] = sys.modules["__main__"]
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.argv = [os.path.basename(path)]
    exec(code, space)
    main = space.get("main") if kinds else None
    if callable(main):
        return result_document(settle_in_kernel(main(**values)), dumps, sub)
    return NO_MAIN if is_given(arguments) else b'{"present":false}'


def exit_code_of(error, stream):
    """As the interpreter would end with; what it would print is printed."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=stream)
        return 1
    import traceback

    traceback.print_exception(type(error), error, clean_traceback(error.__traceback__), file=stream)
    return 1


def run_job(job, space):
    out, err = sys.stdout, sys.stderr
    folder = os.getcwd()
    path = os.path.join(folder, "main.py")
    source = decoded(job["code"])
    exit_code = 0
    since = perf_counter()
    try:
        put_files(folder, path, source, [(name, decoded(text)) for name, text in job["files"]])
        document = run_in(space, path, source, decoded(job["arguments"]))
    except KeyboardInterrupt:
        raise  # the kernel is told to stop
    except BaseException as error:
        document = OUT_OF_MEMORY if isinstance(error, MemoryError) else b'{"present":false}'
        exit_code = exit_code_of(error, err)
    finally:
        space["__name__"] = "__main__"
    took = (perf_counter() - since) * 1e6
    from base64 import b64encode

    document = document[:-1] + b',"exit":%d,"us":%d}' % (exit_code, took)
    out.write("\n" + job["marker"] + b64encode(document).decode() + "\n")
    out.flush()


def read_job(text):
    import json

    return json.loads(decoded(text))


run_job(read_job(JOB), SPACE)
