"""Which lines of the far side an input reaches, one after which, and how often by powers of two: sys.settrace(3), on any Python."""

import os
import sys

import frames

_SANDBOX = os.path.dirname(os.path.abspath(frames.__file__)) + os.sep


class Coverage:
    """What was reached by any input so far."""

    def __init__(self):
        self._seen = set()
        self._counts = {}

    def reaches_new(self, work):
        """Run ``work``; whether it reached what nothing before did. What it raises is passed on."""
        self._counts = {}
        sys.settrace(self._enter)
        try:
            work()
        finally:
            sys.settrace(None)
        # How often, by powers of two: a loop that runs longer than ever is new as well.
        found = {(step, min(8, count.bit_length())) for step, count in self._counts.items()}
        is_new = not found <= self._seen
        self._seen |= found
        return is_new

    def _enter(self, frame, _event, _argument):
        name = frame.f_code.co_filename
        if not name.startswith(_SANDBOX):
            return None
        last = 0

        def line(frame, event, _argument):
            nonlocal last
            if event == "line":
                step = (name, last, frame.f_lineno)
                self._counts[step] = self._counts.get(step, 0) + 1
                last = frame.f_lineno
            return line

        return line
