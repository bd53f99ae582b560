# SPDX-License-Identifier: Apache-2.0
"""Fields of log records: `log.info("held", extra=fields(epoch=7))`. The composition root writes the lines."""


def fields(**values: object) -> dict[str, dict[str, object]]:
    """Fields of one record, as `extra=` of a log call."""
    return {"fields": values}
