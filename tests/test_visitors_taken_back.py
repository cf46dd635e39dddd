"""What the owner takes back: a visit that was somebody else's, a merge, two who are two; where encodings are from."""
import math

import numpy as np
import pytest

import doorcam
import files
from helpers import START, Story, apart_for, aside, book_of, face, person, written_and_read

GAP = doorcam.VISIT_GAP


def ask(book, command, *numbers, **flags):
    """What is answered to a request from somewhere that is not trusted."""
    given = dict(zip(("number", "into"), map(str, numbers)), **flags)
    return doorcam.obey(book, doorcam.make_request(command, given))


def refused(book, command, *numbers, **flags):
    """The line that says why not; nothing changes."""
    before = [(number, state(visitor)) for number, visitor in book.visitors.items()]
    with pytest.raises(doorcam.DoorcamError) as error:
        ask(book, command, *numbers, **flags)
    assert [(number, state(visitor)) for number, visitor in book.visitors.items()] == before
    assert "\n" not in str(error.value)
    return str(error.value)


def state(visitor, leave_out=("shown_new",)):
    """All that a visitor is, as something that can be compared."""
    found = {name: getattr(visitor, name) for name in doorcam.Visitor.__slots__ if name not in leave_out}
    found = {name: set(value) if isinstance(value, set) else value for name, value in found.items()}
    for name in {"encodings", "latest", "others", "merged", "before"} & set(found):
        value = found[name]
        found[name] = [state(one) for one in value or ()] if name == "merged" else repr(
            value if name == "before" else np.float32(value).tolist() if name != "others" and value is not None else
            {engine: np.float32(many).tolist() for engine, many in value.items()} if value else None)
    return found


def visit(story, encoding, seconds=3.0):
    story.show(face(encoding), seconds=seconds)
    story.nobody(GAP + 1)


def near(metric, axis=0, apart=1.5):
    """Whom a visitor of one visit is taken for, and who teaches an encoding."""
    return aside(person(0), apart * metric.learn_apart, axis)


@pytest.fixture
def mistaken(metric):
    """Visitor 1 was here twice; a third time, somebody else was taken for the visitor. The story, how visitor 1 was
    before that, and the encoding of the other."""
    story = Story(metric=metric)
    visit(story, person(0))
    visit(story, near(metric, 1))
    assert story.book.visitors[1].seen_count == 2 and len(story.book.visitors[1].encodings) == 2
    before, other = story.book.visitors[1].so_far(doorcam.Visitor.OF_VISITS), near(metric, 2)
    visit(story, other)
    assert story.events[-2:] == [("returned", 1), ("left", 1)] and len(story.book.visitors[1].encodings) == 3
    return story, before, other


# ------------------------------------------------------------------------------------------------------- split


@pytest.mark.parametrize("saved", [False, True])
def test_a_visit_that_was_somebody_else_s_becomes_a_visitor(mistaken, saved):
    story, before, other = mistaken
    book = written_and_read(story.book) if saved else story.book
    begun, ended = book.visitors[1].first_seen_this_interaction, book.visitors[1].last_seen
    assert ask(book, "split", 1).endswith("was not visitor 1 but somebody else: visitor 2")
    one, two = book.visitors[1], book.visitors[2]
    assert one.so_far(doorcam.Visitor.OF_VISITS) == before
    assert len(one.encodings) == 2 and all(doorcam.distance(kept, other) > 0.05 for kept in one.encodings)
    assert [doorcam.distance(kept, other) < 1e-5 for kept in two.encodings] == [True]
    assert (two.seen_count, two.first_seen, two.first_seen_this_interaction, two.last_seen, two.name) == (
        1, begun, begun, ended, "")
    assert two.seen_frames > 0 and two.total_seconds() == ended - begun
    assert not written_and_read(book).changed


@pytest.mark.parametrize("saved", [False, True])
def test_who_was_split_off_is_never_joined_again_whoever_comes(mistaken, saved):
    story, _, other = mistaken
    ask(story.book, "split", 1)
    story = Story(written_and_read(story.book) if saved else story.book, story.now)
    for encoding in (other, person(0), other, person(0)):
        visit(story, encoding, seconds=5.0)
    one, two = story.book.visitors[1], story.book.visitors[2]
    assert one.never == {2} and two.never == {1}
    for number in (1, 2):  # all that is known of them is the same
        one, two = story.book.visitors[number], story.book.visitors[3 - number]
        one.encodings = list(two.encodings)
        story.book._place(one)
        for _ in range(4):
            visit(story, two.encodings[0], seconds=5.0)
        assert {1, 2} <= set(story.book.visitors) and story.book.second_entry(one) is None


