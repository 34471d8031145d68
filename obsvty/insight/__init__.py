"""Sanitized to insight: ask an engine, and let through only what the evidence says."""

from obsvty.insight.ask import answer_question, stream_answer, write_insight
from obsvty.insight.check import Checked, Claim, check_claims

__all__ = ["Checked", "Claim", "answer_question", "check_claims", "stream_answer", "write_insight"]
