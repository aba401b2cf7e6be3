"""Networks as ONNX graphs, built by our own code."""
