"""The visit rule: when a visit begins and ends, how long it was, and what a clock that jumps does to it."""
import datetime
import io
import os
import pickle
import time
import types

import cv2
import numpy as np
import pytest

import doorcam
from helpers import START, STEP, Story, apart_for, aside, book_of, face, person, written_and_read

GAP = doorcam.VISIT_GAP
YEAR = 365 * 86400.0
JUMPS = [8 * YEAR, -8 * YEAR, 3600.0, -3600.0, doorcam.CLOCK_JUMP, -doorcam.CLOCK_JUMP]
ANNA, BEN = face(person(0)), face(person(1), x=600)


# ------------------------------------------------------------------------------------------------ Book.see alone


def seen_once(now=START):
    book = doorcam.Book(doorcam.DLIB)
    return book, book.register_new_face(person(0), now)


@pytest.mark.parametrize("away, event", [(0.0, None), (1.0, None), (GAP - 0.1, None), (GAP, "returned"),
                                         (GAP + 0.1, "returned"), (YEAR, "returned")])
def test_a_new_visit_begins_after_the_gap(away, event):
    book, visitor = seen_once()
    told = doorcam.Visits(book).see(visitor, START + away, START + away)
    assert (told and told.kind) == event
    assert visitor.seen_count == (2 if event else 1)
    assert visitor.at_door(START + away) == pytest.approx(0 if event else away)
    assert visitor.last_seen == START + away


@pytest.mark.parametrize("gap", [0.1, 0.5, 2.25, 1e7])
def test_the_gap_may_be_any_number_of_seconds(gap):
    book, visitor = seen_once()
    book.gap = gap
    assert doorcam.Visits(book).see(visitor, START + gap * 0.99, START + gap * 0.99) is None
    later = visitor.last_seen + gap + 1e-6  # a time of today is kept to less than a microsecond
    assert doorcam.Visits(book).see(visitor, later, later).kind == "returned"


def test_a_visit_counts_from_the_first_sight_not_from_the_decision():
    book, visitor = seen_once()
    event = doorcam.Visits(book).see(visitor, START + 1000, START + 1002)
    assert event.moment == START + 1000 and event.seconds == 1000
    assert visitor.first_seen_this_interaction == START + 1000
    assert visitor.at_door(START + 1002) == 2


def test_being_seen_late_within_the_gap_is_no_new_visit():
    book, visitor = seen_once()
    assert doorcam.Visits(book).see(visitor, START + GAP - 1, START + GAP + 5) is None  # back in time, decided later


@pytest.mark.parametrize("ahead", (60, 6 * 3600, YEAR))
def test_a_last_sight_in_the_future_was_nobody_knows_when(ahead):
    """Of an earlier run, whose clock was another one."""
    book, visitor = seen_once(START + ahead)
    see = doorcam.Visits(book).see
    see(visitor, START + ahead + 10, START + ahead + 10)
    see = doorcam.Visits(book).see
    event = see(visitor, START, START)
    assert (event.kind, event.seconds) == ("returned", None)
    assert visitor.seen_count == 2 and visitor.total_seconds() == 10 and visitor.at_door(START) == 0
    assert see(visitor, START + 5, START + 5) is None
    assert visitor.this_visit() == 5


def test_a_last_sight_a_moment_ahead_was_just_now():
    book, visitor = seen_once(START + 1)
    assert doorcam.Visits(book).see(visitor, START, START) is None and visitor.seen_count == 1


def test_times_of_visits_add_up():
    book, visitor = seen_once()
    for begin, end in ((0, 20), (1000, 1007), (5000, 5100)):
        doorcam.Visits(book).see(visitor, START + begin, START + begin)
        doorcam.Visits(book).see(visitor, START + begin, START + end)
    assert visitor.seen_count == 3
    assert visitor.total_seconds() == 20 + 7 + 100
    assert visitor.longest_visit() == 100 and visitor.this_visit() == 100


# --------------------------------------------------------------------------------------------- through the door


def test_somebody_comes_stays_and_leaves(story):
    story.show(ANNA, seconds=20)
    story.nobody(GAP)
    assert story.events == [("new", 1), ("left", 1)]
    new, left = story.told
    assert new.moment == START + STEP
    assert left.moment == START + 20 and left.seconds == 20 - STEP


