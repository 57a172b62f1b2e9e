"""Runs one program in its folder and says how it went (reference ragflow 3.3, 4.1, 4.5, 4.6)."""
import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
MARKER = "__RAGFLOW_RESULT__:"
GRACE = 5  # seconds beyond the limit for a program that ignores SIGTERM
ARTIFACTS_MAX = 10
ARTIFACT_BYTES_MAX = 10 << 20
MIME_TYPES = {".csv": "text/csv", ".html": "text/html", ".jpeg": "image/jpeg",
              ".jpg": "image/jpeg", ".json": "application/json", ".pdf": "application/pdf",
              ".png": "image/png", ".svg": "image/svg+xml"}
# Text on stderr that decides what a failure is taken for, even where the program wrote it itself.
MISREADINGS = [
    ("Permission denied", {"status": "unauthorized_access",
                           "unauthorized_access_type": "file_access"}),
    ("Operation not permitted", {"status": "unauthorized_access",
                                 "unauthorized_access_type": "disallowed_syscall"}),
    ("MemoryError", {"status": "resource_limit_exceeded", "resource_limit_type": "memory"}),
]


def write_folder(folder, language, code, arguments):
    folder.mkdir()
    if language == "python":
        (folder / "main.py").write_text(code, newline="")
        shutil.copy(HERE / "runner.py", folder)
    else:
        # CommonJS, whatever the program is; it fails where nothing is called main.
        (folder / "main.js").write_text(code + "\nmodule.exports = { main };\n", newline="")
        shutil.copy(HERE / "runner.js", folder)
    (folder / "args.json").write_text(json.dumps(arguments))


def command(language, settings):
    run = ["timeout", str(settings.limit)]
    if language == "python":
        # Stands for the container's memory. Node needs far more address space than it uses.
        return ["prlimit", f"--data={settings.memory}", *run, "/usr/bin/python3", "-I", "-B",
                "runner.py"]
    return [*run, "node", "runner.js"]


class Program:
    """A started program; in a session of its own, so that all of it can be ended."""

    def __init__(self, folder, language, settings):
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(command(language, settings), cwd=folder, env=environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, start_new_session=True)

    def wait(self, limit):
        """(exit code as a container engine tells it, stdout, stderr)"""
        out, err = self.process.communicate(timeout=limit)
        code = self.process.returncode
        return (code if code >= 0 else 128 - code), out.decode(), err.decode()

    def end(self):
        """`timeout` leads a process group of its own inside the session, so the session is asked
        for, not the group."""
        for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                session = int(entry.read_text().rpartition(")")[2].split()[3])
                if session == self.process.pid:
                    os.kill(int(entry.parent.name), signal.SIGKILL)
            except (OSError, ValueError):
                continue
        self.process.wait()


def read_marker(line):
    """The result object in a marker line; ValueError where there is none."""
    document = json.loads(base64.b64decode(line[len(MARKER):]))
    if not isinstance(document, dict):
        raise ValueError("no object")
    return {"present": bool(document.get("present", False)), "value": document.get("value"),
            "type": document.get("type")}


def extract(stdout):
    """(stdout without marker lines, result or None): the last one wins, empty ones are dropped,
    those that cannot be read stay."""
    kept, result = [], None
    for line in stdout.splitlines():
        if not line.startswith(MARKER):
            kept.append(line)
        elif line[len(MARKER):].strip():
            try:
                result = read_marker(line)
            except ValueError:
                kept.append(line)
    text = "\n".join(kept)
    return (text + "\n" if text and stdout.endswith("\n") else text), result


def promote(folder):
    """Later versions take files beside the program for artifacts, too."""
    for path in folder.iterdir():
        if path.is_file() and path.suffix.lower() in MIME_TYPES and path.name != "args.json":
            path.rename(folder / "artifacts" / path.name)


def collect(folder):
    found = []
    names = [e.name for e in os.scandir(folder / "artifacts") if e.is_file(follow_symlinks=False)]
    for name in names[:ARTIFACTS_MAX]:
        path = folder / "artifacts" / name
        mime_type = MIME_TYPES.get(path.suffix.lower())
        size = path.stat().st_size
        if re.search(r"[\\]|\.\.|^\.", name) or not mime_type or not 0 < size <= ARTIFACT_BYTES_MAX:
            continue
        content = base64.b64encode(path.read_bytes()).decode()
        found.append({"name": name, "mime_type": mime_type, "size": size, "content_b64": content})
    return found


def failed(code, stderr, used_ms):
    """Members of the answer for a program that did not end with 0."""
    if code == 124:
        return {"status": "resource_limit_exceeded", "resource_limit_type": "time",
                "exit_code": -124, "stderr": "the program ran into the time limit",
                "time_used_ms": used_ms}
    if code == 137:
        return {"status": "resource_limit_exceeded", "resource_limit_type": "memory",
                "exit_code": -137, "stderr": stderr, "time_used_ms": used_ms}
    for text, members in MISREADINGS:
        if text in stderr:
            return {"exit_code": code, "stderr": stderr, **members}
    return {"status": "program_error", "exit_code": code, "stderr": stderr,
            "runtime_error_type": "nonzero_exit"}


def run(folder, program, settings):
    """Members of the answer for a program that was started."""
    begun = time.monotonic()
    code, stdout, stderr = program.wait(settings.limit + GRACE)
    used_ms = (time.monotonic() - begun) * 1000
    if code != 0:
        return failed(code, stderr, used_ms)
    if settings.later:
        promote(folder)
    text, result = extract(stdout)
    return {"status": "success", "stdout": text, "stderr": stderr, "exit_code": 0,
            "time_used_ms": used_ms, "artifacts": collect(folder), "result": result}
