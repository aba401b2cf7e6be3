"""Schedule templates for processors, the most specific first."""

from lwprof.profiler.tvm.templates.conv import ConvTemplate
from lwprof.profiler.tvm.templates.dense import DenseTemplate
from lwprof.profiler.tvm.templates.injective import InjectiveTemplate
from lwprof.profiler.tvm.templates.plan import Plan, Setting, Stage, Template, stages_of
from lwprof.profiler.tvm.templates.reduction import PlaneTemplate, ReductionTemplate
from lwprof.profiler.tvm.templates.spatial import SpatialTemplate
from lwprof.profiler.tvm.templates.window import WindowTemplate

TEMPLATES: tuple[Template, ...] = (
    ConvTemplate(),
    WindowTemplate("depthwise_nchwc", "depthwise", "conv_pad"),
    WindowTemplate("max_pool_nchwc", "pool_max", "pad_temp"),
    WindowTemplate("avg_pool_nchwc", "pool_sum", "pad_temp"),
    DenseTemplate(),
    PlaneTemplate(),
    InjectiveTemplate(),
    SpatialTemplate(),
    ReductionTemplate(),
)

__all__ = ["TEMPLATES", "Plan", "Setting", "Stage", "Template", "stages_of"]