@pytest.mark.parametrize("away, comes_back", [(GAP - 0.1, False), (GAP, True)])
def test_away_for_nearly_and_for_just_the_gap(story, away, comes_back):
    story.show(ANNA, seconds=3)
    story.arrive([ANNA], away, seconds=3)
    story.nobody(GAP)
    again = [("left", 1), ("returned", 1)] if comes_back else []
    assert story.events == [("new", 1)] + again + [("left", 1)]
    visitor = story.book.visitors[1]
    assert visitor.seen_count == (2 if comes_back else 1)
    assert story.told[-1].seconds == pytest.approx(3.0 if comes_back else 3 - STEP + away + 3)


def test_a_visit_is_told_to_have_ended_once_only(story):
    """Who comes back within the gap but is recognised after it has not left."""
    story.show(ANNA, seconds=3)
    story.arrive([face(None)], GAP - 0.5, seconds=0.5)
    story.show(ANNA, seconds=3)
    assert story.events == [("new", 1)]
    story.finish()
    assert story.events == [("new", 1), ("left", 1)]


def test_a_stay_longer_than_the_gap_is_one_visit(story):
    story.show(ANNA, seconds=3 * GAP)
    assert story.events == [("new", 1)] and story.book.visitors[1].seen_count == 1
    assert story.labels() == ["At door 14m 59s"]
    story.finish()
    assert story.told[-1].seconds == 3 * GAP - STEP


def test_turning_away_again_and_again_is_one_visit(story):
    for _ in range(20):
        story.show(ANNA, seconds=2)
        story.nobody(GAP / 2)
    assert story.events == [("new", 1)]


def test_the_time_at_the_door_starts_anew(story):
    story.show(ANNA, seconds=100)
    story.arrive([ANNA], GAP, seconds=12)
    assert story.labels() == ["At door 12s"]
    assert story.events[-1] == ("returned", 1) and story.told[-1].seconds == GAP


@pytest.mark.parametrize("gap, away, kinds", [(0.5, 0.25, ["new"]), (0.5, 0.5, ["new", "left", "returned"]),
                                              (2.5, 2.25, ["new"]), (2.5, 2.5, ["new", "left", "returned"])])
def test_gaps_shorter_than_a_track_is_kept(gap, away, kinds):
    story = Story(gap=gap)
    story.show(ANNA, seconds=3)
    story.arrive([ANNA], away, seconds=3)
    assert [kind for kind, _ in story.events] == kinds


def test_what_was_seen_in_a_picture_that_was_none_was_not_seen(story):
    story.show(ANNA, seconds=5)
    story.show(ANNA, BEN, seconds=10)
    story.lose(START + 3)
    anna, ben = (story.book.visitors[number] for number in (1, 2))
    assert anna.last_seen == START + 3 and ben.this_visit() == 0
    assert {1, 2} <= story.book.changed  # and it is saved
    story.nobody(GAP)
    assert story.events[-2:] == [("left", 1), ("left", 2)]
    assert story.told[-2].moment == START + 3 and story.told[-2].seconds == 3 - STEP


def test_who_is_there_when_the_picture_is_back_has_not_left(story):
    story.show(ANNA, seconds=20)
    story.lose(START + 9)
    story.arrive([ANNA], GAP - 12, seconds=3)
    story.finish()
    assert story.events == [("new", 1), ("left", 1)] and story.told[-1].seconds > GAP


def test_two_people_have_their_own_visits(story):
    story.show(ANNA, seconds=5)
    story.show(ANNA, BEN, seconds=5)
    story.show(BEN, seconds=GAP - 10)
    story.arrive([ANNA], GAP, seconds=2)
    story.finish()
    assert story.events == [("new", 1), ("new", 2), ("left", 1), ("left", 2), ("returned", 1), ("left", 1)]
    assert [event.seconds for event in story.told if event.kind == "left"] == [10 - STEP, GAP - 5 - STEP, 2]


def test_the_end_of_the_program_ends_every_visit(story):
    story.show(ANNA, BEN, seconds=4)
    story.finish()
    assert sorted(story.events[2:]) == [("left", 1), ("left", 2)]
    assert not story.door.tracks and not story.visits.going()


