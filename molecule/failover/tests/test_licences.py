# SPDX-License-Identifier: Apache-2.0
"""Every kind of licence on the deployed machines, while the active twin is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from licences import FIRM, Products, Program
from machines import LAB, ROOT, SSH_CONFIG, machine_named, names

from system import heal, kill_active, lab, tmr, tmr_operator, until, upstream_status


def wanted(product: int) -> str:
    return f"--firm {FIRM} --product {product}"


def run(product: int, *command: str, user: str = "root") -> tuple[int, str, str]:
    """`tmr run` on the client machine, as `user`; by default it runs `true`."""
    done = machine_named("client").host.run(
        f"LOGNAME={user} tmr run --verbose {wanted(product)} -- {' '.join(command) or 'true'}"
    )
    return done.rc, done.stdout, done.stderr


def item(product: int, *, emergency: bool = False) -> Any:
    """The licence as clients see it now."""
    code, output, errors = tmr("list", "--json", "--patience", "30")
    assert code == 0, errors
    (found,) = [
        each
        for each in json.loads(output)["items"]
        if each["product_code"] == product and each["emergency"] == emergency
    ]
    return found


def operate(*arguments: str) -> Any:
    """What an operator's `tmr … --json` answers."""
    code, output, errors = tmr_operator(*arguments, "--json")
    assert code == 0, errors
    return json.loads(output)


def recorded(product: int) -> list[dict[str, Any]]:
    """What the record has of the product."""
    shown = operate("tracking", "show", "--firm", str(FIRM), "--lines", "10000")
    return [line for line in shown["lines"] if line["product_code"] == product]


@pytest.fixture
def program() -> Iterator[Program]:
    """A program that holds a licence until the test ends."""
    one = Program(machine_named("client"), "other-licence")
    yield one
    one.stop()


def test_units_are_taken_once(products: Products) -> None:
    product = products.units

    def take(units: int, key: str) -> tuple[int, str, str]:
        return tmr("consume", wanted(product), "--units", str(units), "--once", f"{key}-{product}", "--json")

    def units_recorded() -> list[int]:
        return [line["units"] for line in recorded(product) if line["event"] == "units"]

    at_first, earlier = item(product)["units_remaining"], len(units_recorded())
    code, output, errors = take(7, "before-the-fault")
    assert code == 0, errors
    assert json.loads(output)["remaining"] == at_first - 7

    taken = 0
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_active)
        while not killed.done():
            taken += 1
            code, _, errors = take(1, f"while-the-twin-dies-{taken}")
            assert code == 0, errors
        killed.result()
    for units, key in ((7, "before-the-fault"), (1, f"while-the-twin-dies-{taken}")):
        code, _, errors = take(units, key)
        assert code == 0, errors
    left = at_first - 7 - taken
    assert item(product)["units_remaining"] == left
    assert item(product)["in_use"] == 0

    code, _, errors = take(left + 1, "too-many")
    assert code == 1
    assert f"{left} of" in errors, "it says what is left"
    assert sorted(units_recorded()[earlier:]) == [1] * taken + [7]


def test_a_seat_leaves_the_network_and_comes_back(products: Products) -> None:
    product = products.borrowable
    lab("power-off", "up3")
    until(lambda: not upstream_status("up3")["reachable"], "the active twin misses up3")
    code, output, errors = tmr("borrow", wanted(product), "--for", "1h", "--json")
    assert code == 0, errors
    borrowing = json.loads(output)["id"]
    assert item(product)["borrowed"] == 1

    kill_active()
    assert (item(product)["borrowed"], item(product)["in_use"]) == (1, 1), (
        "it is counted on the new active twin"
    )
    code, _, errors = tmr("borrow", wanted(product), "--for", "1h")
    assert code == 1
    assert "1 of 1 seat of" in errors

    lab("cut", "client", "front")
    assert offline(["list", "--patience", "1"]).returncode == 3, "the client machine is off the network"
    at_work = offline(["run", "--borrowed", *wanted(product).split(), "--", "echo", "at work"])
    assert at_work.stdout.strip() == "at work", at_work.stderr
    lab("heal", "client", "front")

    code, output, errors = tmr("return", borrowing)
    assert code == 0, errors
    assert (item(product)["borrowed"], item(product)["in_use"]) == (0, 0)
    code, _, errors = tmr("run", "--borrowed", wanted(product), "--", "true")
    assert code == 1, "its file is gone, too"
    events = [line["event"] for line in recorded(product) if line["event"] != "denied"]
    assert events == ["borrowed", "returned"]


