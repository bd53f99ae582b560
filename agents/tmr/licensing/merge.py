# SPDX-License-Identifier: Apache-2.0
"""Three containers made one: which TMR licences have at least two identical constituents."""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from tmr.licensing.items import LicenceKey, ProductItem
from tmr.licensing.redundancy import MAJORITY
from tmr.licensing.statement import Statement

"""Identical constituents that make a licence."""


class MergedLicence(msgspec.Struct, frozen=True):
    """A licence of the virtual container.

    `agreeing`, `differing`, `missing`: names of upstreams whose constituent equals `item`, is another, or is
    absent.
    """

    item: ProductItem
    agreeing: tuple[str, ...]
    differing: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def key(self) -> LicenceKey:
        """Key of this licence."""
        return self.item.key

    @property
    def alarms(self) -> tuple[str, ...]:
        """Integrity alarms, for people: a constituent that differs from the two that agree."""
        return tuple(
            f"{upstream} holds a different constituent of {self.key} than {' and '.join(self.agreeing)}"
            for upstream in self.differing
        )


class Incomplete(msgspec.Struct, frozen=True):
    """A TMR licence without two identical constituents: it is not served.

    `present`: upstreams that hold a constituent (two or more: they differ from one another), `missing`: the
    rest.
    """

    key: LicenceKey
    present: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def differ(self) -> bool:
        """Tells whether there are enough constituents, but no two identical ones."""
        return len(self.present) >= MAJORITY

    @property
    def alarms(self) -> tuple[str, ...]:
        """Integrity alarms, for people: constituents of which no two are identical."""
        if not self.differ:
            return ()
        return (
            f"{' and '.join(self.present)} hold different constituents of {self.key}, no two of them "
            "identical: it is not served",
        )


class Rejected(msgspec.Struct, frozen=True):
    """A statement that was not counted, and why."""

    upstream: str
    container: str
    reason: str

    @property
    def alarms(self) -> tuple[str, ...]:
        """An integrity alarm, for people."""
        return (f"the container {self.container} of {self.upstream} does not count: {self.reason}",)


class Merged(msgspec.Struct, frozen=True):
    """The virtual container; each part is sorted, so the order of the statements does not matter."""

    licences: tuple[MergedLicence, ...] = ()
    incomplete: tuple[Incomplete, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    @property
    def alarms(self) -> tuple[str, ...]:
        """All integrity alarms, for people."""
        parts: tuple[MergedLicence | Incomplete | Rejected, ...]
        parts = (*self.licences, *self.incomplete, *self.rejected)
        return (*(alarm for part in parts for alarm in part.alarms), *self._tmr_ids_on_two_products())

    def _tmr_ids_on_two_products(self) -> Iterator[str]:
        """A vendor gives a TMR-Id to one licence. Here they are two, and each merges by itself."""
        products: dict[tuple[int, int], dict[int, tuple[str, ...]]] = {}
        for licence in self.licences:
            if licence.key.tmr_id is not None:
                held = products.setdefault((licence.key.firm_code, licence.key.tmr_id), {})
                held[licence.key.product_code] = (*licence.agreeing, *licence.differing)
        for lost in self.incomplete:
            if lost.key.tmr_id is not None:
                products.setdefault((lost.key.firm_code, lost.key.tmr_id), {})[lost.key.product_code] = (
                    lost.present
                )
        for (firm_code, tmr_id), held in sorted(products.items()):
            if len(held) > 1:
                where = " and ".join(f"{code} on {', '.join(names)}" for code, names in sorted(held.items()))
                yield f"the TMR-Id {tmr_id} of the firm {firm_code} is on more than one product: {where}"


def merge(statements: Iterable[Statement], act_id: str | None = None) -> Merged:
    """Merge the statements of the containers that are available now. Never raises.

    Give `act_id`, the CmActId of the system, where it is known; without it the one that most statements
    share. A statement of another system, a second one of the same upstream, or a second one of the same
    container does not count: one container copied to two machines is still one. Items without TMR-Id never
    merge. Expiry is not judged here.
    """
    given = sorted(statements, key=_rank)
    counted, rejected = _countable(given, act_id)
    names = [statement.upstream for statement in counted]
    held: dict[LicenceKey, dict[str, ProductItem]] = {}
    for statement in counted:
        for item in statement.items:
            if item.tmr_id is not None:
                held.setdefault(item.key, {})[statement.upstream] = item

    licences: list[MergedLicence] = []
    incomplete: list[Incomplete] = []
    for key in sorted(held):
        constituents = held[key]
        missing = tuple(name for name in names if name not in constituents)
        item, votes = _leader(constituents.values())
        if votes < MAJORITY:
            incomplete.append(Incomplete(key, tuple(constituents), missing))
            continue
        agreeing = tuple(name for name, other in constituents.items() if other == item)
        differing = tuple(name for name in constituents if name not in agreeing)
        licences.append(MergedLicence(item, agreeing, differing, missing))
    return Merged(tuple(licences), tuple(incomplete), rejected)


def merge_plain(statement: Statement) -> Merged:
    """Licences of a plain network licence server: the items of its one container without TMR-Id."""
    plain = (item for item in statement.items if item.tmr_id is None)
    return Merged(tuple(MergedLicence(item, (statement.upstream,)) for item in plain))


def _rank(statement: Statement) -> tuple[str, str, int, bytes]:
    """A total order, the latest of one container first: equal inputs merge equally on every machine."""
    return statement.upstream, statement.container, -statement.generation, msgspec.msgpack.encode(statement)


def _countable(given: list[Statement], act_id: str | None) -> tuple[list[Statement], tuple[Rejected, ...]]:
    if act_id is None and given:
        systems = Counter(statement.act_id for statement in given)
        act_id = min(systems, key=lambda system: (-systems[system], system))
    counted: list[Statement] = []
    rejected: list[Rejected] = []
    for statement in given:
        reason = None
        if statement.act_id != act_id:
            reason = f"it belongs to the system {statement.act_id}, not {act_id}"
        elif any(other.upstream == statement.upstream for other in counted):
            reason = "this upstream has another statement already"
        elif any(other.container == statement.container for other in counted):
            reason = (
                "another upstream states the same container: it was copied, or two share a serial by chance"
            )
        if reason is None:
            counted.append(statement)
        else:
            rejected.append(Rejected(statement.upstream, statement.container, reason))
    return counted, tuple(rejected)


def _leader(constituents: Iterable[ProductItem]) -> tuple[ProductItem, int]:
    """The constituent with most equals, and their number; 1 if two different ones tie."""
    ranked = Counter(constituents).most_common(2)
    item, votes = ranked[0]
    tie = len(ranked) > 1 and ranked[1][1] == votes
    return item, 1 if tie else votes
