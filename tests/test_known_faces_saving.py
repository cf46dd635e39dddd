"""Saving: whole or not at all, whatever happens; the lock; files that are damaged or may not be touched.

DOORCAM_KILLS sets how often the crash test kills.
"""
import contextlib
import errno
import hashlib
import io
import json
import os
import pickle
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
import zlib

import pytest

import doorcam
import files
import hostile
from processes import environment, obey_permissions, one_line, run_doorcam, wait_for

KILLS = int(os.environ.get("DOORCAM_KILLS", "40"))
HERE = os.path.dirname(os.path.abspath(__file__))
ROOM = 256                    # kB of the small disk


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "known_faces.dat")


def numbers_in(path):
    with open(path, "rb") as file:
        visitors, _, problems = doorcam.read_known_faces(file.read())
    assert not problems
    return [visitor.number for visitor in visitors]


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def save(path, count=1):
    doorcam.save_known_faces(path, files.own_book(count).snapshot())


# --------------------------------------------------------------------------------------------------------- crashes


def test_killed_at_any_moment_the_file_is_whole(tmp_path, capsys):
    done = subprocess.run([sys.executable, os.path.join(HERE, "crash.py"), str(KILLS), "1"], cwd=str(tmp_path),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=60 + 2 * KILLS, env=environment())
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout)
    with capsys.disabled():
        print("\ncrash test: %s" % done.stdout.strip())
    assert figures["the last"] + figures["the one after"] == figures["kills"] == KILLS
    assert figures["in the middle"] > KILLS // 10  # the kills do hit saves


