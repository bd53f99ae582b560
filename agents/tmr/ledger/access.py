# SPDX-License-Identifier: Apache-2.0
"""The access list: an ordered list of an operator's rules for licences. Empty: everyone may use all.

The first rule of the effects `allow` and `deny` that matches decides. Where a licence has an `allow` rule,
who matches none is denied. `limit`: those who match use at most so many seats of the licence together.
`reserve`: so many seats of it are kept for those who match. (CodeMeter's License Access Permissions do the
like: rules from the top, seats reserved or limited for users, hosts and groups.)
"""

import fnmatch
import functools
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from tmr.licensing import LicenceKey

Effect = Literal["allow", "deny", "reserve", "limit"]
COUNTING: Final = ("reserve", "limit")
"""The effects that count seats."""

RULES_MAX: Final = 500
GROUPS_MAX: Final = 200
ENTRIES_MAX: Final = 1_000
"""Entries in one list of users, hosts, …"""
TEXT_MAX: Final = 128
SEATS_MAX: Final = 2**31 - 1


class SubjectMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Match of a rule.

    Each list that is given must match, by any one of its entries; without a list it matches everyone.

    `users`, `hosts` and `certificates` may hold `*` and `?`; hosts are compared without regard to case.
    `networks` are CIDR. `groups` name groups of the same access list.
    """

    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule. Without `firm_code` it is about every licence, without `product_code` about every product."""

    name: str
    effect: Effect
    who: SubjectMatch = SubjectMatch()
    seats: int | None = None
    """For `reserve` and `limit`."""
    firm_code: int | None = None
    product_code: int | None = None
    tmr_id: int | None = None

    def concerns(self, key: LicenceKey) -> bool:
        """Tells whether the rule is about this licence."""
        return (
            self.firm_code in (None, key.firm_code)
            and self.product_code in (None, key.product_code)
            and self.tmr_id in (None, key.tmr_id)
        )


class AccessList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rules in their order. A group's member matches by any one of all the entries of the group."""

    rules: tuple[Rule, ...] = ()
    groups: dict[str, SubjectMatch] = {}


class Subject(msgspec.Struct, frozen=True, array_like=True):
    """Client as the rules see it. `user` and `host` are what the client says of itself."""

    user: str
    host: str
    certificate: str
    address: str


class Verdict(msgspec.Struct, frozen=True):
    """Decision of the rules for a licence, and the rule that decided ("" for none)."""

    allowed: bool
    rule: str


def verdict(access: AccessList, key: LicenceKey, subject: Subject) -> Verdict:
    """The first rule of the effects `allow` and `deny` that is about the licence and matches."""
    whitelist = ""
    for rule in access.rules:
        if rule.effect not in ("allow", "deny") or not rule.concerns(key):
            continue
        if matches(access, rule.who, subject):
            return Verdict(rule.effect == "allow", rule.name)
        if rule.effect == "allow":
            whitelist = whitelist or rule.name
    return Verdict(not whitelist, whitelist)


def seat_rules(access: AccessList, key: LicenceKey) -> list[Rule]:
    """The rules that count seats of this licence."""
    return [rule for rule in access.rules if rule.effect in COUNTING and rule.concerns(key)]


def matches(access: AccessList, who: SubjectMatch, subject: Subject) -> bool:
    """Tells whether the rule's `who` matches the subject."""
    return (
        (not who.users or _any(who.users, subject.user))
        and (not who.hosts or _any_host(who.hosts, subject.host))
        and (not who.certificates or _any(who.certificates, subject.certificate))
        and (not who.networks or _within(who.networks, subject.address))
        and (not who.groups or any(_member(access.groups, name, subject) for name in who.groups))
    )


def _member(groups: Mapping[str, SubjectMatch], name: str, subject: Subject) -> bool:
    group = groups.get(name)
    return group is not None and (
        _any(group.users, subject.user)
        or _any_host(group.hosts, subject.host)
        or _any(group.certificates, subject.certificate)
        or _within(group.networks, subject.address)
    )


def _any(patterns: Iterable[str], value: str) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def _any_host(patterns: Iterable[str], value: str) -> bool:
    lowered = value.lower()
    return any(fnmatch.fnmatchcase(lowered, pattern.lower()) for pattern in patterns)


def _within(networks: tuple[str, ...], address: str) -> bool:
    if not networks:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    number = int(parsed)
    return any(
        version == parsed.version and number >> shift in found
        for (version, shift), found in _prepared(networks).items()
    )


@functools.lru_cache(maxsize=1_024)
def _prepared(networks: tuple[str, ...]) -> dict[tuple[int, int], frozenset[int]]:
    """(IP version, host bits) → the networks of that size, as numbers: one look for each size."""
    found: dict[tuple[int, int], set[int]] = {}
    for text in networks:
        network = ipaddress.ip_network(text, strict=False)
        shift = network.max_prefixlen - network.prefixlen
        found.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
    return {size: frozenset(numbers) for size, numbers in found.items()}


# -- checking a list before it is applied ------------------------------------------------------------------


