# SPDX-License-Identifier: Apache-2.0
"""Options, configuration, output and errors that the commands share which ask servers."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, TypeVar

import click
from pydantic import BaseModel
from rich.console import Console, RenderableType

from tmr.api.fields import CODE_MAX, FIRM_CODE_MIN
from tmr.cli.render import layout, problem_tables
from tmr.cli.spelling import FEATURES, TIME
from tmr.client import (
    AccessMode,
    BadAnswer,
    Config,
    ConfigError,
    NoService,
    Policy,
    TlsFiles,
    TmrError,
    Untrusted,
    load,
)

REFUSED: Final = 1
USAGE: Final = 2
NO_SERVICE: Final = 3

PIPE_WIDTH: Final = 240
"""Columns when nobody looks: one line for one thing, so that it can be searched."""
READ_POLICY: Final = Policy(patience=5.0, refusal_patience=2.0)
"""For commands that a person waits for."""
SWITCHOVER_TIME: Final = 15.0
"""Seconds for the other twin to become active."""

P = ParamSpec("P")
_C = TypeVar("_C", bound=Callable[..., object])


def echo_json(document: object, *, err: bool = False) -> None:
    """Print a document to stdout, or with `err` to stderr."""
    click.echo(json.dumps(_plain(document), indent=2, ensure_ascii=False), err=err)


@contextlib.contextmanager
def errors_as_json(as_json: bool) -> Iterator[None]:
    """Print the error that ends the block as JSON, if `as_json`. Wrong usage is told as always."""
    try:
        yield
    except click.UsageError:
        raise
    except click.ClickException as error:
        if not as_json:
            raise
        echo_json({"error": "Failed", "message": error.message}, err=True)
        sys.exit(error.exit_code)


json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Settings:
    """Settings of the command: the configuration, and the form of the answer."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.certificate: Path | None = None
        self.key: Path | None = None
        self.patience: float | None = None
        self.json = False

    def config(self) -> Config:
        """client.toml, with the certificate that the command line names instead. Raises ConfigError."""
        config = load(self.path)
        if self.certificate is None and self.key is None:
            return config
        if self.certificate is None or self.key is None:
            raise ConfigError("--certificate and --key belong together", "Give both, or neither.")
        files = TlsFiles(certificate=self.certificate, key=self.key, ca=config.tls.ca, crl=config.tls.crl)
        return config.model_copy(update={"tls": files})

    def policy(self, usual: Policy) -> Policy:
        """`usual`, with the patience that the command line names."""
        if self.patience is None:
            return usual
        return replace(
            usual, patience=self.patience, refusal_patience=min(self.patience, usual.refusal_patience)
        )

    def show(self, renderables: Iterable[RenderableType], document: object) -> None:
        """Print to stdout: tables, or the document with --json."""
        if self.json:
            echo_json(document)
        else:
            _print(sys.stdout, renderables)

    def fail(self, error: TmrError) -> NoReturn:
        """Tell the error on stderr, and exit."""
        if self.json:
            echo_json(_error_document(error), err=True)
        else:
            _print(sys.stderr, problem_tables.error(error))
        sys.exit(exit_code(error))


def exit_code(error: TmrError) -> int:
    """The exit code that tells scripts what kind of error it was."""
    match error:
        case ConfigError() | Untrusted():
            return USAGE
        case NoService() | BadAnswer():
            return NO_SERVICE
        case _:
            return REFUSED


def common(
    *, json_too: bool = True
) -> Callable[[Callable[Concatenate[Settings, P], None]], Callable[P, None]]:
    """Options of every command that asks the servers; the command gets the Settings first."""

    def decorate(command: Callable[Concatenate[Settings, P], None]) -> Callable[P, None]:
        @click.pass_context
        @wraps(command)
        def run(ctx: click.Context, *args: Any, **named: Any) -> None:
            settings = ctx.ensure_object(Settings)
            for name, attribute in _OPTIONS.items():
                value = named.pop(name, None)
                if value:
                    setattr(settings, attribute, value)
            try:
                command(settings, *args, **named)
            except TmrError as error:
                settings.fail(error)

        wrapped: Any = run
        if json_too:
            wrapped = json_option(wrapped)
        wrapped = click.option(
            "--patience",
            type=click.FloatRange(min=0.0),
            metavar="SECONDS",
            help="How long to try while nobody answers.",
        )(wrapped)
        wrapped = click.option("--key", type=FILE, help="The certificate's key.")(wrapped)
        wrapped = click.option("--certificate", type=FILE, help="Instead of that of client.toml.")(wrapped)
        wrapped = config_option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


FILE: Final = click.Path(path_type=Path, dir_okay=False)
FIRM_CODE: Final = click.IntRange(FIRM_CODE_MIN, CODE_MAX)
PRODUCT_CODE: Final = click.IntRange(0, CODE_MAX)
TMR_ID: Final = click.IntRange(1, CODE_MAX)
_OPTIONS: Final = {
    "config": "path",
    "certificate": "certificate",
    "key": "key",
    "patience": "patience",
    "as_json": "json",
}


def licence_options(command: _C) -> _C:
    """Options that name a licence: parameters `firm`, `product` and `tmr_id`."""
    for option in (
        click.option("--tmr-id", type=TMR_ID, metavar="N", help="Only this licence of the product."),
        click.option("--product", type=PRODUCT_CODE, metavar="CODE", required=True, help="Product Code."),
        click.option("--firm", type=FIRM_CODE, metavar="CODE", required=True, help="Firm Code."),
    ):
        command = option(command)
    return command


def version_options(command: _C) -> _C:
    """Options about the program that asks: parameters `features` and `released`."""
    for option in (
        click.option("--released", type=TIME, metavar="TIME", help="Release date of the program's version."),
        click.option(
            "--features", type=FEATURES, default=0, metavar="BITS", help="Bits that it must have: 0,3,5."
        ),
    ):
        command = option(command)
    return command


mode_option: Final = click.option(
    "--mode",
    type=click.Choice([mode.value for mode in AccessMode]),
    default=AccessMode.USER_LIMIT.value,
    show_default=True,
    help="How the licence is used.",
)
config_option: Final = click.option(
    "--config",
    type=FILE,
    metavar="FILE",
    help="The configuration; otherwise $TMR_CONFIG, otherwise /etc/tmr/client.toml.",
)


# -- output ------------------------------------------------------------------------------------------------


def _print(stream: Any, renderables: Iterable[RenderableType]) -> None:
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    with console.capture() as printed:
        for renderable in renderables:
            console.print(layout.WithoutControlCharacters(renderable))
    text = printed.get()
    if not console.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    stream.write(text)
    stream.flush()


def say(text: str) -> None:
    click.echo(f"tmr: {layout.clean(text)}", err=True)


class _Told(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"tmr: {layout.clean(record.getMessage())}"


def tell_on_stderr() -> None:
    """Tell what the client logs (a pause, a loss) to the person at the terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Told())
    logger = logging.getLogger("tmr.client")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _error_document(error: TmrError) -> dict[str, object]:
    told = getattr(error, "problem", None)
    reasons = error.reasons if isinstance(error, NoService) else ()
    return {
        "error": type(error).__name__,
        "message": error.message,
        "remedy": error.remedy,
        "problem": _plain(told),
        "reasons": [
            {"address": each.address, "problem": _plain(each.problem), "error": each.error or None}
            for each in reasons
        ],
    }
