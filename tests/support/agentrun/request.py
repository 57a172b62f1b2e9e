"""What a request may hold: headers, queries and bodies, checked to the letter."""
import json

import signature
from errors import violation

HEADERS = {"host", "user-agent", "accept", "accept-encoding", "connection", "content-length",
           "content-type", "x-acs-version", "x-acs-action", "x-acs-date", "x-acs-signature-nonce",
           "x-acs-content-sha256", "x-acs-security-token", "x-acs-accesskey-id",
           "x-acs-credentials-provider", "authorization", "agentrun-authorization"}
CONTROL_ONLY = {"x-acs-version", "x-acs-action", "x-acs-signature-nonce", "x-acs-accesskey-id",
                "x-acs-credentials-provider", "authorization"}


class Request:
    def __init__(self, method, target, headers, body):
        """headers: pairs as they came"""
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.names = [name.lower() for name, _ in headers]
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body
        self.pairs = []
        self.parameters = {}  # of the query

    def is_control(self):
        return self.path.startswith(f"/{signature.VERSION}/")

    def read(self):
        """What can be checked without knowing what is asked for."""
        self.pairs = signature.pairs_of(self.query)
        self.parameters = dict(self.pairs)
        allowed = HEADERS - {"agentrun-authorization"} if self.is_control() \
            else HEADERS - CONTROL_ONLY
        strange = set(self.names) - allowed
        if strange:
            raise violation(f"headers that do not belong here: {', '.join(sorted(strange))}")
        if len(self.headers) < len(self.names):
            raise violation("a header came twice")
        if self.is_control() and self.headers.get("accept") != "application/json":
            raise violation("accept is not application/json")
        if self.method in ("GET", "DELETE") and self.body:
            raise violation(f"{self.method} with a body")
        if self.method == "POST" and "content-length" not in self.headers:
            raise violation("POST without content-length")

    def check_query(self, names, required=()):
        strange = set(self.parameters) - set(names)
        missing = set(required) - set(self.parameters)
        if strange or missing:
            raise violation(f"the query {self.query} has unknown keys or lacks some")

    def object(self, members):
        """The body's JSON object. members: {name: (type or types, required)}"""
        wanted = "application/json; charset=utf-8" if self.is_control() else "application/json"
        if self.headers.get("content-type") != wanted:
            raise violation(f"content-type is not {wanted}")
        value = parse(self.body)
        if not isinstance(value, dict):
            raise violation("the body is no JSON object")
        for name, member in value.items():
            if name not in members:
                raise violation(f"unknown member {name}")
            types, _ = members[name]
            if not isinstance(member, types) or isinstance(member, bool) and types is not bool:
                raise violation(f"member {name} has the wrong type")
        for name, (_, required) in members.items():
            if required and name not in value:
                raise violation(f"member {name} is missing")
        return value


def parse(body):
    def unique(pairs):
        members = dict(pairs)
        if len(members) < len(pairs):
            raise ValueError("a member came twice")
        return members

    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    try:
        return json.loads(body.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except ValueError as error:
        raise violation(f"the body is no JSON: {error}") from None
