"""The web pages: the files that were built from `web/`, and what browsers are told to hold them to.

They are the same for everybody and tell nothing: who may see what, the API decides.  Names of files hold a digest of
what is in them, so browsers keep them for ever; only the page itself is asked for again.
"""

import re
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tesela.control.answers import Handler
from tesela.control.facts import Facts
from tesela.errors import PathNotFound

ASSETS = "/assets/{file}"
PAGES = ("/", "/playground", "/serving", "/serving-create", "/serving/{name}", "/serving/{name}/edit", "/sql")
"""Addresses of pages: all are the same file, which looks at its address itself (web/src/lib/router.svelte.ts)."""
PUBLIC = frozenset({ASSETS, *PAGES})
MISSING = (
    "The web pages are not built in this installation.  In a clone, `make serve` builds them; a wheel has them.\n"
    "The HTTP API and the command line work without.\n"
)
KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
}
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
"""The compressed forms beside each file, the better one first."""
NAME = re.compile(r"[\w-][\w.-]{1,100}", re.ASCII)
"""What the build calls its files."""
POLICY = "; ".join((
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    # Text that a model wrote becomes HTML through the sanitiser's policy or not at all.
    "require-trusted-types-for 'script'",
    "trusted-types svelte-trusted-html dompurify",
))  # fmt: skip
"""https://www.w3.org/TR/CSP3/ and https://www.w3.org/TR/trusted-types/"""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "vary": "accept-encoding",
}
FOR_EVER = {"cache-control": "public, max-age=31536000, immutable"}
ASK_AGAIN = {"cache-control": "no-cache"}


def routes(facts: Facts) -> list[Route]:
    index, asset = page(facts), asset_of(facts)
    return [*(Route(path, index, methods=["GET"]) for path in PAGES), Route(ASSETS, asset, methods=["GET"])]


def page(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        found = await run_in_threadpool(_read, facts.static / "index.html", request.headers.get("accept-encoding", ""))
        if found is None:
            return PlainTextResponse(MISSING, 404, {**HEADERS, **ASK_AGAIN})
        return Response(found[0], headers={**HEADERS, **ASK_AGAIN, **found[1]}, media_type=KINDS[".html"])

    return handler


def asset_of(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        name = request.path_params["file"]
        file, found = facts.static / "assets" / name, None
        kind = KINDS.get(file.suffix)
        if kind is not None and NAME.fullmatch(name):
            found = await run_in_threadpool(_read, file, request.headers.get("accept-encoding", ""))
        if found is None:
            raise PathNotFound(f"there is nothing at {request.method} {request.url.path}")
        return Response(found[0], headers={**HEADERS, **FOR_EVER, **found[1]}, media_type=kind)

    return handler


def accepted(header: str) -> frozenset[str]:
    """The encodings that an Accept-Encoding header (RFC 9110, section 12.5.3) allows by name."""
    out = set()
    for part in header.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        if not any(word.replace(" ", "").rstrip("0") in ("q=", "q=0.") for word in parameters):
            out.add(name)
    return frozenset(out)


def _read(file: Path, accepts: str) -> tuple[bytes, dict[str, str]] | None:
    """A file's bytes in the best form that the browser takes, and the headers that say which; None without a file."""
    names = accepted(accepts)
    for encoding, suffix in ENCODINGS:
        if encoding in names:
            try:
                return file.with_name(file.name + suffix).read_bytes(), {"content-encoding": encoding}
            except FileNotFoundError:
                continue
    try:
        return file.read_bytes(), {}
    except FileNotFoundError:
        return None
