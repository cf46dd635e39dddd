"""Signals, and processes that die or hang: doorcam ends cleanly with everything saved, and recognition comes back."""
import contextlib
import csv
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import doorcam
import files
from processes import Doorcam, environment, one_line, run_doorcam, visit_frames, wait_for, write_clip

HERE = os.path.dirname(os.path.abspath(__file__))
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
WATCH = ("--source", "demo", "--headless", "--faces", "known_faces.dat", "--log", "log.csv")

# doorcam whose disk is slow: it says so when a save begins, and each takes a second
SLOW = """
import os, sys, time
sys.path.insert(0, %r)
import doorcam
flush = os.fsync
def fsync(descriptor):
    print("saving", flush=True)
    time.sleep(0.5)
    flush(descriptor)
os.fsync = fsync
sys.exit(doorcam.run_as_program())
""" % os.path.dirname(HERE)


@pytest.fixture
def door(tmp_path):
    """doorcam watching the demo, in which somebody has just come."""
    with Doorcam(*WATCH, folder=tmp_path) as running:
        running.wait_for("visitor 1 is new")
        yield running


def check_ended_well(running, folder, seconds=30):
    """doorcam ends with status 0, without a word, and all that it knew is in the file and the log."""
    status, out, err = running.end(seconds)
    assert (status, err) == (0, ""), out + err
    with open(str(folder / "known_faces.dat"), "rb") as file:
        visitors, _, problems = doorcam.read_known_faces(file.read())
    assert [visitor.number for visitor in visitors] == [1] and not problems
    with open(str(folder / "log.csv"), newline="") as file:
        assert [(row["event"], row["visitor"]) for row in csv.DictReader(file)] == [("new", "1"), ("left", "1")]
    assert "visitor 1 left" in out
    assert {"known_faces.dat", "known_faces.dat.lock", "log.csv", "stdout.txt", "stderr.txt"} == set(
        os.listdir(str(folder)))


