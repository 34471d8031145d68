"""The plain bytes of a file that may be compressed, with a look ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

from obsvty.errors import OtlpError
from obsvty.otlp.inflate import Inflater, encoding_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK: Final = 1 << 18


class Stream:
    """The plain bytes of a file that may be compressed, with a look ahead; memory holds what was asked for."""

    def __init__(self, path: Path, file: BinaryIO, report: Callable[[int], None]) -> None:
        self._path = path
        self._file = file
        self._report = report
        head = file.read(4)
        file.seek(0)
        self._encoding = encoding_of(head)
        self._inflater = Inflater(self._encoding)
        self._pieces = self._inflate()
        self._buffer = bytearray()
        self.position = 0  # in the plain bytes
        self.only_blank_before = True

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay."""
        self._fill(size)
        return bytes(self._buffer[:size])

    def take(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""
        self._fill(size)
        return self._cut(min(size, len(self._buffer)))

    def line(self) -> bytes:
        """Up to and with the next newline, or what is left."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if not self._more():
                return self._cut(len(self._buffer))
        return self._cut(end + 1)

    def rest(self) -> bytes:
        """All that is left."""
        while self._more():
            pass
        return self._cut(len(self._buffer))

    def push_back(self, data: bytes) -> None:
        """Give back what was taken last."""
        self._buffer[:0] = data
        self.position -= len(data)

    def _cut(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self.position += size
        return data

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size and self._more():
            pass

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._buffer += piece
        return True

    def _inflate(self) -> Iterator[bytes]:
        try:
            while chunk := self._file.read(_CHUNK):
                yield from self._inflater.feed(chunk)
                self._report(self._file.tell())
            self._inflater.finish()
        except OtlpError as exc:
            raise OtlpError(
                f"{self._path.name}, byte {self._file.tell()}: the {self._encoding} compression is broken or cut off.",
                hint="Copy or export the file again.",
            ) from exc
