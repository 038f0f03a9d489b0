"""What OpenAPI says about bodies and answers beyond what the routes' types say, with examples."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from cutis.records import Analysis, ModelInfo
from cutis.serve.problems import MEDIA_TYPE, ImageProblem, Problem

__all__ = ["ANALYSES", "BODY", "PICTURE", "Analyses", "ModelsInUse", "problems"]

_MODEL = {"name": "segmenter", "version": "0.2.0", "precision": "int8", "sha256": 64 * "0"}
_RECORD = {
    "file": "image",
    "status": "lesion",
    "error": None,
    "width": 600,
    "height": 450,
    "lesion": {
        "mask": "/v1/analyses/Zk3x.../mask.png",
        "overlay": "/v1/analyses/Zk3x.../overlay.png",
        "box": [171, 97, 436, 352],
        "area": 50123,
        "area_share": 0.185641,
        "touches_frame": False,
        "confidence": 0.9871,
        "asymmetry": {"major_axis": 0.0612, "minor_axis": 0.0774, "asymmetric_axes": 0, "angle_degrees": 12.5},
        "border": {"irregularity": 1.1213, "hull_defect": 0.0321, "perimeter": 841.12},
        "colours": [{"name": "light brown", "share": 0.7312}, {"name": "dark brown", "share": 0.2688}],
        "diameter": 277.31,
        "diameter_mm": None,
        "area_mm2": None,
    },
    "symmetry": {
        "label": "symmetric",
        "probability": 0.8123,
        "probabilities": {"asymmetric": 0.1877, "symmetric": 0.8123},
        "threshold": 0.5,
        "activation_map": "/v1/analyses/Zk3x.../symmetry.png",
    },
    "diagnosis": None,
    "quality": {
        "sharpness": 210.4,
        "brightness": 0.71,
        "overexposed": 0.0,
        "underexposed": 0.0,
        "hair_cover": 0.0,
        "dark_corners": 0.0,
        "warnings": [],
    },
    "model": _MODEL,
    "symmetry_model": {**_MODEL, "name": "symmetry"},
    "class_model": None,
    "times_ms": {"read": 2.1, "prepare": 0.4, "network": 8.3},
    "cutis": "0.1.0",
}
_BINARY = {"type": "string", "format": "binary"}


class Analyses(BaseModel):
    """Answer to a form: a record a file, in the files' order. A bad file has status 'failed', and is in `problems`."""

    analyses: list[Analysis]
    problems: list[ImageProblem] = Field(default_factory=list)


class ModelsInUse(BaseModel):
    """The networks that answer; `file`s of the same SHA-256 give the same answers."""

    segmentation: ModelInfo
    symmetry: ModelInfo | None
    diagnosis: ModelInfo | None
    cutis: str


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "array", "items": _BINARY, "minItems": 1}},
                }
            },
            **{f"image/{kind}": {"schema": _BINARY} for kind in ("jpeg", "png", "bmp", "tiff", "webp")},
        },
    }
}
ANALYSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The record of an image sent as the body, or the records of a form's files.",
        "model": Analysis | Analyses,
        "content": {
            "application/json": {
                "examples": {
                    "image": {"summary": "an image sent as the body", "value": _RECORD},
                    "form": {
                        "summary": "two files of a form, the second one bad",
                        "value": {
                            "analyses": [
                                {**_RECORD, "file": "lesion.jpg"},
                                {
                                    "file": "notes.txt",
                                    "status": "failed",
                                    "error": "the image is not an image file: give a JPEG, PNG, BMP, TIFF or WebP file",
                                    "cutis": "0.1.0",
                                },
                            ],
                            "problems": [
                                {
                                    "index": 1,
                                    "detail": "the image is not an image file: "
                                    "give a JPEG, PNG, BMP, TIFF or WebP file",
                                }
                            ],
                        },
                    },
                }
            }
        },
    }
}
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {"image/png": {"schema": _BINARY}}},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route that may end with these statuses."""
    said = {
        401: "The service's token is needed.",
        403: "The request comes from a page of another origin.",
        404: "It is not there, or not any more.",
        408: "The body came too slowly.",
        413: "The body is too large; it was not read.",
        415: "Neither a form nor an image.",
        421: "The request asks for another host.",
        422: "No image in it could be analysed, or an option is wrong.",
        503: "Busy, or not ready; Retry-After says when to try again.",
        507: "The result cannot be stored.",
    }
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": said[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in (401, 403, 421, *statuses)
    }
