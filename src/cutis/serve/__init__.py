"""The service: `cutis serve` answers with the command line's records over HTTP, and holds the page; needs cutis[serve].

Nothing is loaded here, so that the small size can name what it lacks.
"""

from __future__ import annotations

__all__: list[str] = []
