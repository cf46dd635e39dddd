"""Who somebody is: odds, deciding, deciding again, learning, joining."""
import math
import random

import numpy as np
import pytest

import doorcam
from helpers import START, STEP, Story, apart_for, aside, book_of, face, person, written_and_read

GAP = doorcam.VISIT_GAP
CLEAR = 1.0                   # nats beyond a limit, so that a test does not hang on rounding


def near(book, odds, axis=0, number=0, others=1):
    """An encoding that has these odds, against strangers, to be person `number`, a visitor of so many visits."""
    return aside(person(number), apart_for(odds, book, others=others), axis)


def sure(book, axis=0, number=0):
    return near(book, book.metric.caution + doorcam.DOUBT + CLEAR, axis, number)


def stranger(book, axis=0, number=0):
    return near(book, book.metric.caution - doorcam.DOUBT - CLEAR, axis, number)


@pytest.fixture
def known(metric):
    """A door where person 0 is known."""
    return Story(book_of(person(0), metric=metric))


# --------------------------------------------------------------------------------------------------------- odds


def test_odds_are_those_of_the_formula(metric):
    """By hand: one visitor, known from two visits, a distance of a half."""
    ratio = metric.prior - metric.dimensions / 2 * (math.log(1.5) + 0.9 * 0.25 / (metric.within * 1.5))
    assert doorcam.log_odds(0.25, 1, 2, 0.9, 1, metric) == pytest.approx(ratio - math.log(11))


def test_odds_fall_with_distance_with_visitors_and_with_how_alike_they_are(metric):
    squares = np.linspace(0, 2, 50)
    assert np.all(np.diff(doorcam.log_odds(squares, 1, 1, 1.0, 5, metric)) < 0)
    of_counts = [doorcam.log_odds(0.2, 1, 1, 1.0, count, metric) for count in (0, 1, 30, 1000)]
    assert of_counts == sorted(of_counts, reverse=True)
    assert doorcam.log_odds(0.2, 1, 1, 2.0, 5, metric) < doorcam.log_odds(0.2, 1, 1, 1.0, 5, metric)


def test_odds_are_the_same_both_ways(metric):
    assert doorcam.log_odds(0.3, 2, 3, 1.0, 5, metric) == doorcam.log_odds(0.3, 3, 2, 1.0, 5, metric)


def test_likeness_goes_from_a_guess_to_what_the_book_shows(metric):
    assert doorcam.likeness(0, 0.0, metric) == pytest.approx(1 / doorcam.ALIKE_PRIOR)
    assert doorcam.likeness(10 ** 6, metric.strangers, metric) == pytest.approx(1, abs=1e-3)
    assert doorcam.likeness(10 ** 6, metric.strangers / 2, metric) == pytest.approx(2, abs=1e-3)
    assert book_of(person(0), metric=metric).likeness() == pytest.approx(1 / doorcam.ALIKE_PRIOR)


def test_before_one_camera_all_must_be_nearer(metric):
    """Visitors who are more alike than strangers' photographs: r grows, and with it what a distance counts."""
    close = math.sqrt(metric.strangers / 2)
    alike = [aside(person(0), close / math.sqrt(2), axis) for axis in range(20)]
    spread = [aside(person(0), math.sqrt(metric.strangers) / math.sqrt(2), axis) for axis in range(20)]
    book, other = book_of(*alike, metric=metric), book_of(*spread, metric=metric)
    assert book.likeness() > 1.4 * other.likeness()
    assert apart_for(0.0, book) < apart_for(0.0, other)


def test_the_runner_up_counts_as_much_as_a_stranger():
    assert doorcam.known_odds(3.0, -math.inf) == 3.0
    assert doorcam.known_odds(3.0, 3.0) == pytest.approx(0.0, abs=0.05)
    assert doorcam.known_odds(9.0, 4.0) == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize("odds, percent", [(0.0, 50), (1.0, 73), (3.0, 95), (9.0, 99)])
