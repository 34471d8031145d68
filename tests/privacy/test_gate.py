import base64
import json

import pytest

from obsvty.errors import EgressBlocked
from obsvty.model import Alert, JsonValue
from obsvty.privacy import Gate, Ledger

CARD = "4003549493273416"
EMAIL = "user219@mail.example"


def test_one_gate_gives_a_value_the_same_pseudonym_everywhere(gate: Gate) -> None:
    first = gate.text(f"order 60 placed for {EMAIL}")
    second = gate.context(
        f"{EMAIL} paid with card {CARD}", {"log": {"body": f"card {CARD}"}, "user.email": EMAIL}
    )
    assert first.text == "order 60 placed for <EMAIL_1>"
    assert second.text == "<EMAIL_1> paid with card <CARD_1>"
    assert second.facts == {"log": {"body": "card <CARD_1>"}, "user.email": "<EMAIL_1>"}
    assert second.redactions == {"card": 1, "email": 1}
    assert first.incident_id == "inc-00000001"


def test_another_incident_numbers_afresh(ledger: Ledger) -> None:
    one, two = (Gate(ledger=ledger, incident_id=name) for name in ("inc-1", "inc-2"))
    one.text(EMAIL)
    assert one.text("bo@shop.example").text == "<EMAIL_2>"
    assert two.text("bo@shop.example").text == "<EMAIL_1>"


def test_a_value_known_from_the_facts_is_replaced_in_the_text(gate: Gate) -> None:
    context = gate.context("customer Ana Prado waited", {"user.full_name": "Ana Prado"})
    assert context.text == "customer <NAME_1> waited"


def test_every_string_of_an_alert_is_sanitized_but_what_identifies_it(gate: Gate) -> None:
    raw = f"{EMAIL} {CARD}"
    alert = Alert(
        incident_id="inc-00000001",
        key="inc-00000001/7831108",
        mark="action_required",
        title=raw,
        summary=raw,
        why=raw,
        fix=raw,
        fields=((raw, raw),),
        footer=raw,
        text=raw,
        links=((raw, f"https://shop.example/u/{EMAIL}"),),
    )
    made = gate.alert(alert)
    clean = "<EMAIL_1> <CARD_1>"
    assert made.alert == Alert(
        incident_id="inc-00000001",
        key="inc-00000001/7831108",
        mark="action_required",
        title=clean,
        summary=clean,
        why=clean,
        fix=clean,
        fields=((clean, clean),),
        footer=clean,
        text=clean,
        links=((clean, "https://shop.example/u/<EMAIL_1>"),),
    )
    assert made.redactions == {"card": 9, "email": 10}


def notebook() -> dict[str, JsonValue]:
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "obsvty", "display_name": "Obsvty", "language": "python"},
            "language_info": {"name": "python"},
            "owner": EMAIL,
        },
        "cells": [
            {
                "cell_type": "code",
                "id": "0a1b2c3d",
                "execution_count": 1,
                "metadata": {},
                "source": ["query = 'select body from logs'\n", f"user = '{EMAIL}'\n", "user"],
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": f"card {CARD} validated\n"},
                    {
                        "output_type": "display_data",
                        "metadata": {},
                        "data": {
                            "image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
                            "text/plain": [EMAIL],
                        },
                    },
                    {
                        "output_type": "error",
                        "ename": "KeyError",
                        "evalue": EMAIL,
                        "traceback": [f"KeyError: {EMAIL}"],
                    },
                ],
            },
            {
                "cell_type": "markdown",
                "id": "1a1b2c3d",
                "metadata": {},
                "source": f"Placed for {EMAIL}",
                "attachments": {"a.txt": {"text/plain": EMAIL}},
            },
        ],
    }


def test_a_notebook_stays_a_notebook_and_holds_no_value(gate: Gate) -> None:
    made = gate.document(f"report for {EMAIL}", notebook())
    text = json.dumps(made.content)
    assert EMAIL not in text + made.name
    assert CARD not in text
    cell = made.content["cells"][0]  # pyright: ignore
    assert cell["source"] == ["query = 'select body from logs'\n", "user = '<EMAIL_1>'\n", "user"]  # pyright: ignore
    compile("".join(cell["source"]), "cell", "exec")  # pyright: ignore
    assert cell["outputs"][1]["data"]["image/png"] == "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"  # pyright: ignore
    assert made.content["metadata"]["kernelspec"] == notebook()["metadata"]["kernelspec"]  # pyright: ignore
    again = gate.document("report", made.content)
    assert again.content == made.content
    assert again.redactions == {}
    with gate.egress(sink="document", destination="out/report.ipynb") as egress:
        assert egress.record(json.dumps(made.content).encode()) == 1


def test_clean_bytes_are_recorded_before_they_leave(gate: Gate, ledger: Ledger) -> None:
    context = gate.context(f"card {CARD} validated <b>", {})
    body = json.dumps({"messages": [{"content": context.text}]}).replace("<", "\\u003c").encode()
    with gate.egress(
        sink="llm", destination="https://llm.example/v1", model="m", redactions=context.redactions
    ) as egress:
        assert egress.record(body) == 1
    entry = ledger.entry(1)
    assert (entry.decision, entry.body, entry.size_bytes) == ("sent", body, len(body))
    assert (entry.sink, entry.destination, entry.model) == ("llm", "https://llm.example/v1", "m")
    assert (entry.incident_id, entry.redactions) == ("inc-00000001", {"card": 1})


