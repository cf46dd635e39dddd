"""The book of visitors: lookup, tolerance, the zone of doubt, learning, joining, numbers."""
import math
import random

import numpy as np
import pytest

import doorcam
from helpers import METRICS, START, STEP, Story, aside, book_of, face, person, written_and_read

GAP = doorcam.VISIT_GAP


def tolerance(metric):
    """That of a book of one."""
    return doorcam.tolerance_for(1, metric)


def surely_known(metric):
    """The distance within which nothing more is waited for."""
    return tolerance(metric) - metric.surely_known


def surely_new(metric):
    return tolerance(metric) + metric.surely_new


@pytest.mark.parametrize("apart", [0.0, 0.02, 0.5, 1.07, 1.9])
def test_scripted_encodings_are_as_far_apart_as_they_say(metric, apart):
    first = aside(person(3), apart, 5, metric)
    second = aside(first, apart, 6, metric)
    assert doorcam.distance(person(3), first) == doorcam.distance(first, second) == pytest.approx(apart)
    if metric.unit:
        assert np.linalg.norm(first) == np.linalg.norm(second) == pytest.approx(1)


# ---------------------------------------------------------------------------------------------------- tolerance


def test_the_tolerance_falls_with_every_visitor_down_to_a_floor(metric):
    values = [doorcam.tolerance_for(count, metric) for count in range(0, 1000)]
    assert values[0] == values[1] == max(values)
    assert all(later <= earlier for earlier, later in zip(values, values[1:]))
    assert values[400] < values[100] < values[30] < values[1]
    floor = doorcam.tolerance_for(10 ** 6, metric)
    assert values[999] == floor and floor == metric.tolerances[-1][1]


@pytest.mark.parametrize("metric, known, value", [(metric,) + row for metric in METRICS for row in metric.tolerances])
def test_the_tolerance_goes_through_its_table(metric, known, value):
    assert doorcam.tolerance_for(known, metric) == pytest.approx(value)


def test_every_tolerance_is_one_that_dlib_can_work_with():
    """Strangers within 0.6: 0.6 % of pairs; the same person within 0.4: less than half (FACTS of dlib's encodings)."""
    assert all(0.4 < doorcam.tolerance_for(count) < 0.6 for count in range(2000))


def test_the_user_may_set_the_tolerance(metric):
    door = doorcam.Door(book_of(person(0), metric=metric), 0.3)
    assert door.tolerance() == 0.3
    assert doorcam.Door(book_of(person(0), metric=metric)).tolerance() == tolerance(metric)
    story = Story(book_of(person(0), metric=metric), tolerance=tolerance(metric) + 0.3)
    story.show(face(aside(person(0), tolerance(metric) + 0.2, metric=metric)), seconds=5)
    assert story.events == [("returned", 1)]


# ----------------------------------------------------------------------------------------------- the zone of doubt


@pytest.fixture
def known(metric):
    """A door where person 0 is known."""
    return Story(book_of(person(0), metric=metric))


def undecided(story, apart, looks):
    """Shows somebody so far from person 0; whether nothing was decided."""
    story.show(face(aside(person(0), apart, metric=story.book.metric)), looks=looks)
    return story.labels() == ["Looking..."]


def test_surely_known_is_told_soon(known, metric):
    assert undecided(known, surely_known(metric) - 0.01, doorcam.KNOWN_SIGHTINGS - 1)
    assert not undecided(known, surely_known(metric) - 0.01, 1)
    assert known.events == [("returned", 1)]


def test_surely_new_is_told_after_enough_good_sightings(known, metric):
    assert undecided(known, surely_new(metric) + 0.01, doorcam.ENROL_SIGHTINGS - 1)
    assert not undecided(known, surely_new(metric) + 0.01, 1)
    assert known.events == [("new", 2)]


@pytest.mark.parametrize("beyond, told", [(-0.01, ("returned", 1)), (0.01, ("new", 2))])
def test_in_doubt_it_waits_then_decides_by_the_tolerance(known, metric, beyond, told):
    assert undecided(known, tolerance(metric) + beyond, doorcam.ENOUGH_SIGHTINGS - 1)
    assert not undecided(known, tolerance(metric) + beyond, 1)
    assert known.events == [told]


