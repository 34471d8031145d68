"""Old and new names end in the same column, whichever a library uses."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from obsvty.otlp import decode_slow
from obsvty.otlp.decode import decode
from obsvty.otlp.normalize import CODE_NAMES, RESOURCE_NAMES, SPAN_NAMES, revision_in_version
from obsvty.store.schema import TRACES

SHA = "3580ae37becc820304b2746c8617e59575eb4708"


def promoted(kind: int = 3, resource: dict | None = None, **attributes: str | int | None) -> dict:
    """The span's row, found by both decoders; `__` stands for a dot, None for a key without a value."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for key, value in (resource or {}).items():
        group.resource.attributes.add(key=key, value=AnyValue(string_value=value))
    span = group.scope_spans.add().spans.add(kind=kind)
    for key, value in attributes.items():
        entry = span.attributes.add(key=key.replace("__", "."))
        if value is not None:
            entry.value.CopyFrom(
                AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
            )
    body = request.SerializeToString()
    assert decode("traces", [body])["traces"].equals(decode_slow.decode("traces", [body])["traces"])
    return decode("traces", [body])["traces"].to_pylist()[0]


@pytest.mark.parametrize(
    ("column", "name"),
    [(column, name) for column, names in (SPAN_NAMES | CODE_NAMES).items() for name in names],
)
def test_every_name_of_the_table_reaches_its_column(column: str, name: str) -> None:
    expected = 404 if column in ("http_status", "code_line") else "404"
    assert promoted(**{name: "404"})[column] == expected
    assert promoted(**{name: 404})[column] == expected


@pytest.mark.parametrize(
    ("column", "name"), [(column, name) for column, names in RESOURCE_NAMES.items() for name in names]
)
def test_every_resource_name_reaches_its_column(column: str, name: str) -> None:
    assert promoted(resource={name: "value"})[column] == "value"


def test_the_tables_name_only_columns_that_exist() -> None:
    assert set(SPAN_NAMES | CODE_NAMES | RESOURCE_NAMES) <= set(TRACES.names)


def test_the_new_name_wins_in_any_order_and_the_first_of_doubled_keys() -> None:
    assert promoted(http__method="OLD", http__request__method="NEW")["http_method"] == "NEW"
    assert promoted(http__request__method="NEW", http__method="OLD")["http_method"] == "NEW"
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    for value in ("first", "second"):
        span.attributes.add(key="http.route", value=AnyValue(string_value=value))
    assert decode("traces", [request.SerializeToString()])["traces"]["http_route"].to_pylist() == ["first"]


def test_an_unset_new_name_does_not_hide_the_old_one() -> None:
    assert promoted(http__request__method=None, http__method="GET")["http_method"] == "GET"


@pytest.mark.parametrize(
    ("text", "number"), [("200", 200), ("0", 0), ("2xx", None), ("-1", None), ("", None), ("9" * 10, None)]
)
def test_a_status_is_a_plain_number_or_nothing(text: str, number: int | None) -> None:
    assert promoted(http__status_code=text)["http_status"] == number


@pytest.mark.parametrize(
    ("attributes", "host", "path"),
    [
        ({"url.full": "https://user:pw@api.example:8443/v1/x?token=1#f"}, "api.example:8443", "/v1/x"),
        ({"http.url": "http://127.0.0.1:9090/acquirer/charge"}, "127.0.0.1:9090", "/acquirer/charge"),
        ({"url.full": "https://new/n", "http.url": "http://old/o"}, "new", "/n"),
        ({"url.full": "https://[::1]:80/x"}, "[::1]:80", "/x"),
        ({"url.full": "https://host"}, "host", None),
        ({"url.full": "not a url", "server.address": "db", "server.port": 5432}, "db:5432", None),
        ({"server.address": "db"}, "db", None),
        ({"net.peer.name": "old", "net.peer.port": 80}, "old:80", None),
        ({"url.path": "/p", "http.target": "/t?q=1"}, None, "/p"),
        ({"http.target": "/t?q=secret"}, None, "/t"),
        ({"http.target": "*"}, None, None),
        ({"http.host": "shop:8080"}, "shop:8080", None),
        ({}, None, None),
    ],
)
def test_host_and_path_come_from_the_url_or_its_parts(
    attributes: dict, host: str | None, path: str | None
) -> None:
    found = promoted(**attributes)
    assert (found["url_host"], found["url_path"]) == (host, path)


def test_the_peer_of_a_server_span_is_the_client_and_not_its_host() -> None:
    attributes = {"net.peer.name": "client", "net.host.name": "shop", "net.host.port": 8080}
    assert promoted(kind=2, **attributes)["url_host"] == "shop:8080"
    assert promoted(kind=3, **attributes)["url_host"] == "client"


def test_an_old_function_gets_its_namespace() -> None:
    assert promoted(code__function="pay", code__namespace="shop.cards")["code_function"] == "shop.cards.pay"
    assert promoted(code__function="pay")["code_function"] == "pay"
    assert promoted(code__function="pay", code__function__name="shop.pay")["code_function"] == "shop.pay"


@pytest.mark.parametrize(
    ("version", "revision"),
    [
        (SHA, SHA), (SHA.upper(), SHA), ("3580ae3", "3580ae3"), ("1.5.0+3580ae3", "3580ae3"),
        ("1.5.0+build.7.g3580ae3", "3580ae3"),
        ("1.5.0", None), ("20261125", None), ("1.5.0-3580ae3", None), ("2.0.1234567", None),
        ("", None), ("feedme", None),
    ],
)  # fmt: skip
def test_a_version_may_name_its_revision(version: str, revision: str | None) -> None:
    assert revision_in_version(version) == revision
    assert promoted(resource={"service.version": version})["vcs_revision"] == revision


def test_a_revision_of_its_own_beats_one_in_the_version() -> None:
    resource = {"service.version": "1.0+aaaaaaa", "git.commit.sha": "bbbbbbb", "vcs.ref.head.revision": SHA}
    assert promoted(resource=resource)["vcs_revision"] == SHA