@pytest.mark.parametrize(
    "body",
    [
        EMAIL,
        f'{{"messages": [{{"content": "{EMAIL}"}}]}}',
        f'{{"messages": [{{"content": "{EMAIL.replace("@", chr(92) + "u0040")}"}}]}}',
        f"payload={EMAIL.replace('@', '%40')}",
        f"card {CARD}",
        f'{{"n": {CARD}}}',
    ],
)
def test_bytes_that_still_hold_a_value_are_blocked_and_recorded(
    gate: Gate, ledger: Ledger, body: str
) -> None:
    with (
        gate.egress(sink="slack", destination="https://slack.example/api") as egress,
        pytest.raises(EgressBlocked) as error,
    ):
        egress.record(body.encode())
    entry = ledger.entry(1)
    assert entry.decision == "blocked"
    assert entry.body == body.encode()
    assert EMAIL not in str(error.value) + entry.reason
    assert CARD not in str(error.value) + entry.reason
    assert ledger.summary("inc-00000001").entries == 0


@pytest.mark.parametrize(
    ("sink", "destination", "allowed"),
    [
        ("llm", "https://api.openai.com/v1", False),
        ("llm", "http://10.0.0.7:8000/v1", False),
        ("llm", "http://localhost.evil.example/v1", False),
        ("llm", "http://127.0.0.1@evil.example/v1", False),
        ("llm", "api.openai.com/v1", False),
        ("llm", "http://127.0.0.1:11434/v1", True),
        ("llm", "http://localhost:11434/v1", True),
        ("llm", "http://[::1]:11434/v1", True),
        ("llm", "", True),
        ("log", "/var/tmp/alerts.jsonl", True),
        ("mcp", "stdio", True),
    ],
)
def test_offline_refuses_every_destination_beyond_this_machine(
    ledger: Ledger, sink: str, destination: str, allowed: bool
) -> None:
    gate = Gate(ledger=ledger, offline=True)
    with gate.egress(sink=sink, destination=destination) as egress:
        if allowed:
            egress.record(b"{}")
        else:
            with pytest.raises(EgressBlocked):
                egress.record(b"{}")
    assert [entry.decision for entry in ledger.entries()] == ["sent" if allowed else "blocked"]


def test_a_redirected_destination_is_judged_too(ledger: Ledger) -> None:
    gate = Gate(ledger=ledger, offline=True)
    with gate.egress(sink="llm", destination="http://127.0.0.1/v1") as egress, pytest.raises(EgressBlocked):
        egress.record(b"{}", destination="https://llm.example/v1")


def test_oversize_and_unreadable_bytes_are_blocked(gate: Gate, ledger: Ledger) -> None:
    with gate.egress(sink="llm", destination="http://127.0.0.1/v1") as egress:
        for body in (b"a " * (4 * 1024 * 1024 + 1), b"\xff\xfe\x00binary"):
            with pytest.raises(EgressBlocked):
                egress.record(body)
    assert [entry.decision for entry in ledger.entries()] == ["blocked", "blocked"]


def test_a_permission_ends_with_its_block(gate: Gate) -> None:
    with gate.egress(sink="llm", destination="http://127.0.0.1/v1") as egress:
        egress.record(b"{}")
    with pytest.raises(EgressBlocked):
        egress.record(b"{}")


def test_a_web_hook_keeps_its_secret_out_of_the_ledger(gate: Gate, ledger: Ledger) -> None:
    secret = "T0AAAAAAA/B0BBBBBBB/" + "x7Kq2mPz9vRw4tYs8nLd6fGh"
    with gate.egress(sink="slack", destination=f"https://hooks.slack.com/services/{secret}") as egress:
        egress.record(b'{"text": "ok"}')
    assert secret not in ledger.entry(1).destination
    assert ledger.entry(1).destination.startswith("https://hooks.slack.com/services/")


def test_widget_state_is_sanitized_and_a_buffer_that_shows_a_value_is_emptied(gate: Gate) -> None:
    clean, dirty = (
        base64.b64encode(data).decode() for data in (b"\x00\x01ARROW1 shop", f"\x00{EMAIL}\x00".encode())
    )
    model = {
        "model_name": "AnyModel",
        "model_module": "anywidget",
        "state": {"_esm": "export default { render() { return password } }", "title": f"spans of {EMAIL}"},
        "buffers": [{"data": clean, "path": ["a"], "encoding": "base64"}, {"data": dirty, "path": ["b"]}],
    }
    made = gate.document(
        "n",
        {
            "metadata": {
                "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"0f" * 16: model}}}
            }
        },
    )
    state = made.content["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"][
        "0f" * 16
    ]  # pyright: ignore
    assert state["state"] == {**model["state"], "title": "spans of <EMAIL_1>"}  # pyright: ignore
    assert [buffer["data"] for buffer in state["buffers"]] == [clean, ""]  # pyright: ignore
    assert state["model_name"] == "AnyModel"  # pyright: ignore
