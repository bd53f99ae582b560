# SPDX-License-Identifier: Apache-2.0
"""The client library: an application imports it to use licences of a TMR system.

    from tmr.client import Client, NoMoreLicences

    with Client() as client, client.session(firm_code=6000010, product_code=201) as session:
        work()

`AsyncClient` is the same for asyncio. Errors are drawn in `tmr.api.errors`, answers in the modules of
`tmr.api`, the configuration in `tmr.client.config`.
"""

from tmr.api.errors import (
    AccessDenied,
    AccessListChanged,
    BadAnswer,
    BadRequest,
    BorrowFailed,
    ConfigError,
    ConflictingKey,
    EntryNotFound,
    ExclusiveConflict,
    FeatureMissing,
    LicenceExpired,
    LicenceNotActive,
    LicenceUnavailable,
    MaintenanceEnded,
    NoMoreLicences,
    NoQuorum,
    NoService,
    NotActive,
    NotEnoughUnits,
    OtherProcess,
    OutsideTmr,
    Overloaded,
    Refused,
    SessionLost,
    StorageFull,
    TimeInDoubt,
    TmrError,
    TwinNotReady,
    Untrusted,
    WrongRole,
)
from tmr.api.fields import AccessMode
from tmr.client._async import AsyncClient
from tmr.client._async_session import AsyncClientSession
from tmr.client._heartbeats import SessionState
from tmr.client._retry import Policy
from tmr.client._sync import Client
from tmr.client._sync_session import ClientSession
from tmr.client.config import Config, TlsFiles, load

__all__ = [
    "AccessDenied",
    "AccessListChanged",
    "AccessMode",
    "AsyncClient",
    "AsyncClientSession",
    "BadAnswer",
    "BadRequest",
    "BorrowFailed",
    "Client",
    "ClientSession",
    "Config",
    "ConfigError",
    "ConflictingKey",
    "EntryNotFound",
    "ExclusiveConflict",
    "FeatureMissing",
    "LicenceExpired",
    "LicenceNotActive",
    "LicenceUnavailable",
    "MaintenanceEnded",
    "NoMoreLicences",
    "NoQuorum",
    "NoService",
    "NotActive",
    "NotEnoughUnits",
    "OtherProcess",
    "OutsideTmr",
    "Overloaded",
    "Policy",
    "Refused",
    "SessionLost",
    "SessionState",
    "StorageFull",
    "TimeInDoubt",
    "TlsFiles",
    "TmrError",
    "TwinNotReady",
    "Untrusted",
    "WrongRole",
    "load",
]