def test_a_greeting_is_as_sure_as_the_odds_and_never_quite(metric, odds, percent):
    known = Story(book_of(person(0), metric=metric))
    known.book.metric = known.door.greeter.metric = metric._replace(caution=-doorcam.DOUBT)  # so that all are greeted
    known.show(face(near(known.book, odds)))
    assert known.events == [("returned", 1)]
    assert doorcam.percent(known.told[0].sure) == str(percent)


def test_a_newcomer_is_as_sure_as_nobody_who_is_known_fits(metric):
    story = Story(book_of(person(0), metric=metric))
    story.show(face(person(1)))
    assert story.told[0].kind == "new" and story.told[0].sure == doorcam.MOST_SURE
    doubtful = Story(book_of(person(0), metric=metric))
    odds = metric.caution - doorcam.DOUBT / 2
    doubtful.show(face(near(doubtful.book, odds)))
    assert doubtful.events == [("new", 2)]
    assert doubtful.told[0].sure == pytest.approx(1 / (1 + math.exp(odds)), abs=1e-3)
    empty = Story(doorcam.Book(metric))
    empty.show(face(person(0)))
    assert empty.told[0].sure == doorcam.MOST_SURE


def test_a_loose_tolerance_makes_no_greeting_more_sure(metric):
    strict, loose = Story(book_of(person(0), metric=metric)), Story(book_of(person(0), metric=metric), tolerance=1.9)
    encoding = near(strict.book, metric.caution + doorcam.DOUBT + CLEAR)
    for story in (strict, loose):
        story.show(face(encoding))
        assert story.events == [("returned", 1)]
    assert loose.told[0].sure == pytest.approx(strict.told[0].sure)


def test_decide_never_names_anybody_below_the_odds(metric):
    random.seed(1)
    for _ in range(3000):
        best, caution = random.uniform(-20, 20), random.uniform(-1, 4)
        odds = best - random.choice([0, random.uniform(0, 9)])
        sightings = random.randrange(15)
        weight, last = sightings * random.uniform(1, doorcam.MOST_WEIGHT), random.random() < 0.5
        verdict = doorcam.decide(best, odds, sightings, weight, caution, last)
        assert verdict in ("known", "new", None)
        if verdict == "known":
            assert odds >= caution and sightings >= doorcam.KNOWN_SIGHTINGS
        if verdict == "new":
            assert best < caution and weight >= doorcam.ENROL_SIGHTINGS and sightings >= doorcam.KNOWN_SIGHTINGS


def test_the_owner_may_set_the_tolerance(metric):
    for apart in (0.1, 0.3):
        for beyond, told in ((-0.01, "returned"), (0.01, "new")):
            story = Story(book_of(person(0), metric=metric), tolerance=apart * metric.length)
            story.show(face(aside(person(0), apart + beyond)), seconds=5)
            assert [kind for kind, _ in story.events] == [told]


# -------------------------------------------------------------------------------------------------------- deciding


def undecided(story, encoding, looks):
    """Shows somebody; whether nothing was decided."""
    story.show(face(encoding), looks=looks)
    return story.labels() == ["Looking..."]


def test_who_is_surely_known_is_told_soon(known):
    assert undecided(known, sure(known.book), doorcam.KNOWN_SIGHTINGS - 1)
    assert not undecided(known, sure(known.book), 1)
    assert known.events == [("returned", 1)]


def test_who_is_surely_new_is_told_after_enough_good_sightings(known):
    new = stranger(known.book)
    assert undecided(known, new, doorcam.ENROL_SIGHTINGS - 1)
    assert not undecided(known, new, 1)
    assert known.events == [("new", 2)]


@pytest.mark.parametrize("beyond, told", [(CLEAR, ("returned", 1)), (-CLEAR, ("new", 2))])
def test_in_doubt_it_waits_then_decides(known, beyond, told):
    doubtful = near(known.book, known.book.metric.caution + beyond)
    assert undecided(known, doubtful, doorcam.ENOUGH_SIGHTINGS - 1)
    assert not undecided(known, doubtful, 1)
    assert known.events == [told]


