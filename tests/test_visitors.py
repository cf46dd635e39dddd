"""The book of visitors: lookup, encodings, merging, numbers."""
import math

import numpy as np
import pytest

import doorcam
from helpers import START, Story, aside, book_of, face, person, written_and_read


@pytest.mark.parametrize("apart", [0.0, 0.02, 0.5, 1.07, 1.9])
def test_scripted_encodings_are_as_far_apart_as_they_say(apart):
    first = aside(person(3), apart, 5)
    second = aside(first, apart, 6)
    assert doorcam.distance(person(3), first) == doorcam.distance(first, second) == pytest.approx(apart)
    assert np.linalg.norm(first) == np.linalg.norm(second) == pytest.approx(1)


# ------------------------------------------------------------------------------------------------------ lookup


def random_encoding(generator, near=None, spread=0.6):
    """128 numbers of the length 1, those of strangers about 1.4 apart; or about `spread` from one that is given."""
    made = generator.normal(0, 1, 128)
    made /= np.linalg.norm(made)
    made = made if near is None else np.asarray(near, float) + spread * made
    return made / np.linalg.norm(made)


def brute_force(book, encoding, excluded=()):
    """(odds, number) of everybody, best first, by the formula as it stands in the file's text."""
    metric, means = book.metric, {number: np.mean(visitor.encodings, axis=0, dtype=np.float64)
                                  for number, visitor in book.visitors.items()}
    count, found = len(means), []
    every = np.array(list(means.values()) or [person(0)])
    products = every.dot(every.T)
    known = count if count > 1 else 0
    apart = np.mean((2 - 2 * products)[np.triu_indices(count, 1)]) if known else 0.0
    alike = metric.strangers / ((5 * 0.65 * metric.strangers + known * apart) / (5 + known))
    for number, mean in means.items():
        spread = 1 + 1.0 / len(book.visitors[number].encodings)
        ratio = metric.prior - metric.dimensions / 2 * (
            math.log(spread) + alike * np.sum((mean - encoding) ** 2) / (metric.within * spread))
        found.append((ratio - math.log(count + 10), number))
    return sorted((pair for pair in found if pair[1] not in excluded), reverse=True)


def check_lookup(book, encoding, excluded=()):
    """Those who are found are those of brute force, with the same odds."""
    found = book.lookup_known_face(encoding, excluded)
    expected = brute_force(book, encoding, excluded)[:len(found)]
    assert len(found) >= min(doorcam.CANDIDATES, len(expected))
    for (odds, visitor), (right, number) in zip(found, expected):
        assert visitor.number == number and visitor.number not in excluded
        assert odds == pytest.approx(right, abs=2e-3 * max(1.0, abs(right)))


@pytest.mark.parametrize("seed", range(4))
def test_lookup_finds_the_nearest_after_any_change(metric, seed):
    generator = np.random.RandomState(seed)
    book, people = doorcam.Book(metric), []
    for turn in range(300):
        kind, numbers = generator.rand(), sorted(book.visitors)
        if kind < 0.55 or len(numbers) < 3:
            people.append(random_encoding(generator))
            book.register_new_face(people[-1], START + turn)
        elif kind < 0.7:
            book.forget(int(generator.choice(numbers)))
        elif kind < 0.8:
            one, other = generator.choice(numbers, 2, replace=False)
            book.merge(int(one), int(other))
        else:
            visitor = book.visitors[int(generator.choice(numbers))]
            book.learn(visitor, random_encoding(generator, visitor.encodings[0]))
        near = random_encoding(generator, people[generator.randint(len(people))], 0.3)
        check_lookup(book, near)
        check_lookup(book, random_encoding(generator))
        numbers = sorted(book.visitors)
        check_lookup(book, near, set(generator.choice(numbers, min(3, len(numbers)), replace=False)))
    assert len(book) > 60  # the matrix has grown beyond its first size


def test_lookup_in_a_large_book(metric):
    generator = np.random.RandomState(9)
    people = [random_encoding(generator) for _ in range(3000)]
    book = book_of(*people, metric=metric)
    for number in range(0, 3000, 600):
        check_lookup(book, random_encoding(generator, people[number], 0.5))


def test_a_year_of_newcomers_who_are_forgotten_takes_no_more_memory(metric):
    generator = np.random.RandomState(5)
    book = book_of(*[random_encoding(generator) for _ in range(10)], metric=metric)
    size = len(book._matrix)
    for turn in range(500):
        visitor = book.register_new_face(random_encoding(generator), START + turn)
        check_lookup(book, visitor.encodings[0])
        book.forget(int(generator.choice(sorted(book.visitors))))
    assert len(book) == 10 and len(book._matrix) == size and len(book.snapshot()[0]) == 10


def test_lookup_in_an_empty_book_and_with_everybody_excluded():
    assert doorcam.Book(doorcam.DLIB).lookup_known_face(person(0)) == []
    assert book_of(person(0), person(1)).lookup_known_face(person(0), {1, 2}) == []


def test_a_look_up_by_several_visits_expects_less_difference(metric):
    book = book_of([person(0), aside(person(0), 0.5, 1), aside(person(0), 0.5, 2)], person(1), metric=metric)
    near = aside(person(0), 0.3, 3)
    once, often = (book.lookup_known_face(near, (), visits)[0][0] for visits in (1, 3))
    far_once, far_often = (book.lookup_known_face(person(1), (1,), visits)[0][0] for visits in (1, 3))
    assert far_often > far_once  # quite the same
    assert often != once


