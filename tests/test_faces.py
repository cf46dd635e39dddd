"""Both engines on real pictures, what is asked of a face before it is trusted, and the grammar of sources."""
import os
import re
import stat
import types

import cv2
import numpy as np
import pytest

import doorcam
from helpers import METRICS, START, Story, book_of, face, person

SIZE = 640, 480


def canvas(*faces):
    """A frame of SIZE with (picture, width, middle x, middle y) drawn into it."""
    frame = np.full((SIZE[1], SIZE[0], 3), (150, 160, 165), np.uint8)
    for picture, width, x, y in faces:
        picture = cv2.resize(picture, (width, width), interpolation=cv2.INTER_AREA)
        top, left = y - width // 2, x - width // 2
        frame[top:top + width, left:left + width] = picture
    return frame


def look_at(frame, whole=True, regions=(), scale=None, far=False, moved=None):
    return doorcam.Look(frame, scale or doorcam.default_scale(frame), whole, list(regions), far, moved)


def largest(faces):
    return max(faces, key=lambda one: doorcam.box_width(one.box))


@pytest.fixture(scope="module")
def metric(engine):
    """How the encodings of this engine are compared."""
    return doorcam.OPENCV if isinstance(engine, doorcam.OpenCVEngine) else doorcam.DLIB


@pytest.fixture(scope="module")
def found(engine, portraits):
    """The Faces of the two portraits, each alone in a frame."""
    return [largest(engine.faces(look_at(canvas((portrait, 260, 320, 240))))) for portrait in portraits]


# ---------------------------------------------------------------------------------------------------- real faces


@pytest.mark.parametrize("index", [0, 1])
def test_a_portrait_is_found_where_it_is(engine, metric, portraits, index):
    faces = engine.faces(look_at(canvas((portraits[index], 260, 320, 240))))
    assert len(faces) == 1
    one = faces[0]
    top, right, bottom, left = one.box
    assert 190 < left < 320 < right < 450 and 110 < top < 240 < bottom < 370
    assert all(isinstance(side, int) for side in one.box)
    assert one.encoding.shape == (128,) and np.all(np.isfinite(one.encoding))
    assert doorcam.good_sighting(one, metric) and one.frontal <= 1 and 0 < doorcam.picture_quality(one) <= 1
    assert np.linalg.norm(one.encoding) == pytest.approx(1)


def test_two_people_are_apart(metric, found):
    book = book_of(found[0].encoding, metric=metric)
    assert book.lookup_known_face(found[1].encoding)[0][0] < book.metric.caution - doorcam.DOUBT


@pytest.mark.parametrize("index", [0, 1])
def test_one_person_is_the_same_elsewhere_larger_and_mirrored(engine, portraits, found, index):
    for frame in (canvas((portraits[index], 340, 260, 230)), canvas((portraits[index][:, ::-1], 260, 320, 240))):
        again = largest(engine.faces(look_at(frame)))
        assert doorcam.distance(again.encoding, found[index].encoding) < 0.4


def test_the_example_file_knows_its_portraits(engine, metric, example_file, found):
    """With the encodings in it, which are dlib's, or those of its pictures."""
    book = doorcam.load_known_faces(example_file, metric)
    assert sorted(book.visitors) == [1, 2]
    for visitor in book.visitors.values():
        if visitor.engine != metric.engine:
            picture = doorcam.picture_of(visitor)
            near = look_at(picture, regions=[(doorcam.picture_face(picture), True)], scale=1.0)
            book.encoded_anew(visitor, largest(engine.faces(near)).encoding)
    for number, one in enumerate(found, 1):
        odds, visitor = book.lookup_known_face(one.encoding)[0]
        assert visitor.number == number and odds > book.metric.caution + doorcam.DOUBT


