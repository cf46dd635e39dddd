"""A large book is read while the window already shows the picture."""
import gc
import os
import resource
import shutil
import signal
import threading
import time
import types

import numpy as np
import pytest

import doorcam
from files import file_with
from helpers import START, person, turns
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


def wait_and_read(line, path):
    """The process that reads the file, if the disk is slow."""
    wait_for(lambda: os.path.exists(path + ".gate"), 30, "the gate is opened")
    doorcam.read_in_child(line, path)


class SlowDisk:
    """A House with a file that is not read before read_on()."""

    def __init__(self, monkeypatch, path, *options):
        self.gate, self.recognition = str(path) + ".gate", NoRecognition()
        monkeypatch.setattr(doorcam, "read_in_child", wait_and_read)
        monkeypatch.setattr(doorcam, "READ_HOLD", 0.0001)  # one step for each frame
        monkeypatch.setattr(doorcam, "Recognizer", lambda *_, **__: self.recognition)
        options = doorcam.make_parser().parse_args(
            ["--headless", "--source", "rtsp://127.0.0.1:1/", "--faces", str(path)] + list(options))
        self.watch, self.now = doorcam.House(options, types.SimpleNamespace(asked=False)), START

    def show(self, frames=3):
        """The main loop on so many frames."""
        self.watch.watch_the_door(turns(self.watch, [(FRAME, self.now + index) for index in range(frames)]))
        self.now += frames

    def read_on(self):
        with open(self.gate, "w"):
            pass
        while self.watch.loading:
            self.show(1)
            time.sleep(0.01)


@pytest.fixture
def path(tmp_path):
    return shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))


def example_visitors():
    with open(EXAMPLE, "rb") as file:
        return doorcam.read_known_faces(file.read())[0]


def content(path):
    with open(path, "rb") as file:
        return file.read()


def test_frames_are_shown_and_nobody_is_looked_for_before_the_book_is_there(monkeypatch, path):
    disk = SlowDisk(monkeypatch, path)
    disk.show()
    assert disk.watch.doors[0].frame is FRAME and not disk.recognition.looks and len(disk.watch.book) == 0
    disk.read_on()
    disk.show()
    assert len(disk.watch.book) == 2 and disk.watch.doors[0].greeter.book is disk.watch.book
    assert len(disk.recognition.looks) >= 1


def test_the_demo_that_begins_anew_with_its_book_leaves_nothing_behind(monkeypatch, path):
    disk = SlowDisk(monkeypatch, path)
    disk.read_on()
    before = len(disk.watch.book.followers)
    for _ in range(3):
        disk.watch.begin(disk.watch.book)
    assert len(disk.watch.book.followers) == before > 0


def test_who_quits_before_the_book_is_there_loses_nothing(monkeypatch, path):
    before, disk = content(path), SlowDisk(monkeypatch, path)
    disk.show(50)  # long enough for a save that is due
    disk.watch.finish_visits()
    disk.watch.close()
    assert content(path) == before and not disk.watch.loading.gi_frame  # nobody reads it any more


def test_who_is_to_be_forgotten_is_forgotten_as_soon_as_the_book_is_there(monkeypatch, path):
    disk = SlowDisk(monkeypatch, path, "--forget-after", "1")
    before = example_visitors()
    disk.now = max(visitor.last_seen for visitor in before) + 10 * 86400
    disk.show()
    disk.read_on()
    disk.show()
    assert sorted(disk.watch.book.visitors) == [visitor.number for visitor in before if visitor.name]


def test_a_file_that_may_not_be_read_ends_the_watch(monkeypatch, tmp_path):
    path = tmp_path / "known_faces.dat"
    path.mkdir()
    disk = SlowDisk(monkeypatch, path)
    disk.show()
    with pytest.raises(doorcam.DoorcamError, match="is no file"):
        disk.read_on()


