"""The tests themselves: which of them are quick, what a missing tool looks like, and where they lie."""
import glob
import os
import re
import subprocess
import sys

import pytest

import doorcam
import processes
import quick
import test_camera
from processes import HERE

OTHER_SUBJECTS = {"benchmark", "pythons", "readme", "soak", "suite"}


def test_files_are_named_after_the_sections_of_doorcam():
    with open(doorcam.__file__, encoding="utf-8") as file:
        sections = {name.replace(" ", "_") for name in re.findall(r"^# -{60,} ([a-z ]+)$", file.read(), re.M)}
    assert {"camera", "known_faces", "command_line"} < sections
    for path in glob.glob(os.path.join(HERE, "test_*.py")):
        name = os.path.basename(path)[len("test_"):-len(".py")]
        assert name in OTHER_SUBJECTS or any((name + "_").startswith(section + "_") for section in sections), name


# ------------------------------------------------------------------------------------------------ which are quick


def starts_it_itself():
    subprocess.call("true")


def starts_it_in_a_function_within():
    def inner():
        return processes.run_doorcam("--help", folder=".")
    return inner()


@pytest.mark.parametrize("function", [
    starts_it_itself, starts_it_in_a_function_within, processes.run_doorcam, processes.xvfb, processes.fonts,
    processes.gstreamer, test_camera.HttpCamera.__init__])
def test_what_starts_a_process_or_a_server_is_not_quick(function):
    assert quick.needs_more(function, set())


@pytest.mark.parametrize("function", [processes.wait_for, processes.write_clip, processes.visit_frames, len])
def test_what_needs_nothing_is_quick(function):
    assert not quick.needs_more(function, set())


def test_this_test_is_quick_and_one_with_dlib_is_not(request):
    items = {item.name: item for item in request.session.items}
    assert items[request.node.name].get_closest_marker("quick")
    assert not any(item.get_closest_marker("quick") for item in items.values()
                   if "dlib_engine" in item.fixturenames or "test_faces.py" in item.nodeid and "[dlib" in item.name)


@pytest.mark.skipif(not hasattr(sys, "addaudithook"), reason="this Python cannot tell")
def test_a_quick_test_that_starts_a_process_all_the_same_fails():
    start = sys.modules["subprocess"].call  # not by its name, which would be found
    with pytest.raises(pytest.fail.Exception, match="NEEDED of tests/quick.py"):
        start(["true"])


# ------------------------------------------------------------------------------------------- what is missing here


@pytest.fixture
def no_tools(tmp_path, monkeypatch):
    """A system on which nothing is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processes, "SBIN", str(tmp_path))


@pytest.mark.parametrize("name", sorted(processes.PACKAGES))
def test_a_missing_tool_is_named_with_its_package(no_tools, name):
    with pytest.raises(AssertionError, match="^%s is missing: sudo apt-get install %s " % (
            name, processes.PACKAGES[name])):
        processes.tool(name)


@pytest.mark.parametrize("name, start", [("Xvfb", lambda: processes.xvfb().__enter__()), ("fc-list", processes.fonts),
                                         ("openbox", lambda: processes.process("openbox").__enter__())])
def test_what_starts_a_missing_tool_fails_at_once(no_tools, name, start):
    with pytest.raises(AssertionError, match="^%s is missing" % name):
        start()


def test_the_parts_of_gstreamer_that_are_missing_are_named():
    """An environment's own Python, to which Debian's packages are not known."""
    with pytest.raises(AssertionError, match="^part of GStreamer is missing: sudo apt-get install python3-opencv "):
        processes.gstreamer(sys.executable)


def test_all_packages_that_tests_ask_for_are_installed_by_the_test_command():
    with open(os.path.join(HERE, "packages.txt")) as file:
        installed = re.sub(r"#.*", "", file.read()).split()
    asked = list(processes.PACKAGES.values()) + list(processes.FONTS) + [name for name, _ in processes.GSTREAMER]
    for package in asked:
        assert any(package == one or one[0] == "^" and re.match(one, package) for one in installed), package
