"""Following faces: boxes that move with the picture, motion, and who goes on as whose track."""
import itertools
import math
import random

import cv2
import numpy as np
import pytest

import doorcam
from helpers import START, STEP, Story, aside, book_of, box_at, face, person

SIDE = (240, 320)             # height and width of the small pictures here
A_MOMENT = doorcam.TRACK_LOST - 0.5
ENROLLED = doorcam.ENOUGH_SIGHTINGS  # looks after which a good face of nobody known is enrolled


def texture(seed, height, width, grain=4):
    """A grey patch with corners to follow, about `grain` pixels apart."""
    noise = np.random.RandomState(seed).randint(0, 256, (height // grain + 1, width // grain + 1)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def scene(*patches):
    """A grey picture with (patch, left, top) drawn into it."""
    picture = np.full(SIDE, 110, np.uint8)
    for patch, left, top in patches:
        picture[top:top + patch.shape[0], left:left + patch.shape[1]] = patch
    return picture


# ------------------------------------------------------------------------------------------------------ boxes


def test_overlap():
    assert doorcam.overlap((0, 10, 10, 0), (0, 10, 10, 0)) == 1
    assert doorcam.overlap((0, 10, 10, 0), (0, 20, 10, 10)) == 0        # side by side
    assert doorcam.overlap((0, 10, 10, 0), (20, 10, 30, 0)) == 0
    assert doorcam.overlap((0, 10, 10, 0), (0, 15, 10, 5)) == pytest.approx(1 / 3)
    assert doorcam.overlap((0, 10, 10, 0), (2, 7, 7, 2)) == pytest.approx(0.25)  # one in the other
    assert doorcam.overlap((5, 5, 5, 5), (0, 10, 10, 0)) == 0           # an empty box


def test_scale_box_goes_both_ways():
    box = (101, 333, 222, 17)
    assert doorcam.scale_box(doorcam.scale_box(box, 0.25), 4) == pytest.approx(box, abs=2)
    assert doorcam.scale_box((1, 2, 3, 4), 10) == (10, 20, 30, 40)


@pytest.mark.parametrize("box, share, grown", [
    ((100, 200, 200, 100), 0.5, (50, 250, 250, 50)), ((10, 50, 50, 10), 1.0, (0, 90, 90, 0)),
    ((430, 630, 470, 590), 0.5, (410, 640, 480, 570)), ((-20, 30, 30, -20), 0.0, (0, 30, 30, 0)),
    ((100, 200, 200, 100), 0.0, (100, 200, 200, 100))])
def test_grow_box_stays_in_the_picture(box, share, grown):
    assert doorcam.grow_box(box, share, (480, 640, 3)) == grown


@pytest.mark.parametrize("box", [(-50, -10, -20, -40), (500, 700, 600, 650), (-10, 700, 500, -10), (20, 10, 10, 20)])
def test_cut_of_a_box_outside_is_smaller_or_empty(box):
    part = doorcam.cut(np.zeros((480, 640, 3), np.uint8), box)
    assert part.shape[0] <= 480 and part.shape[1] <= 640


def test_one_each_keeps_the_best_of_each_face():
    first, second = box_at(100), box_at(400)
    found = [(box_at(104), 0.3), (first, 0.9), (second, 0.2), (box_at(396), 0.1), (box_at(180), 0.05)]
    assert doorcam.one_each(found) == [(first, 0.9), (second, 0.2), (box_at(180), 0.05)]
    assert doorcam.one_each([]) == []


def test_must_encode():
    regions = [(box_at(100), False), (box_at(400), True)]
    assert doorcam.must_encode(box_at(110), regions) is False
    assert doorcam.must_encode(box_at(410), regions) is True
    assert doorcam.must_encode(box_at(250), regions) is True    # nobody's
    assert doorcam.must_encode(box_at(100), []) is True
    assert doorcam.must_encode(box_at(195), regions) is True    # hardly touches the one that needs none


def test_nearness():
    box = box_at(300)
    assert doorcam.nearness(box, box, 0) == 1
    assert doorcam.nearness(box, box_at(310), 0) == doorcam.overlap(box, box_at(310)) > 0.5
    assert doorcam.nearness(box, box_at(600), 1) == 0
    assert doorcam.nearness(box, box_at(300 + 180), 0) == 0     # one and a half widths at once
    assert doorcam.nearness(box, box_at(300 + 150), 1) > 0      # but not within a second
    assert doorcam.nearness(box, box_at(300 + 100, width=400), 0) < 0.15


# ------------------------------------------------------------------------------------------------- follow_boxes


@pytest.mark.parametrize("right, down", [(0, 0), (3, -2), (9, 6), (-12, 4)])
def test_a_patch_is_followed(right, down):
    patch = texture(1, 48, 40)
    box = (80, 140, 128, 100)
    moved, = doorcam.follow_boxes(scene((patch, 100, 80)), scene((patch, 100 + right, 80 + down)), [box])
    assert moved == pytest.approx((80 + down, 140 + right, 128 + down, 100 + right), abs=1.0)


def test_a_patch_that_grows_is_followed():
    patch = texture(2, 60, 50)
    larger = cv2.resize(patch, (54, 65), interpolation=cv2.INTER_LINEAR)
    moved, = doorcam.follow_boxes(scene((patch, 100, 80)), scene((larger, 98, 78)), [(80, 150, 140, 100)])
    assert moved[1] - moved[3] == pytest.approx(54, abs=2)
    assert (moved[0] + moved[2]) / 2 == pytest.approx(110.5, abs=2)


def test_each_box_follows_its_own_patch():
    left, right = texture(3, 48, 40), texture(4, 48, 40)
    boxes = [(80, 90, 128, 50), (100, 240, 148, 200)]
    before, after = scene((left, 50, 80), (right, 200, 100)), scene((left, 56, 83), (right, 193, 98))
    moved = doorcam.follow_boxes(before, after, boxes)
    assert moved[0] == pytest.approx((83, 96, 131, 56), abs=1.0)
    assert moved[1] == pytest.approx((98, 233, 146, 193), abs=1.0)


def test_what_is_gone_is_not_followed():
    before = scene((texture(5, 48, 40), 100, 80))
    box = (80, 140, 128, 100)
    assert doorcam.follow_boxes(before, scene(), [box]) == [None]
    assert doorcam.follow_boxes(scene(), scene(), [box]) == [None]      # nothing in it to follow


@pytest.mark.parametrize("box", [(0, 3, 3, 0), (-90, -10, -50, -50), (500, 700, 560, 650), (10, 10, 10, 10),
                                 (-30, 400, 300, -30), (100.5, 130.25, 140.75, 99.5)])
def test_odd_boxes_are_no_fault(box):
    before, after = scene((texture(6, 48, 40), 100, 80)), scene((texture(6, 48, 40), 102, 80))
    moved = doorcam.follow_boxes(before, after, [box])
    assert len(moved) == 1 and (moved[0] is None or np.all(np.isfinite(moved[0])))


def test_pictures_of_another_size_are_not_followed():
    """The camera came back with another format."""
    before = scene((texture(7, 48, 40), 100, 80))
    assert doorcam.follow_boxes(before, before[:100], [(80, 140, 128, 100)]) == [None]
    assert doorcam.follow_boxes(before, before, []) == []


def follow_along(step, frames, scale=0.25):
    """The Track that Door.follow moved along with a patch, and how far the patch has moved, in full-size pixels."""
    def full(left):
        return cv2.copyMakeBorder(patch, 300, 260, left, 1140 - left, cv2.BORDER_CONSTANT, value=110)

    story, patch = Story(), texture(8, 160, 140, grain=20)
    track = doorcam.Track((300, 400 + 140, 460, 400), START, doorcam.DLIB)
    story.door.tracks = [track]
    for index in range(frames):
        small = doorcam.shrink(full(400 + int(step * index)), scale)
        story.door.follow(small, scale, START + index * 0.04)
    return track, int(step * (frames - 1))


@pytest.mark.parametrize("step", [1, 5, 20])
def test_the_door_moves_a_box_with_its_face(step):
    """Also one that moves by less than a pixel of the small picture in each frame."""
    track, way = follow_along(step, 20)
    assert (track.box[3] + track.box[1]) / 2 == pytest.approx(470 + way, abs=8)
    assert track.sure_place


def test_a_box_whose_content_is_gone_is_no_sure_place(story):
    track = doorcam.Track((80, 140, 128, 100), START, doorcam.DLIB)
    story.door.tracks = [track]
    story.door.follow(scene((texture(9, 48, 40), 100, 80)), 1.0, START)
    assert track.sure_place
    story.door.follow(scene(), 1.0, START + 0.04)
    assert not track.sure_place
    assert story.door.next_look(None, 1.0, START + 1).regions == [((80, 140, 128, 100), True)]


# ------------------------------------------------------------------------------------------------------- motion


def noisy(picture, seed, sigma=8):
    noise = np.random.RandomState(seed).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_noise_is_no_motion():
    motion = doorcam.Motion()
    for index in range(50):
        motion.look(noisy(scene(), index), index * 0.1)
    assert motion.moved == 0.0 and not motion.goes_on(4.9) and motion.goes_on(1.9) and motion.box(320, 240) is None


def test_a_moving_block_is_motion():
    motion, patch = doorcam.Motion(), texture(10, 60, 50)
    for index in range(20):
        motion.look(noisy(scene(), index), index * 0.1)
    for index in range(20, 40):
        motion.look(noisy(scene((patch, 5 * (index - 20), 90)), index), index * 0.1)
    assert motion.moved == pytest.approx(3.9)
    for index in range(40, 80):  # gone, and the background is learned again
        motion.look(noisy(scene(), index), index * 0.1)
    assert motion.moved < 6.5


def test_a_lamp_is_no_motion():
    motion = doorcam.Motion()
    for index in range(20):
        motion.look(np.clip(scene().astype(int) + 3 * index, 0, 255).astype(np.uint8), index * 0.1)
    motion.look(np.clip(scene().astype(int) + 120, 0, 255).astype(np.uint8), 2.0)
    assert motion.moved == 0.0


def test_motion_does_not_mind_a_clock_that_goes_back():
    motion = doorcam.Motion()
    for moment in (0.0, 0.1, 0.2, -500.0, -499.9, 1e9, 1e9 + 0.1):
        motion.look(scene(), moment)
    assert motion.moved == 0.0


@pytest.mark.parametrize("shape", [(1, 1), (2000, 10), (36, 64)])
def test_motion_of_any_size(shape):
    motion = doorcam.Motion()
    motion.look(np.zeros(shape, np.uint8), 0.0)
    motion.look(np.full(shape, 9, np.uint8), 0.1)
    assert motion.moved == 0.0


def test_the_box_of_what_moves_holds_it_and_little_more():
    motion, patch = doorcam.Motion(), texture(10, 60, 50)
    for index in range(20):
        motion.look(noisy(scene(), index), index * 0.1)
    for index in range(20, 23):
        motion.look(noisy(scene((patch, 100 + 10 * (index - 20), 90)), index), index * 0.1)
    cell_high, cell_wide = SIDE[0] / 36.0, SIDE[1] / 64.0
    top, right, bottom, left = motion.box(SIDE[1], SIDE[0])
    assert 90 - 4 * cell_high <= top <= 90 and 150 <= bottom <= 150 + 4 * cell_high
    assert 100 - 4 * cell_wide <= left <= 100 and 170 <= right <= 170 + 4 * cell_wide
    assert motion.box(4 * SIDE[1], 4 * SIDE[0]) == pytest.approx((4 * top, 4 * right, 4 * bottom, 4 * left))


def test_what_moved_some_time_ago_is_in_the_box_no_more():
    motion, patch = doorcam.Motion(), texture(10, 60, 50)
    motion.look(scene(), 0.0)
    motion.look(scene((patch, 0, 0)), 0.1)                # in a corner: the box ends with the picture
    assert motion.box(*SIDE[::-1])[::3] == (0, 0)
    for index in range(2, 2 + int(10 * (doorcam.MOTION_HOLD + 3))):  # it stays, and is background by now
        motion.look(scene((patch, 0, 0), (patch, 270, 180)), index * 0.1)
    assert motion.box(*SIDE[::-1]) is None
    motion.look(scene((patch, 0, 0), (patch, 200, 180)), -500.0)  # the clock was set
    top, right, bottom, left = motion.box(*SIDE[::-1])
    assert top > 150 and left > 150 and (right, bottom) == SIDE[::-1]


# ------------------------------------------------------------------------------------------------ when to look


def looks_in(door, seconds, start=START, rate=25):
    """[(moment, Look)] of the looks that are due in so many seconds of frames, nobody found in them."""
    looks = []
    for index in range(int(seconds * rate)):
        now = start + index / float(rate)
        look = door.next_look(None, 1.0, now)
        if look:
            looks.append((now, look))
            door.recognize(look, [])
    return looks


def test_an_empty_still_scene_is_looked_at_seldom(story):
    story.door.follow(scene(), 1.0, START)
    start = START + doorcam.MOTION_HOLD
    looks = looks_in(story.door, 10 * doorcam.IDLE_PERIOD, start)
    assert len(looks) == pytest.approx(10, abs=1) and all(look.whole and look.regions == [] for _, look in looks)


def test_an_undecided_face_is_looked_at_often_and_encoded(story):
    story.show(face(person(0)), looks=1)
    look = story.door.next_look("frame", 0.25, story.now + STEP)
    assert look.frame == "frame" and look.scale == 0.25 and story.door.looked_at == story.now + STEP
    assert look.regions == [(box_at(300), True)]


@pytest.mark.parametrize("known", [False, True])
def test_who_was_lost_is_looked_for_often_only_for_a_moment(story, known):
    """What was no face (two faces side by side may look like a third between them) must not cost two seconds."""
    story.door._motion.moved = math.inf  # it goes on
    story.show(face(person(0)), looks=20 if known else 1)
    assert bool(story.visitors()) == known
    moments = [moment - story.now for moment, _ in looks_in(story.door, doorcam.TRACK_LOST, story.now, 1000)]
    often = [moment for moment in moments if moment < doorcam.BOX_LOST]
    assert len(often) >= doorcam.BOX_LOST / doorcam.LOOK_PERIOD
    seldom = [later - moment for moment, later in zip(moments, moments[1:]) if moment > doorcam.BOX_LOST]
    assert len(seldom) > 5 and min(seldom) >= doorcam.CALM_PERIOD
    story.look([face(person(0))], story.now + doorcam.TRACK_LOST - 0.01)
    assert len(story.door.tracks) == 1 and story.door.tracks[0].sightings == (21 if known else 2)


def test_a_decided_face_is_encoded_seldom(story):
    story.show(face(person(0)), seconds=10)
    encoded = []
    for _ in range(80):  # ten seconds
        look = story.door.next_look(None, 1.0, story.now + STEP)
        wanted = bool(look and look.regions[0][1])
        encoded.append(wanted)
        story.show(face(person(0) if wanted else None), looks=1)
    assert 10 / doorcam.ENCODE_PERIOD - 1 <= sum(encoded) <= 10 / doorcam.ENCODE_PERIOD + 1
    assert story.visitors() == [1]


def test_after_the_clock_was_set_there_is_a_look_at_once(story):
    story.show(face(person(0)), seconds=3)
    assert story.door.next_look(None, 1.0, story.now + 9)
    assert story.door.next_look(None, 1.0, story.now + 9.01) is None
    story.set_clock(-86400.0)
    assert story.door.next_look(None, 1.0, story.now + 9.02)


def far_looks(looks):
    return [moment for moment, look in looks if look.far]


def test_small_faces_are_looked_for_now_and_then(story, metric):
    """By the engine that can find them; a look at the whole of a large frame takes long."""
    story.door._motion.moved = math.inf  # it goes on
    looks, period = looks_in(story.door, 20), metric.far_period
    far = far_looks(looks)
    assert far[0] == START and 20 / (period + doorcam.WHOLE_PERIOD) <= len(far) <= 20 / period
    assert len(far) < len(looks) / 2 and all(look.whole for _, look in looks if look.far)
    assert all(later - moment >= period for moment, later in zip(far, far[1:]))


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_look_says_where_something_moved(story, scale):
    """In pixels of the frame."""
    patch = texture(10, 60, 50)
    assert story.door.next_look(None, scale, START).moved is None
    story.door.follow(scene(), scale, START)
    assert story.door.next_look(None, scale, START + 4).moved is None
    story.door.follow(scene((patch, 100, 90)), scale, START + 4.1)
    top, right, bottom, left = (side * scale for side in story.door.next_look(None, scale, START + 8).moved)
    assert 60 < top <= 90 and 150 <= bottom < 180 and 70 < left <= 100 and 150 <= right < 180


def test_small_faces_are_looked_for_in_a_still_scene_no_more_often_than_others():
    door = Story(metric=doorcam.OPENCV).door
    looks = looks_in(door, 20)
    assert 6 <= len(looks) <= 7 and len(far_looks(looks)) == len(looks)


def test_small_faces_are_looked_for_behind_who_is_near():
    """Half as often as without anybody: who is far away will come nearer."""
    story, looks = Story(metric=doorcam.OPENCV), []
    for _ in range(160):  # twenty seconds
        story.show(face(person(0)), looks=1)
        looks += [(story.now, look) for look in [story.door.next_look(None, 1.0, story.now)] if look]
    assert len(far_looks(looks)) == pytest.approx(20 / (2 * doorcam.OPENCV.far_period), abs=1)
    assert not all(look.far for _, look in looks) and all(look.regions for _, look in looks)


def test_small_faces_are_looked_for_at_once_after_the_clock_was_set():
    story = Story(metric=doorcam.OPENCV)
    story.door._motion.moved = math.inf
    assert story.door.next_look(None, 1.0, START).far
    assert not story.door.next_look(None, 1.0, START + 1).far
    story.set_clock(-86400.0)
    assert story.door.next_look(None, 1.0, story.now + 1).far


# ------------------------------------------------------------------------------------------- who goes on as whom


def test_a_face_that_moves_is_one_track(story):
    for index in range(60):
        story.show(face(person(0), x=100 + 15 * index), looks=1)
    assert len(story.door.tracks) == 1 and story.events == [("new", 1)]


def crossing(encoded, metric):
    """Two people who walk through each other's place; encoded(turn) says which looks bring encodings."""
    story = Story(book_of(person(0), person(1), metric=metric))
    for turn in range(81):
        bring = encoded(turn)
        story.show(face(person(0) if bring else None, x=200 + 5 * turn),
                   face(person(1) if bring else None, x=600 - 5 * turn, y=210), looks=1)
        assert len(set(story.visitors())) == len(story.visitors())
    return story


@pytest.mark.parametrize("encoded", [lambda turn: True, lambda turn: turn < 30 or turn > 50,
                                     lambda turn: turn < 20 or turn % 10 == 0])
def test_two_people_crossing_keep_their_names(metric, encoded):
    story = crossing(encoded, metric)
    assert sorted(story.events) == [("returned", 1), ("returned", 2)]
    assert len(story.book) == 2
    where = {track.visitor: track.box[3] for track in story.door.tracks if not track.missed}
    assert where == {1: box_at(600)[3], 2: box_at(200)[3]}
    story.finish()
    assert [len(visitor.encodings) for visitor in story.book.visitors.values()] == [1, 1]


@pytest.mark.parametrize("looks", [1, 3, int(A_MOMENT / STEP)])
def test_a_broken_track_goes_on_as_the_same(story, looks):
    story.show(face(person(0)), looks=2)
    track = story.door.tracks[0]
    story.show(looks=looks)
    story.show(face(person(0), x=320), looks=ENROLLED)
    assert story.door.tracks == [track] and track.began == START + STEP
    assert story.events == [("new", 1)]
    story.show(looks=looks)
    story.show(face(person(0)), looks=2)
    assert story.door.tracks == [track] and track.visitor == 1


def test_a_broken_track_is_found_again_elsewhere_by_its_encoding(story):
    story.show(face(person(0)), looks=ENROLLED)
    track = story.door.tracks[0]
    story.show(looks=4)
    away = aside(person(0), story.door.metric.rejoin_track - 0.01)
    story.show(face(away, x=900), looks=1)
    assert story.door.tracks == [track] and story.visitors() == [1]


def test_a_track_ends_after_a_while(story):
    story.show(face(person(0)), looks=ENROLLED)
    track = story.door.tracks[0]
    story.nobody(doorcam.TRACK_LOST + STEP)
    assert story.door.tracks == []
    story.show(face(person(0)), looks=ENROLLED)
    assert story.door.tracks[0] is not track and story.visitors() == [1]
    assert story.events == [("new", 1)]


def test_slow_looks_do_not_end_a_track(story):
    """dlib without BLAS needs seconds for a look at several faces, while the frames go on."""
    for _ in range(ENROLLED):
        story.look([face(person(0)), face(person(1), x=600)], story.now + 2.5 * doorcam.TRACK_LOST)
        for _ in range(30):  # frames without an answer
            story.now += doorcam.TRACK_LOST / 15
            story.told += story.end(story.now)
            assert len(story.door.marks(story.now)) == 2
    assert story.events == [("new", 1), ("new", 2)] and len(story.door.tracks) == 2


@pytest.mark.parametrize("slept", [doorcam.VISIT_GAP, 8 * 3600.0])
def test_a_machine_that_slept_does_not_make_a_long_visit(story, slept):
    story.show(face(person(0)), seconds=5)
    story.look([face(person(0))], story.now + slept)
    story.show(face(person(0)), seconds=5)
    story.finish()
    assert story.events == [("new", 1), ("left", 1), ("returned", 1), ("left", 1)]
    assert [event.seconds for event in story.told if event.kind == "left"] == [5 - STEP, 5]


@pytest.mark.parametrize("between", [0, 1, 5])
def test_somebody_else_in_the_same_place(story, between):
    story.show(face(person(0)), seconds=2)
    story.show(looks=between) if between else None
    story.show(face(person(1)), seconds=2)
    assert story.events == [("new", 1), ("new", 2)]
    assert story.visitors() == [2] and story.labels()[-1] == "New visitor!"
    story.show(face(person(0)), seconds=2)
    assert story.visitors() == [1] and len(story.book) == 2
    story.finish()
    assert [len(visitor.encodings) for visitor in story.book.visitors.values()] == [1, 1]


def test_forty_people_at_once(story):
    crowd = [face(person(number), x=70 + 125 * (number % 10), y=80 + 140 * (number // 10)) for number in range(40)]
    story.show(*crowd, seconds=5)
    assert sorted(story.events) == [("new", number) for number in range(1, 41)]
    assert sorted(story.visitors()) == list(range(1, 41))
    story.nobody(doorcam.VISIT_GAP)
    story.show(*reversed(crowd), seconds=5)
    story.finish()
    assert len(story.book) == 40 and all(visitor.seen_count == 2 for visitor in story.book.visitors.values())
    assert len(story.door.tracks) == 0


def test_the_mean_of_a_track_is_made_once_in_a_look_and_not_for_each_face(metric, monkeypatch):
    tracks = [doorcam.Track(box_at(x), START, metric) for x in range(100, 10000, 250)]
    means, mean = [], doorcam.Track.mean
    for number, track in enumerate(tracks):
        track.evidence = [person(number)]
    monkeypatch.setattr(doorcam.Track, "mean", lambda track: means.append(track) or mean(track))
    faces = [face(person(number), x=100 + 250 * number) for number in reversed(range(len(tracks)))]
    assert doorcam.match_faces(tracks, faces, START + 0.1) == dict(enumerate(reversed(tracks)))
    assert len(means) == len(tracks) == 40


def test_nobody_of_a_crowd_is_lost_by_one_look(story):
    """Many faces are looked at so seldom that the last sight of each is longer ago than TRACK_LOST."""
    crowd = [face(person(number), x=70 + 125 * (number % 10), y=80 + 140 * (number // 10)) for number in range(40)]
    story.show(*crowd, seconds=5)
    tracks, story.door._motion.moved = list(story.door.tracks), math.inf  # it goes on
    assert story.door.next_look(None, 1.0, story.now)
    moment = next(moment for moment in story.now + np.arange(100) / 10 if story.door.next_look(None, 1.0, moment))
    assert moment - story.now > doorcam.TRACK_LOST
    story.look(crowd[:20] + crowd[21:], moment)
    assert story.door.tracks == tracks


@pytest.mark.parametrize("count, encoded", [(1, False), (40, True)])
def test_each_of_a_crowd_has_time_to_be_seen_often_enough(story, count, encoded):
    """Each look at forty faces may take five seconds; one face that shows nothing for so long is let alone."""
    crowd = [face(person(number), x=70 + 125 * (number % 10), y=80 + 140 * (number // 10)) for number in range(count)]
    for turn in range(3):
        story.look(crowd, START + 5 * turn)
    look = story.door.next_look(None, 1.0, story.now + 1.99)
    assert [encode for _, encode in look.regions] == [encoded] * count


def test_two_alike_in_one_frame_are_never_one_visitor(metric):
    """Twins, or a mirror: nearer than any tolerance."""
    story = Story(book_of(person(0), metric=metric))
    twins = face(aside(person(0), 0.05, 0)), face(aside(person(0), 0.05, 1), x=700)
    story.show(*twins, seconds=6)
    assert len(set(story.visitors())) == len(story.visitors())
    assert story.visitors()[0] == 1 or 1 in story.visitors()
    story.finish()
    assert story.book.visitors[1].seen_count == 2


def test_who_is_seen_together_is_noted(story):
    story.show(face(person(0)), seconds=2)
    story.show(face(person(0)), face(person(1), x=700), seconds=2)
    assert story.book.visitors[1].apart == {2} and story.book.visitors[2].apart == {1}


def test_matching_takes_each_face_and_each_track_once(metric):
    random.seed(5)
    for _ in range(200):
        tracks = []
        for number in range(random.randrange(5)):
            track = doorcam.Track(box_at(random.randrange(100, 700)), START, metric)
            track.evidence = [person(number)] * random.randrange(2)
            tracks.append(track)
        faces = [face(random.choice([None, person(random.randrange(5))]), x=random.randrange(100, 700))
                 for _ in range(random.randrange(5))]
        matched = doorcam.match_faces(tracks, faces, START + random.choice([0.1, 1.0]))
        assert set(matched) <= set(range(len(faces)))
        assert len({id(track) for track in matched.values()}) == len(matched)
        for index, track in matched.items():
            if track.evidence and faces[index].encoding is not None:
                assert doorcam.distance(track.mean(), faces[index].encoding) <= metric.same_track


# ------------------------------------------------------------------------------------------ what is worth enrolling


def test_a_hand_seen_twice_is_nobody(story):
    story.show(face(person(0)), looks=2)
    story.nobody(60)
    story.finish()
    assert story.events == [] and len(story.book) == 0


def test_a_pattern_found_now_and_then_is_nobody(story):
    for _ in range(50):
        story.show(face(person(0)), looks=1)
        story.nobody(doorcam.TRACK_LOST + 1)
    assert story.events == [] and len(story.book) == 0


@pytest.mark.parametrize("poor", [lambda metric: dict(width=metric.min_face - 2),
                                  lambda metric: dict(sharp=doorcam.MIN_SHARPNESS - 1),
                                  lambda metric: dict(frontal=doorcam.MIN_FRONTAL - 0.01),
                                  lambda metric: dict(score=metric.min_score - 0.1),
                                  lambda metric: dict(score=metric.enrol_score - 0.01)])
def test_small_blurred_profile_and_doubtful_faces_are_not_enrolled(story, metric, poor):
    story.show(face(person(0), **poor(metric)), seconds=20)
    assert story.labels() == ["Looking..."]
    story.finish()
    assert story.events == [] and len(story.book) == 0


def test_faces_just_good_enough_are_enrolled(story, metric):
    story.show(face(person(0), width=2 * int(math.ceil(metric.min_face / 2)), sharp=doorcam.MIN_SHARPNESS,
                    frontal=doorcam.MIN_FRONTAL, score=metric.enrol_score + 0.01), seconds=4)
    assert story.events == [("new", 1)]


def test_encodings_that_scatter_are_no_face(story):
    """Each far from the one before: always a new track."""
    for number in range(60):
        story.show(face(person(number)), looks=1)
    story.finish()
    assert story.events == [] and len(story.book) == 0


def test_who_is_known_need_not_be_found_as_surely_as_a_newcomer(metric):
    story = Story(book_of(person(0), metric=metric))
    story.show(face(person(0), score=metric.enrol_score - 0.01), seconds=4)
    assert story.events == [("returned", 1)]


def scattered(metric, apart):
    """A Track of encodings that all lie in other directions from person 0."""
    track = doorcam.Track(box_at(300), START, metric)
    for number in range(20):
        track.take(face(aside(person(0), apart, number)), START)
    return track


def test_a_track_whose_encodings_scatter_is_not_enrolled(story, metric):
    track = scattered(metric, 1.5 * metric.agreement)
    assert track.sightings == 20 and not track.agrees()
    story.door.tracks = [track]
    story.now = START
    story.finish()
    assert story.events == [] and len(story.book) == 0


def test_encodings_of_one_face_agree(metric):
    assert scattered(metric, 0.8 * metric.agreement).agrees()


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_encodings_that_are_no_numbers_are_ignored_and_counted(story, broken):
    bad = person(0)
    bad[77] = broken
    story.show(face(bad), looks=50)
    story.finish()
    assert story.door.broken_encodings == 50
    assert story.events == [] and len(story.book) == 0


def test_broken_encodings_among_good_ones_do_no_harm(story):
    bad = np.full(128, math.nan)
    for turn in range(60):
        story.show(face(bad if turn % 2 else person(0)), face(bad, x=700), looks=1)
    assert story.door.broken_encodings == 30 + 60
    assert story.events == [("new", 1)]
    story.finish()
    assert np.all(np.isfinite(story.book.visitors[1].encodings))


def test_evidence_is_bounded(story):
    story.show(face(person(0)), looks=3 * doorcam.EVIDENCE_SIGHTINGS)
    track = story.door.tracks[0]
    assert len(track.evidence) == doorcam.EVIDENCE_SIGHTINGS and track.sightings == 3 * doorcam.EVIDENCE_SIGHTINGS


# ----------------------------------------------------------------------------------------------- the best picture


def test_the_picture_kept_is_the_best_of_the_visit(story):
    good = np.full((doorcam.PICTURE_SIZE, doorcam.PICTURE_SIZE, 3), 200, np.uint8)
    story.show(face(person(0), sharp=40.0), looks=ENROLLED)
    poor = story.book.visitors[1].quality
    story.show(face(person(0))._replace(picture=good), looks=1)
    visitor = story.book.visitors[1]
    assert visitor.quality > poor and doorcam.picture_of(visitor).mean() == pytest.approx(200, abs=2)
    story.show(face(person(0), frontal=0.5), looks=30)
    assert doorcam.picture_of(visitor).mean() == pytest.approx(200, abs=2)


def test_picture_quality_grows_with_each_of_its_parts():
    base = doorcam.picture_quality(face(None, width=100, frontal=0.6, sharp=80.0, score=0.2))
    for better in (dict(width=140), dict(frontal=0.9), dict(sharp=150.0), dict(score=0.8)):
        options = dict(dict(width=100, frontal=0.6, sharp=80.0, score=0.2), **better)
        assert base < doorcam.picture_quality(face(None, **options)) <= 1
    assert doorcam.picture_quality(face(None, width=900, frontal=1.0, sharp=9000.0, score=9.0)) == 1


# ------------------------------------------------------------------------------------------------------ any story


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_the_book_stays_sound(metric, seed):
    """Random people come, move, cross, are hidden, are not encoded; some are alike; the clock is set."""
    random.seed(seed)
    alike = [aside(person(number), 0.1 * random.random(), number) for number in range(4)]
    people = [person(number) for number in range(4)] + alike
    places = [random.randrange(100, 1100) for _ in people]
    story, there, joined = Story(metric=metric, gap=random.choice([0.5, 3.0, 20.0])), set(), set()
    merge = story.book.merge
    story.book.merge = lambda number, into: (joined.add(into), merge(number, into))
    for _ in range(700):
        there ^= {random.randrange(len(people))} if random.random() < 0.06 else set()
        places = [min(1200, max(60, place + random.randrange(-30, 31))) for place in places]
        faces = [face(None if random.random() < 0.3 else aside(people[one], 0.2 * random.random(), 10 + one),
                      x=places[one]) for one in sorted(there) if random.random() < 0.9]
        story.look(faces, story.now + random.choice([STEP, STEP, 0.5, 4.0]))
        if random.random() < 0.02:
            story.set_clock(random.choice([-3600.0, 3600.0, 1e8, -1e8]))
        check_soundness(story)
    story.finish()
    check_events(story, set(story.book.visitors) - joined)
    assert 4 <= len(story.book) <= 200


def check_soundness(story):
    twice = {track.visitor for pair in story.door.greeter._twice.pairs for track in pair[:2]}
    assert all(story.visitors().count(number) == 1 or number in twice for number in story.visitors())
    for number, visitor in story.book.visitors.items():
        assert number == visitor.number and 1 <= len(visitor.encodings) <= doorcam.MAX_ENCODINGS
        assert visitor.this_visit() >= 0 and visitor.at_door(story.now) >= 0 and visitor.total_seconds() >= 0
        assert visitor.longest_visit() <= visitor.total_seconds() + 1e-6
        assert visitor in [one for _, one in story.book.lookup_known_face(visitor.center())]
    for track in story.door.tracks:
        assert track.visitor is None or track.visitor in story.book.visitors
    for number, visitor in story.visits.going().items():
        assert story.book.visitors.get(number) is visitor


def check_events(story, numbers):
    """Each visit begins once and ends once."""
    assert len(numbers) >= 2
    for number in numbers:
        kinds = [kind for kind, who in story.events if who == number]
        assert kinds[:1] == ["new"] and kinds[-1] == "left"
        for first, second in itertools.zip_longest(kinds[::2], kinds[1::2]):
            assert first in ("new", "returned") and second == "left", kinds


def test_slow_looks_are_not_all_closer_ones(story):
    """Each look takes longer than the period of far looks: every other one is still at the whole picture."""
    looks, chance = [], np.random.RandomState(1)
    story.door = doorcam.Door(story.book, story.visits, doorcam.Place(flip="180"))  # whose picture is not turned
    for turn in range(20):
        picture = np.full((180, 320), 90, np.uint8)
        picture[100:, 200:] = chance.randint(0, 255, (80, 120))  # a tree
        story.door.follow(picture, 0.25, START + 10 * turn)
        looks.append(story.door.next_look(None, 0.25, START + 10 * turn))
    assert [look.far for look in looks[2:]] == [look.far for look in looks[2:4]] * 9
    assert [look.far for look in looks].count(True) == 10 and looks[-1].moved
