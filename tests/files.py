"""Known-faces files for tests: as the original program and its forks write them, and as doorcam does."""
import datetime
import io
import pickle
import pickletools

import cv2
import numpy as np

import doorcam

MORNING = datetime.datetime(2026, 1, 5, 9, 30)


def smooth_picture(seed=0, height=150, width=150, channels=3):
    """A picture without noise, which JPEG changes little. channels 0: grey, without a third axis."""
    across, down = np.meshgrid(np.linspace(0, 200, width), np.linspace(0, 50, height))
    grey = (across + down) / 250.0 * (200 - 10 * (seed % 10))
    return grey.astype(np.uint8) if not channels else np.stack([grey] * channels, axis=2).astype(np.uint8)


def original_encoding(seed):
    return np.random.RandomState(seed).normal(0, 0.08, 128)


def unit(encoding):
    """As doorcam keeps an encoding: of the length 1."""
    return np.float32(encoding / np.linalg.norm(encoding))


def original_record(seed=0, **changes):
    """A metadata record as the original makes it, with changes or further keys."""
    record = {"first_seen": MORNING + datetime.timedelta(hours=seed),
              "first_seen_this_interaction": MORNING + datetime.timedelta(days=1, hours=seed),
              "last_seen": MORNING + datetime.timedelta(days=1, hours=seed, seconds=30, microseconds=250000),
              "seen_count": 2 + seed, "seen_frames": 40 + seed, "face_image": smooth_picture(seed)}
    record.update(changes)
    return record


def original_snapshot(count=3):
    """What the original hands to pickle.dump: [encodings, metadata]."""
    return [[original_encoding(seed) for seed in range(count)], [original_record(seed) for seed in range(count)]]


def unframed(data):
    """A pickle without its frames, so that texts in it may be replaced by some of another length."""
    places = [place for code, _, place in pickletools.genops(data) if code.name == "FRAME"]
    for place in reversed(places):
        data = data[:place] + data[place + 9:]
    return data


def as_numpy(version, data):
    """A pickle as numpy 1 or 2 would have written it: they call the same insides numpy.core and numpy._core."""
    names = ["numpy.core", "numpy._core"]
    if version == 2:
        names.reverse()
    new, old = names
    data = unframed(data)
    for module in (".multiarray", ".numeric"):
        before, after = (old + module).encode(), (new + module).encode()
        data = data.replace(b"c" + before + b"\n", b"c" + after + b"\n")
        for code, size in ((b"\x8c", 1), (b"X", 4)):  # SHORT_BINUNICODE, BINUNICODE
            data = data.replace(code + len(before).to_bytes(size, "little") + before,
                                code + len(after).to_bytes(size, "little") + after)
    return data


def original_file(count=3, protocol=4, numpy=None):
    data = pickle.dumps(original_snapshot(count), protocol)
    return data if numpy is None else as_numpy(numpy, data)


def file_with(encoding=None, **changes):
    """An original's file with one good record and one with changes."""
    encodings, metadata = original_snapshot(1)
    encodings.append(original_encoding(1) if encoding is None else encoding)
    metadata.append(original_record(1, **changes))
    return pickle.dumps([encodings, metadata], 4)


def own_book(count=3, size=150):
    """A Book with everything that doorcam adds."""
    visitors = []
    for seed in range(count):
        encodings = [unit(original_encoding(10 * seed + one)) for one in range(1, 5)]
        visitor = doorcam.Visitor(seed + 1, encodings[:2], MORNING.timestamp(), "dlib",
                                  doorcam.to_jpeg(smooth_picture(seed, size, size)))
        visitor.first_seen_this_interaction += 86400
        visitor.last_seen += 86430
        visitor.seen_count, visitor.seen_frames, visitor.quality = 2 + seed, 40, 0.5
        visitor.name, visitor.ignored = ("Мария", "", "O'Hara")[seed % 3], seed % 3 == 1
        visitor.seconds_before, visitor.longest, visitor.apart = 61.5, 61.5, {seed + 2}
        visitor.others = {"opencv": encodings[2:]}
        visitors.append(visitor)
    return doorcam.Book(doorcam.DLIB, visitors, 7)


def book_with_a_past():
    """A small Book whose visitors have all that is kept to go back to."""
    book = own_book(3, 16)
    for visitor in book.visitors.values():
        visitor.begin_visit(visitor.last_seen + 1000)
        visitor.last_seen += 1010
        visitor.latest = unit(original_encoding(50 + visitor.number))
        visitor.origins = {doorcam.mark_of(one): doorcam.Origin(1.0, 2.0, False) for one in visitor.encodings}
    book.merge(2, 1)
    book.tell_apart(book.visitors[1], book.visitors[3])
    return book


def dumped(book):
    """The bytes that doorcam writes for a Book."""
    file = io.BytesIO()
    doorcam.dump_known_faces(book.snapshot(), file)
    return file.getvalue()


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
