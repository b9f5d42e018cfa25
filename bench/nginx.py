"""nginx in two parts: the canned upstream for whole answers, and the plain reverse proxy we measure against.

The proxy does what a reverse proxy must and nothing else: keep-alive on both sides, no logs, no buffering of
streams, one worker. It checks no token, reads no body, counts nothing: it is the floor.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.dialects import DIALECTS, TOKEN
from bench.process import BenchError
from bench.wire import CANNED_MARK

ANSWER = (
    b"Philosophers call it "
    + CANNED_MARK
    + b". One answer says yes: the form and the history go on, and these make the ship. The other says no: the matter "
    b"is gone, and the planks in the shed have the better claim. I would defend the first."
)
CANNED = (
    b'{"id":"chatcmpl-bench0000000000000000001","object":"chat.completion","created":1750000000,'
    b'"model":"upstream-model","choices":[{"index":0,"message":{"role":"assistant","content":"'
    + ANSWER
    + b'","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":71,"completion_tokens":64,"total_tokens":135,'
    b'"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,'
    b'"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default",'
    b'"system_fingerprint":"fp_bench"}'
)

_FRAME = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile {files};
events {{ worker_connections 8192; }}
http {{
    access_log off;
    server_tokens off;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""

_CANNED_SERVER = """\
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        location / {{ return 200 '{canned}'; }}
{others}
    }}"""

_PROXY_SERVER = """\
    upstream {name} {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://{name}/v1/chat/completions;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer sk-bench";
            {buffering}
        }}
    }}"""


def program() -> str:
    """Where nginx is. Raises `BenchError` that says how to get it."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BenchError("nginx is needed as the upstream and as the yardstick: apt-get install nginx-light")
    return found


def _write(folder: Path, servers: list[str], files: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(_FRAME.format(folder=folder, files=files, servers="\n".join(servers)))
    return [program(), "-p", str(folder), "-c", str(config), "-e", "stderr"]


def canned_command(folder: Path, port: int, *, files: int) -> list[str]:
    """The command of the canned upstream; writes its configuration into the new `folder`."""
    answers = {name: dialect.whole(ANSWER.decode()) for name, dialect in DIALECTS.items()} | {"token": TOKEN}
    lines = [
        f"        location /{name} {{ return 200 '{json.dumps(told, separators=(',', ':'))}'; }}"
        for name, told in answers.items()
    ]
    server = _CANNED_SERVER.format(port=port, canned=CANNED.decode(), others="\n".join(lines))
    return _write(folder, [server], files)


def proxy_command(folder: Path, routes: Mapping[str, tuple[int, int]], *, files: int) -> list[str]:
    """The command of the reverse proxy; `routes` gives own port and upstream port by name, `whole` and streams."""
    servers = [
        _PROXY_SERVER.format(
            name=name, port=port, upstream=upstream, buffering="" if name == "whole" else "proxy_buffering off;"
        )
        for name, (port, upstream) in routes.items()
    ]
    return _write(folder, servers, files)


def version() -> str:
    """The version of nginx that is installed."""
    said = subprocess.run([program(), "-v"], capture_output=True, text=True, check=True, timeout=10).stderr
    return said.rpartition("/")[2].strip()
