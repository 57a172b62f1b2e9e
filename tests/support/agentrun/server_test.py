"""The test server proved: the reference's vectors, what it refuses, and how it behaves."""
import http.client
import time
import unittest

import signature
from testing import Client, Server, TEMPLATE, date

AT = "2026-01-02T03:04:05Z"
NONCE = "0123456789abcdef0123456789abcdef"
CONTROL_HOST = "agentrun.cn-hangzhou.aliyuncs.com"
DATA_HOST = "1234567890123456-ram.agentrun-data.cn-hangzhou.aliyuncs.com"
BOX = "01KAAAAAAAAAAAAAAAAAAAAAAA"
BODY = (b'{"templateName":"ragflow-python-default","templateType":"CodeInterpreter","cpu":2,'
        b'"memory":4096,"diskSize":512,"sandboxIdleTimeoutInSeconds":1800,'
        b'"sandboxTTLInSeconds":21600,"networkConfiguration":{"networkMode":"PUBLIC"}}')

# id, method, path, query, host, further headers, body, hash of the canonical request, signature
CONTROL_VECTORS = [
    ("A0", "POST", "/", "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"
     "&RegionId=cn-shanghai", "ecs.cn-shanghai.aliyuncs.com",
     {"x-acs-action": "RunInstances", "x-acs-version": "2014-05-26",
      "x-acs-date": "2023-10-26T10:22:32Z",
      "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d"}, b"",
     "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259",
     "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"),
    ("A1", "GET", "/2025-09-10/templates", "pageSize=10&pageNumber=1", CONTROL_HOST,
     {"x-acs-action": "ListTemplates"}, b"",
     "f973b2893fa7a447a7dc64d3cf1d87004978c854169d09ba14bdb49651b222a1",
     "ee5a417579e7779798dc4f9fd1e65128448cac2bb8885595bc9bd76bf36eb998"),
    ("A2", "POST", "/2025-09-10/templates", "", CONTROL_HOST,
     {"x-acs-action": "CreateTemplate", "content-type": "application/json; charset=utf-8"}, BODY,
     "39bd189e425aaf8b1f0ade9f523b72f59f9bf5ccc92a24537948a0a1f67e5681",
     "4107a871bb93737ec32222e451905a578ad795330d998a61fe64785d68aa9ba9"),
    ("A3", "GET", "/2025-09-10/templates/my%20tpl%2B1", "", CONTROL_HOST,
     {"x-acs-action": "GetTemplate", "x-acs-accesskey-id": "LTAI-FAKE-0001",
      "x-acs-security-token": "fake-sts-token=="}, b"",
     "bbd51f8c0b862ee3b3043e2f4dcb865f0a57fed127eacdafe04ac4053dca05f6",
     "d1c0b73b754236c8a8cb7bb9cb7df432a339eab970cbd86395f3dca131891d46"),
]
# id, method, path, query, host, further headers, hash of the canonical request, signature
DATA_VECTORS = [
    ("D1", "POST", "/sandboxes", "", DATA_HOST, {},
     "9dd9bea7f6866ac1a9791994affdcb59f04ff9e24aae86c3ef0eb049b1aa72e2",
     "5e4860cbfc243eee516b9c18b69bac3e425bfbaa0d1039c7cd436a0129211553"),
    ("D2", "POST", f"/sandboxes/{BOX}/contexts/execute", "", DATA_HOST, {},
     "5180bc104c4f189688941afc14ca4724ea050d5f3b25ac7c2caec4bb1f508c97",
     "956b0525e28950a38316202446a06051275fa96e9b468bfdcd741eefb4814793"),
    ("D2b", "POST", f"/sandboxes/{BOX}/contexts/execute", "", DATA_HOST,
     {"content-type": "application/json"},
     "fbb074dac32eb8b8da22ca8c0ff4c70e5beb8da28c9cf517b6431240a3ab77ee",
     "6ce319b3c3047e5445ff35aed91c10b4bf28a9e0ca369c9e6a24deea3ab217d1"),
    ("D3", "GET", f"/sandboxes/{BOX}/filesystem/download",
     "path=%2Fhome%2Fuser%2Fart%20facts%2B%C3%A9~%2A.png", DATA_HOST,
     {"x-acs-security-token": "fake-sts-token=="},
     "3fb67a987108e292dde797d5ccea1a5fdc255b93c86725cece166935136c9fec",
     "39dd5afe47a225ec130b20e67881e96d3371a218535a3b42af90098fef574051"),
    ("D4", "DELETE", f"/sandboxes/{BOX}", "", DATA_HOST, {},
     "c3ef4f12f880ffba0ebd31ca4c0ddd710f75a946bcbac9edd8eab7eba9bd882e",
     "6f669bcf1c460697300232e3798653be9f4749bfd71f6f74d4dd45dc8d5d6bff"),
    ("D5", "POST", "/sandboxes", "", "127.0.0.1:18080", {},
     "cb657d8d562e68f01e0d48d983088eb147952e8977bc58b04a5d12ad22ccdb48",
     "89d13d518b180fce47dee4bdebfa47f1df99c3fd5987a37bcc0aac9de542776c"),
    ("D6", "GET", f"/sandboxes/{BOX}/filesystem", "path=/home/user&depth=2", DATA_HOST, {},
     "6eb710667b51c6910fbad09f1596d9011994a474269b96ac657b97e75b17b5c3",
     "8cae35fa2fd2b4582063714020ed48d9d0ec5e1016c57265732b20c0f19b96eb"),
    ("D7", "DELETE", f"/sandboxes/{BOX}", "", DATA_HOST, {"x-acs-date": "2026-12-31T23:59:59Z"},
     "f4cf9b28f395420322eeeab59fec3c39ccaebfd7fb0f63ac4e69992a1622a0a1",
     "fb1d51031b172384b6043e6bb80bdd9bb072b11834e1caacc05d5fb5eb90e139"),
]


