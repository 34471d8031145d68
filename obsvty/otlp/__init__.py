"""OTLP in: gRPC, HTTP and files; bytes are checked, stored as they came, and decoded into the canonical tables."""
