# SPDX-License-Identifier: Apache-2.0
"""A thread that looks at something again and again, while others act."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self


class Observer(ABC, threading.Thread):
    """A context. What made it stop before the end is in `failure`, and raised at the end."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.over = threading.Event()
        self.failure: BaseException | None = None

    @abstractmethod
    def observe(self) -> None:
        """Look until `over`."""

    def run(self) -> None:
        try:
            self.observe()
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()
        if self.failure is not None:
            raise self.failure