def children(parent):
    """The process numbers of a process's children."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(name))
    return found


def recognition_child(parent):
    """The process number of the recognition process, the one child that doorcam has."""
    for child in children(parent):
        try:
            with open("/proc/%d/cmdline" % child, "rb") as file:
                if b"run_child" in file.read():
                    return child
        except OSError:
            pass
    return None


def alive(process):
    try:
        with open("/proc/%d/stat" % process) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_with_everything_saved(door, tmp_path, number):
    door.process.send_signal(number)
    check_ended_well(door, tmp_path)


@pytest.mark.parametrize("number", ENDING)
def test_the_same_signal_many_times(door, tmp_path, number):
    for _ in range(20):
        if door.process.poll() is None:
            door.process.send_signal(number)
        time.sleep(0.01)
    check_ended_well(door, tmp_path)


def test_different_signals_at_once(door, tmp_path):
    for number in ENDING:
        door.process.send_signal(number)
    check_ended_well(door, tmp_path)


@pytest.mark.parametrize("first", ENDING)
def test_signals_during_a_save(tmp_path, first):
    """The first save begins with the first visit; the signals come while it, and the last one, are being flushed."""
    with Doorcam(*WATCH, folder=tmp_path, program=("-c", SLOW)) as running:
        running.wait_for("saving")
        running.process.send_signal(first)
        wait_for(lambda: running.out().count("saving") >= 3 or running.process.poll() is not None, 30,
                 "the last save begins")
        for number in ENDING:
            if running.process.poll() is None:
                running.process.send_signal(number)
        check_ended_well(running, tmp_path)


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("after", (0.0, 0.15, 0.3, 0.6, 1.0))
def test_a_signal_to_all_processes_right_after_the_start(tmp_path, number, after):
    """Ctrl-C in a terminal, its hang-up, and a service manager's stop reach the recognition process, too, wherever it
    is with its start."""
    program = "import os, sys\nos.setpgrp()\nos.execv(sys.executable, [sys.executable, %r] + sys.argv[1:])" % (
        doorcam.__file__)
    with Doorcam(*WATCH, folder=tmp_path, program=("-c", program)) as running:
        running.wait_for("known faces: ")
        time.sleep(after)
        os.killpg(running.process.pid, number)
        status, out, err = running.end(30)
        assert (status, err) == (0, ""), out + err


@pytest.mark.parametrize("number, name", [(signal.SIGHUP, "HUP"), (signal.SIGINT, "INT")])
def test_a_signal_that_is_ignored_by_who_starts_doorcam_is_ignored_by_it(tmp_path, number, name):
    """nohup; a shell that runs it in the background."""
    program = "import os, signal, sys\nsignal.signal(%d, signal.SIG_IGN)\nos.execv(sys.executable, sys.argv[1:])" % number
    command = ("-c", program, sys.executable, doorcam.__file__) if name == "INT" else (
        "-c", "import os, sys; os.execvp('nohup', ['nohup', sys.executable] + sys.argv[1:])", doorcam.__file__)
    with Doorcam(*WATCH, folder=tmp_path, program=command) as running:
        running.wait_for("known faces: ")
        running.process.send_signal(number)
        running.wait_for("visitor 1 is new")
        running.process.send_signal(number)
        running.wait_for("visitor 2 is new")
        assert running.stop()[::2] == (0, "")


@pytest.mark.parametrize("fault, status", [("pass", 0), ("raise doorcam.DoorcamError('no camera')", 1),
                                           ("raise ValueError('a fault')", 1)])
def test_a_thread_that_never_ends_does_not_hold_up_the_end(tmp_path, fault, status):
    """As one that hangs in a camera's driver does in ways of its own; also when there is something to be said."""
    program = ("import sys, threading, time; sys.path.insert(0, %r); import doorcam\n"
               "def run(house):\n    threading.Thread(target=time.sleep, args=(1000,)).start()\n    %s\n"
               "doorcam.House.run = run\ndoorcam.LiveCamera.close = lambda camera: False\n"
               "sys.exit(doorcam.run_as_program())" % (os.path.dirname(doorcam.__file__), fault))
    ended, _, err = run_doorcam(*WATCH, folder=tmp_path, program=("-c", program), seconds=20)
    assert ended == status and len(err.splitlines()) == status
    assert os.path.exists(str(tmp_path / "known_faces.dat.lock"))


def test_what_goes_wrong_in_telling_keeps_nobody_from_being_saved(tmp_path):
    program = ("import sys; sys.path.insert(0, %r); import doorcam\ndef tell(telling, events, *_):\n"
               "    if any(event.kind == 'left' for event in events): raise ValueError('a fault')\n"
               "doorcam.Telling.tell, doorcam.SAVE_PERIOD = tell, 1e9\ndoorcam.Saver.save_when_due = lambda *_, **__: 0\n"
               "sys.exit(doorcam.run_as_program())" % os.path.dirname(doorcam.__file__))
    clip = write_clip(tmp_path / "visit.avi", visit_frames(20))
    status, _, err = run_doorcam("--headless", "--source", clip, folder=tmp_path, program=("-c", program))
    assert status == 1 and "unexpected fault" in err and len(err.splitlines()) == 1
    with open(str(tmp_path / "known_faces.dat"), "rb") as file:
        assert len(doorcam.read_known_faces(file.read())[0]) == 1


def test_a_signal_while_a_command_waits_for_nothing(tmp_path):
    """Commands have no loop to end; a signal ends them, and the file is whole."""
    path = str(tmp_path / "known_faces.dat")
    doorcam.save_known_faces(path, files.own_book(2).snapshot())
    with Doorcam("--faces", path, "name", "1", "Anna", folder=tmp_path, program=("-c", SLOW)) as running:
        running.wait_for("saving")
        running.process.send_signal(signal.SIGTERM)
        status, _, err = running.end(30)
        assert (status, err) == (-signal.SIGTERM, "")
    with open(path, "rb") as file:
        assert doorcam.read_known_faces(file.read())[0][0].name == "Мария"
    assert doorcam.main(["--faces", path, "name", "1", "Anna"]) == 0


# ------------------------------------------------------------------------------------- the recognition process


