"""Licence files and Product Items, written for a person."""

from datetime import UTC, datetime, timedelta

from tmr.licensing import ProductItem, Request, Update, fingerprint

_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def describe_item(item: ProductItem) -> str:
    """One line for a person."""
    quantity = "unlimited" if item.quantity is None else str(item.quantity)
    expires = "never expires" if item.expiration_ms is None else f"expires {moment(item.expiration_ms)}"
    return f"{item.key}, quantity {quantity}, {expires}" + (f", {item.name}" if item.name else "")


def describe_options(item: ProductItem) -> list[tuple[str, str]]:
    """The options that the line of `describe_item` does not hold: name and value, as far as they are set."""
    found: list[tuple[str, str]] = []
    if item.units is not None:
        found.append(("Unit Counter", f"{item.units} units issued in all"))
    if item.activation_ms is not None:
        found.append(("Activation Time", f"valid from {moment(item.activation_ms)}"))
    if item.usage_s is not None:
        found.append(("Usage Period", f"{period(item.usage_s)} from the first use on"))
    if item.maintenance_start_ms is not None or item.maintenance_end_ms is not None:
        start = "" if item.maintenance_start_ms is None else f" from {moment(item.maintenance_start_ms)}"
        end = "" if item.maintenance_end_ms is None else f" before {moment(item.maintenance_end_ms)}"
        found.append(("Maintenance Period", f"versions released{start}{end}"))
    if item.emergency:
        found.append(("Emergency", "used only when no ordinary licence of the product is free or valid"))
    if item.borrow_s is not None:
        seats = "all seats" if item.borrow_seats is None else f"{item.borrow_seats} seats at a time"
        found.append(("Borrowing", f"at most {period(item.borrow_s)}, {seats}"))
    if item.feature_map:
        bits = ", ".join(str(bit) for bit in range(32) if item.feature_map >> bit & 1)
        found.append(("Feature Map", f"0x{item.feature_map:08x}, bits {bits}"))
    if item.text:
        found.append(("Text", item.text))
    if item.customer:
        found.append(("Customer Owned License Information", item.customer))
    if item.user_data:
        found.append(("User Data", f"{len(item.user_data)} bytes, {item.user_data.hex()}"))
    return found


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
    kind = "the network licence server" if update.network else "the system"
    lines = [
        f"Update {update.update_id} of the firm {update.firm_code} for {kind} {update.act_id}",
        f"  issued           {moment(update.issued_ms)}",
        f"  signature        {verdict}",
        *(f"  container        {part.container}, update counter {part.counter}" for part in update.parts),
    ]
    items = update.parts[0].items
    for item in items:
        lines.append(f"  item             {describe_item(item)}")
        lines += [f"    {name + ' ':.<36} {value}" for name, value in describe_options(item)]
    return lines if items else [*lines, "  item             none: all items of the firm are removed"]


def moment(ms: int) -> str:
    """A time in milliseconds as RFC 3339, UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat(timespec="seconds")


def period(seconds: int) -> str:
    """A period as the command line takes it, in the largest unit that divides it."""
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"
