"""Writes `api.md` from the docstrings of the package.

    python docs/python/generate_api.py

A test fails if `api.md` differs from its output.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import concurrent_locks

HEAD = """# API reference

Generated from the docstrings by `python docs/python/generate_api.py`; edit those, not this page. Everything here
can be imported from `concurrent_locks`, the last section from `concurrent_locks.fencing`.
"""


class Shown:
    """Something in a signature, shown as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def signature(function: Any) -> str:
    """How to call it, in one line."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return "(...)"
    parameters = []
    for parameter in found.parameters.values():
        if parameter.name == "self":
            continue
        if isinstance(parameter.annotation, str):
            parameter = parameter.replace(annotation=Shown(parameter.annotation))
        if parameter.default is ...:
            parameter = parameter.replace(default=Shown("..."))
        parameters.append(parameter)
    found = found.replace(parameters=parameters)
    if isinstance(found.return_annotation, str):
        found = found.replace(return_annotation=Shown(found.return_annotation))
    return str(found).removesuffix(" -> None")


def member_lines(name: str, member: Any) -> list[str]:
    """One method or property."""
    text = one_paragraph(documentation(member))
    if inspect.isdatadescriptor(member):
        return [f"- **`.{name}`**: {text}"]
    way = "await " if inspect.iscoroutinefunction(member) else ""
    return [f"- **`{way}.{name}{signature(member)}`**: {text}"]


def documentation(documented: Any) -> str:
    """Its docstring, in Markdown."""
    doc = re.sub(r":\w+:`([^`]+)`", r"`\1`", inspect.getdoc(documented) or "")
    return doc.replace("``", "`")


def one_paragraph(doc: str) -> str:
    """For a list."""
    return " ".join(line.strip() for line in doc.splitlines() if line.strip())


def members(owner: type) -> list[tuple[str, Any]]:
    """What a class and its bases in this package have that is public."""
    found: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.startswith("concurrent_locks"):
            found.update({name: member for name, member in vars(base).items() if not name.startswith("_")})
    return [
        (name, member) for name, member in sorted(found.items()) if callable(member) or inspect.isdatadescriptor(member)
    ]


def class_lines(name: str, owner: type) -> list[str]:
    """One class with its members."""
    doc = documentation(owner)
    if issubclass(owner, enum.Enum):
        values = ", ".join(f"`{each.name}` = `{each.value!r}`" for each in owner)
        return [f"### `{name}`", "", doc, "", values, ""]
    if issubclass(owner, BaseException):
        bases = " and ".join(f"`{base.__name__}`" for base in owner.__bases__)
        return [f"### `{name}`", "", f"{doc}", "", f"Derived from {bases}.", ""]
    made_by_others = "Made by" in doc
    head = [f"### `{name}{'' if made_by_others else signature(owner)}`", "", doc, ""]
    lines = [line for member in members(owner) for line in member_lines(*member)]
    ways = [way for way, method in (("with", "__enter__"), ("async with", "__aenter__")) if hasattr(owner, method)]
    if ways:
        lines.append(f"- Entered by {' or '.join(f'`{way}`' for way in ways)}.")
    return [*head, *lines, ""] if lines else head


def reference(package: ModuleType) -> str:
    """The whole page."""
    functions, classes, errors, constants = [], [], [], []
    for name in sorted(package.__all__):
        value = getattr(package, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            errors += class_lines(name, value)
        elif isinstance(value, type):
            classes += class_lines(name, value)
        elif callable(value):
            functions += [f"### `{name}{signature(value)}`", "", documentation(value), ""]
        else:
            constants.append(f"- `{name}` = `{value!r}`")
    fences = importlib.import_module(f"{package.__name__}.fencing")
    fencing = [documentation(fences), ""]
    for name, value in sorted(vars(fences).items()):
        if inspect.isfunction(value) and value.__module__ == fences.__name__ and not name.startswith("_"):
            way = "await " if inspect.iscoroutinefunction(value) else ""
            fencing += [f"### `{way}{name}{signature(value)}`", "", documentation(value), ""]
    parts = [HEAD, "## Functions", "", *functions, "## Classes", "", *classes, "## Errors", "", *errors]
    return "\n".join([*parts, "## Constants", "", *constants, "", "## Fencing", "", *fencing])


if __name__ == "__main__":
    (Path(__file__).parent / "api.md").write_text(reference(concurrent_locks))