def test_who_leaves_before_being_decided_but_shown_enough_counts(metric):
    story = Story(book_of(person(0), metric=metric))
    doubtful = aside(person(0), apart_for(story.book.metric.caution - doorcam.DOUBT / 2, story.book))
    story.show(face(doubtful), looks=doorcam.ENROL_SIGHTINGS)
    assert story.events == []
    last = story.now
    story.finish()
    assert story.events == [("new", 2), ("left", 2)]
    assert story.told[-1].moment == last


# ---------------------------------------------------------------------------------------------- across a restart


@pytest.mark.parametrize("down, kinds", [(0.5, []), (GAP - 10, []), (GAP, ["returned"]), (YEAR, ["returned"])])
def test_a_restart_within_the_gap_goes_on_with_the_visit(story, down, kinds):
    story.show(ANNA, seconds=30)
    story.finish()
    again = Story(written_and_read(story.book), story.now + down - STEP)
    again.show(ANNA, seconds=6)
    assert [kind for kind, _ in again.events] == kinds
    again.nobody(GAP)
    assert again.events[-1] == ("left", 1)
    assert again.told[-1].seconds == pytest.approx(6 - STEP if kinds else 30 + down + 6 - 2 * STEP, abs=1e-3)
    assert again.book.visitors[1].seen_count == 1 + len(kinds)


@pytest.mark.parametrize("trouble", [
    lambda story: story.set_clock(-7200), lambda story: story.set_clock(7200),
    lambda story: story.lose(story.now - 5), lambda story: story.nobody(GAP - 10),
    lambda story: story.show(face(None), seconds=5), lambda story: story.book.name(1, "Anna"),
    lambda story: story.book.merge(story.book.register_new_face(person(9), story.now).number, 1)])
def test_whatever_happens_during_a_visit_it_is_told_once(trouble, metric):
    story = Story(book_of(person(0), now=START - 5000, metric=metric))
    for _ in range(3):
        story.show(ANNA, seconds=10)
        trouble(story)
    story.show(ANNA, seconds=10)
    story.nobody(GAP)
    assert story.events == [("returned", 1), ("left", 1)]


def test_a_newcomer_who_turns_out_to_be_known_is_told_once(metric):
    """Visitor 2 is new, then found to be visitor 1, of whom nobody was told in this visit."""
    story = Story(book_of(person(0), now=START - 5000, metric=metric))
    new = story.book.register_new_face(aside(person(0), metric.learn_apart), story.now)
    story.told.append(story.visits.enrol(new, story.now, story.now, 5))
    story.book.merge(2, 1)
    story.show(ANNA, seconds=10)
    story.nobody(GAP)
    assert story.events == [("new", 2), ("left", 1)] and story.book.visitors[1].seen_count == 2


def again_after(story, seconds, gap=GAP):
    """doorcam, before a camera, ends, and starts again so many seconds later."""
    assert "left" not in [event.kind for event in story.finish(live=True)]
    return Story(written_and_read(story.book), story.now + seconds - STEP, gap=gap)


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_visit_that_goes_on_after_restarts_is_told_once_to_be_over(story, restarts):
    story.show(ANNA, BEN, seconds=10)
    told, running = list(story.told), story
    for _ in range(restarts):
        running = again_after(running, 60)
        running.show(ANNA, seconds=10)
        told += running.told
    assert [(event.kind, event.visitor) for event in told] == [("new", 1), ("new", 2)]
    running.nobody(GAP)
    told = [(event.kind, event.visitor, round(event.seconds)) for event in running.told if event.kind == "left"]
    assert sorted(told) == [("left", 1, 10 + 70 * restarts), ("left", 2, 10)]


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_visit_that_did_not_go_on_is_told_to_be_over_at_the_next_start(story, comes_back):
    story.show(ANNA, seconds=10)
    again = again_after(story, YEAR)
    again.look([ANNA] if comes_back else [], again.now)
    (left,) = again.told
    assert left == doorcam.Event("left", pytest.approx(START + 10, abs=1e-3), 1, 1, pytest.approx(10 - STEP, abs=1e-3))
    again.show(*[ANNA] * comes_back, seconds=5)
    assert again.events == [("left", 1)] + [("returned", 1)] * comes_back
    third = again_after(again, YEAR)
    third.nobody(5)
    assert third.events == [("left", 1)] * comes_back  # and never once more


def test_a_visit_of_a_run_with_another_clock_is_over_and_nobody_is_at_the_door(story):
    story.show(ANNA, seconds=10)
    again = again_after(story, -5 * YEAR)
    again.look([], again.now)
    assert again.events == [("left", 1)] and again.visits.at_door(again.now) == []


