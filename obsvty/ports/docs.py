"""DocGenerator: how a document becomes a file."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from obsvty.privacy import SanitizedDocument


@dataclass(frozen=True, kw_only=True)
class RenderedDocument:
    """A finished file. `data` was made from a sanitized document and may leave."""

    data: bytes
    media_type: str
    suffix: str  # ".html"


class DocGenerator(ABC):
    """Renders a sanitized document. No output may ask anything of the network when it is opened.

    Constructing a generator does no I/O. `render` raises `DocumentError` with a hint that names the command which
    mends it when a format needs something that is not installed.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def formats(self) -> Sequence[str]:
        """Formats that `render` takes, the preferred one first: `("html", "md", "ipynb")`."""

    @abstractmethod
    def render(self, document: SanitizedDocument, to: str) -> RenderedDocument:
        """The document in one of `formats`."""
