"""HTTP/1.1 as uvicorn speaks it: connections stay open until they are idle for some seconds. Faults
of the test's choice are made here."""
import http
import http.server
import json
import socket
import time

import service

CHUNK = 1000


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_version = "uvicorn"
    sys_version = ""

    def setup(self):
        self.timeout = self.server.keep_alive
        self.connection_number = self.server.board.count_connection()
        super().setup()

    def finish(self):
        super().finish()
        self.connection.close()
        self.server.board.count_closed()

    def log_message(self, *_):
        """Tests ask for what came in; nothing is printed."""

    def do_GET(self):
        self.handle_request()

    def do_POST(self):
        self.handle_request()

    def handle_request(self):
        path = self.requestline.split()[1]  # self.path has lost what may lead it: //run
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.board.take_fault(path)
        record = {"method": self.command, "path": path, "headers": self.headers.items(),
                  "body": body.decode(errors="replace"), "connection": self.connection_number,
                  "status": 0}
        self.server.board.record(record)
        time.sleep(fault.get("delay", 0))
        answer = spoil(fault, lambda: self.server.manager.answer(
            self.command, path, self.headers, body, self.client_address[0]))
        if fault.get("close") == "unanswered":
            self.close_connection = True
            return
        record["status"] = answer.status
        self.send(answer, fault)

    def send(self, answer, fault):
        reason = http.HTTPStatus(answer.status).phrase
        head = [f"HTTP/1.1 {answer.status} {reason}", f"content-type: {answer.media_type}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        body = answer.body
        if fault.get("chunked"):
            head.append("transfer-encoding: chunked")
            body = chunked(body)
        else:
            head.append(f"content-length: {len(body)}")
        if fault.get("close") == "midway":
            self.close_connection = True
            body = body[:len(body) // 2]
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)


def chunked(body):
    parts = [body[i:i + CHUNK] for i in range(0, len(body), CHUNK)] + [b""]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def spoil(fault, real):
    """The answer to a request, as the fault wants it."""
    own = "body" in fault or "status" in fault
    answer = None
    if fault.get("run", not (own or "result" in fault or "close" in fault)):
        answer = real()
    if own:
        answer = service.Answer(fault.get("status", 200),
                                fault.get("body", "").encode() * fault.get("repeat", 1),
                                fault.get("type", "text/plain"))
    elif "result" in fault:
        answer = service.failure(**fault["result"])
    answer = answer or service.failure()
    if "drop" in fault or "add" in fault:
        members = json.loads(answer.body)
        kept = {k: v for k, v in members.items() if k not in fault.get("drop", [])}
        answer.body = service.to_json(kept | fault.get("add", {}))
    answer.headers = fault.get("headers", {})
    return answer


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 2048

    def __init__(self, port, manager, board, keep_alive):
        self.manager = manager
        self.board = board
        self.keep_alive = keep_alive
        self.open = set()  # sockets of connections
        super().__init__(("127.0.0.1", port), Handler)

    def finish_request(self, request, client_address):
        self.open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self.open.discard(request)

    def cut(self):
        """No client gets an answer any more: what follows is the end of the programs."""
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # gone by itself

    def handle_error(self, *_):
        """A client that goes away in the middle is not worth a trace."""
