# SPDX-License-Identifier: Apache-2.0
"""Messages of the quorum protocol: a twin's requests to a replica, and the answers.

Times are milliseconds. Every answer repeats the epoch and the owner of the question, so that an answer to a
former term is recognised and dropped, and carries a `ReplicaState` header.
"""

from typing import Annotated

import msgspec

from tmr.licensing.packed import unpack
from tmr.quorum.entries import AckedPosition, Count, Entry, Membership, Name, ProposerId, Snapshot


class TwinAnnouncement(msgspec.Struct, frozen=True, array_like=True):
    """Announcement that a twin made last to a replica."""

    twin: str
    format: int
    """Newest format that it can apply."""


class CertificateReport(msgspec.Struct, frozen=True, array_like=True):
    """Report of a replica about the certificate that it uses, for operators."""

    ends_ms: int | None = None
    """End of its certificate, Unix milliseconds; None: not known."""
    alarm: bool = False
    """A certificate, CA or list of it ends soon, or its files cannot be used."""


class ReplicaState(msgspec.Struct, frozen=True, array_like=True):
    """State of the replica that gives an answer; each answer has it."""

    replica_id: str
    """Identity of its store: every new store has a new identity."""
    voting: bool
    promised: int
    last_index: int
    last_epoch: int
    commit: int
    wall_ms: int
    """Its wall clock, Unix milliseconds: one of the three that make certified time."""
    generation: int = 0
    """Generation of its CmContainer: changes when a licence is activated."""
    format: int = 1
    """Newest journal format that it can apply."""
    short: bool = False
    """It is short of disk space."""
    term: int = -1
    """Epoch of the last term that it took the journal of, durable; -1: a version that does not say."""
    container: str = ""
    """Fingerprint of its CmContainer's public key: a new key after its store was lost."""
    clock_ms: int = 0
    """Its monotonic clock, milliseconds: of two machines, only how the readings go on can be compared."""
    needs: int = 1
    """Format in force at its commit index: a twin that cannot apply it takes nothing, and is not elected."""
    twins: tuple[TwinAnnouncement, ...] = ()
    """The twins that it heard, in memory."""
    damaged: bool = False
    """Its disk changed what it had stored: it began anew. Told until its next start after that."""
    clock_synchronised: bool | None = None
    """A time source keeps its wall clock, as its operating system says; None: that does not say."""
    clock_alarm: bool = False
    """Its wall clock is to be synchronised, and is not known to be."""
    founding: str = ""
    """Founding that its journal is of, once the first entry is committed."""
    certificate: CertificateReport = CertificateReport()


class Acquire(msgspec.Struct, frozen=True, tag="acquire"):
    """Ask for the lease of `epoch`. `pre_vote` asks only whether it would be granted, and changes nothing.

    `have_index`/`have_epoch` name the last committed entry that the twin already mirrors.
    """

    epoch: Count
    owner: ProposerId
    ttl_ms: Count
    have_index: Count = 0
    have_epoch: Count = 0
    pre_vote: bool = False
    format: Count = 1
    """Newest format that the twin can apply."""
    founding: Name = ""
    """Founding of the system that the twin knows; empty: none."""
    number: Count = 0
    """Order of the messages of this run of the twin; 0: not ordered."""
    have_sum: bytes = b""
    """Checksum of the entry at `have_index`; empty: the sender has it from a snapshot."""


class Append(msgspec.Struct, frozen=True, tag="append"):
    """Store `entries` after (`previous_index`, `previous_epoch`); renew the lease; learn the commit index."""

    epoch: Count
    owner: ProposerId
    ttl_ms: Count
    previous_index: Count
    previous_epoch: Count
    entries: tuple[Entry, ...]
    commit: Count
    digest_index: Count = 0
    digest: bytes = b""
    """Digest of the state machine after `digest_index`, for the replica to compare with its own."""
    acked: tuple[AckedPosition, ...] = ()
    """Positions that the three replicas have confirmed so far, for the replica to remember."""
    founding: Name = ""
    """Founding of the system that the twin knows; empty: none."""
    number: Count = 0
    """Order of the messages of this run of the twin; 0: not ordered."""
    previous_sum: bytes = b""
    """Checksum of the entry at `previous_index`; empty: the sender has it from a snapshot."""


class Install(msgspec.Struct, frozen=True, tag="install"):
    """Continue from this committed snapshot: the replica was away too long, is new, or diverged."""

    epoch: Count
    owner: ProposerId
    ttl_ms: Count
    snapshot: Snapshot
    number: Count = 0
    """Order of the messages of this run of the twin; 0: not ordered."""


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Give the lease back; also the release of the lease of a twin that died."""

    epoch: Count
    owner: ProposerId


class Subscribe(msgspec.Struct, frozen=True, tag="subscribe"):
    """Long poll of the passive twin: answered when there is more than it knows."""

    owner: ProposerId
    have_index: Count
    have_epoch: Count
    known_holder: Name
    known_epoch: Annotated[int, msgspec.Meta(ge=-1, le=2**53 - 1)]
    entries: bool = True
    """False: only the lease is of interest, another replica already sends the entries."""
    format: Count = 1
    """Newest format that the twin can apply."""


class Report(msgspec.Struct, frozen=True, tag="report"):
    """Report the state of this twin, and ask for that of the other twin."""

    owner: ProposerId
    front: Annotated[int, msgspec.Meta(ge=0, le=15)]
    """View of the front network. 0: unknown; more is better."""
    ready: bool = False
    """It serves, or could take over at once."""
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Reason why it is not ready, for people."""


