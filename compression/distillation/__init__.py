"""Training of ONNX networks (torch extra): fine-tuning and the distillation losses of the survey.

- ``training.finetune(model, feeds, labels)``: trains a network's stored weights
- ``losses``: Hinton, FSP, DarkRank, Sobolev, Rocket, and Wen's group lasso
- ``torch_graph.TorchGraph(model)``: an ONNX network as a differentiable module
"""
