"""Resource names of decorators: a plain name, a template, or a function of the call's arguments."""

from __future__ import annotations

import inspect
import string
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any

NameOf = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""The lock's name, or a part of it, for a call's arguments."""


def compile_name(name: str | Callable[..., str], function: Callable[..., Any]) -> str | NameOf:
    """Turn the name given to a decorator into a name, or into a function that finds it at each call.

    A template's fields are parameters of the decorated function and attributes of them:
    ``"episodic_db:{self.db_path.name}"``. ``{{`` and ``}}`` are braces. Indexing, private attributes
    and unknown parameters are a :class:`TypeError` here, not at the call.
    """
    if callable(name):
        return _by_function(name)
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the lock's name must be a string or a function, not {type(name).__name__}")
    texts: list[str] = [""]
    fields: list[NameOf] = []
    for text, field, spec, conversion in string.Formatter().parse(name):
        texts[-1] += text
        if field is not None:
            fields.append(_field(field, spec or conversion, name, function))
            texts.append("")
    if not fields:
        return texts[0]
    if len(fields) == 1:
        (before, after), (only,) = texts, fields
        return lambda args, kwargs: f"{before}{only(args, kwargs)}{after}"
    return lambda args, kwargs: (
        texts[0] + "".join(f"{field(args, kwargs)}{text}" for field, text in zip(fields, texts[1:], strict=True))
    )


def _by_function(naming: Callable[..., str]) -> NameOf:
    """Call a function with as many of the call's positional arguments, and those of its keywords, as it takes."""
    try:
        parameters = inspect.signature(naming).parameters.values()
    except (TypeError, ValueError):  # a built-in that does not tell
        return lambda args, kwargs: naming(*args, **kwargs)
    kinds = [parameter.kind for parameter in parameters]
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes = inspect.Parameter
    places = sum(kind in (takes.POSITIONAL_ONLY, takes.POSITIONAL_OR_KEYWORD) for kind in kinds)
    place: int | None = None if takes.VAR_POSITIONAL in kinds else places
    if takes.VAR_KEYWORD in kinds:
        return lambda args, kwargs: naming(*args[:place], **kwargs)
    return lambda args, kwargs: naming(
        *args[:place], **{name: value for name, value in kwargs.items() if name in named}
    )


def _field(field: str, formatted: str | None, template: str, function: Callable[..., Any]) -> NameOf:
    """How to find what a field stands for."""
    root, *attributes = field.split(".")
    plain = all(part.isidentifier() and not part.startswith("__") for part in (root, *attributes))
    if formatted or not plain:
        raise TypeError(f"the lock name {template!r} has the field {field!r}: only names and attributes are possible")
    argument = _argument(root, template, function)
    if not attributes:
        return argument
    attribute = attrgetter(".".join(attributes))
    return lambda args, kwargs: attribute(argument(args, kwargs))


def _argument(name: str, template: str, function: Callable[..., Any]) -> NameOf:
    """How to find an argument among those of a call."""
    parameters = inspect.signature(function).parameters
    parameter = parameters.get(name)
    if parameter is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise TypeError(
            f"the lock name {template!r} has the field {name!r}, which is no parameter of "
            f"{getattr(function, '__qualname__', function)}"
        )
    default = parameter.default
    place = sys.maxsize if parameter.kind is parameter.KEYWORD_ONLY else list(parameters).index(name)

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if place < len(args):
            return args[place]
        if name in kwargs:
            return kwargs[name]
        if default is not parameter.empty:
            return default
        raise TypeError(f"missing argument {name!r}, which names the lock")

    return find
