"""The two signatures of AgentRun, recomputed from what arrived (reference aliyun-agentrun 4)."""
import datetime
import hashlib
import hmac
import re
import threading
import time
import urllib.parse

from errors import Refusal, violation

SKEW_S = 15 * 60
UNSIGNED = "UNSIGNED-PAYLOAD"
VERSION = "2025-09-10"
CREDENTIALS = re.compile(r"(\S+) Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})")


def digest(data):
    return hashlib.sha256(data).hexdigest()


def mac(key, text):
    return hmac.digest(key, text.encode(), "sha256")


def encode(value):
    return urllib.parse.quote(value, safe="")


def decode(text):
    """What a percent-encoded text stands for."""
    try:
        return urllib.parse.unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise violation(f"{text} is not UTF-8") from None


def pairs_of(query):
    """The pairs of a query as it was sent; + is a blank. Each key comes once, with a `=`: a client
    that does otherwise is read in two ways."""
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    keys = {key for key, _, _ in pairs}
    if len(keys) < len(pairs) or not all(equals for _, equals, _ in pairs):
        raise violation(f"the query {query} can be read in two ways")
    return [(decode(key), decode(value)) for key, _, value in pairs]


def canonical_request(method, path, pairs, headers, names, payload):
    query = "&".join(f"{encode(key)}={encode(value)}" for key, value in sorted(pairs))
    lines = [f"{name}:{headers[name].strip()}" for name in names]
    return "\n".join([method, path or "/", query, *lines, "", ";".join(names), payload])


def string_to_sign(algorithm, canonical):
    return f"{algorithm}\n{digest(canonical.encode())}"


def acs3(secret, canonical):
    return mac(secret.encode(), string_to_sign("ACS3-HMAC-SHA256", canonical)).hex()


def day_key(secret, day, region):
    """The key chain's four keys."""
    keys = [b"aliyun_v4" + secret.encode()]
    for part in (day, region, "agentrun", "aliyun_v4_request"):
        keys.append(mac(keys[-1], part))
    return keys[1:]


def agentrun4(secret, day, region, canonical):
    key = day_key(secret, day, region)[-1]
    return mac(key, string_to_sign("AGENTRUN4-HMAC-SHA256", canonical)).hex()


class Account:
    """Whose requests are accepted."""

    def __init__(self, key_id, secret, token, region):
        self.key_id = key_id
        self.secret = secret
        self.token = token
        self.region = region
        self.nonces = set()
        self.lock = threading.Lock()  # guards nonces

    def use_nonce(self, nonce):
        with self.lock:
            if nonce in self.nonces:
                raise violation("the nonce was used before", 400, "SignatureNonceUsed", "gateway")
            self.nonces.add(nonce)


class Plane:
    """What the planes differ in."""

    def __init__(self, algorithm, header, shape, mismatch, signed):
        self.algorithm = algorithm
        self.header = header
        self.shape = shape
        self.mismatch = mismatch  # status, code and message of a signature that does not match
        self.signed = signed

    def refuse(self, message, status=400, code="IncompleteSignature"):
        return violation(message, status, code, self.shape)


CONTROL = Plane("ACS3-HMAC-SHA256", "authorization", "gateway",
                (400, "SignatureDoesNotMatch", "Specified signature does not match."),
                {"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date",
                 "x-acs-signature-nonce", "x-acs-version"})
DATA = Plane("AGENTRUN4-HMAC-SHA256", "agentrun-authorization", "service",
             (403, "ERR_FORBIDDEN", "Signature verification failed"),
             {"host", "x-acs-content-sha256", "x-acs-date"})


def check_date(plane, headers):
    text = headers["x-acs-date"]
    try:
        when = datetime.datetime.strptime(text + "+0000", "%Y-%m-%dT%H:%M:%SZ%z").timestamp()
    except ValueError:
        raise plane.refuse(f"x-acs-date {text} is no date") from None
    if abs(when - time.time()) > SKEW_S:
        raise plane.refuse("the date is too far away", 400, "InvalidTimeStamp.Expired")


def check_names(plane, headers, names):
    """The list of signed headers, which has to have all that matters."""
    owed = plane.signed | {name for name in headers if name.startswith("x-acs-")}
    if plane is CONTROL and "content-type" in headers:
        owed.add("content-type")
    missing = owed - set(names) | set(names) - set(headers)
    if missing:
        raise plane.refuse(f"not there or not signed: {', '.join(sorted(missing))}")
    if names != sorted(set(names)):
        raise plane.refuse(f"signed headers are not in order: {';'.join(names)}")


def check_token(plane, account, headers):
    if headers.get("x-acs-security-token", "") != account.token:
        raise plane.refuse("the security token is not the key's", 403, "InvalidSecurityToken")
    if headers.get("x-acs-accesskey-id", account.key_id) != account.key_id:
        raise plane.refuse("x-acs-accesskey-id is not the key")


def check_key(plane, account, key_id):
    """An unknown key is not the client's fault: whoever configured it is told."""
    if key_id != account.key_id:
        if plane is CONTROL:
            raise Refusal(404, "InvalidAccessKeyId.NotFound",
                          "Specified access key is not found.", "gateway")
        raise Refusal(*plane.mismatch)


def check_scope(account, scope, headers):
    day = headers["x-acs-date"][:10].replace("-", "")
    if scope != [day, account.region, "agentrun", "aliyun_v4_request"]:
        raise DATA.refuse(f"the credential's scope is {'/'.join(scope)}")


def check_control(account, headers, body, action):
    expected = {"x-acs-action": action, "x-acs-version": VERSION,
                "x-acs-content-sha256": digest(body)}
    for name, value in expected.items():
        if headers[name] != value:
            raise CONTROL.refuse(f"{name} is {headers[name]}, not {value}")
    account.use_nonce(headers["x-acs-signature-nonce"])


def read_header(plane, headers):
    found = CREDENTIALS.fullmatch(headers.get(plane.header, ""))
    if not found or found[1] != plane.algorithm:
        raise plane.refuse(f"{plane.header} is missing or malformed", 401)
    return found[2], found[3].split(";"), found[4]


def verify(account, request, action):
    """action: the control plane's; None: the request is one of the data plane."""
    plane = CONTROL if action else DATA
    headers = request.headers
    credential, names, signature = read_header(plane, headers)
    key_id, *scope = credential.split("/")
    check_names(plane, headers, names)
    check_date(plane, headers)
    check_key(plane, account, key_id)
    check_token(plane, account, headers)
    if action:
        check_control(account, headers, request.body, action)
        canonical = canonical_request(request.method, request.path, request.pairs, headers, names,
                                      digest(request.body))
        expected = acs3(account.secret, canonical)
    else:
        check_scope(account, scope, headers)
        if headers["x-acs-content-sha256"] != UNSIGNED:
            raise DATA.refuse("x-acs-content-sha256 is not " + UNSIGNED)
        canonical = canonical_request(request.method, request.path, request.pairs, headers, names,
                                      UNSIGNED)
        expected = agentrun4(account.secret, scope[0], account.region, canonical)
    if not hmac.compare_digest(signature, expected):
        raise plane.refuse(plane.mismatch[2], *plane.mismatch[:2])
