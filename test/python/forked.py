"""Run a function in a forked child and bring back what it returned: what a process does to itself can't be undone."""

import json
import os
import sys
import traceback


def forked(function):
    """The JSON value `function` returns in a child of this process. Raises AssertionError where the child fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            answer = {"value": function()}
            status = 0
        except BaseException:
            answer = {"failure": traceback.format_exc()}
        try:
            with os.fdopen(writing, "w", encoding="utf-8") as pipe:
                json.dump(answer, pipe)
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not text:
        raise AssertionError(f"the child ended without an answer, wait status {status:#x}")
    answer = json.loads(text)
    if "failure" in answer:
        raise AssertionError(answer["failure"])
    return answer["value"]