@pytest.mark.parametrize("beyond, looks, told", [
    (CLEAR, doorcam.KNOWN_SIGHTINGS, [("returned", 1)]),
    (CLEAR, doorcam.KNOWN_SIGHTINGS - 1, []),
    (-CLEAR, doorcam.ENROL_SIGHTINGS, [("new", 2)]),
    (-CLEAR, doorcam.ENROL_SIGHTINGS - 1, []),
    (9 * CLEAR, doorcam.KNOWN_SIGHTINGS - 1, [])])
def test_the_last_chance_is_when_somebody_leaves(known, beyond, looks, told):
    assert undecided(known, near(known.book, known.book.metric.caution + beyond), looks)
    known.nobody(doorcam.TRACK_LOST + 1)
    assert known.events == told
    assert len(known.book) == (2 if told == [("new", 2)] else 1)


def test_more_evidence_may_end_the_doubt_early(known):
    assert undecided(known, near(known.book, known.book.metric.caution + CLEAR), doorcam.KNOWN_SIGHTINGS)
    known.show(face(person(0)), looks=doorcam.ENOUGH_SIGHTINGS - doorcam.KNOWN_SIGHTINGS - 1)
    assert known.events == [("returned", 1)]


def test_few_looks_over_a_longer_time_count_as_many(known):
    """A board that takes 1.7 s a look: a newcomer is enrolled with the fourth, 5.1 s after the first one's moment."""
    new, told = near(known.book, known.book.metric.caution - CLEAR), []
    for _ in range(4):
        assert not told
        told += known.look([face(new)], known.now + 1.7)
    assert known.events == [("new", 2)]


def test_one_look_alone_is_never_enough(known):
    for away in (0.1, 60.0, 299.0):
        story = Story(known.book)
        story.look([face(person(0))], story.now + 1)
        story.look([face(person(0))], story.now + away)
        story.nobody(GAP)
        assert story.events == []


def test_a_slow_board_that_misses_a_face_once_loses_nobody(known):
    for turn in range(12):
        known.look([] if turn % 3 == 2 else [face(person(0))], known.now + 1.7)
    assert known.events == [("returned", 1)]
    assert len(known.door.tracks) == 1


@pytest.mark.parametrize("name", ["", "Maria"])
def test_one_of_two_but_nobody_can_tell_which_is_neither(metric, name):
    """Twins: a wrong name is worse than none, and a third entry would be one of them again."""
    book = book_of(person(0), metric=metric)
    apart = apart_for(book.metric.caution + doorcam.DOUBT + 2, book)
    first, second = aside(person(0), apart, 0), aside(person(0), apart, 1)
    book = book_of(first, second, metric=metric)
    book.visitors[1].name, book.visitors[2].name = "Ben", "Tom"
    story = Story(book)
    story.show(face(person(0)), seconds=6)
    assert story.labels() == ["Looking..."]
    story.nobody(GAP)
    assert story.events == [] and len(book) == 2


def test_two_entries_of_one_person_do_not_hide_each_other(metric):
    """The same, but nothing says that these are two people, and they are as near as one person's visits."""
    book = book_of(person(0), metric=metric)
    apart = apart_for(book.metric.caution + doorcam.DOUBT + 2, book) / 2
    story = Story(book_of(aside(person(0), apart, 0), aside(person(0), apart, 1), metric=metric))
    story.show(face(person(0)), seconds=3)
    assert [kind for kind, _ in story.events] == ["returned"]


# ----------------------------------------------------------------------------------------------- deciding again


def test_a_decided_track_keeps_its_visitor(metric):
    """Somebody turns the head, and looks more like another visitor for a while."""
    book = book_of(person(0), aside(person(0), math.sqrt(metric.strangers)), metric=metric)
    story, far = Story(book), apart_for(book.metric.caution - 2 * doorcam.DOUBT, book)
    turned = aside(person(0), min(far, 0.95 * metric.same_track), 9)  # farther: it would be another track
    story.show(face(person(0)), looks=doorcam.ENOUGH_SIGHTINGS)
    for turn in range(40):
        story.show(face(turned if turn % 4 == 0 else person(0)), looks=1)
        assert story.visitors() == [1]
    assert story.events == [("returned", 1)]