def test_who_comes_back_when_it_was_told_that_the_visit_is_over_makes_another_by_whatever_entry(metric):
    """Somebody who is not recognised at once, until the two entries are one."""
    story = Story(book_of([person(0), aside(person(0), 1.2 * metric.learn_apart)], now=START - 5000, metric=metric))
    story.show(ANNA, seconds=5)
    story.nobody(GAP - 1)
    second = story.book.register_new_face(person(0), story.now, None)
    story.told.append(story.visits.enrol(second, story.now, story.now + 2, 5))
    story.now += 2
    story.nobody(5)
    assert story.events == [("returned", 1), ("new", 2), ("left", 1)]
    story.book.merge(2, 1)
    story.finish()
    assert [(event.kind, event.visitor, event.visit) for event in story.told[2:]] == [("left", 1, 2), ("left", 1, 3)]


def test_a_restart_with_the_clock_in_the_past_begins_a_visit(story):
    """A Jetson has no battery: its clock may start years back. How long they were away nobody knows."""
    story.show(ANNA, seconds=30)
    story.finish()
    again = Story(written_and_read(story.book), START - 5 * YEAR)
    again.show(ANNA, seconds=10)
    assert again.events == [("returned", 1)] and again.told[0].seconds is None
    again.set_clock(5 * YEAR + 60)  # the network has come
    again.show(ANNA, seconds=10)
    again.finish()
    assert again.events == [("returned", 1), ("left", 1)]
    assert 15 <= again.told[1].seconds <= 20


# ------------------------------------------------------------------------------------------------ the clock jumps


@pytest.mark.parametrize("seconds", JUMPS)
def test_clock_jump_sees_a_clock_that_was_set(seconds):
    assert doorcam.clock_jump(START + seconds + 0.25, 100.25, START, 100.0) == seconds


@pytest.mark.parametrize("wall, steady", [(0.03, 0.03), (0.03, 0.04), (3600.0, 3600.0), (86400.0, 86399.5),
                                          (-1.0, 0.1)])
def test_clock_jump_leaves_alone_what_is_no_jump(wall, steady):
    """A frame later, a machine that slept, small corrections over the network."""
    assert doorcam.clock_jump(START + wall, 100.0 + steady, START, 100.0) == 0


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_in_the_middle_of_a_visit(story, jump):
    story.show(ANNA, seconds=12)
    story.set_clock(jump)
    assert story.book.visitors[1].at_door(story.now) == pytest.approx(12 - STEP)
    story.show(ANNA, seconds=8)
    story.nobody(GAP)
    assert story.events == [("new", 1), ("left", 1)]
    assert story.told[-1].seconds == pytest.approx(20 - STEP)
    assert story.told[-1].moment == pytest.approx(START + jump + 20)
    visitor = story.book.visitors[1]
    assert visitor.first_seen == visitor.first_seen_this_interaction == START + jump + STEP
    assert visitor.seen_count == 1


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_before_somebody_is_decided(story, jump):
    story.show(ANNA, looks=doorcam.KNOWN_SIGHTINGS - 1)
    story.set_clock(jump)
    story.show(ANNA, seconds=5)
    assert story.events == [("new", 1)] and len(story.door.tracks) == 1
    story.finish()
    seconds = story.told[-1].seconds
    assert seconds == pytest.approx(5 + (doorcam.KNOWN_SIGHTINGS - 2) * STEP)


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("before, after, comes_back", [(100, 100, False), (GAP - 50, 40, False), (GAP - 50, 50, True)])
def test_a_jump_while_somebody_is_away(story, jump, before, after, comes_back):
    story.show(ANNA, seconds=5)
    story.nobody(before)
    story.set_clock(jump)
    story.arrive([ANNA], after, seconds=5)
    assert [kind for kind, _ in story.events] == ["new"] + (["left", "returned"] if comes_back else [])
    story.finish()
    assert story.told[-1].seconds == pytest.approx(5.0 if comes_back else 5 - STEP + before + after + 5)


