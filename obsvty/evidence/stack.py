"""Stack traces of eight languages to code locations, innermost frame first.

Languages differ: Python prints the innermost frame last and the first cause first; Java prints the innermost frame
first and the root cause last. Here the frames of the root cause always come first, each exception's innermost frame
before its callers, so that position is distance from where it broke.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from obsvty.model import CodeLocation

_MAX_FRAMES: Final = 200  # recursion fills a trace with the same frames

_PYTHON: Final = re.compile(r'^\s*File "([^"\n]+)", line (\d+)(?:, in (.+?))?\s*$')
_PYTHON_CHAIN: Final = re.compile(
    r"^(During handling of the above exception|The above exception was the direct cause)"
)
_JAVA: Final = re.compile(r"^\s*at (?:[\w.@-]*/{1,2})*([\w$.<>]+)\.([\w$<>]+)\(([\w$-]+\.\w+):(\d+)\)")
_JAVA_CAUSE: Final = re.compile(r"^\s*Caused by: ")
_CSHARP: Final = re.compile(r"^\s*at (.+?)\((?:[^()]|\([^()]*\))*\) in (.+?):line (\d+)\s*$")
_JAVASCRIPT: Final = re.compile(
    r"^\s*at (?:(?:async )?(?:new )?(.+?) \((?!native)(.+?):(\d+)(?::\d+)?\)|(?:async )?([^\s()]+?):(\d+):\d+)\s*$"
)
_FIREFOX: Final = re.compile(r"^([\w$./<>*\[\]]*)@(\S+?):(\d+):\d+$")
_GO_FILE: Final = re.compile(r"^\t(\S+\.go):(\d+)(?: \+0x[0-9a-f]+)?\s*$")
_GO_ARGUMENTS: Final = re.compile(r"\([^()]*\)$| in goroutine \d+$")
_RUBY: Final = re.compile(r"^\s*(?:from |\d+: from )?(\S+?\.(?:rb|erb|rake)):(\d+)(?::in [`'](.+?)')?")
_RUST_FILE: Final = re.compile(r"^\s+at (\S+?\.rs):(\d+)(?::\d+)?\s*$")
_RUST_FUNCTION: Final = re.compile(r"^\s*\d+:\s+(?:0x[0-9a-f]+ - )?([\w:<>& ,{}#$]+?)\s*$")
_RUST_PANIC: Final = re.compile(r"panicked at (?:'.*', )?(\S+?\.rs):(\d+)")
_PHP: Final = re.compile(r"^#\d+ (\S+?\.php)\((\d+)\): ([\w\\:>{}-]+)")
_PHP_TOP: Final = re.compile(r" in (\S+?\.php)(?: on line |:)(\d+)")


def parse_stack(text: str) -> list[CodeLocation]:
    """Frames of a stack trace, innermost first; repeated frames once, `count` says how often.

    Third-party frames are kept: what is in-app is decided where the repository is known. Text that is no stack trace
    gives an empty list.
    """
    groups: list[list[CodeLocation]] = [[]]
    python = False
    before = ""
    for line in text.splitlines():
        if _PYTHON_CHAIN.match(line) or _JAVA_CAUSE.match(line):
            groups.append([])
        else:
            for frame in _frames(line, before):
                python = python or bool(_PYTHON.match(line))
                groups[-1].append(frame)
        if line.strip():
            before = line
    if python:  # outermost first in each block, the root cause's block first
        ordered = [frame for group in groups for frame in reversed(group)]
    else:
        ordered = [frame for group in reversed(groups) for frame in group]
    counted: dict[tuple[str, int, str], int] = {}
    for frame in ordered:
        key = (frame.file, frame.line, frame.function)
        counted[key] = counted.get(key, 0) + 1
    return [
        CodeLocation(file=file, line=line, function=function, source="stack", count=count)
        for (file, line, function), count in list(counted.items())[:_MAX_FRAMES]
    ]


def _frames(line: str, before: str) -> Iterator[CodeLocation]:
    """The frame that a line holds, if any; Go and Rust name the function on the line before."""
    if found := _PYTHON.match(line):
        yield _at(found[1], found[2], found[3])
    elif found := _JAVA.match(line):
        yield _at(_java_path(found[1], found[3]), found[4], f"{found[1].rsplit('.', 1)[-1]}.{found[2]}")
    elif found := _CSHARP.match(line):
        yield _at(found[2], found[3], found[1])
    elif found := _RUST_FILE.match(line):
        function = _RUST_FUNCTION.match(before)
        yield _at(found[1], found[2], function[1].rsplit("::", 1)[-1] if function else "")
    elif found := _JAVASCRIPT.match(line):
        file = found[2] or found[4]
        if ":" in _plain(file) or file == "native":
            return
        yield _at(_plain(file), found[3] or found[5], found[1])
    elif found := _GO_FILE.match(line):
        function = _GO_ARGUMENTS.sub("", before.strip().removeprefix("created by "))
        yield _at(found[1], found[2], function.rsplit("/", 1)[-1])
    elif found := _PHP.match(line):
        yield _at(found[1], found[2], "")
    elif found := _RUBY.match(line):
        yield _at(found[1], found[2], found[3])
    elif found := _RUST_PANIC.search(line) or _PHP_TOP.search(line):
        yield _at(found[1], found[2], "")
    elif found := _FIREFOX.match(line):
        yield _at(_plain(found[2]), found[3], found[1])


def _at(file: str, line: str, function: str | None) -> CodeLocation:
    return CodeLocation(file=file, line=int(line), function=function or "", source="stack")


def _java_path(owner: str, file: str) -> str:
    """A frame names the class and the bare file: `com.shop.cards.Validator` + `Validator.java` is a path's end."""
    package = [part for part in owner.split(".")[:-1] if part]
    return "/".join([*package, file])


def _plain(file: str) -> str:
    """Bundlers and file URLs put a scheme before the path."""
    file = re.sub(r"^(?:file|webpack|webpack-internal|app|https?)://(?:/?\([\w-]+\))?/*(?:\./)*", "/", file)
    return file.split("?", 1)[0]