def test_two_faces_in_one_frame(engine, portraits, found):
    faces = engine.faces(look_at(canvas((portraits[0], 260, 150, 240), (portraits[1], 260, 480, 240))))
    assert len(faces) == 2
    faces.sort(key=lambda one: one.box[3])
    for one, alone in zip(faces, found):
        assert doorcam.distance(one.encoding, alone.encoding) < 0.4


def test_an_empty_frame_has_no_face(engine):
    assert engine.faces(look_at(canvas())) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (2000, 10, 3), (10, 2000, 3), (48, 64, 3)])
def test_frames_of_odd_sizes_are_no_fault(engine, shape):
    frame = np.full(shape, 120, np.uint8)
    assert engine.faces(look_at(frame, regions=[((0, 8, 8, 0), True), ((-5, 3000, 3000, 1), True)])) == []


def test_a_followed_face_is_found_near_its_place(engine, portraits, found):
    frame = canvas((portraits[0], 260, 340, 250))
    faces = engine.faces(look_at(frame, whole=False, regions=[(found[0].box, True)]))
    assert len(faces) == 1
    assert doorcam.overlap(faces[0].box, found[0].box) > 0.5
    assert doorcam.distance(faces[0].encoding, found[0].encoding) < 0.4
    assert engine.faces(look_at(canvas(), whole=False, regions=[(found[0].box, True)])) == []


def test_a_face_is_encoded_only_where_that_is_asked_for(engine, portraits, found):
    frame = canvas((portraits[0], 260, 320, 240))
    for whole in (False, True):
        faces = engine.faces(look_at(frame, whole=whole, regions=[(found[0].box, False)]))
        assert len(faces) == 1 and faces[0].encoding is None
        assert faces[0].frontal == pytest.approx(found[0].frontal, abs=0.3)


def test_a_face_found_near_and_in_the_whole_is_one(engine, portraits, found):
    frame = canvas((portraits[0], 260, 320, 240))
    assert len(engine.faces(look_at(frame, regions=[(found[0].box, True)] * 2))) == 1


def test_the_encoding_is_of_the_full_size_frame(engine, metric, portraits):
    """A coarser small picture finds the face, and with YuNet its eyes and mouth, in other places, and the encoding
    hardly changes."""
    frame = canvas((portraits[1], 400, 320, 240))
    fine, coarse = (largest(engine.faces(look_at(frame, scale=scale))) for scale in (0.5, 0.25))
    assert doorcam.distance(fine.encoding, coarse.encoding) < (0.4 if metric is doorcam.OPENCV else 0.2)


def test_blur_and_profile_show_in_the_figures(engine, portraits, found):
    picture = cv2.GaussianBlur(portraits[0], (0, 0), 4)
    blurred = largest(engine.faces(look_at(canvas((picture, 260, 320, 240)))))
    assert blurred.sharpness < found[0].sharpness / 4 and blurred.sharpness < doorcam.MIN_SHARPNESS


def test_the_engine_says_what_it_is(engine, metric):
    assert re.match({"dlib": r"dlib \d+\.\d+.* with (CUDA|BLAS|neither)",
                     "opencv": r"OpenCV \d+\.\d+.* with YuNet \(face_detection_yunet.*\.onnx\) and SFace "
                               r"\(face_recognition_sface.*\.onnx\) in /"}[metric.engine], engine.description)


@pytest.mark.parametrize("way", list(doorcam.FLIPS))
def test_a_turned_picture_can_be_turned_back(engine, portraits, way):
    """What --flip does undoes what a camera that is mounted that way does: the face stands upright again."""
    mounted = {"none": "none", "horizontal": "horizontal", "vertical": "vertical", "90": "270", "180": "180",
               "270": "90"}[way]
    frame = canvas((portraits[0], 260, 320, 240))
    turned = doorcam.FLIPS[mounted][1](frame)
    assert turned.shape == (frame.shape if way not in ("90", "270") else (SIZE[0], SIZE[1], 3))
    assert np.array_equal(doorcam.FLIPS[way][1](turned), frame)
    assert len(engine.faces(look_at(np.ascontiguousarray(doorcam.FLIPS[way][1](turned))))) == 1


