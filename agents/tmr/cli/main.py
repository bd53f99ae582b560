"""The `tmr` command.

Exit codes: 0 done, 1 refused, 2 wrong usage or configuration, 3 no service. `tmr run` ends with the exit code
of its command once that was started.
"""

import asyncio
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, NoReturn, ParamSpec

import click
from pydantic import BaseModel
from rich.console import Console, RenderableType

from tmr.cli import hold, tables
from tmr.client import (
    AccessMode,
    AsyncClient,
    BadAnswer,
    Client,
    Config,
    ConfigError,
    NoService,
    Policy,
    TlsFiles,
    TmrError,
    Untrusted,
    load,
)
from tmr.client.models import CODE_MAX, FIRM_CODE_MIN, TTL_DEFAULT, TTL_MAX, TTL_MIN, Role

REFUSED: Final = 1
USAGE: Final = 2
NO_SERVICE: Final = 3

PIPE_WIDTH: Final = 240
"""Columns when nobody looks: one line for one thing, so that it can be searched."""
LOOK: Final = Policy(patience=5.0, refusal_patience=2.0)
"""For commands that a person waits for."""
SWITCHOVER_TIME: Final = 15.0
"""Seconds for the other twin to become active."""

P = ParamSpec("P")


class Settings:
    """How the command was called: which configuration, and how to answer."""

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
        files = TlsFiles(certificate=self.certificate, key=self.key, ca=config.tls.ca)
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
            click.echo(json.dumps(_plain(document), indent=2, ensure_ascii=False))
        else:
            _print(sys.stdout, renderables)

    def fail(self, error: TmrError) -> NoReturn:
        """Tell the error on stderr, and exit."""
        if self.json:
            click.echo(json.dumps(_error_document(error), indent=2, ensure_ascii=False), err=True)
        else:
            _print(sys.stderr, tables.error(error))
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


class _Lazy(click.Group):
    """A group that lives in a module of its own, which is imported when one of its commands is called."""

    def __init__(self, name: str, module: str, help: str) -> None:  # noqa: A002
        super().__init__(name, help=help)
        self._module = module

    def _group(self) -> click.Group:
        group = getattr(importlib.import_module(self._module), str(self.name))
        assert isinstance(group, click.Group)  # noqa: S101
        return group

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self._group().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._group().get_command(ctx, cmd_name)


