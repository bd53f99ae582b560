# SPDX-License-Identifier: Apache-2.0
"""Alarms of an upstream's acceptor, for an operator."""

from typing import Final

from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import GIVEN_UP

ROLLED_BACK: Final = (
    "this store had less than it had confirmed: an old copy of it was put back, or the disk lost what it "
    "had written; the active twin brings it up to date. Never restore an upstream from a copy; if nobody "
    "did, replace the disk. The alarm ends with the next start"
)


def acceptor_alarms(acceptor: Acceptor) -> list[str]:
    """Faults of its journal, its ledger, and the twins that ask it; each a sentence."""
    found = []
    if acceptor.damage == GIVEN_UP:
        found.append(
            "an operator gave up the journal of this upstream. It does not vote before the active twin "
            "has brought it up to date; the alarm ends with the first start after that"
        )
    elif acceptor.damage:
        state = "is to be brought up to date" if acceptor.diverged else "was brought up to date"
        found.append(
            f"the disk changed what this upstream had stored: {acceptor.damage}; it began anew and "
            f"{state} by the active twin; replace the disk or its memory if that happens again. The "
            "alarm ends with the first start after that"
        )
    if acceptor.differs:
        found.append(
            "this upstream's ledger is not the active twin's, also after it was made anew from its own "
            "journal: it confirms nothing to that twin. The twin's alarm says who else has which"
        )
    if acceptor.installed:
        found.append(
            "this upstream's ledger differed from those of the active twin and of both other upstreams, "
            "and was replaced; test the memory of this machine. The alarm ends with the next start"
        )
    if acceptor.refused:
        found.append(
            f"a twin sent what no honest twin sends, and was refused: {acceptor.refused}; look "
            "whether it was stolen (retire it), or is of another version. Where operators accepted on "
            "both twins that what only this upstream has is lost: stop tmr-upstream here, run "
            "`tmr-upstream renew`, and start it"
        )
    if acceptor.outdated:
        found.append(f"this upstream is of an older version and stands still: {acceptor.outdated}")
    if acceptor.foreign:
        found.append(f"a twin was refused: {acceptor.foreign}")
    needed = acceptor.log.format_at(acceptor.commit)
    for twin in acceptor.announced.outdated(needed):
        found.append(
            f"{twin} is of an older version, which cannot apply the journal (format {needed}): install "
            "the version of the other machines there"
        )
    if acceptor.rolled_back:
        found.append(ROLLED_BACK)
    return found
