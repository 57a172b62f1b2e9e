"""The routes of both planes: what a request may say, and what it is answered."""
import re
import uuid

import contexts
import sandboxes
import signature
from errors import Refusal, body, media_type, not_found, to_json, violation

CONTROL = f"/{signature.VERSION}"
TEMPLATE = {
    "templateName": (str, True), "templateType": (str, True), "cpu": ((int, float), True),
    "memory": (int, True), "diskSize": (int, False), "networkConfiguration": (dict, True),
    "sandboxIdleTimeoutInSeconds": (int, False), "sandboxTTLInSeconds": (int, False),
    "ossConfiguration": (list, False), "environmentVariables": (dict, False),
    "executionRoleArn": (str, False), "description": (str, False), "workspaceId": (str, False),
    "credentialConfiguration": (dict, False), "allowAnonymousManage": (bool, False)}
TYPES = ("CodeInterpreter", "Browser", "AllInOne", "CustomImage")
NETWORKS = ("PUBLIC", "PRIVATE", "PUBLIC_AND_PRIVATE")
SANDBOX = {"templateName": (str, True), "sandboxIdleTimeoutSeconds": (int, False),
           "sandboxId": (str, False), "nasConfig": (dict, False), "ossMountConfig": (dict, False),
           "polarFsConfig": (dict, False)}
EXECUTE = {"code": (str, True), "timeout": (int, False), "language": (str, False),
           "contextId": (str, False)}
WRITE = {"path": (str, True), "content": (str, True), "mode": (str, False),
         "encoding": (str, False), "createDir": (bool, False)}
MKDIR = {"path": (str, True), "parents": (bool, False), "mode": (str, False)}
LIST = ("pageNumber", "pageSize", "status", "templateName", "templateType", "workspaceId",
        "workspaceIds")
IDLE_S, LONGEST_S = 600, 30


class Answer:
    def __init__(self, status, data, kind="application/json", headers=None):
        self.status = status
        self.body = data
        self.media_type = kind
        self.headers = headers or {}


