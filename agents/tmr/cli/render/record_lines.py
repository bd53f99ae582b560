# SPDX-License-Identifier: Apache-2.0
"""Lines for people about an export of the licence tracking record. No I/O."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tmr.api.deployment import Deployment
from tmr.ledger.export import Reader, Voucher
from tmr.licensing.spelling import iso_time


def description(reader: Reader, last_ms: int, vouchers: Iterable[Voucher]) -> Iterator[str]:
    """Lines about a sound record. `last_ms`: time of its last line."""
    span = reader.span
    yield f"Record of the firm {span.firm_code}"
    yield f"  span             {_bound(span.from_ms, 'the beginning')} to {_bound(span.to_ms, 'the end')}"
    if reader.count:
        yield f"  lines            {span.first_seq} to {span.last_seq}, the last of {written(last_ms)}"
    else:
        yield "  lines            none"
    yield "  chain            unbroken"
    whole = "yes" if span.whole else "NO: older lines of the span were no longer kept"
    yield f"  whole            {whole}"
    for voucher in vouchers:
        yield f"  vouched for by   {_voucher(voucher)}"


def too_few(file: Path, sound: int, deployment: Deployment) -> str:
    """Reason why so many vouchers are not enough."""
    needed = deployment.majority
    whose = "the request files of all three containers" if needed > 1 else "the request file of the server"
    return (
        f"{sound} of the containers known vouch for {file}, and {needed} "
        f"{'is' if needed == 1 else 'are'} needed. Give {whose}, or ask the operator for a new export."
    )


def _voucher(voucher: Voucher) -> str:
    at = f", as of {written(voucher.time_ms)}" if voucher.time_ms else ""
    verdict = f"NOT COUNTED: {voucher.problem}" if voucher.problem else "valid"
    return f"{voucher.container} of {voucher.upstream}{at}: {verdict}"


def _bound(time_ms: int | None, otherwise: str) -> str:
    return otherwise if time_ms is None else written(time_ms)


def written(time_ms: int) -> str:
    """A time of the record for people, in UTC."""
    return iso_time(time_ms, timespec="milliseconds")
