"""Streaming gzip and zstd that never produces more than it was asked for: a bomb costs its limit, not its size."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from obsvty.errors import OtlpError

if TYPE_CHECKING:
    from collections.abc import Iterator

Encoding = Literal["", "gzip", "zstd"]

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_PIECE: Final = 1 << 20
# zstd cannot be told how much to produce; 4 bytes can make one block of 128 KiB, so 256 bytes make 8 MiB at most
_ZSTD_FEED: Final = 256


class _ZstdObject(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def encoding_of(head: bytes) -> Encoding:
    """The compression that the first four bytes of a file say."""
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    return "zstd" if head.startswith(_ZSTD_MAGIC) else ""


class Inflater:
    """Feed compressed chunks, take plain ones. Several members (or frames) in a row are one stream."""

    def __init__(self, encoding: Encoding) -> None:
        """`encoding` "" passes chunks through."""
        self._encoding = encoding
        self._gzip = zlib.decompressobj(wbits=31)
        self._zstd: _ZstdObject | None = None
        self._inside = False  # a member has begun and not ended

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The plain bytes of `chunk`, in pieces of at most a few MiB; take them one by one to stay bounded.

        Raises:
            OtlpError: the bytes are not of this compression.
        """
        if not self._encoding:
            yield chunk
        elif self._encoding == "gzip":
            yield from self._feed_gzip(chunk)
        else:
            yield from self._feed_zstd(chunk)

    def finish(self) -> None:
        """Say that the input is over.

        Raises:
            OtlpError: it ended in the middle of a member.
        """
        if self._inside:
            raise OtlpError(f"The {self._encoding} stream is cut off.", hint="Send or copy it again, whole.")

    def _feed_gzip(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if not self._inside and not chunk.strip(b"\0"):
                return  # zero padding after a member, as tape-minded tools write it
            if not self._inside:
                self._gzip = zlib.decompressobj(wbits=31)
                self._inside = True
            try:
                piece = self._gzip.decompress(chunk, _PIECE)
            except zlib.error as exc:
                raise OtlpError("These bytes are not gzip.", hint="Check the compression setting.") from exc
            if piece:
                yield piece
            if self._gzip.eof:
                chunk, self._inside = self._gzip.unused_data, False
            else:
                chunk = self._gzip.unconsumed_tail

    def _feed_zstd(self, chunk: bytes) -> Iterator[bytes]:
        import zstandard

        for start in range(0, len(chunk), _ZSTD_FEED):
            part = chunk[start : start + _ZSTD_FEED]
            while part:
                if self._zstd is None:
                    self._zstd = cast("_ZstdObject", zstandard.ZstdDecompressor().decompressobj())
                    self._inside = True
                try:
                    piece = self._zstd.decompress(part)
                except zstandard.ZstdError as exc:
                    raise OtlpError(
                        "These bytes are not zstd.", hint="Check the compression setting."
                    ) from exc
                if piece:
                    yield piece
                part = b""
                if self._zstd.eof:
                    part, self._zstd, self._inside = self._zstd.unused_data, None, False
