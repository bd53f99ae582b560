# SPDX-License-Identifier: Apache-2.0
"""Routes of the licences that can be used: containers, items, and the explanation of a request."""

from fastapi import FastAPI, Request, Response

from tmr.api.explain import ExplainRequest, Explanation
from tmr.api.licences import ContainerList, ItemList
from tmr.http.client_api import ClientApi
from tmr.http.messages import address_of, answer, body_of, client_of
from tmr.http.openapi import JOURNAL, Serial, documented


def add_routes(app: FastAPI, api: ClientApi) -> None:
    """Add the routes of licences."""

    @app.get(
        "/v1/containers",
        response_model=ContainerList,
        tags=["licences"],
        openapi_extra=documented(*JOURNAL),
    )
    async def containers(request: Request) -> Response:
        """The virtual container."""
        client_of(request)
        return answer(ContainerList(containers=(await api.licence_service.catalogue.container(),)))

    @app.get(
        "/v1/containers/{serial}/items",
        response_model=ItemList,
        tags=["licences"],
        openapi_extra=documented("entry-not-found", *JOURNAL),
    )
    async def items(request: Request, serial: Serial) -> Response:
        """The licences that can be used, and those that cannot, with the reason."""
        client_of(request)
        return answer(await api.licence_service.catalogue.items(serial))

    @app.post(
        "/v1/explain",
        response_model=Explanation,
        tags=["licences"],
        openapi_extra=documented("time-in-doubt", *JOURNAL, takes=ExplainRequest),
    )
    async def explain(request: Request) -> Response:
        """Prediction for a request, and its reasons. Nothing changes."""
        peer = client_of(request)
        asked = await body_of(request, ExplainRequest)
        return answer(await api.licence_service.explainer.explain(peer, address_of(request), asked))
