"""Contexts: a kernel each, and what execute answers (reference aliyun-agentrun 3.3, 3.4)."""
import threading
import uuid

import kernel
from errors import Refusal, not_found

LANGUAGES = tuple(kernel.COMMANDS)
MIME = {"html": "text/html", "markdown": "text/markdown", "svg": "image/svg+xml",
        "png": "image/png", "jpeg": "image/jpeg", "pdf": "application/pdf",
        "latex": "text/latex", "json": "application/json", "javascript": "application/javascript"}


class Silence(Exception):
    """No answer ever comes."""


def end(status):
    return [{"type": "endOfExecution", "status": status}]


def timeout_item(_, limit):
    return [{"type": "timeout", "text": f"execution exceeded {limit} seconds"}]


def timeout_error(ways, limit):
    event = {"name": "TimeoutError", "value": f"Execution timed out after {limit} seconds",
             "traceback": ""}
    return [error_item(ways, event)] + end("error")


def timeout_end(*_):
    return end("timeout")


def timeout_408(*_):
    raise Refusal(408, "ERR_TIMEOUT", "request timeout")


def timeout_504(*_):
    raise Refusal(504, "", "", "html")


def timeout_400(*_):
    raise Refusal(400, "ExecutionTimeout", "the code took too long")


def timeout_never(*_):
    raise Silence


# The service's own shape is not known: every one that a client has to expect.
TIMEOUTS = {"item": timeout_item, "error": timeout_error, "end": timeout_end, "408": timeout_408,
            "504": timeout_504, "400": timeout_400, "never": timeout_never}


def result_item(ways, event, count):
    if ways["results"] == "text":
        return {"type": "result", "text": event["text"], "executionCount": count}
    forms = {MIME[name]: event[name] for name in MIME if name in event}
    return {"type": "result", "data": {"text/plain": event["text"]} | forms,
            "executionCount": count}


def error_item(ways, event):
    forms = {"name": {"name": event["name"], "value": event["value"]},
             "text": {"text": f"{event['name']}: {event['value']}"},
             "traceback": {"traceback": event["traceback"].split("\n")}}
    return {"type": "error"} | forms[ways["errors"]]


def items_of(ways, cell):
    items = []
    for kind, text in cell.texts:
        stripped = text if ways["final_newlines"] else text.removesuffix("\n")
        items.append({"type": kind, "text": stripped})
    for event in cell.events:
        if event["type"] == "error":
            items.append(error_item(ways, event))
        else:
            items.append(result_item(ways, event, cell.count))
    return items


class Context:
    def __init__(self, sandbox, language, cwd):
        self.id = str(uuid.uuid4())
        self.sandbox = sandbox
        self.language = language
        self.cwd = cwd
        self.turn = threading.Lock()  # held while a cell runs
        self.lock = threading.Lock()  # guards kernel and ended
        self.kernel = None
        self.ended = False

    def public(self):
        return {"id": self.id, "language": self.language, "cwd": self.cwd}

    def end(self):
        """From any thread: a cell that runs finds its kernel dead."""
        with self.lock:
            self.ended = True
            if self.kernel:
                self.kernel.kill()
        with self.turn:
            self.drop_kernel()

    def drop_kernel(self):
        with self.lock:
            dead, self.kernel = self.kernel, None
        if dead:
            dead.close()

    def start_kernel(self):
        with self.lock:
            if self.ended:
                raise not_found("context not found", "nested")
            if not self.kernel:
                folder = self.sandbox.files.real(self.cwd)
                home = self.sandbox.files.real("/home/user")
                self.kernel = kernel.Kernel(self.language, folder if folder.is_dir() else home,
                                            self.sandbox.environment())

    def execute(self, code, limit, ways):
        """The answer's body."""
        with self.turn:
            self.start_kernel()
            try:
                cell = self.kernel.run(code, limit)
                bad = any(event["type"] == "error" for event in cell.events)
                items = items_of(ways, cell) + end("error" if bad else "ok")
            except kernel.TooLate as late:
                self.drop_kernel()
                items = items_of(ways, late.args[0]) + TIMEOUTS[ways["timeout"]](ways, limit)
            except kernel.Died as death:
                self.drop_kernel()
                if self.ended:
                    raise not_found("sandbox not found") from None
                event = {"name": "KernelDied", "value": "the kernel died", "traceback": ""}
                items = items_of(ways, death.args[0]) + [error_item(ways, event)] + end("error")
        if not ways["end_items"]:
            items = [item for item in items if item["type"] != "endOfExecution"]
        return {"results": items, "contextId": self.id}