def test_a_killed_doorcam_takes_its_recognition_process_along(door):
    process = door.process.pid
    child = recognition_child(process)
    all_children = children(process)
    assert child
    door.kill()
    wait_for(lambda: not any(alive(one) for one in all_children), 20, "the children end")


def test_a_doorcam_killed_while_it_starts_leaves_nothing_behind(tmp_path):
    with Doorcam(*WATCH, folder=tmp_path) as running:
        child = wait_for(lambda: recognition_child(running.process.pid), 30, "the recognition process starts")
        running.kill()
        wait_for(lambda: not alive(child), 30, "it ends")


def test_a_killed_recognition_process_is_started_again(tmp_path):
    with Doorcam(*WATCH, folder=tmp_path) as running:
        running.wait_for("engine: ")
        first = recognition_child(running.process.pid)
        os.kill(first, signal.SIGKILL)
        running.wait_for("visitor 1 is new")
        second = recognition_child(running.process.pid)
        assert second and second != first
        os.kill(second, signal.SIGKILL)
        running.wait_for("visitor 2 is new")
        running.process.send_signal(signal.SIGTERM)
        status, out, err = running.end(30)
    assert status == 0
    lines = err.splitlines()
    assert 1 <= len(lines) <= 2
    assert all(re.match(r"doorcam: the recognition process ended \(.+\) and is started again$", line) for line in lines)


def echo(line, detector):
    """A recognition process that finds in each frame as many faces as its first pixel says."""
    line.send("echo %d" % os.getpid())
    while True:
        try:
            look, frame = line.receive()
        except ConnectionError:
            with open(detector, "w") as file:  # the test's way to see that the end of the line was noticed
                file.write("ended")
            raise
        if frame[0, 0, 0] == 255:
            time.sleep(1000)
        if frame[0, 0, 0] == 254:
            os._exit(3)
        if frame[0, 0, 0] == 253:
            raise ValueError("no such picture")
        line.send([doorcam.Face((0, 1, 1, 0), 1.0, 1.0, 1.0)] * int(frame[0, 0, 0]))


def look_of(value, size=(720, 1280)):
    """A Look at a frame of which the first pixel has a value."""
    frame = np.zeros(size + (3,), np.uint8)
    frame[0, 0] = value
    return doorcam.Look(frame, 0.25, True, [])


@pytest.fixture
def recognizer(tmp_path, monkeypatch):
    monkeypatch.setattr(doorcam, "CHILD_PAUSES", (0.05,))
    one = doorcam.Recognizer(str(tmp_path / "ended"), target=echo, hung=1.0)
    try:
        wait_for(one.idle, 60, "the recognition process greets")
        yield one
    finally:
        one.close()


def answer_to(recognizer, value, seconds=60, **options):
    """What comes back for a frame, as the main loop asks for it: again and again, without waiting."""
    def ask():
        answer = recognizer.answer()
        if answer is None and recognizer.idle():
            recognizer.offer(look_of(value, **options))
        return answer and answer[0].frame[0, 0, 0] == value and answer  # not one to the question before
    return len(wait_for(ask, seconds, "an answer")[1])


def process_of(recognizer):
    return int(recognizer.description.split()[1])


@pytest.mark.parametrize("trouble", (253, 254, 255))
@pytest.mark.parametrize("size", ((2, 2), (720, 1280)))
def test_a_look_at_which_the_process_fails_or_hangs(recognizer, capsys, trouble, size):
    before = process_of(recognizer)
    assert answer_to(recognizer, 3, size=size) == 3
    recognizer.offer(look_of(trouble, size))
    wait_for(lambda: recognizer.idle() and process_of(recognizer) != before, 60, "another process")
    assert answer_to(recognizer, 2) == 2
    wait_for(lambda: not alive(before), 10, "the old process ends")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_only_the_newest_look_is_sent(recognizer):
    os.kill(process_of(recognizer), signal.SIGSTOP)  # busy with the first look while the others come
    for value in (1, 2, 3, 4):
        recognizer.offer(look_of(value, (2, 2)))
    os.kill(process_of(recognizer), signal.SIGCONT)
    seen = []

    def last():
        answer = recognizer.answer()
        if answer:
            seen.append((int(answer[0].frame[0, 0, 0]), len(answer[1])))
        return seen[-1:] == [(4, 4)]
    wait_for(last, 30, "the newest look is answered")
    assert seen == [(1, 1), (4, 4)] and recognizer.answers == 2