def show_mistaken(story, *others):
    """Somebody who is taken for visitor 1 at first, for the first sightings were poor; others: more faces."""
    story.show(face(sure(story.book)), *others, looks=doorcam.KNOWN_SIGHTINGS)
    story.wrong = near(story.book, story.book.metric.caution - 3 * doorcam.DOUBT)


def show_better(story, *others):
    story.show(face(story.wrong), *others, looks=3 * doorcam.ENOUGH_SIGHTINGS)


def record(visitor):
    kept = visitor.so_far(set(doorcam.Visitor.__slots__) - {"encodings", "others"})
    return dict(kept, latest=None if visitor.latest is None else visitor.latest.tolist())


def test_a_wrong_name_is_taken_back_and_the_visitor_is_as_before(known, metric):
    before, encodings = record(known.book.visitors[1]), [one.copy() for one in known.book.visitors[1].encodings]
    show_mistaken(known)
    assert known.events == [("returned", 1)] and record(known.book.visitors[1]) != before
    show_better(known)
    assert known.events[:2] == [("returned", 1), ("mistaken", 1)]
    assert known.events[2:] == [("new", 2)] and known.visitors() == [2]
    assert record(known.book.visitors[1]) == dict(before)
    assert np.array_equal(known.book.visitors[1].encodings, encodings)
    known.nobody(GAP)
    assert known.events[3:] == [("left", 2)]
    assert record(known.book.visitors[1]) == before


def test_a_visit_that_went_on_before_the_mistake_goes_on_after_it(known, metric):
    known.show(face(person(0)), seconds=5)
    seen = known.now
    known.nobody(30)
    show_mistaken(known)
    show_better(known)
    assert known.events == [("returned", 1), ("new", 2)]
    assert known.book.visitors[1].last_seen == seen and known.book.visitors[1].apart == set()
    known.nobody(GAP - 15)  # not seen for the gap since the true one left
    assert known.events == [("returned", 1), ("new", 2), ("left", 1)]


def test_a_mistake_does_not_keep_two_apart_for_ever(known, metric):
    known.book.register_new_face(person(5), START - 5000)
    show_mistaken(known, face(person(5), x=900))
    assert known.book.visitors[2].apart == {1}
    show_better(known, face(person(5), x=900))
    assert ("mistaken", 1) in known.events
    assert 1 not in known.book.visitors[2].apart and 2 not in known.book.visitors[1].apart


def test_who_is_recognised_again_in_the_same_stay_is_no_news(metric):
    """A face that is taken for Anna, then not, then for Anna again: the log has it all, messages have one visit."""
    known = Story(book_of(person(0), metric=metric._replace(enrol_score=9.0)))  # too faint to be enrolled
    known.show(face(sure(known.book)), looks=doorcam.KNOWN_SIGHTINGS)
    unlike = near(known.book, known.book.metric.caution - doorcam.DOUBT - 0.5)
    for encoding in (unlike, sure(known.book)):
        while not known.look([face(encoding)], known.now + STEP):
            assert known.now < START + 60
    assert known.events == [("returned", 1), ("mistaken", 1), ("returned", 1)]
    assert [event.again for event in known.told] == [False, False, True]
    assert known.told[0].visit == known.told[2].visit == 2 and len(known.door.tracks) == 1
    known.nobody(GAP)
    known.show(face(person(0)))
    assert known.events[3:] == [("left", 1), ("returned", 1)] and not known.told[-1].again


def test_whom_the_owner_named_at_the_door_is_not_taken_back(known):
    show_mistaken(known)
    known.book.visitors[1].name = "Maria"
    show_better(known)
    assert known.events == [("returned", 1)] and known.visitors() == [1]