def offline(command: list[str]) -> subprocess.CompletedProcess[str]:
    """`tmr` on the client machine, entered without its network."""
    enter = [sys.executable, "-m", "lab", "--name", LAB, "shell", "client", "tmr", *command]
    return subprocess.run(enter, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_emergency_licence_is_for_emergencies(products: Products, program: Program) -> None:
    product = products.emergency
    code, _, errors = run(product)
    assert code == 0, errors
    assert "emergency" not in errors
    assert item(product, emergency=True)["first_use"] is None

    program.start(f"--ttl 10 {wanted(product)}")
    program.session()
    code, _, errors = run(product)
    assert code == 0, errors
    assert "An emergency licence is in use" in errors
    assert f"{FIRM}:{product}" in errors
    first_use = item(product, emergency=True)["first_use"]
    assert first_use is not None

    kill_active()
    assert item(product, emergency=True)["first_use"] == first_use, "its Usage Period runs on"
    code, _, errors = run(product, "tmr", "run", wanted(product), "--", "true")
    assert code == 1, "both are taken"
    assert "212" in errors
    program.stop()
    code, _, errors = run(product)
    assert code == 0, errors
    assert "emergency" not in errors
    assert [line["event"] for line in recorded(product)].count("emergency") == 2


@pytest.fixture
def access_list(tmp_path: Path, products: Products) -> Iterator[int]:
    """Rules for three seats; the version of the list. They are taken away afterwards."""
    about = f"firm_code = {FIRM}\nproduct_code = {products.access}\n"
    rules = (
        ("nobody-of-the-name", "deny", "", "mallory"),
        ("one-intern", "limit", "seats = 1\n", "intern-*"),
        ("two-for-anna", "reserve", "seats = 2\n", "anna"),
    )
    text = "".join(
        f'[[rules]]\nname = "{name}"\neffect = "{effect}"\n{seats}{about}who = {{ users = ["{user}"] }}\n'
        for name, effect, seats, user in rules
    )
    path = tmp_path / "access.toml"
    path.write_text(text)
    yield int(operate("access", "set", str(path))["version"])
    heal()
    path.write_text("rules = []\n")
    operate("access", "set", str(path))


def test_the_access_list_survives(products: Products, access_list: int, tmp_path: Path) -> None:
    product = products.access
    nested = ("tmr", "run", wanted(product), "--", "true")

    def the_rules_hold() -> None:
        code, _, errors = run(product, user="mallory")
        assert code == 1
        assert "nobody-of-the-name" in errors
        assert "231" in errors
        assert run(product, user="intern-1")[0] == 0
        code, _, errors = run(product, *nested, user="intern-2")
        assert code == 1
        assert "one-intern" in errors
        assert run(product, user="bob")[0] == 0
        code, _, errors = run(product, *nested, user="bob")
        assert code == 1
        assert "two-for-anna" in errors
        code, _, errors = run(product, *nested, user="anna")
        assert code == 0, errors

    the_rules_hold()
    kill_active()
    assert operate("access", "show")["version"] == access_list
    the_rules_hold()

    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[rules]]\nname = "typo"\neffect = "allow"\nwho = { groups = ["nrth"] }\n')
    code, _, errors = tmr_operator("access", "set", str(wrong))
    assert code == 1
    assert "nrth" in errors
    assert operate("access", "show")["version"] == access_list, "a wrong list changes nothing"

    code, output, errors = tmr("explain", wanted(product), "--user", "mallory", "--json")
    assert code == 0, errors
    assert json.loads(output)["problem"] == "access-denied"
    until(
        lambda: any(
            each["event"] == "denied" and each.get("user") == "mallory" for each in recorded(product)
        ),
        "the record has the refusal",
    )


def test_who_waits_keeps_the_place(products: Products, program: Program) -> None:
    product = products.emergency
    client = machine_named("client")
    holders = [program, Program(client, "emergency-licence")]
    waits = Program(client, "waiting-licence")
    try:
        for holder in holders:
            holder.start(f"--ttl 10 {wanted(product)}")
            holder.session()
        waits.start(f"--wait --ttl 20 {wanted(product)}")
        until(lambda: "place 1 of 1" in waits.told(), "it is told its place in the queue")
        kill_active()
        (place,) = operate("sessions")["queue"]
        assert (place["product_code"], place["position"]) == (product, 1)
        program.stop()
        assert waits.session() == place["id"], "the place has become the session"
    finally:
        waits.stop()
        holders[1].stop()


def test_an_operator_ends_a_session(products: Products, program: Program) -> None:
    product = products.access
    program.start(f"--ttl 5 {wanted(product)}")
    session = program.session()
    assert operate("end", session)["ended"]
    kill_active()
    until(lambda: "operator ended it" in program.told(), "the program's user is told who ended it")
    assert item(product)["in_use"] == 0
    (line,) = [line for line in recorded(product) if line["event"] == "ended"]
    assert line["id"] == session


def test_two_containers_vouch_for_the_record(products: Products, tmp_path: Path) -> None:
    kill_active()
    export = tmp_path / "record.jsonl"
    code, _, errors = tmr_operator("tracking", "export", "--firm", str(FIRM), "--output", str(export))
    assert code == 0, errors
    requests = [
        f"--request={SSH_CONFIG.parent / 'requests' / f'{name}-{FIRM}.request.json'}"
        for name in names("upstreams")
    ]
    code, output, errors = tmr_operator("tracking", "verify", str(export), *requests)
    assert code == 0, errors
    assert "chain            unbroken" in output
    assert "Verified" in output
