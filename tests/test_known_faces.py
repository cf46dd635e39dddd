"""The file of known faces, read and written: the original's, its forks', and doorcam's own."""
import datetime
import pickle

import cv2
import numpy as np
import pytest

import doorcam
from files import (MORNING, as_numpy, decoded, dumped, file_with, original_encoding, original_file, original_record,
                   original_snapshot, own_book, smooth_picture, unit)

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


def read(data):
    """The visitors of a file without problems."""
    visitors, _, problems = doorcam.read_known_faces(data)
    assert problems == []
    return visitors


def same_picture(jpeg, picture, apart=4):
    return np.abs(decoded(jpeg).astype(int) - picture).mean() < apart


# ---------------------------------------------------------------------------------------- files of the original


@pytest.mark.parametrize("numpy", (1, 2))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_of_the_original_loads(protocol, numpy):
    encodings, metadata = original_snapshot()
    visitors = read(original_file(3, protocol, numpy))
    assert [visitor.number for visitor in visitors] == [1, 2, 3]
    for visitor, encoding, record in zip(visitors, encodings, metadata):
        assert len(visitor.encodings) == 1 and visitor.encodings[0].dtype == np.float32
        assert np.abs(visitor.encodings[0] - unit(encoding)).max() < 1e-7
        for key in ("first_seen", "first_seen_this_interaction", "last_seen"):
            assert getattr(visitor, key) == record[key].timestamp()
        assert (visitor.seen_count, visitor.seen_frames) == (record["seen_count"], record["seen_frames"])
        assert same_picture(visitor.jpeg, record["face_image"])
        assert visitor.name == "" and not visitor.ignored and visitor.extra == {}


def test_the_names_of_both_numpys_are_what_the_test_says():
    for protocol in PROTOCOLS:
        for numpy, there, not_there in ((1, b"numpy.core.", b"numpy._core"), (2, b"numpy._core.", b"numpy.core.")):
            data = original_file(1, protocol, numpy)
            assert there in data and not_there not in data


def test_protocol_five_is_read_by_a_python_that_lacks_it(monkeypatch):
    ours, original = b"\x80\x05" + dumped(own_book())[2:], original_file(3, pickle.HIGHEST_PROTOCOL)
    monkeypatch.setattr(pickle, "HIGHEST_PROTOCOL", 4)
    assert len(read(ours)) == len(read(original)) == 3


def test_an_empty_file_of_the_original_loads():
    assert read(pickle.dumps([[], []], 4)) == []


def test_what_the_original_makes_of_our_file_loads_again():
    ours = dumped(own_book())
    encodings, metadata = pickle.loads(ours)
    metadata[0]["seen_count"] += 1
    encodings.append(original_encoding(9))
    metadata.append(original_record(9))
    visitors = read(pickle.dumps([encodings, metadata]))
    before = read(ours)
    assert [visitor.number for visitor in visitors] == [1, 2, 3, 8]  # 7 numbers had been given
    assert [visitor.name for visitor in visitors[:3]] == [visitor.name for visitor in before]
    assert visitors[0].seen_count == before[0].seen_count + 1
    assert [len(visitor.encodings) for visitor in visitors] == [2, 2, 2, 1]


# ------------------------------------------------------------------------------------------------ files of ours


def test_ours_loads_with_plain_pickle():
    book = own_book()
    encodings, metadata = pickle.loads(dumped(book))
    assert type(encodings) is list and type(metadata) is list and len(encodings) == len(metadata) == 3
    for encoding, record, visitor in zip(encodings, metadata, book.visitors.values()):
        assert type(encoding) is np.ndarray and encoding.dtype == np.float64 and encoding.shape == (128,)
        assert np.abs(encoding - doorcam.DLIB.length * unit(visitor.center())).max() < 1e-6
        assert type(record) is dict
        assert record["face_image"].shape == (150, 150, 3) and record["face_image"].dtype == np.uint8
        assert np.array_equal(record["face_image"], decoded(visitor.jpeg))
        for key in ("first_seen", "first_seen_this_interaction", "last_seen"):
            assert type(record[key]) is datetime.datetime and record[key].tzinfo is None
            assert record[key].timestamp() == getattr(visitor, key)
        assert type(record["seen_count"]) is int and type(record["seen_frames"]) is int


def test_ours_names_nothing_that_another_numpy_or_opencv_lacks():
    book = own_book()
    for visitor in book.visitors.values():  # numbers of numpy, as they come out of arithmetic with its arrays
        visitor.quality, visitor.seconds_before = np.float64(0.5), np.float32(3)
        visitor.seen_count, visitor.ignored, visitor.last_seen = np.int64(3), np.bool_(True), np.float64(1.7e9)
        book.changed.add(visitor.number)
    data = dumped(book)
    for name in (b"_core", b"numpy.core", b"multiarray", b"cv2.cv2", b"cv2.gapi"):
        assert name not in data
    assert data[:2] == b"\x80\x04"
    assert {visitor.seen_count for visitor in read(data)} == {3}


