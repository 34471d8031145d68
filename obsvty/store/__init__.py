"""The store: requests become durable, then segments; readers see them as live Ibis tables. DuckDB lives only here."""
