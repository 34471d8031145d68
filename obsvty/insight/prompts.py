"""Renders the prompts of this folder, and the fence that keeps data from posing as instructions."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - the result is a prompt, not a page
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )


def render(template: str, **values: str | bool | Sequence[str] | Sequence[tuple[str, str]]) -> str:
    """One of the `*.md.j2` files of this folder; a variable that is not given raises `jinja2.UndefinedError`."""
    variables: Mapping[str, object] = values
    return _environment().get_template(f"{template}.md.j2").render(variables).strip() + "\n"


def make_fence(data: str) -> str:
    """The code that the lines around the data start with.

    It is a hash of the data, so data cannot hold its own code: whoever writes a part of it would have to know all of it
    and find a fixed point. Equal data gives an equal code, which keeps runs equal and lets servers reuse their cache.
    """
    text = data
    while (code := hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]) in data:
        text += "."
    return f"data-{code}"
