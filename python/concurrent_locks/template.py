"""Resource names of decorators: a plain name, a template, or a function of the call's arguments."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable
from operator import attrgetter
from typing import Any

NameOf = Callable[[tuple[Any, ...], dict[str, Any]], str]
"""The lock's name for a call's arguments."""


def compile_name(name: str | Callable[..., str], function: Callable[..., Any]) -> str | NameOf:
    """Turn the name given to a decorator into a name, or into a function that finds it at each call.

    A template's fields are parameters of the decorated function and attributes of them:
    ``"episodic_db:{self.db_path.name}"``. ``{{`` and ``}}`` are braces. Indexing, private attributes
    and unknown parameters are a :class:`TypeError` here, not at the call.
    """
    if callable(name):
        naming = name
        return lambda args, kwargs: naming(*args, **kwargs)
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the lock's name must be a string or a function, not {type(name).__name__}")
    pieces = [_piece(piece, name, function) for piece in string.Formatter().parse(name)]
    if all(field is None for _, field in pieces):
        return "".join(text for text, _ in pieces)

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return "".join(text if field is None else text + field(args, kwargs) for text, field in pieces)

    return find


def _piece(
    piece: tuple[str, str | None, str | None, str | None], template: str, function: Callable[..., Any]
) -> tuple[str, NameOf | None]:
    """The text before a field, and the field."""
    text, field, spec, conversion = piece
    if field is None:
        return text, None
    root, *attributes = field.split(".")
    if spec or conversion:
        raise TypeError(f"the lock name {template!r} formats {field!r}: only names and attributes are possible")
    if not all(part.isidentifier() and not part.startswith("__") for part in (root, *attributes)):
        raise TypeError(f"the lock name {template!r} has the field {field!r}: only names and attributes are possible")
    argument = _argument(root, template, function)
    if not attributes:
        return text, lambda args, kwargs: str(argument(args, kwargs))
    attribute = attrgetter(".".join(attributes))
    return text, lambda args, kwargs: str(attribute(argument(args, kwargs)))


def _argument(
    name: str, template: str, function: Callable[..., Any]
) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """How to find an argument among those of a call."""
    parameters = inspect.signature(function).parameters
    parameter = parameters.get(name)
    if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise TypeError(
            f"the lock name {template!r} has the field {name!r}, which is no parameter of "
            f"{getattr(function, '__qualname__', function)}"
        )
    default = parameter.default
    place = None if parameter.kind is parameter.KEYWORD_ONLY else list(parameters).index(name)

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if place is not None and place < len(args):
            return args[place]
        if name in kwargs:
            return kwargs[name]
        if default is not parameter.empty:
            return default
        raise TypeError(f"missing argument {name!r}, which names the lock")

    return find