@pytest.mark.parametrize("beyond, looks, told", [
    (-0.01, doorcam.KNOWN_SIGHTINGS, [("returned", 1)]),
    (-0.01, doorcam.KNOWN_SIGHTINGS - 1, []),
    (0.01, doorcam.ENROL_SIGHTINGS, [("new", 2)]),
    (0.01, doorcam.ENROL_SIGHTINGS - 1, []),
    (-math.inf, doorcam.KNOWN_SIGHTINGS - 1, [])])
def test_the_last_chance_is_when_somebody_leaves(known, metric, beyond, looks, told):
    story = known
    assert undecided(story, max(0.0, tolerance(metric) + beyond), looks)
    story.nobody(doorcam.TRACK_LOST + STEP)
    assert story.events == told
    assert len(story.book) == (2 if told == [("new", 2)] else 1)


def test_more_evidence_may_end_the_doubt_early(known, metric):
    assert undecided(known, tolerance(metric) - 0.01, doorcam.KNOWN_SIGHTINGS)
    known.show(face(person(0)), looks=doorcam.ENOUGH_SIGHTINGS - doorcam.KNOWN_SIGHTINGS - 1)
    assert known.events == [("returned", 1)]


def test_between_two_alike_it_waits(metric):
    """Nearer than the tolerance to both: their distances tell nothing yet."""
    far = surely_known(metric) - 0.02
    story = Story(book_of(*[aside(person(0), far, axis, metric) for axis in (0, 1)], metric=metric))
    story.show(face(person(0)), looks=doorcam.ENOUGH_SIGHTINGS - 1)
    assert story.events == [] and story.labels() == ["Looking..."]


def test_decide_never_names_anybody_beyond_the_tolerance(metric):
    random.seed(1)
    for _ in range(3000):
        limit = random.uniform(0.3, 1.3)
        nearest = random.choice([random.uniform(0, 1.5), math.inf])
        sightings, last = random.randrange(40), random.random() < 0.5
        verdict = doorcam.decide(nearest, nearest + random.random(), sightings, limit, last, metric)
        assert verdict in ("known", "new", None)
        if verdict == "known":
            assert nearest <= limit and sightings >= doorcam.KNOWN_SIGHTINGS
        if verdict == "new":
            assert nearest > limit and sightings >= doorcam.ENROL_SIGHTINGS


def test_a_decided_track_keeps_its_visitor(metric):
    """Somebody turns the head, and looks more like another visitor for a while."""
    far = tolerance(metric)
    story = Story(book_of(person(0), aside(person(0), 1.6 * far, metric=metric), metric=metric))
    story.show(face(person(0)), looks=doorcam.ENOUGH_SIGHTINGS)
    for turn in range(40):
        story.show(face(aside(person(0), far if turn % 4 else 0.0, metric=metric)), looks=1)
        assert story.visitors() == [1]
    assert story.events == [("returned", 1)]


# ------------------------------------------------------------------------------------------------------ lookup


def random_encoding(generator, metric, near=None, spread=0.6):
    """128 numbers as an engine's are spread: strangers about 0.8 apart with dlib, 1.4 with OpenCV; or, of one that is
    given, about 2.5 `spread` times as far as encodings must be to be learned."""
    made = generator.normal(0, 1, 128)
    if near is not None:
        made = near + 2.5 * spread * metric.learn_apart * made / math.sqrt(128)
    length = 1.0 if metric.unit else 0.6
    return made if near is not None and not metric.unit else length * made / np.linalg.norm(made)


def brute_force(book, encoding, excluded=()):
    """(distance, number) of everybody, best first."""
    return sorted((min(float(np.linalg.norm(np.asarray(one, np.float64) - encoding)) for one in visitor.encodings),
                   number) for number, visitor in book.visitors.items() if number not in excluded)


