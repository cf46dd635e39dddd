"""Hostile and damaged files of known faces: nothing in them runs, nothing grows, nothing hangs, nothing is overwritten.

DOORCAM_FUZZ_INPUTS and DOORCAM_FUZZ_SEED make the fuzz test as long and as different as wanted.
"""
import json
import os
import subprocess
import sys
import time

import cv2
import pytest

import doorcam
import files
import hostile
from processes import environment

FUZZ_INPUTS = int(os.environ.get("DOORCAM_FUZZ_INPUTS", "3000"))
FUZZ_SEED = int(os.environ.get("DOORCAM_FUZZ_SEED", "1"))
LEFT_OUT = {"list in itself", "laughs", "laughs of three levels", "laughs with POP", "laughs as an encoding",
            "structured array", "text array", "date array", "JPEG of 65535 x 65535", "JPEG of 2049 x 1",
            "JPEG of 0 x 0", "JPEG of 5,000 scans", "PNG for a JPEG", "picture of no bytes",
            "picture that is too many bytes", "picture made of numbers", "name of ten million letters"}
LOADED = {"one large picture in many records", "one JPEG in many records"}  # with as many of them as the file is large
TITLES = list(hostile.make_cases())
ENDING = {"deeper tuple as a key": hostile.program(b"})" + b"\x85" * 2000000 + b"Ns"),  # which overflows the stack
          "keys with one hash, and many": hostile.program(b"}(" + b"".join(  # which takes hours
              b"\x8a\x0b" + (i * (2 ** 61 - 1)).to_bytes(11, "little") + b"N" for i in range(1, 200000)) + b"u")}


