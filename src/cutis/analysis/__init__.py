"""The product, without torch: an image in, its mask, measures, quality and report out. Research use only."""

from __future__ import annotations

from cutis.analysis.pipeline import predict_mask
from cutis.analysis.python import analyze
from cutis.analysis.runtime import Segmenter, list_models, load_model

__all__ = ["Segmenter", "analyze", "list_models", "load_model", "predict_mask"]