def number(text, low, high):
    if not re.fullmatch("[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise violation(f"{text} is not a number from {low} to {high}")
    return int(text)


class Service:
    def __init__(self, root, board, account):
        self.board = board
        self.account = account
        self.sandboxes = sandboxes.Sandboxes(root, board)
        box = "/sandboxes/([^/]+)"
        context = f"{box}/contexts/([^/]+)"
        # method, path, operation, handler; with an action it is one of the control plane
        self.routes = [
            ("GET", f"{CONTROL}/templates", "ListTemplates", self.list_templates),
            ("GET", f"{CONTROL}/templates/([^/]+)", "GetTemplate", self.get_template),
            ("POST", f"{CONTROL}/templates", "CreateTemplate", self.create_template),
            ("GET", f"{CONTROL}/sandboxes", "ListSandboxes", self.list_sandboxes),
            ("POST", "/sandboxes", "create", self.create),
            ("GET", box, "get", self.get),
            ("POST", f"{box}/stop", "stop", self.stop),
            ("DELETE", box, "delete", self.delete),
            ("GET", f"{box}/health", "health", self.used(self.health)),
            ("GET", f"{box}/contexts", "contexts.list", self.used(self.list_contexts)),
            ("POST", f"{box}/contexts", "contexts.create", self.used(self.create_context)),
            ("POST", f"{box}/contexts/execute", "execute", self.used(self.execute)),
            ("GET", context, "contexts.get", self.used(self.get_context)),
            ("DELETE", context, "contexts.delete", self.used(self.delete_context)),
            ("GET", f"{box}/files", "files.read", self.used(self.read_file)),
            ("POST", f"{box}/files", "files.write", self.used(self.change_file("write", WRITE))),
            ("GET", f"{box}/filesystem", "filesystem.list", self.used(self.list_files)),
            ("GET", f"{box}/filesystem/stat", "filesystem.stat", self.used(self.stat_file)),
            ("GET", f"{box}/filesystem/download", "filesystem.download",
             self.used(self.download)),
            ("POST", f"{box}/filesystem/upload", "filesystem.upload", self.used(self.upload)),
            ("POST", f"{box}/filesystem/mkdir", "filesystem.mkdir",
             self.used(self.change_file("mkdir", MKDIR))),
            ("POST", f"{box}/filesystem/move", "filesystem.move", self.used(
                self.change_file("move", {"source": (str, True), "destination": (str, True)}))),
            ("POST", f"{box}/filesystem/remove", "filesystem.remove", self.used(
                self.change_file("remove", {"path": (str, True)})))]

    def route(self, request):
        """(operation, handler, names in the path); a path that nothing has is a violation later."""
        for method, pattern, operation, handler in self.routes:
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                return operation, handler, found.groups()
        return "unknown", None, ()

    def answer(self, request, operation, handler, names):
        try:
            return self.checked(request, operation, handler, names)
        except Refusal as no:
            if no.violation:
                self.board.note_violation(f"{request.method} {request.path}: {no.message}")
            return refusal(no)

    def checked(self, request, operation, handler, names):
        request.read()
        if not handler:
            raise violation("there is no such call", 404, "ERR_NOT_FOUND")
        action = operation if request.is_control() else None
        signature.verify(self.account, request, action)
        decoded = [signature.decode(name) for name in names]
        if [signature.encode(name) for name in decoded] != list(names):
            raise violation("the path is not encoded as it should be")
        return handler(request, *decoded)

    # Answers

    def envelope(self, data):
        members = {"code": "SUCCESS", "requestId": new_request_id(), "data": data}
        return Answer(200, to_json(members))

    def sandbox_answer(self, members):
        return self.envelope(members) if self.board.ways["envelope"] \
            else Answer(200, to_json(members))

    # Templates

    def list_templates(self, request):
        request.check_query(LIST)
        wanted = request.parameters
        page, size = number(wanted.get("pageNumber", "1"), 1, 10**9), \
            number(wanted.get("pageSize", "10"), 1, 100)
        items = [template.public() for template in list(self.sandboxes.templates.values())]
        for name in ("templateName", "templateType", "status"):
            items = [item for item in items if wanted.get(name, item[name]) == item[name]]
        return self.envelope({"items": items[(page - 1) * size:page * size], "pageNumber": page,
                              "pageSize": size, "total": len(items)})

    def get_template(self, request, name):
        request.check_query(())
        return self.envelope(self.sandboxes.template(name).public())

    def create_template(self, request):
        members = request.object(TEMPLATE)
        if members["templateType"] not in TYPES:
            raise violation("unknown templateType")
        if members["networkConfiguration"].get("networkMode") not in NETWORKS:
            raise violation("unknown networkMode")
        ways = self.board.ways
        return self.envelope(self.sandboxes.add_template(
            members, ways["template_delay"], ways["template_end"]).public())

    def list_sandboxes(self, request):
        request.check_query(("maxResults", "nextToken", "sandboxId", "status", "templateName",
                             "templateType"))
        items = [one.public() for one in list(self.sandboxes.all.values())]
        for name in ("sandboxId", "templateName", "status"):
            wanted = request.parameters.get(name)
            items = [item for item in items if wanted in (None, item[name])]
        return self.envelope({"items": items})

    # Sandboxes

    def create(self, request):
        members = request.object(SANDBOX)
        name = members.get("sandboxId")
        idle = members.get("sandboxIdleTimeoutSeconds", IDLE_S)
        if name is not None and not sandboxes.ID.fullmatch(name):
            raise violation("sandboxId is not fit for a path")
        if not 1 <= idle <= 21600:
            raise violation("sandboxIdleTimeoutSeconds is out of range")
        sandbox = self.sandboxes.create(members["templateName"], name, idle,
                                        self.board.ways["starting"])
        return self.sandbox_answer(sandbox.public())

    def get(self, _, name):
        return self.sandbox_answer(self.sandboxes.find(name).public())

    def stop(self, request, name):
        if request.body:
            raise violation("stop with a body")
        sandbox = self.sandboxes.find(name)
        self.sandboxes.end(sandbox)
        return self.sandbox_answer(sandbox.public())

    def delete(self, request, name):
        request.check_query(())
        return self.sandbox_answer(self.sandboxes.delete(name))

    def used(self, handler):
        """A call of a sandbox that runs."""
        def handle(request, name, *more):
            sandbox = self.sandboxes.use(name)
            try:
                return handler(request, sandbox, *more)
            except (FileNotFoundError, NotADirectoryError):
                raise not_found("path not found") from None
            except OSError as error:
                raise Refusal(400, "ERR_BAD_REQUEST", error.strerror) from None
            finally:
                self.sandboxes.release(sandbox)
        return handle

    def health(self, request, sandbox):
        request.check_query(())
        return Answer(200, to_json(sandbox.health()))

    # Contexts

    def list_contexts(self, _, sandbox):
        return Answer(200, to_json(self.sandboxes.list_contexts(sandbox)))

    def create_context(self, request, sandbox):
        members = request.object({"language": (str, True), "cwd": (str, False)})
        check_language(members["language"])
        cwd = members.get("cwd", "/home/user")
        sandbox.files.real(cwd)
        context = self.sandboxes.add_context(sandbox, members["language"], cwd)
        return Answer(200, to_json(context.public()))

    def get_context(self, _, sandbox, name):
        return Answer(200, to_json(self.sandboxes.context(sandbox, name).public()))

    def delete_context(self, _, sandbox, name):
        self.sandboxes.drop_context(sandbox, name)
        return Answer(204, b"", None)

    def execute(self, request, sandbox):
        members = request.object(EXECUTE)
        limit = members.get("timeout", LONGEST_S)
        if not 1 <= limit <= LONGEST_S:
            raise violation(f"timeout {limit} is not from 1 to {LONGEST_S}")
        if ("language" in members) == ("contextId" in members):
            raise violation("either language or contextId has to be there")
        if not members["code"]:
            raise violation("code is empty")
        if "contextId" in members:
            context = self.sandboxes.context(sandbox, members["contextId"])
            return self.run(context, members["code"], limit)
        check_language(members["language"])
        context = self.sandboxes.add_context(sandbox, members["language"], "/home/user")
        try:
            return self.run(context, members["code"], limit)
        finally:
            self.sandboxes.drop_context(sandbox, context.id)

    def run(self, context, code, limit):
        self.board.count("executions")
        return Answer(200, to_json(context.execute(code, limit, dict(self.board.ways))))

    # Files

    def read_file(self, request, sandbox):
        request.check_query(("path",), ("path",))
        return Answer(200, to_json(sandbox.files.read(request.parameters["path"])))

    def list_files(self, request, sandbox):
        request.check_query(("path", "depth"), ("path",))
        depth = number(request.parameters.get("depth", "1"), 1, 100)
        return Answer(200, to_json(sandbox.files.list(request.parameters["path"], depth)))

    def stat_file(self, request, sandbox):
        request.check_query(("path",), ("path",))
        return Answer(200, to_json(sandbox.files.stat(request.parameters["path"])))

    def download(self, request, sandbox):
        request.check_query(("path",), ("path",))
        path = request.parameters["path"]
        disposition = f"attachment; filename*=UTF-8''{signature.encode(path.rpartition('/')[2])}"
        return Answer(200, sandbox.files.content(path), "application/octet-stream",
                      {"Content-Disposition": disposition})

    def upload(self, request, sandbox):
        content_type = request.headers.get("content-type", "")
        if not content_type.startswith("multipart/form-data; boundary="):
            raise violation("an upload is multipart/form-data")
        return Answer(200, to_json(sandbox.files.upload(content_type, request.body)))

    def change_file(self, verb, members):
        def handle(request, sandbox):
            return Answer(200, to_json(getattr(sandbox.files, verb)(request.object(members))))
        return handle


def check_language(language):
    if language not in contexts.LANGUAGES:
        raise violation(f"language {language} is not known")


def new_request_id():
    return str(uuid.uuid4()).upper()


def refusal(no):
    request_id = new_request_id()
    return Answer(no.status, body(no, request_id), media_type(no.shape),
                  {"x-acs-request-id": request_id})
