"""Which tests are quick (pytest -m quick): those that need no window, no server, no second process, no dlib and no
package of the system.

Nobody marks them. A test is quick unless it, a fixture of its or a helper that they call names one of NEEDED; a test
that comes to a process or a server all the same fails and says so.
"""
import inspect
import os
import sys
import types

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
# names of Python's, and of what in doorcam starts processes or loads dlib
NEEDED = {"subprocess", "multiprocessing", "fork", "execv", "socket", "serve_forever", "tool",
          "Recognizer", "Child", "VisitCommand", "Mqtt", "CommandSocket", "PipelineCapture", "DlibEngine",
          "Web", "dlib_uses_cuda",
          "load_known_faces", "read_book", "House", "main"}  # which read a file in a process of its own
HELD = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "socket.connect", "socket.bind"}  # audit events
HARMLESS = ("fc-match",)      # doorcam asks for fonts with it, and does without where it is missing


def names_in(code):
    """All names that a code object uses, those of the functions in it included."""
    inner = [names_in(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return set(code.co_names).union(*inner)


def is_ours(thing):
    """Whether a function, a class or a module is one of the tests'."""
    module = thing if inspect.ismodule(thing) else sys.modules.get(getattr(thing, "__module__", None) or "")
    return os.path.dirname(getattr(module, "__file__", None) or "") == HERE


def parts_of(thing):
    """The functions of a class and of those that it comes from; else the function itself."""
    if not inspect.isclass(thing):
        return [thing]
    return [part for one in thing.__mro__ if is_ours(one) for part in vars(one).values() if inspect.isfunction(part)]


def needs_more(function, seen):
    """Whether a function, or one of the tests' own that it calls, names one of NEEDED."""
    function = inspect.unwrap(function)
    if function in seen or not hasattr(function, "__code__"):
        return False
    seen.add(function)
    names = names_in(function.__code__)
    if names & NEEDED:
        return True
    found = [function.__globals__.get(name) for name in names]
    modules = [one for one in found if inspect.ismodule(one) and is_ours(one)]
    found += [getattr(module, name, None) for module in modules for name in names]
    called = [one for one in found if callable(one) and is_ours(one)]
    return any(needs_more(part, seen) for one in called for part in parts_of(one))


def is_quick(item):
    """Whether a test that pytest has collected is quick."""
    fixtures = [fixture.func for several in item._fixtureinfo.name2fixturedefs.values() for fixture in several]
    params = item.callspec.params.values() if hasattr(item, "callspec") else []
    seen, dlib = set(), any(isinstance(one, str) and one == "dlib" for one in params)
    return not dlib and not any(needs_more(one, seen) for one in [item.function] + fixtures)


class Guard:
    """Fails a quick test that starts a process, uses the network or loads dlib (from Python 3.8 on, which can tell)."""

    def __init__(self):
        self.on = False
        if hasattr(sys, "addaudithook"):
            sys.addaudithook(self._look)

    def _look(self, event, arguments):
        if not self.on:
            return
        if event in HELD and arguments[0] not in HARMLESS or event == "import" and arguments[0] == "dlib":
            pytest.fail("a quick test came to %s (%s): what it calls must be named in NEEDED of tests/quick.py"
                        % (event, arguments[0]))