def check_lookup(book, encoding, excluded=(), limit=None):
    """The two nearest are those of brute force; beyond `limit`, where nobody is known by, it may be others as far."""
    limit = limit or surely_new(book.metric)
    found = book.lookup_known_face(encoding, excluded)
    expected = brute_force(book, encoding, excluded)
    assert bool(found) == bool(expected)
    for (apart, visitor), (right, number) in zip(found[:2], expected[:2]):
        assert visitor.number not in excluded
        if right <= limit:
            assert visitor.number == number and apart == pytest.approx(right, abs=1e-5)
        assert apart >= right - 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_lookup_finds_the_nearest_after_any_change(metric, seed):
    generator = np.random.RandomState(seed)
    book, people = doorcam.Book(metric=metric), []
    for turn in range(300):
        kind, numbers = generator.rand(), sorted(book.visitors)
        if kind < 0.55 or len(numbers) < 3:
            people.append(random_encoding(generator, metric))
            book.register_new_face(people[-1], START + turn)
        elif kind < 0.7:
            book.forget(int(generator.choice(numbers)))
        elif kind < 0.8:
            one, other = generator.choice(numbers, 2, replace=False)
            book.merge(int(one), int(other))
        else:
            visitor = book.visitors[int(generator.choice(numbers))]
            book.learn(visitor, random_encoding(generator, metric, visitor.encodings[0]))
        near = random_encoding(generator, metric, people[generator.randint(len(people))], 0.3)
        check_lookup(book, near)
        check_lookup(book, random_encoding(generator, metric))
        numbers = sorted(book.visitors)
        check_lookup(book, near, set(generator.choice(numbers, min(3, len(numbers)), replace=False)))
    assert len(book) > 60  # the matrix has grown beyond its first size


def test_lookup_in_a_large_book(metric):
    generator = np.random.RandomState(9)
    people = [random_encoding(generator, metric) for _ in range(3000)]
    book = book_of(*people, metric=metric)
    for number in range(0, 3000, 100):
        check_lookup(book, random_encoding(generator, metric, people[number], 0.5), limit=math.inf)


def test_lookup_in_an_empty_book_and_with_everybody_excluded():
    assert doorcam.Book().lookup_known_face(person(0)) == []
    assert book_of(person(0), person(1)).lookup_known_face(person(0), {1, 2}) == []


def test_lookup_knows_each_encoding_of_a_visitor(metric):
    """With glasses and without: the mean of the two is far from both."""
    glasses = aside(person(0), 1.2 * tolerance(metric), metric=metric)
    book = book_of([person(0), glasses], person(1), metric=metric)
    for encoding in (person(0), glasses):
        apart, visitor = book.lookup_known_face(encoding)[0]
        assert (apart, visitor.number) == (pytest.approx(0.0, abs=1e-6), 1)


# ----------------------------------------------------------------------------------------------------- learning


def visit(story, encoding, seconds=3.0):
    """A visit of its own, ended."""
    story.show(face(encoding), seconds=seconds)
    story.nobody(GAP)


