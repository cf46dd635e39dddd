"""Commands that reach a doorcam which watches, through the socket beside its book."""
import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import types

import numpy as np
import pytest

import doorcam
from helpers import START, person
from processes import EXAMPLE, wait_for

FRAME = np.zeros((72, 128, 3), np.uint8)


class NoRecognition:
    """Finds nobody."""
    answers, description = 0, "none"

    def idle(self):
        return False

    def answer(self, wait=False):
        return None

    def notice(self):
        return None

    def close(self):
        pass


class Running:
    """A House that watches with a file, in a thread that turns while `turning` is set."""

    def __init__(self, path, monkeypatch):
        monkeypatch.setattr(doorcam, "Recognizer", lambda *_, **__: NoRecognition())
        options = doorcam.make_parser().parse_args(
            ["--headless", "--source", "rtsp://127.0.0.1:1/", "--faces", path, "--engine", "dlib"])
        self.stop, self.turning, self.now, self.turns = types.SimpleNamespace(asked=False), threading.Event(), START, 0
        self.house = doorcam.House(options, self.stop)
        self.turning.set()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        wait_for(lambda: not self.house.loading, 30, "the book is read")

    def _run(self):
        self.house.watch_the_door(self._frames())
        self.house.finish_visits()
        self.house.close()

    def _frames(self):
        while True:
            self.turning.wait()
            self.turns += 1
            yield [(self.house.doors[0], FRAME)], self.now
            time.sleep(0.005)

    def turn(self):
        """Waits until the loop has turned."""
        turns = self.turns
        wait_for(lambda: self.turns > turns + 1, 30, "the loop turns")

    def end(self):
        self.stop.asked = True
        self.turning.set()
        self.thread.join(30)


@pytest.fixture
def path(tmp_path):
    return shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))


@pytest.fixture
def running(path, monkeypatch):
    running = Running(path, monkeypatch)
    yield running
    running.end()


def visitors_of(path):
    """{number: (name, ignored)} as the file and its journal hold them now."""
    visitors, _, problems = doorcam.collections.deque(doorcam.read_in_steps(path), 1).pop()
    assert not problems
    return {visitor.number: (visitor.name, visitor.ignored) for visitor in visitors}


COMMANDS = [(["name", "1", "Мария 'x' \"; rm"], 0), (["name", "2", ""], 0), (["merge", "2", "1"], 0), (["ignore", "1"], 0),
            (["forget", "2"], 0), (["name", "7", "Otto"], 1), (["merge", "1", "1"], 1), (["forget", "3"], 1)]


@pytest.mark.parametrize("command, status", COMMANDS, ids=[" ".join(command) for command, _ in COMMANDS])
def test_a_command_does_and_says_the_same_with_and_without_a_doorcam_that_watches(
        command, status, path, tmp_path, monkeypatch, capsys):
    other = shutil.copy(EXAMPLE, str(tmp_path / "other.dat"))
    assert doorcam.main(command + ["--faces", other]) == status
    without = capsys.readouterr()
    running = Running(path, monkeypatch)
    try:
        capsys.readouterr()
        assert doorcam.main(command + ["--faces", path]) == status
        assert visitors_of(path) == visitors_of(other)  # saved before it was answered
        assert {visitor.number for visitor in running.house.book.visitors.values()} == set(visitors_of(other))
    finally:
        running.end()
    said = capsys.readouterr()
    assert without.out in said.out and said.err.splitlines()[:1] == without.err.splitlines()


def test_the_list_says_who_is_there_now(running, path, capsys):
    visitor = running.house.book[2]
    visitor.last_seen, visitor.first_seen_this_interaction = START + 1, START - 11
    running.house.visits._note(visitor, "")
    running.now = START + 1
    running.turn()
    assert doorcam.main(["list", "--faces", path]) == 0
    first, second = capsys.readouterr().out.splitlines()[1:3]
    assert "at the door 12s" in second and "at the door" not in first
    assert doorcam.main(["list", "--json", "--faces", path]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["at_door_seconds"] for one in told] == [None, 12] and not any("door" in one for one in told)
    visitor.last_seen = START + 1.1
    running.house.visits._note(visitor, "back")
    assert doorcam.main(["list", "--faces", path]) == 0
    assert "at the door 12s, back" in capsys.readouterr().out
    assert doorcam.main(["list", "--json", "--faces", path]) == 0
    assert [one.get("door") for one in json.loads(capsys.readouterr().out)] == [None, "back"]


def test_the_list_knows_who_came_a_moment_ago(running, path, capsys):
    running.house.book.register_new_face(person(3), START)
    assert doorcam.main(["list", "--json", "--faces", path]) == 0
    assert [one["number"] for one in json.loads(capsys.readouterr().out)] == [1, 2, 3]


