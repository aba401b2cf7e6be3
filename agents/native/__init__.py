"""Programs in C for devices without Python: one network each, kernels compiled by TVM."""

from lwprof.agents.native.agent import NativeAgent
from lwprof.agents.native.choosing import choose
from lwprof.agents.native.program import NativeProgram, Slot

__all__ = ["NativeAgent", "NativeProgram", "Slot", "choose"]
