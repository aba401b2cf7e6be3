"""A device that is open for measuring: its agent, what it is, and the context of its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lwprof.agents import Agent, Facts, open_target
from lwprof.agents.native import NativeAgent, choose
from lwprof.device_profiles import Device, find_device, known_hosts_path
from lwprof.errors import MissingExtra
from lwprof.profiler.session.options import Settings
from lwprof.profiler.store import Context, Run, Store, request_digest
from lwprof.profiler.store import Device as StoredDevice

_INSTALL = {"onnxruntime": "pip install onnxruntime", "tvm": "pip install 'lwprof[tvm]'"}


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection to one device.

    Attributes:
        name: what the user called it.
        affinity: CPUs that workers are pinned to: those of the fastest cluster.
    """

    name: str
    device: Device
    agent: Agent
    facts: Facts

    @property
    def affinity(self) -> tuple[int, ...]:
        allowed = set(self.facts.allowed_cpus)
        fastest = [cpu for cpu in self.facts.clusters[0].cpus if cpu in allowed]
        return tuple(fastest or sorted(allowed))

    def threads(self, settings: Settings) -> int:
        """Threads asked for, else the physical cores of the fastest cluster that may be used."""
        return settings.threads or max(1, min(self.facts.clusters[0].cores, len(self.affinity)))

    def context(self, settings: Settings, threads: int) -> Context:
        """Where and how the numbers of these settings are obtained.

        Raises:
            MissingExtra: the device lacks the runtime.
        """
        runtime = self.facts.runtimes.get(settings.runtime)
        if runtime is None or runtime.error is not None:
            why = f" ({runtime.error})" if runtime is not None else ""
            raise MissingExtra(
                f"device {self.name!r} has no {settings.runtime}{why}: install it there with "
                f"{_INSTALL[settings.runtime]}"
            )
        options: dict[str, str | int | float | bool | None] = {}
        if settings.runtime == "tvm":
            options["schedule"] = "tuned" if settings.tune_s else "templates"
            if isinstance(self.agent, NativeAgent):
                options["agent"] = "native"
        if settings.input_shapes:
            # The same file at another input size is other work, under the same digest.
            options["input_shapes"] = ";".join(
                f"{name}={','.join(map(str, shape))}"
                for name, shape in sorted(settings.input_shapes.items())
            )
        return Context(
            hardware_id=self.facts.hardware_id,
            runtime=settings.runtime,
            runtime_version=runtime.version,
            provider=settings.provider.removesuffix("ExecutionProvider"),
            threads=threads,
            precision=settings.precision or "as_in_file",
            environment=self.facts.environment,
            affinity=self.affinity,
            batch=settings.batch,
            power_mode=self.facts.power_mode,
            options=options,
        )

    def describe(self, context: Context) -> dict[str, Any]:
        """The context as results show it: its fields, its key, and what the device is."""
        return {**context.to_json(), "key": context.key, "device": self.name,
                "board": self.device.board, "facts": self.facts.to_json()}  # fmt: skip

    def stored_device(self) -> StoredDevice:
        """The device as the store keeps it."""
        return StoredDevice(
            hardware_id=self.facts.hardware_id,
            name=self.name,
            board=self.device.board,
            environment=self.facts.environment,
            facts=self.facts.to_json(),
        )

    def begin(
        self,
        store: Store,
        kind: str,
        request: Mapping[str, Any],
        context: Context,
        *,
        fresh: bool,
    ) -> Run:
        """The unfinished run of an equal request, else a new one."""
        if not fresh:
            unfinished = store.resume(request_digest(request))
            if unfinished is not None:
                return unfinished
        return store.begin_run(request, kind=kind, context=context)


@contextmanager
def open_device(name: str, runtime: str | None = None) -> Iterator[Link]:
    """Opens a device by the name that the user gave.

    Args:
        name: of the registry.
        runtime: what will be measured, where that is known: it decides which agent runs
            on a device that lacks it.

    Raises:
        DeviceUnknown: no such device.
        HostError, DeviceError: it cannot be reached; says why.
    """
    device = find_device(name)
    with open_target(device, known_hosts_path()) as target, choose(target, runtime) as agent:
        yield Link(device.name, device, agent, agent.facts())
