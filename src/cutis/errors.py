"""The error a user can cause: one line that says what was wrong, where, and what to do."""

from __future__ import annotations

__all__ = ["CutisError"]


class CutisError(Exception):
    """Shown to the user as it is, without a traceback.

    >>> raise CutisError("lesion.txt is not an image: give a JPEG, PNG, BMP, TIFF or WebP file")
    Traceback (most recent call last):
    cutis.errors.CutisError: lesion.txt is not an image: give a JPEG, PNG, BMP, TIFF or WebP file
    """

    exit_code = 2  # a wrong call; a subclass for what is not the call's fault says 1