def test_a_visitor_at_the_door_is_split_and_the_track_follows(metric):
    story = Story(metric=metric)
    visit(story, person(0))
    story.show(face(near(metric)), seconds=2)
    assert story.visitors() == [1] and len(story.book.visitors[1].encodings) == 1
    last_seen = story.book.visitors[1].last_seen
    ask(story.book, "split", 1)
    assert story.visitors() == [2] and list(story.visits.going()) == [2]
    assert [one.number for one in story.visits.met()] == [2]
    story.show(face(near(metric)), seconds=2)
    assert story.visitors() == [2] and story.book.visitors[2].last_seen > last_seen
    assert story.book.visitors[1].seen_count == 1 and story.book.visitors[1].last_seen < last_seen - GAP
    story.nobody(GAP + 1)
    assert story.events == [("new", 1), ("left", 1), ("returned", 1), ("left", 2)]
    assert len(story.book.visitors[2].encodings) == 1 and len(story.book) == 2


@pytest.mark.parametrize("saved", [False, True])
def test_a_visit_that_taught_nothing_is_known_by_its_last_track(metric, saved):
    story = Story(metric=metric)
    visit(story, person(0))
    other = aside(person(0), 0.8 * metric.learn_apart)  # too near to be kept beside the other
    visit(story, other)
    book = written_and_read(story.book) if saved else story.book
    assert len(book.visitors[1].encodings) == 1 and doorcam.distance(book.visitors[1].latest, other) < 1e-5
    ask(book, "split", 1)
    assert doorcam.distance(book.visitors[2].encodings[0], other) < 1e-5
    assert doorcam.distance(book.visitors[1].encodings[0], person(0)) < 1e-5 and book.visitors[1].latest is None


def test_what_cannot_be_split_says_why(mistaken):
    story, _, _ = mistaken
    story.show(face(person(5)), seconds=2)
    assert "was here once" in refused(story.book, "split", 2)
    ask(story.book, "split", 1)
    assert "not known any more" in refused(story.book, "split", 1)
    assert "there is no visitor 9" in refused(story.book, "split", 9)
    old = doorcam.Book(doorcam.DLIB, doorcam.read_known_faces(files.original_file(1))[0])
    visitor, = old.visitors.values()
    assert "not known any more" in refused(old, "split", visitor.number)
    visitor.begin_visit(START)
    assert "no face is kept" in refused(old, "split", visitor.number)


def test_the_picture_of_a_visit_goes_with_it_and_the_one_before_comes_back(metric):
    for better in (False, True):
        story = Story(metric=metric)
        visit(story, person(0))
        visitor = story.book.visitors[1]
        picture = visitor.jpeg
        visitor.quality = 0.1 if better else 0.99
        visit(story, near(metric))
        assert visitor.quality not in (0.1, 0.99) if better else visitor.quality == 0.99
        visitor.jpeg = b"another" if better else visitor.jpeg
        ask(story.book, "split", 1)
        assert story.book.visitors[1].jpeg == picture
        assert story.book.visitors[2].jpeg == (b"another" if better else None)


def test_who_was_seen_together_with_the_other_was_not_seen_with_the_visitor(metric):
    story = Story(metric=metric)
    story.show(face(person(0)), face(person(3), x=900), seconds=3)
    story.nobody(GAP + 1)
    story.show(face(near(metric)), face(person(4), x=900), seconds=3)
    story.nobody(GAP + 1)
    assert story.book.visitors[1].apart == {2, 3}
    ask(story.book, "split", 1)
    assert [story.book.visitors[number].apart for number in (1, 2, 3, 4)] == [{2}, {1}, {4}, {3}]


def test_a_clock_that_is_set_during_the_visit_parts_nothing(metric):
    for seconds in (-7200, 7200):
        story = Story(metric=metric)
        visit(story, person(0))
        visit(story, near(metric))
        story.set_clock(seconds)
        ask(story.book, "split", 1)
        assert [len(visitor.encodings) for visitor in story.book.visitors.values()] == [1, 1]
        assert doorcam.distance(story.book.visitors[2].encodings[0], near(metric)) < 1e-5


