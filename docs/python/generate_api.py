"""Writes `api.md` from the docstrings of the package.

    python docs/python/generate_api.py

A test fails if `api.md` is not what this gives.
"""

from __future__ import annotations

import enum
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import concurrent_locks

HEAD = """# API reference

Made from the docstrings by `python docs/python/generate_api.py`; change those, not this page. Everything here
can be imported from `concurrent_locks`.
"""
ENTERED = ("__enter__", "__exit__", "__aenter__", "__aexit__")


def signature(function: Any) -> str:
    try:
        return str(inspect.signature(function)).replace("'", "")
    except (TypeError, ValueError):
        return "(...)"


def method_signature(member: Any) -> str:
    """As the caller sees it: without self."""
    return (
        signature(member)
        .replace("(self, /, ", "(")
        .replace("(self, ", "(")
        .replace("(self, /)", "()")
        .replace("(self)", "()")
    )


def member_lines(owner: type, name: str, member: Any) -> list[str]:
    doc = inspect.getdoc(member) or ""
    if inspect.isdatadescriptor(member) or isinstance(member, property):
        return [f"- **`.{name}`**: {one_paragraph(doc)}"]
    if isinstance(member, (classmethod, staticmethod)):
        member = member.__func__
    return [f"- **`.{name}{method_signature(member)}`**: {one_paragraph(doc)}"]


def one_paragraph(doc: str) -> str:
    return " ".join(line.strip() for line in doc.splitlines() if line.strip())


def members(owner: type) -> list[tuple[str, Any]]:
    """What a class and its bases in this package have that is public."""
    found: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.startswith("concurrent_locks"):
            found.update({name: member for name, member in vars(base).items() if not name.startswith("_")})
    return [
        (name, member)
        for name, member in sorted(found.items())
        if callable(member) or inspect.isdatadescriptor(member) or isinstance(member, (classmethod, staticmethod))
    ]


def class_lines(name: str, owner: type) -> list[str]:
    if issubclass(owner, enum.Enum):
        values = ", ".join(f"`{each.name}` = `{each.value!r}`" for each in owner)
        return [f"### `{name}`", "", inspect.getdoc(owner) or "", "", values, ""]
    if issubclass(owner, BaseException):
        bases = ", ".join(f"`{base.__name__}`" for base in owner.__bases__)
        head = [f"### `{name}`", "", f"Is a {bases}. {inspect.getdoc(owner) or ''}", ""]
    else:
        head = [f"### `{name}{signature(owner)}`", "", inspect.getdoc(owner) or "", ""]
    lines = [line for member in members(owner) for line in member_lines(owner, *member)]
    if any(hasattr(owner, each) for each in ENTERED):
        ways = [
            way for way, method in (("`with`", "__enter__"), ("`async with`", "__aenter__")) if hasattr(owner, method)
        ]
        lines.append(f"- To be entered by {' and '.join(ways)}.")
    return head + lines + ([""] if lines else [])


def reference(package: ModuleType) -> str:
    functions, classes, errors, constants = [], [], [], []
    for name in sorted(package.__all__):
        value = getattr(package, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            errors += class_lines(name, value)
        elif isinstance(value, type):
            classes += class_lines(name, value)
        elif callable(value):
            functions += [f"### `{name}{signature(value)}`", "", inspect.getdoc(value) or "", ""]
        else:
            constants.append(f"- `{name}` = `{value!r}`")
    parts = [HEAD, "## Functions", "", *functions, "## Classes", "", *classes, "## Errors", "", *errors]
    return "\n".join([*parts, "## Constants", "", *constants, ""])


if __name__ == "__main__":
    (Path(__file__).parent / "api.md").write_text(reference(concurrent_locks))