def run_hostile(folder, seconds, *arguments):
    """Runs hostile.py in an empty folder; its lines of JSON, and that the folder is still empty."""
    done = subprocess.run([sys.executable, hostile.__file__] + list(map(str, arguments)), cwd=str(folder),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds,
                          universal_newlines=True, env=environment())
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    assert os.listdir(str(folder)) == []
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{title: what became of the hostile file}"""
    lines = run_hostile(tmp_path_factory.mktemp("hostile"), 240, "cases")
    return {line["case"]: line for line in lines if "case" in line}


@pytest.mark.parametrize("title", TITLES)
def test_a_hostile_file_does_nothing(results, title):
    result = results[title]
    expected = "left out" if title in LEFT_OUT else "loaded" if title in LOADED else "refused"
    assert result["outcome"] in ((expected, "ended") if expected == "refused" else (expected,))
    assert result["mb"] < 100 + 8 * result["bytes"] / 1e6


def test_the_cases_are_hostile(tmp_path):
    """Plain pickle obeys them: else the cases above would prove nothing."""
    cases = hostile.make_cases()
    for title in ("os.system", "posix.system", "eval", "exec of Python 2", "getattr", "by the library", "nested",
                  "hidden in a good file", "pickle in pickle", "subprocess", "INST", "object array"):
        folder = tmp_path / title
        folder.mkdir()
        (folder / "hostile.dat").write_bytes(cases[title])
        program = "import pickle; print(list(pickle.load(open('hostile.dat', 'rb')) or []))"
        subprocess.run([sys.executable, "-c", program], cwd=str(folder), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        deadline = time.monotonic() + 20  # Popen's touch takes its time
        while not (folder / hostile.MARKER).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (folder / hostile.MARKER).exists(), title


def test_the_guard_notices_code(tmp_path):
    program = ("import sys; sys.path.insert(0, %r)\nimport hostile, os\nguard = hostile.Guard()\nguard.on = True\n"
               "try:\n    os.system('true')\nexcept hostile.CodeRan:\n    print('noticed')" % os.path.dirname(__file__))
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=60,
                          universal_newlines=True)
    assert done.stdout.strip() == ("noticed" if hasattr(sys, "addaudithook") else "")


def test_mutated_files_do_nothing(tmp_path, capsys):
    figures = run_hostile(tmp_path, 60 + FUZZ_INPUTS // 20, "fuzz", FUZZ_INPUTS, FUZZ_SEED)[-1]
    with capsys.disabled():
        print("\nfuzz: %s" % json.dumps(figures))
    assert figures["inputs"] == FUZZ_INPUTS
    assert set(figures["outcomes"]) - {"ended"} == {"refused", "left out", "loaded"}  # they reach all that can happen
    assert figures["memory_mb"] < 100


@pytest.mark.parametrize("title", ("os.system", "laughs", "BYTEARRAY8 of 2 ** 40", "JPEG of 65535 x 65535",
                                   "memo entries", "brackets", "deep tuple as a key", "deeper tuple as a key",
                                   "keys with one hash, and many"))
def test_a_hostile_file_is_kept_as_it_was(tmp_path, capfd, title):
    path, data = tmp_path / "known_faces.dat", dict(hostile.make_cases(), **ENDING)[title]
    path.write_bytes(data)
    assert len(doorcam.load_known_faces(str(path), doorcam.DLIB)) == 0
    kept = [other for other in tmp_path.iterdir() if ".damaged-" in other.name]
    assert len(kept) == 1 and kept[0].read_bytes() == data
    assert path.exists() == (title in LEFT_OUT)  # a file of which nothing but records is bad stays, and has a copy
    lines = capfd.readouterr().err.splitlines()
    assert kept[0].name in lines[-1] and len(lines) == (2 if title in LEFT_OUT else 1)


@pytest.mark.parametrize("title", ("deeper tuple as a key", "keys with one hash, and many"))
def test_a_command_leaves_a_file_that_ends_its_reader(tmp_path, capfd, title):
    path = tmp_path / "known_faces.dat"
    path.write_bytes(ENDING[title])
    assert doorcam.main(["--faces", str(path), "forget", "1"]) == 1
    assert len(capfd.readouterr().err.splitlines()) == 1 and path.read_bytes() == ENDING[title]


@pytest.mark.parametrize("words", ("\x1b]0;owned\x07\x1b[2J\r\n\b", "\u202egnp.exe", "\ud800", "a\u2028b", "\0",
                                   "=1+1", "<script>", "'\";$(id)", "\U0001f469\u200d\U0001f680" * 5, "x" * 10000))
def test_texts_of_a_foreign_file_are_harmless(tmp_path, capsys, words):
    """Names, and whatever of the file's may get into a message."""
    path = tmp_path / "known_faces.dat"
    path.write_bytes(files.file_with(name=words, seen_count=1))
    assert doorcam.main(["--faces", str(path), "list"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3 and err == ""
    assert harmless(out) and max(map(len, out.splitlines())) < 250
    path.write_bytes(hostile.program(hostile.call(hostile.name(words.replace("\n", " ").replace("\ud800", "?"), "x"))))
    assert doorcam.main(["--faces", str(path), "list"]) == 1
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1 and harmless(err) and len(err) < 1000


def harmless(text):
    """Whether a terminal shows the text and does not obey it; the two joiners belong to Persian words and to emoji."""
    return all(char.isprintable() or char in "\n\u200c\u200d" for char in text)


@pytest.mark.parametrize("data, size", (
    (b"", (0, 0)), (b"\xff\xd8", (0, 0)), (b"\xff\xd8\xff\xda" + b"\0" * 20, (0, 0)),
    (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x20\x03", (32, 16)),
    (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc2\x00\x11\x08\x00\x10\x00\x20\x03", (32, 16)),
    (b"\xff\xd8\xff\xe0\x00\x00" * 3, (0, 0)), (b"\xff\xd8\xff\xe0\xff\xff" + b"\xff" * 50, (0, 0)),
    (b"\xff\xd8garbage" + b"\xff\xc0\x00\x11\x08\x00\x10\x00\x20\x03", (0, 0)),
    (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x00\x00\x20\x03", (0, 0))))
def test_the_size_in_a_jpeg(data, size):
    assert doorcam.jpeg_size(data) == size


def test_the_size_in_real_jpegs():
    for width, height in ((150, 150), (1, 1), (2048, 3), (640, 480)):
        picture = files.smooth_picture(0, height, width)
        for flags in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]):
            jpeg = cv2.imencode(".jpg", picture, flags)[1].tobytes()
            assert doorcam.jpeg_size(jpeg) == (width, height) and doorcam.jpeg_fits(jpeg)
