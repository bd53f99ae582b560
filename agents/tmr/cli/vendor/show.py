# SPDX-License-Identifier: Apache-2.0
"""Licence files and Product Items, written for a person."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tmr.licensing import ProductItem, Request, Update, fingerprint
from tmr.licensing.options import OPTIONS, ItemOptions, Option
from tmr.licensing.spelling import iso_time


class Shown(NamedTuple):
    """Answer of a command: `lines` for a person, `document` for programs."""

    lines: list[str]
    document: dict[str, Any]


def item_document(item: ProductItem) -> dict[str, Any]:
    """One licence, for programs."""
    return {
        "firm_code": item.firm_code,
        "product_code": item.product_code,
        "tmr_id": item.tmr_id,
        "reference": item.reference,
        "name": item.name,
        "quantity": item.quantity,
        "expiration": None if item.expiration_ms is None else iso_time(item.expiration_ms),
        "options": dict(describe_options(item)),
    }


def request_document(request: Request) -> dict[str, Any]:
    """A request that was verified, for programs."""
    return {"kind": "request", "verified": True, **msgspec.to_builtins(request)}


def update_document(update: Update, *, verified: bool) -> dict[str, Any]:
    """An update, for programs."""
    return {
        "kind": "update",
        "verified": verified,
        "update": update.update_id,
        "firm_code": update.firm_code,
        "act_id": update.act_id,
        "network": not update.deployment.tmr_ids,
        "issued": iso_time(update.issued_ms),
        "containers": [{"container": part.container, "counter": part.counter} for part in update.parts],
        "items": [item_document(item) for item in update.parts[0].items],
    }


def describe_item(item: ProductItem) -> str:
    """One line for a person."""
    quantity = "unlimited" if item.quantity is None else str(item.quantity)
    expires = "never expires" if item.expiration_ms is None else f"expires {iso_time(item.expiration_ms)}"
    return f"{item.key}, quantity {quantity}, {expires}" + (f", {item.name}" if item.name else "")


def describe_options(item: ItemOptions, table: Mapping[str, Option] = OPTIONS) -> list[tuple[str, str]]:
    """The options that the line of `describe_item` does not hold: name and value, as far as they are set."""
    shown = ((option.title, option.show(item)) for option in table.values())
    return [(title, text) for title, text in shown if text]


def describe_request(request: Request) -> list[str]:
    """Lines for a person."""
    vendor_key = fingerprint(bytes.fromhex(request.vendor_key)) if request.vendor_key else "none yet"
    return [
        f"Request of the container {request.container} of the system {request.act_id}",
        f"  to the firm      {request.firm_code}",
        f"  update counter   {request.counter}",
        f"  container key    {fingerprint(bytes.fromhex(request.container_key))}",
        f"  vendor key       {vendor_key}",
        f"  items digest     {request.items_digest}",
        "  signature        valid, by this container",
    ]


def describe_update(update: Update, verdict: str) -> list[str]:
    """Lines for a person."""
    kind = "the system" if update.deployment.tmr_ids else "the network licence server"
    lines = [
        f"Update {update.update_id} of the firm {update.firm_code} for {kind} {update.act_id}",
        f"  issued           {iso_time(update.issued_ms)}",
        f"  signature        {verdict}",
        *(f"  container        {part.container}, update counter {part.counter}" for part in update.parts),
    ]
    items = update.parts[0].items
    for item in items:
        lines.append(f"  item             {describe_item(item)}")
        lines += [f"    {name + ' ':.<36} {value}" for name, value in describe_options(item)]
    return lines if items else [*lines, "  item             none: all items of the firm are removed"]
