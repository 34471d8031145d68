"""Deployments, read off the telemetry: the moment another version or revision of a service began to send."""

# Ibis types a table's column without the operators and methods of its real type; the engine checks those.
# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from obsvty.model import Deployment, from_ns

if TYPE_CHECKING:
    import ibis.expr.types as ir

_SECOND_NS: Final = 1_000_000_000
RETURN_GAP_NS: Final = 15 * _SECOND_NS
"""A revision that was silent for less than this, while another ran, is still the same rollout."""
RETURN_GAP_MEDIANS: Final = 20
"""... and so is one that was silent for less than this many of its own usual pauses: at Poisson arrivals of a
canary a pause of 20 medians has probability 1e-6, so a canary does not look like a chain of rollbacks."""


def deployment_table(traces: ir.Table) -> ir.Table:
    """Deployments of every service and environment as a table.

    A row is the first span of a (version, revision) in a service and environment, or its first span after it
    had gone silent while another one ran (a rollback). A restart of the same revision is none.

    Returns:
        service_name, deployment_env, from_version, from_revision, to_version, to_revision (text, never NULL;
        `from_*` are empty for the first revision seen), at (TIMESTAMP_NS), at_ns (BIGINT), resource_id.
    """
    import ibis

    subject = ["service_name", "deployment_env"]
    release = [*subject, "version", "revision"]
    # one row a second and release: the windows below then sort seconds, not spans
    seconds = (
        traces.filter(traces.service_name.notnull() & traces.start_ns.notnull())
        .mutate(
            deployment_env=traces.deployment_env.fill_null(""),
            version=traces.service_version.fill_null(""),
            revision=traces.vcs_revision.fill_null(""),
            second=traces.start_ns // _SECOND_NS,
        )
        .filter(lambda t: (t.version != "") | (t.revision != ""))
        .group_by([*release, "second"])
        .agg(
            first_ns=lambda t: t.start_ns.min(),
            first_time=lambda t: t.start_time.min(),
            last_ns=lambda t: t.start_ns.max(),
            resource_id=lambda t: t.resource_id.max(),
        )
    )
    own = ibis.window(group_by=release, order_by=["first_ns"])
    everyone = ibis.window(group_by=subject, order_by=["first_ns", "version", "revision"])
    seconds = seconds.mutate(
        own_row=ibis.row_number().over(own), row=ibis.row_number().over(everyone)
    ).mutate(
        gap_ns=lambda t: t.first_ns - t.last_ns.lag().over(own),
        others_between=lambda t: t.row - t.row.lag().over(own) - 1,
    )
    usual_gap = lambda t: t.gap_ns.median().over(ibis.window(group_by=release))  # noqa: E731
    returned = lambda t: (  # noqa: E731
        (t.others_between >= 1)
        & (t.gap_ns >= RETURN_GAP_NS)
        & (t.gap_ns >= t.typical_ns * RETURN_GAP_MEDIANS)
    )
    begun = seconds.mutate(typical_ns=usual_gap).filter(
        lambda t: (t.own_row == 0) | returned(t).fill_null(ibis.literal(value=False))
    )
    in_order = ibis.window(group_by=subject, order_by=["first_ns", "version", "revision"])
    return (
        begun.mutate(
            from_version=lambda t: t.version.lag().over(in_order).fill_null(""),
            from_revision=lambda t: t.revision.lag().over(in_order).fill_null(""),
        )
        .select(
            "service_name",
            "deployment_env",
            "from_version",
            "from_revision",
            to_version="version",
            to_revision="revision",
            at="first_time",
            at_ns="first_ns",
            resource_id="resource_id",
        )
        .order_by(["at_ns", "service_name", "deployment_env", "to_version", "to_revision"])
    )


def find_deployments(traces: ir.Table, resources: ir.Table | None = None) -> list[Deployment]:
    """The deployments in the telemetry, oldest first; the first revision of each service included (empty `from_*`).

    Args:
        traces: the canonical table.
        resources: if given, `repository_url` is filled from `vcs.repository.url.full`.
    """
    rows = cast(
        "list[dict[str, str | int | None]]", deployment_table(traces).drop("at").to_pyarrow().to_pylist()
    )
    urls = _repository_urls(resources) if resources is not None and rows else {}
    return [
        Deployment(
            service=str(row["service_name"]),
            environment=str(row["deployment_env"]),
            from_version=str(row["from_version"]),
            from_revision=str(row["from_revision"]),
            to_version=str(row["to_version"]),
            to_revision=str(row["to_revision"]),
            at=from_ns(int(row["at_ns"] or 0)),
            repository_url=urls.get(str(row["resource_id"]), ""),
        )
        for row in rows
    ]


def _repository_urls(resources: ir.Table) -> dict[str, str]:
    import ibis

    url = ibis.coalesce(
        resources.attributes.get("vcs.repository.url.full", ibis.null(str)),
        resources.attributes.get("vcs.repository.url", ibis.null(str)),
    )
    rows = resources.select("resource_id", url=url).filter(lambda t: t.url.notnull()).to_pyarrow().to_pylist()
    return {str(row["resource_id"]): str(row["url"]) for row in rows}
