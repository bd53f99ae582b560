# SPDX-License-Identifier: Apache-2.0
"""Routes of the client API: one module a page or group of routes.

Each module has `add_routes(app, api)`. A new one joins ROUTE_GROUPS. Endpoints read bodies and write answers
by hand (`tmr.http.messages`): the framework's own way costs more than the rest of a request.
"""

from collections.abc import Callable
from typing import Final

from fastapi import FastAPI

from tmr.http.client_api import ClientApi
from tmr.http.routes import (
    access,
    batch,
    borrowings,
    heartbeats,
    licences,
    sessions,
    status,
    time,
    tracking,
)

ROUTE_GROUPS: Final[tuple[Callable[[FastAPI, ClientApi], None], ...]] = (
    licences.add_routes,
    sessions.add_routes,
    heartbeats.add_routes,
    batch.add_routes,
    borrowings.add_routes,
    access.add_routes,
    time.add_routes,
    status.add_routes,
    tracking.add_routes,
)
"""Part of every server that serves clients, whatever its deployment."""
