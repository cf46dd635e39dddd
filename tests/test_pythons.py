"""doorcam.py as a process under each Python that a supported machine has, in an environment made from requirements.txt,
and its second engine under each OpenCV that it makes a difference for, without dlib.

dlib comes as the prebuilt dlib-bin here: it installs in seconds, where dlib itself is compiled for ten minutes.
"""
import concurrent.futures
import csv
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

import doorcam
from processes import ROOT, environment, one_line, run_doorcam, visit_frames, write_clip

VERSIONS = ("3.6", "3.8", "3.10", "3.12", "3.13")  # JetPack 4, 5, 6 and 7, and the newest tried
AT_ONCE = 2                   # environments made and tried
INSTALL_LIMIT, RUN_LIMIT = 600, 180  # s
OLD_TOOLS = {"3.6": ["pip==21.3.1", "setuptools==59.6.0"]}  # the pip that comes with it takes no newer wheels
DEPENDENCIES = ["face_recognition_models>=0.3.0", "Click>=6.0"]  # face_recognition's, but for dlib and those listed

READ_PLAINLY = """
import pickle, sys
import cv2, numpy
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        encodings, metadata = pickle.load(file)
    assert len(encodings) == len(metadata) == 1, len(encodings)
    assert encodings[0].shape == (128,) and numpy.isfinite(encodings[0]).all()
    assert metadata[0]["face_image"].shape == (150, 150, 3) and metadata[0]["seen_count"] == 1
print("Python", sys.version.split()[0], "numpy", numpy.__version__, "OpenCV", cv2.__version__)
"""


def call(*arguments, limit=INSTALL_LIMIT):
    """Runs a program; its output as text. AssertionError with what it said if it fails."""
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=limit)
    assert done.returncode == 0, "%s: status %d\n%s" % (" ".join(arguments), done.returncode, done.stdout[-3000:])
    return done.stdout


def can_make_environments(python, version):
    """Whether it is that Python (a shim of pyenv may start none) and has what `-m venv` needs."""
    question = "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
    return subprocess.run([python, "-c", question, version], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=60).returncode == 0


def find_pythons():
    """{version: path} of the interpreters found; if there is none of VERSIONS, that of the tests."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = {}
    for version in VERSIONS:
        paths = sorted(glob.glob(os.path.join(pyenv, "versions", version + ".*", "bin", "python" + version)))
        for path in paths + [shutil.which("python" + version)]:
            if path and version not in found and can_make_environments(path, version):
                found[version] = path
    return found or {"%d.%d" % sys.version_info[:2]: sys.executable}


def requirements():
    """The lines of requirements.txt: (face_recognition, the others, with dlib-bin for dlib)."""
    with open(os.path.join(ROOT, "requirements.txt")) as file:
        lines = [re.sub(r"^dlib\b", "dlib-bin", line.split("#")[0].strip()) for line in file]
    own = [line for line in lines if line.startswith("face_recognition")]
    return own, [line for line in lines if line and line not in own]


PIP = ("-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile")


def kept_folder(name, make, *what):
    """A folder that make(folder, *what) has filled, kept in the folder for temporary files for the next run."""
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:12]
    parent = os.path.join(tempfile.gettempdir(), "doorcam-tests-%d" % os.getuid())
    os.makedirs(parent, mode=0o700, exist_ok=True)
    assert os.stat(parent).st_uid == os.getuid(), parent
    folder = os.path.join(parent, "%s-%s" % (name, key))
    complete = os.path.join(folder, "complete")
    if not os.path.exists(complete):
        shutil.rmtree(folder, ignore_errors=True)
        make(folder, *what)
        open(complete, "w").close()
    return folder


def make_environment(folder, python, *installs):
    """An environment in which pip installed each of the lists."""
    call(python, "-m", "venv", folder)
    for packages in installs:
        call(os.path.join(folder, "bin", "python"), *PIP + tuple(packages))


def make_opencv(folder, python, wanted):
    """OpenCV alone, to be put before that of the tests' own environment."""
    call(python, *PIP + ("--no-deps", "--target", folder, "opencv-python" + wanted))


def environment_for(version, python):
    """The python of an environment with what doorcam needs."""
    own, others = requirements()
    tools = [OLD_TOOLS[version]] if version in OLD_TOOLS else []
    folder = kept_folder("python" + version, make_environment, python, *tools + [
        others + DEPENDENCIES, ["--no-deps"] + own])  # face_recognition would have dlib compiled
    return os.path.join(folder, "bin", "python")


def watch_recording(python, recording, folder):
    """Has doorcam watch the recording with an empty book; the path of its file of known faces."""
    folder.mkdir()
    status, out, err = run_doorcam("--headless", "--source", recording, "--log", "log.csv", folder=folder,
                                   seconds=RUN_LIMIT, python=python)
    assert status == 0, (python, out, err)
    assert events_of(folder) == [("new", "1", "1"), ("left", "1", "1")], (python, out, err)
    return str(folder / doorcam.DEFAULT_FACES)