def test_a_visitor_seen_in_other_light_is_learned(known, metric):
    other_light = aside(person(0), surely_known(metric) - 0.05, metric=metric)
    visit(known, other_light)
    assert len(known.book.visitors[1].encodings) == 2
    assert known.book.lookup_known_face(other_light)[0][0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("others", [0, doorcam.LEARN_AMONG - 1, doorcam.LEARN_AMONG, 3 * doorcam.LEARN_AMONG])
def test_who_is_less_sure_is_learned_only_among_many_others(metric, others):
    """Far from two or three others says little, far from all of many says much."""
    among_many = others >= doorcam.LEARN_AMONG or metric.learn_below == metric.surely_known
    for beyond, learned in ((0.5 * metric.learn_below, False), (metric.learn_below + 0.005, among_many),
                            (metric.surely_known + 0.005, True)):
        story = Story(book_of(*[person(number) for number in range(others + 1)], metric=metric))
        visit(story, aside(person(0), story.book.tolerance() - beyond, metric=metric))
        assert story.events == [("returned", 1), ("left", 1)]
        assert len(story.book.visitors[1].encodings) == (2 if learned else 1)


def test_what_is_known_well_is_not_kept_twice(known, metric):
    for _ in range(3):
        visit(known, aside(person(0), metric.learn_apart - 0.02, metric=metric))
    assert len(known.book.visitors[1].encodings) == 1


def test_encodings_are_bounded_and_stay_within_those_given(metric):
    book, apart = book_of(person(0), metric=metric), 1.5 * metric.learn_apart
    for number in range(200):
        book.learn(book.visitors[1], aside(person(0), apart + 0.001 * number, number % 28, metric))
    encodings = book.visitors[1].encodings
    assert len(encodings) == doorcam.MAX_ENCODINGS
    assert all(np.all(np.isfinite(one)) and doorcam.distance(one, person(0)) <= apart + 0.2 for one in encodings)
    assert book.lookup_known_face(book.visitors[1].center())[0][1].number == 1
    check_lookup(book, person(0))


def encodings_of(book):
    return {number: np.array(visitor.encodings) for number, visitor in book.visitors.items()}


def same_encodings(before, after):
    return before.keys() == after.keys() and all(np.array_equal(before[number], after[number]) for number in before)


def test_a_match_that_is_not_clear_teaches_nothing(metric):
    """The second nearest is about as near: perhaps a wrong name."""
    story = Story(book_of(aside(person(0), tolerance(metric) - 0.03, 0, metric),
                          aside(person(0), tolerance(metric) - 0.02, 1, metric), metric=metric))
    before = encodings_of(story.book)
    visit(story, person(0), seconds=6.0)
    assert same_encodings(before, encodings_of(story.book))


def test_too_few_sightings_teach_nothing(known, metric):
    before = encodings_of(known.book)
    assert not undecided(known, surely_known(metric) - 0.05, doorcam.KNOWN_SIGHTINGS)
    known.nobody(GAP)
    assert known.events[0] == ("returned", 1)
    assert same_encodings(before, encodings_of(known.book))


def test_poor_sightings_teach_nothing(known, metric):
    before, apart = encodings_of(known.book), 0.8 * tolerance(metric)
    known.show(face(person(0)), looks=doorcam.KNOWN_SIGHTINGS)
    known.show(face(aside(person(0), apart, 0, metric), frontal=doorcam.MIN_FRONTAL / 2), seconds=10)
    known.show(face(aside(person(0), apart, 1, metric), sharp=doorcam.MIN_SHARPNESS / 2), seconds=10)
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


def test_a_wrong_match_does_not_make_the_next_one_easier(known, metric):
    """A stranger just within the tolerance, called by a wrong name: the next stranger, just within the tolerance
    of this one, must not be called by that name too."""
    story, stranger = known, aside(person(0), tolerance(metric) - 0.01, metric=metric)
    visit(story, stranger, seconds=5.0)
    assert story.events[:1] == [("returned", 1)]
    next_stranger = aside(stranger, 0.8 * tolerance(metric), 1, metric)
    assert doorcam.distance(next_stranger, stranger) < surely_known(metric)
    assert doorcam.distance(next_stranger, person(0)) > surely_new(metric)  # too far from the visitor's own face
    before = len(story.book)
    visit(story, next_stranger, seconds=5.0)
    assert len(story.book) == before + 1


def test_learning_does_not_run_away(known, metric):
    """People who are each a little unlike the one before: the first must not swallow them all."""
    story, encoding = known, person(0)
    for number in range(1, 25):
        encoding = aside(encoding, tolerance(metric) - 0.01, number, metric)
        visit(story, encoding, seconds=5.0)
    assert len(story.book) >= 12
    for one in story.book.visitors[1].encodings:
        assert doorcam.distance(one, person(0)) <= tolerance(metric)


def test_a_poor_enrolment_is_repaired_by_later_visits(metric):
    """Enrolled in bad light: later visits, in doubt first, make the visitor known."""
    far = surely_known(metric) - 0.02
    good, poor = person(0), aside(person(0), far, metric=metric)
    story = Story(book_of(poor, metric=metric))
    for _ in range(4):
        visit(story, good, seconds=5.0)
    assert len(story.book) == 1
    assert story.book.lookup_known_face(good)[0][0] <= far
    story.show(face(aside(good, far, 3, metric)), seconds=3)
    assert story.events[-1] == ("returned", 1)


# ------------------------------------------------------------------------------------------------------ joining


def two_entries(metric, **options):
    """A story with visitors 1 and 2 whose encodings agree, but for one of each that once kept them apart."""
    apart = 1.25 * metric.learn_apart
    book = book_of([person(0), aside(person(0), apart, 0, metric)],
                   [aside(person(0), 0.02, 1, metric), aside(person(0), apart, 2, metric)], metric=metric)
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
    check_lookup(story.book, person(0))


@pytest.mark.parametrize("options", [dict(name={1: "Maria", 2: "Ben"}), dict(apart={1: {2}}), dict(apart={2: {1}}),
                                     dict(ignored={2: True})])
def test_entries_that_may_be_two_people_are_not_joined(metric, options):
    story = two_entries(metric, **options)
    for _ in range(3):
        visit(story, person(0), seconds=5.0)
    assert sorted(story.book.visitors) == [1, 2]


def test_entries_seen_together_once_are_never_joined(metric):
    story = two_entries(metric)
    story.show(face(person(0)), face(aside(person(0), 0.02, 1, metric), x=800), seconds=5)
    assert sorted(story.visitors()) == [1, 2]
    again = Story(written_and_read(story.book), story.now + GAP)
    for _ in range(3):
        visit(again, person(0), seconds=5.0)
    assert sorted(again.book.visitors) == [1, 2]


def test_strangers_are_not_joined(metric):
    stranger = aside(person(0), tolerance(metric) + 0.02, 1, metric)
    story = Story(book_of([person(0), aside(person(0), 1.25 * metric.learn_apart, 0, metric)], stranger, metric=metric))
    for _ in range(3):
        visit(story, person(0), seconds=5.0)
        visit(story, stranger, seconds=5.0)
    assert sorted(story.book.visitors) == [1, 2]


def test_joining_while_both_are_at_the_door_and_the_program_ends(metric):
    """Both tracks end in the same moment, and the first one's end joins the entries: the other one must know."""
    story = two_entries(metric)
    elsewhere = aside(person(0), metric.rejoin_track + 0.02, 5, metric)
    story.book.learn(story.book.visitors[2], elsewhere)
    story.show(face(person(0)), seconds=3)
    story.show(face(elsewhere, x=900), looks=doorcam.ENOUGH_SIGHTINGS)  # a moment later, the first one out of sight
    assert {track.visitor.number for track in story.door.tracks} == {1, 2}
    story.finish()
    assert sorted(story.book.visitors) == [1]
    assert [event for event in story.events if event[0] == "left"] == [("left", 1)]


# --------------------------------------------------------------------------------------------- merge by the owner


def with_visits(book, number, begin, end, count, before, longest):
    visitor = book.visitors[number]
    visitor.first_seen, visitor.first_seen_this_interaction, visitor.last_seen = START - 90000, begin, end
    visitor.seen_count, visitor.seconds_before, visitor.longest, visitor.seen_frames = count, before, longest, 10
    return visitor


@pytest.mark.parametrize("number, into", [(1, 2), (2, 1)])
def test_merge_adds_up_visits_and_times(metric, number, into):
    other = aside(person(0), 0.5, metric=metric)
    book = book_of(person(0), other, metric=metric)
    with_visits(book, 1, START, START + 40, 5, 200.0, 90.0)
    with_visits(book, 2, START + 1000, START + 1015, 2, 30.0, 30.0).first_seen = START - 50
    stays = book.merge(number, into)
    assert sorted(book.visitors) == [into] and book.visitors[into] is stays and stays.number == into
    assert stays.seen_count == 7 and stays.seen_frames == 20
    assert stays.total_seconds() == 200 + 40 + 30 + 15
    assert stays.longest_visit() == 90
    assert stays.first_seen == START - 90000 and stays.last_seen == START + 1015 and stays.this_visit() == 15
    for encoding in (person(0), other):
        assert book.lookup_known_face(encoding)[0] == (pytest.approx(0, abs=1e-6), stays)


@pytest.mark.parametrize("begin, end, seconds", [(START + 20, START + 60, 60), (START + 100, START + 130, 130),
                                                 (START + 10, START + 30, 40)])
def test_merge_of_two_halves_of_one_visit_counts_it_once(begin, end, seconds):
    book = book_of(person(0), aside(person(0), 0.5))
    with_visits(book, 1, START, START + 40, 5, 200.0, 90.0)
    with_visits(book, 2, begin, end, 1, 0.0, 0.0)
    stays = book.merge(2, 1)
    assert stays.seen_count == 5 and stays.this_visit() == seconds and stays.total_seconds() == 200 + seconds


def test_merge_keeps_the_better_picture_and_the_name_and_who_was_seen_together():
    book = book_of(person(0), aside(person(0), 0.5), person(2))
    one, other = book.visitors[1], book.visitors[2]
    one.jpeg, one.quality, other.jpeg, other.quality = b"poor", 0.2, b"good", 0.7
    other.name, other.apart = "Maria", {3}
    stays = book.merge(2, 1)
    assert (stays.jpeg, stays.quality, stays.name, stays.apart) == (b"good", 0.7, "Maria", {3})
    assert book.visitors[3].number not in (1, 2) and len(book) == 2


def test_merged_the_other_way_the_better_picture_stays_too():
    book = book_of(person(0), aside(person(0), 0.5))
    book.visitors[1].jpeg, book.visitors[1].quality = b"good", 0.7
    book.visitors[2].jpeg, book.visitors[2].quality = b"poor", 0.2
    assert book.merge(2, 1).jpeg == b"good"


# ------------------------------------------------------------------------------------------------------ numbers


def test_numbers_are_given_once():
    book = book_of(person(0), person(1), person(2))
    assert sorted(book.visitors) == [1, 2, 3]
    book.forget(3)
    assert book.register_new_face(person(3), START).number == 4
    book.merge(4, 1)
    assert book.register_new_face(person(4), START).number == 5
    book.forget(1)
    book.forget(5)
    assert book.register_new_face(person(5), START).number == 6
    assert sorted(book.visitors) == [2, 6]


@pytest.mark.parametrize("saved_before", [False, True])
def test_numbers_are_given_once_across_a_save(saved_before):
    book = book_of(person(0), person(1), person(2), person(3))
    if saved_before:
        book.snapshot()
    book.forget(4)
    book = written_and_read(book)
    assert sorted(book.visitors) == [1, 2, 3]
    book.merge(3, 2)
    book = written_and_read(book)
    book.forget(1)
    book = written_and_read(written_and_read(book))
    assert sorted(book.visitors) == [2]
    assert book.register_new_face(person(5), START).number == 5


def test_a_book_goes_through_the_file_unchanged(metric):
    book = book_of([person(0), aside(person(0), 0.5, metric=metric)], person(1), metric=metric)
    book.visitors[1].others = {"other": [aside(person(0), 0.1, 3)]}
    one = with_visits(book, 1, START - 77, START, 9, 1234.5, 600.0)
    one.name, one.apart, one.quality, one.ignored = "Zoë \u4e2d", {2, 40}, 0.75, True
    one.jpeg = doorcam.to_jpeg(np.full((doorcam.PICTURE_SIZE, doorcam.PICTURE_SIZE, 3), 80, np.uint8))
    again = written_and_read(book)
    assert again.numbers_given == 2 and not again.changed
    for number, visitor in book.visitors.items():
        for key in set(doorcam.Visitor.__slots__) - {"encodings", "others"}:
            assert getattr(again.visitors[number], key) == getattr(visitor, key), key
        before, after = visitor.all_encodings(), again.visitors[number].all_encodings()
        assert before.keys() == after.keys()
        assert all(np.array_equal(np.float32(before[engine]), after[engine]) for engine in before)


def test_only_what_changed_is_made_anew_for_a_save():
    book = book_of(person(0), person(1))
    first = book.snapshot()
    assert not book.changed
    book.see(book.visitors[2], START, START)
    assert book.changed == {2}
    second = book.snapshot()
    assert second[1][0] is first[1][0] and second[1][1] is not first[1][1]
    book.forget(1)
    assert [metadata["number"] for metadata in book.snapshot()[1]] == [2]
