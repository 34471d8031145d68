"""The resource detector `vcs` for Python's OpenTelemetry SDK: `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=otel,vcs`.

It runs inside the application that is observed, so it loads nothing heavy and cannot fail: docs/revision.md.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from opentelemetry.sdk.resources import Resource, ResourceDetector

from obsvty.otlp.vcs import Places, attributes, places

log = logging.getLogger(__name__)


class VcsResourceDetector(ResourceDetector):
    """Sets `vcs.ref.head.revision`, and `vcs.ref.head.name` and `vcs.repository.url.full` where they are known.

    Asked in this order: the environment, a build stamp (`obsvty stamp`), `.git`.
    """

    def detect(self) -> Resource:
        """The attributes of the code that runs; an empty resource when it is unknown. Never raises."""
        try:
            return Resource(dict(attributes(os.environ, places_of_this_process())))
        except Exception as exc:  # noqa: BLE001 a guest in another program: whatever happens is not worth its start
            log.debug("The running revision could not be read: %s", type(exc).__name__)
            return Resource({})


def places_of_this_process() -> Places:
    """The working folder and the main file, which is known by `sys.argv` alone while Python is still starting."""
    try:
        working = Path.cwd()
    except OSError:  # it was removed
        working = None
    main = getattr(sys.modules.get("__main__"), "__file__", None) or next(iter(sys.argv), "")
    if not isinstance(main, str) or (working is None and not Path(main).is_absolute()):
        return places(working, None)
    return places(working, Path(main).resolve())
