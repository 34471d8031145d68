"""Answers from a file alone, with no data folder: it goes through the same decoder and store, in a temporary one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from obsvty.attribute import find_broken_span
from obsvty.otlp.decode import decode
from obsvty.otlp.files import import_files
from obsvty.session import Session
from obsvty.store.writer import Writer

if TYPE_CHECKING:
    from obsvty.model import Attribution
    from obsvty.settings import Settings


def suspects_in_file(path: Path, *, repo: str | Path, base: str, settings: Settings) -> Attribution:
    """Which commit is behind the spans of an OTLP file.

    Args:
        path: an OTLP file of one failing or slow operation.
        repo: the clone.
        base: the last good revision; "" when unknown.
        settings: `[git.services]` may say which folder of the repository a service is built from.

    Raises:
        OtlpError: it is not OTLP. RepositoryMissing: there is no repository.
    """
    with TemporaryDirectory(prefix="obsvty-") as folder:
        with Writer(Path(folder), decode) as writer:
            import_files([path], writer.put, None)
        with Session(Path(folder), settings) as session:
            trace_id, span_id = find_broken_span(session.traces)
            return session.suspects(trace_id, span_id, repo=repo, base=base)
