"""Pages about the services, made from telemetry: operations, calls, deployments. Rewritten only when they change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from obsvty.errors import DocumentError, NothingFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from obsvty.model import Deployment, Overview, ServiceMap
    from obsvty.privacy import Gate

_TEMPLATES = Path(__file__).parent / "templates"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def build_catalog(
    folder: Path,
    *,
    gate: Gate,
    service_map: ServiceMap,
    operations: Mapping[str, Overview],
    deployments: Sequence[Deployment],
) -> list[Path]:
    """Write one Markdown page a service and an index, through the gate; returns the pages that changed.

    Raises:
        NothingFound: telemetry names no service. DocumentError: the folder cannot be written.
    """
    import jinja2

    if not service_map.services:
        raise NothingFound("No service has sent telemetry yet.", hint="obsvty serve, or obsvty import FILE")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 Markdown, and every value passes the gate
        keep_trailing_newline=True,
    )
    page = environment.get_template("service.md.j2")
    texts: dict[str, str] = {}
    index = ["# Services", ""]
    for service in service_map.services:
        name = f"{_UNSAFE.sub('-', service) or 'unnamed'}.md"
        found = operations.get(service)
        texts[name] = page.render(
            service=service,
            operations=found.groups if found else (),
            calls=[e for e in service_map.edges if e.source == service],
            callers=[e for e in service_map.edges if e.target == service and e.target_kind == "service"],
            deployments=[d for d in deployments if d.service == service],
        )
        index.append(f"- [{service}]({name})")
    texts["index.md"] = "\n".join([*index, ""])
    changed: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in sorted(texts.items()):
            clean = gate.text(text).text
            path = folder / name
            if not path.exists() or path.read_text(encoding="utf-8") != clean:
                path.write_text(clean, encoding="utf-8")
                changed.append(path)
    except OSError as exc:
        raise DocumentError(f"{folder} cannot be written.", hint="Name another folder with -o.") from exc
    return changed
