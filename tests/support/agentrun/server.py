"""HTTP/1.1 of the service, with the faults of the test's choice."""
import http
import http.server
import json
import sys
import time

import contexts
import service
from errors import Refusal, to_json
from request import Request


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        self.server.board.count("connections")
        super().setup()

    def log_message(self, *_):
        """Tests ask for what came in; nothing is printed."""

    def handle_expect_100(self):
        self.server.board.note_violation("a request with Expect")
        return super().handle_expect_100()

    def do_GET(self):
        self.handle_request()

    def do_POST(self):
        self.handle_request()

    def do_PUT(self):
        self.handle_request()

    def do_DELETE(self):
        self.handle_request()

    def handle_request(self):
        target = self.requestline.split()[1]  # self.path has lost what may lead it: //
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, target, self.headers.items(), data)
        operation, handler, names = self.server.service.route(request)
        record = self.server.board.note_request(operation, request)
        fault = self.server.board.take_fault(operation)
        time.sleep(fault.get("delay", 0))
        if fault.get("die") and names:
            self.server.service.sandboxes.expire(names[0])
        try:
            answer = spoil(fault, lambda: self.server.service.answer(
                request, operation, handler, names))
        except contexts.Silence:
            fault = {"stall": "unanswered"}
            answer = service.Answer(200, b"")
        record["status"] = answer.status
        self.send(answer, fault)

    def send(self, answer, fault):
        reason = http.HTTPStatus(answer.status).phrase
        head = [f"HTTP/1.1 {answer.status} {reason}"]
        if answer.media_type:
            head.append(f"Content-Type: {answer.media_type}")
        if answer.status != 204:
            head.append(f"Content-Length: {len(answer.body)}")
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        data = "\r\n".join([*head, "", ""]).encode() + answer.body
        how = fault.get("cut") or fault.get("stall")
        if how == "midway":
            data = data[:len(data) - len(answer.body) // 2 - 1]
        if how != "unanswered":
            self.wfile.write(data)
        if how:
            self.close_connection = True
        if "stall" in fault:
            self.connection.recv(1)  # until the client leaves


def spoil(fault, real):
    """The answer to a request, as the fault wants it."""
    own = "answer" in fault or "error" in fault
    answer = None
    if fault.get("work", not own and fault.get("cut", fault.get("stall")) != "unanswered"):
        answer = real()
    if "answer" in fault:
        given = fault["answer"]
        answer = service.Answer(given.get("status", 200),
                                given.get("body", "").encode() * given.get("repeat", 1),
                                given.get("type", "application/json"))
    elif "error" in fault:
        given = fault["error"]
        answer = service.refusal(Refusal(given.get("status", 500), given.get("code", ""),
                                         given.get("message", ""), given.get("shape", "service")))
    answer = answer or service.Answer(200, b"")
    if "patch" in fault:
        members = json.loads(answer.body) | fault["patch"]
        answer.body = to_json({k: v for k, v in members.items() if v is not None})
    answer.headers |= fault.get("headers", {})
    return answer


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 2048
    daemon_threads = True

    def __init__(self, port, the_service, board):
        self.service = the_service
        self.board = board
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, *client):
        """A client that goes away in the middle is not worth a trace."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*client)