@pytest.mark.parametrize("json_wanted", [False, True])
def test_events_are_followed_as_they_come(json_wanted, running, path, capsys):
    command = ["list", "--follow", "--faces", path] + (["--json"] if json_wanted else [])
    thread = threading.Thread(target=doorcam.main, args=(command,))
    thread.start()
    mouth = running.house.desk.mouths[0]
    wait_for(lambda: mouth._followers, 30, "somebody follows")
    running.turning.clear()
    time.sleep(0.05)
    mouth.tell(doorcam.Event("returned", START, 2, 3, 600.0), "Анна")
    running.end()  # the follower's end, too
    thread.join(30)
    assert not thread.is_alive()
    line = capsys.readouterr().out.splitlines()[-1]
    if json_wanted:
        said = json.loads(line)
        assert (said["kind"], said["visitor"], said["visit"], said["name"]) == ("returned", 2, 3, "Анна")
    else:
        assert line.endswith("Анна returned (visit 3)")


def test_nobody_can_be_followed_where_no_doorcam_watches(path, capsys):
    assert doorcam.main(["list", "--follow", "--faces", path]) == 1
    assert "no doorcam watches with %s" % path in capsys.readouterr().err


@pytest.mark.parametrize("command", [["name", "1", "Otto"], ["forget", "1"], ["list"]])
def test_a_doorcam_that_hangs_is_told_and_does_nothing_later(command, running, path, monkeypatch, capsys):
    monkeypatch.setattr(doorcam, "ASK_PATIENCE", 0.4)
    monkeypatch.setattr(doorcam, "ASK_UNTIL", 0.2)
    before = visitors_of(path)
    running.turning.clear()
    time.sleep(0.05)
    capsys.readouterr()
    assert doorcam.main(command + ["--faces", path]) == 1
    said = capsys.readouterr()
    assert said.err == "doorcam: doorcam, process %d, does not answer: nothing was changed; stop it and start it again\n" \
        % os.getpid()
    assert ("number" in said.out) == (command == ["list"])  # what the file says is there all the same
    running.turning.set()
    running.turn()
    assert visitors_of(path) == before and {one.number for one in running.house.book.visitors.values()} == set(before)


def test_a_socket_that_a_killed_doorcam_left_is_no_obstacle(path, monkeypatch, capsys):
    left = socket.socket(socket.AF_UNIX)
    left.bind(path + ".sock")
    left.close()
    assert doorcam.main(["name", "1", "Otto", "--faces", path]) == 0
    running = Running(path, monkeypatch)
    try:
        assert doorcam.main(["name", "1", "Anna", "--faces", path]) == 0
        assert running.house.book[1].name == "Anna"
    finally:
        running.end()
    assert not os.path.exists(path + ".sock")


