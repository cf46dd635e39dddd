"""How sure a greeting is, who may be one person, and what is set aside: a book compared with itself."""
import itertools
import json

import numpy as np
import pytest

import doorcam
from helpers import START, apart_for, aside, book_of, person, written_and_read
from test_visitors_taken_back import ask, refused


def spread(metric, number, visits, axis=0):
    """Encodings of so many visits of person `number`."""
    return [aside(person(number), 1.2 * metric.learn_apart, axis + one) for one in range(visits)]


def one_by_one(book, visitor):
    """(mean sureness, {index of an encoding: number of the rival}) by looking up one encoding after the other."""
    sure, strays = [], {}
    for index, encoding in enumerate(visitor.encodings):
        others = [one for place, one in enumerate(visitor.encodings) if place != index]
        own = book._odds(float(np.sum((np.mean(others, axis=0) - encoding) ** 2)), 1, len(others))
        found = book.lookup_known_face(encoding, {visitor.number})
        center, limit = np.mean(others, axis=0), book.metric.caution - doorcam.DOUBT
        rivals = [odds for odds, other in found
                  if doorcam.told_apart(visitor, other) or book._alike_odds(visitor, other) < limit]
        sure.append(doorcam.sureness(doorcam.known_odds(own, max(rivals))))
        odds, rival = found[0]
        one_person = book._odds(float(np.sum((center - rival.center()) ** 2)), 1, 1) >= limit
        if odds > own and odds >= book.metric.caution and (doorcam.told_apart(visitor, rival) or not one_person):
            strays[index] = rival.number
    return float(np.mean(sure)), strays


def book_with_a_stray(metric):
    """Visitor 1 was taught a face of visitor 2's."""
    book = book_of(spread(metric, 0, 3), spread(metric, 1, 4), *[spread(metric, 2 + one, 1 + one) for one in range(4)],
                   metric=metric)
    visitor = book.visitors[1]
    visitor.encodings = visitor.encodings + [np.float32(aside(person(1), 0.05, 20))]
    book._place(visitor)
    return book


def test_all_at_once_is_the_same_as_one_by_one(metric):
    book = book_with_a_stray(metric)
    book.visitors[2].name, book.visitors[3].name = "Maria", "Ben"
    ask(book, "merge", 4, 5, apart="yes")
    fits = doorcam.Comparison(book).fits(list(book.visitors.values()))
    assert sorted(fits) == sorted(book.visitors)
    for number, visitor in book.visitors.items():
        if len(visitor.encodings) > 1:
            sure, strays = one_by_one(book, visitor)
            assert fits[number].sure == pytest.approx(sure, abs=1e-3)
            assert dict(fits[number].strays) == strays
    assert fits[1].strays == [(3, 2)] and not any(fits[number].strays for number in (2, 3, 4, 5, 6))


def test_a_visitor_who_agrees_with_nobody_else_is_surely_known(metric):
    book = book_of(spread(metric, 0, 5), spread(metric, 1, 5), metric=metric)
    fits = doorcam.Comparison(book).fits(list(book.visitors.values()))
    assert all(fit.sure > 0.95 and doorcam.fit_text(fit) == "surely" for fit in fits.values())


def test_whom_two_look_alike_nobody_is_sure_of(metric):
    """Twins who are told apart: each is the other's runner-up."""
    first, second = ([person(0)] + spread(metric, 0, 3, axis) for axis in (0, 4))
    book = book_of(first, second, metric=metric)
    ask(book, "merge", 2, 1, apart="yes")
    fits = doorcam.Comparison(book).fits(list(book.visitors.values()))
    assert all(fit.sure < 0.8 for fit in fits.values())
    assert doorcam.fit_text(fits[1]).endswith(", looks like 2")


def test_one_visit_tells_less_than_many(metric):
    book = book_of(*[spread(metric, number, 1) for number in range(8)], metric=metric)
    fit = doorcam.Comparison(book).fits([book.visitors[1]])[1]
    assert 0 < fit.sure < 1 and fit.strays == []


def test_a_book_of_nobody_and_of_another_engine_can_be_checked(metric):
    comparison = doorcam.Comparison(doorcam.Book(metric))
    assert comparison.alike(5) == [] and comparison.fits([]) == {}
    other = doorcam.Book(metric, [doorcam.Visitor(1, [np.float32(person(0))], START, "other")])
    assert doorcam.Comparison(other).alike(5) == []
    assert doorcam.Comparison(other).fits(list(other.visitors.values())) == {}


# ------------------------------------------------------------------------------------------------------ set aside


def test_what_looks_more_like_another_is_set_aside_and_taken_in_again(metric):
    book = book_with_a_stray(metric)
    visitor = book.visitors[1]
    before = sorted(map(doorcam.mark_of, visitor.encodings))
    assert ask(book, "aside", 1) == "1 encoding of visitor 1: set aside"
    book = written_and_read(book)
    visitor = book.visitors[1]
    assert len(visitor.encodings) == 3 and max(map(lambda one: np.dot(one, person(1)), visitor.encodings)) < 0.5
    assert "nothing that is kept" in refused(book, "aside", 1)
    assert doorcam.Comparison(book).fits([visitor])[1].sure > 0.9
    assert ask(book, "aside", 1, undo="yes") == "1 encoding of visitor 1: compared again"
    book = written_and_read(book)
    assert sorted(map(doorcam.mark_of, book.visitors[1].encodings)) == before
    assert "nothing of visitor 1 was set aside" in refused(book, "aside", 1, undo="yes")


