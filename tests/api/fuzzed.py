# SPDX-License-Identifier: Apache-2.0
"""A real twin behind real mutual TLS, and schemathesis against it with the certificate of any role."""

import asyncio
import collections
import contextlib
import itertools
import os
import re
import ssl
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis.errors import HypothesisWarning
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from testbed import pki
from tests.support.lending import update_file
from tests.support.tmr_system import System, Twin, until
from tmr.api.fields import IDEMPOTENCY_HEADER, IDEMPOTENCY_KEY
from tmr.licensing import ProductItem, raw_public_key
from tmr.net.server import PeerServer, tcp_listener
from tmr.net.tls import TlsFiles, server_context

PLENTY, FULL, ALONE = 201, 202, 204
"""Product Codes: a licence that is to be had, one whose seats are taken, one on a single upstream."""
PATIENCE = 60.0
"""Seconds for the twin to serve, and to stop."""


@dataclass
class Served:
    """A twin that serves at `url`; all of it lives in `loop`, which runs in another thread."""

    twin: Twin
    url: str
    system: System
    certificates: pki.System
    loop: asyncio.AbstractEventLoop

    def client(self, files: TlsFiles) -> httpx.Client:
        """A client with the certificate in `files`."""
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.certificate, files.key)
        return httpx.Client(base_url=self.url, verify=context)

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until `condition()` holds; it is looked at in the twin's thread."""
        asyncio.run_coroutine_threadsafe(until(condition, what), self.loop).result()


@contextlib.contextmanager
def serving(directory: Path, held: Sequence[Sequence[ProductItem]]) -> Iterator[Served]:
    """A system whose three upstreams hold `held`; its first twin serves HTTPS in a thread of its own.

    The first of it came with a vendor's update, so that there is a borrow file for it.
    """
    certificates = pki.make_system(directory, clients=("alice", "bob"))
    context = server_context(certificates.twin("tmr1"))
    ready, found, failures = threading.Event(), list[Served](), list[BaseException]()
    servers = list[PeerServer]()

    async def run() -> None:
        system = System(directory)
        vendor = Ed25519PrivateKey.generate()
        update = update_file(vendor, [upstream.box for upstream in system.upstreams], held[0][:1])
        for upstream, items in zip(system.upstreams, held, strict=True):
            upstream.activate(raw_public_key(vendor), update)
            upstream.hold(*items)
        twin = system.twins[0]
        listener = tcp_listener("127.0.0.1", 0, context)
        server = PeerServer(twin.app, [listener], certificates.name, on_stopping=twin.agent.begin_stop)
        servers.append(server)
        serve = asyncio.create_task(server.serve())
        try:
            await system.serving()
            url = f"https://127.0.0.1:{listener.port}"
            found.append(Served(twin, url, system, certificates, asyncio.get_running_loop()))
            ready.set()
            await serve
        finally:
            server.stop()
            await serve
            for one in system.twins:
                one.vip.stop()
            failures.extend(twin.failures)

    def body() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=body, name="twin")
    thread.start()
    assert ready.wait(PATIENCE), "the twin does not serve"
    if not found:
        thread.join(PATIENCE)
        raise failures[0]
    try:
        yield found[0]
    finally:
        found[0].loop.call_soon_threadsafe(servers[0].stop)
        thread.join(PATIENCE)
    assert not failures, failures


@dataclass
class Findings:
    """What a fuzzing run saw."""

    failures: dict[str, str] = field(default_factory=dict)
    """How to repeat each, by operation and what is wrong."""
    answers: dict[str, collections.Counter[int]] = field(default_factory=dict)
    """Statuses by operation, such as `GET /v1/status`, of requests with the operation's own method."""
    problems: dict[str, collections.Counter[str]] = field(default_factory=dict)
    """Slugs of problems, likewise."""

    def good(self, operation: str) -> int:
        """Number of answers that were 2xx."""
        return sum(n for status, n in self.answers[operation].items() if status < 300)

    def share(self, operation: str) -> float:
        """Share of the answers that were 2xx."""
        return self.good(operation) / self.answers[operation].total()

    def slugs(self) -> set[str]:
        """Every problem that was seen."""
        return {slug for problems in self.problems.values() for slug in problems}

    def told(self) -> str:
        """The failures, for people."""
        return "\n\n".join(f"{what}\n    {again}" for what, again in self.failures.items())


