"""Durable file operations: what was written and renamed here survives a crash, and errors become `StoreError`."""

from __future__ import annotations

import errno
import logging
import os
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from obsvty.errors import StoreError

log = logging.getLogger(__name__)


def sync_folder(folder: Path) -> None:
    """Make names created, renamed or removed in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def put_in_place(temporary: Path, final: Path) -> None:
    """Make the bytes of `temporary` durable, then give it its name, durably."""
    fd = os.open(temporary, os.O_RDONLY)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)
    temporary.rename(final)
    sync_folder(final.parent)


def write_in_place(final: Path, data: bytes) -> None:
    """Replace a file: readers see the old bytes or the new ones, never a part, also after a crash."""
    temporary = final.with_name(final.name + ".tmp")
    temporary.write_bytes(data)
    put_in_place(temporary, final)


def file_checksum(path: Path) -> int:
    """crc32 of a file's bytes (about 1 GB/s). Raises `OSError`."""
    crc = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def store_error(exc: OSError, folder: Path) -> StoreError:
    """What a failed operation in the data folder means to a person."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"The disk that holds the data folder {folder} is full.",
            hint="Free space, or choose another folder with --data; what was acknowledged is kept.",
        )
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"The data folder {folder} is not writable.",
            hint="Make it writable for this user, or choose another folder with --data.",
        )
    if exc.errno in (errno.ENOTDIR, errno.EEXIST):
        return StoreError(
            f"The data folder {folder} is not a folder.",
            hint="Choose another folder with --data.",
        )
    reason = os.strerror(exc.errno) if exc.errno else type(exc).__name__
    return StoreError(
        f"The data folder {folder} cannot be used: {reason}.",
        hint="Check the disk, or choose another folder with --data.",
    )


def any_store_error(exc: Exception, folder: Path) -> StoreError:
    """What a failure of the writer's loops means; also one that nobody foresaw."""
    if isinstance(exc, StoreError):
        return exc
    if isinstance(exc, OSError):
        return store_error(exc, folder)
    log.error("unexpected error of the writer", exc_info=exc)
    return StoreError(
        f"The writer of {folder} failed ({type(exc).__name__}).",
        hint="What was acknowledged is kept in the log and tried again; please report this.",
    )


@contextmanager
def storing_in(folder: Path) -> Generator[None]:
    """Turn `OSError` into `StoreError`."""
    try:
        yield
    except OSError as exc:
        raise store_error(exc, folder) from exc
