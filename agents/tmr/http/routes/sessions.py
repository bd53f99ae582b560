# SPDX-License-Identifier: Apache-2.0
"""Routes of sessions: grants, units and ends."""

from fastapi import FastAPI, Request, Response

from tmr.api.fields import PAGE_MAX
from tmr.api.sessions import (
    Consumption,
    QueuePlace,
    Session,
    SessionList,
    SessionRequest,
    UnitsRequest,
)
from tmr.http.client_api import ClientApi
from tmr.http.messages import address_of, answer, body_of, client_of, idempotency_key_of
from tmr.http.openapi import DECIDING, HOLDING, JOURNAL, WISHING, After, Limit, SessionName, documented


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the routes of sessions."""
    parts = api.licence_service
    service = parts.service

    @app.post(
        "/v1/sessions",
        response_model=Session,
        status_code=201,
        responses={202: {"model": QueuePlace, "description": "A place in the queue (`wait`): ask again"}},
        tags=["sessions"],
        openapi_extra=documented(
            *WISHING, "not-enough-units", "session-lost", takes=SessionRequest, key=True
        ),
    )
    async def open_session(request: Request) -> Response:
        """One access to one licence. The same key again: the same session, or place in the queue."""
        peer = client_of(request)
        asked = await body_of(request, SessionRequest)
        found = await service.grant(peer, address_of(request), idempotency_key_of(request), asked)
        return answer(found, 201 if isinstance(found, Session) else 202)

    @app.get(
        "/v1/sessions",
        response_model=SessionList,
        tags=["sessions"],
        openapi_extra=documented(*JOURNAL),
    )
    async def sessions(request: Request, limit: Limit = PAGE_MAX, after: After = None) -> Response:
        """The own sessions, then the own places in queues, the oldest first; an operator sees everybody's."""
        return answer(await parts.session_list.page(client_of(request), limit, after))

    @app.post(
        "/v1/sessions/{session}/units",
        response_model=Consumption,
        tags=["sessions"],
        openapi_extra=documented(
            *HOLDING, *DECIDING, "not-enough-units", "conflicting-key", takes=UnitsRequest, key=True
        ),
    )
    async def consume(request: Request, session: SessionName) -> Response:
        """Take units from the licence of a session. The same key again takes them once."""
        peer = client_of(request)
        asked = await body_of(request, UnitsRequest)
        return answer(await parts.units.consume(peer, idempotency_key_of(request), session, asked.units))

    @app.delete(
        "/v1/sessions/{session}",
        status_code=204,
        tags=["sessions"],
        openapi_extra=documented("access-denied", *JOURNAL),
    )
    async def release(request: Request, session: SessionName) -> Response:
        """End a session, or leave the queue. One that has ended already is no error."""
        await service.release(client_of(request), session)
        return Response(status_code=204)