# --------------------------------------------------------------------------------------------------- encodings


def test_encodings_are_bounded_and_stay_within_those_given(metric):
    book, apart = book_of(person(0), metric=metric), 1.5 * metric.learn_apart
    for number in range(200):
        book.learn(book.visitors[1], aside(person(0), apart + 0.001 * number, number % 28))
    encodings = book.visitors[1].encodings
    assert len(encodings) == doorcam.MAX_ENCODINGS
    assert all(np.linalg.norm(one) == pytest.approx(1, abs=1e-5) for one in encodings)
    assert all(doorcam.distance(one, person(0)) <= apart + 0.2 for one in encodings)
    assert book.lookup_known_face(book.visitors[1].center())[0][1].number == 1
    check_lookup(book, person(0))


def test_what_is_known_well_is_not_kept_twice(metric):
    book = book_of(person(0), metric=metric)
    book.learn(book.visitors[1], aside(person(0), metric.learn_apart - 0.01))
    assert len(book.visitors[1].encodings) == 1
    book.learn(book.visitors[1], aside(person(0), metric.learn_apart + 0.01))
    assert len(book.visitors[1].encodings) == 2


# --------------------------------------------------------------------------------------------- merge by the owner


def with_visits(book, number, begin, end, count, before, longest):
    visitor = book.visitors[number]
    visitor.first_seen, visitor.first_seen_this_interaction, visitor.last_seen = START - 90000, begin, end
    visitor.seen_count, visitor.seconds_before, visitor.longest, visitor.seen_frames = count, before, longest, 10
    return visitor


@pytest.mark.parametrize("number, into", [(1, 2), (2, 1)])
def test_merge_adds_up_visits_and_times(metric, number, into):
    other = aside(person(0), 0.5)
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
        assert min(doorcam.distance(one, encoding) for one in stays.encodings) < 1e-6


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
    book = book_of([person(0), aside(person(0), 0.5)], person(1), metric=metric)
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
    doorcam.Visits(book).see(book.visitors[2], START, START)
    assert book.changed == {2}
    second = book.snapshot()
    assert second[1][0] is first[1][0] and second[1][1] is not first[1][1]
    book.forget(1)
    assert [metadata["number"] for metadata in book.snapshot()[1]] == [2]


def test_the_file_has_the_visitors_in_the_order_in_which_they_came():
    book = book_of(*[person(number) for number in range(6)])
    book.forget(2)
    book.merge(6, 1)
    book.register_new_face(person(7), START)
    for _ in range(2):
        assert [metadata["number"] for metadata in book.snapshot()[1]] == [1, 3, 4, 5, 7]
        doorcam.Visits(book).see(book.visitors[4], START, START)
    assert [metadata["number"] for metadata in written_and_read(book).snapshot()[1]] == [1, 3, 4, 5, 7]


# -------------------------------------------------------------------------------------- what stands for a visitor


def test_a_number_stands_for_whom_it_was_joined_with_and_for_nobody_once_forgotten():
    book = book_of(*[person(number) for number in range(5)])
    for number, into in ((4, 3), (3, 2)):
        book.merge(number, into)
    assert [book[number] and book[number].number for number in (1, 2, 3, 4, 5, 6, None)] == [1, 2, 2, 2, 5, None, None]
    book.forget(2)
    assert [book[number] for number in (2, 3, 4)] == [None] * 3 and book[5].number == 5


@pytest.mark.parametrize("gap, visits", [(doorcam.VISIT_GAP, 1), (60.0, 2)])
def test_what_is_one_visit_is_told_by_the_books_own_gap(gap, visits):
    """Two entries of somebody seen again after 100 s."""
    book = book_of(person(1), now=START)
    book.register_new_face(person(2), START + 100)
    book.gap = gap
    assert book.merge(2, 1).seen_count == visits


def test_whoever_is_joined_or_forgotten_while_at_the_door_has_one_visit_or_none():
    story = Story()
    story.show(face(person(1), x=200), face(person(2), x=600), seconds=3)
    story.book.merge(2, 1)
    story.show(face(person(1), x=200), seconds=2 * doorcam.TRACK_LOST)
    assert list(story.visits.going()) == [1] and [one.number for one in story.visits.met()] == [1]
    assert {track.visitor for track in story.door.tracks} == {1}
    story.book.forget(1)
    assert not story.visits.going() and not story.visits.met() and story.visits.at_door(story.now) == []
    story.show(face(person(1), x=200), seconds=3)  # whom nobody knows any more
    story.finish()
    assert story.events == [("new", 1), ("new", 2), ("new", 3), ("left", 3)]


def test_what_the_owner_said_meanwhile_is_not_taken_back():
    story = Story(book_of(person(1)))
    story.show(face(person(1)), seconds=1)
    track, = story.door.tracks
    for change in (lambda: story.book.ignore(1), lambda: story.book.merge(2, 1)):
        assert track.visitor == 1 and track.before is not None
        story.book.register_new_face(person(2), START)
        change()
        assert story.door.greeter._take_back(track, story.now) == [] and track.visitor == 1
        story.book[1].ignored = False
