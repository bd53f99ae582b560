# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of the client API is valid, complete and exact."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from openapi_spec_validator import validate
from pydantic import BaseModel

from tests.support.openapi import DOCUMENTS, REFERENCE, text_of
from tests.support.tmr_system import System
from tmr.api.problem import MEDIA_TYPE
from tmr.api.problems import PROBLEMS
from tmr.http.openapi import complete, documented


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    system = System(tmp_path_factory.mktemp("system"))
    for twin in system.twins:
        twin.vip.stop()
    return system.twins[0].app.openapi()


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for one in part:
            yield from _references(one)


def test_it_is_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    references = set(_references(document))
    assert references
    assert references <= {f"#/components/schemas/{name}" for name in schemas}


def test_every_operation_names_its_problems_and_roles(document: dict[str, Any]) -> None:
    statuses = {str(problem.status) for problem in PROBLEMS.values()} | {"400", "408", "413"}
    for name, operation in _operations(document):
        assert not [key for key in operation if key.startswith("x-")], name
        assert [*operation["security"][0]] == ["certificate"], name
        responses = operation["responses"]
        assert [status for status in responses if status.startswith("2")], name
        problems = {status: answer for status, answer in responses.items() if not status.startswith("2")}
        assert "403" in problems, name
        assert set(problems) <= statuses, name
        for status, answer in problems.items():
            assert [*answer["content"]] == [MEDIA_TYPE], (name, status)
        assert ("422" in problems) == ("requestBody" in operation or "parameters" in operation), name
        assert ("413" in problems) == ("requestBody" in operation), name


def test_operations_of_operators_say_so(document: dict[str, Any]) -> None:
    by_roles = {name: operation["security"] for name, operation in _operations(document)}
    assert by_roles["POST /v1/operator/switchover"] == [{"certificate": ["operator"]}]
    assert by_roles["POST /v1/sessions"] == [{"certificate": ["client"]}, {"certificate": ["operator"]}]
    assert by_roles["GET /v1/status"] == [{"certificate": []}]


def test_an_unknown_problem_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        documented("no-such-problem")


def test_two_models_of_one_name_are_a_mistake() -> None:
    class Session(BaseModel):
        other: int

    app = FastAPI()

    @app.post("/v1/one", openapi_extra=documented(takes=Session))
    async def one() -> None: ...

    document = app.openapi()
    document["components"] = {"schemas": {"Session": {"title": "Session", "type": "object"}}}
    with pytest.raises(ValueError, match="two schemas Session"):
        complete(document)


def test_it_is_written_once(tmp_path: Path) -> None:
    system = System(tmp_path)
    for twin in system.twins:
        twin.vip.stop()
    app = system.twins[0].app
    assert app.openapi() is app.openapi()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_document_in_the_reference_is_that_of_the_server(name: str, tmp_path: Path) -> None:
    written = (REFERENCE / name).read_text()
    assert written == text_of(DOCUMENTS[name](tmp_path)), "run `make openapi`, and commit the files"
