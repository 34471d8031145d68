"""Insight to outside: the verdict screen, the alert, the incident notebook, the report."""
