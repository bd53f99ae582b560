# SPDX-License-Identifier: Apache-2.0
"""client.toml: where the licence server is, and with which certificate to ask it.

system  = "lab"                            # name of the TMR system, as in the certificates
servers = ["10.20.0.100"]                  # the virtual address, or addresses
twins   = ["10.20.0.21", "10.20.0.22"]     # the twins' own: asked for the reason when no VIP answers
port    = 22350
source  = "10.20.0.31"                     # ask from this address of the machine; usually left out

[tls]                                      # PEM files; relative names count from client.toml
certificate = "/etc/tmr/pki/client.crt"
key         = "/etc/tmr/pki/client.key"
ca          = "/etc/tmr/pki/ca.crt"
crl         = "/etc/tmr/pki/crl.pem"       # the CA's revocation list; may be left out

[vendor_keys]                              # for borrowed licences: each vendor's public key, PEM
6000010 = "/etc/tmr/vendors/6000010.pem"
"""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, StringConstraints, ValidationError

from tmr.api.errors import ConfigError
from tmr.api.fields import CODE_MAX, FIRM_CODE_MIN

DEFAULT_PATH: Final = Path("/etc/tmr/client.toml")
VARIABLE: Final = "TMR_CONFIG"
"""Environment variable that names another file."""
PORT: Final = 22350

FirmCode = Annotated[int, Field(ge=FIRM_CODE_MIN, le=CODE_MAX)]
# A host name or an IP address without a port: what may stand between `https://` and `:22350`.
Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsFiles(_Table):
    """PEM files: the own certificate, its key, the CA that signed the servers', the CA's revocation list."""

    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None

    def paths(self) -> dict[str, Path]:
        """Those that are configured, by their key."""
        named = {name: getattr(self, name) for name in TlsFiles.model_fields}
        return {name: path for name, path in named.items() if path is not None}


class Config(_Table):
    """Contents of client.toml."""

    system: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    servers: tuple[Address, ...] = Field(min_length=1)
    twins: tuple[Address, ...] = ()
    port: int = Field(default=PORT, strict=True, ge=1, le=65535)
    source: IPvAnyAddress | None = None
    """The own address to ask from, on a machine with several; None: the system chooses."""
    tls: TlsFiles
    vendor_keys: dict[FirmCode, Path] = {}
    """Firm Code → PEM file with the vendor's public key, which borrow files are verified against."""


def load(path: Path | str | None = None) -> Config:
    """The configuration in `path`; without it, in the file that `TMR_CONFIG` names, else the default one.

    Raises ConfigError, which names the file, the key and the remedy.
    """
    chosen = Path(path or os.environ.get(VARIABLE) or DEFAULT_PATH)
    try:
        data = tomllib.loads(chosen.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError(
            f"{chosen}: no such file", f"Give the right one with --config FILE or {VARIABLE}."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{chosen}: cannot be read ({error.strerror})", "Check its owner and mode, and your groups."
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{chosen}: byte {error.start} is not UTF-8", "Save the file as UTF-8.") from None
    except (ValueError, RecursionError) as error:  # tomllib's own is a ValueError; so are numbers too long
        raise ConfigError(f"{chosen}: not valid TOML: {error}", "Correct that place.") from None
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        raise _explain(chosen, error) from None
    files = {name: chosen.parent / path for name, path in config.tls.paths().items()}
    vendor_keys = {firm: chosen.parent / key for firm, key in config.vendor_keys.items()}
    return config.model_copy(update={"tls": TlsFiles(**files), "vendor_keys": vendor_keys})


def _explain(path: Path, error: ValidationError) -> ConfigError:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return ConfigError(f"{path}: the key {place!r} is missing", "Add it.")
    if first["type"] == "extra_forbidden":
        kind: type[BaseModel] = TlsFiles if len(first["loc"]) > 1 else Config
        close = difflib.get_close_matches(str(first["loc"][-1]), kind.model_fields, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(kind.model_fields)}."
        return ConfigError(f"{path}: unknown key {place!r}", hint)
    value = repr(first["input"])
    shown = value if len(value) <= 60 else f"{value[:57]}…"
    said = first["msg"][:1].lower() + first["msg"][1:]
    match first["type"]:
        case "string_pattern_mismatch" if place == "system":
            said = "a name of letters, digits and . _ - is needed"
        case "string_pattern_mismatch":
            said = "a host name or an IP address, without a port, is needed"
        case "too_short":
            said = "at least one address is needed"
    return ConfigError(f"{path}: {place} = {shown}: {said}", f"Correct {place!r}.")
