# SPDX-License-Identifier: Apache-2.0
"""The container that clients see, as it is now: what the ledger merged, as far as upstreams can be reached.

A network licence server shows its own container: one constituent is the licence.

Pure: the ledger, the state of the upstreams and the time are passed in.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tmr.api.licences import (
    Constituent,
    ConstituentState,
    Container,
    ContainerState,
    ContainerUpstream,
    Item,
    LicenceState,
    Unavailable,
)
from tmr.api.status import LicenceStatus
from tmr.ledger import Ledger, constituents
from tmr.licensing import LicenceKey, ProductItem, Serial, SerialUse, Statement, virtual_serial
from tmr.licensing.options import OPTIONS, ItemOptions, Option
from tmr.licensing.spelling import instant, instant_or_none, written_time
from tmr.service.members import licence_members


class UpstreamState(msgspec.Struct, frozen=True):
    """One upstream as a twin sees it. `since_ms`: when `reachable` changed last (wall clock, Unix ms).

    `voting`: its vote counts. `container`, `generation`: fingerprint and generation of the container that
    answers.
    """

    name: str
    reachable: bool
    voting: bool
    container: str
    generation: int
    since_ms: int | None = None
    error: str = ""
    short: bool = False
    """It is short of disk space."""

    @property
    def counts(self) -> bool:
        """It answers, and has a vote. Whether its constituents count is `counting`."""
        return self.reachable and self.voting


class Licence(msgspec.Struct, frozen=True):
    """A TMR licence that is known, served or not."""

    key: LicenceKey
    item: ProductItem | None
    """Item that two constituents agree on; None: no two agree."""
    votes: int
    """Available, identical constituents."""
    state: LicenceState
    constituents: tuple[Constituent, ...]


class ContainerView:
    """Views of the one container that clients see. `upstreams`: the three, in the membership's order.

    `own`: serial of the container of a network licence server, whose only upstream it is itself; without it,
    the system's virtual container.
    """

    def __init__(self, ledger: Ledger, act_id: str, own: Serial | None = None) -> None:
        self._ledger = ledger
        self.act_id = act_id
        self.deployment = ledger.deployment
        self.serial = own.check(SerialUse.NETWORK_SERVER) if own is not None else virtual_serial(act_id)
        self.majority = self.deployment.majority
        """Available, identical constituents that a licence needs."""
        self._indexed: object = None
        self._products: dict[tuple[int, int], list[LicenceKey]] = {}
        self._items: dict[str, tuple[Statement, dict[LicenceKey, ProductItem]]] = {}

    # -- one licence ---------------------------------------------------------------------------------------

    def known(self) -> list[LicenceKey]:
        """Every TMR licence of which any container holds a constituent, in order."""
        merged = self._ledger.merged
        return sorted([*self._ledger.licences, *(incomplete.key for incomplete in merged.incomplete)])

    def of_product(
        self, firm_code: int, product_code: int, tmr_id: int | None, reference: int | None = None
    ) -> list[LicenceKey]:
        """The known licences that a request may mean, by ascending TMR-Id or reference."""
        if self._indexed is not self._ledger.licences:
            self._indexed, self._products = self._ledger.licences, {}
            for key in self.known():
                self._products.setdefault((key.firm_code, key.product_code), []).append(key)
        keys = self._products.get((firm_code, product_code), [])
        return [key for key in keys if tmr_id in (None, key.tmr_id) and reference in (None, key.reference)]

    def votes(self, key: LicenceKey, upstreams: Iterable[UpstreamState]) -> int:
        """Number of identical constituents that are available."""
        merged = self._ledger.licences.get(key)
        return 0 if merged is None else len(self.counting(upstreams).intersection(merged.agreeing))

    def counting(self, upstreams: Iterable[UpstreamState]) -> frozenset[str]:
        """Names of the upstreams whose constituents count: see `tmr.ledger.constituents`."""
        return constituents.counting(self._ledger, upstreams)

    def short(self, upstreams: Iterable[UpstreamState]) -> list[str]:
        """Upstreams short of disk space, where too few others count to store something new."""
        counting = [upstream for upstream in upstreams if upstream.counts]
        if sum(not upstream.short for upstream in counting) >= self.majority:
            return []
        return [upstream.name for upstream in counting if upstream.short]

    def available(self, key: LicenceKey, upstreams: Iterable[UpstreamState]) -> bool:
        """Enough identical constituents are available; whether it has expired is not asked here."""
        return self.votes(key, upstreams) >= self.majority

    def licence(self, key: LicenceKey, upstreams: Sequence[UpstreamState], time_ms: int) -> Licence:
        """The licence with its constituents."""
        merged = self._ledger.licences.get(key)
        votes = self.votes(key, upstreams)
        state = LicenceState.AVAILABLE if votes >= self.majority else LicenceState.UNAVAILABLE
        invalid = None if merged is None else self._ledger.invalid(merged.item, time_ms)
        if invalid is not None:
            expired = invalid.reason == "licence-expired"
            state = LicenceState.EXPIRED if expired else LicenceState.NOT_ACTIVE
        constituents = tuple(self._constituent(key, upstream, time_ms) for upstream in upstreams)
        return Licence(key, merged.item if merged else None, votes, state, constituents)

    def _constituent(self, key: LicenceKey, upstream: UpstreamState, time_ms: int) -> Constituent:
        statement = self._ledger.statements.get(upstream.name)
        held = self._items_of(statement).get(key) if statement else None
        state, detail = ConstituentState.AVAILABLE, ""
        if not upstream.reachable:
            since = f" since {written_time(upstream.since_ms)}" if upstream.since_ms else ""
            why = f": {upstream.error}" if upstream.error else ""
            state, detail = ConstituentState.UNREACHABLE, f"{upstream.name} does not answer{since}{why}"
        elif not upstream.voting:
            state = ConstituentState.UNREACHABLE
            detail = f"{upstream.name} answers, but is catching up or excluded and does not count"
        elif gone := self.gone(upstream):
            state, detail = ConstituentState.MISSING, gone
        elif statement is None:
            state, detail = ConstituentState.MISSING, f"the container of {upstream.name} is not known yet"
        elif held is None:
            state = ConstituentState.MISSING
            detail = f"container {statement.container} of {upstream.name} holds no {key}"
        elif self._differs(key, upstream.name):
            state = ConstituentState.DIFFERENT
            detail = f"container {statement.container} of {upstream.name} holds {key} with other properties"
        elif _expired(held, time_ms):
            state = ConstituentState.EXPIRED
            detail = f"valid until {written_time(held.expiration_ms or 0)}"
        container = statement.container if statement else None
        return Constituent(upstream=upstream.name, container=container, state=state, detail=detail)

    def gone(self, upstream: UpstreamState) -> str:
        """Reason not to count the container's statement, although its upstream counts; or ""."""
        name, stated = upstream.name, self._ledger.statements.get(upstream.name)
        serial = "" if stated is None else stated.container
        match self.standing(upstream):
            case "another":
                return f"{name} answers with another container than {serial}, which does not count"
            case "withdrawn":
                return f"the container {serial} of {name} does not count: another one answered in its place"
            case "older":
                return f"the container {serial} of {name} is an old copy, which has forgotten updates"
            case "unknown":
                return f"{name} has not said which container it has"
        return ""

    def standing(self, upstream: UpstreamState) -> constituents.Standing:
        """Standing of the upstream\'s container: whether it counts, and why not."""
        return constituents.standing(self._ledger, upstream.name, upstream.container, upstream.generation)

    def _items_of(self, statement: Statement) -> dict[LicenceKey, ProductItem]:
        indexed = self._items.get(statement.upstream)
        if indexed is None or indexed[0] is not statement:
            items = {item.key: item for item in statement.items}
            indexed = self._items[statement.upstream] = (statement, items)
        return indexed[1]

    def _differs(self, key: LicenceKey, upstream: str) -> bool:
        merged = self._ledger.licences.get(key)
        if merged is not None:
            return upstream in merged.differing
        return any(
            incomplete.key == key and incomplete.differ for incomplete in self._ledger.merged.incomplete
        )

    # -- all of them ---------------------------------------------------------------------------------------

    def licences(self, upstreams: Sequence[UpstreamState], time_ms: int) -> list[Licence]:
        """Every known licence, in order."""
        return [self.licence(key, upstreams, time_ms) for key in self.known()]

    def items(self, upstreams: Sequence[UpstreamState], time_ms: int) -> list[Item]:
        """The licences that can be used."""
        found = []
        for licence in self.licences(upstreams, time_ms):
            if licence.state is not LicenceState.AVAILABLE or licence.item is None:
                continue
            found.append(self._item(licence, licence.item))
        return found

    def _item(self, licence: Licence, item: ProductItem) -> Item:
        use, merged = self._ledger.use(licence.key), self._ledger.licences[licence.key]
        return Item(
            firm_code=item.firm_code,
            product_code=item.product_code,
            tmr_id=item.tmr_id,
            in_use=use.seats,
            exclusive=bool(use.exclusive),
            first_use=instant_or_none(self._ledger.first_use_ms(licence.key)),
            ends=instant_or_none(self._ledger.ends_ms(item)),
            units_remaining=self._ledger.remaining(item),
            borrowed=len(use.borrowings),
            lingering=len(use.lingering),
            constituents=licence.constituents,
            alarms=merged.alarms,
            **members(item),
        )

    def unavailable(
        self, upstreams: Sequence[UpstreamState], time_ms: int, keys: Iterable[LicenceKey] | None = None
    ) -> list[Unavailable]:
        """The licences (all that are known, or `keys`) that cannot be used, with the reason."""
        found = []
        for key in self.known() if keys is None else keys:
            licence = self.licence(key, upstreams, time_ms)
            if licence.state is LicenceState.AVAILABLE:
                continue
            item = licence.item or self._any_item(key)
            found.append(
                Unavailable(
                    **licence_members(key),
                    name=item.name if item else "",
                    quantity=item.quantity if item else None,
                    constituents=licence.constituents,
                )
            )
        return found

    def statuses(self, upstreams: Sequence[UpstreamState], time_ms: int) -> list[LicenceStatus]:
        """Every known licence with its votes, for the status."""
        found = []
        for licence in self.licences(upstreams, time_ms):
            item = licence.item or self._any_item(licence.key)
            use = self._ledger.use(licence.key)
            product = (licence.key.firm_code, licence.key.product_code)
            found.append(
                LicenceStatus(
                    **licence_members(licence.key),
                    name=item.name if item else "",
                    quantity=item.quantity if item else None,
                    in_use=use.seats,
                    votes=licence.votes,
                    state=licence.state,
                    borrowed=len(use.borrowings),
                    units=item.units if item else None,
                    units_remaining=self._ledger.remaining(item) if item else None,
                    emergency=item is not None and item.emergency,
                    activation=instant_or_none(item.activation_ms) if item else None,
                    first_use=instant_or_none(self._ledger.first_use_ms(licence.key)),
                    ends=instant_or_none(self._ledger.ends_ms(item)) if item else None,
                    waiting=len(self._ledger.queues.get(product, ())),
                    constituents=licence.constituents,
                )
            )
        return found

    def _any_item(self, key: LicenceKey) -> ProductItem | None:
        for statement in self._ledger.statements.values():
            item = self._items_of(statement).get(key)
            if item is not None:
                return item
        return None

    def container(self, upstreams: Sequence[UpstreamState], time_ms: int, epoch: int) -> Container:
        """The container as a whole."""
        return Container(
            serial=str(self.serial),
            kind=self.serial.kind.value,
            act_id=self.act_id,
            items=len(self.items(upstreams, time_ms)),
            epoch=epoch,
            certified_time=instant(time_ms),
            upstreams=tuple(
                ContainerUpstream(
                    name=upstream.name,
                    container=self.container_of(upstream),
                    state=self._container_state(upstream),
                )
                for upstream in upstreams
            ),
            unavailable=tuple(self.unavailable(upstreams, time_ms)),
        )

    def container_of(self, upstream: UpstreamState) -> str | None:
        """Serial of the upstream's container; None: not known, or another one answers than is believed."""
        statement = self._ledger.statements.get(upstream.name)
        if statement is None or self.standing(upstream) in ("another", "withdrawn"):
            return None
        return statement.container

    def _container_state(self, upstream: UpstreamState) -> ContainerState:
        if not upstream.reachable:
            return ContainerState.UNREACHABLE
        if not upstream.voting:
            return ContainerState.NOT_VOTING
        return ContainerState.REPLACED if self.gone(upstream) else ContainerState.AVAILABLE

    def constituents_only(self, firm_code: int, product_code: int) -> list[LicenceKey]:
        """Items with a TMR-Id that a network licence server holds of the product, and so may not grant."""
        if self.deployment.tmr_ids:
            return []
        keys = [item.key for statement in self._ledger.statements.values() for item in statement.items]
        return [
            key
            for key in keys
            if key.tmr_id is not None and (key.firm_code, key.product_code) == (firm_code, product_code)
        ]


def members(item: ItemOptions, table: Mapping[str, Option] = OPTIONS) -> dict[str, Any]:
    """The options of a licence as members of an item in the client API: times, seconds, Base64."""
    found: dict[str, Any] = {}
    for field, option in table.items():
        value = getattr(item, field)
        if field.endswith("_ms"):
            value = instant_or_none(value)
        elif isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        found[option.member or field] = value
    return found


def _expired(item: ProductItem, time_ms: int) -> bool:
    return item.expiration_ms is not None and time_ms >= item.expiration_ms
