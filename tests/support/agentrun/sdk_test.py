"""The official SDK against the test server: what passes here shows that the server behaves as the
service does. Nothing of it knows Sandpiper. Started by "run", which brings the SDK."""
import os
import unittest

from testing import KEY_ID, REGION, SECRET, Server

TOKEN = "fake-sts-token=="
# The SDK reads them when it is loaded; it takes away one scheme and calls by https otherwise.
os.environ.update({"AGENTRUN_ACCESS_KEY_ID": KEY_ID, "AGENTRUN_ACCESS_KEY_SECRET": SECRET,
                   "AGENTRUN_SECURITY_TOKEN": TOKEN, "AGENTRUN_ACCOUNT_ID": "1234567890123456",
                   "AGENTRUN_REGION": REGION, "DISABLE_BREAKING_CHANGES_WARNING": "1"})
SERVER = Server("--token", TOKEN)
os.environ.update({"AGENTRUN_CONTROL_ENDPOINT": f"http://{SERVER.url}",
                   "AGENTRUN_DATA_ENDPOINT": SERVER.url})
for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
    os.environ.pop(name, None)

from agentrun.sandbox import Sandbox, Template  # noqa: E402 (after its environment)
from agentrun.sandbox.model import (PageableInput, TemplateInput,  # noqa: E402
                                    TemplateType)
from agentrun.utils.config import Config  # noqa: E402
from agentrun.utils.exception import (ClientError, ResourceNotExistError,  # noqa: E402
                                      ServerError)

CONFIG = Config(timeout=20000)  # milliseconds where the control plane connects
KIND = TemplateType.CODE_INTERPRETER


def tearDownModule():
    SERVER.stop()


class Sdk(unittest.TestCase):
    def setUp(self):
        SERVER.tell(forget=True, template={"templateName": "tpl", "status": "READY"})

    def tearDown(self):
        seen = SERVER.tell(end=True)
        self.assertEqual(seen["violations"], [], "the SDK's requests are what the server expects")

    def sandbox(self, **more):
        return Sandbox.create(KIND, "tpl", sandbox_idle_timeout_seconds=60, config=CONFIG, **more)

    def test_templates(self):
        made = Template.create(TemplateInput(template_name="made by sdk+1", template_type=KIND),
                               config=CONFIG)
        got = Template.get_by_name("made by sdk+1", config=CONFIG)
        names = [one.template_name for one in Template.list_templates(
            PageableInput(page_number=1, page_size=10), config=CONFIG)]
        self.assertEqual((made.status, got.template_name), ("READY", "made by sdk+1"))
        self.assertIn("tpl", names)
        with self.assertRaises(ResourceNotExistError):
            Template.get_by_name("missing", config=CONFIG)
        with self.assertRaisesRegex(ClientError, "already exists"):
            Template.create(TemplateInput(template_name="tpl", template_type=KIND), config=CONFIG)

    def test_a_sandbox_from_its_making_to_its_end(self):
        sandbox = self.sandbox(sandbox_id="SDK-1")
        found = Sandbox.connect("SDK-1", config=CONFIG)
        listed = Sandbox.list(config=CONFIG)
        self.assertEqual((sandbox.sandbox_id, found.status), ("SDK-1", "READY"))
        self.assertEqual([one.sandbox_id for one in listed.sandboxes], ["SDK-1"])
        self.assertTrue(sandbox.check_health()["status"] == "ok")
        with self.assertRaises(ClientError):
            self.sandbox(sandbox_id="SDK-1")
        Sandbox.stop_by_id("SDK-1", config=CONFIG)
        self.assertEqual(Sandbox.connect("SDK-1", config=CONFIG).status, "TERMINATED")
        Sandbox.delete_by_id("SDK-1", config=CONFIG)
        with self.assertRaises(ResourceNotExistError):
            Sandbox.delete_by_id("SDK-1", config=CONFIG)
        self.assertEqual(SERVER.tell()["alive"], [])

    def test_programs(self):
        sandbox = self.sandbox()
        with sandbox.context.create() as context:
            context.execute("x = 41")
            answer = context.execute("print(x + 1)")
            broken = context.execute("1 / 0")
        script = self.sandbox().context.execute("console.log('js')", language="javascript")
        self.assertEqual(answer["results"][0], {"type": "stdout", "text": "42\n"})
        self.assertEqual(broken["results"][0], {
            "type": "error", "name": "ZeroDivisionError", "value": "division by zero"})
        self.assertEqual(script["results"][0]["text"], "js\n")
        self.assertTrue(script["contextId"])

    def test_files(self):
        sandbox = self.sandbox()
        path = "/home/user/a b/é+~*.txt"
        sandbox.file.write(path, "content")
        self.assertEqual(sandbox.file.read(path)["content"], "content")
        system = sandbox.file_system
        self.assertEqual(system.stat(path)["entry"]["size"], 7)
        self.assertEqual([one["name"] for one in system.list("/home/user", 2)["entries"]],
                         ["a b", "é+~*.txt"])
        system.mkdir("/home/user/c")
        system.move(path, "/home/user/c/d")
        system.remove("/home/user/c")
        with self.assertRaises(ClientError):
            system.stat("/home/user/c")

    def test_uploads_and_downloads(self):
        sandbox = self.sandbox()
        with open(__file__, "rb") as file:
            content = file.read()
        sandbox.file_system.upload(__file__, "/home/user/up.bin")
        there = sandbox.file_system.stat("/home/user/up.bin")["entry"]
        self.assertEqual(there["size"], len(content))

    def test_failures(self):
        SERVER.tell(faults=[{"on": "create", "error": {
            "status": 500, "code": "ERR_INTERNAL_SERVER_ERROR", "message": "broken"}}])
        with self.assertRaisesRegex(ServerError, "broken"):
            self.sandbox()
        SERVER.tell(faults=[{"on": "create", "answer": {
            "body": '{"code":"ERR_QUOTA","message":"no more"}'}}])
        with self.assertRaisesRegex(ClientError, "no more"):
            self.sandbox()


if __name__ == "__main__":
    unittest.main()