def test_no_frame_waits_for_a_large_book(monkeypatch, tmp_path):
    """It comes in parts, each between two frames, and no thread takes turns with the main loop."""
    path, count = str(tmp_path / "known_faces.dat"), 4 * doorcam.READ_PART + 1
    visitors = [doorcam.Visitor(number, [np.float32(person(number % 100))], START, "dlib")
                for number in range(1, count + 1)]
    doorcam.save_known_faces(path, doorcam.Book(doorcam.DLIB, visitors).snapshot())
    taken, add, threads = [], doorcam.Book.add, threading.active_count()

    def note_and_add(book, some):
        taken.extend((disk.now, len(some)) for _ in some[:1])
        add(book, some)
    monkeypatch.setattr(doorcam.Book, "add", note_and_add)
    disk = SlowDisk(monkeypatch, path)
    assert threading.active_count() == threads
    disk.read_on()
    assert [size for _, size in taken] == [doorcam.READ_PART] * 4 + [1] and len({now for now, _ in taken}) == 5
    assert sorted(disk.watch.book.visitors) == list(range(1, count + 1))


@pytest.mark.parametrize("live", (True, False))
def test_nothing_waits_between_two_frames_for_a_process_that_only_starts(monkeypatch, path, live):
    """Before it says anything, a frame lets it be asked once, without waiting; a recording waits for it."""
    asked, visitors = [], [doorcam.Visitor(1, [np.float32(person(1))], START, "dlib")]
    answers = [None] * 3 * live + [(visitors, None), None, ((1, []), None)]

    class Process:
        def __init__(self, *_):
            pass

        def answer(self, seconds):
            asked.append(seconds)
            return answers.pop(0)

        def ask(self, *_):
            pass
        close = ask
    monkeypatch.setattr(doorcam, "Child", Process)
    disk = SlowDisk(monkeypatch, path)
    monkeypatch.setattr(doorcam, "READ_HOLD", 60.0)
    disk.watch.sync, disk.watch.loading = not live, doorcam.load_in_steps(path, doorcam.DLIB, live)
    next(disk.watch.loading)  # as House does
    for count in (1, 2, 3) if live else ():
        disk.watch.take_book()
        assert asked == [0] * count and disk.watch.loading
    disk.watch.take_book()
    assert asked[3 * live:] == [0 if live else doorcam.READ_PATIENCE] + 2 * [20.0 if live else doorcam.READ_PATIENCE]
    assert disk.watch.loading is None and list(disk.watch.book.visitors) == [1]


def test_after_a_while_the_window_says_what_it_waits_for(monkeypatch, path):
    disk, now = SlowDisk(monkeypatch, path), doorcam.time.monotonic()
    assert disk.watch.notice() is None
    monkeypatch.setattr(doorcam.time, "monotonic", lambda: now + 5)
    assert "known faces" in disk.watch.notice()


def with_little_memory(line, path, megabytes=50):
    """The process that reads the file, where the system has no more memory for it."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (megabytes << 20), resource.RLIM_INFINITY))
    doorcam.read_in_child(line, path)


def with_less_memory(line, path):
    """The same, where there is not even enough to have a look at it."""
    with_little_memory(line, path, 20)


def killed(line, path):
    """The process that reads the file, where the system takes it for the one to be killed for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("work, words", ((with_little_memory, "too little memory"),
                                         (with_less_memory, "too little memory"), (killed, "killed by signal 9")))
def test_want_of_memory_is_no_damage(monkeypatch, tmp_path, work, words):
    path = str(tmp_path / "known_faces.dat")
    with open(path, "wb") as file:
        file.write(file_with(notes="x" * (30 << 20)))
    monkeypatch.setattr(doorcam, "read_in_child", work)
    before = content(path)
    with pytest.raises(doorcam.DoorcamError, match=words):
        doorcam.load_known_faces(path, doorcam.DLIB)
    assert doorcam.main(["--faces", path, "list"]) == 1
    assert content(path) == before and os.listdir(str(tmp_path)) == ["known_faces.dat"]