def test_real_faces_through_the_door(engine, metric, portraits):
    """The engine's own answers, look by look, as the main loop does it: two people come one after the other."""
    story, now, events = Story(metric=metric), START, []
    door = story.door
    for portrait in (portraits[0], portraits[1], portraits[0]):
        for turn in range(12):
            now += 0.1
            frame = canvas((portrait, 240 + 2 * turn, 300 + 4 * turn, 240))
            scale = doorcam.default_scale(frame)
            door.follow(doorcam.small_grey(frame, scale), scale, now)
            look = door.next_look(frame, scale, now)
            events += door.recognize(look, engine.faces(look)) if look else []
            events += story.end(now)
        now += doorcam.VISIT_GAP
        events += story.end(now)
    assert [(event.kind, event.visitor) for event in events] == [
        ("new", 1), ("left", 1), ("new", 2), ("left", 2), ("returned", 1), ("left", 1)]
    picture = doorcam.picture_of(story.book.visitors[1])
    assert len(engine.faces(look_at(picture, scale=1.0))) == 1


def in_the_distance(portrait, width):
    """A frame as cameras give it, with a portrait so wide in it: the face is two thirds of that."""
    frame = np.full((720, 1280, 3), (150, 160, 165), np.uint8)
    frame[300:300 + width, 700:700 + width] = cv2.resize(portrait, (width, width), interpolation=cv2.INTER_AREA)
    return frame


@pytest.mark.parametrize("index", [0, 1])
def test_a_face_far_away_is_found_where_that_is_asked_for(opencv_engine, portraits, index):
    frame = in_the_distance(portraits[index], 36)
    assert opencv_engine.faces(look_at(frame)) == []
    one, = opencv_engine.faces(look_at(frame, far=True))
    assert 20 <= doorcam.box_width(one.box) <= 26
    assert one.encoding.shape == (128,)
    assert 295 < one.box[0] < one.box[2] < 340 and 695 < one.box[3] < one.box[1] < 740
    again, = opencv_engine.faces(look_at(frame, whole=False, far=True))
    assert again.box == one.box


@pytest.mark.parametrize("index", [0, 1])
def test_who_comes_nearer_is_known_before_dlib_would_see_the_face(opencv_engine, dlib_engine, portraits, index):
    metric, frame = doorcam.OPENCV, in_the_distance(portraits[index], 60)
    near, = opencv_engine.faces(look_at(canvas((portraits[index], 260, 320, 240))))
    far, = opencv_engine.faces(look_at(frame, far=True))
    assert doorcam.good_sighting(far, metric) and not dlib_engine.faces(look_at(frame))
    book = book_of(near.encoding, metric=metric)
    assert book.lookup_known_face(far.encoding)[0][0] > book.metric.caution + doorcam.DOUBT
    followed, = opencv_engine.faces(look_at(frame, whole=False, regions=[(far.box, True)]))
    assert doorcam.overlap(followed.box, far.box) > 0.6


def test_a_face_found_in_the_small_and_in_the_large_picture_is_one(opencv_engine, portraits):
    frame = in_the_distance(portraits[0], 260)
    one, = opencv_engine.faces(look_at(frame, far=True, regions=[]))
    assert len(opencv_engine.faces(look_at(frame, far=True, regions=[(one.box, True)]))) == 1


