"""What is wrong in a `cameras.toml`, and where, in the words of the file."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from bas_edge.errors import InputError
from bas_edge.video.sources.addresses import redacted_uri

__all__ = ["at", "explained", "item"]

_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")  # of msgspec: ".camera[1].policy"
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


@contextlib.contextmanager
def at(place: str) -> Iterator[None]:
    """Every InputError of the block begins with `place`."""
    try:
        yield
    except InputError as error:
        error.args = (f"{place}: {error}",)
        raise


def item(key: str, number: int, table: Any) -> str:
    """One of several tables: "camera 'door' (camera[1])", or with its source or type."""
    short = f"{key}[{number}]"
    of = table if isinstance(table, Mapping) else {}
    if isinstance(name := of.get("name"), str) and name:
        return f"{key} '{name}' ({short})"
    about = of.get("source", of.get("type"))
    return f"{short} ({redacted_uri(about)})" if isinstance(about, str) else short


def explained(
    error: msgspec.ValidationError, content: Any, kind: type[msgspec.Struct]
) -> InputError:
    """What msgspec refuses of `content`, which was to become a `kind`, with its place.

    What the check of a table itself refuses is told in its own words, with its hint.
    """
    what, _, place = str(error).partition(" - at `$")
    types, value, where = inspect.type_info(kind), content, list[str]()
    for key, number in _STEP.findall(place):
        types, value = _below(types, value, key or number)
        if key:
            where.append(key)
        elif number.isdecimal():
            where[-1] = item(where[-1], int(number), value)
        else:
            where[-1] = f"a value of {where[-1]}"
    if isinstance(error.__cause__, InputError):
        text, hint = str(error.__cause__), error.__cause__.hint
    elif what.startswith("Object "):
        text, hint = _wrong_key(what, types, value)
    elif what.startswith(("Expected ", "Invalid ")):
        subject = where.pop() if where else "The file"
        text, hint = _wrong_value(what, subject, types, value)
    else:  # a check of ours without a hint
        text, hint = f"{what}.", None
    return InputError(f"{', '.join(where)}: {text}" if where else text, hint=hint)


def _wrong_key(what: str, types: inspect.Type, value: Any) -> tuple[str, str | None]:
    key = what.partition("`")[2].rstrip("`")
    if "unknown" in what:
        table = _table(types, value)
        known = [field.encode_name for field in table.fields] if table else []
        return f"the key '{key}' is not known.", _suggestion(key, known, "Known")
    choices = _choices(_below(types, value, key)[0])
    return f"the key '{key}' is missing.", f"One of: {', '.join(choices)}." if choices else None


def _wrong_value(
    what: str, subject: str, types: inspect.Type, value: Any
) -> tuple[str, str | None]:
    if what.startswith("Invalid "):
        choices = _choices(types)
        text = f"{subject} is '{value}', which is none of {', '.join(choices)}."
        return text, _suggestion(str(value), choices)
    if found := re.fullmatch(r"Expected `array` of length (\d+), got (\d+)", what):
        return f"{subject} must be a list of {found[1]} values, but has {found[2]}.", None
    wanted, given = re.findall(r"`([\w |]+)`", what)
    kinds = [_KINDS.get(each, each) for each in wanted.split(" | ") if each != "null"]
    shown = _KINDS.get(given, f"a {given}")
    if isinstance(value, bool | int | float):
        shown = str(value).lower()  # nobody keeps a number secret
    return f"{subject} must be {' or '.join(kinds)}, but is {shown}.", None


def _below(types: inspect.Type, value: Any, step: str) -> tuple[inspect.Type, Any]:
    """The type and the value of one key, or of one item of a list."""
    if isinstance(value, list):
        inside = value[int(step)] if step.isdecimal() else None
    else:
        inside = value.get(step) if isinstance(value, dict) else None
    for each in _members(types):
        if isinstance(each, inspect.VarTupleType):
            return each.item_type, inside
        if isinstance(each, inspect.TupleType):
            return each.item_types[0], inside
    table = _table(types, value)
    fields = {} if table is None else {field.encode_name: field.type for field in table.fields}
    return fields.get(step, types), inside  # "type" is no field: it tells the tables apart


def _members(types: inspect.Type) -> tuple[inspect.Type, ...]:
    return types.types if isinstance(types, inspect.UnionType) else (types,)


def _table(types: inspect.Type, value: Any) -> inspect.StructType | None:
    """The table that `value` is to become, of those that `types` allows."""
    tag = value.get("type") if isinstance(value, dict) else None
    tables = [each for each in _members(types) if isinstance(each, inspect.StructType)]
    return next((each for each in tables if each.tag in (None, tag)), None)


def _choices(types: inspect.Type) -> list[str]:
    """The words that may stand there."""
    choices: list[str] = []
    for each in _members(types):
        if isinstance(each, inspect.LiteralType):
            choices += [str(value) for value in each.values]
        elif isinstance(each, inspect.StructType) and each.tag is not None:
            choices.append(str(each.tag))
    return choices


def _suggestion(word: str, known: list[str], listed: str | None = None) -> str | None:
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"{listed}: {', '.join(sorted(known))}." if listed and known else None
