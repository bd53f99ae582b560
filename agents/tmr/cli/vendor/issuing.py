# SPDX-License-Identifier: Apache-2.0
"""Issue of an update: on record first, then in a file for the system."""

import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click

from tmr.api.deployment import Deployment
from tmr.cli.vendor.directory import open_directory, open_named_request, publish
from tmr.cli.vendor.show import Shown, describe_item, describe_options, item_document
from tmr.licensing import (
    NotIssued,
    issue,
)
from tmr.licensing.orders import Order

ATTEMPTS: Final = 100
"""Tries to take the next number of the record while other processes issue too."""


def record_and_write(
    directory: Path,
    requests: Iterable[Path],
    orders: Sequence[Order],
    out: Path,
    deployment: Deployment,
    *,
    former_lost: bool = False,
) -> Shown:
    """Issue, put the update on record, write it to `out`. Gives what it does."""
    opened = open_directory(directory)
    if out.exists():
        raise click.ClickException(f"{out} exists. Choose another name for the update file.")
    if not out.absolute().parent.is_dir():
        raise click.ClickException(f"{out.parent} is no directory. Make it first.")
    read = [open_named_request(path) for path in requests]
    for _ in range(ATTEMPTS):
        history = opened.record()
        try:
            issued = issue(
                history,
                read,
                orders,
                firm_code=opened.firm_code,
                key=opened.key,
                issued_ms=time.time_ns() // 1_000_000,
                update_id=uuid.uuid4().hex,
                deployment=deployment,
                former_lost=former_lost,
            )
        except NotIssued as error:
            if error.code != "update-pending":
                raise
            raise click.ClickException(f"{error} All update files are kept in {opened.issued}.") from error
        recorded = opened.file(len(history) + 1)
        try:
            publish(recorded, issued.file, 0o600)
        except FileExistsError:
            continue  # another process took this number: its TMR-Id is spent, so look again
        break
    else:
        raise click.ClickException(
            f"{opened.issued} changes all the time. Try again when nobody else issues."
        )
    try:
        publish(out, issued.file, 0o644)
    except OSError as error:
        raise click.ClickException(
            f"The update is issued and on record, but {out} could not be written: {error.strerror}. "
            f"Copy {recorded} instead."
        ) from error
    lines = [f"Update {issued.update.update_id} for the system {issued.update.act_id} written to {out}"]
    done = {"Issued": issued.added, "Changed": issued.changed, "Removed": issued.removed}
    for what, items in done.items():
        for item in items:
            lines.append(f"{what} {describe_item(item)}")
            if what != "Removed":
                lines += [f"  {name}: {value}" for name, value in describe_options(item)]
    told = {what.lower(): [item_document(item) for item in items] for what, items in done.items()}
    if issued.absent:
        lines.append(
            f"{issued.absent} made no request: its part follows from the record. Have {out} activated there, "
            "too, once its upstream is back."
        )
    update = issued.update
    document = {"update": update.update_id, "act_id": update.act_id, "file": str(out), **told}
    return Shown(lines, document | ({"absent": issued.absent} if issued.absent else {}))