def test_everything_comes_back():
    book = own_book()
    visitors, numbers_given, problems = doorcam.read_known_faces(dumped(book))
    assert numbers_given == 7 and not problems
    for before, after in zip(book.visitors.values(), visitors):
        for key in doorcam.Visitor.__slots__:
            if key == "encodings":
                assert np.array_equal(before.encodings, after.encodings)
            elif key == "others":
                assert list(before.others) == list(after.others) == ["opencv"]
                assert np.array_equal(before.others["opencv"], after.others["opencv"])
            else:
                assert getattr(before, key) == getattr(after, key), key


def test_a_picture_is_never_compressed_a_second_time():
    data = dumped(own_book())
    for _ in range(3):
        data_before, data = data, dumped(doorcam.Book(doorcam.DLIB, read(data), 7))
        assert data == data_before


def test_a_visitor_without_picture():
    book = own_book(1)
    book.visitors[1].jpeg = None
    book.changed.add(1)
    assert pickle.loads(dumped(book))[1][0]["face_image"] is None
    visitor = read(dumped(book))[0]
    assert visitor.jpeg is None
    assert doorcam.picture_of(visitor).shape == (150, 150, 3)


def test_the_highest_number_given_outlives_its_visitor():
    book = own_book()
    book.forget(3)
    book = doorcam.Book(doorcam.DLIB, *doorcam.read_known_faces(dumped(book))[:2])
    assert book.register_new_face(original_encoding(5), 0).number == 8


def test_numbers_go_on_in_a_book_that_was_emptied():
    book = own_book()
    for number in (1, 2, 3):
        book.forget(number)
    data = dumped(book)
    assert pickle.loads(data) == [[], []]
    book = doorcam.Book(doorcam.DLIB, *doorcam.read_known_faces(data)[:2])
    assert book.register_new_face(original_encoding(5), 0).number == 8


@pytest.mark.parametrize("number", (2 ** 31 - 1, 2 ** 31, 2 ** 63, 10 ** 30))
def test_after_the_largest_number_nobody_is_dropped(number):
    records = [original_record(seed, number=[number, 2, 0][seed], numbers_given=number) for seed in range(3)]
    book = doorcam.Book(doorcam.DLIB, *doorcam.read_known_faces(
        pickle.dumps([[original_encoding(seed) for seed in range(3)], records]))[:2])
    for seed in (5, 6):
        book.register_new_face(original_encoding(seed), 0)
    assert len(book) == 5 and max(book.visitors) <= 2 ** 31 - 1
    visitors = read(dumped(book))
    assert [visitor.number for visitor in visitors] == list(book.visitors)


def test_counts_that_are_too_large_drop_nobody():
    book = own_book(1)
    book.visitors[1].seen_frames = 2 ** 40
    book.changed.add(1)
    assert [visitor.number for visitor in read(dumped(book))] == [1]


def test_who_is_forgotten_was_seen_with_nobody():
    book = own_book()
    book.forget(2)
    assert book.visitors[1].apart == set()
    assert [visitor.apart for visitor in read(dumped(book))] == [set(), {4}]


def test_a_highest_number_that_is_one_of_numpy_counts():
    data = pickle.dumps([[original_encoding(0)], [original_record(0, numbers_given=np.int64(7))]])
    assert doorcam.read_known_faces(data)[1] == 8


def test_two_records_with_one_number_get_two():
    records = [original_record(seed, number=4) for seed in range(3)]
    visitors = read(pickle.dumps([[original_encoding(seed) for seed in range(3)], records]))
    assert [visitor.number for visitor in visitors] == [4, 5, 6]


def test_the_example_loads_both_ways(example_file):
    with open(example_file, "rb") as file:
        data = file.read()
    assert len(read(data)) == 2
    assert [record["face_image"].shape for record in pickle.loads(data)[1]] == [(150, 150, 3)] * 2


def test_a_record_is_made_anew_only_for_who_changed():
    book = own_book(3)
    before = book.snapshot()
    doorcam.Visits(book).see(book.visitors[2], 2e9, 2e9)
    after = book.snapshot()
    assert [one is other for one, other in zip(before[1], after[1])] == [True, False, True]


def test_loading_makes_the_records_that_the_first_save_would_wait_for(tmp_path, monkeypatch):
    path = str(tmp_path / "known_faces.dat")
    doorcam.save_known_faces(path, own_book().snapshot())
    book = doorcam.load_known_faces(path, doorcam.DLIB)
    monkeypatch.setattr(doorcam, "record_of", lambda *_: pytest.fail("made again"))
    assert len(book.snapshot()[0]) == 3 and not book.changed


