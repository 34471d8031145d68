"""The slack_sdk against a server on loopback that has Slack's limits: cards, edits, and what is told when it fails."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from obsvty.errors import AlertError, EgressBlocked, SettingsError
from obsvty.model import Alert, Delivery
from obsvty.plugins.alert_slack import SlackAlertPlugin
from obsvty.plugins.slack_card import card, escape, fallback_text
from obsvty.ports import AlertConfig
from obsvty.ports.testing import LoopbackSlack, Reply
from obsvty.ports.testing.contracts import ALERT, RefusingEgress
from obsvty.ports.testing.slack import broken_limit
from obsvty.privacy import Gate


@pytest.fixture
def plugin(slack: LoopbackSlack) -> SlackAlertPlugin:
    return SlackAlertPlugin(
        AlertConfig(channel="#alerts", token=SecretStr(slack.token), base_url=slack.base_url, timeout_s=5)
    )


def send(plugin: SlackAlertPlugin, gate: Gate, alert: Alert = ALERT) -> Delivery:
    with gate.egress(sink="slack", destination=plugin.destination) as egress:
        return plugin.send(gate.alert(alert), egress=egress)


def test_card_arrives_verdict_first(plugin: SlackAlertPlugin, slack: LoopbackSlack, gate: Gate) -> None:
    delivery = send(plugin, gate)
    assert delivery.reference == "C0ALERTS/1700000000.000000"
    message = slack.messages["1700000000.000000"]
    assert (
        message["text"]
        == "🔥 Action required: GET / 2x slower: shop\nGET / 2x slower: shop\np50 10 -&gt; 20 ms"
    )
    assert message["blocks"] == [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": "🔥 Action required: GET / 2x slower: shop",
                "emoji": False,
            },
        },
        {"type": "section", "text": {"type": "mrkdwn", "text": "p50 10 -&gt; 20 ms", "verbatim": True}},
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": "*Why:* one new call a request", "verbatim": True},
        },
        {
            "type": "section",
            "text": {
                "type": "mrkdwn",
                "text": "*Fix:* Move the call off the request path.",
                "verbatim": True,
            },
        },
        {
            "type": "section",
            "fields": [{"type": "mrkdwn", "text": "*Roll back to*\n1.4.0", "verbatim": True}],
        },
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "inc-contract", "verbatim": True}]},
    ]


def test_update_edits_the_card_in_its_channel(
    plugin: SlackAlertPlugin, slack: LoopbackSlack, gate: Gate
) -> None:
    first = send(plugin, gate)
    resolved = replace(ALERT, mark="resolved", title="GET / is back to 10 ms: shop")
    with gate.egress(sink="slack", destination=plugin.destination) as egress:
        again = plugin.update(gate.alert(resolved), first, egress=egress)
    assert again == first
    assert len(slack.messages) == 1
    assert "Resolved: GET / is back" in json.dumps(slack.messages, ensure_ascii=False)
    assert [entry.body for entry in gate.ledger.entries()] == slack.bodies


def test_card_that_slack_lost_is_posted_again(
    plugin: SlackAlertPlugin, slack: LoopbackSlack, gate: Gate
) -> None:
    lost = Delivery(destination=plugin.destination, reference="C0ALERTS/1600000000.000001")
    with gate.egress(sink="slack", destination=plugin.destination) as egress:
        delivery = plugin.update(gate.alert(ALERT), lost, egress=egress)
    assert delivery.reference == "C0ALERTS/1700000000.000000"


def test_token_is_in_the_header_and_in_no_ledger_row(
    plugin: SlackAlertPlugin, slack: LoopbackSlack, gate: Gate
) -> None:
    send(plugin, gate)
    assert slack.requests[0].headers["authorization"] == f"Bearer {slack.token}"
    assert slack.token.encode() not in slack.bodies[0]
    row = gate.ledger.entries()[0]
    assert (row.sink, row.destination) == ("slack", f"{slack.base_url}chat.postMessage")


def test_rate_limit_is_waited_out_and_each_try_is_a_ledger_row(
    plugin: SlackAlertPlugin, slack: LoopbackSlack, gate: Gate
) -> None:
    slack.limit(retry_after_s=0, times=2)
    send(plugin, gate)
    assert len(slack.messages) == 1
    assert len(slack.bodies) == 3
    assert [entry.body for entry in gate.ledger.entries()] == slack.bodies


@pytest.mark.parametrize(("retry_after_s", "tries"), [(0, 3), (3600, 1)])
def test_rate_limit_without_end_is_an_alert_error(
    plugin: SlackAlertPlugin, slack: LoopbackSlack, gate: Gate, retry_after_s: int, tries: int
) -> None:
    slack.limit(retry_after_s=retry_after_s, times=9)
    with pytest.raises(AlertError, match="ratelimited") as caught:
        send(plugin, gate)
    assert "same key" in caught.value.hint
    assert len(slack.requests) == tries


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("invalid_auth", "OBSVTY_ALERTS__SLACK__TOKEN"),
        ("token_revoked", "OBSVTY_ALERTS__SLACK__TOKEN"),
        ("channel_not_found", "OBSVTY_ALERTS__SLACK__CHANNEL"),
        ("not_in_channel", "OBSVTY_ALERTS__SLACK__CHANNEL"),
        ("missing_scope", "chat:write"),
        ("msg_blocks_too_long", "https://docs.slack.dev"),
    ],
)
def test_refusal_names_the_setting(
    plugin: SlackAlertPlugin, slack: LoopbackSlack, gate: Gate, error: str, hint: str
) -> None:
    slack.fail(error)
    with pytest.raises(AlertError, match=error) as caught:
        send(plugin, gate)
    assert hint in caught.value.hint


def test_wrong_token_and_channel_are_told_by_the_server(slack: LoopbackSlack, gate: Gate) -> None:
    config = AlertConfig(channel="#alerts", token=SecretStr("xoxb-wrong"), base_url=slack.base_url)
    with pytest.raises(AlertError, match="invalid_auth"):
        send(SlackAlertPlugin(config), gate)
    config = replace(config, channel="#nowhere", token=SecretStr(slack.token))
    with pytest.raises(AlertError, match="channel_not_found"):
        send(SlackAlertPlugin(config), gate)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500, pieces=(b"<html>own words</html>",)),
        Reply(status=200, headers={"content-type": "text/html"}, pieces=(b"<html>own words</html>",)),
        Reply(status=200, headers={"content-type": "application/json"}, pieces=(b'{"ok": tru',)),
        Reply(
            status=200,
            headers={"content-type": "application/json"},
            pieces=(b'{"ok": false, "error": "own words"}',),
        ),
        Reply(status=302, headers={"location": "/elsewhere"}),
        Reply(drop=True),
        Reply(hang=True),
    ],
)
def test_anything_but_a_yes_is_an_alert_error_without_the_servers_words(
    slack: LoopbackSlack, gate: Gate, reply: Reply
) -> None:
    plugin = SlackAlertPlugin(
        AlertConfig(channel="#alerts", token=SecretStr(slack.token), base_url=slack.base_url, timeout_s=0.3)
    )
    slack.script(reply, reply)
    with pytest.raises(AlertError) as caught:
        send(plugin, gate)
    assert caught.value.hint
    assert "own words" not in str(caught.value)
    assert slack.messages == {}
    assert [entry.body for entry in gate.ledger.entries()] == slack.bodies


def test_blocked_egress_is_not_retried(plugin: SlackAlertPlugin, slack: LoopbackSlack, gate: Gate) -> None:
    egress = RefusingEgress()
    with pytest.raises(EgressBlocked):
        plugin.send(gate.alert(ALERT), egress=egress)
    assert (egress.asked, slack.requests) == (1, [])


def test_webhook_gets_the_same_card_and_its_secret_path_is_nowhere(slack: LoopbackSlack, gate: Gate) -> None:
    plugin = SlackAlertPlugin(AlertConfig(webhook_url=SecretStr(slack.webhook_url)))
    delivery = send(plugin, gate)
    assert json.loads(slack.bodies[0])["blocks"] == list(card(ALERT))
    assert [entry.body for entry in gate.ledger.entries()] == slack.bodies
    assert "loopback" not in plugin.destination + delivery.destination + gate.ledger.entries()[0].destination
    slack.script(Reply(status=404, pieces=(b"no_service",)))
    with pytest.raises(AlertError, match="no_service") as caught:
        send(plugin, gate)
    assert "OBSVTY_ALERTS__SLACK__WEBHOOK_URL" in caught.value.hint


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        (AlertConfig(channel="#alerts"), "OBSVTY_ALERTS__SLACK__TOKEN"),
        (AlertConfig(channel="#alerts", token=SecretStr(" ")), "OBSVTY_ALERTS__SLACK__TOKEN"),
        (AlertConfig(channel="#alerts", token=SecretStr("xoxb-a\nX-Evil: 1")), "OBSVTY_ALERTS__SLACK__TOKEN"),
        (AlertConfig(token=SecretStr("xoxb-a")), "OBSVTY_ALERTS__SLACK__CHANNEL"),
        (AlertConfig(webhook_url=SecretStr("file:///etc/passwd")), "OBSVTY_ALERTS__SLACK__WEBHOOK_URL"),
    ],
)
def test_missing_settings_are_refused_at_the_start(config: AlertConfig, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        SlackAlertPlugin(config)
    assert hint in caught.value.hint
    assert "xoxb-a" not in str(caught.value).replace("(xoxb-...)", "")


def test_mentions_links_and_hidden_characters_do_not_survive() -> None:
    assert escape("<!channel> <@U1> <https://evil|here> a&b", 200) == (
        "&lt;!channel&gt; &lt;@U1&gt; &lt;https://evil|here&gt; a&amp;b"
    )
    assert escape("safe\u202edcba\x07\x00", 50) == "safe dcba"


def test_nothing_is_cut_inside_an_entity() -> None:
    assert escape("&" * 10, 12) == "&amp;&amp;\N{HORIZONTAL ELLIPSIS}"
    assert escape("ab", 2) == "ab"


def test_local_paths_become_words_and_web_addresses_buttons() -> None:
    alert = replace(
        ALERT,
        links=(
            ("Notebook", "/data/incidents/inc-1.ipynb"),
            ("Commit", "https://git.test/c/1"),
            ("Bad", "javascript:alert(1)"),
        ),
    )
    blocks = card(alert)
    assert [block["type"] for block in blocks][-2:] == ["actions", "context"]
    shown = json.dumps(blocks)
    assert '"url": "https://git.test/c/1"' in shown
    assert '"url": "javascript' not in shown
    assert "Notebook: /data/incidents/inc-1.ipynb" in shown


def mrkdwn(value: object) -> list[str]:
    """All text that Slack reads as its markup: everything but plain_text objects."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return (
            []
            if value.get("type") == "plain_text"
            else [text for inner in value.values() for text in mrkdwn(inner)]
        )
    return [text for inner in value for text in mrkdwn(inner)] if isinstance(value, list) else []


