"""Reading an ONNX model: checks, shapes, costs per operator, memory."""