def test_a_process_that_is_stopped_holds_nobody_up(recognizer, capsys):
    """The look, larger than what a socket holds, is not even taken."""
    before = process_of(recognizer)
    os.kill(before, signal.SIGSTOP)
    began = time.monotonic()
    recognizer.offer(look_of(1))
    assert recognizer.answer() is None and not recognizer.idle() and time.monotonic() - began < 0.5
    wait_for(lambda: recognizer.idle() and process_of(recognizer) != before, 60, "another process")
    assert answer_to(recognizer, 4) == 4
    wait_for(lambda: not alive(before), 10, "the stopped process ends")
    assert "did not answer for 1 s" in one_line(capsys.readouterr().err)


def test_waiting_for_an_answer_goes_on_when_the_process_hangs(recognizer):
    recognizer.offer(look_of(255))
    began = time.monotonic()
    assert recognizer.answer(wait=True) is None
    assert time.monotonic() - began < 30
    assert answer_to(recognizer, 1) == 1


def test_a_process_that_fails_again_and_again_is_spoken_of_once(recognizer, capsys):
    for _ in range(3):
        before = process_of(recognizer)
        recognizer.offer(look_of(254))
        wait_for(lambda: recognizer.idle() and process_of(recognizer) != before, 60, "another process")
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert answer_to(recognizer, 5) == 5
    before = process_of(recognizer)
    assert capsys.readouterr().err == "doorcam: recognition is back\n"
    recognizer.offer(look_of(254))  # it worked in between, so this is news
    wait_for(lambda: recognizer.idle() and process_of(recognizer) != before, 60, "another process")
    one_line(capsys.readouterr().err, "ended (status 3)")
    assert answer_to(recognizer, 6) == 6
    assert capsys.readouterr().err == ""  # started again at the first attempt: that was said


def test_the_end_of_the_line_ends_the_process(recognizer, tmp_path):
    process = process_of(recognizer)
    recognizer._child._socket.close()
    wait_for(lambda: (tmp_path / "ended").exists(), 20, "the process notices the end of its line")
    wait_for(lambda: not alive(process), 20, "it ends")


def test_the_real_process_ends_with_its_line():
    """recognize_in_child itself, in a process whose parent lives on and only closes the line."""
    child = doorcam.Child(60, doorcam.recognize_in_child, doorcam.DlibEngine)
    assert child.answer()[0].startswith("dlib ")
    child.close(patience=30)
    assert child._process.returncode == 0


def test_closing_at_any_moment_leaves_no_process(tmp_path):
    for pause in (0.0, 0.02, 0.1, 0.3, 1.0):
        recognizer = doorcam.Recognizer(str(tmp_path / "ended"), target=echo)
        process = recognizer._child._process
        time.sleep(pause)
        recognizer.close()
        assert not alive(process.pid) and process.returncode is not None
        assert recognizer.answer() is None and not recognizer.idle() and recognizer._child is None


@pytest.mark.parametrize("trouble", [OSError(12, "Cannot allocate memory"), OSError(24, "Too many open files"),
                                     MemoryError()])
def test_a_restart_that_fails_is_tried_again(recognizer, capsys, monkeypatch, trouble):
    """No memory or no handle in the moment in which the process is to be started; the window says it meanwhile."""
    start, before, failures = subprocess.Popen, process_of(recognizer), []

    def fail(*arguments, **more):
        failures.append(len(os.listdir("/proc/self/fd")))
        raise trouble
    monkeypatch.setattr(subprocess, "Popen", fail)
    assert recognizer.notice() is None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: not recognizer.idle() and len(failures) >= 25, 20, "it is not tried again")
    assert re.match(r"Recognition is down since [12]s, trying again$", recognizer.notice())
    one_line(capsys.readouterr().err, "(killed by signal 9)")
    monkeypatch.setattr(subprocess, "Popen", start)
    assert answer_to(recognizer, 3) == 3 and process_of(recognizer) != before
    assert capsys.readouterr().err == "doorcam: recognition is back\n" and recognizer.notice() is None
    assert failures[-1] <= failures[0]  # none is left open


