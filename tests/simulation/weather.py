"""How bad it gets."""

import random

import msgspec


class Weather(msgspec.Struct, frozen=True):
    """How bad it gets: probabilities for a message, and faults a second."""

    drop: float
    duplicate: float
    slow: float
    crash: float
    blackout: float
    partition: float
    pause: float
    wipe: float
    clock: float
    restore: float = 0.0
    """An old copy of an upstream's disk is put back."""
    lonely: float = 0.0
    """A client reaches neither twin for about the time to live of its session."""

    @classmethod
    def of(cls, rnd: random.Random) -> "Weather":
        return cls(
            drop=rnd.choice([0, 0.02, 0.1, 0.25]),
            duplicate=rnd.choice([0, 0.02, 0.1]),
            slow=rnd.choice([0, 0.01, 0.05]),
            crash=rnd.choice([0, 0.15, 0.4]),
            blackout=rnd.choice([0, 0, 0.05]),
            partition=rnd.choice([0, 0.15, 0.4]),
            pause=rnd.choice([0, 0.1, 0.3]),
            wipe=rnd.choice([0, 0, 0.1]),
            clock=rnd.choice([0, 0.1]),
            lonely=rnd.choice([0, 0.1]),
            restore=rnd.choice([0, 0, 0.2]),
        )