def test_every_python_found_runs_doorcam_and_reads_the_files_of_all(tmp_path, capsys):
    pythons = find_pythons()
    recording = write_clip(tmp_path / "visit.avi", visit_frames(20))

    def watch(version):
        python = environment_for(version, pythons[version])
        return python, watch_recording(python, recording, tmp_path / version)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        watched = list(pool.map(watch, pythons))
    files = [path for _, path in watched]
    ran = [call(python, "-c", READ_PLAINLY, *files, limit=RUN_LIMIT).strip() for python, _ in watched]
    with capsys.disabled():
        print("\ndoorcam ran under, and every file was read plainly by:\n  " + "\n  ".join(ran))
    assert len(ran) == len(pythons) > 0


def test_uv_shows_the_demo_from_nothing(tmp_path):
    """With the packages that doorcam.py itself names, among them only one OpenCV: the one that has windows."""
    from uv import find_uv_bin
    for name in ("doorcam.py", doorcam.EXAMPLE):
        shutil.copy(os.path.join(ROOT, name), str(tmp_path / name))
    env = environment(HOME=str(tmp_path / "home"), UV_CACHE_DIR=str(tmp_path / "cache"), UV_PYTHON_DOWNLOADS="never",
                      VIRTUAL_ENV=None)
    status, out, err = run_doorcam("run", "doorcam.py", "--source", "demo", "--headless", folder=tmp_path,
                                   python=find_uv_bin(), program=(), env=env, seconds=INSTALL_LIMIT)
    assert status == 0, err
    assert re.search(r"^engine: OpenCV .* %s" % re.escape(str(tmp_path / "cache")), out, re.M)
    assert "visitor 1 is new" in out and "visitor 1 returned (visit 2)" in out
    packages = tmp_path.glob("cache/environments-*/*/lib/python*/site-packages/opencv*")
    assert {path.name.split("-")[0] for path in packages} == {"opencv_python", "opencv_python.libs"}


# ------------------------------------------------------------------------------------------ versions of OpenCV

DEMO_EVENTS = [("new", "1", "1"), ("new", "2", "1"), ("left", "1", "1"), ("returned", "1", "2"), ("left", "2", "1"),
               ("left", "1", "2")]
ABSENT = ("dlib", "face_recognition", "face_recognition_models")


def with_opencv(wanted):
    """The folder with that OpenCV; None for that of the tests."""
    if wanted is None:
        return None
    return kept_folder("opencv" + re.sub(r"[^0-9]+", "-", wanted).rstrip("-"), make_opencv, sys.executable, wanted)


def run_opencv(opencv, folder, clip, absent=ABSENT):
    """Has doorcam watch a recording with the second engine and the OpenCV in a folder, where some packages can't be
    imported; (status, out, err).

    To try it is noticed, too: it ends the program.
    """
    for name in absent:
        error = "SystemExit('%s was imported')" if name in ABSENT else "ModuleNotFoundError(\"No module named '%s'\")"
        (folder / (name + ".py")).write_text("raise " + error % name)
    models = os.path.dirname(doorcam.find_models()[0])
    return run_doorcam("--headless", "--engine", "opencv", "--models", models, "--source", clip, "--log", "log.csv",
                       "--visit-gap", "10", folder=folder, seconds=RUN_LIMIT,
                       env=environment(PYTHONPATH=os.pathsep.join([str(folder)] + ([opencv] if opencv else []))))


@pytest.mark.parametrize("wanted, version", [("==4.11.0.86", "4.11.0"), (">=4.12,<5", "4."), (">=5.0,<5.1", "5.0."),
                                             (None, None)])
def test_the_second_engine_under_each_opencv(tmp_path, demo_clip, wanted, version):
    """None: that of the tests."""
    status, out, err = run_opencv(with_opencv(wanted), tmp_path, demo_clip)
    assert (status, err) == (0, ""), out
    assert re.search("^engine: OpenCV " + re.escape(version or doorcam.cv2.__version__), out, re.M)
    assert events_of(tmp_path) == DEMO_EVENTS


def events_of(folder):
    with open(str(folder / "log.csv"), newline="") as file:
        return [(row["event"], row["visitor"], row["visit"]) for row in csv.DictReader(file)]


def test_the_second_engine_without_a_window_takes_no_more_than_numpy_and_opencv(tmp_path, demo_clip):
    """A text that nobody sees needs no font."""
    status, out, err = run_opencv(None, tmp_path, demo_clip, ABSENT + ("PIL",))
    assert (status, err) == (0, ""), out
    assert events_of(tmp_path) == DEMO_EVENTS


def test_an_opencv_that_cannot_read_the_quantized_models_is_named(tmp_path, demo_clip):
    status, out, err = run_opencv(with_opencv("==4.10.0.84"), tmp_path, demo_clip)
    assert (status, out) == (1, "")
    one_line(err, "takes OpenCV 4.11 or newer", "this is 4.10.0", "int8bq.onnx")
    assert not (tmp_path / doorcam.DEFAULT_FACES).exists()
