"""The service's look at a program before it runs (reference ragflow 4.3), with what it wrongly
refuses and what it misses. Findings are (line, what it is)."""
import ast
import re

MODULES = {"os", "subprocess", "sys", "shutil", "socket", "ctypes", "pickle", "threading",
           "multiprocessing", "asyncio", "http.client", "ftplib", "telnetlib", "builtins"}
CALLS = {"eval", "exec", "open", "__import__", "compile", "input", "system", "popen", "remove",
         "rename", "rmdir", "chdir", "chmod", "chown", "getattr", "setattr", "globals", "locals",
         "ctypes"}
SCRIPT_RULES = [
    (re.compile(rf"require\(\s*(['\"`]){module}\1\s*\)"), f"require of {module}")
    for module in ("child_process", "fs", "worker_threads")
] + [
    (re.compile(r"\beval\s*\("), "call of eval"),
    (re.compile(r"\bFunction\s*\("), "call of Function"),
    (re.compile(r"\bprocess\.binding\s*\("), "call of process.binding"),
]


def name_of_call(node):
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else None


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def bound(node):
    """Names that a definition or an assignment binds."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def issues_of(node):
    for module in imported(node):
        if module.split(".")[0] in MODULES:
            yield f"import of {module}"
    if name_of_call(node) in CALLS:
        yield f"call of {name_of_call(node)}"
    for name in bound(node):
        if name in CALLS:
            yield f"definition of {name}"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) \
            and node.value.id in MODULES:
        yield f"use of {node.value.id}.{node.attr}"
    if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant) \
            and isinstance(node.right, ast.Constant):
        yield "operation between literals"


def scan_python(code):
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError) as error:
        return [(-1, f"syntax error: {error}")]
    return [(node.lineno, issue) for node in ast.walk(tree) for issue in issues_of(node)]


def scan_script(code):
    return [(code.count("\n", 0, match.start()) + 1, issue)
            for rule, issue in SCRIPT_RULES for match in rule.finditer(code)]


def scan(language, code):
    return scan_python(code) if language == "python" else scan_script(code)
