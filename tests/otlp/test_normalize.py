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


# The deprecated lists of semantic-conventions 1.44, as far as a promoted column holds the fact: (old names as a library
# sends them, the new ones, span kind). An upgrade of the SDK must not change a row's columns
RENAMED = [
    ({"http.method": "GET"}, {"http.request.method": "GET"}, 3),
    ({"http.status_code": 503}, {"http.response.status_code": 503}, 3),
    ({"http.url": "https://api:8443/v1?q=1"}, {"url.full": "https://api:8443/v1?q=1"}, 3),
    ({"http.target": "/v1?q=1"}, {"url.path": "/v1", "url.query": "q=1"}, 2),
    ({"http.host": "shop:8080"}, {"server.address": "shop", "server.port": 8080}, 2),
    ({"http.server_name": "shop"}, {"server.address": "shop"}, 2),
    ({"net.host.name": "shop", "net.host.port": 80}, {"server.address": "shop", "server.port": 80}, 2),
    ({"net.peer.name": "db", "net.peer.port": 5432}, {"server.address": "db", "server.port": 5432}, 3),
    ({"net.peer.name": "someone", "net.peer.port": 9}, {"client.address": "someone", "client.port": 9}, 2),
    ({"net.sock.peer.addr": "10.0.0.1"}, {"network.peer.address": "10.0.0.1"}, 3),
    (
        {"net.sock.peer.addr": "::1", "net.sock.peer.port": 1},
        {"network.peer.address": "::1", "network.peer.port": 1},
        3,
    ),
    ({"net.peer.ip": "10.0.0.1"}, {"network.peer.address": "10.0.0.1"}, 3),
    ({"db.system": "mysql"}, {"db.system.name": "mysql"}, 3),
    ({"db.statement": "select 1"}, {"db.query.text": "select 1"}, 3),
    ({"code.filepath": "app/pay.py"}, {"code.file.path": "app/pay.py"}, 1),
    ({"code.lineno": 7}, {"code.line.number": 7}, 1),
    ({"code.namespace": "app.pay", "code.function": "charge"}, {"code.function.name": "app.pay.charge"}, 1),
]
RENAMED_OF_RESOURCES = [
    ({"deployment.environment": "prod"}, {"deployment.environment.name": "prod"}),
    ({"vcs.repository.ref.revision": SHA}, {"vcs.ref.head.revision": SHA}),
    ({"vcs.revision": SHA}, {"vcs.ref.head.revision": SHA}),
    ({"git.commit.sha": SHA}, {"vcs.ref.head.revision": SHA}),
    ({"org.opencontainers.image.revision": SHA}, {"vcs.ref.head.revision": SHA}),
]
SENT = {"attributes", "resource_id"}


@pytest.mark.parametrize(("old", "new", "kind"), RENAMED)
def test_a_span_with_old_names_has_the_columns_of_one_with_new_names(old: dict, new: dict, kind: int) -> None:
    before, after, bare = promoted(kind, **old), promoted(kind, **new), promoted(kind)
    assert {name: before[name] for name in set(before) - SENT} == {
        name: after[name] for name in set(after) - SENT
    }
    columns = {name for name in after if after[name] != bare[name]} - SENT
    assert bool(columns) == (
        "client.address" not in new
    )  # the client of a server span has no column, old or new
    assert {key for key, _ in before["attributes"]} == set(old)


@pytest.mark.parametrize(("old", "new"), RENAMED_OF_RESOURCES)
def test_a_resource_with_old_names_has_the_columns_of_one_with_new_names(old: dict, new: dict) -> None:
    before, after, bare = promoted(resource=old), promoted(resource=new), promoted()
    assert {name: before[name] for name in set(before) - SENT} == {
        name: after[name] for name in set(after) - SENT
    }
    assert {name for name in after if after[name] != bare[name]} - SENT


def test_every_old_name_of_the_tables_is_tried_against_its_new_one() -> None:
    from obsvty.otlp import normalize

    tried = {name for old, new, _ in RENAMED for name in (*old, *new)}
    tried |= {name for old, new in RENAMED_OF_RESOURCES for name in (*old, *new)}
    tables = [*SPAN_NAMES.values(), *CODE_NAMES.values(), *RESOURCE_NAMES.values()]
    hosts = (*normalize.HOST_NAMES, *normalize.CLIENT_HOST_NAMES, *normalize.SERVER_HOST_NAMES)
    renamed = {name for names in tables if len(names) > 1 for name in names}
    assert renamed | {name for pair in hosts for name in pair if name} <= tried
