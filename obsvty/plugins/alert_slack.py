"""Alerts as one Slack card, edited in place. A bot token posts and edits; a webhook can only post."""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING, ClassVar
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from obsvty.errors import AlertError, SettingsError
from obsvty.model import Delivery
from obsvty.plugins.slack_card import card, fallback_text
from obsvty.ports import AlertConfig, AlertPlugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from slack_sdk import WebClient, WebhookClient
    from slack_sdk.http_retry import HttpResponse, RetryHandler
    from slack_sdk.web import SlackResponse

    from obsvty.privacy import Egress, SanitizedAlert

_SLACK = "https://slack.com/api/"
_RETRIES = 2
_LONGEST_WAIT_S = (
    15  # a rate limit beyond it is an error now; the watch loop tries again later with the same key
)
_LOST = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"})

_TOKEN_HINT = "Set OBSVTY_ALERTS__SLACK__TOKEN to a bot token (xoxb-...) of this workspace."  # noqa: S105
_CHANNEL_HINT = (
    "Set OBSVTY_ALERTS__SLACK__CHANNEL ([alerts.slack] channel) to a channel that the bot was invited to."
)
_SCOPE_HINT = "Give the bot of OBSVTY_ALERTS__SLACK__TOKEN the scope chat:write."
_WEBHOOK_HINT = "Set OBSVTY_ALERTS__SLACK__WEBHOOK_URL to a webhook that still exists."
_LATER_HINT = "Nothing is lost: the alert is tried again with the same key. See obsvty doctor."
_HINTS = {
    "invalid_auth": _TOKEN_HINT,
    "not_authed": _TOKEN_HINT,
    "token_revoked": _TOKEN_HINT,
    "token_expired": _TOKEN_HINT,
    "account_inactive": _TOKEN_HINT,
    "channel_not_found": _CHANNEL_HINT,
    "not_in_channel": _CHANNEL_HINT,
    "is_archived": _CHANNEL_HINT,
    "missing_scope": _SCOPE_HINT,
    "no_permission": _SCOPE_HINT,
    "ratelimited": _LATER_HINT,
    "rate_limited": _LATER_HINT,
    "no_service": _WEBHOOK_HINT,
    "invalid_token": _WEBHOOK_HINT,
}

# The SDK logs URLs and payloads; what a person must know is in the AlertError.
_sdk_log = logging.getLogger(f"{__name__}.sdk")
_sdk_log.setLevel(logging.CRITICAL)


class SlackAlertPlugin(AlertPlugin):
    """One card per alert key. With a token `Delivery.reference` is `CHANNEL_ID/ts`, which an edit needs."""

    name: ClassVar[str] = "slack"

    def __init__(self, config: AlertConfig) -> None:
        super().__init__(config)
        self._token = config.token.get_secret_value().strip() if config.token else ""
        self._webhook = config.webhook_url.get_secret_value().strip() if config.webhook_url else ""
        self._base_url = (config.base_url or _SLACK).rstrip("/") + "/"
        if not self._token and not self._webhook:
            raise SettingsError(
                "Slack alerts have no token.",
                hint=f"{_TOKEN_HINT} Or OBSVTY_ALERTS__SLACK__WEBHOOK_URL; or take slack out of [alerts] to.",
            )
        if self._token and not re.fullmatch(r"[\w.-]+", self._token, re.ASCII):
            raise SettingsError("The Slack token has characters that no token has.", hint=_TOKEN_HINT)
        if self._token and not config.channel:
            raise SettingsError("Slack alerts have no channel.", hint=_CHANNEL_HINT)
        for url in (self._base_url, self._webhook):
            if url and urlsplit(url).scheme not in ("http", "https"):
                raise SettingsError("A Slack URL is not an http(s) URL.", hint=_WEBHOOK_HINT)

    @property
    def destination(self) -> str:
        """The method's URL with the channel as its fragment, or the webhook without its secret path."""
        if self._token:
            return f"{self._base_url}chat.postMessage#{quote(self.config.channel.lstrip('#'))}"
        return _without_secret(self._webhook)

    def send(self, alert: SanitizedAlert, *, egress: Egress) -> Delivery:
        """Post the card."""
        if not self._token:
            return self._send_to_webhook(alert, egress)
        client = _web_client(self, egress)
        return self._called(
            lambda: client.chat_postMessage(
                channel=self.config.channel,
                text=fallback_text(alert.alert),
                blocks=card(alert.alert),
                unfurl_links=False,
                unfurl_media=False,
            )
        )

    def update(self, alert: SanitizedAlert, previous: Delivery, *, egress: Egress) -> Delivery:
        """Edit the card; when Slack has lost it, or a webhook posted it, post a new one."""
        channel, _, ts = previous.reference.partition("/")
        if not self._token or not ts:
            return self.send(alert, egress=egress)
        client = _web_client(self, egress)
        try:
            return self._called(
                lambda: client.chat_update(
                    channel=channel, ts=ts, text=fallback_text(alert.alert), blocks=card(alert.alert)
                )
            )
        except _LostCardError:
            return self.send(alert, egress=egress)

    @property
    def token(self) -> str:
        """For the SDK, which puts it into a header only."""
        return self._token

    @property
    def base_url(self) -> str:
        """Of the Web API, with a slash at its end."""
        return self._base_url

    def _called(self, call: Callable[[], SlackResponse]) -> Delivery:
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            response = call()
        except SlackApiError as exc:
            raise _refusal(_code(exc)) from None  # its message repeats the server's whole answer
        except (SlackClientError, OSError, ValueError) as exc:
            raise _unreachable() from exc
        reference = f"{response.get('channel', '')}/{response.get('ts', '')}"
        return Delivery(destination=self.destination, reference=reference)

    def _send_to_webhook(self, alert: SanitizedAlert, egress: Egress) -> Delivery:
        from slack_sdk.errors import SlackClientError

        client = _webhook_client(self._webhook, self.config.timeout_s, egress)
        try:
            response = client.send(
                text=fallback_text(alert.alert),
                blocks=card(alert.alert),
                unfurl_links=False,
                unfurl_media=False,
            )
        except (SlackClientError, OSError, ValueError) as exc:
            raise _unreachable() from exc
        if response.status_code != 200:
            code = "ratelimited" if response.status_code == 429 else response.body.strip()
            raise _refusal(code)
        return Delivery(destination=self.destination)


