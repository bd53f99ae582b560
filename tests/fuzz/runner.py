# SPDX-License-Identifier: Apache-2.0
"""Runs targets: one for a time, or all of them at once for a number of runs."""

import hashlib
import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import atheris  # type: ignore[import-untyped]

import tests.fuzz.targets

NAMES: Final = sorted(module.name for module in pkgutil.iter_modules(tests.fuzz.targets.__path__))


def load(name: str, *, instrumented: bool = True) -> ModuleType:
    """The target. `instrumented`: what it imports of ours, for the first time, reports its coverage."""
    path = f"tests.fuzz.targets.{name}"
    if not instrumented:
        return importlib.import_module(path)
    with atheris.instrument_imports(include=["tmr"]):
        return importlib.import_module(path)


def sow(target: ModuleType, corpus: Path, prefix: bytes = b"") -> None:
    """Write the target's seeds into the corpus."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.SEEDS:
        data = prefix + seed
        (corpus / hashlib.sha256(data).hexdigest()[:20]).write_bytes(data)


def fuzz(check: Callable[[bytes], None], corpus: Path, findings: Path, *options: str) -> None:
    """Hand over to libFuzzer, which ends the process."""
    findings.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=20000",
        f"-artifact_prefix={findings}/",
        *options,
        str(corpus),
    ]
    atheris.Setup(arguments, check)
    atheris.Fuzz()


def every() -> tuple[Callable[[bytes], None], list[ModuleType]]:
    """All targets as one: the first byte says which."""
    targets = [load(name) for name in NAMES]

    def check(data: bytes) -> None:
        if data:
            targets[data[0] % len(targets)].check(data[1:])

    return check, targets