class Vectors(unittest.TestCase):
    def test_control_plane(self):
        for name, method, path, query, host, more, body, crh, expected in CONTROL_VECTORS:
            headers = {"host": host, "x-acs-version": "2025-09-10", "x-acs-date": AT,
                       "x-acs-signature-nonce": NONCE,
                       "x-acs-content-sha256": signature.digest(body)} | more
            canonical = signature.canonical_request(method, path, signature.pairs_of(query),
                                                    headers, sorted(headers),
                                                    signature.digest(body))
            secret = "YourAccessKeySecret" if name == "A0" else "fake-secret-0001"
            with self.subTest(name):
                self.assertEqual(signature.digest(canonical.encode()), crh)
                self.assertEqual(signature.acs3(secret, canonical), expected)

    def test_data_plane(self):
        for name, method, path, query, host, more, crh, expected in DATA_VECTORS:
            headers = {"host": host, "x-acs-date": AT,
                       "x-acs-content-sha256": signature.UNSIGNED} | more
            canonical = signature.canonical_request(method, path, signature.pairs_of(query),
                                                    headers, sorted(headers), signature.UNSIGNED)
            day = headers["x-acs-date"][:10].replace("-", "")
            with self.subTest(name):
                self.assertEqual(signature.digest(canonical.encode()), crh)
                self.assertEqual(
                    signature.agentrun4("fake-secret-0001", day, "cn-hangzhou", canonical),
                    expected)

    def test_key_chain(self):
        keys = signature.day_key("fake-secret-0001", "20260102", "cn-hangzhou")
        self.assertEqual([key.hex() for key in keys], [
            "b448bd40798c45d80ce6791556455ac0ec685db281464438e9154672aea9f433",
            "7e3d0db5dbf40783dfbf557886cc10f4af88199f7eeed5f1339dcb42e10ef23d",
            "128d387b6cf060cb247b812435985b385f79e918e099ad25033cd1a5b28c2ad5",
            "923860a1f31b31428b1212ca9f4581ea95d8725ff2e0fd47f1d49d74e6a3a825"])


class Serving(unittest.TestCase):
    options = ()

    def setUp(self):
        self.server = Server(*self.options)
        self.addCleanup(self.server.stop)
        self.client = Client(self.server.port)
        self.server.tell(template={"templateName": "tpl", "status": "READY"})

    def violations(self):
        return self.server.tell()["violations"]

    def items(self, code, **more):
        reply = self.client.execute("box", code, **more)
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json()["results"]


