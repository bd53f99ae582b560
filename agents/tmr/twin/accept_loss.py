# SPDX-License-Identifier: Apache-2.0
"""Objection of a twin as text, and the operator's command that accepts the loss that it names."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tmr.licensing.spelling import written_time
from tmr.quorum.anchor import Anchor, AnchorMismatch
from tmr.twin.anchor_file import AnchorDocument, AnchorFile

_FOUNDING: Final = re.compile(r"founding-([0-9a-f]+)-([0-9a-z]+)")
_ID: Final = re.compile(r"journal-(\d+)\.(\d+)-(\d+)\.(\d+)")
UNSEEN_EPOCHS: Final = 1_000
"""Epochs after the anchor's that may have been used without this twin's knowledge: they are skipped."""


def units_lost(kept: Mapping[str, int], now: Mapping[str, int]) -> str:
    """Units that come back with the shorter journal. `kept`, `now`: taken of each licence."""
    less = {key: taken - now.get(key, 0) for key, taken in sorted(kept.items())}
    told = [f"{units} of {key}" for key, units in less.items() if units > 0]
    return f"; units that were taken would come back: {', '.join(told)}" if told else ""


def describe(objection: AnchorMismatch, upstreams: Sequence[str], since_ms: int, units: str) -> str:
    """The alarm: what is missing, on which upstreams, and what can be done."""
    anchor = objection.anchor
    known = f"entry {anchor.index} of epoch {anchor.epoch} ({written_time(anchor.time_ms)})"
    accept = f"stop tmr-server here, run `tmr-server --accept-loss {objection.id}` as root, and start it"
    if objection.kind == "active":
        return (
            f"the journal in force lacks {known}, which was committed: some of what was answered until then "
            f"is lost{units}. This twin does not serve with that journal. To accept it: {accept}"
        )
    if objection.kind in ("founded", "new"):
        return _describe_founding(objection, upstreams, since_ms, known, accept)
    shown = "; ".join(
        f"{upstreams[slot]} ends with entry {index} of epoch {epoch}"
        for slot, (epoch, index) in sorted(objection.shown.items())
    )
    missing = anchor.index - objection.best[1]
    what = f"{missing} entries up to it are missing" if missing > 0 else "another is in its place"
    away = [name for slot, name in enumerate(upstreams) if slot not in objection.shown]
    wait = f"; {' and '.join(away)} may have it: bring that back" if away else ""
    return (
        f"does not serve since {written_time(since_ms)}: {known} was committed, and {what} ({shown}){units}. "
        f"Old copies of upstreams were put back, or their disks lost what they had written{wait}. Only if "
        f"nobody has it any more, accept the loss, on both twins: {accept}"
    )


def _describe_founding(
    objection: AnchorMismatch, upstreams: Sequence[str], since_ms: int, known: str, accept: str
) -> str:
    names = " and ".join(upstreams[slot] for slot in sorted(objection.shown))
    if objection.kind == "new":
        found = f"the stores of {names} are new, and hold no journal"
    else:
        found = (
            f"{names} are of another founding ({objection.other}): their journal is that of another system"
        )
    return (
        f"does not serve since {written_time(since_ms)}: {found}. This twin knows the founding "
        f"{objection.anchor.founding}, up to {known}. Put the former stores back: then it goes on, and "
        "nothing is lost. Only if they are lost, or this was meant: all sessions, borrowings and counted "
        "units of the former founding are given up, and the vendor issues all licences anew. Then run "
        f"the playbook found_anew.yml, or on both twins: {accept}"
    )


def accept(state_dir: str, wanted: str) -> int:
    """Lower the anchor to the journal in the objection's id. Exit status: 0 done, 1 refused."""
    file = AnchorFile(Path(state_dir))
    kept = file.read()
    if (founding := _FOUNDING.fullmatch(wanted)) is not None:
        return _accept_founding(file, kept, wanted, founding[1])
    match = _ID.fullmatch(wanted)
    if match is None:
        return _complain(
            f"{wanted}: an id has the form journal-1.2-3.4 or founding-a-b; copy it from `tmr status`"
        )
    epoch, index, to_epoch, to_index = map(int, match.groups())
    if kept is None:
        return _complain(file.problem or f"{state_dir}: there is no anchor, so this twin objects to nothing")
    if kept.anchor.position != (epoch, index):
        return _complain(
            f"{wanted}: the anchor of this twin is entry {kept.anchor.index} of epoch {kept.anchor.epoch}; "
            "copy the id from the alarm of this twin in `tmr status`"
        )
    # An old copy has promised less: without this, a new term could have the epoch of one that is given up.
    used_up = max(kept.used_up, epoch + UNSEEN_EPOCHS)
    lowered = Anchor(to_epoch, to_index, 0, founding=kept.anchor.founding)
    file.write(AnchorDocument(lowered, used_up=used_up))
    if file.problem:
        return _complain(file.problem)
    sys.stdout.write(
        f"accepted: what was committed after entry {to_index} of epoch {to_epoch}, up to entry {index} of "
        f"epoch {epoch}, is given up. Start tmr-server now: systemctl start tmr-server\n"
    )
    return 0


def _accept_founding(file: AnchorFile, kept: AnchorDocument | None, wanted: str, founding: str) -> int:
    """Forget the founding that this twin knows: it takes the one that a majority of upstreams has."""
    if kept is None:
        return _complain(file.problem or "there is no anchor: this twin knows no founding")
    if kept.anchor.founding != founding:
        return _complain(
            f"{wanted}: this twin knows the founding {kept.anchor.founding or '(none)'}; copy the id from "
            "the alarm of this twin in `tmr status`"
        )
    file.remove()
    if file.problem:
        return _complain(file.problem)
    sys.stdout.write(
        f"accepted: all that the founding {founding} had is given up. Start tmr-server now: systemctl start "
        "tmr-server\n"
    )
    return 0


def _complain(text: str) -> int:
    sys.stderr.write(f"tmr-server: {text}\n")
    return 1
