# SPDX-License-Identifier: Apache-2.0
"""Configuration files: TOML in, checked structs out, errors that say what to change."""

import difflib
import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class ConfigError(Exception):
    """The configuration cannot be used. The text names the file, the key and the remedy; exit status 2."""


def load(path: Path, kind: type[T]) -> T:
    """Read the TOML file at `path` as `kind`, a Struct that forbids unknown fields.

    Raises ConfigError for a file that is missing, unreadable, not TOML, or does not fit.
    """
    try:
        text = path.read_bytes().decode()
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the right one with --config FILE") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its owner and mode") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:  # tomllib's own is a ValueError; so are numbers too long
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    try:
        return msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), kind)}") from None


def require_file(config: Path, key: str, path: str) -> Path:
    """The file that `key` of the configuration names. Raises ConfigError where there is none."""
    found = Path(path)
    if not found.is_file():
        raise ConfigError(f"{config}: {key} = {path!r}: no such file; create it or correct {key}")
    return found


def _explain(message: str, kind: type[msgspec.Struct]) -> str:
    """msgspec's message in the words of the file: `$.tls.key` becomes `tls.key`."""
    where = re.search(r" - at `\$\.?(.*)`$", message)
    place = where[1] if where else ""
    what = message[: where.start()] if where else message
    unknown = re.search(r"unknown field `(.*)`", what)
    missing = re.search(r"missing required field `(.*)`", what)
    if unknown:
        known = _fields_at(kind, place)
        close = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key {_join(place, unknown[1])!r}; {hint}"
    if missing:
        return f"key {_join(place, missing[1])!r} is missing; add it"
    return f"key {place!r}: {what[:1].lower()}{what[1:]}; correct its value"


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _fields_at(kind: type[msgspec.Struct], place: str) -> list[str]:
    """The keys that the table at `place` (such as `tls` or `upstreams[0]`) may have."""
    info: msgspec.inspect.Type = msgspec.inspect.type_info(kind)
    for part in filter(None, place.split(".")):
        if not isinstance(info, msgspec.inspect.StructType):
            return []
        name = part.split("[")[0]
        info = next((f.type for f in info.fields if f.encode_name == name), info)
        if "[" in part and isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            info = info.item_type
    return [f.encode_name for f in info.fields] if isinstance(info, msgspec.inspect.StructType) else []