class Signatures(Serving):
    options = ("--token", "fake-sts-token==")

    def setUp(self):
        super().setUp()
        self.client = Client(self.server.port, "fake-sts-token==")

    def refused(self, status, word, path="/sandboxes/box", method="DELETE", **how):
        self.server.tell(forget=True)
        reply = self.client.call(method, path, **how)
        self.assertEqual(reply.status, status, reply.body)
        self.assertIn(word, "".join(self.violations()))
        return reply

    def test_good_ones_pass(self):
        self.assertEqual(self.client.call("GET", "/2025-09-10/templates").status, 200)
        self.assertEqual(self.client.sandbox("box").status, 200)
        self.assertEqual(self.client.call("DELETE", "/sandboxes/box").status, 200)
        self.assertEqual(self.violations(), [])

    def test_bad_ones_of_both_planes_do_not(self):
        for path in ("/sandboxes/box", "/2025-09-10/templates"):
            reply = self.refused(400 if "2025" in path else 403, "match" if "2025" in path
                                 else "verification", path, "GET", secret="other")
            self.assertIn(b"SignatureDoesNotMatch" if "2025" in path else b"ERR_FORBIDDEN",
                          reply.body)
            self.refused(400, "too far", path, "GET", at=date(-20 * 60))
            self.refused(400, "too far", path, "GET", at=date(20 * 60))
            self.refused(400, "not signed", path, "GET", leave_out=["x-acs-security-token"])
            self.refused(400, "not signed", path, "GET", leave_out=["host"])
            self.refused(403, "token", path, "GET",
                         change={"x-acs-security-token": "another"})

    def test_the_other_planes_headers_are_refused(self):
        self.refused(400, "authorization", change={"authorization": "Basic eA=="})
        self.refused(401, "missing", change={"agentrun-authorization": "AGENTRUN4-HMAC-SHA256"})

    def test_a_nonce_counts_once(self):
        body = b""
        headers = self.client.headers("/2025-09-10/templates", body, "ListTemplates", date())
        headers |= self.client.sign("GET", "/2025-09-10/templates", body, headers,
                                    "fake-secret-0001", "LTAI-FAKE-0001")
        statuses = [self.client.send("GET", "/2025-09-10/templates", body, headers).status
                    for _ in range(2)]
        self.assertEqual(statuses, [200, 400])
        self.assertIn("nonce", "".join(self.violations()))

    def test_the_body_and_the_action_belong_to_the_signature(self):
        self.refused(400, "content-sha256", "/2025-09-10/templates", "POST", data=b"{}",
                     change={"x-acs-content-sha256": "0" * 64})
        self.refused(400, "x-acs-action", "/2025-09-10/templates", "GET", action="GetTemplate")

    def test_an_unknown_key_is_told_and_is_no_violation(self):
        reply = self.client.call("GET", "/2025-09-10/templates", key_id="LTAI-OTHER")
        self.assertEqual((reply.status, reply.json()["Code"]),
                         (404, "InvalidAccessKeyId.NotFound"))
        self.assertEqual(self.violations(), [])


class Strictness(Serving):
    def test_what_no_client_may_send(self):
        self.client.sandbox("box")
        context = self.client.context("box")
        execute = "/sandboxes/box/contexts/execute"
        code = {"code": "1"}
        for word, method, target, members in [
                ("unknown keys", "GET", "/sandboxes/box/filesystem?depth=1", None),
                ("no such call", "POST", "/sandboxes/box", {}),
                ("no such call", "GET", "/sandboxes/box/executions", None),
                ("unknown member", "POST", "/sandboxes", {"templateName": "tpl", "idle": 1}),
                ("is missing", "POST", "/sandboxes", {"sandboxId": "a"}),
                ("wrong type", "POST", execute, code | {"timeout": True, "language": "python"}),
                ("wrong type", "POST", execute, code | {"timeout": 1.5, "language": "python"}),
                ("is not from 1 to 30", "POST", execute,
                 code | {"timeout": 31, "language": "python"}),
                ("either", "POST", execute, code),
                ("either", "POST", execute, code | {"language": "python", "contextId": context}),
                ("not known", "POST", execute, code | {"language": "nodejs"}),
                ("not absolute", "POST", "/sandboxes/box/contexts",
                 {"language": "python", "cwd": "../x"})]:
            self.server.tell(forget=True)
            reply = self.client.call(method, target, members)
            with self.subTest(word=word, target=target):
                self.assertIn(reply.status, (400, 404))
                self.assertIn(word, "".join(self.violations()))

    def test_queries_that_can_be_read_in_two_ways(self):
        for query in ("path=a&path=b", "path", "path=%FF"):
            self.server.tell(forget=True)
            reply = self.client.send("GET", f"/sandboxes/box/filesystem?{query}", b"", {})
            self.assertEqual(reply.status, 400)
            self.assertEqual(len(self.violations()), 1)

    def test_content_types_and_bodies(self):
        for word, how in [("content-type", {"leave_out": ["content-type"],
                                            "change": {"content-type": "text/plain"}}),
                          ("no JSON", {"data": b'{"templateName":"a","templateName":"b"}'}),
                          ("no JSON", {"data": b'{"templateName":NaN}'}),
                          ("not belong", {"change": {"x-other": "1"}})]:
            self.server.tell(forget=True)
            reply = self.client.call("POST", "/sandboxes",
                                     *([] if "data" in how else [{"templateName": "tpl"}]), **how)
            with self.subTest(word):
                self.assertEqual(reply.status, 400)
                self.assertIn(word, "".join(self.violations()))