@pytest.mark.parametrize("back", [0.25, 1.0, doorcam.CLOCK_JUMP - 0.25])
def test_a_small_step_back_is_not_noticed_and_does_no_harm(story, back):
    """Less than CLOCK_JUMP: nobody tells the door."""
    story.show(ANNA, seconds=12)
    story.now -= back
    story.show(ANNA, seconds=STEP)
    assert story.labels() == ["At door 11s"] or story.labels() == ["At door 12s"]
    story.show(ANNA, seconds=8)
    assert story.events == [("new", 1)]
    story.finish()
    assert 18 <= story.told[-1].seconds <= 20


def test_no_time_is_ever_negative(story):
    """The clock is set at random, noticed or not, while two people come and go."""
    seconds = [3, -1.5, YEAR, -YEAR, 7200, -3600, -1, 0.5]
    for turn in range(64):
        story.show(*[[ANNA], [BEN], [ANNA, BEN], []][turn % 4], seconds=1 + turn % 3)
        jump = seconds[turn * 5 % 8]
        if abs(jump) >= doorcam.CLOCK_JUMP:
            story.set_clock(jump)
        else:
            story.now += jump
        for visitor in story.book.visitors.values():
            assert 0 <= visitor.at_door(story.now) < 300 and 0 <= visitor.this_visit() < 300
        assert not any("-" in label for label in story.labels())
    story.finish()
    assert sorted(story.events) == [("left", 1), ("left", 2), ("new", 1), ("new", 2)]
    assert all(0 <= event.seconds < 300 for event in story.told if event.kind == "left")


def test_the_live_loop_notices_a_clock_that_is_set(monkeypatch):
    class Camera:
        source = doorcam.Source("camera", 0)

        def newest(self, wait):
            clocks["steady"] += 0.04
            clocks["wall"] += 0.04
            return "frame"

        def lost(self):
            return 0.0

    clocks = {"wall": START, "steady": 50.0}
    monkeypatch.setattr(doorcam, "time", types.SimpleNamespace(time=lambda: clocks["wall"]))
    monkeypatch.setattr(doorcam, "steady_clock", lambda: clocks["steady"])
    jumps = []
    frames = doorcam.live_frames(Camera(), jumps.append)
    for jump in (0, 8 * YEAR, 0, -3600, 0):
        clocks["wall"] += jump
        frame, now = next(frames)
        assert frame == "frame" and now == clocks["wall"]
    assert jumps == [pytest.approx(8 * YEAR), pytest.approx(-3600)]


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("change", [1774746000.0, 1792890000.0])  # 2026-03-29 and 2026-10-25, 01:00 UTC
def test_daylight_saving_does_not_touch_a_visit(change):
    """Neither while doorcam runs nor through the file, which holds local times: the hour that comes twice included."""
    assert time.localtime(change - 1).tm_hour != time.localtime(change).tm_hour - 1
    story = Story(now=change - 60)
    story.show(ANNA, seconds=100)
    again = Story(written_and_read(story.book), story.now)
    again.show(ANNA, seconds=20)
    again.finish()
    assert story.events == [("new", 1)] and again.events == [("left", 1)]
    assert again.told[0].seconds == pytest.approx(120 - STEP)
    assert again.told[0].moment == change + 60


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("hour", range(-3, 4))
def test_times_in_the_file_are_the_same_seconds_around_the_double_hour(hour):
    moment = 1792890000.0 + hour * 1800
    book = doorcam.Book(doorcam.DLIB)
    book.register_new_face(person(0), moment)
    assert written_and_read(book).visitors[1].last_seen == moment
    assert os.environ["TZ"].startswith("CET")


