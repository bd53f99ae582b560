"""The client machine's part: an application that holds the licence, and a prober of the virtual address."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from demo import gaps
from testbed.site import Site
from testbed.steps import StepFailed

_HERE = Path(__file__).parent
_PYTHON = "/opt/tmr/current/bin/python"
_DIRECTORY = "/run/tmr-demo"


@dataclass(frozen=True)
class Beat:
    """What the application knew after one heartbeat."""

    at_ns: int
    session: str
    state: str
    took_ms: float
    error: str


class Witness:
    """Two programs on the client machine; their output is read from outside."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def start(self, firm: int, product: int, ttl: int) -> None:
        """Start both anew."""
        self._site.must_inside("client", f"mkdir -p {_DIRECTORY}; rm -f {_DIRECTORY}/*")
        for name in ("holder", "prober"):
            self._site.put("client", _HERE / f"{name}.py", f"{_DIRECTORY}/{name}.py")
        self._run("holder", f"{firm} {product} {ttl}")
        self._run("prober", "")

    def _run(self, name: str, arguments: str) -> None:
        log = f"{_DIRECTORY}/{name}"
        self._site.must_inside(
            "client",
            f"(systemctl stop tmr-demo-{name}; systemctl reset-failed tmr-demo-{name}) 2>/dev/null; "
            f"systemd-run --quiet --unit=tmr-demo-{name} -p StandardOutput=append:{log}.out "
            f"-p StandardError=append:{log}.err {_PYTHON} {_DIRECTORY}/{name}.py {arguments}",
        )

    def stop(self) -> None:
        """End both; the application gives its licence back."""
        self._site.inside("client", "systemctl stop tmr-demo-prober tmr-demo-holder")

    def beats(self, last: int | None = None) -> list[Beat]:
        """What the application has written, or its `last` lines."""
        lines = self._read("holder", "tail -n +1" if last is None else f"tail -n {last}")
        return [Beat(**json.loads(line)) for line in lines if line.endswith("\n")]

    def beat_since(self, since_ns: int) -> Beat | None:
        """The last heartbeat, if it was answered after `since_ns`."""
        beats = self.beats(last=2)
        return beats[-1] if beats and beats[-1].at_ns > since_ns and not beats[-1].error else None

    def said(self) -> str:
        """What the programs told on standard error."""
        return " ".join(self._read("holder", "tail -n 3", "err") + self._read("prober", "tail -n 3", "err"))

    def answers(self) -> list[gaps.Answer]:
        """The last answers of the virtual address, up to two minutes of them."""
        return gaps.read(self._read("prober", "tail -n 12000"))

    def _read(self, name: str, command: str, stream: str = "out") -> list[str]:
        done = self._site.inside("client", f"{command} {_DIRECTORY}/{name}.{stream}")
        if done.code:
            raise StepFailed(f"the {name} on the client machine has left no log: {done.text}")
        return done.out.splitlines(keepends=True)
