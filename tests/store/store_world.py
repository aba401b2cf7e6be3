"""A small store with records that fit together, for the tests beside it."""

from __future__ import annotations

from typing import Any

from lwprof.profiler.store import Block, Context, Device, Store, Subject

MODEL = "ab" * 32
CONTEXT = Context("unit-1", "onnxruntime", "1.32.0", "CPU", 2, affinity=(0, 1))


class World:
    """A store with one device, context, subject and run in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        store.put_device(Device("unit-1", "host", "host", facts={"cores": 2}))
        store.put_subject(Subject(MODEL, "model", "net.onnx", {"ops": 3}))
        self.run = store.begin_run({"models": [MODEL]}, kind="measure", context=CONTEXT)

    def block(self, number: int, **changes: Any) -> Block:
        """The block of this number; equal numbers give equal blocks."""
        fields: dict[str, Any] = {
            "block_id": f"{self.run.run_id}/{number}",
            "run_id": self.run.run_id,
            "context": CONTEXT.key,
            "subject": MODEL,
            "arm": "end_to_end",
            "sequence": number,
            "started_utc": f"2026-01-01T00:00:{number:02d}.000000Z",
            "boot_id": "boot",
            "n": 3,
            "log_median": -3.5,
            "mean_s": 0.03,
            "payload": {"times_ns": [[30_000_000 + number, 30_100_000, 29_900_000]]},
        }
        return Block(**{**fields, **changes})
