"""An accelerator in a handful of figures, read from YAML or measured."""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ckpt.cost.device import DeviceError, HostLink, Positive, parsed

_SHORT = {"float32": "f32", "float64": "f64", "bfloat16": "bf16", "float16": "f16", "int8": "i8"}


class Interconnect(BaseModel):
    """The way from a device to others of its mesh."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes_per_second: Positive
    latency_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Accelerator(BaseModel):
    """Peak rates, bandwidth and capacity of a device that JAX runs on.

    Attributes:
        name: how reports call it.
        kinds: parts of `jax.Device.device_kind`, in lower case, by which it is recognised.
        flops_per_second: of dense matrix products, per dtype ("f32", "bf16", "f16", "f64", "i8",
            "f8"); what is not listed runs at the rate of f32.
        vector_flops_per_second: of elementwise work.
        bytes_per_second: bandwidth of its own memory.
        capacity_bytes: its own memory in all; None when it is not known.
        launch_seconds: what a kernel costs before it does anything.
        host_link: the way to host memory, if offloading may be priced.
        interconnect: the way to other devices; without one, what needs them runs once.

    >>> Accelerator.named("h100").matmul_rate("bfloat16") > 1e14
    True
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kinds: tuple[str, ...] = ()
    flops_per_second: dict[str, Positive]
    vector_flops_per_second: Positive
    bytes_per_second: Positive
    capacity_bytes: Annotated[int, Field(gt=0)] | None = None
    launch_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    host_link: HostLink | None = None
    interconnect: Interconnect | None = None

    @model_validator(mode="after")
    def _rates(self) -> "Accelerator":
        """Dtypes without a rate run at that of f32."""
        if "f32" not in self.flops_per_second:
            raise ValueError("flops_per_second lacks f32")
        return self

    def matmul_rate(self, dtype: str) -> float:
        """Operations a second of a matrix product over operands of a dtype."""
        key = "f8" if dtype.startswith("float8") else _SHORT.get(dtype, dtype)
        return self.flops_per_second.get(key, self.flops_per_second["f32"])

    def exchange_seconds(self, sent_bytes: int) -> float:
        """Seconds for a device to send so much to others."""
        if sent_bytes == 0 or self.interconnect is None:
            return 0.0
        way = self.interconnect
        return way.latency_seconds + sent_bytes / way.bytes_per_second

    @staticmethod
    def named(name: str) -> "Accelerator":
        """A device that comes with the package, or one from a YAML file.

        Raises:
            DeviceError: there is no such device or file, or a key is missing, unknown or wrong.
        """
        built_in = _built_in()
        if name in built_in:
            return built_in[name]
        path = Path(name)
        if path.suffix not in {".yaml", ".yml"}:
            known = ", ".join(sorted(built_in))
            raise DeviceError(f"there is no device {name!r}; there are {known}, or a file.yaml")
        try:
            return parsed(Accelerator, path.read_text(encoding="utf-8"), name)
        except OSError as error:
            raise DeviceError(f"{name}: {error.strerror}") from error

    @staticmethod
    def this() -> "Accelerator":
        """The device that JAX would use, by its name.

        Raises:
            DeviceError: no device file knows it.
        """
        from ckpt.jax.internals import jax

        device: Any = jax.devices()[0]
        kind = str(device.device_kind).lower()
        if device.platform == "cpu":
            return Accelerator.named("cpu")
        for found in _built_in().values():
            if any(part in kind for part in found.kinds):
                return found
        raise DeviceError(
            f"no device file knows {device.device_kind!r}: give device= one of "
            f"{', '.join(sorted(_built_in()))}, a file.yaml, or ckpt.jax.calibrate()"
        )

    @staticmethod
    def of(given: "Accelerator | str | None") -> "Accelerator":
        """A device as the interface takes it: by name, by file, as it is, or this one for None."""
        if isinstance(given, Accelerator):
            return given
        return Accelerator.this() if given is None else Accelerator.named(given)


@cache
def _built_in() -> dict[str, Accelerator]:
    folder = resources.files("ckpt.jax").joinpath("devices")
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    files = {f.name.removesuffix(".yaml"): f for f in found if f.name.endswith(".yaml")}
    return {
        name: parsed(Accelerator, f.read_text("utf-8"), f"the built-in {f.name}")
        for name, f in files.items()
    }
