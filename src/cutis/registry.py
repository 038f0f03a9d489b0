"""Name -> factory; the only registry. Networks, losses and recipes are named in YAML by what is registered here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Registry", "models"]


class Registry:
    """A dictionary of factories with a message for unknown names.

    >>> shapes = Registry("shape")
    >>> @shapes.register("square")
    ... def square(side):
    ...     return side * side
    >>> shapes.build("square", side=3)
    9
    >>> shapes.build("circle")
    Traceback (most recent call last):
    ValueError: no shape named 'circle'; there are: square
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def keep(factory: Callable[..., Any]) -> Callable[..., Any]:
            if name in self._factories:
                raise ValueError(f"a {self.kind} named {name!r} is registered already")
            self._factories[name] = factory
            return factory

        return keep

    def build(self, name: str, **keywords: Any) -> Any:
        if name not in self._factories:
            raise ValueError(f"no {self.kind} named {name!r}; there are: {', '.join(sorted(self))}")
        return self._factories[name](**keywords)

    def __iter__(self) -> Iterator[str]:
        return iter(self._factories)


models = Registry("model")
