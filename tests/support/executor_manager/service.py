"""The executor_manager's routes: what POST /run answers, whatever happens (reference ragflow 4)."""
import collections
import hmac
import json
import math
import os
import re
import shutil
import threading
import time
import uuid

import pool
import request
import scan
import task

UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
PERIODS = {"second": 1, "minute": 60, "hour": 3600}
TOO_MANY = {"exit_code": -429, "detail": "Too many requests, please try again later"}


class Answer:
    def __init__(self, status, body, media_type="application/json"):
        self.status = status
        self.body = body
        self.media_type = media_type
        self.headers = {}


def without_nan(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: without_nan(member) for name, member in value.items()}
    return [without_nan(item) for item in value] if isinstance(value, list) else value


def to_json(value):
    return json.dumps(without_nan(value), ensure_ascii=False, separators=(",", ":")).encode()


def result(http_status=200, **members):
    """The answer with every member that the service always sends."""
    empty = {"status": "program_runner_error", "stdout": "", "stderr": "", "exit_code": -999,
             "detail": None, "time_used_ms": None, "memory_used_kb": None,
             "resource_limit_type": None, "unauthorized_access_type": None,
             "runtime_error_type": None, "artifacts": [], "result": None}
    return Answer(http_status, to_json(empty | members))


def failure(**members):
    return result(**({"exit_code": -3, "detail": "internal_error"} | members))


class RateLimit:
    """So many requests of one client in a period ("120/minute"); no text, no limit."""

    def __init__(self, text):
        count, _, period = text.partition("/")
        self.count = int(count or 0)
        self.period = PERIODS.get(period, 60)
        self.times = collections.defaultdict(collections.deque)
        self.lock = threading.Lock()  # guards times

    def passed(self, client):
        now = time.monotonic()
        with self.lock:
            times = self.times[client]
            while times and times[0] <= now - self.period:
                times.popleft()
            if self.count and len(times) >= self.count:
                return True
            times.append(now)
            return False


class Settings:
    """The service's environment variables; what it cannot read becomes the default, silently."""

    def __init__(self, later):
        env = os.environ.get
        limit = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", env("SANDBOX_TIMEOUT", ""))
        memory = re.fullmatch(r"([1-9]\d*)([bkmg])", env("SANDBOX_MAX_MEMORY", ""))
        minutes, seconds = limit.groups(default="0") if limit else ("0", "0")
        self.limit = int(minutes) * 60 + int(seconds) or 10
        self.memory = int(memory[1]) * UNITS[memory[2]] if memory else 256 << 20
        self.pool_size = int(env("SANDBOX_EXECUTOR_MANAGER_POOL_SIZE", "1"))
        self.later = later
        self.token = env("SANDBOX_EXECUTOR_MANAGER_API_TOKEN", "")
        self.open = env("SANDBOX_EXECUTOR_MANAGER_ALLOW_UNAUTHENTICATED", "").lower() == "true"
        self.refusals = RateLimit(env("SANDBOX_RUN_PREAUTH_RATE_LIMIT", "30/minute"))
        self.runs = RateLimit(env("SANDBOX_RUN_RATE_LIMIT", "120/minute"))


class Manager:
    def __init__(self, root, board, pool_wait, later):
        self.board = board
        self.settings = Settings(later)
        self.pools = {language: pool.Pool(language, self.settings.pool_size, root, board, pool_wait)
                      for language in request.LANGUAGES}
        self.programs = set()  # under way, or left behind in their containers
        self.lock = threading.Lock()  # guards programs

    def lose_containers(self):
        for containers in self.pools.values():
            containers.lose()

    def end_programs(self):
        with self.lock:
            for program in self.programs:
                program.end()

    def answer(self, method, path, headers, body, client):
        routes = {"/": ("GET", lambda: Answer(200, b'{"status":"ok"}')),
                  "/healthz": ("GET", lambda: Answer(200, b'{"status":"ok"}')),
                  "/run": ("POST", lambda: self.run(headers, body, client))}
        if path not in routes:
            return Answer(404, b'{"detail":"Not Found"}')
        expected, route = routes[path]
        return route() if method == expected else Answer(405, b'{"detail":"Method Not Allowed"}')

    def refusal(self, headers, client):
        """What later versions answer before they look at the body; None: go on."""
        if not self.settings.later or self.settings.open:
            return None
        if not self.settings.token:
            return Answer(503, b'{"detail":"SANDBOX_EXECUTOR_MANAGER_API_TOKEN is not set"}')
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else headers.get("X-Sandbox-Token", "")
        if hmac.compare_digest(given.encode(), self.settings.token.encode()):
            return None
        if self.settings.refusals.passed(client):
            return result(429, **TOO_MANY)
        return Answer(401, b'{"detail":"Invalid API token"}')

    def run(self, headers, body, client):
        refused = self.refusal(headers, client)
        if refused:
            return refused
        if self.settings.later and self.settings.runs.passed(client):
            return result(429, **TOO_MANY)
        try:
            code, language, arguments = request.read(headers, body)
        except request.Invalid as invalid:
            return Answer(422, to_json({"detail": invalid.detail}))
        try:
            return self.run_program(code.decode(), language, arguments)
        except UnicodeDecodeError:
            return Answer(500, b"Internal Server Error", "text/plain; charset=utf-8")

    def run_program(self, code, language, arguments):
        """The slot comes first: unsafe code waits for one, too."""
        containers = self.pools[language]
        with containers.slots:
            findings = scan.scan(language, code)
            if findings:
                text = "\n".join(f"Line {line}: {issue}" for line, issue in findings)
                return result(exit_code=-999, detail="Code is unsafe", stderr=text)
            container = containers.take()
            if not container:
                return result(exit_code=-10, detail="no_available_container")
            try:
                return self.run_in(container, code, language, arguments)
            finally:
                containers.give_back(container)

    def run_in(self, container, code, language, arguments):
        folder = container.folder / uuid.uuid4().hex
        try:
            task.write_folder(folder, language, code, arguments)
            program = task.Program(folder, language, self.settings)
            self.board.count_execution()
            with self.lock:
                self.programs.add(program)
            members = task.run(folder, program, self.settings)
            with self.lock:
                self.programs.discard(program)
            return result(**members)
        except Exception:  # whatever it is, the client learns no more than this
            return failure()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