def test_the_way_of_the_original_would_fail_the_crash_test(path):
    """A file written in place and cut off is not whole: what the test above looks for can be seen."""
    save(path, 3)
    with open(path, "rb+") as file:
        file.truncate(os.path.getsize(path) // 2)
    with pytest.raises(ValueError):
        numbers_in(path)


# ---------------------------------------------------------------------------------------- a disk that fails, or is full


def fail(monkeypatch, function):
    """Has a function of os fail as a broken disk does; the calls that it gets."""
    calls = []

    def broken(*arguments):
        calls.append(arguments)
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    monkeypatch.setattr(doorcam.os, function, broken)
    return calls


@pytest.mark.parametrize("function", ("fsync", "rename", "fchmod", "open"))
@pytest.mark.parametrize("existing", (True, False))
def test_a_disk_that_fails_leaves_the_old_file(path, monkeypatch, function, existing):
    if existing:
        save(path, 1)
    elif function == "fchmod":
        return save(path)  # a new file needs none
    with monkeypatch.context() as patch:
        calls = fail(patch, function)
        with pytest.raises(OSError):
            save(path, 2)
        assert len(calls) == 1
    assert os.listdir(os.path.dirname(path)) == (["known_faces.dat"] if existing else [])
    assert not existing or numbers_in(path) == [1]
    save(path, 2)
    assert numbers_in(path) == [1, 2]


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    save(path, 1)

    def half(snapshot, file):
        file.write(b"half a file")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(doorcam, "dump_known_faces", half)
        with pytest.raises(OSError):
            save(path, 2)
    assert numbers_in(path) == [1] and os.listdir(os.path.dirname(path)) == ["known_faces.dat"]


@pytest.mark.parametrize("error", (errno.EINVAL, errno.ENOTSUP, errno.EIO))
def test_a_folder_that_cannot_be_flushed(path, monkeypatch, error):
    """Some network file systems cannot flush a folder, which is no failure; a broken disk is one."""
    flush = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(error, os.strerror(error))
        flush(descriptor)
    monkeypatch.setattr(doorcam.os, "fsync", fsync)
    with pytest.raises(OSError) if error == errno.EIO else contextlib.suppress():
        save(path, 2)
    assert numbers_in(path) == [1, 2]


def test_file_and_folder_are_flushed_in_order(path, monkeypatch):
    """Nothing can pull the plug in a test; so the calls that make a save survive that are looked at instead."""
    done = []
    flush, rename = os.fsync, os.rename

    def fsync(descriptor):
        done.append("flush of " + os.path.basename(os.readlink("/proc/self/fd/%d" % descriptor)))
        flush(descriptor)

    def renamed(old, new):
        done.append("rename to " + os.path.basename(new))
        rename(old, new)
    monkeypatch.setattr(doorcam.os, "fsync", fsync)
    monkeypatch.setattr(doorcam.os, "rename", renamed)
    save(path)
    assert done == ["flush of known_faces.dat.new", "rename to known_faces.dat",
                    "flush of " + os.path.basename(os.path.dirname(path))]


class SmallDisk:
    """A folder in which little room is left. A small tmpfs where mounting is permitted (root), else a limit on the size
    of a file, which makes the same call fail, with EFBIG instead of ENOSPC."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.mounted = subprocess.call(["mount", "-t", "tmpfs", "-o", "size=%dk" % ROOM, "tmpfs", self.folder],
                                       stderr=subprocess.DEVNULL) == 0
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self):
        if self.mounted:
            with contextlib.suppress(OSError), open(os.path.join(self.folder, "other"), "wb", buffering=0) as file:
                for _ in range(ROOM):
                    file.write(b"x" * 1024)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, self.limits[1]))

    def make_room(self):
        if self.mounted:
            os.unlink(os.path.join(self.folder, "other"))
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)

    def close(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)
        if self.mounted:
            subprocess.check_call(["umount", self.folder])


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    small = SmallDisk(folder)
    try:
        yield small
    finally:
        small.close()


def finish_save(saver):
    """Waits for the save that goes on, if one does."""
    thread = saver._thread
    if thread is not None:
        thread.join(30)
        assert not thread.is_alive()


def test_a_full_disk(disk, monkeypatch, capsys):
    monkeypatch.setattr(doorcam, "SAVE_RETRY", 0.0)
    path, book = os.path.join(disk.folder, "known_faces.dat"), files.own_book(1)
    doorcam.save_known_faces(path, book.snapshot())
    saver = doorcam.Saver(path, book)
    disk.fill()
    before = set(os.listdir(disk.folder))
    for moment in range(5):
        book.register_new_face(files.original_encoding(moment), moment, doorcam.to_jpeg(files.smooth_picture()))
        saver.save_when_due()
        finish_save(saver)
    assert numbers_in(path) == [1] and set(os.listdir(disk.folder)) == before
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "cannot be saved" in said[0] and "goes on and tries again" in said[0]
    disk.make_room()
    saver.save_when_due()
    finish_save(saver)
    assert numbers_in(path) == [1, 8, 9, 10, 11, 12] and os.listdir(disk.folder) == ["known_faces.dat"]
    assert capsys.readouterr().err.splitlines() == ["doorcam: %s is saved again" % path]


def test_a_disk_that_is_still_full_at_the_end(disk, capsys):
    path, book = os.path.join(disk.folder, "known_faces.dat"), files.own_book(20)
    disk.fill()
    book.changed.update(book.visitors)
    with pytest.raises(doorcam.DoorcamError) as caught:
        doorcam.Saver(path, book).close()
    assert "cannot be saved" in str(caught.value) and path in str(caught.value)
    assert not os.path.exists(path) and not os.path.exists(path + ".new")


# --------------------------------------------------------------------------------------------------------- the Saver


class SlowDisk:
    """Stands for save_known_faces: each save lasts until it is let go; `saved` has the snapshots."""

    def __init__(self, monkeypatch):
        self.saved, self.errors = [], []
        self._go_on = threading.Semaphore(0)
        monkeypatch.setattr(doorcam, "save_known_faces", self._save)

    def _save(self, path, snapshot):
        self.saved.append([record["number"] for record in snapshot[1]])
        assert self._go_on.acquire(timeout=30)
        if self.errors:
            raise self.errors.pop()

    def let_go(self, saver):
        self._go_on.release()
        finish_save(saver)


@pytest.fixture
def slow_disk(monkeypatch):
    return SlowDisk(monkeypatch)


def begun(slow_disk, count):
    wait_for(lambda: len(slow_disk.saved) == count, 30, "save %d begins" % count)


def test_what_changes_during_a_save_is_saved_at_its_time(path, slow_disk, monkeypatch):
    book, now = files.own_book(1), time.monotonic()
    saver = doorcam.Saver(path, book)
    book.changed.add(1)
    saver.save_when_due()
    begun(slow_disk, 1)
    book.register_new_face(files.original_encoding(5), 0)
    monkeypatch.setattr(doorcam.time, "monotonic", lambda: now + doorcam.SAVE_PERIOD + 1)
    saver.save_when_due()                   # in vain for now
    assert len(slow_disk.saved) == 1
    monkeypatch.undo()
    monkeypatch.setattr(doorcam, "save_known_faces", slow_disk._save)
    slow_disk.let_go(saver)
    saver.save_when_due()                   # long before its time
    assert len(slow_disk.saved) == 1
    monkeypatch.setattr(doorcam.time, "monotonic", lambda: now + doorcam.SAVE_PERIOD + 1)
    saver.save_when_due()
    monkeypatch.undo()
    begun(slow_disk, 2)
    slow_disk.let_go(saver)
    assert slow_disk.saved == [[1], [1, 8]]


def test_where_no_thread_can_be_had_the_book_is_saved_all_the_same(path, monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(threading.Thread, "start", refused)
    book = files.own_book(2)
    book.changed.add(1)
    saver = doorcam.Saver(path, book)
    asked = saver.save_soon()
    saver.save_when_due()
    assert numbers_in(path) == [1, 2] and saver.saved(asked) and not book.changed
    book.name(2, "Anna")
    saver.close()
    assert doorcam.load_known_faces(path, doorcam.DLIB).visitors[2].name == "Anna"


def test_a_failed_save_is_tried_again_in_a_while_and_at_the_end(path, slow_disk, capsys, monkeypatch):
    book = files.own_book(1)
    saver = doorcam.Saver(path, book)
    book.changed.add(1)
    saver.save_when_due()
    begun(slow_disk, 1)
    slow_disk.errors.append(OSError(errno.EIO, "Input/output error"))
    slow_disk.let_go(saver)
    saver.save_when_due()
    assert len(slow_disk.saved) == 1        # a broken disk is not asked again at once
    now = time.monotonic()
    monkeypatch.setattr(doorcam.time, "monotonic", lambda: now + doorcam.SAVE_RETRY + 1)
    saver.save_when_due()                   # nothing changed since, but what failed is not forgotten
    monkeypatch.undo()
    begun(slow_disk, 2)
    slow_disk.errors.append(OSError(errno.EIO, "Input/output error"))
    slow_disk.let_go(saver)
    slow_disk._go_on.release()
    monkeypatch.setattr(doorcam, "save_known_faces", slow_disk._save)
    saver.close()
    assert slow_disk.saved == [[1]] * 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "cannot be saved (Input/output error)" in said[0] and "saved again" in said[1]


def test_nothing_is_saved_when_nothing_changed(path, slow_disk):
    saver = doorcam.Saver(path, files.own_book(1))
    saver.save_when_due()
    saver.close()
    assert slow_disk.saved == []


def test_saved_at_least_every_ten_seconds_in_which_something_changed(path, slow_disk, monkeypatch):
    book, now = files.own_book(1), time.monotonic()
    monkeypatch.setattr(doorcam.time, "monotonic", lambda: now)
    saver, moments = doorcam.Saver(path, book), []
    for second in range(100):
        now += 1
        book.changed.add(1)
        before = len(slow_disk.saved)
        slow_disk._go_on.release()
        saver.save_when_due()
        finish_save(saver)
        if len(slow_disk.saved) > before:
            moments.append(second)
    assert moments[0] == 0 and set(later - earlier for earlier, later in zip(moments, moments[1:])) == {10}


# -------------------------------------------------------------------------------------------------------- the journal


class Running:
    """A book that is saved as by a doorcam that runs, with a clock of its own; killed: what another one then reads."""

    def __init__(self, path, monkeypatch, book=None):
        self.path, self.now = path, time.monotonic()
        self.book = book or files.own_book(2)
        self.saver = doorcam.Saver(path, self.book)
        monkeypatch.setattr(doorcam.time, "monotonic", lambda: self.now)
        self.written = 0
        self.save(1)

    def save(self, *numbers):
        """One save, after these have changed."""
        before = self._files()
        for number in numbers:
            self.book.visitors[number].seen_frames += 1
            self.book.changed.add(number)
        self.now += doorcam.SAVE_PERIOD
        self.saver.save_when_due()
        if self.saver._thread:
            self.saver._thread.join()
        self.written += sum(size - before.get(name, 0) for name, size in self._files().items())

    def _files(self):
        return {(name, os.stat(name).st_ino): os.path.getsize(name) for name in (self.path, self.path + ".journal")
                if os.path.exists(name)}

    def killed(self):
        return doorcam.load_known_faces(self.path, doorcam.DLIB)

    def frames(self):
        return {number: visitor.seen_frames for number, visitor in self.killed().visitors.items()}


@pytest.fixture
def running(path, monkeypatch):
    return Running(path, monkeypatch)


def test_what_is_in_the_journal_is_read(running):
    size = os.path.getsize(running.path)
    new = running.book.register_new_face(files.original_encoding(9), 2e9, doorcam.to_jpeg(files.smooth_picture()))
    running.save(1, 2)
    running.save(2)
    assert os.path.getsize(running.path) == size and mode_of(running.path + ".journal") == 0o600
    assert running.frames() == {1: 42, 2: 42, new.number: 0}
    assert running.killed().visitors[new.number].jpeg == new.jpeg and running.killed().numbers_given == 8
    assert doorcam.main(["--faces", running.path, "list"]) == 0
    running.saver.close()
    assert os.listdir(os.path.dirname(running.path)) == ["known_faces.dat"]
    assert running.frames() == {1: 42, 2: 42, new.number: 0}


def test_who_is_joined_with_another_is_gone_from_the_journal_too(running):
    running.save(2)
    running.book.merge(2, 1)
    running.save()
    assert os.path.exists(running.path + ".journal") and list(running.killed().visitors) == [1]


def test_who_is_forgotten_is_in_no_file(running):
    running.save(1, 2)
    jpeg = running.book.forget(2).jpeg
    running.save()
    assert os.listdir(os.path.dirname(running.path)) == ["known_faces.dat"] and list(running.killed().visitors) == [1]
    with open(running.path, "rb") as file:
        assert jpeg[-500:-100] not in file.read()


def test_a_command_takes_the_journal_into_the_file(running):
    running.save(2)
    assert doorcam.main(["--faces", running.path, "name", "1", "Anna"]) == 0
    assert not os.path.exists(running.path + ".journal") and running.frames() == {1: 41, 2: 41}


def test_a_journal_that_is_cut_or_spoilt_counts_as_far_as_it_is_whole(running, capsys):
    for _ in range(3):
        running.save(1)
    with open(running.path + ".journal", "rb") as file:
        whole = file.read()
    seen = set()
    for place in list(range(0, len(whole), 997)) + [len(whole) - 1]:
        for data in (whole[:place], whole[:place] + b"\0" * 500,
                     whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:]):
            with open(running.path + ".journal", "wb") as file:
                file.write(data)
            seen.add(running.frames()[1])
    assert seen == {41, 42, 43} and capsys.readouterr().err == ""


def test_a_picture_is_in_the_journal_only_when_it_is_new(running):
    """Who stays at the door all day is saved every 10 s."""
    journal, old, new = running.path + ".journal", running.book[1].jpeg, doorcam.to_jpeg(files.smooth_picture(7))
    for _ in range(3):
        running.save(1)
    with open(journal, "rb") as file:
        assert old[-500:-100] not in file.read()
    assert running.killed()[1].jpeg == old
    for _ in range(3):
        running.book[1].jpeg = new
        running.save(1)
    with open(journal, "rb") as file:
        assert file.read().count(new[-500:-100]) == 1
    assert running.killed()[1].jpeg == new and running.frames()[1] == 47
    running.book[1].jpeg = None
    running.save(1)
    assert running.killed()[1].jpeg is None


def test_a_picture_as_before_of_nobody_is_none(running):
    """Nor does a number that comes twice in one entry have the picture of the first."""
    journal, entry = running.path + ".journal", io.BytesIO()
    encodings, records, given = running.book.snapshot()
    for record, number in ((records[0], 7), (records[1], 1)):
        record["number"] = number
        del record["face_image"]
    doorcam.dump_known_faces([encodings + encodings[1:], records + records[1:], given], entry)
    with open(running.path, "rb") as file, open(journal, "wb") as other:
        other.write(hashlib.sha256(file.read()).hexdigest().encode()
                    + b"%d %d \n" % (len(entry.getvalue()), zlib.crc32(entry.getvalue())) + entry.getvalue())
    visitors = running.killed().visitors
    assert [visitors.pop(number).jpeg for number in (1, 2)] == [running.book[number].jpeg for number in (1, 2)]
    assert {visitor.jpeg for visitor in visitors.values()} == {None} and sorted(visitors) == [7, 8]


@pytest.mark.parametrize("how", ("deleted", "another"))
def test_a_journal_of_another_file_does_not_count(running, how):
    running.save(1)
    os.unlink(running.path)
    if how == "another":
        save(running.path + "2", 1)
        os.rename(running.path + "2", running.path)
    assert running.frames() == ({} if how == "deleted" else {1: 40})


@pytest.mark.parametrize("entry", sorted(hostile.make_cases()))
def test_a_hostile_journal_does_nothing(running, entry):
    data = hostile.make_cases()[entry]
    if len(data) > 1 << 20:
        return
    with open(running.path, "rb") as file, open(running.path + ".journal", "wb") as journal:
        journal.write(hashlib.sha256(file.read()).hexdigest().encode()
                      + b"%d %d 99\n" % (len(data), zlib.crc32(b"99" + data)) + data)
    doorcam.load_known_faces(running.path, doorcam.DLIB)
    assert not os.path.exists("touched")


def test_a_file_deleted_or_replaced_while_doorcam_runs_is_written_whole(running):
    running.save(1)
    os.unlink(running.path)
    running.save(2)
    assert running.frames() == {1: 42, 2: 41}
    save(running.path + "2", 1)
    os.rename(running.path + "2", running.path)
    running.save(2)
    assert running.frames() == {1: 42, 2: 42}


def test_what_is_written_a_day_does_not_grow_with_the_book(path, monkeypatch):
    """An event every 20 s, 4,320 saves a day: 22 MB in full each time are 95 GB."""
    monkeypatch.setattr(doorcam, "JOURNAL_SIZE", 0)
    jpeg = doorcam.to_jpeg(files.smooth_picture())
    visitors = [doorcam.Visitor(number, [files.unit(files.original_encoding(number))], 1.7e9, "dlib", jpeg)
                for number in range(1, 301)]
    day = Running(path, monkeypatch, doorcam.Book(doorcam.DLIB, visitors))
    size = os.path.getsize(path)
    day.written = 0
    for number in range(1, 2001):
        day.save(number % 300 + 1)
    assert day.written / 2000 < 3 * size / 300
    assert sum(day.frames().values()) == 2001


def test_after_a_save_that_failed_the_file_is_written_whole(running, monkeypatch, capsys):
    running.save(1)
    with monkeypatch.context() as patch:
        fail(patch, "fsync")
        running.save(1)
    running.now += doorcam.SAVE_RETRY
    running.save(2)
    assert not os.path.exists(running.path + ".journal") and running.frames() == {1: 43, 2: 41}
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_file_any_more_is_not_replaced(running, link, capsys):
    """As root, a device would be."""
    pipe = running.path + ".pipe"
    os.mkfifo(pipe)
    os.unlink(running.path)
    (os.symlink if link else os.rename)(pipe, running.path)
    running.save(1)
    assert "it is no file" in one_line(capsys.readouterr().err)
    assert stat.S_ISFIFO(os.stat(running.path).st_mode) and os.path.islink(running.path) == link
    with pytest.raises(doorcam.DoorcamError, match="it is no file"):
        running.saver.close()


def test_a_journal_that_is_a_pipe_is_not_waited_for(running, capsys):
    os.mkfifo(running.path + ".journal")
    running.save(1)
    assert "its journal is no file" in one_line(capsys.readouterr().err)
    running.now += doorcam.SAVE_RETRY
    running.save(2)
    assert running.frames() == {1: 42, 2: 41} and "is saved again" in one_line(capsys.readouterr().err)


def test_a_book_without_a_file_is_never_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    book = files.own_book(1)
    book.changed.add(1)
    saver = doorcam.Saver(None, book)
    saver.save_when_due()
    saver.close()
    assert os.listdir(str(tmp_path)) == []


# ---------------------------------------------------------------------------------------- permissions, links, leftovers


def test_a_new_file_is_the_users_alone(path):
    mask = os.umask(0)
    try:
        save(path)
        with doorcam.lock_known_faces(path):
            pass
    finally:
        os.umask(mask)
    assert mode_of(path) == mode_of(path + ".lock") == 0o600


@pytest.mark.parametrize("mode", (0o600, 0o640, 0o664, 0o666, 0o700))
def test_permissions_stay(path, mode):
    save(path, 1)
    os.chmod(path, mode)
    save(path, 2)
    assert mode_of(path) == mode and numbers_in(path) == [1, 2]


def test_the_owner_stays_as_far_as_that_is_permitted(path):
    save(path, 1)
    owner = (12345, 23456) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(path, *owner)
    save(path, 2)
    assert (os.stat(path).st_uid, os.stat(path).st_gid) == owner and mode_of(path) == 0o600


def test_a_symbolic_link_stays_one(tmp_path):
    disk, path = tmp_path / "disk", str(tmp_path / "known_faces.dat")
    disk.mkdir()
    save(str(disk / "faces"), 1)
    os.symlink("disk/faces", path)
    save(path, 2)
    assert os.readlink(path) == "disk/faces" and numbers_in(str(disk / "faces")) == [1, 2]
    assert os.listdir(str(disk)) == ["faces"]
    with doorcam.lock_known_faces(path):
        with pytest.raises(doorcam.DoorcamError):
            with doorcam.lock_known_faces(str(disk / "faces")):  # the same book under its other name
                pass


def test_a_link_to_nothing_yet_is_followed(tmp_path):
    path = str(tmp_path / "known_faces.dat")
    os.symlink("faces", path)
    save(path, 1)
    assert os.path.islink(path) and numbers_in(str(tmp_path / "faces")) == [1]


def test_what_is_left_of_a_killed_save_is_replaced(path):
    with open(path + ".new", "wb") as file:
        file.write(b"x" * 1000)
    save(path)
    assert os.listdir(os.path.dirname(path)) == ["known_faces.dat"]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path, path):
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    os.symlink(str(other), path + ".new")
    save(path)
    assert other.read_bytes() == b"mine" and not os.path.islink(path)


def run_obedient(folder, program):
    """Runs a line of Python to which, also as root, permissions apply; what it printed."""
    line = "import sys; sys.path[:0] = [%r, %r]\nimport os, doorcam, files\n" % (HERE, os.path.dirname(HERE)) + program
    done = subprocess.run([sys.executable, "-c", line], cwd=str(folder), stdout=subprocess.PIPE, timeout=60,
                          stderr=subprocess.STDOUT, universal_newlines=True, preexec_fn=obey_permissions)
    return done.stdout.strip()


SAVE_AND_SAY = """
try:
    doorcam.save_known_faces("known_faces.dat", files.own_book(2).snapshot())
    print("saved")
except OSError as error:
    print(error.strerror)
"""


def test_a_read_only_folder_and_a_read_only_file(tmp_path, path):
    save(path, 1)
    tmp_path.chmod(0o500)
    try:
        assert run_obedient(tmp_path, SAVE_AND_SAY) == "Permission denied"
    finally:
        tmp_path.chmod(0o700)
    os.chmod(path, 0o400)
    assert run_obedient(tmp_path, SAVE_AND_SAY) == "Permission denied"
    assert numbers_in(path) == [1] and os.listdir(str(tmp_path)) == ["known_faces.dat"]
    os.chmod(path, 0o600)
    assert run_obedient(tmp_path, SAVE_AND_SAY) == "saved"


@pytest.mark.parametrize("locked", ("folder", "file"))
def test_a_file_that_may_not_be_written_is_said_at_the_start(tmp_path, path, locked):
    save(path, 1)
    (tmp_path if locked == "folder" else tmp_path / "known_faces.dat").chmod(0o500 if locked == "folder" else 0o400)
    try:
        said = run_obedient(tmp_path, "sys.exit(doorcam.main(['name', '1', 'Anna']))")
    finally:
        tmp_path.chmod(0o700)
    one_line(said, "cannot be written", "Permission denied", "known_faces.dat")
    assert numbers_in(path) == [1]


# --------------------------------------------------------------------------------------- damaged, foreign and odd files

DAMAGED = {"text": b"hello", "cut": files.original_file(2)[:-100], "zeros": b"\0" * 5000,
           "another pickle": pickle.dumps({"a": 1}), "hostile": b"cos\nsystem\n(S'touch ran'\ntR."}


@pytest.mark.parametrize("kind", sorted(DAMAGED))
def test_watching_sets_a_damaged_file_aside(path, capsys, kind):
    with open(path, "wb") as file:
        file.write(DAMAGED[kind])
    book = doorcam.load_known_faces(path, doorcam.DLIB)
    assert len(book) == 0 and not os.path.exists(path)
    (aside,) = os.listdir(os.path.dirname(path))
    year = time.strftime("%Y-")
    assert aside.startswith("known_faces.dat.damaged-" + year)
    with open(os.path.join(os.path.dirname(path), aside), "rb") as file:
        assert file.read() == DAMAGED[kind]
    line = one_line(capsys.readouterr().err, path, aside)
    assert "move it back" in line


def test_files_set_aside_in_one_second_have_names_of_their_own(path):
    for _ in range(5):
        with open(path, "wb") as file:
            file.write(b"damaged")
        doorcam.load_known_faces(path, doorcam.DLIB)
    assert len(os.listdir(os.path.dirname(path))) == 5


def test_a_damaged_file_behind_a_link_is_set_aside_beside_itself(tmp_path, disk, capsys):
    """The link may lead to another disk, to which nothing can be renamed."""
    path, target = str(tmp_path / "known_faces.dat"), os.path.join(disk.folder, "faces")
    with open(target, "wb") as file:
        file.write(b"damaged")
    os.symlink(target, path)
    book = doorcam.load_known_faces(path, doorcam.DLIB)
    assert os.path.islink(path) and len(os.listdir(disk.folder)) == 1
    book.register_new_face(files.original_encoding(1), 0)
    doorcam.save_known_faces(path, book.snapshot())
    assert os.path.islink(path) and numbers_in(target) == [1]


def bad_record_file(path):
    data = files.file_with(seen_count=-5)
    with open(path, "wb") as file:
        file.write(data)
    return data


@pytest.mark.parametrize("links", (True, False))
def test_a_bad_record_is_left_out_and_the_file_kept(path, capsys, monkeypatch, links):
    data = bad_record_file(path)
    if not links:  # as on an SD card with FAT
        fail(monkeypatch, "link")
    book = doorcam.load_known_faces(path, doorcam.DLIB)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "record 2 is left out" in lines[0] and "seen_count" in lines[0]
    (aside,) = set(os.listdir(os.path.dirname(path))) - {"known_faces.dat"}
    assert aside in lines[1]
    saver = doorcam.Saver(path, book)
    saver.save_when_due()
    saver.close()
    with open(os.path.join(os.path.dirname(path), aside), "rb") as file:
        assert file.read() == data
    for _ in range(3):  # once saved, the next starts find nothing to say and pile up no copies
        assert len(doorcam.load_known_faces(path, doorcam.DLIB)) == 1
    assert capsys.readouterr().err == "" and len(os.listdir(os.path.dirname(path))) == 2


COMMANDS = (("list",), ("name", "1", "Anna"), ("merge", "1", "2"), ("forget", "1"), ("ignore", "1"))


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_change_nothing_in_a_damaged_file(path, tmp_path, capsys, command):
    for data in DAMAGED.values():
        with open(path, "wb") as file:
            file.write(data)
        assert doorcam.main(["--faces", path] + list(command)) == 1
        line = one_line(capsys.readouterr().err, path, "damaged")
        assert "nothing was changed" in line
        with open(path, "rb") as file:
            assert file.read() == data
    assert set(os.listdir(str(tmp_path))) <= {"known_faces.dat", "known_faces.dat.lock"}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_a_bad_record(path, capsys, command):
    data = bad_record_file(path)
    status = doorcam.main(["--faces", path] + list(command))
    assert status == (0 if command == ("list",) else 1)
    one_line(capsys.readouterr().err, "record 2 is left out")
    with open(path, "rb") as file:
        assert file.read() == data


@pytest.mark.parametrize("arguments", COMMANDS + (("--source", "demo", "--headless"),))
def test_a_file_that_may_not_be_read(path, tmp_path, arguments):
    save(path)
    os.chmod(path, 0)
    status, _, err = run_doorcam("--faces", path, *arguments, folder=tmp_path)
    assert status == 1
    one_line(err, path, "Permission denied")
    os.chmod(path, 0o600)
    assert numbers_in(path) == [1]


@pytest.mark.parametrize("make", (os.mkdir, os.mkfifo, lambda path: socket.socket(socket.AF_UNIX).bind(path),
                                  lambda path: (os.mkfifo(path + ".pipe"), os.symlink(path + ".pipe", path))))
@pytest.mark.parametrize("arguments", (("list",), ("name", "1", "Anna"), ("--source", "demo", "--headless")))
def test_what_is_no_file(path, tmp_path, make, arguments):
    make(path)
    before = mode_of(path)
    status, out, err = run_doorcam("--faces", path, *arguments, folder=tmp_path, seconds=30)
    assert status == 1 and "readable" not in out
    one_line(err, path, "is no file")
    assert mode_of(path) == before and not os.path.exists(os.path.realpath(path) + ".lock")


def test_a_device_without_an_end_is_not_read():
    with pytest.raises(doorcam.DoorcamError):
        doorcam.read_file("/dev/zero")


def test_a_file_that_is_much_too_large_is_not_read(path):
    with open(path, "wb") as file:
        file.truncate(doorcam.MAX_FILE + 1)
    with pytest.raises(doorcam.DoorcamError) as caught:
        doorcam.read_file(path)
    assert "larger than" in str(caught.value)


def test_a_file_deleted_in_between_is_made_again(path):
    book = files.own_book(2)
    saver = doorcam.Saver(path, book)
    doorcam.save_known_faces(path, book.snapshot())
    os.unlink(path)
    doorcam.Visits(book).see(book.visitors[1], 2e9, 2e9)
    saver.close()
    assert numbers_in(path) == [1, 2]


# ------------------------------------------------------------------------------------------- what a file system refuses


def test_an_empty_file_is_an_empty_book(path, capsys):
    """touch, as who mounts a single file into a container must do."""
    open(path, "wb").close()
    assert len(doorcam.load_known_faces(path, doorcam.DLIB)) == 0 and doorcam.main(["--faces", path, "list"]) == 0
    assert capsys.readouterr().err == "" and os.listdir(os.path.dirname(path)) == ["known_faces.dat"]


def refuse(monkeypatch, function, error, only=None):
    """Has a function of os refused, as a file system does; only: for this last argument."""
    really = getattr(os, function)

    def refused(*arguments):
        if only in (None, arguments[-1]):
            raise OSError(error, os.strerror(error))
        return really(*arguments)
    monkeypatch.setattr(doorcam.os, function, refused)


@pytest.mark.parametrize("function, error", (
    ("fchmod", errno.EPERM), ("fchmod", errno.ENOTSUP), ("fchown", errno.EPERM), ("fsync", errno.EINVAL),
    ("fsync", errno.ENOSYS)))
def test_what_a_file_system_refuses_stops_no_save(path, monkeypatch, function, error):
    refuse(monkeypatch, function, error)
    for count in (1, 2, 3):
        save(path, count)
    assert numbers_in(path) == [1, 2, 3] and os.listdir(os.path.dirname(path)) == ["known_faces.dat"]


@pytest.mark.parametrize("error", (errno.EBUSY, errno.EPERM, errno.EXDEV))
def test_a_file_that_cannot_be_replaced_is_written_in_place(path, monkeypatch, error):
    save(path, 3)
    inode = os.stat(path).st_ino
    refuse(monkeypatch, "rename", error, path)
    save(path, 1)
    save(path, 2)
    assert numbers_in(path) == [1, 2] and os.stat(path).st_ino == inode
    assert os.listdir(os.path.dirname(path)) == ["known_faces.dat"]


@pytest.mark.parametrize("left", (0, 1, 1000))
def test_while_a_file_is_written_in_place_its_copy_counts(path, monkeypatch, capsys, left):
    """The plug is pulled, or the disk is full, in the middle."""
    save(path, 1)
    refuse(monkeypatch, "rename", errno.EBUSY, path)

    def cut_off(source, file):
        file.write(source.read(left))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(doorcam.shutil, "copyfileobj", cut_off)
        for count in (2, 3):  # again and again
            with pytest.raises(OSError):
                save(path, count)
            assert list(doorcam.load_known_faces(path, doorcam.DLIB).visitors) == list(range(1, count + 1))
    save(path, 4)
    assert numbers_in(path) == [1, 2, 3, 4] and os.listdir(os.path.dirname(path)) == ["known_faces.dat"]
    assert capsys.readouterr().err == ""


def test_a_damaged_file_that_cannot_be_moved_is_copied_and_emptied(path, monkeypatch, capsys):
    with open(path, "wb") as file:
        file.write(b"damaged")
    monkeypatch.setattr(doorcam.os, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EBUSY, "busy")))
    assert len(doorcam.load_known_faces(path, doorcam.DLIB)) == 0
    (aside,) = set(os.listdir(os.path.dirname(path))) - {"known_faces.dat"}
    with open(os.path.join(os.path.dirname(path), aside), "rb") as file:
        assert file.read() == b"damaged" and os.path.getsize(path) == 0
    one_line(capsys.readouterr().err, aside)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_file_that_is_mounted_is_saved(tmp_path, path):
    """As docker run -v /home/me/known_faces.dat:/doorcam/known_faces.dat does."""
    outside = str(tmp_path / "outside.dat")
    open(outside, "wb").close()
    open(path, "wb").close()
    if subprocess.call(["mount", "--bind", outside, path], stderr=subprocess.DEVNULL) != 0:
        pytest.skip("mounting is not permitted")
    try:
        for count in (1, 2):
            book = files.own_book(count)
            book.changed.add(1)
            doorcam.Saver(path, book).close()
        assert sorted(os.listdir(str(tmp_path))) == ["known_faces.dat", "outside.dat"]
    finally:
        subprocess.check_call(["umount", path])
    assert numbers_in(outside) == [1, 2]


@pytest.mark.parametrize("mode", (0o644, 0o664, 0o666, 0o604))
def test_a_copy_that_all_may_read_is_made_the_owners_alone_at_the_start(path, capsys, mode):
    save(path)
    os.chmod(path, mode)
    doorcam.load_known_faces(path, doorcam.DLIB)
    assert mode_of(path) == 0o600 and capsys.readouterr().out.count("readable for you alone") == 1
    os.chmod(path, 0o640)  # a group is somebody's choice
    doorcam.load_known_faces(path, doorcam.DLIB)
    assert mode_of(path) == 0o640 and capsys.readouterr().out == ""


@pytest.mark.parametrize("error", (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP))
def test_a_file_system_without_locks_is_no_other_doorcam(path, monkeypatch, capsys, error):
    def flock(*_):
        raise OSError(error, os.strerror(error))
    monkeypatch.setattr(doorcam.fcntl, "flock", flock)
    with doorcam.lock_known_faces(path):
        one_line(capsys.readouterr().err, path, "cannot be locked", os.strerror(error))


def test_a_full_disk_at_the_start(path, monkeypatch):
    refuse(monkeypatch, "pwrite", errno.ENOSPC)
    with doorcam.lock_known_faces(path):
        with pytest.raises(doorcam.DoorcamError):
            with doorcam.lock_known_faces(path):
                pass


# ---------------------------------------------------------------------------------------------------------- the lock


@contextlib.contextmanager
def holding(path):
    """A process that holds the book."""
    program = ("import sys; sys.path.insert(0, %r)\nimport doorcam\nwith doorcam.lock_known_faces(%r):\n"
               "    print('held', flush=True)\n    sys.stdin.read()" % (os.path.dirname(HERE), path))
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        yield holder
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()


@pytest.mark.parametrize("arguments", COMMANDS[1:] + (("--source", "demo", "--headless"),))
def test_a_second_writer_is_told_who_holds_the_book(path, tmp_path, arguments):
    save(path, 2)
    with open(path, "rb") as file:
        before = file.read()
    with holding(path) as holder:
        status, out, err = run_doorcam("--faces", path, *arguments, folder=tmp_path, seconds=30)
        assert status == 1 and out == ""
        one_line(err, "process %d" % holder.pid, path)
    with open(path, "rb") as file:
        assert file.read() == before


def test_list_works_while_the_book_is_held(path, tmp_path):
    save(path, 2)
    with holding(path):
        status, out, err = run_doorcam("--faces", path, "list", folder=tmp_path)
    assert (status, err) == (0, "") and "Мария" in out


@pytest.mark.parametrize("content", (b"", b"1\n", b"99999999\n", b"nonsense \x1b[2J" * 100))
def test_a_stale_lock_is_no_obstacle(path, capsys, content):
    save(path)
    with open(path + ".lock", "wb") as file:
        file.write(content)
    assert doorcam.main(["--faces", path, "name", "1", "Anna"]) == 0
    assert "Anna" in capsys.readouterr().out


def test_the_lock_of_a_killed_process_is_no_obstacle(path, capsys):
    save(path)
    with holding(path) as holder:
        assert doorcam.main(["--faces", path, "name", "1", "Anna"]) == 1
        holder.kill()
        holder.wait()
        assert doorcam.main(["--faces", path, "name", "1", "Anna"]) == 0
    assert "process %d" % holder.pid in capsys.readouterr().err


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path, path):
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    os.symlink(str(other), path + ".lock")
    with pytest.raises(doorcam.DoorcamError):
        with doorcam.lock_known_faces(path):
            pass
    assert other.read_bytes() == b"mine"
