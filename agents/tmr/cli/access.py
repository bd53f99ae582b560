# SPDX-License-Identifier: Apache-2.0
"""`tmr access`: who may use what. For operators."""

import json
import tomllib
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.console import RenderableType
from rich.text import Text

from tmr.api.access import AccessList, AccessRule, SubjectMatch
from tmr.cli.common import FILE, READ_POLICY, Settings, common
from tmr.cli.render.layout import FAINT, grid
from tmr.client import Client, ConfigError, Policy
from tmr.licensing.strict_json import not_json


@click.group()
def access() -> None:
    """Access list: show, check and replace the rules. Needs an operator's certificate.

    \b
        [[rules]]
        name = "site-north"
        effect = "reserve"          # allow, deny, reserve, limit
        seats = 20
        firm_code = 6000010
        product_code = 201
        who = { groups = ["north"] }

    \b
        [groups.north]
        networks = ["10.1.0.0/16"]
        users = ["anna", "press-*"]

    Rules are read from the top; an empty list admits everyone.
    """


@access.command()
@common()
def show(settings: Settings) -> None:
    """Show the access list that is in force.

    With --json it is printed as `tmr access set` takes it: with its version, so that nobody's change is lost.
    """
    with Client(settings.config(), policy=settings.policy(READ_POLICY)) as client:
        found = client.access()
    settings.show(
        _shown(found), found.model_dump(mode="json", exclude_defaults=True) | {"version": found.version}
    )


@access.command()
@click.argument("file", type=FILE)
@common()
def check(settings: Settings, file: Path) -> None:
    """Say what is wrong with the access list in FILE (TOML or JSON), without changing anything."""
    with Client(settings.config(), policy=settings.policy(READ_POLICY)) as client:
        wanted = _read(file, 0)
        client.set_access(wanted, check_only=True)
    rules = len(wanted.rules)
    settings.show([f"{file}: nothing is wrong with its {rules} rules."], {"rules": rules})


@access.command("set")
@click.argument("file", type=FILE)
@common()
def set_list(settings: Settings, file: Path) -> None:
    """Put the access list in FILE (TOML or JSON) into force, all of it or nothing.

    Where FILE names the version that it replaces, it is refused if somebody else made a change since.
    """
    with Client(settings.config(), policy=settings.policy(Policy(patience=15.0))) as client:
        now = client.set_access(_read(file, client.access().version))
    text = f"The access list is in force: version {now.version}, {len(now.rules)} rules."
    settings.show([text], {"version": now.version, "rules": len(now.rules)})


def _read(path: Path, version: int) -> AccessList:
    """The list in the file; `version`: where it names none. Raises ConfigError."""
    try:
        text = path.read_bytes().decode()
        tree: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "Check its name and mode.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8", "Save it as UTF-8.") from None
    except RecursionError:
        raise ConfigError(
            f"{path}: it is nested too deeply", "Write one [[rules]] for each rule, and its members below."
        ) from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: {not_json(error)}", "Correct that place.") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}", "Correct that place.") from None
    try:
        return AccessList.model_validate({"version": version, **tree} if isinstance(tree, dict) else tree)
    except ValidationError as error:
        places = [f"{_place(e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)]
        raise ConfigError(f"{path}: {'; '.join(places)}", "Correct what is named.") from None


def _place(loc: tuple[int | str, ...]) -> str:
    """`rule 2, effect` for people, who count from 1."""
    parts: list[str] = []
    for part in loc:
        if isinstance(part, int) and parts:
            parts[-1] = f"{parts[-1].removesuffix('s')} {part + 1}"
        else:
            parts.append(str(part))
    return ", ".join(parts) or "the file"


def _shown(found: AccessList) -> list[RenderableType]:
    if not found.rules:
        return [f"The access list is empty (version {found.version}): everyone may use every licence."]
    rules = grid(">Rule", "Name", "Effect", "Licence", "Who")
    for number, rule in enumerate(found.rules, 1):
        seats = "" if rule.seats is None else f" {rule.seats}"
        rules.add_row(str(number), rule.name, f"{rule.effect}{seats}", _about(rule), _who(rule.who))
    out: list[RenderableType] = [f"Version {found.version}", "", rules]
    if found.groups:
        groups = grid("Group", "Members")
        for name, who in found.groups.items():
            groups.add_row(name, _who(who))
        out += ["", groups]
    return out


def _about(rule: AccessRule) -> str | Text:
    if rule.firm_code is None:
        return Text("all", FAINT)
    product = "*" if rule.product_code is None else str(rule.product_code)
    return f"{rule.firm_code}:{product}" + ("" if rule.tmr_id is None else f" #{rule.tmr_id}")


def _who(who: SubjectMatch) -> str | Text:
    said = [
        f"{name} {', '.join(entries)}"
        for name in SubjectMatch.model_fields
        if (entries := getattr(who, name))
    ]
    return "; ".join(said) or Text("everyone", FAINT)