def test_the_first_start_that_fails_is_tried_again(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doorcam, "CHILD_PAUSES", (0.05,))
    monkeypatch.setattr(doorcam.socket, "socketpair", None)
    recognizer = doorcam.Recognizer(str(tmp_path / "ended"), target=echo)
    monkeypatch.undo()
    try:
        assert answer_to(recognizer, 2) == 2
    finally:
        recognizer.close()
    one_line(capsys.readouterr().err, "is started again")


def test_a_recording_ends_when_the_process_cannot_be_had(monkeypatch):
    monkeypatch.setattr(doorcam, "CHILD_PAUSES", (0.01,))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: os.stat("/no/such/python"))
    recognizer = doorcam.Recognizer(tries=3)
    recognizer.offer(look_of(1))
    with pytest.raises(doorcam.DoorcamError, match="fails again and again: No such file"):
        recognizer.answer(wait=True)


# ---------------------------------------------------------------------------------------------------- any child


def mirror(line, factor):
    """Answers each message and frame with itself, times a factor."""
    line.send(os.getpid())
    while True:
        message, frame = line.receive()
        line.send(message * factor, None if frame is None else frame[::-1, ::-1].copy())


@pytest.fixture
def child():
    one = doorcam.Child(60, mirror, 2)
    yield one
    one.close()


def test_messages_and_frames_of_all_sizes_go_both_ways(child):
    assert child.answer() == (child._process.pid, None)
    chance = np.random.RandomState(1)
    for text, shape in (("a", None), ("b" * 3000000, (3, 5, 3)), ("c", (720, 1280, 3)), ("", (1, 1, 3)), ("d", None),
                        ("e" * 100, (4000, 3000, 3)), ("f", (720, 1280, 3))):
        frame = None if shape is None else chance.randint(0, 256, shape).astype(np.uint8)
        child.ask(text, 30, frame)
        answer, mirrored = child.answer()
        assert answer == 2 * text
        assert mirrored is None if frame is None else np.array_equal(mirrored, frame[::-1, ::-1])
        assert child.answer(0.0) is None  # each once


def test_what_both_have_lies_in_memory(child):
    """Also under Python 3.6; a card of a Jetson is not written to."""
    child.answer()
    child.ask("a", 30, np.zeros((720, 1280, 3), np.uint8))
    child.answer()
    with open("/proc/%d/maps" % child._process.pid) as file:
        shared = {line.split(None, 5)[5].strip() for line in file if " rw-s " in line}
    assert shared == {"/memfd:doorcam (deleted)"}


@pytest.mark.parametrize("memory", [True, False])
def test_where_the_kernel_gives_no_memory_a_file_does(monkeypatch, tmp_path, memory):
    def refuse(*_):
        raise OSError(38, "Function not implemented")
    monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    if not memory:
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with doorcam.memory_file() as file:
        assert os.readlink("/proc/self/fd/%d" % file.fileno()).startswith("/dev/shm" if memory else str(tmp_path))
        assert os.fstat(file.fileno()).st_nlink == 0
    one = doorcam.Child(60, mirror, 1)
    one.answer()
    one.ask("a", 30, np.ones((48, 64, 3), np.uint8))
    assert one.answer()[1].all()
    one.close()


def test_a_child_has_the_signals_of_a_terminal_ignored(child):
    child.answer()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT):
        os.kill(child._process.pid, number)
    child.ask("a", 30)
    assert child.answer() == ("aa", None)


def test_doorcam_has_one_helper_process_and_no_more(door):
    assert children(door.process.pid) == [recognition_child(door.process.pid)]


