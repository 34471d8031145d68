"""What a `.git` says about the running code, read in pure Python: no git process, no object store, bounded reads.

It runs inside other people's applications (`vcs_detector.py`), so it uses the standard library only, opens regular
files only (a pipe would block for ever) and stops early. Reftables and `insteadOf` are not read: a part that needs
them is unknown, never wrong.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

MAX_LEVELS: Final = 64  # folders on the way up
_MAX_POINTER_BYTES: Final = 4096  # HEAD, a ref, commondir, a `.git` file
_MAX_CONFIG_BYTES: Final = 1 << 18
_MAX_PACKED_BYTES: Final = 8 << 20  # about 100,000 references
_MAX_SYMBOLIC: Final = 5  # git's own limit for references to references
_FULL_HASH: Final = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})")
_REF: Final = re.compile(r"refs/(?!.*(?:\.\.|//|/\.|@\{))[^\x00-\x20\x7f~^:?*\[\\]{1,250}")
_NAME: Final = re.compile(r"[^\x00-\x20\x7f]{1,250}")
_SCP: Final = re.compile(r"(?:[^/\s]*@)?([A-Za-z0-9.-]+):(?!//)(\S+)")  # git@host:owner/name.git
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]")
_SSH_HOSTS: Final = {  # where the ssh host of a forge is not its web host
    "altssh.bitbucket.org": "bitbucket.org",
    "altssh.gitlab.com": "gitlab.com",
    "ssh.github.com": "github.com",
}


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The code that runs. `revision` is a full hash in lower case; `name` and `url` are "" when unknown."""

    revision: str
    name: str = ""
    url: str = ""


def full_hash(text: str) -> str:
    """The text as a full commit hash (SHA-1 or SHA-256) in lower case, or "" when it is none."""
    found = text.strip().lower()
    return found if _FULL_HASH.fullmatch(found) and found.strip("0") else ""


def short_ref(ref: str) -> str:
    """The branch or tag that a reference names, as a person says it; "" for what is no such name."""
    name = ref.strip()
    for prefix in ("refs/heads/", "refs/tags/", "refs/remotes/origin/", "origin/"):
        if name.startswith(prefix):
            name = name[len(prefix) :]
            break
    return name if _NAME.fullmatch(name) and name != "HEAD" else ""


def web_url(remote: str) -> str:
    """The https form of a remote without credentials and without `.git`; "" for paths and for what is unclear.

    An ssh host without a dot is most often an alias of ~/.ssh/config, which is no address: it gives "".
    """
    text = remote.strip()
    if len(text) > 2000 or not text.isascii() or not text.isprintable() or " " in text:
        return ""
    scheme, host, path = _parts(text)
    path = path.strip("/").removesuffix(".git").rstrip("/")
    if not scheme or not path or "@" in path or ":" in path or ".." in path.split("/"):
        return ""
    return f"{scheme}://{host}/{path}"


