"""Compiling ONNX graphs with TVM: schedule templates, tuning, fused functions."""
