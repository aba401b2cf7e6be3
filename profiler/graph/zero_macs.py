"""Operators that multiply nothing into a sum: 0 MACs by convention, not by ignorance.

The list is explicit, so that an operator nobody thought of is unknown. Deliberately in
neither list, hence unknown: DFT and STFT (the count depends on the algorithm), Det,
ImageDecoder, tree ensembles and support vector machines (on the data), and Gradient.
"""

from __future__ import annotations

_ONNX = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization
Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast
CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant
ConstantOfShape Cos Cosh CumProd CumSum DepthToSpace DequantizeLinear Div Dropout
DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements
GatherND Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity
InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log
LogSoftmax LpNormalization LpPool Max MaxPool MaxRoiPool MaxUnpool Mean
MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Multinomial Neg
NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement
OptionalHasElement Or PRelu Pad Pow QuantizeLinear RMSNormalization RandomNormal
RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2
ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding
Round Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty
SequenceErase SequenceInsert SequenceLength Shape Shrink Sigmoid Sign Sin Sinh Size Slice
Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt
Squeeze StringConcat StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter
TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
"""

_OTHER = {
    "ai.onnx.ml": """
ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer
Imputer LabelEncoder Normalizer OneHotEncoder Scaler ZipMap
""",
    "ai.onnx.preview.training": "Adagrad Adam Momentum",
    "com.microsoft": """
BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu FastGelu Gelu GroupNorm
NhwcMaxPool Pad QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool
QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere
QuickGelu QuantizeLinear DequantizeLinear RotaryEmbedding SkipGroupNorm
SkipLayerNormalization SkipSimplifiedLayerNormalization Trilu
""",
}

_ZERO = {("", name) for name in _ONNX.split()} | {
    (domain, name) for domain, names in _OTHER.items() for name in names.split()
}


def counts_zero(domain: str, type_: str) -> bool:
    """True for an operator whose MACs are 0 by convention."""
    return (domain, type_) in _ZERO
