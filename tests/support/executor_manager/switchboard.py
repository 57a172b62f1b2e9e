"""What the test wants the server to do wrong, and what the server has seen.

The test may send these members:
  faults          list; each one spoils the next `times` (1; 0: all) requests for `path` ("/run"):
                    delay     seconds before anything else but the record of it
                    status, body, repeat, type, headers
                              an answer of the test's own; the body is repeated, `type` is its media
                              type (text/plain)
                    result    an answer of the service that names a failure, with these members
                    close     "unanswered", or "midway": after half of the answer's body
                    run       true: the program runs although its answer is replaced or lost
                    drop, add member names left out of the answer, an object of members added
                    chunked   true: the answer comes in chunks
  no_containers   true: creating a container fails from now on
  lose_containers true: all containers are gone, as after a restart of their engine
  forget          true: the record of what was seen begins anew

The answer has `connections` (accepted ones), `closed` (those that ended), `executions` (programs
started) and `requests` (method, path, headers, body, connection, status; the last 2000).
"""
import collections
import threading


class Switchboard:
    def __init__(self, no_containers):
        self.lock = threading.Lock()  # guards everything below
        self.faults = []
        self.no_containers = no_containers
        self.forget()

    def forget(self):
        self.connections = 0
        self.closed = 0
        self.executions = 0
        self.requests = collections.deque(maxlen=2000)

    def change(self, command):
        with self.lock:
            if command.pop("forget", False):
                self.forget()
            self.faults = command.pop("faults", self.faults)
            self.no_containers = command.pop("no_containers", self.no_containers)
        if command:
            raise ValueError(f"unknown members: {', '.join(command)}")

    def seen(self):
        with self.lock:
            return {"connections": self.connections, "closed": self.closed,
                    "executions": self.executions, "requests": list(self.requests)}

    def take_fault(self, path):
        """The fault for one request to this path; an empty one where there is none."""
        with self.lock:
            for fault in self.faults:
                if fault.get("path", "/run") == path and fault.setdefault("times", 1) >= 0:
                    if fault["times"] == 1:
                        fault["times"] = -1
                    elif fault["times"] > 1:
                        fault["times"] -= 1
                    return fault
        return {}

    def count_connection(self):
        with self.lock:
            self.connections += 1
            return self.connections

    def count_closed(self):
        with self.lock:
            self.closed += 1

    def count_execution(self):
        with self.lock:
            self.executions += 1

    def record(self, request):
        with self.lock:
            self.requests.append(request)
