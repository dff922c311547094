"""Plots without being told: open matplotlib figures become PNG files in the working directory.

Theory of operation
-------------------
Nothing is imported for it. A finder in front of all others (``watch``) waits for the import of matplotlib.pyplot, whoever asks for it, and then
gives that module a ``show`` of ours and leaves. ``show`` saves all open figures and closes them, as a window does that a person has looked at
and closed; what is still open at the end of the program is saved then (``finish``). The backend stays Agg, which every program may choose again.

A figure that the program itself saved as an image in the working directory, and did not touch since, is not saved a second time.

All of this runs in the program's own interpreter, on its time and in its memory: it decides nothing.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import types
import warnings

from confine import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_PYPLOT = "matplotlib.pyplot"
#: The longer side of a saved figure: twice of what is shown of it in a result. A figure of 100 inches would take gigabytes to draw.
_SIDE_MAX_PIXELS = 3200
#: Around what is drawn, as a notebook leaves it.
_MARGIN_INCHES = 0.1
_WHY_MAX_CHARS = 500
_WARNINGS_MAX = 5
#: What counts as "saved as an image": what comes back as one.
_SHOWN_FORMATS = frozenset(("png", "jpg", "jpeg", "webp", "gif"))

#: id of a figure -> (the figure, where it was saved). Cleared by ``finish``.
_saved: dict[int, tuple[Any, str]] = {}


class _Finder:
    """On ``sys.meta_path``: sees each module that is about to be imported, and has to do with one of them."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None) -> Any:
        if name != _PYPLOT:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _adapt_after(spec.loader)
                return spec
        return None


def watch() -> None:
    """From now on, an imported matplotlib.pyplot gets our ``show``."""
    sys.meta_path.insert(0, _Finder())


def _adapt_after(loader: Any) -> None:
    """Once ``loader`` has run the module, adapt it. Leaves no trace on the loader."""
    execute: Callable[[types.ModuleType], None] = loader.exec_module

    def exec_module(module: types.ModuleType) -> None:
        del loader.exec_module
        execute(module)
        try:
            _adapt(module)
        except Exception:
            pass  # a pyplot of another make: what is open at the end is saved all the same

    loader.exec_module = exec_module


def _adapt(pyplot: Any) -> None:
    figure_class = pyplot.Figure
    original_savefig = figure_class.savefig

    @functools.wraps(pyplot.show)
    def show(*_: object, block: bool | None = None, **__: object) -> None:
        if block is False:
            return  # who does not wait (pyplot.pause) goes on drawing
        for number in pyplot.get_fignums():
            try:
                save(pyplot.figure(number))
            finally:
                pyplot.close(number)

    def savefig(self: Any, fname: Any, **settings: Any) -> Any:
        made = original_savefig(self, fname, **settings)
        _note(self, fname, settings.get("format"))
        return made

    pyplot.show = show
    figure_class.savefig = _as_part_of(original_savefig, savefig)


def _as_part_of(original: Any, function: Any) -> Any:
    """``function`` as if it stood where ``original`` does: a warning of matplotlib's is said of the first frame that is not its own, by file or by module."""
    there = original.__code__
    code = function.__code__.replace(co_filename=there.co_filename, co_firstlineno=there.co_firstlineno)
    names = {**function.__globals__, "__name__": "matplotlib.figure"}
    return functools.update_wrapper(types.FunctionType(code, names, original.__name__, None, function.__closure__), original)


def _note(figure: Any, target: Any, kind: Any) -> None:
    """Remember that the program saved ``figure``, if that file will come back as an image."""
    try:
        path = os.path.realpath(str(target))  # a buffer's words are the name of no file
        if kind is None:
            kind = os.path.splitext(path)[1][1:]
            if kind == "":  # as savefig does
                kind, path = "png", f"{path}.png"
        if path.startswith(tree.WORK + "/") and str(kind).lower() in _SHOWN_FORMATS and os.path.exists(path):
            _saved[id(figure)] = (figure, path)
            figure.stale = False  # any change from now on makes it true again, through all of its parts
    except Exception:
        pass  # then it is saved once more


def _is_saved(figure: Any) -> bool:
    return id(figure) in _saved and not figure.stale and os.path.exists(_saved[id(figure)][1])


def is_figure(value: object) -> bool:
    """Whether ``value`` is a matplotlib figure, made by pyplot or without it."""
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, module.Figure)


def save(figure: Any) -> None:
    """Save one figure as the next plot-N.png, unless there is a file of it already or nothing on it. Raises what drawing raises."""
    if _is_saved(figure) or len(figure.get_children()) < 2:  # the background is one
        return
    # The figure's canvas may be of any backend; Agg draws every figure.
    agg_backend: Any = importlib.import_module("matplotlib.backends.backend_agg")
    inches = max(*figure.get_size_inches(), 1e-9)
    dpi = figure.dpi
    canvas = figure.canvas
    file, path = create("plot", "png")
    try:
        # In the program's own filters, but said of the file: no line of the program's is to blame for what is drawn now.
        with file, warnings.catch_warnings(record=True) as told:
            figure.dpi = min(dpi, _SIDE_MAX_PIXELS / inches)
            agg = agg_backend.FigureCanvasAgg(figure)
            agg.draw()
            box = figure.get_tightbbox(agg.get_renderer()).padded(_MARGIN_INCHES)
            # What lies far outside (a text at wrong coordinates) would make an image as large as the way there.
            tight = max(box.width, box.height) < 2 * inches
            agg.print_figure(file, format="png", dpi=figure.dpi, bbox_inches=box if tight else None)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        figure.dpi = dpi
        figure.set_canvas(canvas)
    _saved[id(figure)] = (figure, path)
    figure.stale = False
    for words in dict.fromkeys(str(warning.message) for warning in told[:_WARNINGS_MAX]):
        print(f"{os.path.basename(path)}: {words[:_WHY_MAX_CHARS]}", file=sys.stderr)


def finish() -> None:
    """At the end of the program, or of a step of a session: save what is still open, and close it. Never raises."""
    try:
        pyplot: Any = sys.modules.get(_PYPLOT)
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            try:
                save(pyplot.figure(number))
            except BaseException as error:
                why = " ".join(str(error).split())
                print(f"figure {number} could not be saved: {type(error).__name__}: {why[:_WHY_MAX_CHARS]}", file=sys.stderr)
        pyplot.close("all")
    except BaseException:
        pass  # the program broke matplotlib; what it ended as stands
    finally:
        _saved.clear()


def create(stem: str, extension: str) -> tuple[Any, str]:
    """Open ``stem-N.extension`` in the working directory for writing bytes, with the first N that is free."""
    number = 1
    while True:
        path = f"{tree.WORK}/{stem}-{number}.{extension}"
        try:
            return open(path, "xb"), path
        except FileExistsError:
            number += 1
