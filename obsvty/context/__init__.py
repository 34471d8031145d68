"""Evidence to bounded text: what a model, or a tired person, needs to know about one incident, in a page."""

from obsvty.context.build import BUDGET_TOKENS, Section, build_context, build_facts, render
from obsvty.context.tokens import count_tokens

__all__ = ["BUDGET_TOKENS", "Section", "build_context", "build_facts", "count_tokens", "render"]
