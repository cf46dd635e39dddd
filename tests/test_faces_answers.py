"""Answers of the recognition process that come late, in the main loop: each counts for the moment of its look."""
import types

import cv2
import numpy as np
import pytest

import doorcam
from helpers import START, face, person, turns

FPS = 25.0
PLAIN = np.full((720, 1280, 3), 120, np.uint8)
WIDTH = 160                   # pixels of the face in moving_frame
TEXTURE = cv2.resize(np.random.RandomState(1).randint(0, 255, (12, 12, 3)).astype(np.uint8), (WIDTH, WIDTH),
                     interpolation=cv2.INTER_CUBIC)


class SlowRecognition:
    """Stands for the recognition process: answers each look `delay` seconds later by the test's own clock."""
    description, answers = "slow", 0

    def __init__(self, faces_at, delay):
        self.faces_at, self.delay, self.look, self.kept, self.now = faces_at, delay, None, None, START  # (Look, moment)

    def idle(self):
        return self.look is None or self.now >= self.look[1] + self.delay

    def offer(self, look):
        self.kept, self.look = self.look, (look, self.now)

    def answer(self, wait=False):
        """As the process does, also after the next look was made, if the one before had been answered by then."""
        look, self.kept = self.kept or self.look, None
        if look is None or self.now < look[1] + self.delay:
            return None
        self.look = None if look is self.look else self.look
        return look[0], self.faces_at(look[1])

    def notice(self):
        return None


@pytest.fixture
def watch(monkeypatch, tmp_path):
    """watch(faces_at, delay): a House with a live camera, whose frames come from the test, with an empty book."""
    made = []

    def make(faces_at, delay):
        recognition = SlowRecognition(faces_at, delay)
        monkeypatch.setattr(doorcam, "Recognizer", lambda *_, **__: recognition)
        options = doorcam.make_parser().parse_args(
            ["--headless", "--source", "rtsp://127.0.0.1:1/", "--engine", "dlib", "--faces",
             str(tmp_path / ("%d.dat" % len(made)))])
        one = doorcam.House(options, types.SimpleNamespace(asked=False))
        while one.loading:
            one.take_book()
        made.append(one)
        one.events = []
        monkeypatch.setattr(one.telling, "tell", lambda events, *_: one.events.extend(events))
        one.doors[0].camera = types.SimpleNamespace(silent=lambda: 0.0, lost=lambda: 0.0)
        return one
    return make


def shown(watch, frames):
    """The main loop on (frame, time)."""
    def clocked():
        for frame, now in frames:
            watch.recognition.recognizer.now = now
            yield frame, now
    watch.watch_the_door(turns(watch, clocked()))


def steps(start, end):
    """The times of the frames from start to end, s after START."""
    return [START + index / FPS for index in range(int(round(start * FPS)), int(round(end * FPS)))]


@pytest.mark.parametrize("delay", [0.05, 0.3])
def test_a_camera_that_pauses_makes_no_visit_longer(watch, delay):
    one = watch(lambda moment: [face(person(0))], delay)
    shown(one, [(PLAIN, now) for now in steps(0, 3)] + [(None, now) for now in steps(3, 23)])
    visitor, = one.book.visitors.values()
    assert 2.5 < visitor.this_visit() < 3.01 and visitor.last_seen < START + 3
    one.recognition.recognizer.faces_at = lambda moment: []
    shown(one, [(PLAIN, now) for now in steps(23, 30)])
    assert [visitor.this_visit() < 3.01 for visitor in one.book.visitors.values()] == [True]


def test_an_answer_is_taken_while_no_new_frame_comes(watch):
    """The camera stands still right after the look that was to decide."""
    one = watch(lambda moment: [face(person(0))], 0.3)
    count = 0
    while not one.events:
        count += 1
        assert count < 100
        shown(one, [(PLAIN, START + count / FPS)])
    decided, again = one.recognition.recognizer.now, watch(lambda moment: [face(person(0))], 0.3)
    last = decided - 0.3                        # no frame comes after the look with whose answer it was decided
    shown(again, [(PLAIN, now) for now in steps(0.04, 5) if now <= last + 0.01])
    assert not again.events
    shown(again, [(None, now) for now in steps(last - START, last - START + 1)])
    assert [event.kind for event in again.events] == ["new"]


def middle_at(now):
    """Where the face of moving_frame is: to and fro, 300 pixels a second."""
    way = (now - START) * 300 % 1600
    return 240 + (way if way < 800 else 1600 - way)


def moving_frame(now):
    frame, left = PLAIN.copy(), int(round(middle_at(now))) - WIDTH // 2
    frame[280:280 + WIDTH, left:left + WIDTH] = TEXTURE
    return frame


def test_boxes_stay_with_a_moving_face_though_looks_take_long(watch):
    one = watch(lambda moment: [face(person(0), x=int(round(middle_at(moment))), y=360, width=WIDTH)], 0.3)
    apart = []
    for now in steps(0, 6):
        shown(one, [(moving_frame(now), now)])
        apart += [abs((box[1] + box[3]) / 2.0 - middle_at(now)) for box, _, _, _ in one.doors[0].marks(now)]
    assert len(apart) > 100 and np.max(apart) < 30, apart


@pytest.mark.parametrize("seconds", [8 * 365 * 86400.0, 3600.0, 5.0, -3600.0])
def test_the_clock_is_set_while_a_look_is_under_way(watch, seconds):
    """As at each start of a machine without a clock of its own: the answer is one of a moment ago, not of years."""
    one = watch(lambda moment: [face(person(0))], 0.3)
    shown(one, [(PLAIN, now) for now in steps(0, 4)])
    (look, moment), (track,) = one.recognition.recognizer.look, one.doors[0].tracks
    assert moment > START + 3.5
    one.doors.shift(one.doors[0], seconds)
    one.recognition.recognizer.look, one.recognition.recognizer.kept = (look, moment + seconds), None  # the test's own clock
    shown(one, [(PLAIN, now + seconds) for now in steps(4, 4.5)])
    assert [event.kind for event in one.events] == ["new"] and one.doors[0].tracks == [track]
    visitor, = one.book.visitors.values()
    assert START + seconds + 3 < visitor.last_seen < START + seconds + 5 and 3 < visitor.this_visit() < 5


def test_slow_looks_end_nobody_s_stay(watch):
    """One look of 1.5 s in which a face is missed is less than TRACK_LOST without it."""
    faces = [[face(person(0))]] * 4 + [[]] + [[face(person(0))]] * 2
    one, tracks = watch(lambda moment: faces.pop(0) if faces else [face(person(0))], 1.5), []
    for now in steps(0, 14):
        shown(one, [(PLAIN, now)])
        tracks += [track for track in one.doors[0].tracks if track not in tracks]
    assert len(tracks) == 1 and not faces