class Lives(Serving):
    def test_a_template_becomes_ready(self):
        self.server.tell(ways={"template_delay": 0.2})
        made = self.client.call("POST", "/2025-09-10/templates", TEMPLATE | {
            "templateName": "new", "sandboxIdleTimeoutInSeconds": 1800}).json()["data"]
        refused = self.client.sandbox("box", templateName="new")
        while self.server.tell()["templates"]["new"] == "CREATING":
            pass
        self.assertEqual((made["status"], made["sandboxIdleTimeoutInSeconds"]),
                         ("CREATING", "1800"))
        self.assertEqual(refused.status, 400)
        self.assertEqual(self.client.sandbox("box", templateName="new").status, 200)
        again = self.client.call("POST", "/2025-09-10/templates", TEMPLATE)
        self.assertEqual(again.status, 409)

    def test_a_sandbox_lives_once(self):
        first, second = self.client.sandbox("box"), self.client.sandbox("box")
        got = self.client.call("GET", "/sandboxes/box").json()["data"]
        gone = self.client.call("DELETE", "/sandboxes/box").json()["data"]
        self.assertEqual((first.status, second.status), (200, 409))
        self.assertEqual((got["status"], gone["status"]), ("READY", "READY"))
        self.assertEqual(self.client.call("DELETE", "/sandboxes/box").status, 404)
        self.assertEqual(self.server.tell()["alive"], [])

    def test_a_new_sandbox_is_not_healthy_at_once(self):
        self.server.tell(ways={"starting": 0.2})
        self.client.sandbox("box")
        first = self.client.call("GET", "/sandboxes/box/health")
        while (last := self.client.call("GET", "/sandboxes/box/health")).status == 502:
            pass
        self.assertEqual((first.status, first.headers["content-type"]), (502, "text/html"))
        self.assertEqual(last.json()["status"], "ok")

    def test_an_idle_sandbox_ends_and_so_does_its_program(self):
        self.client.sandbox("box", sandboxIdleTimeoutSeconds=1)
        context = self.client.context("box")
        pid = int(self.items("import os\nprint(os.getpid())", contextId=context)[0]["text"])
        end = time.monotonic() + 20
        while self.server.tell()["alive"] and time.monotonic() < end:
            time.sleep(0.01)
        with self.assertRaises(FileNotFoundError):
            while time.monotonic() < end:
                open(f"/proc/{pid}/stat").close()
        self.assertEqual(self.client.call("GET", "/sandboxes/box").json()["data"]["status"],
                         "TERMINATED")
        self.assertEqual(self.client.execute("box", "1").status, 404)