def _parts(text: str) -> tuple[str, str, str]:
    """Scheme (http or https), host with its port, path; the scheme is "" when there is no such form."""
    nothing = ("", "", "")
    if "://" not in text:
        match = _SCP.fullmatch(text)
        return _over_ssh(match[1], match[2]) if match else nothing
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return nothing
    host = (url.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    # an "@" behind the host: a password with "/", "?" or "#" in it was cut there, and what looks like a host is none
    if not _HOST.fullmatch(host) or "@" in url.path + url.query + url.fragment:
        return nothing
    if url.scheme in ("http", "https"):
        return url.scheme, f"{host}:{port}" if port else host, url.path
    if url.scheme in ("ssh", "git+ssh", "ssh+git", "git"):
        return _over_ssh(host, url.path)  # the port is sshd's, not the web server's
    return nothing


def _over_ssh(host: str, path: str) -> tuple[str, str, str]:
    host = host.lower()
    if host == "ssh.dev.azure.com":  # v3/organization/project/repository
        version, _, rest = path.strip("/").partition("/")
        project, _, repository = rest.rpartition("/")
        return "https" if version == "v3" and project else "", "dev.azure.com", f"{project}/_git/{repository}"
    return "https" if "." in host else "", _SSH_HOSTS.get(host, host), path


def upwards(folder: Path, ceilings: Iterable[str] = ()) -> Iterator[Path]:
    """The folder and those above it, up to a ceiling (git's GIT_CEILING_DIRECTORIES), at most 64."""
    stops = {ceiling.rstrip("/") for ceiling in ceilings}
    for above in (folder, *folder.parents)[:MAX_LEVELS]:
        if above != folder and str(above) in stops:
            return
        yield above


def find_git_dir(folder: Path, ceilings: Iterable[str] = ()) -> Path | None:
    """The git directory of the work tree around `folder`: `.git`, or what a `.git` file (worktree, submodule) names."""
    for above in upwards(folder, ceilings):
        found = _git_dir(above / ".git")
        if found is not None:
            return found
    return None


def _git_dir(dot_git: Path) -> Path | None:
    pointer = read_text(dot_git, _MAX_POINTER_BYTES)  # "" for a folder
    if pointer.startswith("gitdir:"):
        target = pointer.removeprefix("gitdir:").strip()
        dot_git = dot_git.parent / target if target else dot_git
    return dot_git if read_text(dot_git / "HEAD", _MAX_POINTER_BYTES) else None


def read_checkout(git_dir: Path) -> Checkout | None:
    """What HEAD of a git directory (of a bare repository as well) points at; None when that cannot be told.

    Never raises for what it finds: unreadable, damaged and foreign files count as absent.
    """
    common = git_dir / (read_text(git_dir / "commondir", _MAX_POINTER_BYTES).strip() or ".")
    value, ref = read_text(git_dir / "HEAD", _MAX_POINTER_BYTES).strip(), ""
    for _ in range(_MAX_SYMBOLIC):
        if not value.startswith("ref:"):
            break
        ref = value.removeprefix("ref:").strip()
        if not _REF.fullmatch(ref):
            return None
        value = _read_ref(git_dir, common, ref)
    revision = full_hash(value)
    if not revision:
        return None
    return Checkout(revision=revision, name=short_ref(ref), url=web_url(_origin(common / "config")))


def _read_ref(git_dir: Path, common: Path, ref: str) -> str:
    for folder in (
        git_dir,
        common,
    ):  # a worktree's own references come first, branches are in the common folder
        if value := read_text(folder / ref, _MAX_POINTER_BYTES).strip():
            return value
    return _packed_ref(common / "packed-refs", ref)


def _packed_ref(file: Path, ref: str) -> str:
    # lines of "<hash> <ref>\n"; the newline is searched too, so that no longer name and no cut line is taken for it
    packed = _read(file, _MAX_PACKED_BYTES)
    at = packed.find(f" {ref}\n".encode())
    if at < 0:
        return ""
    return packed[packed.rfind(b"\n", 0, at) + 1 : at].decode("ascii", "replace")


def _origin(config: Path) -> str:
    """The url of the remote `origin`, as written; of several the first, from which git fetches."""
    inside = False
    for raw in read_text(config, _MAX_CONFIG_BYTES).splitlines():
        line = raw.strip()
        if line.startswith("["):
            inside = (
                re.fullmatch(r'\[\s*remote\s+"origin"\s*\]\s*(?:[#;].*)?', line, re.IGNORECASE) is not None
            )
        elif inside and (match := re.fullmatch(r"url\s*=\s*(.*)", line, re.IGNORECASE)):
            return re.split(r"\s[#;]", match[1])[0].strip().strip('"')
    return ""


def read_text(file: Path, limit: int) -> str:
    """A small text file; "" when it is absent, unreadable, no regular file or larger than `limit` bytes."""
    content = _read(file, limit + 1)
    return "" if len(content) > limit else content.decode("utf-8", "replace")


def _read(file: Path, limit: int) -> bytes:
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    )
    try:
        descriptor = os.open(file, flags)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return b""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
