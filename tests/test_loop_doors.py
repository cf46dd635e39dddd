"""Several doors with one book: what the options say of them, whose turn it is, one visit wherever, one window."""
import json
import threading
import types

import numpy as np
import pytest

import doorcam
import processes
from helpers import START, STEP, Story, face, person
from processes import IMPATIENT, Doorcam, run_doorcam, visit_frames, write_clip
from test_camera import HttpCamera
from test_visitors_visits import Scene


def places(*arguments):
    return doorcam.places_of(doorcam.make_parser().parse_args(arguments))


def test_one_camera_has_no_name():
    assert [(place.name, str(place.source), place.flip) for place in places()] == [("", "camera 0", "none")]


def test_doors_have_names_or_numbers_and_options_of_their_own():
    found = places("--source", "front=rtsp://10.0.0.2/s", "--source", "1", "--flip", "180", "--flip", "2=90", "--mask",
                   "front=mask=1.png", "--scale", "2=0.5", "--aspect", "16:9")
    assert [place.name for place in found] == ["front", "2"]
    assert [place.source.value for place in found] == ["rtsp://10.0.0.2/s", 1]
    assert [(place.flip, place.mask, place.scale) for place in found] == [("180", "mask=1.png", None), ("90", None, 0.5)]
    assert all(abs(place.source.aspect - 16 / 9.0) < 1e-6 for place in found)


