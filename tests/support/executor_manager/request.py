"""Checks the body of POST /run and words its faults as pydantic 2 and FastAPI do."""
import base64
import binascii
import json

LANGUAGES = ("python", "nodejs")


class Invalid(Exception):
    """The body is not a request; `detail` is what the client is told."""

    def __init__(self, detail):
        super().__init__("invalid request")
        self.detail = detail


def fault(kind, where, message, value, **more):
    return {"type": kind, "loc": ["body", *where], "msg": message, "input": value, **more}


def decode(headers, body):
    if not body:
        raise Invalid([fault("missing", [], "Field required", None)])
    media_type = headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise not_an_object(body.decode(errors="replace"))
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        raise Invalid([fault("json_invalid", [error.pos], "JSON decode error", {},
                             ctx={"error": error.msg})]) from None
    except UnicodeDecodeError:
        raise Invalid([fault("json_invalid", [0], "JSON decode error", {},
                             ctx={"error": "not UTF-8"})]) from None


def not_an_object(value):
    return Invalid([fault("model_attributes_type", [],
                          "Input should be a valid dictionary or object to extract fields from",
                          value)])


def check_code(members, faults):
    if "code_b64" not in members:
        faults.append(fault("missing", ["code_b64"], "Field required", members))
        return b""
    code = members["code_b64"]
    if not isinstance(code, str):
        faults.append(fault("string_type", ["code_b64"], "Input should be a valid string", code))
        return b""
    try:
        return base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError) as error:
        faults.append(fault("value_error", ["code_b64"], f"Value error, invalid base64: {error}",
                            code, ctx={"error": {}}))
    return b""


def check_language(members, faults):
    language = members.get("language", "python")
    if language not in LANGUAGES:
        faults.append(fault("enum", ["language"], "Input should be 'python' or 'nodejs'", language,
                            ctx={"expected": "'python' or 'nodejs'"}))
    return language


def check_arguments(members, faults):
    arguments = members.get("arguments", {})
    if arguments is not None and not isinstance(arguments, dict):
        faults.append(fault("dict_type", ["arguments"], "Input should be a valid dictionary",
                            arguments))
    return arguments or {}


def read(headers, body):
    """(code in bytes, language, arguments)"""
    members = decode(headers, body)
    if not isinstance(members, dict):
        raise not_an_object(members)
    faults = []
    found = tuple(check(members, faults) for check in (check_code, check_language, check_arguments))
    if faults:
        raise Invalid(faults)
    return found
