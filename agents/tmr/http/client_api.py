# SPDX-License-Identifier: Apache-2.0
"""Answerers of the client API: what the routes need of a server, whatever its deployment."""

from collections.abc import Callable
from typing import NamedTuple

from tmr.api.status import Status
from tmr.service.licence_service import LicenceService
from tmr.service.tracking import Tracking


class ClientApi(NamedTuple):
    """Services that the routes call. `status`: the server as it is now. `metrics_text`: Prometheus' text."""

    licence_service: LicenceService
    tracking: Tracking
    status: Callable[[], Status]
    metrics_text: Callable[[], bytes]
