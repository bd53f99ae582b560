"""Alarms of the upstreams' wall clocks, which make certified time."""

from tmr.desk.virtual import instant
from tmr.licensing.items import EXPIRATION_MS_MAX
from tmr.quorum.certified import AGREE_MS, CertifiedClock


def clock_alarms(certified: CertifiedClock, now_ms: float) -> list[str]:
    """Alarms at monotonic `now_ms`: clocks that confirm none, or else those that are off."""
    if shown := certified.unconfirmed(now_ms):
        told = ", ".join(f"{name} shows {_text(ms)}" for name, ms in sorted(shown.items()))
        return [
            f"no two upstreams' clocks agree within {AGREE_MS // 1000} s ({told}, UTC): certified time goes "
            "on by the active twin's monotonic clock. Run `chronyc tracking` on each; set the clocks right"
        ]
    off = sorted(certified.deviations(now_ms).items())
    return [f"the clock of {name} is off by {ms / 1000:+.1f} s" for name, ms in off]


def _text(ms: int) -> str:
    """An upstream may show any number."""
    return f"{instant(min(max(0, ms), EXPIRATION_MS_MAX)):%Y-%m-%d %H:%M:%S}"
