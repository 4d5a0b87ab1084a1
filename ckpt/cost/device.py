"""A device in a handful of figures, read from YAML."""

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ckpt.errors import CkptError
from ckpt.ir.types import DType

VERSION = 2
"""Of the files that `ckpt calibrate` writes."""

VARIABLE = "CKPT_DEVICE"
"""The environment variable that names the device file of this machine."""

M = TypeVar("M", bound=BaseModel)

_FLOPS_OF_NEXT, _BYTES_OF_NEXT = 0.85, 0.5
"""What each further thread adds where it was not measured, as a fraction of the first."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DeviceError(CkptError, ValueError):
    """A device file cannot be read; the message names the file and the key."""


class HostLink(BaseModel):
    """The way between a device and the memory of its host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes_per_second: Positive
    latency_seconds: Annotated[float, Field(ge=0)] = 0.0
    duplex: bool = False


class Device(BaseModel):
    """Peak rates, bandwidth and capacity of a device.

    Of a processor, rates and bandwidths are those of one thread, whatever the number of threads.

    Attributes:
        version: of the file, where `ckpt calibrate` has written it.
        name: how reports call it.
        flops_per_second: per dtype ("f32", "f64", "i32", "i64", "bool", and "bf16" and "f16" where
            they are not worked on as f32), sustained by dense matrix products (or, for integers and
            bool, by elementwise loops).
        bytes_per_second: memory bandwidth of long loops.
        capacity_bytes: memory in all; None when it is not known.
        launch_seconds: what a kernel costs before it does anything.
        cache_bytes: what loops move so much or less stays in caches between them.
        cache_bytes_per_second: bandwidth there; None when it is not known, and memory's is meant.
        threads: that share a let.
        flops_gain: how many times as much all of them do as one, out of caches too.
        bytes_gain: how many times as much all of them move to and from memory.
        slowdown: by the kind of a let (`ckpt.cost.kind`: mostly the name of its op), its seconds
            over those that the rates say.
        host_link: the way to host memory, if there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[2] | None = None
    name: str
    flops_per_second: dict[str, Positive]
    bytes_per_second: Positive
    capacity_bytes: Annotated[int, Field(gt=0)] | None = None
    launch_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    cache_bytes: Annotated[int, Field(ge=0)] = 0
    cache_bytes_per_second: Positive | None = None
    threads: Annotated[int, Field(ge=1)] = 1
    flops_gain: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    bytes_gain: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    slowdown: dict[str, Positive] = Field(default_factory=dict[str, Positive])
    host_link: HostLink | None = None

    @model_validator(mode="after")
    def _rates(self) -> "Device":
        """Every dtype but halves needs a rate, and nothing else may have one."""
        needed = [t.value for t in DType if not t.is_half]
        missing = [t for t in needed if t not in self.flops_per_second]
        unknown = [t for t in self.flops_per_second if t not in {d.value for d in DType}]
        if missing or unknown:
            said = f"lacks {', '.join(missing)}" if missing else f"has unknown {unknown[0]!r}"
            raise ValueError(f"flops_per_second {said}")
        return self

    def at(self, threads: int) -> "Device":
        """The same processor where so many threads share a let.

        What is gained by each further one is as measured, or as with most processors.

        >>> Device.built_in().at(2).flops_gain
        1.85
        """
        if threads == self.threads:
            return self
        further, known = threads - 1, self.threads - 1
        each = (self.flops_gain - 1) / known if known else _FLOPS_OF_NEXT
        moves = (self.bytes_gain - 1) / known if known else _BYTES_OF_NEXT
        gains = {"flops_gain": 1 + each * further, "bytes_gain": 1 + moves * further}
        return self.model_copy(update={"threads": threads, **gains})

    @staticmethod
    def load(path: str | Path) -> "Device":
        """Read a device from a YAML file.

        Raises:
            DeviceError: the file is missing, not YAML, or a key is missing, unknown or wrong.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from error
        return parsed(Device, text, str(path))

    @staticmethod
    def named(name: str) -> "Device":
        """A device that comes with the package ("cpu", "h100", "h200"), or one read from a file.

        Raises:
            DeviceError: there is neither.

        >>> Device.named("h100").flops_per_second["bf16"]
        400000000000000.0
        """
        shipped = resources.files("ckpt.cost").joinpath("devices", f"{name}.yaml")
        if "/" not in name and shipped.is_file():
            return parsed(Device, shipped.read_text("utf-8"), f"the built-in {name}.yaml")
        if not Path(name).suffix and not Path(name).exists():
            files = resources.files("ckpt.cost").joinpath("devices").iterdir()
            names = sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))
            known = ", ".join(names)
            raise DeviceError(f"there is no device {name!r}; there are {known}, or a file.yaml")
        return Device.load(name)

    @staticmethod
    def of(given: Any) -> "Device":
        """A device as the interface takes it: by name, by file, as it is, or this one for None.

        Args:
            given: a `Device`, a string or None.

        Raises:
            DeviceError: there is none of that name, or it is something else.

        >>> Device.of(3)
        Traceback (most recent call last):
        ...
        ckpt.cost.device.DeviceError: a device is a ckpt.Device, a name or a file, not a int
        """
        if isinstance(given, Device):
            return given
        if given is None:
            return Device.this()
        if not isinstance(given, str):
            kind = type(given).__name__
            raise DeviceError(f"a device is a ckpt.Device, a name or a file, not a {kind}")
        return Device.named(given)

    @staticmethod
    def this() -> "Device":
        """The processor that we run on: as `ckpt calibrate` measured it, where it has.

        The file is the one that the environment variable CKPT_DEVICE names, or the user's own;
        without one, the figures that come with the package are taken.

        Raises:
            DeviceError: the file cannot be read, or an older `ckpt calibrate` has written it.
        """
        file = device_file()
        if not file.is_file():
            return Device.built_in()
        device = Device.load(file)
        if device.version is None:
            raise DeviceError(
                f"{file}: it has no `version: {VERSION}`, so an older `ckpt calibrate` has written "
                "it, whose figures meant something else: run it again, or delete the file"
            )
        return device

    @staticmethod
    def built_in() -> "Device":
        """The processor by the figures that come with the package."""
        return parsed(
            Device,
            resources.files("ckpt.cost").joinpath("devices", "cpu.yaml").read_text("utf-8"),
            "the built-in cpu.yaml",
        )


def device_file() -> Path:
    """Where `ckpt calibrate` writes by default, and `Device.this` looks."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "ckpt" / "device.yaml"


def parsed(model: type[M], text: str, where: str) -> M:
    """A device of either kind from the text of a file.

    Raises:
        DeviceError: naming the file, and the key that is missing, unknown or wrong.
    """
    try:
        return model.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise DeviceError(f"{where}: not YAML: {error}") from error
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, e['loc'])) or 'device'}: {e['msg']}" for e in error.errors()
        )
        raise DeviceError(f"{where}: " + "; ".join(problems)) from error