def fuzz(
    served: Served,
    files: TlsFiles,
    *,
    examples: int,
    include: str = "",
    exclude: str = "",
    known: Mapping[str, Sequence[int | str]] | None = None,
    stateful: bool = True,
) -> Findings:
    """Ask the twin whatever its API description allows and forbids, with the certificate in `files`.

    `examples`: for each operation and phase. `include`, `exclude`: regular expressions of paths. `known`:
    values that exist, by parameter such as `body.firm_code`; most valid requests have them. `stateful`: what
    one operation answers goes into requests to others.
    """
    # Besides what is forbidden by a schema there are roles, what others hold, and what a licence allows.
    accepted = ["2xx", "403", "404", "409", "503"]
    options: dict[str, Any] = {
        "base-url": served.url,
        "tls-verify": files.ca,
        "request-cert": files.certificate,
        "request-cert-key": files.key,
        "request-timeout": 30,
        "continue-on-failure": True,
        "generation": {"max-examples": examples, "deterministic": bool(os.environ.get("CI"))},
        "checks": {
            "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503"]},
            "positive_data_acceptance": {"expected-statuses": accepted},
        },
        "phases": {"stateful": {"enabled": stateful, "max-steps": 6}},
        "dictionaries": {
            name.replace(".", "-"): {"values": list(values)} for name, values in (known or {}).items()
        },
        "parameters": {
            name: {"dictionary": name.replace(".", "-"), "probability": 0.9} for name in known or {}
        },
        "operations": [
            {
                # No schema can say that the groups of a rule exist, or that a network is one.
                "include-path": "/v1/access",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*accepted, "422"]}},
            },
            {
                # Nor that a time has come.
                "include-path": "/v1/tracking",
                "checks": {"positive_data_acceptance": {"expected-statuses": [*accepted, "422"]}},
            },
        ],
    }
    config = SchemathesisConfig.from_dict(options)
    document = served.twin.app.openapi()
    paths = {
        path: item
        for path, item in document["paths"].items()
        if re.search(include, path) and not (exclude and re.search(exclude, path))
    }
    schema = schemathesis.openapi.from_dict({**document, "paths": paths}, config=config)
    findings = Findings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)  # of large examples
        for event in from_schema(schema).execute():
            match event:
                case ScenarioFinished():
                    _note(findings, event)
                case NonFatalError(value=error) | FatalError(exception=error):
                    why = "".join(traceback.format_exception(error))
                    findings.failures[f"the run itself: {error}"] = why
    return findings


_keys = itertools.count(1)


@schemathesis.hook("before_call")
def _steer(_: Any, case: Any, __: Any) -> None:
    """Let most well-formed idempotency keys be new ones: repeated ones are mostly refused.

    Who would wait does so for the licence that is full, and in no other's way. Some ask for the one that is
    unavailable: left to chance, no run would be sure to see each kind of answer.
    """
    key = (case.headers or {}).get(IDEMPOTENCY_HEADER)
    number = next(_keys)
    if isinstance(key, str) and re.fullmatch(IDEMPOTENCY_KEY, key) and number % 4:
        case.headers[IDEMPOTENCY_HEADER] = f"fuzzed-{number:08}"
    body = case.body
    if isinstance(body, dict) and body.get("product_code") == PLENTY:
        if body.get("wait") is True:
            body["product_code"] = FULL
        elif number % 8 == 3:
            body["product_code"] = ALONE


def _note(findings: Findings, event: ScenarioFinished) -> None:
    recorder = event.recorder
    for name, interaction in recorder.interactions.items():
        case, response = recorder.cases[name].value, interaction.response
        if response is None:
            findings.failures[f"{case.operation.label}: no answer"] = str(interaction.request.uri)
        elif case.method.upper() == case.operation.method.upper():
            label = case.operation.label
            findings.answers.setdefault(label, collections.Counter())[response.status_code] += 1
            if response.status_code >= 400:
                slug = response.json()["type"].rpartition(":")[2]
                findings.problems.setdefault(label, collections.Counter())[slug] += 1
    for name, checks in recorder.checks.items():
        for check in checks:
            if check.status == Status.FAILURE and check.failure_info is not None:
                failure = check.failure_info.failure
                label = recorder.cases[name].value.operation.label
                what = f"{label}: {failure.title}: {failure.message}"
                findings.failures.setdefault(what, check.failure_info.code_sample)