def _common(
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
            wrapped = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(wrapped)
        wrapped = click.option(
            "--patience",
            type=click.FloatRange(min=0.0),
            metavar="SECONDS",
            help="How long to try while nobody answers.",
        )(wrapped)
        wrapped = click.option("--key", type=_FILE, help="The certificate's key.")(wrapped)
        wrapped = click.option("--certificate", type=_FILE, help="Instead of that of client.toml.")(wrapped)
        wrapped = _config_option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FIRM_CODE: Final = click.IntRange(FIRM_CODE_MIN, CODE_MAX)
_PRODUCT_CODE: Final = click.IntRange(0, CODE_MAX)
_TMR_ID: Final = click.IntRange(1, CODE_MAX)
_OPTIONS: Final = {
    "config": "path",
    "certificate": "certificate",
    "key": "key",
    "patience": "patience",
    "as_json": "json",
}
_config_option: Final = click.option(
    "--config",
    type=_FILE,
    metavar="FILE",
    help="The configuration; otherwise $TMR_CONFIG, otherwise /etc/tmr/client.toml.",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage or configuration, 3 no service.",
)
@click.version_option(package_name="tmr", prog_name="tmr")
@_config_option
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Licences of a TMR system: see them, hold them, and look after the servers."""
    ctx.ensure_object(Settings).path = config


cli.add_command(_Lazy("vendor", "tmr.cli.vendor", "The vendor's tools: make keys, issue licences."))
cli.add_command(_Lazy("tracking", "tmr.cli.tracking", "The licence tracking record: export, verify, show."))


@cli.command("list")
@_common()
def list_licences(settings: Settings) -> None:
    """Show the virtual container and its licences.

    Licences of which too few constituents are available are shown below, with what is missing where.
    """
    with Client(settings.config(), policy=settings.policy(LOOK)) as client:
        found = client.containers()
        items = [client.items(container.serial) for container in found]
    merged = items[0].model_copy(
        update={
            "items": tuple(item for each in items for item in each.items),
            "unavailable": tuple(item for each in items for item in each.unavailable),
        }
    )
    document = {"containers": found, "items": merged.items, "unavailable": merged.unavailable}
    settings.show(tables.containers(found, merged), document)


@cli.command(short_help="Show who holds which licence.")
@_common()
def sessions(settings: Settings) -> None:
    """Show the sessions of this client's certificate; with an operator's, everybody's."""
    with Client(settings.config(), policy=settings.policy(LOOK)) as client:
        held = client.sessions()
    settings.show(tables.sessions(held), {"sessions": held})


@cli.command(short_help="Show twins, upstreams and votes.")
@_common()
def status(settings: Settings) -> None:
    """Show the twins side by side, the upstreams, and the licences with their votes.

    Asks the virtual address and both twins, each once. Exits with 3 if no active twin answers at the virtual
    address.
    """
    config = settings.config()
    vips, twins = asyncio.run(_ask_all(config, settings.policy(LOOK)))
    document = {"vip": [_view(view) for view in vips], "twins": [_view(view) for view in twins]}
    settings.show(tables.status(vips, twins), document)
    if not any(view.active for view in vips):
        sys.exit(NO_SERVICE)


async def _ask_all(config: Config, policy: Policy) -> tuple[list[tables.TwinView], list[tables.TwinView]]:
    async with AsyncClient(config, policy=replace(policy, connect=1.0)) as client:

        async def ask(address: str) -> tables.TwinView:
            try:
                return tables.TwinView(address, await client.status(address))
            except NoService as error:
                return tables.TwinView(address, None, error.heard or error.message)
            except TmrError as error:
                return tables.TwinView(address, None, error.message)

        views = await asyncio.gather(*(ask(each) for each in (*config.servers, *config.twins)))
    return views[: len(config.servers)], views[len(config.servers) :]


@cli.command(
    context_settings={"allow_interspersed_args": False},
    options_metavar="--firm CODE --product CODE [OPTIONS] --",
)
@click.option(
    "--firm", type=click.IntRange(FIRM_CODE_MIN, CODE_MAX), metavar="CODE", required=True, help="Firm Code."
)
@click.option(
    "--product", type=click.IntRange(0, CODE_MAX), metavar="CODE", required=True, help="Product Code."
)
@click.option(
    "--tmr-id", type=click.IntRange(1, CODE_MAX), metavar="N", help="Only this licence of the product."
)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in AccessMode]),
    default=AccessMode.USER_LIMIT.value,
    show_default=True,
    help="How the licence is used.",
)
@click.option(
    "--ttl",
    type=click.IntRange(TTL_MIN, TTL_MAX),
    metavar="SECONDS",
    default=TTL_DEFAULT,
    show_default=True,
    help="Seconds without a sign of life after which the server takes the licence back.",
)
@click.option("--verbose", "-v", is_flag=True, help="Tell what was granted.")
@click.argument("command", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
@_common(json_too=False)
def run(
    settings: Settings,
    firm: int,
    product: int,
    tmr_id: int | None,
    mode: str,
    ttl: int,
    verbose: bool,
    command: Sequence[str],
) -> None:
    """Hold a licence while COMMAND runs.

    \b
        tmr run --firm 6000010 --product 201 -- simulate --steps 1000

    Ends with the exit code of COMMAND (126, 127: it could not be started; 128 + n: ended by signal n).
    Signals are passed on to it. It goes on during a failover; should the licence be lost, this is told on
    stderr.
    """
    _tell_on_stderr()
    code = 0
    with Client(settings.config(), policy=settings.policy(Policy())) as client:
        process = f"{Path(command[0]).name}[{os.getpid()}]"
        with client.session(
            firm, product, tmr_id=tmr_id, access_mode=mode, ttl=ttl, process=process
        ) as session:
            if verbose:
                granted = session.licence
                seats = "unlimited" if granted.quantity is None else granted.quantity
                _say(
                    f"licence {granted.label} of container {granted.container}: session {granted.id}, "
                    f"{granted.access_mode}, {granted.in_use} of {seats} in use"
                )
            try:
                code = hold.run(command)
            except hold.NotStarted as error:
                _say(str(error))
                code = error.code
    sys.exit(code)


@cli.command(short_help="Make the other twin active.")
@_common()
def switchover(settings: Settings) -> None:
    """Make the active twin step down, and wait until the other is active.

    Needs a certificate of the role `operator`. Sessions live on.
    """
    with Client(settings.config(), policy=settings.policy(Policy(patience=SWITCHOVER_TIME))) as client:
        before = client.switchover().from_
        began = time.monotonic()
        while True:
            now = client.status()
            took = time.monotonic() - began
            if now.role is Role.ACTIVE and now.name != before:
                break
            if took > SWITCHOVER_TIME:
                raise NoService(
                    f"{before} stepped down, but no other twin became active within {took:.0f} s",
                    "Look at `tmr status`: the other twin must be up and reach two upstreams.",
                )
            time.sleep(0.02)
    text = f"{before} stepped down; {now.name} is active after {took:.2f} s (epoch {now.epoch})."
    settings.show([text], {"from": before, "to": now.name, "epoch": now.epoch, "seconds": round(took, 3)})


# -- output ------------------------------------------------------------------------------------------------


def _print(stream: Any, renderables: Iterable[RenderableType]) -> None:
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    with console.capture() as printed:
        for renderable in renderables:
            console.print(tables.Clean(renderable))
    text = printed.get()
    if not console.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    stream.write(text)
    stream.flush()


def _say(text: str) -> None:
    click.echo(f"tmr: {tables.clean(text)}", err=True)


class _Told(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"tmr: {tables.clean(record.getMessage())}"


def _tell_on_stderr() -> None:
    """What the client logs (a pause, a loss) is told to whoever watches the command."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Told())
    logger = logging.getLogger("tmr.client")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _view(view: tables.TwinView) -> dict[str, object]:
    return {"address": view.address, "status": view.status, "error": view.error or None}


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


def main() -> None:
    """Entry point of the `tmr` command."""
    cli.main(prog_name="tmr")
