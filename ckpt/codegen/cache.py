"""Machine code kept on disk: in a checked format, never trusted, safe among processes.

An entry is one file, named by the hash of what it was made from (source, versions, processor):

    8 bytes    magic
    4 bytes    format version
    32 bytes   SHA-256 of all that follows
    3 x 8      lengths of symbol, object code, bitcode
    ...        symbol, object code, bitcode

A file that is cut off, altered or of another version counts as absent and is written anew. It
is written under another name and renamed, so that no process ever reads half of one.
"""

import hashlib
import os
import struct
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from ckpt.codegen.compile import Object

MAGIC = b"ckptobj\n"
FORMAT = 1
_HEAD = struct.Struct("<8sI32s")
_LENGTHS = struct.Struct("<3Q")


def cache_folder(kind: str = "kernels") -> Path:
    """Where kernels, or plans, are kept: in CKPT_CACHE_DIR, or the user's cache folder."""
    named = os.environ.get("CKPT_CACHE_DIR")
    if named:
        return Path(named) / kind
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "ckpt" / kind


def key_of(*parts: str) -> str:
    """The name of an entry: the hash of everything that its code depends on."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode()
        whole.update(struct.pack("<Q", len(data)))
        whole.update(data)
    return whole.hexdigest()


def encode(kept: Object) -> bytes:
    """An entry as bytes."""
    symbol = kept.symbol.encode()
    lengths = _LENGTHS.pack(len(symbol), len(kept.code), len(kept.bitcode))
    body = lengths + symbol + kept.code + kept.bitcode
    return _HEAD.pack(MAGIC, FORMAT, hashlib.sha256(body).digest()) + body


def decode(data: bytes) -> Object | None:
    """What an entry holds, or None if it is damaged or of another version."""
    if len(data) < _HEAD.size + _LENGTHS.size:
        return None
    magic, version, digest = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if magic != MAGIC or version != FORMAT or hashlib.sha256(body).digest() != digest:
        return None
    symbol, code, bitcode = _LENGTHS.unpack_from(body)
    at = _LENGTHS.size
    if at + symbol + code + bitcode != len(body):
        return None
    return Object(
        code=body[at + symbol : at + symbol + code],
        bitcode=body[at + symbol + code :],
        symbol=body[at : at + symbol].decode(),
    )


def read(key: str) -> Object | None:
    """The entry of a key, or None if there is none that can be used."""
    try:
        return decode((cache_folder() / f"{key}.ckptobj").read_bytes())
    except OSError:
        return None


def write(key: str, kept: Object) -> None:
    """Keep an entry; a folder that cannot be written to only costs time in the next process."""
    write_whole(cache_folder() / f"{key}.ckptobj", encode(kept))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of the cache under another name and rename it, or do nothing if that fails."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f"{path.stem[:16]}.", suffix=".part"
        )
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
