"""One Python kernel of the e2b test server: runs cells in one namespace that outlives them.

Requests come as JSON lines on descriptor 3, events go out likewise on 4. Standard output and error are pipes; after each
cell the request's mark is written to both, so that the reader knows where the cell's output ends.
"""

import ast
import asyncio
import builtins
import inspect
import json
import linecache
import os
import sys
import threading
import time
import traceback
import types

REPRESENTATIONS = {
    "_repr_html_": "html",
    "_repr_markdown_": "markdown",
    "_repr_svg_": "svg",
    "_repr_png_": "png",
    "_repr_jpeg_": "jpeg",
    "_repr_pdf_": "pdf",
    "_repr_latex_": "latex",
    "_repr_json_": "json",
    "_repr_javascript_": "javascript",
}


class StdinNotImplementedError(RuntimeError):
    pass


class OutStream:
    """Text only and held back a little, as a kernel's output is: what os._exit() finds here is lost."""

    encoding = "UTF-8"
    errors = "replace"
    closed = False

    def __init__(self, fd):
        self.fd = fd
        self.parts = []
        self.lock = threading.Lock()

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self.lock:
            self.parts.append(text)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        with self.lock:
            data = "".join(self.parts).encode("utf-8", "replace")
            self.parts.clear()
            while data:
                data = data[os.write(self.fd, data) :]

    def fileno(self):
        return self.fd

    def isatty(self):
        return False

    def readable(self):
        return False

    def writable(self):
        return True


class Kernel:
    def __init__(self):
        for fd in (3, 4):
            os.set_inheritable(fd, False)
        self.requests = os.fdopen(3, "r", encoding="utf-8")
        self.events = os.fdopen(4, "w", encoding="utf-8")
        self.out = OutStream(1)
        self.err = OutStream(2)
        self.count = 0
        self.module = types.ModuleType("__main__")
        sys.modules["__main__"] = self.module
        sys.stdout, sys.stderr = self.out, self.err
        builtins.input = self.refuse_input
        builtins.display = lambda value: self.show(value, False)
        threading.Thread(target=self.flush_often, daemon=True).start()

    def flush_often(self):
        while True:
            time.sleep(0.05)
            self.out.flush()
            self.err.flush()

    def refuse_input(self, _prompt=""):
        raise StdinNotImplementedError("raw_input was called, but this frontend does not support input requests.")

    def send(self, **event):
        self.events.write(json.dumps(event) + "\n")
        self.events.flush()

    def show(self, value, main):
        text = repr(value)
        if isinstance(value, str):
            text = text[1:-1]
        event = {"type": "result", "text": text, "extra": {}, "is_main_result": main}
        for method, name in REPRESENTATIONS.items():
            represent = getattr(type(value), method, None)
            if represent:
                event[name] = represent(value)
        self.send(**event)

    async def evaluate(self, node, mode, name):
        code = compile(node, name, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        value = eval(code, self.module.__dict__)
        return await value if code.co_flags & inspect.CO_COROUTINE else value

    # The event loop runs while a cell does, so asyncio.run() fails in it, as in the real kernel.
    async def run_code(self, source):
        name = f"/tmp/ipykernel/{self.count}.py"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        body = ast.parse(source, name).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        await self.evaluate(ast.Module(body, []), "exec", name)
        if last is not None:
            value = await self.evaluate(ast.Expression(last.value), "eval", name)
            if value is not None:
                self.show(value, True)

    def report(self, error):
        if isinstance(error, SystemExit):
            self.err.write("UserWarning: To exit: use 'exit', 'quit', or Ctrl-D.\n")
            lines = ["An exception has occurred, use %tb to see the full traceback.\n", f"SystemExit: {error}"]
        else:
            inner = error.__traceback__
            while inner and inner.tb_frame.f_code.co_filename == __file__:
                inner = inner.tb_next
            lines = traceback.format_exception(type(error), error, inner)
        glued = "".join(line.rstrip("\n") for line in lines)
        self.send(type="error", name=type(error).__name__, value=str(error), traceback=glued)

    async def run_cell(self, request):
        self.count += 1
        self.send(type="number_of_executions", execution_count=self.count)
        os.environ.update(request["environment"])
        before = dict(os.environ)
        # Pasted into the source, as the real server does: a value with a quote breaks the cell.
        preamble = "".join(f"import os; os.environ['{k}'] = '{v}'\n" for k, v in request["env_vars"].items())
        try:
            await self.run_code(preamble + request["code"])
        except BaseException as error:  # SystemExit is a result like others
            self.report(error)
        for name in request["env_vars"]:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]

    async def serve(self):
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, self.requests.readline):
            request = json.loads(line)
            await self.run_cell(request)
            for stream in (self.out, self.err):
                stream.flush()
                os.write(stream.fd, request["mark"].encode())
            self.send(type="done")
        os._exit(0)


asyncio.run(Kernel().serve())