class _LostCardError(AlertError):
    """The card that should be edited is gone."""


def _code(exc: object) -> str:
    response: object = getattr(exc, "response", None)
    found: object = response.get("error") if hasattr(response, "get") else None  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    return "ratelimited" if getattr(response, "status_code", 0) == 429 else str(found or "")


def _refusal(code: str) -> AlertError:
    """Slack's own code is told when it looks like one; anything longer may quote the card."""
    told = code if re.fullmatch(r"[a-z][a-z_]{1,48}", code) else "no known reason"
    kind = _LostCardError if told in _LOST else AlertError
    hint = _HINTS.get(
        told, "Look the reason up at https://docs.slack.dev/reference/methods/chat.postMessage."
    )
    return kind(f"Slack did not take the alert: {told}.", hint=hint)


def _unreachable() -> AlertError:
    return AlertError(
        "Slack cannot be reached, or did not answer in time.",
        hint="Check the network and OBSVTY_ALERTS__SLACK__BASE_URL; the alert is tried again with the same key.",
    )


def _without_secret(webhook: str) -> str:
    parts = urlsplit(webhook)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}/(webhook)"


class _NoRedirect(HTTPRedirectHandler):
    """The ledger names where the bytes went, and urllib would carry the token along to another host."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        del args, kwargs


def _exchange(request: Request, timeout_s: float) -> tuple[int, dict[str, str], str]:
    opener = build_opener(_NoRedirect())
    try:
        with opener.open(request, timeout=timeout_s) as found:
            return found.status, dict(found.headers.items()), found.read().decode("utf-8", "replace")
    except HTTPError as refused:
        with refused:
            return refused.code, dict(refused.headers.items()), refused.read().decode("utf-8", "replace")


def _body(request: Request) -> bytes:
    return request.data if isinstance(request.data, bytes) else b""


def _web_client(plugin: SlackAlertPlugin, egress: Egress) -> WebClient:
    """The SDK's client; the one method that sends a request, retries included, writes the ledger row first."""
    from slack_sdk import WebClient
    from slack_sdk.http_retry import ConnectionErrorRetryHandler

    timeout_s = plugin.config.timeout_s

    class RecordingClient(WebClient):
        def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, object]:
            egress.record(_body(req), destination=url)
            status, headers, body = _exchange(req, timeout_s)
            return {"status": status, "headers": headers, "body": body}

    return RecordingClient(
        token=plugin.token,
        base_url=plugin.base_url,
        timeout=math.ceil(timeout_s),
        logger=_sdk_log,
        retry_handlers=[ConnectionErrorRetryHandler(max_retry_count=1), _rate_limit_handler()],
    )


def _webhook_client(url: str, timeout_s: float, egress: Egress) -> WebhookClient:
    from slack_sdk import WebhookClient
    from slack_sdk.webhook import WebhookResponse

    class RecordingWebhook(WebhookClient):
        def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
            egress.record(_body(req), destination=_without_secret(url))
            status, headers, body = _exchange(req, timeout_s)
            return WebhookResponse(url=url, status_code=status, body=body, headers=headers)

    return RecordingWebhook(url, timeout=math.ceil(timeout_s), logger=_sdk_log)


def _rate_limit_handler() -> RetryHandler:
    """Waits as long as `Retry-After` says, but never long: the SDK's own handler would sleep for an hour if told so."""
    import time

    from slack_sdk.http_retry import HttpRequest, RetryHandler, RetryState

    class RateLimit(RetryHandler):
        def _can_retry(
            self,
            *,
            state: RetryState,
            request: HttpRequest,
            response: HttpResponse | None = None,
            error: Exception | None = None,
        ) -> bool:
            del state, request, error
            limited = response is not None and response.status_code == 429
            return limited and _retry_after_s(response) <= _LONGEST_WAIT_S

        def prepare_for_next_attempt(
            self,
            *,
            state: RetryState,
            request: HttpRequest,
            response: HttpResponse | None = None,
            error: Exception | None = None,
        ) -> None:
            del request, error
            state.next_attempt_requested = True
            time.sleep(_retry_after_s(response))
            state.increment_current_attempt()

    return RateLimit(max_retry_count=_RETRIES)


def _retry_after_s(response: HttpResponse | None) -> float:
    """Seconds that the server asks for; 1 when it does not say."""
    headers = response.headers if response is not None else {}
    for name, value in headers.items():
        first = value if isinstance(value, str) else next(iter(value), "")
        if name.lower() == "retry-after" and first.isdigit():
            return float(first)
    return 1.0