@pytest.fixture
def time_zone(monkeypatch):
    """Sets the time zone of this process: time_zone("UTC")."""
    def set_to(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()
    yield set_to
    monkeypatch.undo()
    time.tzset()


def test_a_time_zone_that_is_set_later_moves_no_visit(time_zone):
    """A board's zone is UTC until somebody sets it."""
    for before, after in (("UTC", "CET-1"), ("EST5", "UTC"), ("NPT-5:45", "PST8")):
        time_zone(before)
        book = book_of(person(0), now=START + 0.123456)
        file = io.BytesIO()
        doorcam.dump_known_faces(book.snapshot(), file)
        time_zone(after)
        again, = doorcam.read_known_faces(file.getvalue())[0]
        assert again.last_seen == START + 0.123456


def test_what_the_original_program_has_written_since_counts(time_zone):
    time_zone("CET-1")
    file = io.BytesIO()
    doorcam.dump_known_faces(book_of(person(0), now=START).snapshot(), file)
    encodings, metadata = pickle.loads(file.getvalue())
    metadata[0]["last_seen"] += datetime.timedelta(hours=1)
    again, = doorcam.read_known_faces(pickle.dumps([encodings, metadata]))[0]
    assert (again.first_seen, again.last_seen) == (START, START + 3600)


@pytest.mark.parametrize("utc", (None, 5, [], {"last_seen": 5}, {"last_seen": (float("nan"),)},
                                 {"last_seen": (float("nan"), None)}, {"last_seen": ("1", 2)}))
def test_times_that_are_none_are_no_obstacle(utc):
    file = io.BytesIO()
    doorcam.dump_known_faces(book_of(person(0), now=START).snapshot(), file)
    encodings, metadata = pickle.loads(file.getvalue())
    metadata[0]["utc"] = utc
    for seconds in (float("nan"), 1e300, -1e9):
        metadata[0]["utc"] = {"last_seen": (seconds, metadata[0]["last_seen"])} if utc is None else utc
        found = doorcam.read_known_faces(pickle.dumps([encodings, metadata]))[0]
        assert [one.last_seen for one in found] == [START]


# --------------------------------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("seconds, text", [
    (0, "0s"), (0.99, "0s"), (1, "1s"), (12, "12s"), (59.9, "59s"), (60, "1m 00s"), (185, "3m 05s"),
    (3599, "59m 59s"), (3600, "1h 00m"), (7500, "2h 05m"), (360000, "100h 00m")])
def test_duration(seconds, text):
    assert doorcam.duration(seconds) == text


@pytest.mark.parametrize("late", (0.125, 5.0, 30.0))
@pytest.mark.parametrize("clock", (0.0, 3600.0, -3600.0))
def test_the_label_of_a_newcomer_stays_however_late_it_comes(story, late, clock):
    """It is first drawn so many seconds after the first sight, as with slow recognition, and the clock is set then."""
    story.show(ANNA, looks=1 + doorcam.ENOUGH_SIGHTINGS, drawn=False)
    story.show(ANNA, seconds=late, drawn=False)
    assert story.labels() == ["New visitor!"]
    story.set_clock(clock)
    assert story.labels() == ["New visitor!"]
    story.show(ANNA, seconds=doorcam.NEW_SECONDS - 2 * STEP)
    assert story.labels() == ["New visitor!"]
    story.show(ANNA, seconds=doorcam.NEW_SECONDS)
    assert story.labels()[0].startswith("At door ")


def test_the_label_of_a_newcomer_is_not_shown_again_after_a_restart(story):
    story.show(ANNA)
    book = written_and_read(story.book)
    assert doorcam.label_of(book[1], story.now)[0].startswith("At door ")


def test_labels_of_a_first_visit(story):
    story.show(ANNA, looks=1)
    assert story.labels() == ["Looking..."]
    story.show(ANNA, looks=doorcam.ENOUGH_SIGHTINGS)
    assert story.labels() == ["New visitor!"]
    story.show(ANNA, seconds=doorcam.NEW_SECONDS)
    assert story.labels()[0].startswith("At door ")
    story.show(ANNA, seconds=START + 12 + STEP - story.now)
    assert story.labels() == ["At door 12s"]
    story.show(ANNA, seconds=START + 185 + STEP - story.now)
    assert story.labels() == ["At door 3m 05s"]


def test_labels_of_who_comes_back():
    story = Story(book_of(person(0), person(1)))
    story.book.visitors[2].name = "Maria"
    story.show(ANNA, BEN, seconds=3 + STEP)
    assert story.labels() == ["At door 3s", "Maria, at door 3s"]


def test_a_named_newcomer_is_called_by_name(story):
    story.show(ANNA, seconds=2 + STEP)
    story.book.visitors[1].name = "Ben"
    assert story.labels() == ["Ben, at door 2s"]


def test_a_label_goes_soon_after_the_face(story):
    story.show(ANNA, seconds=3)
    story.nobody(doorcam.BOX_LOST + STEP)
    assert story.labels() == []


@pytest.mark.parametrize("visits, name, text", [
    (1, "", "First visit"), (2, "", "2 visits"), (1000, "", "1000 visits"), (1, "Ben", "Ben, first visit"),
    (3, "Maria", "Maria, 3 visits")])
