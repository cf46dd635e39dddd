"""A large book is read while the window already shows the picture."""
import gc
import shutil
import threading
import types

import numpy as np
import pytest

import doorcam
from helpers import START
from processes import EXAMPLE, wait_for

FRAME = np.full((90, 160, 3), 120, np.uint8)


class NoRecognition:
    """Stands for the recognition process: notes the looks that it is asked for, and finds nobody."""
    description = "none"
    answers = 0

    def __init__(self):
        self.looks = []

    def idle(self):
        return True

    def offer(self, look):
        self.looks.append(look)

    def answer(self, wait=False):
        return None

    def notice(self):
        return None


class SlowDisk:
    """A Watch on a file that is not read before `gate` is open."""

    def __init__(self, monkeypatch, path, *options):
        self.gate, self.recognition, load = threading.Event(), NoRecognition(), doorcam.load_or_set_aside

        def wait_and_load(*arguments):
            assert self.gate.wait(30)
            return load(*arguments)
        monkeypatch.setattr(doorcam, "load_or_set_aside", wait_and_load)
        monkeypatch.setattr(doorcam, "Recognizer", lambda *_, **__: self.recognition)
        options = doorcam.make_parser().parse_args(
            ["--headless", "--source", "rtsp://127.0.0.1:1/", "--faces", str(path)] + list(options))
        self.watch, self.now = doorcam.Watch(options, types.SimpleNamespace(asked=False)), START

    def show(self, frames=3):
        """The main loop on so many frames."""
        self.watch.watch_the_door([(FRAME, self.now + index) for index in range(frames)])
        self.now += frames

    def read_on(self):
        self.gate.set()
        wait_for(lambda: not self.watch.loading.is_alive(), 30, "the file is read")


@pytest.fixture
def path(tmp_path):
    return shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))


def content(path):
    with open(path, "rb") as file:
        return file.read()


def test_frames_are_shown_and_nobody_is_looked_for_before_the_book_is_there(monkeypatch, path):
    disk = SlowDisk(monkeypatch, path)
    disk.show()
    assert disk.watch.shown is FRAME and not disk.recognition.looks and len(disk.watch.book) == 0
    disk.read_on()
    disk.show()
    assert len(disk.watch.book) == 2 and disk.watch.door.book is disk.watch.book
    assert len(disk.recognition.looks) >= 1


def test_who_quits_before_the_book_is_there_loses_nothing(monkeypatch, path):
    before, disk = content(path), SlowDisk(monkeypatch, path)
    disk.show(50)  # long enough for a save that is due
    disk.watch.finish_visits()
    disk.gate.set()
    assert content(path) == before


def test_who_is_to_be_forgotten_is_forgotten_as_soon_as_the_book_is_there(monkeypatch, path):
    disk = SlowDisk(monkeypatch, path, "--forget-after", "1")
    before = doorcam.load_known_faces(EXAMPLE, doorcam.DLIB).visitors.values()
    disk.now = max(visitor.last_seen for visitor in before) + 10 * 86400
    disk.show()
    disk.read_on()
    disk.show()
    left = doorcam.load_known_faces(EXAMPLE, doorcam.DLIB).visitors.values()
    assert sorted(disk.watch.book.visitors) == [visitor.number for visitor in left if visitor.name]


def test_a_file_that_may_not_be_read_ends_the_watch(monkeypatch, tmp_path):
    path = tmp_path / "known_faces.dat"
    path.mkdir()
    disk = SlowDisk(monkeypatch, path)
    disk.show()
    disk.read_on()
    with pytest.raises(doorcam.DoorcamError, match="is no file"):
        disk.show()


@pytest.mark.parametrize("readable", [True, False])
def test_garbage_is_looked_for_again_after_the_book_was_read(monkeypatch, tmp_path, path, readable):
    disk = SlowDisk(monkeypatch, path if readable else tmp_path)
    wait_for(lambda: not gc.isenabled(), 30, "the book is being read")
    disk.read_on()
    assert gc.isenabled()


def test_after_a_while_the_window_says_what_it_waits_for(monkeypatch, path):
    disk, now = SlowDisk(monkeypatch, path), doorcam.time.monotonic()
    assert disk.watch.loading.notice() is None
    monkeypatch.setattr(doorcam.time, "monotonic", lambda: now + 5)
    assert "known faces" in disk.watch.loading.notice()
    disk.gate.set()