# -------------------------------------------------------------------------------------------------- files of forks


def test_further_keys_are_kept():
    extra = {"nickname": "Postman", "tags": ["parcels", ("a", 1)], "by_hour": {7: 3, 19: 1}, "confidence": 0.5,
             "note": None, "raw": b"\x00\xff", "away": datetime.timedelta(hours=2), "when": MORNING, "good": True}
    visitor = read(file_with(**extra))[1]
    assert visitor.extra == extra
    again = read(dumped(doorcam.Book(doorcam.DLIB, [visitor])))[0]
    assert again.extra == extra
    assert pickle.loads(dumped(doorcam.Book(doorcam.DLIB, [visitor])))[1][0]["by_hour"] == {7: 3, 19: 1}


def test_further_arrays_and_numbers_of_numpy_are_kept():
    extra = {"landmarks": np.arange(136.0).reshape(68, 2), "score": np.float32(1.5), "frames": np.int64(12),
             "turned": np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(2, 0, 1),
             "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    for protocol in PROTOCOLS:
        for numpy in (1, 2):
            data = pickle.dumps([[original_encoding(0)], [original_record(0, seen_count=np.int64(5), **extra)]],
                                protocol)
            visitor = read(as_numpy(numpy, data))[0]
            assert visitor.seen_count == 5
            visitor = read(dumped(doorcam.Book(doorcam.DLIB, [visitor])))[0]
            for key, value in extra.items():
                assert np.array_equal(visitor.extra[key], value), (protocol, key)
            assert visitor.extra["turned"].shape == (4, 2, 3)


@pytest.mark.parametrize("missing", ("first_seen", "first_seen_this_interaction", "seen_count", "seen_frames",
                                     "face_image"))
@pytest.mark.parametrize("how", ("None", "absent"))
def test_a_missing_value_is_no_obstacle(missing, how):
    record = original_record(0)
    record[missing] = None
    if how == "absent":
        del record[missing]
    visitor = read(pickle.dumps([[original_encoding(0)], [record]]))[0]
    assert visitor.last_seen == record["last_seen"].timestamp()
    assert visitor.first_seen <= visitor.first_seen_this_interaction <= visitor.last_seen
    assert visitor.seen_count >= 1


@pytest.mark.parametrize("height, width, channels", ((64, 80, 3), (300, 300, 3), (150, 150, 0), (150, 150, 1),
                                                     (150, 150, 4), (1, 1, 3), (2048, 2048, 3)))
def test_pictures_of_another_shape(height, width, channels):
    picture = smooth_picture(0, height, width, channels)
    visitor = read(file_with(face_image=picture))[1]
    shown = doorcam.picture_of(visitor)
    assert shown.shape == (150, 150, 3)
    expected = cv2.resize(doorcam.to_bgr(picture), (150, 150), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("kind", ("list", "tuple", "float32", "big endian"))
def test_encodings_of_another_kind(kind):
    plain = original_encoding(1)
    encoding = {"list": list(map(float, plain)), "tuple": tuple(map(float, plain)), "float32": plain.astype("f4"),
                "big endian": plain.astype(">f8")}[kind]
    assert np.abs(read(file_with(encoding))[1].encodings[0] - unit(plain)).max() < 1e-6


def test_pictures_that_many_records_share():
    picture = smooth_picture()
    records = [original_record(seed, face_image=picture) for seed in range(20)]
    assert len(read(pickle.dumps([[original_encoding(seed) for seed in range(20)], records]))) == 20


# ---------------------------------------------------------------------------------------------- bad records, bad files

NOT_A_NUMBER = original_encoding(1)
NOT_A_NUMBER[5] = np.nan
HUGE = original_encoding(1)
HUGE[5] = 1e30


@pytest.mark.parametrize("encoding", (NOT_A_NUMBER, HUGE, HUGE * np.inf, original_encoding(1)[:127],
                                      original_encoding(1)[None], [0.1] * 127, ["0.1"] * 128, [[0.1] * 128], "text",
                                      5, {}))
def test_a_bad_encoding_is_left_out(encoding):
    check_left_out(file_with(encoding), "encoding")


def check_left_out(data, *words):
    visitors, _, problems = doorcam.read_known_faces(data)
    assert [visitor.seen_count for visitor in visitors] == [2]  # the good record
    assert len(problems) == 1 and problems[0].startswith("record 2 is left out: ")
    assert "\n" not in problems[0]
    for word in words:
        assert word in problems[0], problems


@pytest.mark.parametrize("key, value", (
    ("face_image", smooth_picture().astype(float)), ("face_image", smooth_picture(0, 1, 2049)),
    ("face_image", smooth_picture(0, 20, 20, 2)), ("face_image", np.zeros((0, 10, 3), np.uint8)),
    ("face_image", "photo.jpg"), ("face_image", np.zeros(100, np.uint8)),
    ("last_seen", "yesterday"), ("last_seen", 1.7e9), ("last_seen", datetime.datetime(1, 1, 1)),
    ("first_seen", datetime.datetime(9999, 12, 31)), ("seen_count", -1), ("seen_count", 2 ** 40), ("seen_count", "3"),
    ("seen_count", True), ("seen_frames", float("nan")), ("seen_frames", [1]), ("name", 5), ("number", -3)))
def test_a_bad_record_is_left_out(key, value):
    record = {"first_seen": value, "first_seen_this_interaction": value, "last_seen": value} \
        if key.endswith("seen") else {key: value}
    check_left_out(file_with(**record), key if not key.endswith("seen") else "seen")


@pytest.mark.parametrize("metadata", (None, [], "text", 5, original_encoding(0)))
def test_a_record_that_is_no_dict_is_left_out(metadata):
    check_left_out(pickle.dumps([[original_encoding(0), original_encoding(1)], [original_record(0), metadata]]))


@pytest.mark.parametrize("value", (
    [], [[]], [[], [], []], [[1], []], [{}, {}], "text", None, 5, {"a": 1}, (1, 2), "ab",
    [original_encoding(0), original_record(0)]))
def test_another_pickle_is_refused(value):
    with pytest.raises(ValueError):
        doorcam.read_known_faces(pickle.dumps(value))


@pytest.mark.parametrize("data", (b"", b"hello world\n", b"\x00" * 1000, b"\xff\xd8\xff\xe0 a picture",
                                  b"<html></html>", b"\x80\x04", b".", b"PK\x03\x04", original_file()[:-1],
                                  original_file()[:5000]))
def test_another_file_is_refused_with_words(data):
    with pytest.raises(ValueError) as caught:
        doorcam.read_known_faces(data)
    assert " " in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_many_bad_records_make_few_lines(tmp_path, capsys):
    path = tmp_path / "known_faces.dat"
    path.write_bytes(pickle.dumps([[original_encoding(0)] * 501, [original_record(0)] + [{}] * 500]))
    assert len(doorcam.load_known_faces(str(path), doorcam.DLIB)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == doorcam.MAX_PROBLEM_LINES + 2
    assert "490 more records are left out" in lines[-2] and "kept as it was" in lines[-1]


def test_a_large_book_comes_back():
    """Every allowance of the reader is proportional to the file: 2,000 small records use most of each."""
    visitors = [doorcam.Visitor(number, [original_encoding(number).astype(np.float32)], 1.7e9, "dlib")
                for number in range(1, 2001)]
    for visitor in visitors:
        visitor.apart = set(range(1, doorcam.MAX_APART + 1))
    assert len(read(dumped(doorcam.Book(doorcam.DLIB, visitors)))) == 2000


def test_small_records_of_a_fork_come_back():
    encodings = [original_encoding(seed) for seed in range(2000)]
    metadata = [{"last_seen": MORNING, "seen": [1] * 40} for _ in encodings]
    for protocol in PROTOCOLS:
        assert len(read(pickle.dumps([encodings, metadata], protocol))) == 2000


def test_a_file_followed_by_something_else_loads():
    assert len(read(original_file() + b"junk")) == 3


def test_a_book_of_ten_thousand_both_ways(tmp_path):
    path, random = str(tmp_path / "known_faces.dat"), np.random.RandomState(1)
    jpeg = doorcam.to_jpeg(smooth_picture(1, 150, 150))
    visitors = [doorcam.Visitor(number, [unit(one) for one in random.normal(0, 0.08, (5, 128))], MORNING.timestamp(),
                                "dlib", jpeg) for number in range(1, 10001)]
    doorcam.save_known_faces(path, doorcam.Book(doorcam.DLIB, visitors).snapshot())
    with open(path, "rb") as file:
        encodings, metadata = pickle.load(file)  # as the original program does
    assert len(encodings) == len(metadata) == 10000
    assert metadata[9999]["face_image"].shape == (150, 150, 3) and encodings[9999].shape == (128,)
    book = doorcam.load_known_faces(path, doorcam.DLIB)
    assert len(book) == 10000
    for number in (1, 5000, 10000):
        assert book.lookup_known_face(visitors[number - 1].encodings[3])[0][1].number == number
        assert all(map(np.array_equal, visitors[number - 1].encodings, book.visitors[number].encodings))
