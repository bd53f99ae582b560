# SPDX-License-Identifier: Apache-2.0
"""The reference page names what the code does."""

import contextlib
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tmr.cli.vendor.commands import vendor
from tmr.cli.vendor.item_file import read_items
from tmr.cli.vendor.options import OF_AN_ITEM
from tmr.licensing import (
    Container,
    ProductItem,
    activate,
    errors,
    make_request,
    public_key_from_pem,
    public_key_to_pem,
    raw_public_key,
)
from tmr.licensing.items import ITEMS_MAX
from tmr.licensing.options import CODE_MAX, NAME_MAX, QUANTITY_MAX, UNITS_MAX, USER_DATA_MAX
from tmr.licensing.serial import MASKS

from .system import FIRM, VENDOR, containers, issue_to, key_of, private_key

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/licence-files.md").read_text()
OPTIONS = (ROOT / "docs/reference/product-item-options.md").read_text()
HOW_TO = (ROOT / "docs/how-to/issue-licences.md").read_text()
CLI = (ROOT / "docs/reference/cli.md").read_text()
RAISED = re.compile(r"\b(UpdateRefused|NotIssued|BadRequest)\(\s*\"([a-z-]+)\"")


@pytest.mark.parametrize("kind", ["UpdateRefused", "NotIssued", "BadRequest"])
def test_every_code_is_documented(kind: str) -> None:
    sources = [path.read_text() for path in (ROOT / "agents/tmr/licensing").glob("*.py")]
    raised = {code for source in sources for name, code in RAISED.findall(source) if name == kind}
    assert raised
    docstring = getattr(errors, kind).__doc__
    assert set(re.findall(r"`([a-z-]+)`", docstring)) == raised
    assert [code for code in sorted(raised) if f"`{code}`" not in PAGE] == []


def test_limits_are_documented() -> None:
    assert f"{ITEMS_MAX} in one container" in PAGE
    assert f"{NAME_MAX} characters" in PAGE
    assert f"1 to {QUANTITY_MAX}" in PAGE
    for text in (
        f"1 to {QUANTITY_MAX}",
        f"0 to {CODE_MAX}",
        f"1 to {UNITS_MAX}",
        f"{NAME_MAX} characters",
        f"{USER_DATA_MAX} bytes",
    ):
        assert text in OPTIONS


def test_every_field_of_an_item_is_documented() -> None:
    assert [field for field in ProductItem.__struct_fields__ if f"`{field}`" not in PAGE] == []


def test_every_option_of_an_item_is_documented() -> None:
    names = [name for option in OF_AN_ITEM[1:] for name in (option.name, *option.aliases)]
    assert [name for name in names if f"`--{name}" not in OPTIONS and f" --{name} " not in OPTIONS] == []


def test_options_are_there_or_missing_for_a_reason(tmp_path: Path) -> None:
    missing = OPTIONS.split("## What is missing")[1].split("\n## ")[0]
    rows = [row.split("|")[1:-1] for row in missing.splitlines() if row.startswith("| ")][1:]
    names = [name.strip() for row in rows for name in row[0].split(",")]
    assert len(names) >= 3
    assert all(reason.strip() for *_, reason in rows)
    assert set(names) & {option.title for option in OF_AN_ITEM} == set(), "take its row out"
    for name in names:
        member = name.lower().replace(" ", "-")
        (tmp_path / "items.toml").write_text(f'[[item]]\nproduct = 1\nquantity = 1\n{member} = "1h"\n')
        with pytest.raises(click.ClickException, match=member):
            read_items(tmp_path / "items.toml")


def test_every_mask_and_kind_is_documented() -> None:
    table = re.findall(r"^\| ([0-9, ]+) \| ([^|]+) \|", OPTIONS, re.MULTILINE)
    found = {int(mask): kind for masks, kind in table for mask in masks.split(",")}
    assert found == {mask: kind.value for mask, kind in MASKS.items()}


@pytest.mark.parametrize("name", sorted(vendor.commands))
def test_every_vendor_command_is_documented(name: str) -> None:
    assert f"tmr vendor {name} " in HOW_TO
    assert f"`{name}`" in CLI
    of_an_item = {option.parameter for option in OF_AN_ITEM}
    for parameter in vendor.commands[name].params:
        if isinstance(parameter, click.Option) and parameter.name not in of_an_item and name != "init":
            assert all(f"`{option}" in CLI for option in parameter.opts)


def test_the_example_of_items_is_read(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", OPTIONS, re.DOTALL)
    assert example is not None
    (tmp_path / "items.toml").write_text(example[1])
    assert [licence.product_code for licence in read_items(tmp_path / "items.toml")] == [1001, 1002, 1001]


def test_the_commands_of_the_how_to_run(tmp_path: Path) -> None:
    """Each command of the page, in its order, with real request files of containers that take each update."""
    toml = re.search(r"```toml\n(.*?)```", OPTIONS, re.DOTALL)
    assert toml is not None
    (tmp_path / "plant.toml").write_text(toml[1])
    system, server = containers(), [containers("server", (private_key(30),))[0]]
    spare = Container.create(system[0].act_id, raw_public_key(private_key(20)))
    script = "\n".join(re.findall(r"```sh\n(.*?)```", HOW_TO, re.DOTALL)).replace("\\\n", " ")
    variables = dict(re.findall(r'^(\w+)="(.*)"$', script, re.MULTILINE))
    ran = set()
    for line in script.splitlines():
        if not line.startswith("tmr vendor "):
            continue
        words = shlex.split(re.sub(r"\$(\w+)", lambda found: variables[found[1]], line))[2:]
        words = [re.sub(r"^~", str(tmp_path), word) for word in words]
        named = [*zip(("up1", "up2", "up3"), system, strict=True), ("server", server[0]), ("new-up3", spare)]
        for name, container in named:
            path = tmp_path / f"{name}.json"
            path.write_bytes(make_request(container, FIRM, key_of(container)))
        with contextlib.chdir(tmp_path):
            done = CliRunner().invoke(vendor, words)
        assert done.exit_code == 0, (line, done.output)
        ran.add(words[0])
        if "--out" in words:
            file = (tmp_path / words[words.index("--out") + 1]).read_bytes()
            trusted = {FIRM: public_key_from_pem((tmp_path / f"vendor/{FIRM}.pem").read_bytes())}
            if "--network" in words:
                server = [activate(server[0], file, trusted)]
            elif "new-up3.json" in words:
                system = [activate(each, file, trusted) for each in (*system[:2], spare)]
            else:
                system = [activate(each, file, trusted) for each in system]
    assert ran == set(vendor.commands)
    assert len({each.items for each in system}) == 1


def test_the_shell_recipe_verifies(tmp_path: Path) -> None:
    recipe = re.search(r"## Verify without tmr\n\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert recipe is not None
    (tmp_path / "editor.json").write_bytes(issue_to(containers(), []).file)
    (tmp_path / f"{FIRM}.pem").write_bytes(public_key_to_pem(raw_public_key(VENDOR)))
    done = subprocess.run(["sh", "-ec", recipe[1]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully"), done.stderr