def test_card_text(visits, name, text):
    visitor = doorcam.Visitor(1, [person(0)], START, "dlib")
    visitor.seen_count, visitor.name = visits, name
    assert doorcam.card_text(visitor) == text


def test_the_strip_holds_those_seen_in_the_last_seconds(story):
    story.show(BEN, seconds=3)
    story.show(BEN, ANNA, seconds=3)
    assert [visitor.number for visitor in story.visits.at_door(story.now)] == [1, 2]
    story.show(ANNA, seconds=doorcam.STRIP_SECONDS - STEP)
    assert [visitor.number for visitor in story.visits.at_door(story.now)] == [1, 2]
    story.show(ANNA, looks=1)
    assert [visitor.number for visitor in story.visits.at_door(story.now)] == [2]
    story.nobody(doorcam.STRIP_SECONDS)
    assert story.visits.at_door(story.now) == []


def test_the_ignored_are_known_but_not_shown():
    story = Story(book_of(person(0), person(1)))
    story.book.visitors[1].ignored = True
    story.show(ANNA, BEN, seconds=3 + STEP)
    assert story.visitors() == [1, 2] and len(story.book) == 2
    assert story.labels() == ["At door 3s"]
    assert [visitor.number for visitor in story.visits.at_door(story.now)] == [2]


@pytest.fixture(scope="module")
def portrait():
    """A portrait in the public domain, that of the demo."""
    return doorcam.demo_portraits(os.path.join(os.path.dirname(doorcam.__file__), doorcam.EXAMPLE))[0]


