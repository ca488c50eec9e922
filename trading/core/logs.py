"""Logs: one JSON object a line in production, readable lines in a terminal; secrets are blotted out in both."""

import logging
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from trading.core.redaction import BLOT, blot

_SECRET_NAMES = re.compile(r"password|passwd|secret|token|authorization|api[-_]?key|credential|signature|cookie", re.I)
_IN_TEXT = re.compile(
    r"""(?i)(\bbearer\s+|\b(?:[\w-]*(?:token|password|secret|api_?key))["']?\s*[=:]\s*["']?)[^\s&"',}]+"""
)
_TOKEN = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_OF_LINES = ("exception", "stack")


def on_one_line(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Spell control characters out, so that nobody writes lines of the log, or to the terminal, through a value.

    Tracebacks keep their lines, indented. JSON needs none of this.
    """
    for name, value in event.items():
        if isinstance(value, str) and name in _OF_LINES:
            event[name] = "\n".join(f"    {_spelt(line)}" for line in value.split("\n"))
        else:
            event[name] = _spelt(value) if isinstance(value, str) else value
    return event


def _spelt(text: str) -> str:
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blot out values whose name or form says that they are secret."""
    for name, value in event.items():
        event[name] = _blotted(name, value)
    return event


def _blotted(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name):
        return BLOT
    if isinstance(value, str):
        return blot(_TOKEN.sub(BLOT, _IN_TEXT.sub(lambda found: found.group(1) + BLOT, value)))
    if isinstance(value, Mapping):
        return {key: _blotted(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_blotted("", item) for item in value]
    return value


def from_settings(settings: Mapping[str, Any]) -> None:
    """Django's ``LOGGING_CONFIG``: ``settings`` holds the arguments of `configure`."""
    configure(**settings)


def configure(*, level: str, as_json: bool) -> None:
    """Send structlog and the standard library's loggers through one formatter to standard output."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        hide_secrets,
        *([] if as_json else [on_one_line]),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=24)
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("quantum").setLevel(level)
    logging.getLogger("django.request").setLevel(logging.ERROR)  # the middleware has a line for each request
