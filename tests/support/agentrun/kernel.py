"""A language kernel: a process that runs one cell after the other, for real. Its program is the one
of the e2b test server, which says what the pipes carry."""
import codecs
import fcntl
import json
import os
import pathlib
import secrets
import selectors
import signal
import time

PROGRAMS = pathlib.Path(__file__).parent.parent / "e2b"
COMMANDS = {"python": ["/usr/bin/python3", str(PROGRAMS / "kernel.py")],
            "javascript": ["node", str(PROGRAMS / "kernel.cjs")]}
CHUNK = 1 << 16


def pipe():
    """Both ends far from the numbers that the kernel knows its pipes by."""
    ends = []
    for fd in os.pipe():
        ends.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(fd)
    return ends


class Died(Exception):
    pass


class TooLate(Exception):
    pass


class Output:
    """One of the two output pipes, up to the mark that stands behind a cell's output."""

    def __init__(self, kind, mark):
        self.kind = kind
        self.mark = mark
        self.data = bytearray()
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, data):
        """(text that is the cell's, whether this was all)"""
        self.data += data
        at = self.data.find(self.mark)
        end = at if at >= 0 else len(self.data) - self.begun()
        text = self.decoder.decode(bytes(self.data[:end]), at >= 0)
        del self.data[:end]
        return text, at >= 0

    def begun(self):
        """How many bytes at the end may be the mark's first ones. No others wait for more: what was
        written at once comes in one piece, whatever the other pipe brings meanwhile."""
        lengths = range(len(self.mark) - 1, 0, -1)
        return next((n for n in lengths if self.data.endswith(self.mark[:n])), 0)


class Cell:
    """What comes from a kernel while one cell runs: texts in their order, then the other events."""

    def __init__(self, fds):
        self.mark = secrets.token_hex(16)
        self.outputs = {fd: Output(kind, self.mark.encode())
                        for fd, kind in zip(fds, ("stdout", "stderr"))}
        self.left = set(self.outputs)
        self.texts = []
        self.events = []
        self.count = 0
        self.line = b""
        self.done = False

    def complete(self):
        return self.done and not self.left

    def take(self, fd, data):
        if fd not in self.outputs:
            return self.take_events(data)
        text, last = self.outputs[fd].add(data)
        if last:
            self.left.discard(fd)
        self.add_text(self.outputs[fd].kind, text)

    def add_text(self, kind, text):
        if text and self.texts and self.texts[-1][0] == kind:
            self.texts[-1] = (kind, self.texts[-1][1] + text)
        elif text:
            self.texts.append((kind, text))

    def broken(self):
        """Itself, without the rest that never comes."""
        for fd in self.left:
            output = self.outputs[fd]
            self.add_text(output.kind, output.decoder.decode(bytes(output.data), True))
        return self

    def take_events(self, data):
        if not data:
            raise Died
        *lines, self.line = (self.line + data).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["type"] == "number_of_executions":
                self.count = event["execution_count"]
            elif event["type"] == "done":
                self.done = True
            else:
                self.events.append(event)


class Kernel:
    def __init__(self, language, cwd, environment):
        input_read, self.input = pipe()
        self.events, events_write = pipe()
        self.out, out_write = pipe()
        self.err, err_write = pipe()
        ends = {1: out_write, 2: err_write, 3: input_read, 4: events_write}
        self.selector = selectors.DefaultSelector()
        for fd in (self.out, self.err, self.events):
            self.selector.register(fd, selectors.EVENT_READ)
        self.pid = os.posix_spawn(
            "/usr/bin/env", ["env", "-C", str(cwd), *COMMANDS[language]], environment, setsid=True,
            setsigdef=[signal.SIGPIPE],
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                          *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in ends.items())])
        for fd in ends.values():
            os.close(fd)

    def kill(self):
        """From any thread; the one that waits for output learns of it."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def close(self):
        self.kill()
        os.waitpid(self.pid, 0)
        self.selector.close()
        for fd in (self.input, self.events, self.out, self.err):
            os.close(fd)

    def run(self, code, limit):
        """The cell, complete. After Died and TooLate the kernel is to be closed; both have what
        there was as their one argument."""
        cell = Cell((self.out, self.err))
        request = {"code": code, "env_vars": {}, "environment": {}, "mark": cell.mark}
        end = time.monotonic() + limit
        try:
            self.write(json.dumps(request).encode() + b"\n")
            while not cell.complete():
                ready = self.selector.select(max(0, end - time.monotonic()))
                if not ready:
                    raise TooLate
                for key, _ in ready:
                    cell.take(key.fd, os.read(key.fd, CHUNK))
        except (Died, BrokenPipeError):
            raise Died(cell.broken()) from None
        except TooLate:
            raise TooLate(cell.broken()) from None
        return cell

    def write(self, data):
        while data:
            data = data[os.write(self.input, data):]
