"""Surgery on ONNX graphs: which channels depend on each other, and removing them."""