def test_encodings_of_other_engines_go_along(mistaken):
    story, _, _ = mistaken
    visitor = story.book.visitors[1]
    kept, gone = np.float32(person(7)), np.float32(person(8))
    begun = visitor.first_seen_this_interaction
    visitor.others = {"other": [kept, gone]}
    visitor.origins = {**visitor.origins, doorcam.mark_of(gone): doorcam.Origin(begun, begun)}
    ask(story.book, "split", 1)
    assert np.array_equal(story.book.visitors[1].others["other"], [kept])
    assert np.array_equal(story.book.visitors[2].others["other"], [gone])


def test_a_newcomer_who_was_joined_by_mistake_is_split_off_again(metric):
    story = Story(metric=metric)
    visit(story, person(0))
    before = story.book.visitors[1].so_far(doorcam.Visitor.OF_VISITS)
    visit(story, person(1))
    story.book.merge(2, 1)
    ask(story.book, "split", 1)
    assert sorted(story.book.visitors) == [1, 3]
    assert story.book.visitors[1].so_far(doorcam.Visitor.OF_VISITS) == before
    assert doorcam.distance(story.book.visitors[3].encodings[0], person(1)) < 1e-5


def test_a_wrong_name_that_the_program_takes_back_itself_leaves_what_was_kept(mistaken, metric):
    story, _, _ = mistaken
    visitor = story.book.visitors[1]
    before, kept = visitor.so_far(), state(visitor)
    told = doorcam.Visits(story.book)
    was = told.before(visitor)
    told.see(visitor, story.now, story.now)
    assert visitor.before != before["before"] and visitor.latest is None
    told.take_back(visitor, was, story.now)
    assert state(visitor) == kept


# --------------------------------------------------------------------------------------------------- two people


def test_two_who_are_two_are_never_one(metric):
    book = book_of([person(0), near(metric, 1)], [person(0), near(metric, 2)], metric=metric)
    assert book.second_entry(book.visitors[1]) is book.visitors[2]
    assert ask(book, "merge", 2, 1, apart="yes") == "visitors 2 and 1 are two people from now on"
    book = written_and_read(book)
    for number in (1, 2):
        assert book.second_entry(book.visitors[number]) is None
    assert "two people, as you have said" in refused(book, "merge", 2, 1)
    assert "one visitor" in refused(book, "merge", 1, 1, apart="yes")
    ask(book, "merge", 2, 1, force="yes")
    assert book.visitors[1].never == set() and sorted(book.visitors) == [1]


def test_what_a_person_has_said_is_kept_however_many_were_seen_together(metric):
    book = book_of(person(0), person(1), person(2), metric=metric)
    book.visitors[1].apart = set(range(1000, 1000 + doorcam.MAX_APART))
    ask(book, "merge", 1, 2, apart="yes")
    book = written_and_read(book)
    assert book.visitors[1].never == {2} and doorcam.told_apart(book.visitors[1], book.visitors[2])
    ask(book, "merge", 2, 3)
    assert book.visitors[1].never == {3} and book.visitors[3].never == {1}
    book.forget(1)
    assert book.visitors[3].never == set()


def test_what_is_said_during_a_visit_outlives_a_name_that_is_taken_back(metric):
    story = Story(book_of(person(0), person(1), metric=metric))
    visitor = story.book.visitors[1]
    before = story.visits.before(visitor)
    story.visits.see(visitor, story.now, story.now)
    ask(story.book, "merge", 1, 2, apart="yes")
    story.visits.take_back(visitor, before, story.now)
    assert visitor.never == {2}


# ----------------------------------------------------------------------------------------------- a merge undone


def two_to_merge(metric):
    book = book_of(person(0), person(1), person(2), metric=metric)
    for number, seen in ((1, START - 9000), (2, START - 5000)):
        visitor = book.visitors[number]
        visitor.first_seen_this_interaction, visitor.last_seen = seen, seen + 40
        visitor.seen_count, visitor.seconds_before, visitor.longest = 3 * number, 77.0, 50.0
        visitor.jpeg, visitor.quality = doorcam.to_jpeg(files.smooth_picture(number)), 0.3 + number / 10.0
    book.visitors[2].name, book.visitors[2].apart, book.visitors[3].apart = "Maria", {3}, {2}
    return book


@pytest.mark.parametrize("saved", [False, True])
def test_a_merge_is_undone(metric, saved):
    book = two_to_merge(metric)
    before = {number: state(visitor, ("shown_new", "never")) for number, visitor in book.visitors.items()}
    ask(book, "merge", 2, 1)
    assert book[2] is book.visitors[1] and book.visitors[3].apart == {1}
    book = written_and_read(book) if saved else book
    assert ask(book, "merge", 1, undo="yes") == "visitors 2 and 1 are two people again, and stay so"
    after = {number: state(visitor, ("shown_new", "never")) for number, visitor in book.visitors.items()}
    assert after == before
    assert book[2].number == 2 and not book.joined and doorcam.told_apart(book[1], book[2])
    assert {number for number in book.changed} >= {1, 2, 3}
    assert "no merge of visitor 1" in refused(book, "merge", 1, undo="yes")