class Execution(Serving):
    def setUp(self):
        super().setUp()
        self.client.sandbox("box")

    def test_items(self):
        code = ("import sys\nprint('out')\nprint('err', file=sys.stderr)\n"
                "class Picture:\n    def __repr__(self):\n        return '<Picture>'\n"
                "    def _repr_png_(self):\n        return 'iVBORw0KGgo='\nPicture()")
        items = {item["type"]: item for item in self.items(code)}
        self.assertEqual(items["stdout"], {"type": "stdout", "text": "out\n"})
        self.assertEqual(items["stderr"], {"type": "stderr", "text": "err\n"})
        self.assertEqual(items["result"], {
            "type": "result", "executionCount": 1,
            "data": {"text/plain": "<Picture>", "image/png": "iVBORw0KGgo="}})
        self.assertEqual(items["endOfExecution"], {"type": "endOfExecution", "status": "ok"})

    def test_ways_to_tell_of_an_error(self):
        for way, expected in {"name": {"name": "ValueError", "value": "no"},
                              "text": {"text": "ValueError: no"}}.items():
            self.server.tell(ways={"errors": way})
            items = self.items("raise ValueError('no')")
            self.assertEqual(items[0], {"type": "error"} | expected)
            self.assertEqual(items[-1], {"type": "endOfExecution", "status": "error"})
        self.server.tell(ways={"errors": "traceback", "end_items": False})
        self.assertIn("ValueError: no", self.items("raise ValueError('no')")[0]["traceback"][-1])

    def test_texts_without_their_ends(self):
        self.server.tell(ways={"final_newlines": False, "results": "text", "end_items": False})
        self.assertEqual(self.items("print(1)\nprint(2)\n3"), [
            {"type": "stdout", "text": "1\n2"},
            {"type": "result", "text": "3", "executionCount": 1}])

    def test_contexts_keep_their_names_and_share_none(self):
        one, other = self.client.context("box"), self.client.context("box")
        script = self.client.context("box", "javascript")
        self.items("x = 1", contextId=one)
        self.items("globalThis.y = 2", contextId=script)
        self.assertEqual(self.items("print(x)", contextId=one)[0]["text"], "1\n")
        self.assertEqual(self.items("print(x)", contextId=other)[0]["name"], "NameError")
        self.assertEqual(self.items("print(x)")[0]["name"], "NameError")
        self.assertEqual(self.items("console.log(y)", contextId=script)[0]["text"], "2\n")
        deleted = self.client.call("DELETE", f"/sandboxes/box/contexts/{one}")
        listed = self.client.call("GET", "/sandboxes/box/contexts").json()
        self.assertEqual((deleted.status, deleted.body), (204, b""))
        self.assertEqual({context["id"] for context in listed}, {other, script})
        self.assertEqual(self.client.execute("box", "1", contextId=one).json()["error"]["code"],
                         "ERR_NOT_FOUND")

    def test_a_loop_runs_while_a_cell_does(self):
        items = self.items("import asyncio\nasync def f():\n    return 7\nprint(await f())\n"
                           "asyncio.run(f())")
        self.assertEqual(items[0]["text"], "7\n")
        error = next(item for item in items if item["type"] == "error")
        self.assertIn("running event loop", error["value"])

    def test_ways_of_a_timeout(self):
        expected = {"item": [{"type": "timeout", "text": "execution exceeded 1 seconds"}],
                    "end": [{"type": "endOfExecution", "status": "timeout"}],
                    "error": [{"type": "error", "name": "TimeoutError",
                               "value": "Execution timed out after 1 seconds"},
                              {"type": "endOfExecution", "status": "error"}]}
        context = self.client.context("box")
        loop = "print('begun', flush=True)\nwhile True:\n    pass"
        for way, items in expected.items():
            self.server.tell(ways={"timeout": way})
            self.assertEqual(self.items(loop, timeout=1, contextId=context),
                             [{"type": "stdout", "text": "begun\n"}, *items])
        for way, status in {"408": 408, "504": 504, "400": 400}.items():
            self.server.tell(ways={"timeout": way})
            self.assertEqual(self.client.execute("box", loop, timeout=1).status, status)

    def test_a_kernel_that_dies_is_replaced(self):
        context = self.client.context("box")
        items = self.items("print('last', flush=True)\nimport os\nos._exit(3)", contextId=context)
        self.assertEqual([item.get("text", item.get("name")) for item in items],
                         ["last\n", "KernelDied", None])
        self.assertEqual(self.items("print(1)", contextId=context)[0]["text"], "1\n")

    def test_much_output(self):
        self.assertEqual(len(self.items("print('é' * (1 << 20))")[0]["text"]), (1 << 20) + 1)


