"""The value of a program's last expression: as text, and where the value knows a richer form of itself, as a file beside it.

The text is the value's repr, as an interactive session would show it, in bounds: a table as wide as it needs, a container of millions by its first
items, the rest by a cap. A figure, an image or a document (``_repr_png_`` and its kin, which every notebook knows) is saved in the working
directory, and so comes back as any file does. Nothing is imported for it: what is not loaded can't be what the value is made of.

All of it runs in the program's own interpreter, under its limits. A value whose repr fails is told as that; the program's own outcome stands.
"""

from __future__ import annotations

import binascii
import itertools
import re
import sys

import plots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What is told of a value, in characters; and of one that a file shows better.
_TEXT_MAX_CHARS = 16_000
_BESIDE_FILE_CHARS = 500
#: A builtin container with more items is shown by its first: the repr of ten million takes seconds and hundreds of megabytes.
_ITEMS_MAX = 10_000
#: The largest rich form that is saved (a plotly figure brings 5 MB of its library along).
_RICH_MAX_BYTES = 16 << 20
#: How pandas shows tables by itself, and how here: not wrapped to a terminal of 80 characters, as many columns as there is room for, more rows.
_TABLE_OPTIONS = (("display.width", 80, 200), ("display.max_columns", 0, 20), ("display.min_rows", 10, 20))

#: What a value can be saved as, best first: (MIME type, method of the notebook protocol, extension).
_RICH = (
    ("image/png", "_repr_png_", "png"),
    ("image/jpeg", "_repr_jpeg_", "jpg"),
    ("image/svg+xml", "_repr_svg_", "svg"),
    ("text/html", "_repr_html_", "html"),
)
#: Pillow's modes of which it makes no PNG.
_MODES_WITHOUT_PNG = frozenset(("CMYK", "YCbCr", "LAB", "HSV", "F"))
_PLAIN = frozenset((int, float, complex, bool, type(None)))
_CONTAINERS: Any = frozenset((list, tuple, set, frozenset, dict))
_STRINGS = frozenset((str, bytes, bytearray))
#: As the type checker sees it: a value of the program's can be of any type.
_class_of: Any = type


def describe(value: Any) -> str:
    """The value as text; at most ``_TEXT_MAX_CHARS`` and a note of what was left out. Leaves a file where the value has a rich form."""
    if type(value) in _PLAIN:
        return _cut(repr(value), _TEXT_MAX_CHARS)
    try:
        saved, note = (False, "") if type(value) in _CONTAINERS | _STRINGS else _save_rich(value)
        text, whole = _text(value)
        return _cut(text, _BESIDE_FILE_CHARS if saved else _TEXT_MAX_CHARS, whole) + note
    except Exception as error:
        return f"<{type(value).__name__} object whose repr failed: {_describe_error(error)}>"


def _text(value: Any) -> tuple[str, str]:
    """The repr, and where it was not asked for all of the value, how much there is of it."""
    kind = _class_of(value)
    if kind in _CONTAINERS and len(value) > _ITEMS_MAX:
        items: Any = value.items() if kind is dict else value
        return repr(_class_of(value)(itertools.islice(items, _ITEMS_MAX))), f"{len(value):,} items"
    if kind in _STRINGS and len(value) > _TEXT_MAX_CHARS:
        unit = "characters" if kind is str else "bytes"
        return repr(value[:_TEXT_MAX_CHARS]), f"{len(value):,} {unit}"
    table = _table(value)
    # A repr may be of a class of its own, with other ideas of what cutting is.
    return str.__str__(table or repr(value)), ""


def _table(value: Any) -> str | None:
    """A DataFrame or Series of pandas as text, as wide as it needs and with its shape; the program's own display options are kept."""
    pandas: Any = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, (pandas.DataFrame, pandas.Series)):
        return None
    settings: list[Any] = []
    for option, usual, ours in _TABLE_OPTIONS:
        if pandas.get_option(option) == usual:
            settings += [option, ours]
    with pandas.option_context(*settings):
        text = repr(value)
    if isinstance(value, pandas.DataFrame) and not re.search(r"\[\d+ rows x \d+ columns\]$", text):
        text += f"\n\n[{value.shape[0]} rows x {value.shape[1]} columns]"
    return text


def _cut(text: str, kept: int, whole: str = "") -> str:
    if len(text) <= kept and not whole:
        return text
    size = whole or f"{len(text):,} characters"
    return f"{text[:kept]} [... cut: the first {min(kept, len(text)):,} characters of a value of {size}; print the part you need]"


def _save_rich(value: Any) -> tuple[bool, str]:
    """Save the best rich form of ``value`` as a file: whether there is one now, and what has to be said about it."""
    if isinstance(value, type):
        return False, ""
    try:
        if plots.is_figure(value):
            plots.save(value)
            return True, ""
        for mime, data, extension in _rich_forms(value):
            content = _bytes_of(mime, data)
            if content is None:
                continue
            if len(content) > _RICH_MAX_BYTES:
                return False, f" [its {mime} form has {len(content):,} bytes, and at most {_RICH_MAX_BYTES:,} are saved]"
            file, _ = plots.create("result", extension)
            with file:
                file.write(content)
            return True, ""
    except Exception as error:
        return False, f" [it could not be saved as a file: {_describe_error(error)}]"
    return False, ""


def _rich_forms(value: Any) -> Any:
    """(MIME type, content, extension) of each form that ``value`` has, best first; made only when asked for."""
    kind = _class_of(value)  # looked up as the interpreter looks up special methods: an object that answers to every name has none of them
    if kind.__module__.split(".")[0] == "plotly" and hasattr(kind, "to_html"):
        # With its library in it: whoever opens the file may have no network either.
        yield "text/html", value.to_html(include_plotlyjs=True), "html"
        return
    pillow: Any = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(value, pillow.Image) and value.mode in _MODES_WITHOUT_PNG:
        value = value.convert("RGB")
    bundle: dict[str, Any] = {}
    if hasattr(kind, "_repr_mimebundle_"):
        made: Any = value._repr_mimebundle_(include=None, exclude=None)
        bundle = (made[0] if _class_of(made) is tuple else made) or {}
    for mime, method, extension in _RICH:
        if mime == "text/html" and hasattr(kind, "shape"):
            continue  # a table, which its text shows
        if mime in bundle:
            yield mime, bundle[mime], extension
        elif hasattr(kind, method):
            yield mime, getattr(value, method)(), extension


def _bytes_of(mime: str, data: Any) -> bytes | None:
    """What a method of the notebook protocol returned, as the bytes of a file: it may come with metadata, and pictures as base64."""
    if _class_of(data) is tuple and data:
        data = data[0]
    if isinstance(data, str):
        is_picture = mime in ("image/png", "image/jpeg")
        return binascii.a2b_base64(data) if is_picture else data.encode("utf-8", "replace")
    return bytes(data) if isinstance(data, (bytes, bytearray)) else None


def _describe_error(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_BESIDE_FILE_CHARS]
    except Exception:
        return type(error).__name__
