"""Amazon's short-lived keys, for an endpoint that was given none of its own: those of this machine, or of a role.

A machine is asked as Amazon's own libraries ask it: a container at the address in its environment, then an instance at
its metadata service, version 2.  https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

import re
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from tesela.errors import ConfigError, TeselaError, UpstreamProtocolError, UpstreamUnauthorized, UpstreamUnavailable
from tesela.providers.compatible import address
from tesela.providers.sigv4 import Signer, stamp
from tesela.providers.tokens import FORM, UNREADABLE, fingerprint, objection, sendable
from tesela.serving import Asking, Granted, Origin, Step, Timeouts, TokenSource, Upstream

INSTANCE = "http://169.254.169.254"
CONTAINER = "http://169.254.170.2"
NEAR = frozenset({"localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
"""Hosts that may be asked without TLS, for the keys of a container: they are on this machine."""
LIMITS = Timeouts(connect_s=2.0, first_byte_s=5.0, idle_s=5.0, total_s=5.0)
"""A service on the same machine answers at once, and elsewhere nobody does: calls wait for it."""
TOKEN_S = "21600"  # noqa: S105 - seconds that a token for the metadata service lives
ROLES = "/latest/meta-data/iam/security-credentials/"
PROFILE = "/latest/meta-data/iam/info"
ARN = re.compile(r"^arn:aws[a-z-]*:iam::\d{12}:(instance-profile|role)/[\w+=,.@/-]{1,512}\Z")
SESSION = "tesela"

T = TypeVar("T")
Asked = Generator[Step, tuple[int, bytes], T]


def source(arn: str, region: str, environ: Mapping[str, str]) -> TokenSource:
    """Where the keys for this instance profile or role come from.  Raises ConfigError for what cannot be either.

    `environ` is read each time, and decides what kind of machine this is.
    """
    if not ARN.match(arn):
        raise ConfigError(f"{arn!r} is not the ARN of an instance profile (or a role)")
    where = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or INSTANCE
    origin, path, _ = address(where, "AWS_EC2_METADATA_SERVICE_ENDPOINT")
    key = fingerprint(origin, path, arn, region)
    return TokenSource(
        Upstream(origin, "", path, timeouts=LIMITS), lambda _: b"", key, MACHINE, partial(ask, arn, region, environ)
    )


MACHINE = "this machine"


def ask(arn: str, region: str, environ: Mapping[str, str], now: int) -> Asking:
    """The conversation that leads to keys, in the order of Amazon's libraries: web identity, container, instance."""
    if ":role/" in arn:
        keys = yield from _role(arn, region, environ, now)
    else:
        keys = yield from _machine(arn, environ, now)
    signer = Signer(keys.access_key_id, keys.secret_access_key, region, keys.token)
    return Granted(keys.token, _left(keys, now), signer.headers)


def _machine(arn: str, environ: Mapping[str, str], now: int) -> "Asked[_Keys]":
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    full = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if relative or full:
        body = yield from _container(f"{CONTAINER}{relative}" if relative else full or "", environ)
    elif environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        raise _mend("this machine's metadata service is not to be asked: AWS_EC2_METADATA_DISABLED is true")
    else:
        body = yield from _instance(arn, environ)
    keys = _decoded(_keys, body)
    if keys.code != "Success":
        raise _mend(f"this machine gets no keys ({keys.code}): {keys.message[:300]}")
    return _checked(keys, now)


# ------------------------------------------------------------ a container