class FilesOfASandbox(Serving):
    def setUp(self):
        super().setUp()
        self.client.sandbox("box")

    def get(self, call, path, more=""):
        return self.client.call("GET", f"/sandboxes/box/{call}?path={signature.encode(path)}{more}")

    def post(self, call, **members):
        return self.client.call("POST", f"/sandboxes/box/{call}", members)

    def test_a_file_from_its_making_to_its_end(self):
        path = "/home/user/a b/é+*.txt"
        self.assertEqual(self.post("filesystem/mkdir", path="/home/user/a b", parents=True,
                                   mode="0755").status, 200)
        self.post("files", path=path, content="text", mode="600", encoding="utf-8", createDir=True)
        self.assertEqual(self.get("filesystem/download", path).body, b"text")
        self.assertEqual(self.get("files", path).json()["content"], "text")
        entry = self.get("filesystem/stat", path).json()["entry"]
        self.assertEqual((entry["type"], entry["size"], entry["mode"]), ("file", 4, "0600"))
        listed = self.get("filesystem", "/home/user", "&depth=2").json()["entries"]
        self.assertEqual([one["path"] for one in listed], ["/home/user/a b", path])
        self.post("filesystem/move", source=path, destination="/home/user/c")
        self.assertEqual(self.post("filesystem/remove", path="/home/user/c").status, 200)
        self.assertEqual(self.get("filesystem/download", "/home/user/c").status, 404)
        self.assertEqual(self.violations(), [])

    def test_an_upload(self):
        form = (b'--XX\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n'
                b"Content-Type: application/octet-stream\r\n\r\n\0\r\n\xff\r\n--XX\r\n"
                b'Content-Disposition: form-data; name="path"\r\n\r\n/home/user/f\r\n--XX--\r\n')
        reply = self.client.call("POST", "/sandboxes/box/filesystem/upload", data=form,
                                 leave_out=["content-type"],
                                 change={"content-type": "multipart/form-data; boundary=XX"})
        self.assertEqual((reply.status, reply.json()), (200, {"path": "/home/user/f", "size": 4}))
        self.assertEqual(self.get("filesystem/download", "/home/user/f").body, b"\0\r\n\xff")
        self.assertEqual(self.get("files", "/home/user/f").json()["encoding"], "base64")


class Faults(Serving):
    def fault(self, **members):
        self.server.tell(faults=[members])

    def test_errors_of_every_shape(self):
        for shape, part in {"service": b'"code":"E"', "nested": b'{"error":{"code":"E"',
                            "gateway": b'"Code":"E"', "html": b"<html>", "text": b"words",
                            "empty": b""}.items():
            self.fault(on="create", error={"status": 503, "code": "E", "message": "words",
                                           "shape": shape}, headers={"Retry-After": "1"})
            reply = self.client.sandbox("box")
            self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "1"))
            self.assertIn(part, reply.body)
            self.assertTrue(reply.headers["x-acs-request-id"])
        self.assertEqual(self.client.sandbox("box").status, 200)

    def test_an_answer_that_is_lost(self):
        self.fault(on="create", cut="unanswered", work=True)
        with self.assertRaises(http.client.RemoteDisconnected):
            self.client.sandbox("box")
        self.fault(on="create", cut="unanswered")
        with self.assertRaises(http.client.RemoteDisconnected):
            self.client.sandbox("never")
        self.assertEqual(self.server.tell()["alive"], ["box"])

    def test_an_answer_that_is_cut(self):
        self.fault(on="create", cut="midway")
        with self.assertRaises(http.client.IncompleteRead):
            self.client.sandbox("box")

    def test_counting(self):
        self.fault(on="*", skip=1, times=2, answer={"status": 500, "body": "x", "repeat": 3})
        replies = [self.client.call("GET", "/2025-09-10/templates") for _ in range(4)]
        self.assertEqual([reply.status for reply in replies], [200, 500, 500, 200])
        self.assertEqual(replies[1].body, b"xxx")

    def test_a_code_other_than_success(self):
        self.fault(on="create", patch={"code": "ERR_INTERNAL_SERVER_ERROR", "data": None})
        reply = self.client.sandbox("box")
        self.assertEqual((reply.status, sorted(reply.json())), (200, ["code", "requestId"]))

    def test_a_sandbox_that_expires(self):
        self.client.sandbox("box")
        self.fault(on="execute", die=True)
        self.assertEqual(self.client.execute("box", "1").status, 404)
        self.assertEqual(self.server.tell()["alive"], [])

    def test_a_bare_sandbox(self):
        self.server.tell(ways={"envelope": False})
        self.assertEqual(self.client.sandbox("box").json()["sandboxId"], "box")


if __name__ == "__main__":
    unittest.main()
