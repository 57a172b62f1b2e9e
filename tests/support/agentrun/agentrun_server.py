"""A server for tests that speaks both planes of Aliyun AgentRun on one port and really runs the
programs it gets (reference aliyun-agentrun): without isolation. Every request's signature is
recomputed, and what no client may send is refused and recorded. It prints "ready PORT" when it
listens on loopback.

Tests talk to it on standard input: one JSON object a line, answered by one line with all that was
seen (switchboard.py says which members there are). An empty object only asks.
"""
import argparse
import json
import pathlib
import shutil
import signal
import sys
import tempfile
import threading

import server
import service
import signature
import switchboard


def options():
    parser = argparse.ArgumentParser(description="Aliyun AgentRun for tests")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--key-id", default="LTAI-FAKE-0001")
    parser.add_argument("--secret", default="fake-secret-0001")
    parser.add_argument("--token", default="", help="of temporary credentials")
    parser.add_argument("--region", default="cn-hangzhou")
    return parser.parse_args()


def obey(board, sandboxes):
    """Obeys the test until standard input ends, as it does when the test dies."""
    for line in sys.stdin:
        command = json.loads(line)
        if "template" in command:
            template = command.pop("template")
            sandboxes.set_template(template["templateName"], template["status"])
        if command.pop("end", False):
            sandboxes.end_all()
        board.change(command)
        print(json.dumps(board.seen() | sandboxes.seen()), flush=True)


def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit


def main():
    given = options()
    signal.signal(signal.SIGTERM, end)
    root = pathlib.Path(tempfile.mkdtemp(prefix="agentrun-"))
    board = switchboard.Switchboard()
    account = signature.Account(given.key_id, given.secret, given.token, given.region)
    the_service = service.Service(root, board, account)
    try:
        listener = server.Server(given.port, the_service, board)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        print("ready", listener.server_port, flush=True)
        obey(board, the_service.sandboxes)
    finally:
        while root.exists():  # requests under way may still write there
            the_service.sandboxes.end_all()
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