class Violation(msgspec.Struct, frozen=True):
    """Mistake in an access list: its place, the mistake, and the remedy."""

    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.remedy}"


def mistakes(access: AccessList) -> list[Violation]:
    """Everything that is wrong with the list; it is applied only where there is nothing."""
    found: list[Violation] = []
    if len(access.rules) > RULES_MAX:
        found.append(Violation("rules", f"there are {len(access.rules)}", f"keep to {RULES_MAX}"))
    if len(access.groups) > GROUPS_MAX:
        found.append(Violation("groups", f"there are {len(access.groups)}", f"keep to {GROUPS_MAX}"))
    for name, group in access.groups.items():
        place = f"group {name!r}"
        _check_name(place, name, found)
        _check_who(place, group, found)
        if group.groups:
            found.append(Violation(place, "it names other groups", "list its members themselves"))
        if group == SubjectMatch():
            found.append(Violation(place, "it has no members", "add some, or remove the group"))
    names: set[str] = set()
    for number, rule in enumerate(access.rules, 1):
        place = f"rule {number} ({rule.name!r})"
        _check_name(place, rule.name, found)
        if rule.name in names:
            found.append(Violation(place, "another rule has this name", "name each rule differently"))
        names.add(rule.name)
        _check_who(place, rule.who, found)
        for name in rule.who.groups:
            if name not in access.groups:
                known = ", ".join(sorted(access.groups)) or "none"
                found.append(
                    Violation(
                        place, f"there is no group {name!r}", f"the groups are: {known}; correct the name"
                    )
                )
        _check_effect(place, rule, found)
        _check_scope(place, rule, found)
        former = next((r for r in access.rules[: number - 1] if _shadows(r, rule)), None)
        if former is not None:
            found.append(
                Violation(
                    place,
                    f"it never decides: rule {former.name!r} above is about everyone",
                    "move it up, or remove it",
                )
            )
    return found


def _check_name(place: str, name: str, found: list[Violation]) -> None:
    if not name or len(name) > TEXT_MAX or not name.isprintable():
        found.append(Violation(place, "the name is unfit", f"use 1 to {TEXT_MAX} printable characters"))


def _check_who(place: str, who: SubjectMatch, found: list[Violation]) -> None:
    for what, entries in (
        ("users", who.users),
        ("hosts", who.hosts),
        ("certificates", who.certificates),
        ("networks", who.networks),
        ("groups", who.groups),
    ):
        if len(entries) > ENTRIES_MAX:
            found.append(Violation(f"{place}, {what}", f"{len(entries)} entries", f"keep to {ENTRIES_MAX}"))
        for entry in entries:
            if not entry or len(entry) > TEXT_MAX or not entry.isprintable():
                found.append(
                    Violation(
                        f"{place}, {what}", f"{entry[:40]!r} is unfit", f"use 1 to {TEXT_MAX} characters"
                    )
                )
            elif "[" in entry:
                found.append(
                    Violation(
                        f"{place}, {what}", f"{entry!r} has a [", "write ? for it: only * and ? are special"
                    )
                )
            elif entry.count("*") > 4:
                found.append(Violation(f"{place}, {what}", f"{entry!r} has many *", "use at most four"))
    for network in who.networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            found.append(
                Violation(f"{place}, networks", str(error), "write it as 10.1.0.0/16 or 2001:db8::/32")
            )


def _check_effect(place: str, rule: Rule, found: list[Violation]) -> None:
    counts = rule.effect in COUNTING
    if counts and (rule.seats is None or not 1 <= rule.seats <= SEATS_MAX):
        found.append(Violation(place, f"{rule.effect} needs a number of seats", "give seats, 1 or more"))
    if not counts and rule.seats is not None:
        found.append(
            Violation(place, f"{rule.effect} takes no seats", "remove seats, or make it reserve or limit")
        )
    if rule.effect == "reserve" and rule.who == SubjectMatch():
        found.append(Violation(place, "it reserves seats for everyone", "say for whom"))


def _check_scope(place: str, rule: Rule, found: list[Violation]) -> None:
    if rule.product_code is not None and rule.firm_code is None:
        found.append(Violation(place, "a Product Code without its Firm Code", "give firm_code too"))
    if rule.tmr_id is not None and rule.product_code is None:
        found.append(Violation(place, "a TMR-Id without its Product Code", "give product_code too"))
    for what, value in (
        ("firm_code", rule.firm_code),
        ("product_code", rule.product_code),
        ("tmr_id", rule.tmr_id),
    ):
        if value is not None and not 0 <= value <= 2**32 - 1:
            found.append(Violation(place, f"{what} {value} has more than 32 bits", "correct the number"))


def _shadows(former: Rule, latter: Rule) -> bool:
    decides = ("allow", "deny")
    return (
        former.effect in decides
        and latter.effect in decides
        and former.who == SubjectMatch()
        and former.firm_code in (None, latter.firm_code)
        and former.product_code in (None, latter.product_code)
        and former.tmr_id in (None, latter.tmr_id)
    )
