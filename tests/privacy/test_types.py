"""The promise as a type: nothing but the gate makes a value that may leave."""

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from obsvty.privacy import Gate, SanitizedContext, SanitizedText

SNIPPET = """
from obsvty.ports.llm import LLMEngine
from obsvty.privacy import Gate


def raw(engine: LLMEngine, gate: Gate) -> None:
    with gate.egress(sink="llm", destination=engine.destination) as egress:
        engine.complete("be brief", "card 4003549493273416", "why?", schema={}, egress=egress)


def sanitized(engine: LLMEngine, gate: Gate) -> None:
    instructions, question = gate.text("be brief"), gate.text("why?")
    context = gate.context("card 4003549493273416", {})
    with gate.egress(sink="llm", destination=engine.destination) as egress:
        engine.complete(instructions, context, question, schema={}, egress=egress)
"""


def test_a_sanitized_value_cannot_be_built_outside_the_gate() -> None:
    with pytest.raises(TypeError):
        SanitizedText(incident_id="", redactions={}, text="raw")
    with pytest.raises(TypeError):
        SanitizedContext(incident_id="", redactions={}, text="raw", facts={})


def test_a_sanitized_value_cannot_be_given_other_content(gate: Gate) -> None:
    clean = gate.text("ana@shop.example")
    with pytest.raises(TypeError):
        dataclasses.replace(clean, text="ana@shop.example")
    with pytest.raises(dataclasses.FrozenInstanceError):
        clean.text = "ana@shop.example"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        clean.redactions["email"] = 0  # pyright: ignore[reportIndexIssue]
    assert copy.copy(clean) is clean
    assert copy.deepcopy(clean) is clean


def test_a_sanitized_value_cannot_be_subclassed_or_pickled(gate: Gate) -> None:
    with pytest.raises(TypeError):
        type("Forged", (SanitizedText,), {})
    with pytest.raises(TypeError):
        type("Forged", (SanitizedText,), {"__module__": "obsvty.privacy.gate"})
    with pytest.raises(TypeError):
        pickle.dumps(gate.text("ok"))


def test_raw_text_to_a_port_is_a_type_error_and_sanitized_text_is_not(tmp_path: Path) -> None:
    source = tmp_path / "snippet.py"
    source.write_text(SNIPPET)
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, str(source)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    errors = [
        (found["range"]["start"]["line"], found["rule"])
        for found in json.loads(done.stdout)["generalDiagnostics"]
        if found["severity"] == "error"
    ]
    wrong_call = SNIPPET.splitlines().index(
        '        engine.complete("be brief", "card 4003549493273416", "why?", schema={}, egress=egress)'
    )
    assert errors == [(wrong_call, "reportArgumentType")] * 3
