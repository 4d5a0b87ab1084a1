"""Bytes and seconds as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["format_bytes", "format_seconds", "parse_bytes", "parse_rate", "parse_seconds"]

_SCALE = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgtpe", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgtpe", 1)},
}
_DURATION = {"": 1.0, "s": 1.0, "us": 1e-6, "ms": 1e-3, "min": 60.0, "h": 3600.0}
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)\s*")


def parse_bytes(text: str | int) -> int:
    """Read a number of bytes: decimal units (kB, MB, GB, …), binary ones (KiB, MiB, GiB, …).

    A fraction of a byte is rounded down, so that a budget is never read as more than was written.

    Args:
        text: an integer, or digits with an optional unit, in upper or lower case.

    Returns:
        Bytes, zero or more.

    Raises:
        ValueError: no number, a negative number or an unknown unit.

    >>> parse_bytes("64MiB"), parse_bytes("64MB"), parse_bytes("1.5GiB"), parse_bytes(7)
    (67108864, 64000000, 1610612736, 7)
    >>> parse_bytes("10 XB")
    Traceback (most recent call last):
    ...
    ValueError: unknown unit 'XB' in '10 XB': write B, kB, MB, GB, TB or KiB, MiB, GiB, TiB
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise ValueError(f"a number of bytes cannot be negative: {text}")
        return text
    if not isinstance(text, str):  # whoever reads a file or a command line catches one kind
        raise ValueError(  # noqa: TRY004
            f"a number of bytes is an integer or a text like '64MiB', not {text!r}"
        )
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"not a number of bytes: {text!r}; write for example '64MiB' or '1.5GB'")
    number, unit = found.groups()
    scale = _SCALE.get(unit.lower())
    if scale is None:
        known = "B, kB, MB, GB, TB or KiB, MiB, GiB, TiB"
        raise ValueError(f"unknown unit {unit!r} in {text!r}: write {known}")
    return int(Fraction(number) * scale)


def parse_seconds(text: str | float) -> float:
    """Read a duration: a number of seconds, or one with us, ms, s, min or h.

    Raises:
        ValueError: no number, a negative number or an unknown unit.

    >>> parse_seconds("20s"), parse_seconds("500ms"), parse_seconds("2min"), parse_seconds(3)
    (20.0, 0.5, 120.0, 3.0)
    """
    found = _NUMBER.fullmatch(str(text))
    if found is None:
        raise ValueError(f"not a duration: {text!r}; write for example '20s' or '2min'")
    number, unit = found.groups()
    if unit not in _DURATION:
        raise ValueError(f"unknown unit {unit!r} in {text!r}: write us, ms, s, min or h")
    return float(number) * _DURATION[unit]


def parse_rate(text: str) -> tuple[float, float]:
    """Read bytes per second, and a latency if one is added.

    Returns:
        Bytes per second, and seconds.

    Raises:
        ValueError: no rate, or an unknown unit.

    >>> parse_rate("2GB/s"), parse_rate("100MB/s+5ms")
    ((2000000000.0, 0.0), (100000000.0, 0.005))
    """
    rate, _, wait = text.partition("+")
    size, slash, unit = rate.partition("/")
    if not slash or unit.strip() != "s":
        raise ValueError(f"not a rate: {text!r}; write for example 100MB/s or 2GB/s+1ms")
    return float(parse_bytes(size)), parse_seconds(wait) if wait else 0.0


def format_bytes(count: int) -> str:
    """Write a number of bytes for people, in binary units with one decimal.

    >>> format_bytes(74763469), format_bytes(1000), format_bytes(1 << 40), format_bytes(-2048)
    ('71.3 MiB', '1000 B', '1.0 TiB', '-2.0 KiB')
    """
    if abs(count) < 1024:
        return f"{count} B"
    size = float(count)
    power = 0
    while abs(size) >= 1023.95 and power < 6:
        size /= 1024
        power += 1
    return f"{size:.1f} {' KMGTPE'[power]}iB"


def format_seconds(seconds: float) -> str:
    """Write a duration for people.

    >>> format_seconds(0.0000125), format_seconds(0.25), format_seconds(12), format_seconds(4000)
    ('12.5 us', '250.0 ms', '12.00 s', '1.1 h')
    """
    size = abs(seconds)
    if size >= 3600:
        return f"{seconds / 3600:.1f} h"
    if size >= 1:
        return f"{seconds:.2f} s"
    if size >= 1e-3:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e6:.1f} us"