def test_a_mistake_is_taken_back_in_the_clock_s_new_time(known, metric):
    known.show(face(person(0)), seconds=5)
    known.nobody(30)
    show_mistaken(known)
    seen = known.now - 30 - doorcam.KNOWN_SIGHTINGS * STEP
    known.set_clock(7200)
    show_better(known)
    assert ("new", 2) in known.events
    assert known.book.visitors[1].last_seen == seen + 7200


def test_who_was_enrolled_and_turns_out_to_be_known_is_joined(known):
    known.show(face(stranger(known.book)), looks=doorcam.ENROL_SIGHTINGS)
    assert known.events == [("new", 2)]
    known.show(face(person(0)), looks=2 * doorcam.ENOUGH_SIGHTINGS)
    assert sorted(known.book.visitors) == [1] and known.visitors() == [1]


# ----------------------------------------------------------------------------------------------------- learning


def visit(story, encoding, seconds=3.0):
    """A visit of its own, ended."""
    story.show(face(encoding), seconds=seconds)
    story.nobody(GAP)


def encodings_of(book):
    return {number: np.array(visitor.encodings) for number, visitor in book.visitors.items()}


def same_encodings(before, after):
    return before.keys() == after.keys() and all(np.array_equal(before[number], after[number]) for number in before)


def test_each_visit_may_teach_one_encoding(known, metric):
    other_light = aside(person(0), 1.2 * metric.learn_apart)
    visit(known, other_light)
    assert known.events == [("returned", 1), ("left", 1)]
    assert len(known.book.visitors[1].encodings) == 2
    assert doorcam.distance(known.book.visitors[1].encodings[1], other_light) < 1e-6


def test_a_newcomer_is_known_by_the_mean_of_the_whole_stay(known, metric):
    new = person(7)
    later = aside(new, 0.8 * metric.learn_apart)
    known.show(face(new), looks=doorcam.ENROL_SIGHTINGS)
    known.show(face(later), looks=doorcam.ENOUGH_SIGHTINGS - doorcam.ENROL_SIGHTINGS)
    known.nobody(GAP)
    encodings = known.book.visitors[2].encodings
    assert len(encodings) == 1
    expected = doorcam.mean_encoding([new, later])
    assert doorcam.distance(encodings[0], expected) < 1e-4


def test_who_is_not_known_any_more_at_the_end_teaches_nothing(known):
    before = encodings_of(known.book)
    known.show(face(sure(known.book)), looks=doorcam.KNOWN_SIGHTINGS)
    known.show(face(near(known.book, known.book.metric.caution - doorcam.DOUBT / 2)), looks=4 * doorcam.ENOUGH_SIGHTINGS)
    known.nobody(GAP)
    assert known.events == [("returned", 1), ("left", 1)]
    assert same_encodings(before, encodings_of(known.book))


def test_too_few_sightings_teach_nothing(known, metric):
    before = encodings_of(known.book)
    assert not undecided(known, aside(person(0), 1.2 * metric.learn_apart), doorcam.KNOWN_SIGHTINGS)
    known.nobody(GAP)
    assert known.events[0] == ("returned", 1)
    assert same_encodings(before, encodings_of(known.book))


def test_poor_sightings_teach_nothing(known):
    before, other = encodings_of(known.book), sure(known.book)
    known.show(face(person(0)), looks=doorcam.KNOWN_SIGHTINGS)
    known.show(face(other, frontal=doorcam.MIN_FRONTAL / 2), seconds=10)
    known.show(face(other, sharp=doorcam.MIN_SHARPNESS / 2), seconds=10)
    known.nobody(GAP)
    assert same_encodings(before, encodings_of(known.book))


def test_somebody_else_in_a_decided_place_teaches_nothing(metric):
    story = Story(book_of(person(0), person(1), metric=metric))
    before = encodings_of(story.book)
    story.show(face(person(0)), seconds=2)
    story.show(face(None), seconds=2)
    story.show(face(person(1)), seconds=2)
    story.nobody(GAP)
    assert same_encodings(before, encodings_of(story.book))