def test_the_bounds_are_taken_away_again():
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU)
    before = [resource.getrlimit(kind) for kind in kinds]
    with pytest.raises(ValueError), doorcam.bounded(1000):
        assert 0 < resource.getrlimit(resource.RLIMIT_AS)[0] < 100 << 30
        assert 0 < resource.getrlimit(resource.RLIMIT_CPU)[0] < 10000
        bytearray(1 << 40)
    assert [resource.getrlimit(kind) for kind in kinds] == before


class Told(list):
    """Stands for the way to systemd: notes whether doorcam works, and the status."""
    wanted = True

    def tell(self, status, works):
        self.append((works, status))

    def news(self):
        news, self[:] = list(self), []
        return news


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="Python 3.6 has no gc.freeze()")
def test_a_book_that_is_read_is_not_looked_through_for_garbage(monkeypatch, path):
    """With 10,000 visitors that would hold up the picture for 60 ms and more, again and again."""
    disk = SlowDisk(monkeypatch, path)
    try:
        gc.unfreeze()
        disk.read_on()
        disk.show(2)
        kept = {id(one) for one in gc.get_objects()}
        assert disk.watch.book.visitors and gc.get_freeze_count() > 0
        assert not [one for one in disk.watch.book.visitors.values() if id(one) in kept]
    finally:
        gc.unfreeze()


def test_systemd_is_told_that_doorcam_works_only_if_recognition_does(monkeypatch, path):
    disk = SlowDisk(monkeypatch, path)
    told = disk.watch.notify = Told()
    disk.show(2)
    assert not any(works for works, _ in told.news())  # the book is being read
    disk.read_on()
    disk.show(2)
    assert told.news()[-1] == (True, "Visitors known: 2")
    disk.recognition.idle = lambda: False  # busy, and no answer comes
    disk.show(3)
    assert told.news() == [(False, "Visitors known: 2")] * 3
    disk.recognition.answers += 1
    disk.show(2)
    assert told.news() == [(True, "Visitors known: 2"), (False, "Visitors known: 2")]
    disk.recognition.notice = lambda: "Recognition is down since 7s, trying again"
    disk.show(1)
    assert told.news() == [(False, "Recognition is down since 7s, trying again")]


def test_systemd_is_told_that_a_camera_is_waited_for(monkeypatch, path):
    disk = SlowDisk(monkeypatch, path)
    told = disk.watch.notify = Told()
    disk.read_on()
    told.news()
    disk.watch.doors[0].camera = types.SimpleNamespace(
        silent=lambda: 12.0, lost=lambda: 12.0, failed=lambda: None, source=doorcam.parse_source("rtsp://user:secret@127.0.0.1/stream"))
    disk.watch.watch_the_door([([], disk.now)] * 2)
    assert told.news() == [(True, "No picture from rtsp://***@127.0.0.1/stream")] * 2
    disk.watch.doors[0].frame = None    # it has been black from the beginning
    disk.watch.watch_the_door([([], disk.now)])
    assert told.news()[-1][0]
    disk.watch.doors[0].camera.lost = lambda: 0.0       # nothing has come yet
    disk.watch.watch_the_door([([], disk.now)])
    assert not told.news()[-1][0]
    disk.watch.doors[0].camera.failed = lambda: doorcam.DoorcamError("camera 0 cannot be opened")
    disk.watch.watch_the_door([([], disk.now)])
    assert told.news()[-1][0]


def test_who_is_there_is_asked_for_now_and_not_when_the_last_picture_came(monkeypatch, path):
    disk = SlowDisk(monkeypatch, path)
    disk.read_on()
    visitor = disk.watch.book[1]
    disk.watch.visits.see(visitor, disk.now, disk.now)
    for seconds, there in ((1.0, [1]), (60.0, [])):
        disk.watch.watch_the_door([([], disk.now + seconds)])
        assert list(disk.watch.do(doorcam.Request("there"))) == there