class Bootstrap(msgspec.Struct, frozen=True, tag="bootstrap"):
    """Found the system: all three stores are new, these are their ids."""

    owner: ProposerId
    membership: Membership


class PreVote(msgspec.Struct, frozen=True, tag="pre-vote"):
    """The lease would be granted."""

    state: ReplicaState
    epoch: int
    owner: ProposerId


class Promise(msgspec.Struct, frozen=True, tag="promise"):
    """The lease is granted, durably promised. `snapshot` only where `have_index` was too old to go on."""

    state: ReplicaState
    epoch: int
    owner: ProposerId
    snapshot: Snapshot | None
    entries: tuple[Entry, ...]
    acked: tuple[AckedPosition, ...] = ()
    """Positions that the three replicas have confirmed, as far as this replica knows."""
    granted_ms: int = 0
    """Length of the lease that it granted: at most what was asked for, and what its own setting allows."""


class Busy(msgspec.Struct, frozen=True, tag="busy"):
    """Another twin's lease lives for `wait_ms` more."""

    state: ReplicaState
    epoch: int
    owner: ProposerId
    holder: str
    wait_ms: int


class Fenced(msgspec.Struct, frozen=True, tag="fenced"):
    """A higher epoch is promised (`state.promised`)."""

    state: ReplicaState
    epoch: int
    owner: ProposerId


class NotVoting(msgspec.Struct, frozen=True, tag="not-voting"):
    """This replica does not vote: it diverged, or never belonged to any system (`new_store`)."""

    state: ReplicaState
    epoch: int
    owner: ProposerId
    new_store: bool


class Appended(msgspec.Struct, frozen=True, tag="appended"):
    """Stored durably: this replica equals the sender's journal up to `match_index`."""

    state: ReplicaState
    epoch: int
    owner: ProposerId
    match_index: int
    granted_ms: int = 0
    """Length of the lease that this renewed: see `Promise`."""


class Conflict(msgspec.Struct, frozen=True, tag="conflict"):
    """`previous` is not in this replica's journal; try from `retry_index` (an index to follow)."""

    state: ReplicaState
    epoch: int
    owner: ProposerId
    retry_index: int
    granted_ms: int = 0
    """Length of the lease that this renewed: see `Promise`."""


class Released(msgspec.Struct, frozen=True, tag="released"):
    """The lease is free (or was no longer the sender's)."""

    state: ReplicaState


class Subscribed(msgspec.Struct, frozen=True, tag="subscribed"):
    """News for the passive twin: committed entries after its own, and the holder of the lease, if any."""

    state: ReplicaState
    owner: ProposerId
    holder: str
    holder_epoch: int
    remaining_ms: int
    snapshot: Snapshot | None
    entries: tuple[Entry, ...]
    digest: bytes = b""
    """Digest of the replica's ledger after its commit index, for the twin to compare with its own."""
    have_sum: bytes = b""
    """Checksum of its entry at the `have_index` of the poll; empty: it has none there that is committed."""


class Bootstrapped(msgspec.Struct, frozen=True, tag="bootstrapped"):
    """This replica belongs to the system with exactly the membership that was asked for."""

    state: ReplicaState


class Reported(msgspec.Struct, frozen=True, tag="reported"):
    """The other twin's last report, and its age in milliseconds; None: it was never heard here."""

    state: ReplicaState
    owner: ProposerId
    front: int
    age_ms: int | None
    twin: str = ""
    """Name of the other twin."""
    ready: bool = False
    reason: str = ""


class RequestRefused(msgspec.Struct, frozen=True, tag="request-refused"):
    """The request makes no sense to this replica; `reason` is for people."""

    state: ReplicaState
    reason: str
    differs: bool = False
    """The digest in the `Append` is not that of its ledger, which it has made anew from its own journal."""
    late: bool = False
    """A later message of the same run of the twin came before."""


Request = Acquire | Append | Install | Release | Subscribe | Bootstrap | Report
Reply = (
    PreVote
    | Promise
    | Busy
    | Fenced
    | NotVoting
    | Appended
    | Conflict
    | Released
    | Subscribed
    | Bootstrapped
    | RequestRefused
    | Reported
)

_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """The message as msgpack."""
    return _encoder.encode(message)


def decode_request(data: bytes) -> Request:
    """A request from msgpack. Raises msgspec.DecodeError for anything else."""
    return unpack(_request_decoder, data)


def decode_reply(data: bytes) -> Reply:
    """An answer from msgpack. Raises msgspec.DecodeError for anything else."""
    return unpack(_reply_decoder, data)