def test_learning_does_not_run_away(known):
    """People who are each a little unlike the one before: the first must not swallow them all."""
    story, encoding = known, person(0)
    for number in range(1, 25):
        encoding = aside(encoding, apart_for(story.book.metric.caution + CLEAR, story.book), number)
        visit(story, encoding, seconds=5.0)
    assert len(story.book) >= 12
    assert sum(len(visitor.encodings) for visitor in story.book.visitors.values()) >= 18


def test_the_better_somebody_is_known_the_nearer_a_face_must_be(metric):
    several = [aside(person(0), 1.1 * metric.learn_apart, axis) for axis in range(4)]
    once, often = book_of(person(0), metric=metric), book_of(several, metric=metric)
    far = aside(person(0), apart_for(once.metric.caution + CLEAR / 2, once), 9)
    assert once.lookup_known_face(far)[0][0] > once.metric.caution > often.lookup_known_face(far)[0][0]


# ------------------------------------------------------------------------------------------------------ joining


def two_entries(metric, **options):
    """A story with visitors 1 and 2 whose encodings agree, but for one of each that once kept them apart."""
    apart = 1.25 * metric.learn_apart
    book = book_of([person(0), aside(person(0), apart, 0)],
                   [aside(person(0), 0.02, 1), aside(person(0), apart, 2)], metric=metric)
    book.visitors[1].seen_count, book.visitors[2].seen_count = 3, 4
    book.visitors[1].seconds_before, book.visitors[2].seconds_before = 100.0, 50.0
    for name, values in options.items():
        for number, value in values.items():
            setattr(book.visitors[number], name, value)
    return Story(book)


def test_entries_that_are_one_person_are_joined(metric):
    story = two_entries(metric, name={2: "Maria"})
    visit(story, person(0), seconds=5.0)
    assert sorted(story.book.visitors) == [1]
    visitor = story.book.visitors[1]
    assert visitor.name == "Maria"
    assert visitor.seen_count == pytest.approx(3 + 4, abs=1)  # their last visits were at the same time: one
    assert visitor.total_seconds() >= 150.0
    assert len(visitor.encodings) <= doorcam.MAX_ENCODINGS
    assert [event for event in story.events if event[0] == "new"] == []


@pytest.mark.parametrize("options", [dict(name={1: "Maria", 2: "Ben"}), dict(apart={1: {2}}), dict(apart={2: {1}}),
                                     dict(ignored={2: True})])
def test_entries_that_may_be_two_people_are_not_joined(metric, options):
    story = two_entries(metric, **options)
    for _ in range(3):
        visit(story, person(0), seconds=5.0)
    assert sorted(story.book.visitors) == [1, 2]


def test_entries_seen_together_once_are_never_joined(metric):
    story = two_entries(metric)
    for look in range(64):  # one moves and the other does not: nobody is seen twice
        story.look([face(person(0), 300 + int(60 * math.sin(look / 3.0))), face(aside(person(0), 0.02, 1), x=800)],
                   story.now + STEP)
    assert sorted(story.visitors()) == [1, 2]
    again = Story(written_and_read(story.book), story.now + GAP)
    for _ in range(3):
        visit(again, person(0), seconds=5.0)
    assert sorted(again.book.visitors) == [1, 2]


def test_strangers_are_not_joined(metric):
    book = book_of([person(0), aside(person(0), 1.25 * metric.learn_apart, 0)], metric=metric)
    other = aside(person(0), 1.1 * apart_for(book.metric.caution - doorcam.DOUBT, book, others=2), 1)
    story = Story(book_of([person(0), aside(person(0), 1.25 * metric.learn_apart, 0)], other, metric=metric))
    for _ in range(3):
        visit(story, person(0), seconds=5.0)
        visit(story, other, seconds=5.0)
    assert sorted(story.book.visitors) == [1, 2]


def test_two_entries_of_one_visit_each_wait_for_a_third_visit(metric):
    """They were not taken for one when they came, and nothing has been learned since."""
    book = book_of(person(0), aside(person(0), 0.05), metric=metric)
    assert book.second_entry(book.visitors[1]) is None
    book.learn(book.visitors[1], aside(person(0), 1.1 * metric.learn_apart, 3))
    assert book.second_entry(book.visitors[1]) is book.visitors[2]
    assert book.second_entry(book.visitors[2]) is book.visitors[1]


