# Runs a user's Python program inside a kernel, whose names live on from one program to the next.
#
# Behind python_program.py, in one text, which a line of code executes with two names in its scope:
# JOB, base64 of a JSON object {code, arguments, marker, files: [[name, content], ...]} whose values
# are base64 (arguments: of JSON text, empty for none), and SPACE, the kernel's global names. The
# value of main, and how the program ended, go to standard output in a line behind the marker: base64
# of the result document of providers/protocol.h with the members "exit" and "us". All that is used
# after the program is taken before it, since it may replace what it likes: this text has builtins of
# its own.


import atexit
import json
import re
import threading
from base64 import b64decode, b64encode
from time import perf_counter
from traceback import format_exception


def leave_loop():
    """A kernel's own loop runs below us. The program finds none that runs, as everywhere; the
    function that is returned goes back to the kernel's."""
    asyncio = sys.modules.get("asyncio")
    loop = asyncio._get_running_loop() if asyncio else None
    if loop is None:
        return lambda: None
    set_loop, set_running = asyncio.set_event_loop, asyncio._set_running_loop
    swap_task = getattr(asyncio.tasks, "_swap_current_task", lambda *_: None)  # since 3.12
    task = swap_task(loop, None)
    set_running(None)
    own = asyncio.new_event_loop()
    set_loop(own)

    def come_back():
        own.close()
        set_loop(loop)
        set_running(loop)
        swap_task(loop, task)

    return come_back


def settle_in_kernel(value):
    if not is_awaitable(value):
        return value
    import asyncio

    return asyncio.run(wait_for(value))


def wait_for_threads(before):
    """As the interpreter does at its end: executors get no more work, and finish what they have."""
    pools = sys.modules.get("concurrent.futures.thread")
    queues = getattr(pools, "_threads_queues", {})
    try:
        while True:
            left = [thread for thread in threading.enumerate()
                    if thread not in before and not thread.daemon]
            if not left:
                return
            if left[0] in queues:
                pools._shutdown = True
                queues[left[0]].put(None)
            left[0].join()
    finally:
        if queues:
            pools._shutdown = False


def put_files(folder, path, source, files):
    import shutil

    shutil.rmtree(os.path.join(folder, "artifacts"), ignore_errors=True)
    os.makedirs(os.path.join(folder, "artifacts"))
    for name, content in [(path, source)] + files:
        name = os.path.join(folder, name)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "wb") as file:
            file.write(content)


def go_to(folder):
    try:
        os.chdir(folder)
    except OSError:
        pass  # the program removed it


def hide_autocalls(space):
    """IPython has an exit() of its own, which ends nothing but the kernel, and later."""
    for name in ("exit", "quit"):
        if type(space.get(name)).__module__.startswith("IPython."):
            space[name] = sys.exit


def run_in(space, path, source, arguments):
    """The result document."""
    code = compile(source, path, "exec", 0, True)
    kinds = find_main(source, path) if "main" in code.co_names else None
    folder = os.path.dirname(path)
    values = without_digit_limit(json.loads, arguments) if arguments else {}
    space.update(__name__="main" if kinds else "__main__", __file__=path)
    if kinds:
        space.pop("main", None)  # an earlier program's
        sys.modules["main"] = sys.modules["__main__"]
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.argv = [os.path.basename(path)]
    hide_autocalls(space)
    exec(code, space)
    main = space.get("main") if kinds else None
    if callable(main):
        return result_document(settle_in_kernel(main(**values)), json.dumps, re.sub)
    return NO_MAIN if is_given(arguments) else b'{"present":false}'


def exit_code_of(error, show):
    """As the interpreter would end with; what it would print is printed."""
    if not isinstance(error, SystemExit):
        show("".join(format_exception(type(error), error, clean_traceback(error.__traceback__))))
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    show(f"{error.code}\n")
    return 1


def put_method(stream, name, method):
    try:
        setattr(stream, name, method)
    except AttributeError:
        pass  # then the program could not change it either


class ExitCalls:
    """What a program leaves for the end of its process, which is not the kernel's."""

    def __init__(self):
        self.calls = []
        self.kept = atexit.register, atexit.unregister
        atexit.register, atexit.unregister = self.register, self.unregister

    def register(self, call, *arguments, **options):
        self.calls.append((call, arguments, options))
        return call

    def unregister(self, call):
        self.calls = [entry for entry in self.calls if entry[0] != call]
        self.kept[1](call)

    def run(self, show):
        while self.calls:
            call, arguments, options = self.calls.pop()
            try:
                call(*arguments, **options)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                exit_code_of(error, show)

    def restore(self):
        atexit.register, atexit.unregister = self.kept


class Streams:
    """The kernel's, which the program may close or replace, but not for the next one."""

    def __init__(self):
        self.out, self.err = sys.stdout, sys.stderr
        self.kept = [(stream, name, getattr(stream, name))
                     for stream in (self.out, self.err) for name in ("write", "flush", "close")
                     if hasattr(stream, name)]
        for stream in (self.out, self.err):
            put_method(stream, "close", lambda: None)

    def restore(self):
        sys.stdout, sys.stderr = self.out, self.err
        for kept in self.kept:
            put_method(*kept)


def run_job(job, space):
    streams, threads, folder = Streams(), set(threading.enumerate()), os.getcwd()
    path = os.path.join(folder, "main.py")
    source = b64decode(job["code"])
    exit_code = 0
    come_back, exit_calls = leave_loop(), ExitCalls()
    since = perf_counter()
    try:
        try:
            put_files(folder, path, source, [(name, b64decode(text)) for name, text in job["files"]])
            document = run_in(space, path, source, b64decode(job["arguments"]))
        except KeyboardInterrupt:
            raise  # the kernel is told to stop
        except BaseException as error:
            document = OUT_OF_MEMORY if isinstance(error, MemoryError) else b'{"present":false}'
            streams.restore()
            exit_code = exit_code_of(error, streams.err.write)
        wait_for_threads(threads)
        exit_calls.run(streams.err.write)
    finally:
        exit_calls.restore()
        streams.restore()
        come_back()
        space["__name__"] = "__main__"
        go_to(folder)
    took = (perf_counter() - since) * 1e6
    document = document[:-1] + b',"exit":%d,"us":%d}' % (exit_code, took)
    streams.out.write("\n" + job["marker"] + b64encode(document).decode() + "\n")
    streams.out.flush()


run_job(json.loads(b64decode(JOB)), SPACE)
