"""What counts as an operation: the engine and Python give the same answer."""

from __future__ import annotations

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obsvty.operations import operation_name, template_name, template_path, template_statement


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("GET /cart/17", "GET /cart/{id}"),
        ("GET /v1/orders/17/items/3", "GET /v1/orders/{id}/items/{id}"),
        ("job 3fa85f64-5717-4562-b3fc-2c963f66afa6", "job {id}"),
        ("GET /cart/{cart_id}", "GET /cart/{cart_id}"),
        ("POST /checkout2", "POST /checkout2"),
        ("grpc.Cart/Get", "grpc.Cart/Get"),
    ],
)
def test_ids_in_span_names_are_templated(name: str, template: str) -> None:
    assert template_name(name) == template


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("GET /abcdef0123456789-:=#_."), max_size=60), min_size=20, max_size=40)
)
def test_the_engine_templates_names_as_python_does(names: list[str]) -> None:
    table = ibis.memtable(pa.table({"name": names}))
    engine = table.select("name", operation=operation_name(table)).to_pyarrow().to_pylist()
    assert {row["name"]: row["operation"] for row in engine} == {name: template_name(name) for name in names}


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/issuer/bin", "/issuer/bin"),
        ("/users/42/cards?token=x", "/users/{id}/cards"),
        ("/v2/objects/9f86d081884c7d659a2f", "/v2/objects/{id}"),
        ("", ""),
    ],
)
def test_paths_lose_their_ids_and_queries(path: str, template: str) -> None:
    assert template_path(path) == template


@pytest.mark.parametrize(
    ("statement", "template"),
    [
        ("UPDATE stock SET qty = qty - 1 WHERE sku = ?", "UPDATE stock SET qty = qty - ? WHERE sku = ?"),
        ("SELECT * FROM t1 WHERE a IN (1, 2,3)  AND b = 'x''y'", "SELECT * FROM t1 WHERE a IN (?) AND b = ?"),
        ("INSERT INTO a(b) VALUES ($1, $2), ($3, $4)", "INSERT INTO a(b) VALUES (?)"),
        ("GET user:17", "GET user:?"),
    ],
)
def test_statements_keep_only_their_shape(statement: str, template: str) -> None:
    assert template_statement(statement) == template


def test_long_statements_are_cut() -> None:
    assert len(template_statement("SELECT " + "column_name, " * 100)) == 160
