"""The settings of provider `amazon-bedrock`: region, keys of an account, and where another server is to be called."""

import re
from urllib.parse import quote

from tesela.providers.bedrock import BEDROCK
from tesela.providers.compatible import address, header
from tesela.providers.reading import Reading, Resolved
from tesela.providers.sigv4 import Signer
from tesela.serving import Upstream
from tesela.wire.tasks import Task

KEYS = tuple(
    f"{name}{twin}"
    for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    for twin in ("", "_plaintext")
)
UNREACHABLE = {
    "instance_profile_arn": "a machine of Amazon's",
    "uc_service_credential_name": "Unity Catalog",
}
"""Where a workspace gets keys that it is not given."""
FAMILIES = ("anthropic", "cohere", "ai21labs", "amazon")


def resolve(reading: Reading, task: Task) -> Resolved:
    """`aws_session_token` and `amazon_bedrock_api_base` are ours: keys that end, and an address of one's own."""
    for name, place in UNREACHABLE.items():
        if reading.config.get(name) is not None:
            text = f"keys from {place} cannot be had here; give aws_access_key_id and aws_secret_access_key"
            raise reading.wrong(name, text)
    reading.only("aws_region", "bedrock_provider", *KEYS, "amazon_bedrock_api_base", "ignore")
    region = reading.required("aws_region", "must be a region such as us-east-1")
    if not _REGION.match(region):
        raise reading.wrong("aws_region", f"{region!r} is not a region such as us-east-1")
    family = reading.text("bedrock_provider")
    if family is not None and family.lower() not in FAMILIES:
        # The model's id says the same; a workspace wants it nevertheless.
        raise reading.wrong("bedrock_provider", f"{family!r} must be one of {', '.join(FAMILIES)}, or left out")
    origin, path, query = address(
        reading.text("amazon_bedrock_api_base") or f"https://{host(region)}", reading.where("amazon_bedrock_api_base")
    )
    if query:
        raise reading.wrong("amazon_bedrock_api_base", f"must be an address such as https://{host('us-east-1')}")
    place = f"{path}/model/{quote(reading.model.name, safe='')}"
    name = reading.model.name
    upstream = Upstream(
        origin, name, place, (), reading.timeouts, ignore=reading.ignore(), signer=_signer(reading, region)
    )
    return Resolved(BEDROCK.name, frozenset({task}), upstream)


def _signer(reading: Reading, region: str) -> Signer:
    parts = {}
    for name in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"):
        given = any(reading.config.get(name + twin) for twin in ("", "_plaintext"))
        if given or name != "aws_session_token":
            # Each of them ends up in a header or in what one is made of.
            parts[name] = header("x", reading.secret(name), reading.where(name))[1]
    access, secret = parts["aws_access_key_id"], parts["aws_secret_access_key"]
    return Signer(access, secret, region, parts.get("aws_session_token"))


def host(region: str) -> str:
    """https://docs.aws.amazon.com/general/latest/gr/bedrock.html"""
    return f"bedrock-runtime.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


_REGION = re.compile(r"^[a-z]{2,4}(-[a-z]+)+-\d{1,2}\Z")
