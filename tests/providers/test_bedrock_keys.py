"""Keys of this machine and of roles: each way to them over real connections, and what is said when there are none."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.fakes import FakeTransport
from tests.gateway.peers import Heard, Link, Peer, calling, looped, settled

from tesela.errors import ConfigError, TeselaError, UpstreamProtocolError, UpstreamUnauthorized, UpstreamUnavailable
from tesela.gateway.tokens import Tokens
from tesela.providers.bedrock_keys import ask, source
from tesela.providers.sigv4 import Signer
from tesela.serving import Asking, Granted, Origin, Step, Upstream

PROFILE = "arn:aws:iam::123456789012:instance-profile/serving"
ROLE = "arn:aws:iam::123456789012:role/bedrock"
NOWHERE = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}
"""Nothing in this file may find its way to the real address."""


def at(end: float) -> str:
    return datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def keys(number: int = 1, lives: float = 3600, **more: Any) -> bytes:
    told = {
        "Code": "Success", "AccessKeyId": f"ASIA{number}", "SecretAccessKey": "very-secret",
        "Token": f"session-{number}", "Expiration": at(time.time() + lives), "Type": "AWS-HMAC",
    }  # fmt: skip
    return json.dumps(told | more).encode()


class Machine:
    """A metadata service that wants a token, and beside it the service that Bedrock is."""

    def __init__(self, **answers: tuple[int, bytes]) -> None:
        self.answers = {"info": (200, json.dumps({"Code": "Success", "InstanceProfileArn": PROFILE}).encode())}
        self.answers |= {"security-credentials": (200, b"serving-role\n"), "serving-role": (200, keys())} | answers
        self.lines: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, link: Link) -> None:
        while True:
            request = await link.request()
            line, _, rest = request.head.partition(b"\r\n")
            self.lines.append(line)
            await self.open.wait()
            method, path, _ = line.split()
            if method == b"PUT":
                assert path == b"/latest/api/token"
                assert b"\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n" in rest
                status, body = self.answers.get("token", (200, b"imds-token=="))
            else:
                assert b"\r\nx-aws-ec2-metadata-token: imds-token==\r\n" in rest
                status, body = self.answers[path.decode().rstrip("/").rpartition("/")[2]]
            await link.answer(body, status=f"{status} Told")


class Bedrock:
    def __init__(self, status: str = "200 OK", body: bytes = b'{"id":1}') -> None:
        self.heads: list[bytes] = []
        self.status, self.body = status, body

    async def __call__(self, link: Link) -> None:
        while True:
            self.heads.append((await link.request()).head)
            await link.answer(self.body, status=self.status)


def instance(peer: Peer, **more: str) -> dict[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{peer.port}", **more}


def upstream(provider: Peer, environ: dict[str, str], arn: str = PROFILE) -> Upstream:
    origin = Origin("http", "127.0.0.1", provider.port)
    return Upstream(origin, "m", "/model/m", token=source(arn, "us-east-1", environ))


def check(head: bytes, target: Upstream, number: int = 1) -> None:
    """The signature on a request is that of the keys with this number."""
    lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
    stamp = datetime.strptime(lines["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    signer = Signer(f"ASIA{number}", "very-secret", "us-east-1", f"session-{number}")
    path = target.base_path + "/chat/completions"
    expected = dict(signer.headers(target.origin.authority, path, b"{}", int(stamp.timestamp())))
    assert {name: lines[name] for name in expected} == expected


# ------------------------------------------------------------ over real connections


@looped
async def test_many_calls_at_once_need_one_look_at_the_machine() -> None:
    machine, bedrock = Machine(), Bedrock()
    machine.open.clear()
    async with Peer(machine).listening() as one, Peer(bedrock).listening() as two, calling() as caller:
        target = upstream(two, instance(one))
        heard = [caller.send(target) for _ in range(5)]
        await settled(lambda: machine.lines)
        machine.open.set()
        await asyncio.gather(*(one.over.wait() for one in heard))
        later = await caller.ask(target)
    assert [one.body for one in [*heard, later]] == [b'{"id":1}'] * 6
    assert machine.lines == [
        b"PUT /latest/api/token HTTP/1.1",
        b"GET /latest/meta-data/iam/info HTTP/1.1",
        b"GET /latest/meta-data/iam/security-credentials/ HTTP/1.1",
        b"GET /latest/meta-data/iam/security-credentials/serving-role HTTP/1.1",
    ]
    for head in bedrock.heads:
        check(head, target)


def test_keys_are_renewed_beside_the_calls_before_they_end() -> None:
    transport, clock = FakeTransport(), [1000.0]
    tokens = Tokens(transport, lambda: clock[0])
    target = Upstream(Origin(host="bedrock.test"), "m", "/model/m", token=source(PROFILE, "us-east-1", NOWHERE))

    def call() -> Heard:
        heard = Heard()
        heard.handle = tokens.send(target, "/x", (), b"{}", heard)
        return heard

    def look(number: int) -> None:
        for status, body in (TOKEN, INFO, NAME, (200, keys(number))):
            transport.last.whole(body, status)

    call()
    look(1)
    clock[0] += 3290
    call()
    assert "ASIA1/" in dict(transport.last.headers)["authorization"]
    clock[0] += 20
    before = len(transport.sent)
    call()
    assert [one.upstream.method for one in transport.sent[before:]] == ["PUT", "POST"], "the call does not wait"
    assert "ASIA1/" in dict(transport.last.headers)["authorization"]
    transport.sent.append(transport.sent[before])
    look(2)
    call()
    assert "ASIA2/" in dict(transport.last.headers)["authorization"]
    assert dict(transport.last.headers)["x-amz-security-token"] == "session-2"


@looped
async def test_what_bedrock_repeats_of_a_session_is_not_told() -> None:
    machine, bedrock = Machine(), Bedrock("403 Forbidden", b'{"message":"session-1 is expired"}')
    async with Peer(machine).listening() as one, Peer(bedrock).listening() as two, calling() as caller:
        heard = await caller.ask(upstream(two, instance(one)))
    assert (heard.status, heard.body) == (403, b'{"message":"*** is expired"}')


@looped
async def test_a_machine_that_is_none_of_amazons_or_says_nothing() -> None:
    machine, bedrock = Machine(), Bedrock()
    machine.open.clear()
    async with Peer(machine).listening() as one, Peer(bedrock).listening() as two, calling() as caller:
        gone = await caller.ask(upstream(two, NOWHERE))
        silent = caller.send(upstream(two, instance(one)))
        await settled(lambda: machine.lines)
        assert silent.handle is not None
        silent.handle.cancel()
        machine.open.set()
        await settled(lambda: not caller.pools.under_way)
    assert isinstance(gone.error, UpstreamUnavailable)
    assert "this machine has no keys: its metadata service cannot be asked" in gone.error.message
    assert bedrock.heads == []


@pytest.mark.slow
@looped
async def test_a_service_that_never_answers_is_waited_for_no_longer_than_five_seconds() -> None:
    machine, bedrock = Machine(), Bedrock()
    machine.open.clear()
    async with Peer(machine).listening() as one, Peer(bedrock).listening() as two, calling() as caller:
        begun = time.monotonic()
        heard = await caller.ask(upstream(two, instance(one)))
        assert 4 < time.monotonic() - begun < 8
    assert isinstance(heard.error, UpstreamUnavailable)
    assert "did not" in heard.error.message


@looped
async def test_a_container_is_asked_with_its_token_as_it_is_now(tmp_path: Path) -> None:
    seen: list[bytes] = []
    file = tmp_path / "token"
    file.write_text("first\n")

    async def talk(link: Link) -> None:
        seen.append((await link.request()).head)
        await link.answer(keys())

    bedrock = Bedrock()
    async with Peer(talk).listening() as one, Peer(bedrock).listening() as two, calling() as caller:
        full = f"http://127.0.0.1:{one.port}/v1/credentials?id=7"
        environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": full, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)}
        environ |= NOWHERE
        target = upstream(two, environ)
        await caller.ask(target)
        file.unlink()
        heard = await caller.ask(upstream(two, environ, PROFILE + "-2"))
    check(bedrock.heads[0], target)
    assert seen[0].startswith(b"GET /v1/credentials?id=7 HTTP/1.1\r\n")
    assert b"\r\nauthorization: first\r\n" in seen[0]
    assert isinstance(heard.error, UpstreamUnauthorized)
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" in heard.error.message
    assert "No such file" in heard.error.message
    file.write_text("second\n")
    assert next(ask(PROFILE, "us-east-1", environ, NOW)).upstream.headers == (("authorization", "second"),)


# ------------------------------------------------------------ the conversation alone

NOW = 1_800_000_000
TOKEN = (200, b"imds-token==")
INFO = (200, json.dumps({"InstanceProfileArn": PROFILE}).encode())
NAME = (200, b"serving-role")
GOOD = keys(Expiration=at(NOW + 600))


def talked(asking: Asking, *answers: tuple[int, bytes] | TeselaError) -> tuple[list[Step], Granted]:
    """What was sent, and what came of it when it got these answers."""
    sent = [next(asking)]
    for answer in answers:
        try:
            step = asking.throw(answer) if isinstance(answer, TeselaError) else asking.send(answer)
        except StopIteration as over:
            return sent, over.value
        sent.append(step)
    raise AssertionError("the conversation did not end")


def test_keys_are_good_until_they_end() -> None:
    for end in (at(NOW + 600), "2027-01-15T08:10:00", "2027-01-15T09:10:00+01:00"):
        _, granted = talked(ask(PROFILE, "us-east-1", NOWHERE, NOW), TOKEN, INFO, NAME, (200, keys(Expiration=end)))
        assert granted.lives_s == 600
    assert "session-1" not in repr(granted)


@pytest.mark.parametrize(
    ("answers", "expected", "words"),
    [
        ([(403, b"")], UpstreamUnauthorized, "metadata service of this machine refused"),
        ([(503, b"")], UpstreamUnavailable, "status 503"),
        ([(200, b"two words")], UpstreamProtocolError, "asked for a token"),
        ([(200, b"")], UpstreamProtocolError, "asked for a token"),
        ([TOKEN, (404, b"")], UpstreamUnauthorized, "this machine has no instance profile"),
        ([TOKEN, (200, b"{}")], UpstreamUnauthorized, "another instance profile than arn:aws"),
        ([TOKEN, (200, b'{"InstanceProfileArn":"arn:x"}')], UpstreamUnauthorized, "arn:x"),
        ([TOKEN, (200, b"<html>")], UpstreamProtocolError, "cannot be read"),
        ([TOKEN, INFO, (404, b"")], UpstreamUnauthorized, "has no role"),
        ([TOKEN, INFO, (200, b"\n")], UpstreamUnauthorized, "has no role"),
        ([TOKEN, INFO, (200, b"../../<x>")], UpstreamProtocolError, "name of a role"),
        ([TOKEN, INFO, NAME, (500, b"")], UpstreamUnavailable, "status 500"),
        ([TOKEN, INFO, NAME, (200, b"[]")], UpstreamProtocolError, "cannot be read"),
        ([TOKEN, INFO, NAME, (200, b"{}")], UpstreamProtocolError, "without them"),
        ([TOKEN, INFO, NAME, (200, keys(Token="a\nb"))], UpstreamProtocolError, "without them"),
        ([TOKEN, INFO, NAME, (200, keys(Expiration="soon"))], UpstreamProtocolError, "when they end"),
        ([TOKEN, INFO, NAME, (200, keys(Expiration=at(NOW)))], UpstreamUnavailable, "ended at 2027-01-15T08:00:00Z"),
        (
            [TOKEN, INFO, NAME, (200, b'{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume"}')],
            UpstreamUnauthorized,
            "AssumeRoleUnauthorizedAccess): EC2 cannot assume",
        ),
    ],
)
def test_what_is_said_when_there_are_no_keys(answers: list[Any], expected: type[TeselaError], words: str) -> None:
    with pytest.raises(TeselaError) as caught:
        talked(ask(PROFILE, "us-east-1", NOWHERE, NOW), *answers)
    assert words in caught.value.message
    assert type(caught.value) is expected
    assert "very-secret" not in caught.value.message


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AWS_EC2_METADATA_DISABLED": "true"}, "AWS_EC2_METADATA_DISABLED is true"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://keys.example.com/x"}, "is no address of this machine"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "ftp://x"}, "must begin with"),
        (
            {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a\r\nb: c"},
            "cannot be sent",
        ),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "nowhere"}, "must begin with"),
    ],
)
def test_an_environment_that_cannot_work(environ: dict[str, str], words: str) -> None:
    with pytest.raises(UpstreamUnauthorized) as caught:
        next(ask(PROFILE, "us-east-1", environ, NOW))
    assert words in caught.value.message
    assert "endpoint's owner" in caught.value.message


def test_a_container_is_asked_before_an_instance() -> None:
    environ = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/7", **NOWHERE}
    sent, granted = talked(ask(PROFILE, "us-east-1", environ, NOW), (200, GOOD))
    assert [step.upstream.origin.host for step in sent] == ["169.254.170.2"]
    assert (sent[0].upstream.method, sent[0].upstream.base_path) == ("GET", "/v2/credentials/7")
    assert granted.lives_s == 600


# ------------------------------------------------------------ roles

ASSUMED = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA9</AccessKeyId>"
    "<SecretAccessKey>other/secret+x</SecretAccessKey><SessionToken>session-9==</SessionToken>"
    f"<Expiration>{at(NOW + 900)}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
).encode()


def test_a_role_by_web_identity(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("ey.J.hb\n")
    sent, granted = talked(
        ask(ROLE, "eu-west-3", {"AWS_WEB_IDENTITY_TOKEN_FILE": str(file), **NOWHERE}, NOW), (200, ASSUMED)
    )
    (step,) = sent
    assert (step.upstream.origin.authority, step.upstream.base_path) == ("sts.eu-west-3.amazonaws.com", "/")
    assert step.headers == ()
    assert parse_qs(step.body.decode()) == {
        "Action": ["AssumeRoleWithWebIdentity"], "Version": ["2011-06-15"], "RoleArn": [ROLE],
        "RoleSessionName": ["tesela"], "WebIdentityToken": ["ey.J.hb"],
    }  # fmt: skip
    assert (granted.secret, granted.lives_s) == ("session-9==", 900)
    assert granted.sign is not None
    expected = Signer("ASIA9", "other/secret+x", "eu-west-3", "session-9==").headers("h", "/p", b"{}", NOW)
    assert granted.sign("h", "/p", b"{}", NOW) == expected


def test_a_role_by_the_keys_of_the_machine() -> None:
    sent, granted = talked(ask(ROLE, "us-east-1", NOWHERE, NOW), TOKEN, INFO, NAME, (200, GOOD), (200, ASSUMED))
    form, lines = parse_qs(sent[-1].body.decode()), dict(sent[-1].headers)
    assert (form["Action"], form["RoleArn"]) == (["AssumeRole"], [ROLE])
    assert lines["x-amz-security-token"] == "session-1"
    assert "/us-east-1/sts/aws4_request, " in lines["authorization"]
    assert granted.lives_s == 900


def test_what_amazons_own_library_signs() -> None:
    """The signature that botocore 1.44.8 made for this request with these keys."""
    keys_then = (200, keys(SecretAccessKey="sec/ret", Expiration=at(NOW + 600)))
    sent, _ = talked(ask(ROLE, "us-east-1", NOWHERE, NOW), TOKEN, INFO, NAME, keys_then, (200, ASSUMED))
    assert sent[-1].body == (
        b"Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fbedrock"
        b"&RoleSessionName=tesela&Action=AssumeRole"
    )
    assert dict(sent[-1].headers)["authorization"].endswith(
        "9b358c5fc473a3ab49a28e65130d34aa787788565c64542fe5fdbb71317993fd"
    )


def test_a_role_that_may_not_be_taken(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x")
    body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    with pytest.raises(UpstreamUnauthorized) as caught:
        talked(ask(ROLE, "us-east-1", {"AWS_WEB_IDENTITY_TOKEN_FILE": str(file)}, NOW), (403, body))
    assert ROLE in caught.value.message
    assert "(status 403, AccessDenied)" in caught.value.message
    with pytest.raises(UpstreamProtocolError):
        talked(ask(ROLE, "us-east-1", {"AWS_WEB_IDENTITY_TOKEN_FILE": str(file)}, NOW), (200, b"<html>"))


def test_only_an_arn_will_do() -> None:
    for arn in ("arn:x", "serving", "arn:aws:iam::123456789012:user/x", f"{PROFILE}\r\n"):
        with pytest.raises(ConfigError):
            source(arn, "us-east-1", NOWHERE)
    one, other = source(PROFILE, "us-east-1", NOWHERE), source(ROLE, "us-east-1", NOWHERE)
    assert one.key == source(PROFILE, "us-east-1", NOWHERE).key != other.key