def test_a_merge_is_undone_from_the_journal(metric, tmp_path):
    path, book = str(tmp_path / "known_faces.dat"), two_to_merge(metric)
    saver = doorcam.Saver(path, book)
    for request in ({}, dict(undo="yes")):
        doorcam.save_known_faces(path, book.snapshot()) if not request else None
        ask(book, "merge", 2, 1) if not request else ask(book, "merge", 1, **request)
        changed = set(book.changed)
        doorcam.append_to_journal(path, changed, book.snapshot(), {})
    again = doorcam.load_known_faces(path, metric)
    assert sorted(again.visitors) == [1, 2, 3] and again.visitors[2].name == "Maria"
    assert again.visitors[1].never == {2}
    assert saver.path == path


@pytest.mark.parametrize("what", ["visit", "name", "number given again"])
def test_a_merge_is_not_undone_after_the_next_visit_or_a_name(metric, what):
    book = two_to_merge(metric)
    ask(book, "merge", 2, 1)
    if what == "visit":
        doorcam.Visits(book).see(book.visitors[1], START, START)
    elif what == "name":
        book.name(1, "Ben")
    else:
        book._place(doorcam.Visitor(2, [np.float32(person(9))], START, metric.engine))
    assert "no merge of visitor 1" in refused(book, "merge", 1, undo="yes")


def test_who_is_at_the_door_is_the_right_one_after_a_merge_is_undone(metric):
    story = Story(metric=metric)
    visit(story, person(0))
    story.show(face(person(1)), seconds=2)
    ask(story.book, "merge", 2, 1)
    story.show(face(person(1)), seconds=1)
    assert story.visitors() == [1]
    ask(story.book, "merge", 1, undo="yes")
    story.show(face(person(1)), seconds=1)
    assert story.visitors() == [2] and list(story.visits.going()) == [2]
    assert story.book.visitors[1].last_seen < story.now - GAP < story.book.visitors[2].last_seen


def test_no_picture_is_left_of_somebody_who_is_ignored(metric):
    book = two_to_merge(metric)
    book.visitors[1].begin_visit(START - 100)
    book.visitors[1].jpeg = doorcam.to_jpeg(files.smooth_picture(5))
    ask(book, "merge", 2, 1)
    ask(book, "ignore", 1)
    ignored = [metadata for metadata in book.snapshot()[1] if metadata["number"] == 1]
    assert "StoredPicture" not in repr(ignored)
    book = two_to_merge(metric)
    book.visitors[1].ignored = True
    ask(book, "merge", 2, 1)
    assert "StoredPicture" not in repr([metadata for metadata in book.snapshot()[1] if metadata["number"] == 1])


# ---------------------------------------------------------------------------------------- where encodings are from


def test_rather_two_of_one_visit_become_one_and_no_founding_one_with_another(metric):
    book = book_of(person(0), metric=metric)
    visitor = book.visitors[1]
    for axis in range(doorcam.MAX_ENCODINGS):
        if axis != 4:  # two of one visit
            visitor.begin_visit(START + 1000 * axis)
        book.learn(visitor, near(metric, axis, 1.5 + axis / 10.0))
    origins = [visitor.origin_of(one) for one in visitor.encodings]
    assert len(origins) == doorcam.MAX_ENCODINGS
    assert [one.founding for one in origins].count(True) == 1 and doorcam.distance(visitor.encodings[0], person(0)) == 0
    assert origins[-1][:2] == (START + 3000, START + 3000)
    visitor.begin_visit(START + 90000)
    book.learn(visitor, near(metric, 20, 3.0))
    joined = visitor.origin_of(visitor.encodings[-1])
    assert joined.first < joined.last and not joined.founding and not visitor.of_last_visit(visitor.encodings[-1])


def drifting(metric):
    """A book whose visitor 1 has learned, each on the strength of the one before, and an encoding that only the learned
    ones would have learned."""
    book = book_of(person(0), metric=metric)
    visitor = book.visitors[1]
    far = apart_for(metric.caution - 1, book)
    visitor.begin_visit(START - 3000)
    for axis in range(3):
        book.learn(visitor, aside(aside(person(0), 0.9 * far, 0), 1.1 * metric.learn_apart, 1 + axis))
    return book, aside(person(0), 1.05 * far, 0)