@pytest.mark.parametrize("index", [0, 1])
def test_dlib_looks_closer_where_something_moved(dlib_engine, portraits, index):
    """At a face that is half as wide as in the small picture it would have to be."""
    frame, moved = in_the_distance(portraits[index], 100), (220, 900, 720, 600)
    for not_asked in (look_at(frame), look_at(frame, moved=moved), look_at(frame, far=True),
                      look_at(frame, whole=False, far=True, moved=moved)):
        assert dlib_engine.faces(not_asked) == []
    one, = dlib_engine.faces(look_at(frame, far=True, moved=moved))
    assert 55 <= doorcam.box_width(one.box) <= 75 and doorcam.good_sighting(one, doorcam.DLIB)
    assert 290 < one.box[0] < one.box[2] < 410 and 690 < one.box[3] < one.box[1] < 810
    near, = dlib_engine.faces(look_at(canvas((portraits[index], 260, 320, 240))))
    book = book_of(near.encoding, metric=doorcam.DLIB)
    assert book.lookup_known_face(one.encoding)[0][0] > book.metric.caution + doorcam.DOUBT
    followed, = dlib_engine.faces(look_at(frame, whole=False, regions=[(one.box, True)]))
    assert doorcam.overlap(followed.box, one.box) > 0.6


@pytest.mark.parametrize("shape", [(480, 640), (720, 1280), (1080, 1920), (120, 160)])
@pytest.mark.parametrize("scale", [None, 0.5, 2.0])
def test_a_closer_look_costs_no_more_than_one_at_the_whole(dlib_engine, monkeypatch, shape, scale):
    """It is made with at most as many pixels; and those are never more than the camera gave."""
    seen = []
    monkeypatch.setattr(dlib_engine, "detect", lambda picture, near: seen.append(picture.shape[:2]) or [])
    (high, wide), frame = shape, np.zeros(shape + (3,), np.uint8)
    for moved in (None, (0, wide, high, 0), (high // 4, wide // 2, high, wide // 4), (0, 9, 9, 0), (0, wide, 20, 0)):
        dlib_engine.faces(look_at(frame, scale=scale, far=True, moved=moved))
    whole = int(np.prod(seen[0]))
    assert seen[1] == seen[0] and all(np.prod(one) <= 1.02 * whole for one in seen)
    assert scale == 2.0 or seen[3][:2] == (9, 9) or max(seen[3][:2]) < 9


@pytest.mark.parametrize("index", [0, 1])
def test_who_moves_far_away_is_enrolled_with_dlib(dlib_engine, portraits, index):
    """Somebody whose face is 70 pixels wide, with a coat, sways before the demo's door. Nothing else is found."""
    door, events, closer = Story().door, [], 0
    for turn in range(40):
        now, x = START + turn / 10.0, 800 + int(30 * np.sin(turn / 5.0))
        frame = doorcam.draw_demo_door()
        if turn >= 10:
            frame[330:, x - 20:][:, :140] = (70, 60, 50)
            frame[230:335, x:x + 105] = cv2.resize(portraits[index], (105, 105), interpolation=cv2.INTER_AREA)
        scale = doorcam.default_scale(frame)
        door.follow(doorcam.small_grey(frame, scale), scale, now)
        look = door.next_look(frame, scale, now)
        if look:
            closer += look.far and look.moved is not None
            assert turn >= 10 or look.moved is None  # nothing moves yet, and so no look is a closer one
            events += door.recognize(look, dlib_engine.faces(look))
    assert [event.kind for event in events] == ["new"] and closer >= 1
    track, = door.tracks
    assert 60 <= doorcam.box_width(track.box) <= 85 and track.visitor == 1


def crowd(portraits, width, shake=0):
    """A frame of 1920 x 1080 with forty portraits so wide, mirrored, of several sizes and in several lights, and the
    middles of their faces (x, y)."""
    frame, middles = np.full((1080, 1920, 3), (150, 160, 165), np.uint8), []
    for index in range(40):
        picture = portraits[index % 2] if index % 4 < 2 else portraits[index % 2][:, ::-1]
        picture = np.clip(picture * (0.75 + 0.05 * (index % 9)), 0, 255).astype(np.uint8)
        size = int(width * (1 - 0.03 * (index % 5)))
        x, y = 120 + 240 * (index % 8) + shake, 108 + 216 * (index // 8) + shake
        frame[y - size // 2:, x - size // 2:][:size, :size] = cv2.resize(picture, (size, size),
                                                                        interpolation=cv2.INTER_AREA)
        middles.append((x, y))
    return frame, np.array(middles)


def owners(faces, middles):
    """For each face the number of the portrait that it is."""
    return [int(np.argmin(np.hypot(*(middles - [(one.box[1] + one.box[3]) / 2, (one.box[0] + one.box[2]) / 2]).T)))
            for one in faces]


def test_a_followed_face_that_has_left_the_picture_is_no_fault(engine):
    frame = np.zeros((240, 320, 3), np.uint8)
    for box in ((-900, 50, -860, 10), (300, 900, 340, 860), (900, -860, 940, -900), (100, -60, 140, -100), (9, 9, 9, 9),
                (-72, -28, -28, -72), (0, 321, 1, 320)):
        assert engine.faces(look_at(frame, whole=False, regions=[(box, True)])) == []


class ThirdEngine(doorcam.Engine):
    """Finds a face in whatever is bright, and gives everybody one encoding."""
    metric = doorcam.OPENCV._replace(engine="third")
    description = "an engine of a test"

    def __init__(self, word):
        self.word = word

    @staticmethod
    def arguments(options):
        return ["made"]

    def near_factor(self, box, place):
        return 0.5

    def detect(self, picture, near):
        high, wide = np.nonzero(picture.max(axis=2) > 128)
        box = high.min(), wide.max() + 1, high.max() + 1, wide.min()
        return [(box, 0.9, np.array([(box[3], box[0]), (box[1], box[0]), ((box[1] + box[3]) / 2, box[2])], float))]

    def encode(self, part, box, landmarks):
        assert part[box[0]:box[2], box[3]:box[1]].min() > 100 and landmarks[0].tolist() == [box[3], box[0]]
        return person(0)


def test_a_third_engine_is_a_class_and_a_line_in_a_table(monkeypatch):
    monkeypatch.setitem(doorcam.ENGINES, "third", ThirdEngine)
    options = doorcam.make_parser().parse_args(["--engine", "third"])
    make, metric, _ = doorcam.engine_of(options)
    assert make().word == "made" and metric is ThirdEngine.metric
    assert doorcam.known_to([doorcam.Visitor(1, [person(0)], START, "third")]) == ["third"]
    assert doorcam.engine_of(doorcam.make_parser().parse_args([]), book_of(person(0), metric=metric).visitors.values())[
        1] is metric
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[200:280, 320:400] = 200
    for look in (look_at(frame), look_at(frame, whole=False, regions=[((190, 390, 270, 310), True)]),
                 look_at(frame, whole=False, far=True)):
        one, = make().faces(look)
        assert one.box == (200, 400, 280, 320) and one.frontal == 1 and np.array_equal(one.encoding, person(0))


@pytest.mark.parametrize("width, whole, far", [(60, False, True), (140, True, False), (190, True, True)])
def test_forty_faces_in_one_picture_are_found(opencv_engine, portraits, monkeypatch, width, whole, far):
    monkeypatch.setattr(opencv_engine, "encode", lambda *_: None)  # it would take a second
    frame, middles = crowd(portraits, width)
    found = owners(opencv_engine.faces(look_at(frame, whole=whole, far=far)), middles)
    assert len(set(found)) >= 38 and len(found) <= 40


def test_forty_people_before_one_camera_are_followed_and_enrolled(opencv_engine, portraits, monkeypatch):
    """The engine's own boxes, with encodings of forty people."""
    story, encoded = Story(metric=doorcam.OPENCV), np.zeros(128)
    door = story.door
    monkeypatch.setattr(opencv_engine, "encode", lambda *_: encoded)

    def whose(face):
        top, right, bottom, left = face.box
        return person(int(np.argmin(np.hypot(*(middles - ((left + right) / 2, (top + bottom) / 2)).T))))
    for turn in range(doorcam.ENOUGH_SIGHTINGS + 2):
        now = START + turn
        frame, middles = crowd(portraits, 150, shake=3 * (turn % 3))
        scale = doorcam.default_scale(frame)
        door.follow(doorcam.small_grey(frame, scale), scale, now)
        look = door.next_look(frame, scale, now)
        if look:  # many who are decided are looked at seldom
            door.recognize(look, [face if face.encoding is None else face._replace(encoding=whose(face))
                                  for face in opencv_engine.faces(look)])
    assert len(story.book) >= 38
    assert len(door.tracks) == len(story.book) == len({track.visitor for track in door.tracks})


# ------------------------------------------------------------------------------------------- what a face is worth


def test_frontality():
    assert doorcam.frontality((40, 50), (80, 50), (60, 70)) == 1
    assert doorcam.frontality((40, 40), (70, 80), (63, 54)) == pytest.approx(1, abs=0.05)  # tilted
    half = doorcam.frontality((40, 50), (80, 50), (70, 70))
    assert half == pytest.approx(0.5)
    assert half == doorcam.frontality((40, 50), (80, 50), (50, 70))  # to the other side
    assert doorcam.frontality((40, 50), (80, 50), (85, 70)) == 0
    assert doorcam.frontality((40, 50), (40, 50), (40, 50)) == 1      # no face at all: no fault


def test_sharpness():
    noise = np.random.RandomState(1).randint(0, 256, (150, 150, 3)).astype(np.uint8)
    values = [doorcam.sharpness(cv2.GaussianBlur(noise, (0, 0), sigma)) for sigma in (1, 2, 4, 8)]
    assert values == sorted(values, reverse=True) and values[0] > 10 * values[2]
    assert doorcam.sharpness(np.full((80, 60, 3), 99, np.uint8)) == 0
    assert doorcam.sharpness(np.zeros((1, 50, 3), np.uint8)) == 0
    assert doorcam.sharpness(np.zeros((0, 0, 3), np.uint8)) == 0


@pytest.mark.parametrize("metric", METRICS)
def test_good_sighting(metric):
    assert doorcam.good_sighting(face(person(0)), metric)
    for poor in (dict(width=metric.min_face - 2), dict(frontal=doorcam.MIN_FRONTAL - 0.01),
                 dict(sharp=doorcam.MIN_SHARPNESS - 0.1), dict(score=metric.min_score - 0.01)):
        assert not doorcam.good_sighting(face(person(0), **poor), metric)


# ------------------------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize("text, kind, value", [
    ("0", "camera", 0), ("12", "camera", 12), ("/dev/video3", "camera", 3), ("csi", "csi", 0), ("csi:1", "csi", 1),
    ("demo", "demo", "demo"), ("door.mp4", "file", "door.mp4"), ("/a b/c.mkv", "file", "/a b/c.mkv"),
    ("./demo", "file", "./demo"), ("file:///a/b.mp4", "file", "/a/b.mp4"), ("2024", "file", "2024"),
    ("csi:x", "file", "csi:x"), ("csi.mp4", "file", "csi.mp4"), ("0x1", "file", "0x1"), ("-1", "file", "-1"),
    ("rtsp://cam/1", "url", "rtsp://cam/1"), ("http://10.0.0.2:81/stream", "url", "http://10.0.0.2:81/stream"),
    ("RTSP://user:Word@cam", "url", "rtsp://user:Word@cam"), (" HTTP://cam/A ", "url", "http://cam/A"),
    ("file:///a%20b%25.mp4", "file", "/a b%.mp4"), ("FILE://machine/a.mp4", "file", "/a.mp4"),
    ("file:/a.mp4", "file", "/a.mp4"), ("file://a.mp4", "file", "a.mp4"),
    ("videotestsrc ! appsink", "pipeline", "videotestsrc ! appsink"),
    ("rtspsrc location=rtsp://cam ! appsink", "pipeline", "rtspsrc location=rtsp://cam ! appsink"),
    ("rtsp://u:a ! b@cam", "url", "rtsp://u:a%20!%20b@cam"), ("http://u@cam/", "url", "http://u:@cam/"),
    ("rtsp://u:p/s#?@x@cam:1/a b?c=ü d", "url", "rtsp://u:p%2Fs%23%3F%40x@cam:1/a%20b?c=%C3%BC%20d"),
    ("http://u:p@w%40%@cam/[a]{b}", "url", "http://u:p%40w%40%@cam/[a]{b}"),
    ("http://cam:80/a@b", "url", "http://cam:80/a@b"), ("http://cam/?m=a:b@c", "url", "http://cam/?m=a:b@c"),
    ("http://[::1]:80/a@b:c", "url", "http://[::1]:80/a@b:c"), ("http://t\u00fcr.local:8/", "url",
                                                                "http://xn--tr-xka.local:8/"),
    ("wow!.mp4", "file", "wow!.mp4"), ("$(reboot); rm x.mp4", "file", "$(reboot); rm x.mp4")])
def test_what_a_source_means(text, kind, value):
    assert doorcam.parse_source(text) == doorcam.Source(kind, value)


@pytest.mark.parametrize("name", ["a ! b.mp4", "http:/x.mp4", "2026-11-25T10:00:00.mp4", "file:x.mp4", " a.mp4", "1000",
                                  "a%20b.mp4"])
def test_what_exists_as_a_file_is_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    assert doorcam.parse_source(name) == doorcam.Source("file", name)
    assert doorcam.parse_source("file://%s/%s" % (tmp_path, name)).value == "%s/%s" % (tmp_path, name)


def test_a_folder_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rtsp:" / "cam" / "1").mkdir(parents=True)
    assert doorcam.parse_source("rtsp://cam/1") == doorcam.Source("url", "rtsp://cam/1")


def test_a_link_to_a_video_device_is_a_camera(tmp_path):
    (tmp_path / "frontdoor").symlink_to("/dev/video7")
    (tmp_path / "door").symlink_to("frontdoor")
    (tmp_path / "film").symlink_to("/dev/null")
    assert [tuple(doorcam.parse_source(str(tmp_path / name)))[:2] for name in ("door", "film")] == [
        ("camera", 7), ("file", str(tmp_path / "film"))]


def test_a_device_of_video_under_any_name_is_a_camera(monkeypatch):
    """As a container has it, where no link tells its number."""
    kind = types.SimpleNamespace(st_mode=stat.S_IFCHR | 0o660, st_rdev=os.makedev(doorcam.V4L_MAJOR, 5))
    monkeypatch.setattr(doorcam.os, "stat", lambda path: kind)
    monkeypatch.setattr(doorcam.os.path, "realpath", lambda path: (
        "/sys/devices/pci/usb1/video4linux/video3" if path == "/sys/dev/char/81:5" else path))
    assert doorcam.parse_source("/dev/frontdoor") == doorcam.Source("camera", 3)


@pytest.mark.parametrize("text", ["", " ", "\t\n", "a\0b.mp4"])
def test_what_no_source_can_mean(text):
    with pytest.raises(ValueError):
        doorcam.parse_source(text)


@pytest.mark.parametrize("text, shown", [
    ("3", "camera 3"), ("csi:1", "CSI camera 1"), ("door.mp4", "door.mp4"), ("rtsp://cam:554/1", "rtsp://cam:554/1"),
    ("rtsp://user:pass@cam/1", "rtsp://***@cam/1"), ("http://me@cam", "http://***@cam"),
    ("rtsp://cam/user=admin_password=geheim_channel=1.sdp", "rtsp://cam/user=***"),
    ("http://cam/a;geheim", "http://cam/a;***"), ("http://cam/a?b=geheim", "http://cam/a?***"),
    ("rtmp://a:b:c@d@cam/1", "rtmp://***@cam/1"), ("rtsp://a:ge heim@cam/1", "rtsp://***@cam/1"),
    ("http://cam/a?b=c&d=ge heim", "http://cam/a?***")])
def test_a_source_in_a_message_shows_no_password(text, shown):
    assert str(doorcam.parse_source(text)) == shown


def test_which_sources_end():
    assert [doorcam.is_recording(doorcam.parse_source(text)) for text in
            ("door.mp4", "demo", "0", "csi", "rtsp://cam", "a ! b")] == [True, True, False, False, False, False]


def test_the_pipeline_of_a_jetson():
    pipeline = doorcam.get_jetson_gstreamer_source(1920, 1080, 960, 540, 60, 2, 1)
    parts = [part.strip() for part in pipeline.split("!")]
    assert parts == [
        "nvarguscamerasrc sensor-id=1",
        "video/x-raw(memory:NVMM), width=(int)1920, height=(int)1080, format=(string)NV12, framerate=(fraction)60/1",
        "nvvidconv flip-method=2",
        "video/x-raw, width=(int)960, height=(int)540, format=(string)BGRx",
        "videoconvert",
        "video/x-raw, format=(string)BGR",
        "appsink drop=true max-buffers=1"]
    assert all(part in doorcam.get_jetson_gstreamer_source() for part in
               ("width=(int)1280", "height=(int)720", "framerate=(fraction)30/1", "flip-method=0", "sensor-id=0"))


@pytest.mark.parametrize("flip, method, size", [("none", 0, (1280, 720)), ("90", 3, (720, 1280)),
                                                ("180", 2, (1280, 720)), ("270", 1, (720, 1280)),
                                                ("horizontal", 4, (1280, 720)), ("vertical", 6, (1280, 720))])
def test_a_jetson_camera_turned(flip, method, size):
    """nvvidconv counts 1: 90 degrees counterclockwise, 2: 180, 3: 90 clockwise, 4: left and right, 6: up and down."""
    pipeline = doorcam.csi_pipeline(0, flip)
    assert "flip-method=%d " % method in pipeline
    assert "width=(int)%d, height=(int)%d, format=(string)BGRx" % size in pipeline
    assert "width=(int)1280, height=(int)720, format=(string)NV12" in pipeline


# --------------------------------------------------------------------------------------------------------- by night


def by_night(frame, noise=9.0):
    """A frame as an infrared camera gives it: grey, dark, full of noise."""
    grey = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) / 255.0) ** 1.6 * 255
    grey += np.random.RandomState(1).normal(0, noise, grey.shape)
    return cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def test_only_a_grey_picture_is_blurred(portraits):
    assert doorcam.without_noise(portraits[0]) is portraits[0]
    dark = by_night(portraits[0])
    calm = doorcam.without_noise(dark)
    assert calm.shape == dark.shape and calm.std() < dark.std() and doorcam.sharpness(calm) < doorcam.sharpness(dark)
    compressed = cv2.imdecode(np.frombuffer(doorcam.to_jpeg(dark), np.uint8), cv2.IMREAD_COLOR)
    assert doorcam.sharpness(doorcam.without_noise(compressed)) < doorcam.sharpness(compressed)


@pytest.mark.parametrize("index", [0, 1])
def test_somebody_by_night_is_known_by_day_s_picture(engine, metric, portraits, found, index):
    faces = [largest(engine.faces(look_at(by_night(canvas((portraits[index], 150, 320, 240)), noise), scale=1.0)))
             for noise in (8.0, 9.0, 10.0)]
    book = book_of(*[one.encoding for one in found], metric=metric)
    odds, visitor = book.lookup_known_face(doorcam.mean_encoding([one.encoding for one in faces]))[0]
    assert visitor.number == index + 1 and odds > book.metric.caution + doorcam.DOUBT
