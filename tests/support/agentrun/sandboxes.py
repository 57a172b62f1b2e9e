"""Templates and sandboxes, with their states (reference aliyun-agentrun 2.2, 3.2)."""
import datetime
import os
import re
import secrets
import shutil
import threading
import time

import contexts
import files
from errors import Refusal, not_found

REAP_S = 0.05
ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Template:
    def __init__(self, members, delay=0.0, status="READY"):
        self.id = f"tpl-{secrets.token_hex(6)}"
        self.members = members
        self.name = members["templateName"]
        self.ready_at = time.monotonic() + delay
        self.final = status
        self.created = now()

    def status(self):
        return self.final if time.monotonic() >= self.ready_at else "CREATING"

    def public(self):
        texts = {name: str(self.members[name])
                 for name in ("sandboxIdleTimeoutInSeconds", "sandboxTTLInSeconds")
                 if name in self.members}
        failed = self.status().endswith("FAILED")
        return self.members | texts | {
            "templateId": self.id, "status": self.status(), "createdAt": self.created,
            "lastUpdatedAt": self.created, "templateVersion": "1", "resourceName": self.name,
            "statusReason": "no image" if failed else ""}


class Sandbox:
    def __init__(self, name, template, idle, folder, starting):
        self.id = name
        self.template = template
        self.idle = idle
        self.folder = folder
        self.files = files.Files(folder)
        self.born = self.used = time.monotonic()
        self.ready_at = self.born + starting
        self.created = now()
        self.ended_at = None
        self.busy = 0
        self.contexts = {}

    def status(self):
        if self.ended_at:
            return "TERMINATED"
        return "READY" if time.monotonic() >= self.ready_at else "CREATING"

    def public(self):
        ended = {"endedAt": self.ended_at} if self.ended_at else {}
        return {"sandboxId": self.id, "templateId": self.template.id,
                "templateName": self.template.name, "status": self.status(),
                "createdAt": self.created, "lastUpdatedAt": self.created,
                "sandboxIdleTimeoutSeconds": self.idle} | ended

    def health(self):
        return {"status": "ok", "service": "code-interpreter", "version": "1.0.0",
                "timestamp": now(), "uptime": time.monotonic() - self.born}

    def environment(self):
        """A program's own, in the sandbox's folder."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.files.real("/home/user")),
                "LANG": "C.UTF-8"}

    def is_idle(self):
        return not self.busy and time.monotonic() - self.used > self.idle


class Sandboxes:
    def __init__(self, root, board):
        self.root = root
        self.board = board
        self.lock = threading.Lock()  # guards everything below, and the sandboxes' members
        self.templates = {}
        self.all = {}  # ended ones stay until they are deleted
        threading.Thread(target=self.reap, daemon=True).start()

    # Templates

    def add_template(self, members, delay=0.0, status="READY"):
        with self.lock:
            if members["templateName"] in self.templates:
                raise Refusal(409, "ERR_CONFLICT", "template already exists")
            template = Template(members, delay, status)
            self.templates[template.name] = template
            return template

    def set_template(self, name, status):
        with self.lock:
            self.templates[name] = Template(
                {"templateName": name, "templateType": "CodeInterpreter", "cpu": 2,
                 "memory": 4096, "diskSize": 512, "sandboxIdleTimeoutInSeconds": 1800,
                 "networkConfiguration": {"networkMode": "PUBLIC"}}, 0, status)

    def template(self, name):
        with self.lock:
            if name not in self.templates:
                raise not_found("template not found")
            return self.templates[name]

    # Sandboxes

    def create(self, template_name, name, idle, starting):
        template = self.template(template_name)
        if template.status() != "READY":
            raise Refusal(400, "ERR_BAD_REQUEST", f"template is {template.status()}")
        with self.lock:
            name = name or "".join(secrets.choice(ULID) for _ in range(26))
            if name in self.all:
                raise Refusal(409, "ERR_CONFLICT", "sandbox already exists")
            folder = self.root / f"{name}.{secrets.token_hex(4)}"
            sandbox = self.all[name] = Sandbox(name, template, idle, folder, starting)
        self.board.count("sandboxes")
        return sandbox

    def find(self, name):
        with self.lock:
            if name not in self.all:
                raise not_found("sandbox not found")
            return self.all[name]

    def use(self, name):
        """One that runs; release() has to follow."""
        with self.lock:
            sandbox = self.all.get(name)
            if not sandbox or sandbox.ended_at:
                raise not_found("sandbox not found")
            if sandbox.status() == "CREATING":
                raise Refusal(502, "", "", "html")
            sandbox.busy += 1
            return sandbox

    def release(self, sandbox):
        with self.lock:
            sandbox.busy -= 1
            sandbox.used = time.monotonic()

    def end(self, sandbox):
        """Final; may be repeated."""
        with self.lock:
            if sandbox.ended_at:
                return
            sandbox.ended_at = now()
            left = list(sandbox.contexts.values())
        for context in left:
            context.end()
        shutil.rmtree(sandbox.folder, ignore_errors=True)

    def delete(self, name):
        """The answer shows the state from before."""
        sandbox = self.find(name)
        with self.lock:
            before = sandbox.public()
        self.end(sandbox)
        with self.lock:
            self.all.pop(name, None)
        return before

    def expire(self, name):
        with self.lock:
            sandbox = self.all.get(name)
        if sandbox:
            self.end(sandbox)

    def end_all(self):
        with self.lock:
            everyone = list(self.all.values())
        for sandbox in everyone:
            self.end(sandbox)

    def reap(self):
        while True:
            time.sleep(REAP_S)
            with self.lock:
                idle = [sandbox for sandbox in self.all.values() if sandbox.is_idle()]
            for sandbox in idle:
                self.end(sandbox)

    def seen(self):
        with self.lock:
            return {"alive": [name for name, one in self.all.items() if not one.ended_at],
                    "templates": {name: one.status() for name, one in self.templates.items()}}

    # Contexts

    def add_context(self, sandbox, language, cwd):
        context = contexts.Context(sandbox, language, cwd)
        with self.lock:
            if sandbox.ended_at:
                raise not_found("sandbox not found")
            sandbox.contexts[context.id] = context
        return context

    def context(self, sandbox, name):
        with self.lock:
            if name not in sandbox.contexts:
                raise not_found("context not found", "nested")
            return sandbox.contexts[name]

    def list_contexts(self, sandbox):
        with self.lock:
            return [context.public() for context in sandbox.contexts.values()]

    def drop_context(self, sandbox, name):
        context = self.context(sandbox, name)
        with self.lock:
            sandbox.contexts.pop(name, None)
        context.end()
