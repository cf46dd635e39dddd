"""Several doors with one book: what the options say of them, whose turn it is, one visit wherever, one window."""
import json
import shlex
import threading
import time
import types

import numpy as np
import pytest

import doorcam
import processes
from helpers import PICTURE, START, STEP, Story, face, person, written_and_read
from processes import (IMPATIENT, Doorcam, environment, one_line, run_doorcam, tool, visit_frames, wait_for, write_clip,
                       xvfb)
from test_camera import HttpCamera
from test_visitors_visits import Scene
from test_window import Desktop, find_text


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
    found = places("--source", "front=0", "--source", "back door=1", "--aspect", "back door=4:3")
    assert [place.source.aspect for place in found] == [None, 4 / 3.0]


def test_what_exists_as_a_file_is_no_door_s_name(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    (tmp_path / "front=1.mp4").write_bytes(b"")
    (place,) = places("--source", "front=1.mp4")
    assert (place.name, place.source.value) == ("", "front=1.mp4")
    assert places("--source", "rtsp://10.0.0.2/?user=me&password=it")[0].name == ""
    assert places("--source", "v4l2src device=/dev/video0 ! appsink")[0].name == ""


@pytest.mark.parametrize("text, name, value", [
    ("back door=1", "back door", "1"), ("T\u00fcr=rtsp://h/s?a=b", "T\u00fcr", "rtsp://h/s?a=b"),
    ("Tu\u0308r=0", "T\u00fcr", "0"), ("\u540e\u95e8=0", "\u540e\u95e8", "0"),
    ("\u0926\u0930\u0935\u093e\u091c\u093c\u093e=0", "\u0926\u0930\u0935\u093e\u091c\u093c\u093e", "0"),
    (" Mum's\tdoor (2) =0", "Mum's door (2)", "0"), ("T\udcfcr=0", "T\ufffdr", "0"),
    ("back door=v4l2src device=/dev/video1 ! appsink", "back door", "v4l2src device=/dev/video1 ! appsink"),
    ("rtspsrc name=src location=rtsp://h/s ! appsink", "", None), ("uridecodebin uri=file:///a ! appsink", "", None),
    ("compositor name=all ! appsink", "", None), ("/films/back door=1.mp4", "", None), ("film?a=1", "", None),
    ("rtsp://me:pass=word@h/s", "", None), ("me:pass=word@h/s", "", None), ("=0", "", None), (" =0", "", None)])
def test_a_name_may_have_any_letters_and_what_is_before_a_sign_need_not_be_one(text, name, value):
    assert doorcam.split_door(text) == (name, text if value is None else value)


def test_the_number_of_a_door_is_said_to_be_one():
    said = [doorcam.sentence(doorcam.Event("new", START, 1, 1, door=door), "") for door in ("", "2", "back")]
    assert [line.split(" ", 1)[1] for line in said] == ["visitor 1 is new", "visitor 1 is new at door 2", "visitor 1 is new at back"]
    assert doorcam.at_door_text(5, "2") == "at the door 5s, door 2" and doorcam.at_door_text(5, "") == "at the door 5s"


def test_the_name_of_a_door_is_no_formula_in_the_log(tmp_path):
    log = doorcam.EventLog(str(tmp_path / "log.csv"), doors=True)
    log.tell(doorcam.Event("new", START, 1, 1, door="+1+1"), "")
    assert (tmp_path / "log.csv").read_text().splitlines()[1].endswith(",'+1+1")


@pytest.mark.parametrize("arguments, said", [
    (["--source", "a b=0", "--source", "a  b=1"], "called a b"), (["--source", "demo", "--source", "1"], "demo"),
    (["--source", "0", "--source", "film.mp4"], "together"), (["--source", "a=0", "--flip", "b=90"], "no door called b"),
    (["--source", "2=0", "--source", "1"], "called 2"), (["--source", "a=0", "--source", "b="], "b: it is empty"),
    (["--source", "x" * 31 + "=0"], "30 letters"), (["--source", "a b=0", "--mask", "A b=m.png"], "no door called A b"),
    (["--source", "a=0", "--aspect", "b=4:3"], "no door called b"), (["--aspect", "a=4"], "a: 4 is no width"),
    (["--flip", "sideways"], "sideways"), (["--source", "a=0", "--scale", "a=0"], "factor")])
def test_wrong_doors_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        doorcam.main(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2 and said in err and err.count("\n") == 1


def test_what_is_said_of_a_camera_names_its_door():
    found = places("--source", "back door=rtsp://me:secret@10.0.0.2/s?a=b", "--source", "977", "--source", "csi")
    assert [str(place.source) for place in found] == [
        "rtsp://***@10.0.0.2/s?*** (door back door)", "camera 977 (door 2)", "CSI camera 0 (door 3)"]
    assert doorcam.why_not_open(found[1].source).startswith("camera 977 (door 2) is not there (cameras found: ")
    assert str(places("--source", "front=0")[0].source) == "camera 0 (door front)"
    (alone,) = places("--source", "977")
    assert doorcam.why_not_open(alone.source).startswith("camera 977 is not there (")


def test_the_advice_to_turn_one_door_s_picture_can_be_pasted(capsys):
    tilt = doorcam.Tilt(places("--source", "Mum's door=0")[0])
    for _ in range(tilt.FACES):
        tilt.found("90", [face(person(1))], doorcam.OPENCV)
    (line,) = capsys.readouterr().err.splitlines()
    option = shlex.split(line.split("try ")[1])
    assert places("--source", "Mum's door=0", *option)[0].flip == "90" and "camera 0 (door Mum's door)" in line


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


def test_a_visit_that_goes_on_when_doorcam_starts_again_is_still_at_its_door():
    house = Doors()
    house.look([face(person(1))], [face(person(2))], seconds=5)
    visits = doorcam.Visits(written_and_read(house.book))
    assert [event.door for event in visits.end([], house.now + 400)] == ["front", "back"]


def test_the_clock_is_the_visits_clock_also_when_the_first_door_s_recording_is_over():
    house = Doors()
    house.look([], [face(person(1))], seconds=5)
    doors = doorcam.Doors([])
    doors.extend(house.doors)
    doors._visits, doors[0].over, seen = house.visits, True, house.book[1].last_seen
    doors.shift(doors[1], 3600.0)
    assert house.book[1].last_seen == seen + 3600


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
    ended, source, name, frame, gone, error = False, "camera", "", None, 0.0, None
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

    def failed(self):
        return self.error


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


def test_a_camera_that_ends_is_over_and_the_others_go_on():
    front, back, news = Eye(), Eye(), threading.Event()
    front.over = back.over = False
    turns = doorcam.live_turns([front, back], print, lambda door, moment: None, news)
    front.frame, back.ended = 1, True
    assert next(turns)[0] == [(front, 1)] and (front.over, back.over) == (False, True)
    assert doorcam.View._said(back, 5.0) == "The recording is over"


def test_a_camera_that_cannot_be_opened_is_tried_on_while_another_can(capsys):
    front, back, news = Eye(), Eye(), threading.Event()
    turns = doorcam.live_turns([front, back], print, lambda door, moment: None, news)
    back.error = doorcam.DoorcamError("camera 1 (door back) cannot be opened")
    for _ in range(3):
        assert next(turns)[0] == []     # the other one may be opened yet
    assert capsys.readouterr().err == ""
    for frame in range(3):
        front.frame = frame
        assert next(turns)[0] == [(front, frame)]
    one_line(capsys.readouterr().err, back.error, "the other doors are watched")
    back.error, back.frame = None, 7
    assert next(turns)[0] == [(back, 7)]


def test_where_no_camera_can_be_opened_each_is_named_and_doorcam_ends(capsys):
    front, back, news = Eye(), Eye(), threading.Event()
    turns = doorcam.live_turns([front, back], print, print, news)
    front.error, back.error = doorcam.DoorcamError("camera 0"), doorcam.DoorcamError("camera 1")
    with pytest.raises(doorcam.DoorcamError, match="camera 0"):
        next(turns)
    one_line(capsys.readouterr().err, "camera 1")


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


def test_each_recording_that_breaks_off_is_named(capsys):
    def frames(name):
        yield name, START
        raise doorcam.DoorcamError(name + " breaks off")
    with pytest.raises(doorcam.DoorcamError, match="a breaks off"):
        assert len(list(doorcam.beside_each_other({name: frames(name) for name in "ab"}))) == 2
    one_line(capsys.readouterr().err, "b breaks off")


def test_nobody_is_before_a_recording_that_has_ended(tmp_path):
    """While others go on: its last picture stays, without a box that counts the time."""
    clips = [write_clip(tmp_path / ("%d.avi" % count), visit_frames(count)) for count in (20, 40)]
    doors = doorcam.Doors([doorcam.Place(clip, doorcam.Source("file", clip)) for clip in clips])
    book = doorcam.Book(doorcam.OPENCV)
    doors.begin(book, doorcam.Visits(book))
    turns, over = 0, []
    for turns, (frames, now) in enumerate(doors.play(), 1):
        for door, frame in frames:
            door.take(frame, now)
            door.looked_at = now
            door.recognize(doorcam.Look(None, 1.0, True, []), [face(person(1))])
        doors.end_tracks(now)
        over.append([door.over for door in doors])
        assert [bool(door.marks(now)) for door in doors] == [not door.over for door in doors] or turns == 1
    assert turns == 60 and [False, False] in over and over[-1] == [True, False]
    assert doorcam.View._said(doors[0], 0.0) == "The recording is over" and doorcam.View._said(doors[1], 5.0)


@pytest.mark.parametrize("name, said", [("none.avi", "does not exist"), ("text.avi", "is not a video"),
                                        ("", "cannot be read")])
def test_a_recording_that_cannot_be_played_is_named_before_any_is(tmp_path, name, said):
    clip = write_clip(tmp_path / "front.avi", visit_frames(60))
    (tmp_path / "text.avi").write_text("no video")
    status, out, err = run_doorcam("--source", "front=" + clip, "--source", "back door=%s" % (tmp_path / name),
                                   "--headless", "--engine", "opencv", "--log", "log.csv", folder=tmp_path)
    assert status == 1 and "is new" not in out and len((tmp_path / "log.csv").read_text().splitlines()) == 1
    one_line(err, said, "(door back door)")


def test_one_camera_is_not_two_doors(capsys):
    with pytest.raises(SystemExit):
        doorcam.main(["--source", "front=0", "--source", "0"])
    assert "camera 0 (door front)" in capsys.readouterr().err
    assert len(places("--source", "rtsp://h/s", "--source", "rtsp://h/s")) == 2  # with two masks, say


def test_a_camera_that_is_off_at_the_start_touches_its_own_picture_only(tmp_path):
    front, back = HttpCamera(), HttpCamera()
    back.off()
    try:
        with Doorcam("--source", "front=" + front.address, "--source", "back=" + back.address, "--headless", "--stats",
                     "--engine", "opencv", folder=tmp_path, settings=IMPATIENT) as door:
            door.wait_for("the other doors are watched")
            back = HttpCamera(back.server_address[1])
            back.guarded = True     # then it notes who has asked
            wait_for(lambda: back.asked, 60, "it is not asked again")
            time.sleep(3)
            status, out, err = door.stop()
    finally:
        front.off()
        back.off()
    figures = json.loads(out.splitlines()[-1])["doors"]
    assert status == 0 and figures["back"]["frames"] > 5 and figures["front"]["gap_max_ms"] < 1000
    one_line(err, back.shown, "(door back)")


def test_a_lost_camera_touches_its_own_picture_only(tmp_path):
    front, back = HttpCamera(), HttpCamera()
    try:
        with Doorcam("--source", "front=" + front.address, "--source", back.address, "--headless", "--stats", "--engine",
                     "opencv", folder=tmp_path, settings=IMPATIENT) as door:
            door.wait_for("engine:")
            back.mode = "silent"
            door.wait_for("no picture from %s (door 2) since" % back.shown)
            back.mode = "run"
            door.wait_for("%s (door 2) is back" % back.shown)
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


def drawn(doors, size=(640, 480), marks=None):
    return doorcam.Grid().draw(doors, size, marks or {door: [] for door in doors}, {door: door.name for door in doors})


def test_the_grid_has_a_place_for_each_door_and_moves_boxes_there():
    frames = [np.full((720, 1280, 3), 40, np.uint8), np.full((480, 640, 3), 80, np.uint8), None]
    frames[1][100:200, 300:400] = (0, 0, 255)
    doors = doors_with(*frames)
    marks = {door: [] for door in doors}
    marks[doors[1]] = [doorcam.Mark((100, 400, 200, 300), "", (0, 0, 0), 7)]
    picture, boxes, (mark,) = drawn(doors, (640, 480), marks)
    top = doorcam.strip_height(picture)
    middle = top + (480 - top) // 2
    assert picture.shape == (480, 640, 3) and not picture[:top].any() and 100 < top <= 120
    assert boxes == [(top, 320, middle, 0), (top, 640, middle, 320), (middle, 320, 480, 0)]
    box_top, right, bottom, left = mark.box
    assert (picture[box_top + 2:bottom - 2, left + 2:right - 2] == (0, 0, 255)).all() and mark.visitor == 7
    assert top < box_top < bottom < middle and 340 <= left < right <= 620
    assert picture[top + 90, 160].tolist() == [40] * 3 and picture[top + 90, 330].tolist() == [0] * 3


@pytest.mark.parametrize("shapes, size, columns", [
    ([(720, 1280)] * 2, (1280, 540), 2), ([(1280, 720)] * 2, (1280, 540), 2), ([(720, 1280)] * 2, (480, 640), 1),
    ([(720, 1280)] * 4, (1280, 540), 2), ([(720, 1280)] * 8, (1280, 540), 3), ([(1280, 720)] * 4, (1280, 540), 4),
    ([(720, 1280)], (800, 360), 1)])
def test_there_are_as_many_columns_as_make_the_pictures_large(shapes, size, columns):
    assert doorcam.columns_of(shapes, *size) == columns


@pytest.mark.parametrize("shape", [(720, 1280), (480, 640), (1280, 720), (240, 320)])
def test_a_door_alone_fills_the_window_from_below_and_keeps_its_name(shape):
    doors = doors_with(*[np.full(shape + (3,), 90, np.uint8)] * 4)
    large, (place,), _ = drawn(doors[2:3], (1280, 720))
    assert place == (0, 1280, 720, 0)
    rows, columns = (np.flatnonzero((large == 90).any(axis=axis).any(axis=1)) for axis in ((1,), (0,)))
    high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert rows[-1] == 719 and (high == 720 or wide == 1280)
    assert abs(wide / float(high) - shape[1] / float(shape[0])) < 0.02
    assert find_text(large, "door 3", 0.65)[0] - columns[0] < 12  # in the corner of the picture, not of the window


@pytest.mark.parametrize("count, full, size", [
    (2, None, (1280, 480)), (3, None, (1280, 960)), (4, None, (1280, 960)), (6, None, (1280, 640)),
    (8, None, (1280, 960)), (2, (1920, 1080), (1280, 720)), (2, (480, 800), (1280, 2133))])
def test_the_window_of_several_doors_has_the_shape_of_their_pictures_and_the_strip_or_of_the_screen(count, full, size):
    view = doorcam.View(types.SimpleNamespace(headless=True, fullscreen=False))
    view.window.full_size = lambda: full
    assert view._size(count) == size


def test_no_label_stands_in_another_door_s_picture():
    doors = doors_with(*[np.full((720, 1280, 3), 90, np.uint8)] * 4)
    plain, places, _ = drawn(doors, (1280, 720))
    marks = {door: [] for door in doors}
    marks[doors[0]] = [doorcam.Mark((500, 1290, 715, 1100), "New visitor!", doorcam.GREEN, 1)]
    changed = (drawn(doors, (1280, 720), marks)[0] != plain).any(axis=2)
    top, right, bottom, left = places[0]
    assert changed[top:bottom, left:right].any()
    changed[top:bottom, left:right] = False
    assert not changed.any()


def test_the_strip_of_several_doors_keeps_to_its_own_place():
    frame, visitors = np.full((720, 1280, 3), 90, np.uint8), []
    for number in range(1, 61):
        visitors.append(doorcam.Visitor(number, [person(1)], START, "opencv", doorcam.to_jpeg(PICTURE)))
    for count in (1, 8, 9, 60):
        high = doorcam.strip_height(frame)
        after, cards = doorcam.Overlay().draw(frame, [], visitors[:count], high=high)
        assert np.array_equal(after[high:], frame[high:]) and cards and max(box[2] for box, _ in cards) <= high


def test_a_click_or_a_number_shows_one_door_and_all_again():
    controls = doorcam.Controls()
    controls.drawn([((0, 50, 50, 0), 7)], [], [], [((50, 100, 150, 0), 0), ((50, 200, 150, 100), 1)])
    assert controls.requests([(150, 60)], {}, 0.0) == [doorcam.Request("enlarge", {"door": 1})]
    assert controls.requests([ord("2")], {}, 0.0) == [doorcam.Request("enlarge", {"door": 1})]
    controls.drawn([((0, 50, 50, 0), 7)], [], [], [((50, 200, 150, 0), 1)])
    assert controls.requests([(20, 60)], {}, 0.0) == [doorcam.Request("enlarge", {"door": 1})]
    assert controls.requests([(20, 20)], {}, 0.0) == [] and controls.panel.visitor == 7
    options = types.SimpleNamespace(headless=True, fullscreen=False)
    view = doorcam.View(options)
    for number, alone in ((1, 1), (0, 0), (5, 0), (0, None), (5, None), (1, 1), (1, None)):
        view.enlarge(number, [None, None])
        assert view._alone == alone
    one = doorcam.View(options)
    one.enlarge(0, [None])
    assert one._alone is None


def test_one_of_several_doors_is_enlarged_in_the_window(tmp_path):
    tool("Xvfb", "xdotool", "import")
    back, garden = HttpCamera(), HttpCamera()
    unit = doorcam.unit_of(np.zeros((480, 800)))
    try:
        with xvfb(800, 480) as (server, display), Doorcam(
                "--source", "back door=" + back.address, "--source", "garden=" + garden.address, "--fullscreen",
                "--engine", "opencv", folder=tmp_path, env=environment(DISPLAY=display)) as door:
            screen = Desktop(str(tmp_path), server, display, door)
            door.wait_for("engine:")
            left, top = screen.wait_for_text("back door", 0.65, unit)
            assert screen.wait_for_text("garden", 0.65, unit)[0] > 400 > left and top > 300
            screen.press("1")
            screen.wait_until_text_has_gone("garden", 0.65, unit)
            screen.wait_for_text("back door", 0.65, unit)
            shown = np.flatnonzero(screen.picture()[300].any(axis=1))
            assert shown[-1] - shown[0] > 630  # of 4:3, as high as the screen
            screen.press("2")
            screen.wait_for_text("garden", 0.65, unit)
            assert not find_text(screen.picture(), "back door", 0.65 * unit)
            screen.click(400, 300)
            screen.wait_for_text("back door", 0.65, unit)
            screen.click(600, 300)
            screen.wait_until_text_has_gone("back door", 0.65, unit)
            screen.press("q")
            assert door.end(30)[0] == 0
    finally:
        back.off()
        garden.off()
