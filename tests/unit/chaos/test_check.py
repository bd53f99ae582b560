# SPDX-License-Identifier: Apache-2.0
"""The checker accepts every history of a system that does right, and names what is wrong in any other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.check import check, judge
from chaos.history import BadRecords, History, load
from chaos.records import Fault, Holders, Sample
from testbed.workload.operations import Operation
from tests.unit.chaos.histories import (
    ALONE,
    LOAN,
    METER,
    SEATS,
    STATION,
    TTL,
    Plant,
    export,
    write,
)

CLIENTS = ("anna", "bert", "carl", "dora")


def day() -> History:
    """A bit of everything, with faults."""
    plant = Plant()
    first, second = plant.checkout("anna", SEATS), plant.checkout("bert", SEATS)
    plant.checkout("carl", SEATS)
    plant.read("reader", SEATS)
    meter = plant.checkout("dora", METER)
    plant.consume(meter, 5)
    plant.lose(plant.consume(meter, 3))
    plant.consume(meter, 1)
    place = plant.wait("emil", SEATS)
    plant.strike("power-cut", "tmr1", silent=2.0)
    plant.release(first, before=3.0)
    plant.again(place)
    plant.checkout("fred", ALONE, "exclusive")
    plant.checkout("gina", ALONE)
    plant.checkout("hans", STATION, "station-share", "cad-7")
    plant.checkout("ines", STATION, "station-share", "cad-7")
    plant.heartbeat(second)
    plant.strike("majority-lost", "up1", "up2", silent=3.0)
    loan = plant.borrow("jana", before=5.0)
    plant.borrow("karl")
    plant.give_back(loan)
    plant.lose(plant.checkout("lisa", METER))
    plant.strike("freeze", "up3")
    plant.heartbeat(second)
    return plant.close()


def test_a_day_without_a_broken_promise() -> None:
    verdict = judge(day())
    assert verdict.violations == []
    assert verdict.holds
    assert all(proof.facts for proof in verdict.proofs)


times = st.sampled_from([0.01, 0.3, 1.5])
does = st.tuples(
    st.sampled_from(CLIENTS),
    st.sampled_from(
        ["checkout", "exclusive", "share", "release", "beat", "consume", "borrow", "back", "read", "wait"]
    ),
    times,
    times,
    st.integers(0, 9),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(does, max_size=40))
def test_every_history_of_a_right_system_holds(program: list[tuple[str, str, float, float, int]]) -> None:
    plant = Plant()
    for client, what, before, after, number in program:
        play(plant, client, what, number, before=before, after=after)
    assert judge(plant.close()).violations == []


def play(plant: Plant, client: str, what: str, number: int, *, before: float, after: float) -> None:
    """One step; some answers are lost."""
    times = {"before": before, "after": after}
    mine = [one for one in plant.held.values() if one.client == client and one.session not in plant._unknown]
    sessions = [one for one in mine if one.verb != "borrow"]
    done: Operation | None = None
    match what:
        case "checkout":
            done = plant.checkout(client, (SEATS, METER, ALONE)[number % 3], before=before, after=after)
        case "exclusive":
            done = plant.checkout(client, ALONE, "exclusive", before=before, after=after)
        case "share":
            station = f"station-{number % 2}"
            done = plant.checkout(client, STATION, "station-share", station, before=before, after=after)
        case "read":
            plant.read(client, (SEATS, METER, ALONE, STATION, LOAN)[number % 5], **times)
        case "wait":
            place = plant.wait(client, SEATS, **times)
            if place.outcome == "waiting":
                plant.again(place, **times)
        case "borrow":
            done = plant.borrow(client, **times)
        case "back":
            for loan in [one for one in mine if one.verb == "borrow"][:1]:
                plant.give_back(loan, **times)
        case "release":
            for grant in sessions[:1]:
                plant.release(grant, **times)
        case "beat":
            for grant in sessions[:1]:
                plant.heartbeat(grant, **times)
        case "consume":
            for grant in [one for one in sessions if one.product == METER][:1]:
                done = plant.consume(grant, 1 + number, **times)
    if done is not None and number == 9 and done.verb != "borrow":
        plant.lose(done)


# -- what is broken is caught ----------------------------------------------------------------------------

Break = Callable[[], History]


def of(history: History, verb: str, outcome: str, number: int = 0) -> Operation:
    return [one for one in history.operations if (one.verb, one.outcome) == (verb, outcome)][number]


def record(history: History) -> list[dict[str, Any]]:
    return [json.loads(raw[82:-1]) for raw in history.exported[1:-1]]


def rewritten(history: History, lines: list[dict[str, Any]]) -> History:
    """Another record, its chain whole again."""
    for number, line in enumerate(lines, 1):
        line["seq"] = number
    return dataclasses.replace(history, exported=export(lines))


def without(event: str, number: int = 0) -> History:
    history = day()
    lines = record(history)
    lines.remove([line for line in lines if line["event"] == event][number])
    return rewritten(history, lines)


def doubled(event: str) -> History:
    history = day()
    lines = record(history)
    place = next(place for place, line in enumerate(lines) if line["event"] == event)
    lines.insert(place + 1, dict(lines[place]))
    return rewritten(history, lines)


def changed(verb: str, outcome: str, number: int = 0, **values: Any) -> History:
    history = day()
    operation = of(history, verb, outcome, number)
    for name, value in values.items():
        setattr(operation, name, value)
    return history


def campaign(**values: Any) -> History:
    history = day()
    return dataclasses.replace(history, campaign=msgspec.structs.replace(history.campaign, **values))


def seen(change: Callable[[Sample], None], machine: str, begin: float, end: float) -> History:
    history = day()
    for sample in history.samples:
        if sample.machine == machine and begin <= sample.at <= end:
            change(sample)
    return history


def one_seat_too_many() -> History:
    """A third client believes to hold one of two seats; the record says the same."""
    plant = Plant()
    plant.checkout("anna", SEATS)
    plant.checkout("bert", SEATS)
    plant.licences[SEATS] = msgspec.structs.replace(plant.licences[SEATS], quantity=3)
    plant.checkout("carl", SEATS)
    plant.licences[SEATS] = msgspec.structs.replace(plant.licences[SEATS], quantity=2)
    return plant.close()


def not_exclusive() -> History:
    plant = Plant()
    plant.checkout("anna", ALONE, "exclusive")
    plant.held[next(iter(plant.held))].mode = "user-limit"
    plant.checkout("bert", ALONE)
    return plant.close()


def two_stations() -> History:
    plant = Plant()
    plant.checkout("anna", STATION, "station-share", "cad-1")
    plant.held[next(iter(plant.held))].station = "cad-2"
    plant.checkout("bert", STATION, "station-share", "cad-2")
    return plant.close()


def too_early() -> History:
    """A session expires while its client keeps it alive, and another gets the seat."""
    plant = Plant()
    grant = plant.checkout("anna", METER)
    plant.heartbeat(grant)
    plant.held.pop(grant.session)
    plant._line("expired", grant)
    plant.checkout("bert", METER)
    plant.heartbeat(grant)
    return plant.close()


def counted_twice() -> History:
    """A consume is carried out twice for one request: the counter, the record, and later answers say so."""
    plant = Plant()
    grant = plant.checkout("anna", METER)
    plant.consume(grant, 5)
    plant.units[METER] -= 5
    plant._line("units", grant, units=5)
    plant.consume(grant, 1)
    return plant.close()


def granted_twice() -> History:
    """A retry takes a second seat, of which its client never hears."""
    plant = Plant()
    grant = plant.checkout("anna", METER)
    second = msgspec.structs.replace(grant, session="s-second")
    plant.held[second.session] = second
    plant._line("granted", second)
    plant._unknown.add(second.session)
    plant.read("bert", METER)
    return plant.close()


def stale_read() -> History:
    """A reader sees the licence as it was before a grant that was answered long ago."""
    plant = Plant()
    plant.checkout("anna", METER)
    plant.read("bert", METER).in_use = 0
    return plant.close()


def reads_run_back() -> History:
    """While a grant is under way, one reader sees it, and a later one does not."""
    plant = Plant()
    plant.checkout("anna", METER, before=0.02, after=3.0)
    plant.read("bert", METER)
    plant.read("carl", METER).in_use = 0
    return plant.close()


def refused_for_nothing() -> History:
    plant = Plant()
    refused = plant.checkout("anna", SEATS)
    plant.held.clear()
    plant.lines.clear()
    plant.index -= 1
    refused.outcome, refused.status, refused.problem = "refused", 409, "no-more-licences"
    refused.session, refused.valid_until, refused.in_use, refused.epoch = "", None, None, None
    return plant.close()


def out_of_order() -> History:
    history = day()
    lines = record(history)
    lines[0], lines[1] = lines[1], lines[0]
    for line, other in ((lines[0], lines[1]), (lines[1], lines[0])):
        line["time_ms"] = min(line["time_ms"], other["time_ms"])
    return rewritten(history, lines)


def silent(*, seconds: float, answered: bool, fault: str = "", machine: str = "up1") -> History:
    """A request without answer for so long, while nothing or something is wrong."""
    plant = Plant()
    grant = plant.checkout("anna", METER)
    plant.heartbeat(grant)
    if fault:
        plant.strike(fault, machine, seconds=1.0)
    plant.now += seconds
    read = plant.read("bert", METER, before=seconds)
    if not answered:
        plant.lose(read)
    return plant.close()


def tampered(change: Callable[[list[bytes]], None]) -> History:
    history = day()
    exported = list(history.exported)
    change(exported)
    return dataclasses.replace(history, exported=exported)


def flipped(exported: list[bytes]) -> None:
    exported[4] = exported[4].replace(b'"client":"client"', b'"client":"cliemt"')


def left_out(exported: list[bytes]) -> None:
    del exported[5]


def unfinished(exported: list[bytes]) -> None:
    del exported[-2]


def partial(exported: list[bytes]) -> None:
    exported[-1] = exported[-1].replace(b"true", b"false")


def unvouched(exported: list[bytes]) -> None:
    exported[-1] = exported[-1].replace(b"[{},{}]", b"[{}]")


def back_in_time() -> History:
    history = day()
    lines = record(history)
    lines[6]["time_ms"] -= 5_000
    return rewritten(history, lines)


def holds_address(sample: Sample) -> None:
    sample.vip = True


def serves(sample: Sample) -> None:
    sample.serving, sample.role = True, "active"


def older_epoch(sample: Sample) -> None:
    sample.epoch = 3


def freezes_with_address(sample: Sample) -> None:
    sample.state, sample.vip, sample.serving, sample.role = "frozen", True, False, ""


def forgets(sample: Sample) -> None:
    sample.commit = 1


def no_vote(sample: Sample) -> None:
    sample.voting = False


def old_majority_serves() -> History:
    """Faults are written down as they were, and a twin served meanwhile all the same."""
    history = day()
    part = Fault("old-majority", [], 0.5, 1.5)
    return dataclasses.replace(history, faults=[*history.faults, part])


def given_with_one_constituent() -> History:
    history = day()
    grant = of(history, "checkout", "granted", 1)
    part = Fault("two-of-three-and-power", [], grant.sent - TTL - 0.1, (grant.answered or 0.0) + 0.1)
    return dataclasses.replace(history, faults=[*history.faults, part])


def unnamed() -> History:
    """One twin says which disk is damaged, the other does not."""
    history = day()
    fault = Fault("bit-flipped", [], 0.5, 1.5, told=["tmr1: the disk of up1 changed"])
    return dataclasses.replace(history, faults=[*history.faults, fault])


BROKEN: dict[str, tuple[Break, str, tuple[str, ...]]] = {
    "one seat too many": (one_seat_too_many, "seats", ("3 seats of 2", "carl #1 checkout", "at 1.")),
    "exclusive, but not alone": (not_exclusive, "seats", ("exclusively", "bert #1 checkout", "at 1.")),
    "two stations in one seat": (two_stations, "seats", ("2 seats of 1", "bert #1 checkout")),
    "a seat too many in the record": (one_seat_too_many, "seats", ("by line 3", "granted to carl")),
    "the counter fell too far": (
        lambda: campaign(
            licences=[
                msgspec.structs.replace(one, units_after=990) if one.units_before else one
                for one in day().campaign.licences
            ]
        ),
        "units",
        ("product 301 #2", "fell by 10", "record has 9", "account for 9"),
    ),
    "the counter is not known": (
        lambda: campaign(
            licences=[msgspec.structs.replace(one, units_after=None) for one in day().campaign.licences]
        ),
        "units",
        ("could not be read",),
    ),
    "units taken twice": (counted_twice, "units", ("takes 5 units for anna", "counted twice")),
    "units that are not in the record": (
        lambda: without("units"),
        "units",
        ("dora #2 consume", "5 units", "at 1."),
    ),
    "two have the same units left": (
        lambda: changed("consume", "consumed", 1, remaining=995),
        "units",
        ("dora #4 consume", "dora #2 consume", "both told that 995"),
    ),
    "an acknowledged grant is lost": (
        lambda: without("granted"),
        "commands",
        ("anna #1 checkout", "0 times", "at 1."),
    ),
    "an acknowledged release is lost": (
        lambda: without("released"),
        "commands",
        ("anna #2 release", "0 times"),
    ),
    "an acknowledged borrowing is lost": (
        lambda: without("borrowed"),
        "commands",
        ("jana #1 borrow", "0 times"),
    ),
    "what was never borrowed comes back": (
        lambda: without("borrowed"),
        "commands",
        ("b-jana-1", "never granted"),
    ),
    "an acknowledged return is lost": (
        lambda: without("returned"),
        "commands",
        ("jana #2 return", "0 times"),
    ),
    "a place in the queue is lost": (lambda: without("queued"), "commands", ("emil #1 wait", "0 times")),
    "a grant is in the record twice": (
        lambda: doubled("granted"),
        "commands",
        ("anna #1 checkout", "2 times"),
    ),
    "a return is in the record twice": (
        lambda: doubled("returned"),
        "commands",
        ("jana #2 return", "2 times"),
    ),
    "one key, two sessions": (
        granted_twice,
        "commands",
        ("granted to anna", "s-second", "carried out twice"),
    ),
    "one key, two answers": (
        lambda: changed("wait", "granted", session="s-other"),
        "commands",
        ("emil #2 wait", "emil-00001", "2 sessions"),
    ),
    "one session for two clients": (
        lambda: changed("checkout", "granted", 1, session="s-anna-1"),
        "commands",
        ("bert #1 checkout", "s-anna-1", "given to anna"),
    ),
    "the wrong licence": (
        lambda: changed("checkout", "granted", tmr_id=2),
        "commands",
        ("anna #1", "TMR-Id 2"),
    ),
    "gone, though kept alive": (too_early, "sessions", ("anna #3 heartbeat", "is gone", "promised until")),
    "expired, though kept alive": (too_early, "sessions", ("anna #1 checkout", "has expired by line 2")),
    "alive after its end": (
        lambda: changed("heartbeat", "alive", 1, session="s-anna-1"),
        "sessions",
        ("bert #3 heartbeat", "s-anna-1 is alive", "had ended"),
    ),
    "an older state is read": (stale_read, "order", ("bert #1 read", "0 of 3 seats", "between 1 and 1")),
    "reads run back": (reads_run_back, "order", ("carl #1 read", "0 of 3 seats", "at 1.")),
    "refused, though a seat was free": (
        refused_for_nothing,
        "order",
        ("anna #1 checkout", "no-more-licences"),
    ),
    "not in the order of real time": (
        out_of_order,
        "order",
        ("bert #1 checkout", "before line 2", "anna #1"),
    ),
    "a grant counts wrong": (
        lambda: changed("checkout", "granted", in_use=2),
        "order",
        ("anna #1", "told 2 seats in"),
    ),
    "an epoch runs back": (
        lambda: changed("consume", "consumed", 1, epoch=9),
        "order",
        ("dora #4", "in epoch 9"),
    ),
    "a byte of the record changes": (
        lambda: tampered(flipped),
        "record",
        ("line 5 of tracking.jsonl", "hash"),
    ),
    "a line of the record is missing": (
        lambda: tampered(left_out),
        "record",
        ("line 6", "number 6", "5 was due"),
    ),
    "the last line is missing": (lambda: tampered(unfinished), "record", ("its end names line",)),
    "upstreams lack lines": (lambda: tampered(partial), "record", ("not whole",)),
    "one container alone vouches": (lambda: tampered(unvouched), "record", ("fewer than two containers",)),
    "certified time runs back": (back_in_time, "record", ("line 8", "runs back by")),
    "no record": (lambda: tampered(list.clear), "record", ("0 lines",)),
    "late, and nothing was wrong": (
        lambda: silent(seconds=9, answered=True),
        "availability",
        ("bert #1 read", "took 9.", "two upstreams and a twin lived", "bound is 8 s"),
    ),
    "unanswered, and nothing was wrong": (
        lambda: silent(seconds=9, answered=False),
        "availability",
        ("bert #1 read", "was not answered for 9."),
    ),
    "one upstream is no excuse": (
        lambda: silent(seconds=9, answered=True, fault="power-cut", machine="up1"),
        "availability",
        ("bert #1 read",),
    ),
    "the passive twin is no excuse": (
        lambda: silent(seconds=9, answered=True, fault="power-cut", machine="tmr2"),
        "availability",
        ("bert #1 read",),
    ),
    "an excuse ends": (
        lambda: silent(seconds=30, answered=True, fault="power-cut", machine="tmr1"),
        "availability",
        ("bert #1 read",),
    ),
    "two have the address for a moment": (
        lambda: dataclasses.replace(day(), holders=[Holders(0.5, ("tmr1", "tmr2"), 1)]),
        "twins",
        ("at 0.500 s", "tmr1 and tmr2 have the virtual address together, in 1 looks"),
    ),
    "two have the address": (
        lambda: seen(holds_address, "tmr2", 0.5, 1.5),
        "twins",
        ("at 1.000 s", "tmr1 and tmr2"),
    ),
    "two serve": (lambda: seen(serves, "tmr2", 0.5, 0.5), "twins", ("at 0.500 s", "both serve in epoch 10")),
    "an epoch is served by two": (
        lambda: seen(older_epoch, "tmr2", 5, 99),
        "twins",
        ("tmr2 serves in epoch 3",),
    ),
    "frozen with the address": (
        lambda: seen(freezes_with_address, "tmr1", 0, 4),
        "twins",
        ("at 3.000 s", "tmr1", "longer than a lease"),
    ),
    "a commit is forgotten": (lambda: seen(forgets, "up2", 1.5, 1.5), "twins", ("at 1.500 s", "up2", "knew")),
    "an old majority serves": (
        old_majority_serves,
        "damage",
        ("tmr1 serves with two old copies",),
    ),
    "one constituent is enough": (
        given_with_one_constituent,
        "damage",
        ("bert #1 checkout", "one constituent of three"),
    ),
    "damage is not named": (unnamed, "damage", ("tmr2 raised no alarm of bit-flipped",)),
    "seats are left": (lambda: campaign(sessions_after=2), "end", ("2 sessions",)),
    "records differ": (lambda: campaign(records_agree=False), "end", ("record do not agree",)),
    "journals differ": (lambda: campaign(journal={"up1": 4, "up2": 4, "up3": 5}), "end", ("up3 5",)),
    "an upstream is missing": (lambda: campaign(journal={"up1": 4, "up2": 4}), "end", ("up1 4, up2 4",)),
    "it was not played to its end": (lambda: campaign(finished=0.0), "end", ("not played",)),
    "an upstream does not vote": (lambda: seen(no_vote, "up3", 0, 999), "end", ("up3 did not vote",)),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_named(broken: str) -> None:
    make, rule, words = BROKEN[broken]
    verdict = judge(make())
    assert not verdict.holds
    mine = [text for text in verdict.violations if text.startswith(f"{rule}: ")]
    assert any(all(word in text for word in words) for text in mine), verdict.violations


@pytest.mark.parametrize(
    ("fault", "machines", "seconds"),
    [
        ("power-cut", ("tmr1",), 9.0),
        ("majority-lost", ("up1", "up3"), 12.0),
        ("twins-lost", ("tmr1", "tmr2"), 12.0),
        ("restart-all", ("up1", "up2", "up3", "tmr1", "tmr2"), 12.0),
        ("vip-stolen", ("tmr1",), 9.0),
    ],
)
def test_an_excuse_is_accepted(fault: str, machines: tuple[str, ...], seconds: float) -> None:
    plant = Plant()
    grant = plant.checkout("anna", METER)
    plant.strike(fault, *machines, silent=seconds)
    plant.release(grant, before=seconds + 3.2)
    assert judge(plant.close()).violations == []


def test_a_flood_excuses_nothing() -> None:
    """Innocent clients are answered as ever: that is what turns between clients are for."""
    plant = Plant()
    grant = plant.checkout("anna", METER)
    plant.strike("flood", "tmr1", silent=9.0)
    plant.release(grant, before=12.2)
    assert any(text.startswith("availability: ") for text in judge(plant.close()).violations)


def test_a_machine_that_its_host_paused_may_have_the_address_for_a_moment() -> None:
    history = day()
    both = [*history.holders, Holders(4.0, ("tmr1", "tmr2"), 3)]
    paused = [*history.faults, Fault("host-pause", ["tmr1"], 1.0, 3.0)]
    allowed = dataclasses.replace(history, holders=both, faults=paused)
    assert [text for text in judge(allowed).violations if "together" in text] == []
    later = [*history.holders, Holders(6.0, ("tmr1", "tmr2"), 3)]
    assert any("together" in text for text in judge(dataclasses.replace(allowed, holders=later)).violations)


def test_a_machine_that_its_host_paused_may_say_that_it_serves_for_a_moment() -> None:
    history = seen(serves, "tmr2", 0.5, 1.5)
    assert any("both serve, in two looks" in text for text in judge(history).violations)
    paused = dataclasses.replace(history, faults=[*history.faults, Fault("host-pause", ["tmr2"], 0.2, 0.4)])
    assert not any("both serve, in two looks" in text for text in judge(paused).violations)


def test_a_frozen_machine_keeps_the_address_until_its_lease_ends() -> None:
    history = seen(freezes_with_address, "tmr1", 1, 3)
    assert [text for text in judge(history).violations if text.startswith("twins")] == []


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_no_byte_of_the_record_can_change(data: st.DataObject) -> None:
    history = day()
    exported = list(history.exported)
    number = data.draw(st.integers(1, len(exported) - 2))
    place = data.draw(
        st.integers(0, len(exported[number]) - 1).filter(lambda at: not 73 <= at < 82 and at >= 9)
    )
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != exported[number][place]))
    if place == len(exported[number]) - 1:
        return
    raw = bytearray(exported[number])
    raw[place] = byte
    exported[number] = bytes(raw)
    verdict = judge(dataclasses.replace(history, exported=exported))
    assert any(text.startswith("record: ") for text in verdict.violations)


def test_records_survive_being_written(tmp_path: Path) -> None:
    history = day()
    write(history, tmp_path)
    assert load(tmp_path).operations == history.operations
    assert check(tmp_path).holds


def test_what_is_no_campaign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecords, match="does not hold the records of a campaign"):
        check(tmp_path)
    write(day(), tmp_path)
    (tmp_path / "faults.jsonl").write_text("{}\n")
    with pytest.raises(BadRecords, match="does not hold"):
        check(tmp_path)


def test_figures() -> None:
    findings = judge(day()).findings
    assert findings.kinds == {"power-cut": 1, "majority-lost": 1, "freeze": 1}
    assert [twin for _, twin, _ in findings.terms] == ["tmr1", "tmr2"]
    assert findings.units == {(METER, 2): 9}
    assert findings.most[SEATS, 1] == 2
    cut = findings.effects[0]
    assert cut.terms == (("tmr2", 11),)
    assert cut.gap == next(one.seconds for one in findings.outages if one.fault is cut.fault) > 3
    assert "active twin" in cut.excused
    consume = next(one for one in findings.verbs if one.verb == "consume")
    assert consume.outcomes == {"consumed": 2, "unanswered": 1}
