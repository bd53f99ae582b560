# SPDX-License-Identifier: Apache-2.0
"""`--json` of the commands that ask no server: the vendor's, and the verification of a record."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.record import exported, lines, public_keys
from tmr.cli.main import cli
from tmr.licensing import (
    Container,
    fingerprint,
    make_request,
    private_key_from_pem,
    raw_public_key,
)

FIRM = 6_000_010
SYSTEM = "lab-0123456789abcdef"


def tmr(*arguments: object) -> Any:
    """The document that the command prints, or its error."""
    answer = CliRunner().invoke(cli, [str(each) for each in arguments])
    return json.loads(answer.stdout if answer.exit_code == 0 else answer.stderr)


def requests(root: Path) -> list[object]:
    """Options with the request files of three containers of one system."""
    options: list[object] = []
    for number in range(3):
        key = Ed25519PrivateKey.generate()
        path = root / f"request-{number}.json"
        path.write_bytes(make_request(Container.create(SYSTEM, raw_public_key(key)), FIRM, key))
        options += ["--request", path]
    return options


def test_what_a_vendor_does(tmp_path: Path) -> None:
    vendor, out = tmp_path / "vendor", tmp_path / "update.json"
    made = tmr("vendor", "init", "--firm", FIRM, "--dir", vendor, "--json")
    key = private_key_from_pem((vendor / f"{FIRM}.key").read_bytes())
    assert made == {
        "firm_code": FIRM,
        "fingerprint": fingerprint(raw_public_key(key)),
        "public_key": str(vendor / f"{FIRM}.pem"),
    }
    asked = requests(tmp_path)
    options = ["--dir", vendor, *asked, "--json"]
    issued = tmr("vendor", "issue", *options, "--product", 201, "--quantity", 5, "--out", out)
    (item,) = issued["issued"]
    assert (issued["file"], issued["act_id"]) == (str(out), SYSTEM)
    assert (item["product_code"], item["tmr_id"], item["quantity"]) == (201, 1, 5)
    assert issued["changed"] == issued["removed"] == []
    shown = tmr("vendor", "show", out, "--key", vendor / f"{FIRM}.pem", "--json")
    assert (shown["kind"], shown["verified"], shown["update"]) == ("update", True, issued["update"])
    assert shown["items"] == [item]
    assert tmr("vendor", "show", out, "--json")["verified"] is False
    assert tmr("vendor", "show", asked[1], "--json")["firm_code"] == FIRM
    refused = tmr("vendor", "issue", *options, "--product", 202, "--quantity", 5, "--out", out)
    assert refused["message"] == f"{out} exists. Choose another name for the update file."


@pytest.mark.parametrize("text", ["", "{", "[1,]"])
def test_a_file_that_is_no_json(tmp_path: Path, text: str) -> None:
    file = tmp_path / "update.json"
    file.write_text(text)
    message = tmr("vendor", "show", file, "--json")["message"]
    assert ("it is no JSON from line 1, column" if text else "it is empty") in message


def test_a_record_that_is_verified(tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    file.write_bytes(b"".join(exported(lines(12))))
    keys = [each for key in public_keys(1, 2).values() for each in ("--container-key", key.hex())]
    found = tmr("tracking", "verify", file, *keys, "--json")
    assert (found["verified"], found["lines"], found["span"]["last_seq"]) == (True, 12, 12)
    assert [one["problem"] for one in found["vouchers"]] == ["", ""]
    assert tmr("tracking", "verify", file, "--chain-only", "--json")["verified"] is False
    refused = tmr("tracking", "verify", file, *keys[:2], "--json")
    assert "1 of the containers known vouch for" in refused["message"]