class Scene:
    """What a camera sees of a face look by look: noise of 3 levels, light that changes, a box that is never the same.
    `life`: how much the lower half of the face moves, in pixels of 150."""

    def __init__(self, portrait, life=0.0):
        self.portrait, self.life, self.looks, self.random = portrait, life, 0, np.random.RandomState(1)

    def face(self, encoding, width=120, x=300):
        self.looks += 1
        random, rows = self.random, np.mgrid[0:150, 0:150].astype(np.float32)
        inside = np.exp(-((rows[0] - 100) ** 2 + (rows[1] - 75) ** 2) / 800).astype(np.float32)
        moved = rows[0] + inside * np.float32(self.life * random.normal())
        picture = cv2.remap(self.portrait, rows[1], moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        scale, (right, down) = 1 + 0.02 * random.normal(), 2 * random.normal(size=2)
        shaken = np.float32([[scale, 0, right], [0, scale, down]])
        picture = cv2.warpAffine(picture, shaken, (150, 150), borderMode=cv2.BORDER_REPLICATE)
        light = 1 + 0.2 * np.sin(self.looks / 100.0)
        picture = np.clip(picture * light + random.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
        return face(encoding, x=x, width=width)._replace(picture=picture)

    def stand(self, story, encoding, seconds, **options):
        """Is before the door for so long; the Events."""
        return [event for _ in range(int(seconds)) for event in story.look([self.face(encoding, **options)],
                                                                           story.now + 1.0)]


def test_a_poster_is_gone_after_a_minute_and_makes_no_visit_again(portrait):
    story, poster = Story(), Scene(portrait)
    began = story.now + 1.0
    poster.stand(story, person(0), 58)
    assert story.events == [("new", 1)] and story.visits.at_door(story.now)
    poster.stand(story, person(0), 10)
    assert story.events == [("new", 1), ("left", 1)] and not story.visits.at_door(story.now)
    assert (story.told[1].moment, story.told[1].seconds) == (began, 0.0)
    assert story.labels() == []
    story.nobody(10)  # somebody stands before it
    poster.stand(story, person(0), 400)
    assert len(story.events) == 2 and len(story.book) == 1 and story.labels() == []
    again = Story(written_and_read(story.book), story.now + 86400)
    Scene(portrait).stand(again, person(0), 100)
    assert again.events == [] and len(again.book) == 1


@pytest.mark.parametrize("life", (3.0, 6.0))
def test_a_living_face_is_no_picture_however_long_it_stays(portrait, life):
    story = Story()
    Scene(portrait, life).stand(story, person(0), 300)
    assert story.events == [("new", 1)] and not story.book[1].is_picture and story.visits.at_door(story.now)


def test_who_is_on_a_poster_is_greeted_who_comes_alive_and_the_poster_beside_is_not(portrait):
    story, poster, owner = Story(), Scene(portrait), Scene(portrait, 8.0)
    poster.stand(story, person(0), 100)
    assert story.events == [("new", 1), ("left", 1)]
    for _ in range(100):
        story.look([poster.face(person(0)), owner.face(person(0), x=900)], story.now + 1.0)
    assert story.events[2:] == [("returned", 1)] and len(story.book) == 1 and len(story.labels()) == 1
    poster.stand(story, person(0), 400)
    assert story.events[3:] == [("left", 1)] and story.told[-1].seconds < 110


def test_a_face_too_small_to_tell_and_one_in_which_nothing_is_seen_are_no_pictures(portrait):
    story = Story()
    Scene(portrait).stand(story, person(0), 200, width=doorcam.LIFE_WIDTH - 2)
    story.nobody(10)
    for _ in range(200):
        story.look([face(person(1))], story.now + 1.0)
    assert [kind for kind, _ in story.events] == ["new", "new"]


def test_who_was_seen_beside_a_poster_is_not_kept_apart_from_it_for_ever(portrait):
    story, poster, owner = Story(), Scene(portrait), Scene(portrait, 6.0)
    for _ in range(100):
        story.look([poster.face(person(0)), owner.face(person(1), x=900)], story.now + 1.0)
    first, second = story.book[1], story.book[2]
    assert sorted(one.is_picture for one in (first, second)) == [False, True] and not first.apart | second.apart


# ------------------------------------------------------------------------------------------------ seen twice

def walk(story, seconds, encodings=(person(0), person(0)), step=lambda x, y: (-x, y), still=0.0):
    """Two faces, the second of which moves as `step` says; both stand still for the first `still` seconds."""
    random, looks, x, y = np.random.RandomState(2), int(seconds / STEP), 0.0, 0.0
    for look in range(looks):
        if look * STEP >= still:
            x, y = 0.95 * x + 12 * random.normal(), 0.95 * y + 5 * random.normal()
        other = step(x, y)
        story.look([face(encodings[0], int(400 + x), int(300 + y)),
                    face(encodings[1], int(1400 + other[0]), int(300 + other[1]))], story.now + STEP)
    return story


def stranger_to(x, y, random=np.random.RandomState(3), place=[0.0, 0.0]):
    """Moves, but not as the other."""
    place[:] = [0.95 * place[0] + 12 * random.normal(), 0.95 * place[1] + 5 * random.normal()]
    return place


@pytest.mark.parametrize("step", (lambda x, y: (-x, y), lambda x, y: (x, y)), ids=("mirror", "second lens"))
def test_one_person_seen_twice_is_one_visitor_with_one_visit(step):
    story = walk(Story(), 20, step=step)
    assert story.events == [("new", 1)] and story.visitors() == [1, 1] and not story.book[1].apart
    story.nobody(600)
    walk(story, 20, step=step)
    assert story.events == [("new", 1), ("left", 1), ("returned", 1)] and len(story.book) == 1


def test_two_who_do_not_move_in_step_are_two_however_alike_they_are():
    story = walk(Story(), 30, step=stranger_to)
    assert story.events == [("new", 1), ("new", 2)] and story.book[1].apart == {2} and story.book[2].apart == {1}


def test_two_whose_faces_differ_are_two_though_they_move_in_step():
    story = walk(Story(), 20, encodings=(person(0), aside(person(0), 0.3)))
    assert len(story.book) == 2 and story.book[1].apart == {2}


@pytest.mark.parametrize("names, left", ((("", ""), 1), (("Anna", "Ben"), 2)))
def test_two_entries_of_who_stood_still_join_when_they_move_in_step_unless_their_names_speak_against_it(names, left):
    story = walk(Story(), 12, still=12)
    assert len(story.book) == 2
    for number, name in zip((1, 2), names):
        story.book.name(number, name)
    walk(story, 20)
    assert len(story.book) == left and [kind for kind, _ in story.events] == ["new", "new"]


def test_who_does_not_move_in_step_any_more_is_decided_anew():
    story = walk(Story(), 20)
    assert story.visitors() == [1, 1]
    walk(story, 30, step=stranger_to)
    assert sorted(story.visitors()) == [1, 2] and story.events == [("new", 1), ("new", 2)]
