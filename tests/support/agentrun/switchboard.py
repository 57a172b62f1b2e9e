"""What the test wants the server to do wrong or in another way, and what the server has seen.

The test may send these members:
  ways    object; how the service behaves from now on (WAYS has the names and what holds at first)
  faults  list; replaces those that are left over. Each one spoils requests of the operation `on`
          ("create", "execute", ...: service.py; "*": any). All other members may be absent:
            times     so many requests (1; 0: all)      skip     so many are spared first
            chance    0 to 1, of each request           delay    seconds before anything else
            die       true: the sandbox ends first, as if it had been idle for too long
            answer    {status, body, repeat, type}: this instead of the answer; body is repeated
            error     {status, code, message, shape}: this failure instead (errors.py)
            headers   object, further ones of the answer
            patch     object; members of the answer's JSON object that are replaced, null: removed
            cut       "unanswered", or "midway": the connection ends then
            stall     the same words: nothing more comes then
            work      true: what was asked for is done, although its answer is replaced or lost
  template  {templateName, status}: there is such a template from now on
  end     true: all sandboxes end now
  forget  true: the record of what was seen begins anew

The answer has `alive` (ids of sandboxes that have not ended), `sandboxes` (how many were made),
`templates` (name: status), `executions`, `calls` (how many of each operation), `violations` (what
no client may send, in words), `connections`, and `requests` (operation, method, path, query,
headers, body, status; the last 300, long bodies cut).
"""
import collections
import random
import threading

WAYS = {
    "envelope": True,        # sandboxes are answered in {code, requestId, data}
    "end_items": True,       # execute answers with an endOfExecution item
    "final_newlines": True,  # false: the last newline of each text is stripped
    "errors": "name",        # error items have "name" and value, "text", or "traceback"
    "results": "data",       # result items have "data", a MIME bundle, or "text"
    "timeout": "error",      # a run's time passed: contexts.TIMEOUTS
    "starting": 0,           # seconds in which a new sandbox answers 502 with HTML
    "template_delay": 0,     # seconds in which a new template is CREATING
    "template_end": "READY",
}
FAULT = {"on", "times", "skip", "chance", "delay", "die", "answer", "error", "headers", "patch",
         "cut", "stall", "work"}
BODY_MAX = 8192


class Switchboard:
    def __init__(self):
        self.lock = threading.Lock()  # guards everything below
        self.ways = dict(WAYS)
        self.faults = []
        self.random = random.Random(1)
        self.forget()

    def forget(self):
        self.executions = 0
        self.connections = 0
        self.sandboxes = 0
        self.calls = collections.Counter()
        self.violations = []
        self.requests = collections.deque(maxlen=300)

    def change(self, command):
        with self.lock:
            if command.pop("forget", False):
                self.forget()
            ways = command.pop("ways", {})
            faults = command.pop("faults", self.faults)
            strange = set(command) | set(ways) - set(WAYS)
            strange.update(*(set(fault) - FAULT for fault in faults))
            if strange:
                raise ValueError(f"unknown members: {', '.join(strange)}")
            self.ways.update(ways)
            self.faults = faults

    def seen(self):
        with self.lock:
            return {"sandboxes": self.sandboxes, "executions": self.executions,
                    "connections": self.connections, "calls": self.calls,
                    "violations": self.violations, "requests": list(self.requests)}

    def is_due(self, fault, operation):
        if fault["on"] not in (operation, "*") or fault.setdefault("times", 1) < 0:
            return False
        if fault.get("skip", 0) > 0:
            fault["skip"] -= 1
            return False
        return self.random.random() < fault.get("chance", 1)

    def take_fault(self, operation):
        """The fault for one request; an empty one where there is none."""
        with self.lock:
            for fault in self.faults:
                if self.is_due(fault, operation):
                    if fault["times"] > 0:
                        fault["times"] = fault["times"] - 1 or -1
                    return fault
        return {}

    def count(self, name):
        """name: executions, connections or sandboxes"""
        with self.lock:
            setattr(self, name, getattr(self, name) + 1)

    def note_violation(self, text):
        with self.lock:
            self.violations.append(text)

    def note_request(self, operation, request):
        record = {"operation": operation, "method": request.method, "path": request.path,
                  "query": request.query, "headers": request.headers, "status": 0,
                  "body": request.body[:BODY_MAX].decode(errors="replace")}
        with self.lock:
            self.calls[operation] += 1
            self.requests.append(record)
        return record
