"""From a trained network to one ONNX file, its INT8 twin, the proof that they agree, and the model card.

The order of use: `onnx.export_onnx`, `int8.quantize`, `parity.compare`, `card.model_card`.
"""
