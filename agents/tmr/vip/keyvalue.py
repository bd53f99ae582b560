"""Log lines as key=value."""

import json
import logging
import sys

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/%+@,[]")


def line(event: str, **fields: object) -> str:
    """`event=… key=value …`; a value with other than plain characters is quoted as in JSON."""
    pairs = {"event": event} | fields
    return " ".join(f"{key}={_value(value)}" for key, value in pairs.items())


def _value(value: object) -> str:
    text = str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text)


def configure() -> None:
    """Log to standard output, which is the journal under systemd."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("pyroute2").setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if not message.startswith("event="):  # of a library
            message = line("library", logger=record.name, message=message)
        if record.exc_info:
            message += " " + line("traceback", text=self.formatException(record.exc_info))
        return f"level={record.levelname.lower()} {message}"