def test_joining_while_both_are_at_the_door_and_the_program_ends(metric):
    """Both tracks end in the same moment, and the first one's end joins the entries: the other one must know."""
    story = two_entries(metric)
    story.show(face(person(0)), seconds=3)
    first = story.door.tracks[0]
    second = doorcam.Track(first.box, story.now, metric)
    second.visitor = 3 - first.visitor
    story.door.tracks.append(second)
    story.finish()
    assert sorted(story.book.visitors) == [1]
    assert second.visitor == 1
    assert [event for event in story.events if event[0] == "left"] == [("left", 1)]


# ---------------------------------------------------------------------------- what a year brings to a small book


def test_two_entries_with_the_same_name_do_not_hide_each_other(metric):
    book = book_of(person(0), metric=metric)
    apart = apart_for(book.metric.caution + doorcam.DOUBT + 2, book) / 2
    story = Story(book_of(aside(person(0), apart, 0), aside(person(0), apart, 1), metric=metric))
    for visitor in story.book.visitors.values():
        visitor.name = "Anna"
    story.show(face(person(0)), seconds=3)
    assert [kind for kind, _ in story.events] == ["returned"]


def test_second_entries_of_one_person_block_neither_each_other_nor_the_next_visit(metric):
    """One person whose visits differ as much as the engine's numbers say, 150 of them, and nobody else in the book."""
    chance, story, dimensions = np.random.RandomState(5), Story(metric=metric), int(metric.dimensions)
    for _ in range(150):
        noise = np.zeros(128)
        noise[1:1 + dimensions] = chance.normal(0, math.sqrt(metric.within / dimensions), dimensions)
        story.show(face((person(0) + noise) / np.linalg.norm(person(0) + noise)), looks=doorcam.ENOUGH_SIGHTINGS)
        story.nobody(GAP + 1)
    assert len(story.book) <= 10
    told = [kind for kind, _ in story.events if kind in ("new", "returned")]
    assert len(told) >= 147 and told[-50:].count("returned") >= 45


def test_a_tolerance_chooses_nobody_of_two_who_are_told_apart(metric):
    apart = 0.3
    story = Story(book_of(aside(person(0), apart, 0), aside(person(0), apart, 1), metric=metric),
                  tolerance=2 * apart * metric.length)
    story.book.visitors[1].name, story.book.visitors[2].name = "Ben", "Tom"
    story.show(face(person(0)), seconds=5)
    assert story.events == []


def test_no_tolerance_joins_strangers(metric):
    book = book_of([person(0), aside(person(0), 1.1 * metric.learn_apart, 1)], metric=metric)
    far = apart_for(metric.caution - doorcam.DOUBT, book, others=2)
    book = book_of([person(0), aside(person(0), 1.1 * metric.learn_apart, 1)], aside(person(0), far, 0), metric=metric)
    book.tolerance = 1.5 * far * metric.length
    assert book.second_entry(book.visitors[1]) is None


def test_a_visit_that_went_on_after_a_restart_is_taken_back_without_a_word(known):
    """Nobody was told that it had begun."""
    known.book.visitors[1].last_seen = START - 60
    before = record(known.book.visitors[1])
    show_mistaken(known)
    assert known.events == []
    show_better(known)
    assert known.events == [("new", 2)] and record(known.book.visitors[1]) == before


def test_the_clock_is_set_after_a_mistake_of_somebody_who_was_here_before(known):
    known.show(face(person(0)), seconds=5)
    seen = known.now
    known.nobody(GAP + 1)
    show_mistaken(known)
    show_better(known)
    assert known.events == [("returned", 1), ("left", 1), ("returned", 1), ("mistaken", 1), ("new", 2)]
    known.set_clock(-7200)
    assert known.book.visitors[1].last_seen == seen - 7200