def test_what_is_set_aside_goes_with_a_merge(metric):
    book = book_with_a_stray(metric)
    ask(book, "aside", 1)
    ask(book, "merge", 1, 3)
    assert len(book.visitors[3].others[metric.engine + doorcam.ASIDE]) == 1


# ------------------------------------------------------------------------------------------- who may be one person


def alike_book(metric, odds=0.0):
    """Visitors 1 and 2 may be one person, as the odds say; 3 and 4 nobody else's."""
    book = book_of(person(0), person(5), person(6), person(7), metric=metric)
    return book_of(person(0), aside(person(0), apart_for(metric.caution + odds, book)), person(6), person(7),
                   metric=metric)


def test_pairs_who_may_be_one_person_are_named(metric):
    named = []
    for odds in np.linspace(-6, 6, 13):
        book = alike_book(metric, odds)
        wanted = book._odds(float(np.sum((book.visitors[1].center() - book.visitors[2].center()) ** 2)), 1, 1)
        pairs = doorcam.Comparison(book).alike(5)
        for among in ([1], [2, 1]):
            assert [pair[1:] for pair in doorcam.Comparison(book).alike(5, among)] == [pair[1:] for pair in pairs]
        assert doorcam.Comparison(book).alike(5, [3, 4]) == []
        named.append(wanted >= metric.caution - doorcam.DOUBT)
        assert [{one.number, other.number} for _, one, other in pairs] == ([{1, 2}] if named[-1] else [])
        assert not pairs or pairs[0][0] == pytest.approx(wanted, abs=0.01)
    assert set(named) == {False, True}


@pytest.mark.parametrize("why", ["never", "apart", "name", "ignored"])
def test_pairs_who_are_surely_two_are_not_named(metric, why):
    book = alike_book(metric)
    if why == "name":
        book.visitors[1].name, book.visitors[2].name = "Maria", "Ben"
    else:
        setattr(book.visitors[1], why, True if why == "ignored" else {2})
    assert doorcam.Comparison(book).alike(5) == []


def test_the_likeliest_pairs_are_all_that_is_named(metric):
    chance = np.random.RandomState(3)
    encodings = [aside(person(number % 9), 0.2 + 0.02 * chance.rand(), number % 28) for number in range(150)]
    book = book_of(*[spread(metric, 50 + one, 2) for one in range(5)] + encodings, metric=metric)
    wanted = sorted((-book._odds(float(np.sum((one.center() - other.center()) ** 2)), len(one.encodings),
                                 len(other.encodings)), one.number, other.number)
                    for one, other in itertools.combinations(book.visitors.values(), 2))
    pairs = doorcam.Comparison(book).alike(5)
    assert [float(pair[0]) for pair in pairs] == pytest.approx([-one[0] for one in wanted[:5]], abs=0.01)


def test_a_book_of_one_face_is_compared_in_time_and_room(metric):
    book = doorcam.Book(metric, [doorcam.Visitor(number, [np.float32(person(0))], START, metric.engine)
                                 for number in range(1, 1500)])
    comparison = doorcam.Comparison(book)
    assert len(comparison.alike(5)) == 5
    assert len(comparison.fits(list(book.visitors.values()))) == 1499


# ------------------------------------------------------------------------------------------------- the commands


def run(capsys, *arguments):
    status = doorcam.main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A function that saves a book in the current folder."""
    monkeypatch.chdir(str(tmp_path))
    return lambda book: doorcam.save_known_faces("known_faces.dat", book.snapshot())


def test_the_list_names_the_command_that_joins_two(metric, here, capsys):
    here(alike_book(metric))
    status, out, _ = run(capsys, "list")
    assert status == 0 and "known again" not in out
    assert out.splitlines()[5:] == ["", "visitors 1 and 2 look alike: merge 2 1 if they are one person, "
                                        "merge --not 2 1 if they are two"]
    assert [one["alike"] for one in json.loads(run(capsys, "list", "--json")[1])] == [[2], [1], [], []]
    assert run(capsys, "merge", "--not", "2", "1")[:2] == (0, "visitors 2 and 1 are two people from now on\n")
    assert len(run(capsys, "list")[1].splitlines()) == 5
    assert run(capsys, "merge", "2", "1")[0] == 1
    assert run(capsys, "merge", "2", "1", "--force")[0] == 0
    assert run(capsys, "merge", "1", "--undo")[:2] == (0, "visitors 2 and 1 are two people again, and stay so\n")
    assert len(run(capsys, "list")[1].splitlines()) == 5


def test_the_check_says_what_to_set_aside(metric, here, capsys):
    here(book_with_a_stray(metric))
    status, out, _ = run(capsys, "list", "--check")
    assert status == 0 and out.splitlines()[0].endswith("known again") and "surely" in out
    assert "visitor 1: 1 of 4 faces kept look more like visitor 2: aside 1 has them left out" in out.splitlines()
    assert run(capsys, "aside", "1")[0] == 0
    assert "has them left out" not in run(capsys, "list", "--check")[1]
    assert run(capsys, "aside", "--undo", "1")[0] == 0


@pytest.mark.parametrize("arguments", [["split", "1"], ["split", "77"], ["aside", "1"], ["aside", "1", "--undo"],
                                       ["merge", "1"], ["merge", "1", "--undo"], ["merge", "--not", "1"],
                                       ["merge", "--not", "1", "1"], ["merge", "--not", "1", "77"]])
def test_what_cannot_be_done_is_one_line_and_changes_nothing(metric, here, capsys, arguments):
    here(alike_book(metric))
    with open("known_faces.dat", "rb") as file:
        before = file.read()
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (1, "") and len(err.splitlines()) == 1 and err.startswith("doorcam: ")
    with open("known_faces.dat", "rb") as file:
        assert file.read() == before
