"""cutis: dermoscopic image analysis on the device the image is on. Research use only, never a diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "analyze", "list_models", "load_model"]

if TYPE_CHECKING:
    from cutis.analysis import analyze, list_models, load_model


def __getattr__(name: str) -> Any:
    if name in ("analyze", "list_models", "load_model"):
        import cutis.analysis

        return getattr(cutis.analysis, name)
    raise AttributeError(f"module 'cutis' has no attribute {name!r}")