def test_what_exists_as_a_file_is_no_door_s_name(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    (tmp_path / "front=1.mp4").write_bytes(b"")
    (place,) = places("--source", "front=1.mp4")
    assert (place.name, place.source.value) == ("", "front=1.mp4")
    assert places("--source", "rtsp://10.0.0.2/?user=me&password=it")[0].name == ""
    assert places("--source", "v4l2src device=/dev/video0 ! appsink")[0].name == ""


@pytest.mark.parametrize("arguments, said", [
    (["--source", "a=0", "--source", "a=1"], "same name"), (["--source", "demo", "--source", "1"], "demo"),
    (["--source", "0", "--source", "film.mp4"], "together"), (["--source", "a=0", "--flip", "b=90"], "no door called b"),
    (["--flip", "sideways"], "sideways"), (["--source", "a=0", "--scale", "a=0"], "factor")])
def test_wrong_doors_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        doorcam.main(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2 and said in err and err.count("\n") == 1


# -------------------------------------------------------------------------------------------------------- visits


class Doors:
    """Two doors, one book."""

    def __init__(self):
        self.book, self.now = doorcam.Book(doorcam.OPENCV), START
        self.visits = doorcam.Visits(self.book)
        self.doors = [doorcam.Door(self.book, self.visits, doorcam.Place(name)) for name in ("front", "back")]
        self.told = []

    def look(self, *faces, **options):
        """So many seconds with these faces at the doors, a list for each; None where there is no picture."""
        for _ in range(int(options.get("seconds", 3.0) / STEP)):
            self.now += STEP
            for door, there in zip(self.doors, faces):
                if there is None:
                    continue
                door.looked_at = self.now
                self.told += door.recognize(doorcam.Look(None, 1.0, True, []), list(there))
            for door in self.doors:
                self.told += door.end_tracks(self.now)
            self.told += self.visits.end([track for door in self.doors for track in door.tracks], self.now)


def test_a_visit_goes_on_as_long_as_somebody_is_seen_anywhere():
    house = Doors()
    house.look([face(person(1))], [], seconds=5)
    house.look([], [face(person(1))], seconds=400)
    house.look([face(person(1))], [face(person(1))], seconds=5)  # cameras overlap
    house.look([], [], seconds=290)
    house.look([face(person(1))], [], seconds=5)
    house.look([], [], seconds=310)
    assert [(event.kind, event.visitor, event.door) for event in house.told] == [("new", 1, "front"), ("left", 1, "front")]
    assert house.told[-1].seconds == pytest.approx(705, abs=2) and len(house.book) == 1


def test_only_who_is_in_one_picture_is_seen_together():
    house = Doors()
    house.look([face(person(1))], [face(person(2))], seconds=5)
    assert house.book[1].apart == house.book[2].apart == set()
    house.look([face(person(1), x=200), face(person(3), x=600)], [face(person(2))], seconds=5)
    assert house.book[1].apart == {3} and not house.book[2].apart


def test_a_camera_that_is_lost_touches_who_was_seen_there_only():
    house = Doors()
    house.look([face(person(1))], [face(person(2))], seconds=20)
    moment = house.now - 10
    house.doors[0].lose(moment)
    house.visits.lose(moment, "front")
    assert house.book[1].last_seen == moment and house.book[2].last_seen == house.now


def test_a_camera_that_is_lost_takes_nothing_from_what_another_has_seen():
    """It has given the same picture for a while, in which somebody is who has long been at the other door."""
    house = Doors()
    house.look([face(person(1))], [], seconds=20)
    moment = house.now
    house.look([face(person(1))], [face(person(1))], seconds=9)
    house.look([face(person(1))], [], seconds=2)
    house.doors[0].lose(moment)
    house.visits.lose(moment, "front")
    assert house.book[1].last_seen == moment + 9
    house.look([], [], seconds=310)
    assert [(event.kind, event.door) for event in house.told] == [("new", "front"), ("left", "back")]


def test_a_camera_that_is_lost_holds_up_no_visit_at_another_door():
    """Whoever is undecided there might have been who has left here."""
    house = Doors()
    house.look([], [face(person(1))], seconds=5)
    house.look([], [], seconds=280)
    house.look([face(person(2))], [], seconds=2 * STEP)
    assert house.doors[0].tracks[0].visitor is None
    house.doors[0].lose(house.now)
    house.visits.lose(house.now, "front")
    house.look(None, [], seconds=80)
    house.look(None, [face(person(1))], seconds=5)
    assert [(event.kind, event.visit) for event in house.told] == [("new", 1), ("left", 1), ("returned", 2)]


def test_a_poster_takes_nothing_from_what_another_door_has_seen():
    house, portrait = Doors(), processes.portrait(0, 150)
    poster, owner = Scene(portrait), Scene(portrait, 8.0)
    house.look([], [owner.face(person(1))], seconds=1)
    for _ in range(int(75 / STEP)):
        house.look([poster.face(person(1))], [owner.face(person(1))], seconds=STEP)
    visitor, seen = house.book[1], house.now
    assert visitor.is_picture and not house.doors[0].tracks[0].visitor
    house.look([poster.face(person(1))], [], seconds=310)
    assert [(event.kind, event.visit, event.door) for event in house.told] == [("new", 1, "back"), ("left", 1, "back")]
    assert visitor.last_seen == seen


def test_a_name_that_one_door_takes_back_takes_nothing_from_what_another_has_seen():
    house = Doors()
    house.look([face(person(1))], [], seconds=5)
    house.look([], [], seconds=310)
    front, back = house.doors
    visitor, before = house.book[1], house.visits.before(house.book[1])
    house.told.append(house.visits.see(visitor, house.now, house.now, "front"))   # it is somebody else
    track = types.SimpleNamespace(visitor=1, before=before._replace(told=True), evidence=[], mistaken=set(),
                                  become=lambda number: None)
    house.look([], [face(person(1))], seconds=5)
    seen = house.now
    house.look([], [], seconds=5)
    house.told += front.greeter._take_back(track, house.now)
    house.look([], [], seconds=310)
    assert [(event.kind, event.visit) for event in house.told] == [("new", 1), ("left", 1), ("returned", 2), ("left", 2)]
    assert visitor.last_seen == seen and house.told[-1].door == "back"


# --------------------------------------------------------------------------------------------------------- turns


class Slow:
    """Recognises in 0.1 s for each face and each look, by a clock that the test moves."""
    description, answers = "slow", 0

    def __init__(self, faces_of):
        self.faces_of, self.now, self.look, self.until, self.looks = faces_of, START, None, 0.0, []

    def idle(self):
        return self.look is None

    def offer(self, look):
        self.look, self.until = look, self.now + 0.02 + 0.02 * len(self.faces_of(look.door))
        self.looks.append((self.now, look.door))

    def answer(self, wait=False):
        if self.look is None or self.now < self.until:
            return None
        look, self.look = self.look, None
        return look, self.faces_of(look.door)

    def notice(self):
        return None


@pytest.mark.parametrize("crowd", [1, 6])
def test_no_door_waits_longer_than_a_second_for_its_look(crowd):
    def faces_of(door):
        return [face(person(10 * door + number), x=150 * number + 100, width=90)
                for number in range(crowd if door == 0 else 1)]
    book = doorcam.Book(doorcam.OPENCV)
    visits = doorcam.Visits(book)
    doors = [doorcam.Door(book, visits, doorcam.Place(str(number), scale=0.25)) for number in range(8)]
    recognition = doorcam.Recognition.__new__(doorcam.Recognition)
    recognition._sync, recognition._stop = False, types.SimpleNamespace(asked=False)
    recognition.anew = types.SimpleNamespace(goes_on=lambda: False)
    recognition.recognizer = slow = Slow(faces_of)
    random = np.random.RandomState(1)
    frames = [random.randint(0, 255, (72, 128, 3), np.uint8) for _ in range(8)]  # everything moves everywhere
    decided = {}
    for turn in range(600):
        slow.now = START + turn / 30.0
        for number, door in enumerate(doors):
            if (turn + number) % 2 == 0:
                door.take(frames[(turn // 2 + number) % 8], slow.now)
        recognition.look(doors)
        for number, door in enumerate(doors):
            if any(track.visitor for track in door.tracks):
                decided.setdefault(number, slow.now - START)
    for number in range(8):
        moments = [moment for moment, door in slow.looks if door == number]
        assert max(after - before for before, after in zip(moments, moments[1:])) <= 1.0, number
    assert set(decided) == set(range(8)) and max(decided.values()) < 10


class Eye:
    """A door whose camera has the frames that it is given."""
    ended, source, name, frame, gone = False, "camera", "", None, 0.0
    signal = types.SimpleNamespace(trouble="")

    def __init__(self):
        self.camera = self

    def has_new(self):
        return self.frame is not None

    def newest(self, timeout):
        frame, self.frame = self.frame, None
        return frame

    def lost(self):
        return self.gone


def test_a_frame_waits_a_moment_for_those_of_the_other_doors(monkeypatch):
    front, back, news = Eye(), Eye(), threading.Event()
    turns = doorcam.live_turns([front, back], print, print, news)

    def comes(door, frame):
        door.frame = frame
        news.set()
    monkeypatch.setattr(doorcam, "TURN_HOLD", 30.0)
    comes(front, 1)
    later = threading.Timer(0.1, comes, (back, 2))
    later.start()
    assert next(turns)[0] == [(front, 1), (back, 2)]
    later.join()
    monkeypatch.setattr(doorcam, "TURN_HOLD", 0.01)
    comes(back, 3)
    assert next(turns)[0] == [(back, 3)]  # the other one shows nothing new
    assert next(turns)[0] == []


def test_no_frame_waits_for_a_door_that_is_lost(monkeypatch):
    front, back, news = Eye(), Eye(), threading.Event()
    turns = doorcam.live_turns([front, back], print, lambda door, moment: None, news)
    monkeypatch.setattr(doorcam, "TURN_HOLD", 30.0)
    back.gone, front.frame = 5.0, 1
    news.set()
    later = threading.Timer(0.5, lambda: (setattr(back, "frame", 2), news.set()))
    later.start()
    assert next(turns)[0] == [(front, 1)]
    later.join()


def test_recordings_are_played_beside_each_other_in_time(tmp_path):
    clip = write_clip(tmp_path / "front.avi", visit_frames(60))
    other = write_clip(tmp_path / "back.avi", visit_frames(120))
    status, out, err = run_doorcam("--source", "front=" + clip, "--source", "back=" + other, "--headless", "--engine",
                                   "opencv", "--log", "log.csv", "--stats", folder=tmp_path)
    assert (status, err) == (0, "")
    rows = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()]
    assert rows[0] == list(doorcam.EventLog.HEADER)
    assert [(row[1], row[2], row[7]) for row in rows[1:]] == [("new", "1", rows[1][7]), ("left", "1", "back")]
    assert 11 <= int(rows[2][5]) <= 12 and "is new at " + rows[1][7] in out
    figures = json.loads(out.splitlines()[-1])
    assert {name: one["frames"] for name, one in figures["doors"].items()} == {"front": 60, "back": 120}


def test_a_lost_camera_touches_its_own_picture_only(tmp_path):
    front, back = HttpCamera(), HttpCamera()
    try:
        with Doorcam("--source", "front=" + front.address, "--source", back.address, "--headless", "--stats", "--engine",
                     "opencv", folder=tmp_path, settings=IMPATIENT) as door:
            door.wait_for("engine:")
            back.mode = "silent"
            door.wait_for("no picture from %s" % back.shown)
            back.mode = "run"
            door.wait_for("%s is back" % back.shown)
            status, out, err = door.stop()
    finally:
        front.off()
        back.off()
    figures = json.loads(out.splitlines()[-1])["doors"]
    assert status == 0 and front.shown not in err and set(figures) == {"front", "2"}
    assert figures["front"]["gap_max_ms"] < 1000 < figures["2"]["gap_max_ms"]


# -------------------------------------------------------------------------------------------------------- window


def doors_with(*frames):
    doors = []
    for number, frame in enumerate(frames, 1):
        doors.append(Story().door)
        doors[-1].name, doors[-1].frame = "door %d" % number, frame
    return doors


def test_the_grid_has_a_place_for_each_door_and_moves_boxes_there():
    frames = [np.full((720, 1280, 3), 40, np.uint8), np.full((480, 640, 3), 80, np.uint8), None]
    frames[1][100:200, 300:400] = (0, 0, 255)
    doors = doors_with(*frames)
    picture, boxes, moves = doorcam.Grid().draw(doors, lambda frame: 0.25, {door: door.name for door in doors})
    assert picture.shape == (360, 640, 3)
    assert boxes == [(0, 320, 180, 0), (0, 640, 180, 320), (180, 320, 360, 0)]
    mark = doorcam.moved_mark(doorcam.Mark((100, 400, 200, 300), "", (0, 0, 0), None), *moves[doors[1]])
    top, right, bottom, left = mark.box
    assert (picture[top + 2:bottom - 2, left + 2:right - 2] == (0, 0, 255)).all()
    assert not (picture[top - 3, left - 3] == (0, 0, 255)).all() and 340 <= left < right <= 620
    assert picture[90, 160].tolist() == [40] * 3 and picture[90, 330].tolist() == [0] * 3 and doors[2] not in moves


def test_a_click_or_a_number_shows_one_door_and_all_again():
    controls = doorcam.Controls()
    controls.drawn([((0, 50, 50, 0), 7)], [], [], [(0, 100, 100, 0), (0, 200, 100, 100)])
    assert controls.requests([(150, 60)], {}, 0.0) == [doorcam.Request("enlarge", {"door": 1})]
    assert controls.requests([ord("2")], {}, 0.0) == [doorcam.Request("enlarge", {"door": 1})]
    assert controls.requests([(20, 20)], {}, 0.0) == [] and controls.panel.visitor == 7
    options = types.SimpleNamespace(headless=True, fullscreen=False)
    view = doorcam.View(options)
    for number, alone in ((1, 1), (0, None), (5, None), (0, 0)):
        view.enlarge(number, [None, None])
        assert view._alone == alone
    one = doorcam.View(options)
    one.enlarge(0, [None])
    assert one._alone is None
