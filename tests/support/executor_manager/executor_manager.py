"""A server for tests that speaks the executor_manager's API and really runs the programs it gets
(reference ragflow, section 4): without containers, and so without any isolation. It prints
"ready PORT" when it listens on loopback.

The service's own environment variables (SANDBOX_TIMEOUT, SANDBOX_EXECUTOR_MANAGER_API_TOKEN, ...)
have their meaning. Tests talk to it on standard input: one JSON object a line, answered by one line
with all that was seen (switchboard.py says which members there are). An empty object only asks.
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
import switchboard


def options():
    parser = argparse.ArgumentParser(description="executor_manager for tests")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--keep-alive", type=float, default=5,
                        help="seconds after which an idle connection is closed")
    parser.add_argument("--pool-wait", type=float, default=10,
                        help="seconds after which a run without a container is given up")
    parser.add_argument("--later", action="store_true",
                        help="as later versions: tokens, rate limits, artifacts beside the program")
    parser.add_argument("--no-containers", action="store_true",
                        help="every creation of a container fails, also at the start")
    return parser.parse_args()


def obey(board, manager):
    """Obeys the test until standard input ends."""
    for line in sys.stdin:
        command = json.loads(line)
        if command.pop("lose_containers", False):
            manager.lose_containers()
        board.change(command)
        print(json.dumps(board.seen()), flush=True)


def end(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit


def main():
    given = options()
    signal.signal(signal.SIGTERM, end)
    root = pathlib.Path(tempfile.mkdtemp(prefix="executor-manager-"))
    board = switchboard.Switchboard(given.no_containers)
    manager = service.Manager(root, board, given.pool_wait, given.later)
    listener = server.Server(given.port, manager, board, given.keep_alive)
    try:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        print("ready", listener.server_port, flush=True)
        obey(board, manager)
        signal.pause()
    finally:
        listener.cut()
        while root.exists():  # requests under way may still write there
            manager.end_programs()
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