def test_where_the_folder_takes_no_socket_another_place_is_found(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    path = shutil.copy(EXAMPLE, str(folder / "known_faces.dat"))
    running = Running(path, monkeypatch)
    try:
        place = running.house.desk.mouths[0]._place
        assert not place.startswith(str(tmp_path)) and os.lstat(place).st_mode & 0o777 == 0o600
        assert os.lstat(os.path.dirname(place)).st_uid == os.getuid()
        assert doorcam.main(["name", "1", "Anna", "--faces", path]) == 0
        assert running.house.book[1].name == "Anna"
    finally:
        running.end()
    assert not os.path.exists(place)


def test_what_is_no_socket_stays_where_it_is(path):
    with open(path + ".sock", "w") as file:
        file.write("mine")
    mouth = doorcam.CommandSocket(path)
    assert mouth._place not in (None, path + ".sock")
    mouth.close()
    with open(path + ".sock") as file:
        assert file.read() == "mine"


def test_a_folder_that_others_may_write_is_not_used(monkeypatch):
    with tempfile.TemporaryDirectory() as folder:  # whose path is short enough
        shared = os.path.join(folder, "shared")
        os.mkdir(shared)
        os.chmod(shared, 0o777)
        monkeypatch.setattr(doorcam, "OWN_FOLDERS", (os.path.join(folder, "shared%.0s"), os.path.join(folder, "own-%d")))
        monkeypatch.setattr(doorcam, "socket_places", lambda path, places=doorcam.socket_places: list(places(path))[1:])
        mouth = doorcam.CommandSocket(os.path.join(folder, "faces"))
        own = os.path.join(folder, "own-%d") % os.getuid()
        assert os.path.dirname(mouth._place) == own and os.lstat(own).st_mode & 0o777 == 0o700
        mouth.close()
        assert os.listdir(own) == os.listdir(shared) == []


def test_where_no_place_is_left_the_commands_say_who_holds_the_book(path, monkeypatch, capsys):
    monkeypatch.setattr(doorcam, "socket_places", lambda path: [])
    with doorcam.lock_known_faces(path):
        mouth = doorcam.CommandSocket(path)
        assert mouth.requests() == []
        assert doorcam.main(["name", "1", "Anna", "--faces", path]) == 1
        mouth.close()
    assert "is in use by another doorcam, process %d" % os.getpid() in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ hostile


def call(path, data, answers=True):
    """What is answered to these bytes, b"" if the connection just ends."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
        line.settimeout(30)
        line.connect(path + ".sock")
        with contextlib.suppress(OSError):  # it may be ended while it still sends
            line.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            return line.recv(65536)
    return b""


def request(command="name", arguments=None, until=None):
    until = time.monotonic() + 30 if until is None else until
    return json.dumps({"command": command, "arguments": arguments, "until": until}).encode() + b"\n"


HOSTILE = [
    b"\n", b"{}\n", b"[]\n", b"null\n", b"\xff\xfe\n", b"[" * 5000 + b"\n", b"x" * 20000, b"{" + b" " * 8189 + b"}\n",
    b'{"command": "name"}\n', b"1" * 6000 + b"\n", b"NaN\n", request("quit"), request("fullscreen"), request("__class__"),
    request("name", []), request("name", {}), request("name", {"number": "1"}), request("name", {"number": {}, "name": ""}),
    request("name", {"number": 1e400, "name": "x"}), request("name", {"number": -1, "name": "x"}),
    request("name", {"number": True, "name": "x"}), request("name", {"number": 2 ** 70, "name": "x"}),
    request("merge", {"number": 1}), request("list"), request(["name"]), request(None), request("name", "x"),
    request("name", {"number": 1, "name": "Otto"}, until=-1), request("name", {"number": 1, "name": "Otto"}, float("nan")),
    request("name", {"number": 1, "name": "Otto"}, "soon"), request("name", {"number": 1, "name": "Otto"}, {})]


def test_hostile_lines_change_nothing_and_end_nothing(running, path):
    before = visitors_of(path)
    for data in HOSTILE:
        said = call(path, data)
        assert not said or not json.loads(said.decode())["done"], data
    running.turn()
    assert running.thread.is_alive() and visitors_of(path) == before
    assert json.loads(call(path, request("name", {"number": "1", "name": "Otto", "more": 1})).decode())["done"]


def test_who_says_nothing_is_not_waited_for(running, path, monkeypatch):
    monkeypatch.setattr(doorcam, "ASK_PATIENCE", 1.0)
    idle = [socket.socket(socket.AF_UNIX) for _ in range(doorcam.CommandSocket.MOST)]
    for line in idle:
        line.connect(path + ".sock")
    wait_for(lambda: len(running.house.desk.mouths[0]._calls) == doorcam.CommandSocket.MOST, 30, "all are taken")
    running.turn()
    assert b'"done": true' in call(path, request("name", {"number": 1, "name": "Otto"}))  # once the idle ones are gone
    for line in idle:
        line.close()


def test_fifty_at_once_are_all_answered(running, path):
    said = []
    threads = [threading.Thread(target=lambda: said.append(call(path, request("name", {"number": 1, "name": "Otto"}))))
               for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) == 50 and all(b'"done": true' in one for one in said)


def test_a_follower_that_reads_nothing_is_dropped(path):
    mouth = doorcam.CommandSocket(path)
    line = socket.socket(socket.AF_UNIX)
    line.connect(path + ".sock")
    line.sendall(request("follow", {}))
    wait_for(lambda: mouth.requests() or mouth._followers, 30, "it follows")
    for _ in range(20000):
        mouth.tell(doorcam.Event("new", START, 1, 1), "x" * 100)
    assert not mouth._followers and not mouth._calls
    line.close()
    mouth.close()


def test_another_user_gets_nothing(path, monkeypatch):
    mouth = doorcam.CommandSocket(path)
    assert os.lstat(path + ".sock").st_mode & 0o777 == 0o600
    monkeypatch.setattr(doorcam, "peer_of", lambda connection: (4711, os.getuid() + 12345))
    line = socket.socket(socket.AF_UNIX)
    line.connect(path + ".sock")
    line.sendall(request("name", {"number": 1, "name": "Otto"}))
    line.settimeout(30)
    assert mouth.requests() == [] and not mouth._calls
    with contextlib.suppress(ConnectionResetError):
        assert line.recv(100) == b""
    assert list(doorcam.call_doorcam(path, "there", {})) == []  # nor is another's doorcam believed
    line.close()
    mouth.close()


def test_what_cannot_be_saved_is_answered_so(running, path, monkeypatch, capsys):
    monkeypatch.setattr(doorcam, "SAVE_PATIENCE", 0.2)

    def full(*_):
        raise OSError(28, "No space left on device")
    for name in ("save_known_faces", "append_to_journal"):
        monkeypatch.setattr(doorcam, name, full)
    assert doorcam.main(["name", "1", "Otto", "--faces", path]) == 0
    assert "visitor 1 is now Otto, but that is not saved yet" in capsys.readouterr().out
    monkeypatch.undo()
