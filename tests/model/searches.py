# SPDX-License-Identifier: Apache-2.0
"""Searches of the model: the protocol as it is, within bounds; and with one rule taken away at a time."""

from tests.model.search import Search

CLAIMS = (
    Search("journal", ("TERMS=3", "LENGTH=3", "DISKS=3")),
    Search("journal", ("TERMS=4", "LENGTH=2", "DISKS=3")),
    Search("journal", ("TERMS=4", "LENGTH=2", "DISKS=3", "LIVES")),
    Search("journal", ("TERMS=3", "LENGTH=2", "DISKS=4")),
    Search("journal", ("TERMS=2", "LENGTH=3", "DISKS=5")),
    Search("lease", ("TERMS=2", "GRANT=2")),
    Search("lease", ("TERMS=3", "GRANT=1", "LOSSES")),
)
"""Searched by every `make model`."""

DEEP = (
    Search("journal", ("TERMS=3", "LENGTH=3", "DISKS=4")),
    Search("journal", ("TERMS=4", "LENGTH=2", "DISKS=4")),
    Search("journal", ("TERMS=2", "LENGTH=4", "DISKS=5")),
    Search("journal", ("TERMS=2", "LENGTH=4", "DISKS=5", "AGAIN")),
    Search("lease", ("TERMS=2", "GRANT=2", "LOSSES")),
    Search("lease", ("TERMS=3", "GRANT=2")),
    Search("lease", ("TERMS=2", "GRANT=3")),
)
"""Searched by `make model-deep`, besides."""

_THREE = ("TERMS=3", "LENGTH=2", "DISKS=3")
_NEW_DISK = ("TERMS=2", "LENGTH=3", "DISKS=4")
_LEASE = ("TERMS=2", "GRANT=1")

MUTATIONS = (
    Search("journal", _THREE, "FENCING"),
    Search("journal", _THREE, "EPOCH_RANK"),
    Search("journal", _THREE, "RISING_EPOCHS"),
    Search("journal", _THREE, "SYNC"),
    Search("journal", _THREE, "SYNC_OF_ENTRIES"),
    Search("journal", _THREE, "MAJORITY_OF_VOTES"),
    Search("journal", _THREE, "MAJORITY_OF_STORES"),
    Search("journal", _THREE, "READMISSION"),
    Search("journal", (*_THREE, "LIVES"), "INCARNATION"),
    Search("journal", ("TERMS=4", "LENGTH=2", "DISKS=3"), "OWN_EPOCH"),
    Search("journal", _NEW_DISK, "DISK_IDENTITY"),
    Search("journal", _NEW_DISK, "SNAPSHOT_FIRST"),
    Search("lease", _LEASE, "MAJORITY"),
    Search("lease", _LEASE, "FENCING"),
    Search("lease", _LEASE, "BLOCKING"),
    Search("lease", _LEASE, "GIVEN_BACK"),
    Search("lease", _LEASE, "CAUTION_AFTER_RESTART"),
    Search("lease", _LEASE, "DRIFT_ALLOWANCE"),
    Search("lease", _LEASE, "COUNTING_FROM_SENDING"),
    Search("lease", (*_LEASE, "LOSSES"), "READMISSION"),
)
"""Each must end in an error."""