@pytest.mark.parametrize("confirmed", [False, True])
def test_what_is_learned_needs_the_founding_encodings_or_the_owner_s_word(metric, confirmed):
    book, encoding = drifting(metric)
    if confirmed:
        ask_name = doorcam.make_request("name", {"number": "1", "name": "Maria"})
        doorcam.obey(book, ask_name)
    book = written_and_read(book)
    found = book.lookup_known_face(encoding)
    assert book.odds_of(book.visitors[1], found) > metric.caution + doorcam.DOUBT
    assert (book.founded_odds(book.visitors[1], encoding) >= metric.caution) == confirmed
    kept = len(book.visitors[1].encodings)
    visit(Story(book), encoding)
    assert book.visitors[1].seen_count == 3  # greeted all the same
    assert len(book.visitors[1].encodings) == kept + confirmed


def test_files_of_before_go_on_learning(metric):
    book, encoding = drifting(metric)
    book.visitors[1].origins = {}
    visit(Story(written_and_read(book)), encoding)
    assert book.founded_odds(book.visitors[1], encoding) >= metric.caution


# ------------------------------------------------------------------------------------------------ hostile records

WRONG = [None, 0, -1, True, "x", b"x", [], {}, [1], ["a"], [[1, 2]], {"a": 1}, {1: 2}, {1: (1.0, 2.0)},
         {1: (2.0, 1.0, True)}, {1: (math.nan, math.nan, True)}, {1: (1.0, 2.0, 3)}, {1: "abc"}, [[[], {}], [[], {}]],
         [[None, None], [None, None]], np.zeros(3), np.full(128, np.nan), [np.zeros(128)] * 2,
         {"seen_count": 1}, {"apart": 5}, [[1] * 100] * 100]


@pytest.mark.parametrize("key", ["origins", "never", "latest", "before", "merged"])
def test_a_wrong_value_loses_nobody(key):
    for value in WRONG:
        visitors, _, problems = doorcam.read_known_faces(files.file_with(**{key: value}))
        assert len(visitors) == 2 and problems == [], (key, value)
        visitor = visitors[1]
        assert visitor.origins == {} and visitor.latest is None and visitor.before is None and visitor.merged is None
        assert visitor.never <= {1, -1, 0}
        assert key not in visitor.extra
        book = doorcam.Book(doorcam.DLIB, visitors)
        for command in ("split", "aside"):
            refused(book, command, visitor.number)
        refused(book, "merge", visitor.number, undo="yes")


def test_one_wrong_key_does_not_spoil_the_others(mistaken):
    story, _, _ = mistaken
    ask(story.book, "merge", 1, story.book.register_new_face(person(5), START).number, apart="yes")
    encodings, metadata, given = story.book.snapshot()
    for key in ("origins", "before", "latest"):
        wrong = dict(metadata[0], **{key: 5})
        visitor = doorcam.read_visitor(encodings[0], {name: value.copy() if isinstance(value, (dict, list)) else value
                                                      for name, value in wrong.items() if name != "face_image"})
        assert visitor.never == {2} and bool(visitor.origins) == (key != "origins")


@pytest.mark.parametrize("count", [0, 3, 7, 10 ** 9])
def test_a_visit_before_that_counts_more_visits_than_there_are_is_none(mistaken, count):
    story, _, _ = mistaken
    visitor = story.book.visitors[1]
    visitor.before["seen_count"] = count
    story.book.changed.add(1)
    assert written_and_read(story.book).visitors[1].before is None


def test_a_file_can_be_split_where_the_original_program_has_written_it_since(mistaken):
    import pickle
    story, _, _ = mistaken
    encodings, metadata = pickle.loads(files.dumped(story.book))
    visitors, given, problems = doorcam.read_known_faces(pickle.dumps([encodings, metadata], 3))
    book = doorcam.Book(story.book.metric, visitors, given)
    assert not problems and ask(book, "split", 1) and len(book.visitors[1].encodings) == 2


def test_records_within_records_are_read_once_and_no_deeper():
    (encoding,), (record,) = doorcam.unpickle(files.original_file(1))
    for number in range(300):
        record = dict(record, number=1, merged=[[encoding, dict(record, number=2)], [encoding, dict(record, number=1)]])
    visitor, _ = doorcam.read_record(encoding, record, doorcam.Allowance(1 << 20))
    assert [one.number for one in visitor.merged] == [2, 1] and all(one.merged is None for one in visitor.merged)