def test_the_recognition_process_works_wherever_doorcam_is_started_from(tmp_path):
    """Through a link of another name, and in a folder with a file that is called as a module of Python's."""
    os.symlink(doorcam.__file__, str(tmp_path / "door"))
    (tmp_path / "pickle.py").write_text("raise SystemExit('imported from the current folder')")
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "pickle.py").rename(folder / "pickle.py")
    clip = write_clip(tmp_path / "visit.avi", visit_frames(20))
    status, out, err = run_doorcam("--headless", "--source", clip, folder=folder, program=("../door",))
    assert (status, err) == (0, "") and "visitor 1 is new" in out, out


# ----------------------------------------------------------------------------------------------------- systemd


class ServiceManager:
    """Stands for systemd: reads what a service says through its socket, on a path or (at) with an abstract name."""

    def __init__(self, folder, abstract):
        self.name = "@doorcam-test-%d" % os.getpid() if abstract else str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.name[1:] if abstract else self.name)
        self._socket.setblocking(False)

    def said(self):
        """The lines since the last call."""
        lines = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines += self._socket.recv(4096).decode().split("\n")
        return lines

    def close(self):
        self._socket.close()


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def manager(request, tmp_path):
    one = ServiceManager(tmp_path, request.param)
    yield one
    one.close()


def watch_under(manager, folder, *options, microseconds="400000"):
    return Doorcam("--source", "demo", "--headless", *options, folder=folder,
                   env=environment(NOTIFY_SOCKET=manager.name, WATCHDOG_USEC=microseconds))


def test_systemd_is_told_that_doorcam_is_ready_and_works(manager, tmp_path):
    with watch_under(manager, tmp_path, "--on-visit", "env > seen") as running:
        running.wait_for("known faces: ")
        assert "READY=1" not in manager.said()  # nothing works yet
        running.wait_for("visitor 2 is new")
        lines = manager.said()
        assert lines.index("READY=1") < lines.index("WATCHDOG=1")
        assert lines.count("READY=1") == 1 and lines.count("WATCHDOG=1") >= 3
        status = [line for line in lines if line.startswith("STATUS=")]
        assert "STATUS=Visitors known: 1" in status
        assert set(lines) - set(status) == {"READY=1", "WATCHDOG=1"}
        status, _, err = running.stop()
        assert (status, err) == (0, "")
    seen = (tmp_path / "seen").read_text()
    assert "DOORCAM_EVENT=new" in seen and "NOTIFY_SOCKET" not in seen and "WATCHDOG" not in seen


def test_nothing_is_said_for_a_process_that_does_not_answer(manager, tmp_path):
    with watch_under(manager, tmp_path) as running:
        running.wait_for("visitor 1 is new")
        child = recognition_child(running.process.pid)
        os.kill(child, signal.SIGSTOP)
        time.sleep(0.5)
        manager.said()
        time.sleep(1.5)
        assert "WATCHDOG=1" not in manager.said()
        os.kill(child, signal.SIGCONT)
        wait_for(lambda: "WATCHDOG=1" in manager.said(), 20, "it is said again")


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": "/no/such/socket", "WATCHDOG_USEC": "many"},
                                       {"NOTIFY_SOCKET": "@" + 200 * "x", "WATCHDOG_USEC": "-1"}, {"WATCHDOG_USEC": "\u00b2"},
                                       {"NOTIFY_SOCKET": "vsock:2:1"}, {"WATCHDOG_USEC": "1000000"}])
def test_without_a_manager_that_listens_nothing_is_missed(variables, capfd):
    notify = doorcam.Notify(variables)
    for works in (True, False, True):
        notify.tell("all is well", works)
    assert capfd.readouterr() == ("", "")


def test_what_could_not_be_sent_is_sent_later(tmp_path):
    notify = doorcam.Notify({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    notify.tell("one", True)
    manager = ServiceManager(tmp_path, False)
    notify.tell("a b\nREADY=0\u2028", False)
    assert manager.said() == ["STATUS=a b?READY=0?"]
    for _ in range(3):
        notify.tell("another", True)
    assert manager.said() == ["READY=1", "WATCHDOG=1"]  # no watchdog: once; a second status only after a second
    manager.close()
