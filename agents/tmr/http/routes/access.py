# SPDX-License-Identifier: Apache-2.0
"""Routes of the access list."""

from fastapi import FastAPI, Request, Response

from tmr.api.access import AccessList
from tmr.http.client_api import ClientApi
from tmr.http.messages import answer, body_of
from tmr.http.openapi import JOURNAL, OPERATORS, documented
from tmr.net.server import demand, peer_of


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the routes of the access list."""

    @app.get(
        "/v1/access",
        response_model=AccessList,
        tags=["operation"],
        openapi_extra=documented(roles=OPERATORS),
    )
    async def access(request: Request) -> Response:
        """The access list that is in force."""
        demand(peer_of(request), "operator")
        return answer(api.licence_service.access.current())

    @app.put(
        "/v1/access",
        response_model=AccessList,
        tags=["operation"],
        openapi_extra=documented("access-list-changed", *JOURNAL, takes=AccessList, roles=OPERATORS),
    )
    async def set_access(request: Request, check: bool = False) -> Response:
        """Put an access list into force, all of it or nothing. `check`: only say what is wrong with it."""
        peer = peer_of(request)
        demand(peer, "operator")
        wanted = await body_of(request, AccessList)
        return answer(
            api.licence_service.access.check(wanted)
            if check
            else await api.licence_service.access.replace(peer, wanted)
        )
