"""What the tests of the server share: the server as a process, and a client that signs."""
import http.client
import json
import pathlib
import secrets
import subprocess
import sys
import time

import signature

KEY_ID, SECRET, REGION = "LTAI-FAKE-0001", "fake-secret-0001", "cn-hangzhou"
ACTIONS = {"GET": "ListTemplates", "POST": "CreateTemplate"}
TEMPLATE = {"templateName": "tpl", "templateType": "CodeInterpreter", "cpu": 2, "memory": 4096,
            "networkConfiguration": {"networkMode": "PUBLIC"}}


class Server:
    def __init__(self, *options):
        program = pathlib.Path(__file__).with_name("agentrun_server.py")
        self.process = subprocess.Popen([sys.executable, "-B", str(program), *options], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().split()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def tell(self, **command):
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        self.process.communicate()


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


def date(seconds=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


class Client:
    """Signs as the reference says. Each keyword that call() knows spoils one request."""

    def __init__(self, port, token=""):
        self.host = f"127.0.0.1:{port}"
        self.token = token

    def headers(self, path, body, action, at):
        found = {"host": self.host, "x-acs-date": at}
        if self.token:
            found["x-acs-security-token"] = self.token
        if not path.startswith(f"/{signature.VERSION}"):
            kind = {"content-type": "application/json"} if body else {}
            return found | kind | {"x-acs-content-sha256": signature.UNSIGNED}
        kind = {"content-type": "application/json; charset=utf-8"} if body else {}
        return found | kind | {
            "accept": "application/json", "x-acs-version": signature.VERSION,
            "x-acs-action": action, "x-acs-signature-nonce": secrets.token_hex(16),
            "x-acs-content-sha256": signature.digest(body)}

    def sign(self, method, target, body, headers, secret, key_id, leave_out=()):
        path, _, query = target.partition("?")
        plane = signature.CONTROL if path.startswith(f"/{signature.VERSION}") else signature.DATA
        names = sorted(set(headers) - {"accept", *leave_out})
        canonical = signature.canonical_request(method, path, signature.pairs_of(query), headers,
                                                names, headers["x-acs-content-sha256"])
        if plane is signature.CONTROL:
            credential, hexed = key_id, signature.acs3(secret, canonical)
        else:
            day = headers["x-acs-date"][:10].replace("-", "")
            credential = f"{key_id}/{day}/{REGION}/agentrun/aliyun_v4_request"
            hexed = signature.agentrun4(secret, day, REGION, canonical)
        return {plane.header: f"{plane.algorithm} Credential={credential},"
                              f"SignedHeaders={';'.join(names)},Signature={hexed}"}

    def call(self, method, target, members=None, *, action=None, secret=SECRET, key_id=KEY_ID,
             at=None, leave_out=(), change=None, data=None):
        """change: headers that replace signed ones once the signature is made"""
        body = json.dumps(members).encode() if members is not None else data or b""
        headers = self.headers(target, body, action or ACTIONS.get(method), at or date())
        headers |= self.sign(method, target, body, headers, secret, key_id, leave_out)
        return self.send(method, target, body, headers | (change or {}))

    def send(self, method, target, body, headers):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if method == "POST":
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def sandbox(self, name=None, **more):
        members = {"templateName": "tpl", "sandboxIdleTimeoutSeconds": 60} | more
        return self.call("POST", "/sandboxes", members | ({"sandboxId": name} if name else {}))

    def execute(self, sandbox, code, **more):
        members = {"code": code, "timeout": 30} | ({} if "contextId" in more
                                                   else {"language": "python"}) | more
        return self.call("POST", f"/sandboxes/{sandbox}/contexts/execute", members)

    def context(self, sandbox, language="python"):
        reply = self.call("POST", f"/sandboxes/{sandbox}/contexts",
                          {"language": language, "cwd": "/home/user"})
        return reply.json()["id"]
