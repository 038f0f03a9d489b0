"""The error a user can cause: one line that says what was wrong, where, and what to do."""

from __future__ import annotations

__all__ = ["CutisError", "missing"]


class CutisError(Exception):
    """Shown to the user as it is, without a traceback.

    >>> raise CutisError("lesion.txt is not an image: give a JPEG, PNG, BMP, TIFF or WebP file")
    Traceback (most recent call last):
    cutis.errors.CutisError: lesion.txt is not an image: give a JPEG, PNG, BMP, TIFF or WebP file
    """

    exit_code = 2  # a wrong call; a subclass for what is not the call's fault says 1


def missing(what_needs: str, package: str | None, size: str = "train") -> CutisError:
    """The error of a part that the small install does not have, and the size `size` has.

    >>> str(missing("the paired tests need", "scipy"))
    "the paired tests need scipy: pip install 'cutis[train]'"
    """
    return CutisError(f"{what_needs} {package}: pip install 'cutis[{size}]'")