absurd = st.one_of(
    st.text(max_size=60),
    st.builds(
        lambda piece, times: piece * times,
        st.sampled_from(["&", "<x>", "🔥", "שלום ", "a\n", "\ud800", "."]),
        st.sampled_from([0, 1, 700, 10_000]),
    ),
)


@settings(max_examples=50, deadline=None)
@given(
    title=absurd,
    summary=absurd,
    why=absurd,
    fix=absurd,
    footer=absurd,
    text=absurd,
    fields=st.lists(st.tuples(absurd, absurd), max_size=12),
    links=st.lists(st.tuples(absurd, st.one_of(absurd, st.just("https://git.test/c/1"))), max_size=9),
    mark=st.sampled_from(["action_required", "action_suggested", "resolved", "inconclusive"]),
)
def test_card_stays_within_slacks_limits_whatever_the_alert_holds(
    title: str,
    summary: str,
    why: str,
    fix: str,
    footer: str,
    text: str,
    fields: list[tuple[str, str]],
    links: list[tuple[str, str]],
    mark: str,
) -> None:
    alert = replace(
        ALERT,
        title=title,
        summary=summary,
        why=why,
        fix=fix,
        footer=footer,
        text=text,
        fields=tuple(fields),
        links=tuple(links),
        mark=mark,
    )
    blocks = card(alert)
    message = {"channel": "C1", "text": fallback_text(alert), "blocks": list(blocks)}
    assert broken_limit(message) == ""
    assert len(blocks) <= 12
    assert sum(len(json.dumps(block, ensure_ascii=False)) for block in blocks) < 8_000
    assert len(message["text"]) <= 1500
    assert not [text for text in mrkdwn(message) if "<" in text or ">" in text]
    json.dumps(message, ensure_ascii=False).encode()  # no lone surrogate


def test_server_of_these_tests_refuses_what_slack_refuses() -> None:
    header = {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}
    fields = {"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}
    assert broken_limit({"blocks": [header]}) == "invalid_blocks"
    assert broken_limit({"blocks": [section]}) == "invalid_blocks"
    assert broken_limit({"blocks": [fields]}) == "invalid_blocks"
    assert broken_limit({"blocks": [{"type": "divider"}] * 51}) == "invalid_blocks"
    full = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2999}}
    assert broken_limit({"blocks": [full] * 5}) == "msg_blocks_too_long"
    assert broken_limit({}) == "no_text"