def _container(url: str, environ: Mapping[str, str]) -> Asked[bytes]:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html"""
    name = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
    try:
        origin, path, query = address(url, name)
    except ConfigError as exc:
        raise _mend(exc.message) from exc
    if origin.scheme == "http" and origin.host not in NEAR:
        raise _mend(f"{name}: {origin.host} is no address of this machine, and would be asked for keys without TLS")
    token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if file := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        token = _file(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    if token and not sendable(token):
        raise _mend("the authorization token of this container cannot be sent: it must be one line of ASCII")
    headers = (("authorization", token),) if token else ()
    upstream = Upstream(origin, "", path, headers, LIMITS, query=query, method="GET")
    status, body = yield Step(upstream)
    if status != 200:
        raise objection("the credentials service of this container", status)
    return body


# ------------------------------------------------------------ an instance


def _instance(arn: str, environ: Mapping[str, str]) -> Asked[bytes]:
    """https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html"""
    where = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or INSTANCE
    try:
        origin, base, _ = address(where, "AWS_EC2_METADATA_SERVICE_ENDPOINT")
    except ConfigError as exc:
        raise _mend(exc.message) from exc

    def step(method: str, path: str, *headers: tuple[str, str]) -> Step:
        return Step(Upstream(origin, "", base + path, headers, LIMITS, method=method))

    try:
        status, body = yield step("PUT", "/latest/api/token", ("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_S))
    except TeselaError as exc:
        text = (
            f"this machine has no keys: its metadata service cannot be asked ({exc.message}); 'instance_profile_arn' "
            "works on a machine of Amazon's that has the profile, and elsewhere needs the keys themselves"
        )
        raise UpstreamUnavailable(text, retry_after_s=1) from exc
    if status != 200:
        raise objection("the metadata service of this machine", status)
    token = ("x-aws-ec2-metadata-token", _word(body, "a token"))
    status, body = yield step("GET", PROFILE, token)
    if status == 404:
        raise _mend("this machine has no instance profile")
    if status != 200:
        raise objection("the metadata service of this machine", status)
    found = _decoded(_info, body).arn
    if arn and found != arn:
        raise _mend(f"this machine has another instance profile than {arn}: {found or 'it does not say which'}")
    status, body = yield step("GET", ROLES, token)
    if status == 404 or (status == 200 and not body.strip()):
        raise _mend(f"the instance profile of this machine has no role: {found}")
    if status != 200:
        raise objection("the metadata service of this machine", status)
    status, body = yield step("GET", ROLES + _word(body, "the name of a role"), token)
    if status != 200:
        raise objection("the metadata service of this machine", status)
    return body


def _word(body: bytes, what: str) -> str:
    """One line that goes back to the service in a path or a header."""
    lines = body.decode("latin-1").split("\n")
    found = lines[0].strip()
    if not found or not WORD.match(found):
        raise UpstreamProtocolError(f"this machine's metadata service was asked for {what} and answered without")
    return found


WORD = re.compile(r"^[\w+=,.@/-]{1,2048}\Z", re.ASCII)


class _Info(msgspec.Struct):
    arn: str = msgspec.field(name="InstanceProfileArn", default="")


class _Keys(msgspec.Struct, rename="pascal"):
    access_key_id: str = ""
    secret_access_key: str = ""
    token: str = ""
    expiration: str = ""
    code: str = "Success"
    message: str = ""


_info = msgspec.json.Decoder(_Info)
_keys = msgspec.json.Decoder(_Keys)


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except UNREADABLE:
        raise UpstreamProtocolError("this machine was asked for keys, and its answer cannot be read") from None


def _checked(keys: _Keys, now: int) -> _Keys:
    if not all(map(sendable, (keys.access_key_id, keys.secret_access_key, keys.token))):
        raise UpstreamProtocolError("this machine was asked for keys and answered without them")
    if _left(keys, now) <= 0:
        text = f"the keys of this machine ended at {keys.expiration} and nobody renews them, or its clock is wrong"
        raise UpstreamUnavailable(text, retry_after_s=1)
    return keys


def _left(keys: _Keys, now: int) -> float:
    try:
        end = datetime.fromisoformat(keys.expiration)
    except ValueError:
        raise UpstreamProtocolError("this machine gave keys that do not say when they end") from None
    return (end if end.tzinfo is not None else end.replace(tzinfo=UTC)).timestamp() - now


# ------------------------------------------------------------ a role


def _role(arn: str, region: str, environ: Mapping[str, str], now: int) -> "Asked[_Keys]":
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html, and API_AssumeRole."""
    form = {"Version": "2011-06-15", "RoleArn": arn, "RoleSessionName": environ.get("AWS_ROLE_SESSION_NAME", SESSION)}
    sign: Callable[[Origin, str, bytes], tuple[tuple[str, str], ...]] | None = None
    if file := environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        form |= {
            "Action": "AssumeRoleWithWebIdentity", "WebIdentityToken": _file(file, "AWS_WEB_IDENTITY_TOKEN_FILE")
        }  # fmt: skip
    else:
        own = yield from _machine("", environ, now)
        form["Action"] = "AssumeRole"
        sign = partial(_signed, Signer(own.access_key_id, own.secret_access_key, region, own.token, "sts"), now)
    usual = f"https://sts.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    try:
        origin, path, _ = address(environ.get("AWS_ENDPOINT_URL_STS") or usual, "AWS_ENDPOINT_URL_STS")
    except ConfigError as exc:
        raise _mend(exc.message) from exc
    path, body = path or "/", urlencode(form).encode()
    headers = sign(origin, path, body) if sign is not None else ()
    status, answer = yield Step(Upstream(origin, "", path, (FORM,), LIMITS), body, headers)
    if status != 200:
        raise objection(f"Amazon's token service, asked for {arn},", status, _element(answer, "Code"))
    keys = _Keys(*(_element(answer, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")))
    return _checked(keys, now)


def _signed(own: Signer, now: int, origin: Origin, path: str, body: bytes) -> tuple[tuple[str, str], ...]:
    time = stamp(now)
    added = (("x-amz-date", time), ("x-amz-security-token", own.session_token or ""))
    given = (("host", origin.authority), FORM, *added)
    return (*added, ("authorization", own.authorization("POST", path, "", given, body, time)))


def _element(body: bytes, name: str) -> str:
    """The text of an element that occurs once in an answer; what stands in these has no entities."""
    found = re.search(rb"<%b>([^<>&]{1,8192})</%b>" % (name.encode(), name.encode()), body)
    return found[1].decode("latin-1").strip() if found else ""


# ------------------------------------------------------------


def _file(path: str, name: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeError) as exc:
        raise _mend(f"{name}: {path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


def _mend(text: str) -> UpstreamUnauthorized:
    return UpstreamUnauthorized(f"{text}; the endpoint's owner must mend it")
