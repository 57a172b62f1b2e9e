"""How the service says no: the five shapes of reference aliyun-agentrun 6.1."""
import json


class Refusal(Exception):
    """An answer that says no. `violation`: the request is one that no client may send."""

    def __init__(self, status, code, message, shape="service", violation=False):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.shape = shape
        self.violation = violation


def violation(message, status=400, code="ERR_VALIDATION_FAILED", shape="service"):
    return Refusal(status, code, message, shape, True)


def not_found(message, shape="service"):
    return Refusal(404, "ERR_NOT_FOUND", message, shape)


def to_json(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


HTML = """<html>
<head><title>{status} Bad Gateway</title></head>
<body><center><h1>{status} Bad Gateway</h1></center><hr><center>nginx</center></body>
</html>
"""

SHAPES = {
    "service": lambda no, request_id: to_json(
        {"code": no.code, "requestId": request_id, "message": no.message}),
    "nested": lambda no, _: to_json(
        {"error": {"code": no.code, "message": no.message, "details": {}}}),
    "gateway": lambda no, request_id: to_json(
        {"RequestId": request_id, "HostId": "agentrun", "Code": no.code, "Message": no.message,
         "Recommend": "https://example.com/?q=" + no.code}),
    "html": lambda no, _: HTML.format(status=no.status).encode(),
    "text": lambda no, _: no.message.encode(),
    "empty": lambda *_: b"",
}
TYPES = {"html": "text/html", "text": "text/plain; charset=utf-8"}


def media_type(shape):
    return TYPES.get(shape, "application/json")


def body(no, request_id):
    return SHAPES[no.shape](no, request_id)
