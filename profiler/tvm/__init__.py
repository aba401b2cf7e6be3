"""TVM: compiling models with schedule templates, and which kernels they consist of."""

from lwprof.profiler.tvm.artifact import TvmArtifact, TvmKernel
from lwprof.profiler.tvm.compiling import compile_model

__all__ = ["TvmArtifact", "TvmKernel", "compile_model"]
