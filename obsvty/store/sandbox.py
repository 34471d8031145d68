"""SQL from outside: one read-only statement over the public tables, nothing else.

Two fences. DuckDB itself may open files only below `seg/`, loads no extension, and its settings are locked. That still
lets a statement write into `seg/` (`COPY ... TO`, `ATTACH`) and read single segments, so each statement is also
parsed, by DuckDB's own parser, and its tree may hold only public tables and harmless functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Final, cast

import duckdb

from obsvty.errors import QueryError
from obsvty.model import JsonObject, JsonValue

# Functions that make a table out of their arguments alone
_TABLE_FUNCTIONS: Final = frozenset(
    {"unnest", "range", "generate_series", "repeat", "repeat_row", "json_each", "json_tree"}
)
# Scalar functions that read settings, the environment or files, plan other SQL, or have effects; and `repeat`, whose
# text is not counted against the memory limit (4 GB in one call, and no interrupt reaches it)
_FORBIDDEN: Final = re.compile(
    r"repeat|current_setting|getenv|getvariable|write_log|nextval|currval|which_secret|sleep\w*|parse_path_glob"
    r"|(read|json_serialize|json_deserialize|json_execute|pg|has|duckdb|pragma|query|parquet|sniff|http|create)_.*"
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXPLAIN: Final = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)
_MAX_CHARS: Final = 100_000
_READ_ONLY_HINT: Final = (
    "Write one SELECT, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES or EXPLAIN statement."
)


def check_query(connection: duckdb.DuckDBPyConnection, query: str, tables: Collection[str]) -> str:
    """The one statement of `query`, when it only reads `tables`.

    Raises:
        QueryError: it does not parse, is more than one statement, or does something else than reading.
    """
    if len(query) > _MAX_CHARS:
        raise QueryError(f"The query is longer than {_MAX_CHARS} characters.", hint=_READ_ONLY_HINT)
    if "\0" in query:
        raise QueryError("The query holds a NUL character.", hint=_READ_ONLY_HINT)
    inner = query
    explain = _EXPLAIN.match(query)
    if explain:
        inner = query[explain.end() :]
    _check_tree(_parse(connection, inner), {name.lower() for name in tables})
    return query


def query_error(exc: duckdb.Error, *, memory_limit: str = "") -> QueryError:
    """What DuckDB said, without values of the data: only errors about the text of a query keep their message."""
    if isinstance(exc, duckdb.OutOfMemoryException):
        return QueryError(
            f"The query needs more memory than it may use{f' ({memory_limit})' if memory_limit else ''}.",
            hint="Narrow the time window, select fewer columns, or aggregate first.",
        )
    if isinstance(exc, duckdb.ParserException | duckdb.CatalogException | duckdb.BinderException):
        return QueryError(
            f"The query is wrong: {_first_line(str(exc))}", hint="SHOW TABLES; DESCRIBE traces."
        )
    if isinstance(exc, duckdb.PermissionException):
        return QueryError("The query would leave the sandbox.", hint=_READ_ONLY_HINT)
    kind = type(exc).__name__.removesuffix("Exception")
    return QueryError(
        f"The query failed while it ran ({kind}).",
        hint="Use TRY_CAST for values that may not convert, and check each function's arguments.",
    )


def _parse(connection: duckdb.DuckDBPyConnection, query: str) -> JsonObject:
    try:
        row = connection.execute("select json_serialize_sql(?::varchar)", (query,)).fetchone()
        found = cast("JsonObject", json.loads(cast("tuple[str]", row)[0]))
    except (duckdb.Error, RecursionError) as exc:
        raise QueryError("The query is too deeply nested or cannot be read.", hint=_READ_ONLY_HINT) from exc
    if found.get("error"):
        if found.get("error_type") == "parser":
            raise QueryError(f"The query is wrong: {found.get('error_message')}.", hint=_READ_ONLY_HINT)
        raise QueryError("The query is not read-only, or is not one statement.", hint=_READ_ONLY_HINT)
    statements = cast("list[JsonObject]", found["statements"])
    if len(statements) != 1:
        raise QueryError(f"The query holds {len(statements)} statements.", hint=_READ_ONLY_HINT)
    return statements[0]


def _check_tree(statement: JsonObject, tables: Collection[str]) -> None:
    nodes = list(_nodes(statement))
    known = set(tables)
    for node in nodes:
        for entry in _entries(node.get("cte_map")):
            name = str(entry.get("key", ""))
            if not _NAME.fullmatch(name):
                raise QueryError(
                    "A WITH name may hold only letters, digits and underscores.", hint=_READ_ONLY_HINT
                )
            known.add(name.lower())
        if node.get("type") in ("RECURSIVE_CTE_NODE", "CTE_NODE"):
            known.add(str(node.get("cte_name", "")).lower())
    for node in nodes:
        kind = node.get("type")
        if kind == "BASE_TABLE":
            name = str(node.get("table_name", ""))
            qualified = node.get("schema_name") or node.get("catalog_name")
            if qualified or name.lower() not in known or not _NAME.fullmatch(name):
                raise QueryError(
                    "The query names a table that is not one of the tables it may read.",
                    hint=f"Tables: {', '.join(sorted(tables))}; without a schema, and never a file.",
                )
        elif kind == "TABLE_FUNCTION":
            function = node.get("function")
            name = str(function.get("function_name", "")) if isinstance(function, dict) else ""
            if name.lower() not in _TABLE_FUNCTIONS:
                raise QueryError(
                    "The query calls a table function that is outside the sandbox.",
                    hint=f"Allowed after FROM: {', '.join(sorted(_TABLE_FUNCTIONS))}, and the tables.",
                )
        elif kind == "SHOW_REF":
            if node.get("query") is None and node.get("table_name") != '"tables"':
                raise QueryError(
                    "Of SHOW, only SHOW TABLES and SHOW <table> are allowed.", hint=_READ_ONLY_HINT
                )
            if node.get("schema_name") or node.get("catalog_name"):
                raise QueryError("SHOW TABLES takes no schema here.", hint=_READ_ONLY_HINT)
        elif "function_name" in node and _FORBIDDEN.fullmatch(str(node["function_name"]).lower()):
            raise QueryError("The query calls a function that is outside the sandbox.", hint=_READ_ONLY_HINT)


def _entries(cte_map: JsonValue) -> Iterator[JsonObject]:
    entries = cte_map.get("map") if isinstance(cte_map, dict) else None
    if isinstance(entries, list):
        yield from (entry for entry in entries if isinstance(entry, dict))


def _nodes(statement: JsonObject) -> Iterator[JsonObject]:
    waiting: list[JsonValue] = [statement]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _first_line(message: str) -> str:
    return message.partition("\n")[0].strip()
