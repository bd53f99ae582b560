# SPDX-License-Identifier: Apache-2.0
"""Release of the lease on failure: the message of a dead tmr-server that ends its lease at every upstream.

Plain asyncio with `ssl`: three POSTs in a lifetime do not warrant the quarter of a second that importing an
HTTP library adds to the start of this small daemon.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable

from tmr.vip.config import ConfigError, ReleaseConfig, Target
from tmr.vip.log_fields import fields

log = logging.getLogger(__name__)

TIMEOUT_S = 1.0
"""For one attempt at one target, from connecting to the status line."""
PAUSES_S = (0.05, 0.1, 0.2, 0.4)
"""Between attempts; there is one attempt more than pauses."""


def tls_context(config: ReleaseConfig) -> ssl.SSLContext:
    """Mutual TLS with the files of `config`; raises ConfigError that names the file."""
    for key in ("certificate", "key", "ca", "crl"):
        path = getattr(config, key)
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"release.{key}: {path}: {error.strerror}; the user of tmr-vip must be able to read it"
            ) from error
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=config.ca)
        if config.crl is not None:
            context.load_verify_locations(cafile=config.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        context.load_cert_chain(config.certificate, config.key)
    except ssl.SSLError as error:
        raise ConfigError(
            f"release: certificate, key, ca and crl do not fit together or are no PEM"
            f" ({error.reason}); issue them again"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def send(config: ReleaseConfig, context: ssl.SSLContext, body: bytes, live: Callable[[], bool]) -> None:
    """POST `body` to all targets in parallel, each repeated while it cannot be reached and `live()` says so.

    Never raises for a target: what became of each is logged.
    """
    await asyncio.gather(*(_deliver(target, config, context, body, live) for target in config.targets))


async def _deliver(
    target: Target, config: ReleaseConfig, context: ssl.SSLContext, body: bytes, live: Callable[[], bool]
) -> None:
    for attempt, pause in enumerate((*PAUSES_S, None), start=1):
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status = await _post(target, config, context, body)
        except TimeoutError:
            reason = f"no answer within {TIMEOUT_S} s"
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            reason = str(error) or type(error).__name__
        else:
            if 200 <= status < 300:
                log.info("release-delivered", extra=fields(target=target, attempt=attempt))
                return
            reason = f"status {status}"
            if status < 500:
                log.warning("release-refused", extra=fields(target=target, reason=reason))
                return
        log.warning("release-failed", extra=fields(target=target, attempt=attempt, reason=reason))
        if pause is not None:
            await asyncio.sleep(pause)
        if not live():
            log.info("release-given-up", extra=fields(target=target, reason="the lease has ended by itself"))
            return
    log.warning("release-given-up", extra=fields(target=target, reason="too many attempts"))


async def _post(target: Target, config: ReleaseConfig, context: ssl.SSLContext, body: bytes) -> int:
    source = next((one for one in config.source if (":" in one) == (":" in target.host)), None)
    reader, writer = await asyncio.open_connection(
        target.host, target.port, ssl=context, local_addr=None if source is None else (source, 0)
    )
    try:
        head = (
            f"POST {config.path} HTTP/1.1\r\nHost: {target}\r\nContent-Type: application/msgpack\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        status_line = await reader.readuntil(b"\r\n")
    finally:
        writer.close()
    version, _, rest = status_line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit():
        raise ValueError(f"not an HTTP answer: {status_line[:40]!r}")
    return int(code)
