"""Scripted people for tests: encodings whose distances are exact, and a door with a clock that only the test moves."""
import io
import math

import numpy as np

import doorcam

START = 1767600000.0          # s, a whole number, so that steps of STEP are exact
STEP = 0.125                  # s between two looks of a Story; a power of two, so that sums of it are exact
PEOPLE = 100                  # persons 0 to 99 have an axis of their own each; the other axes are for variations
METRICS = (doorcam.DLIB, doorcam.OPENCV)
PICTURE = np.full((doorcam.PICTURE_SIZE, doorcam.PICTURE_SIZE, 3), 90, np.uint8)


def person(number):
    """The encoding of scripted person `number`; the square root of 2 from everybody else's."""
    encoding = np.zeros(128)
    encoding[number] = 1.0
    return encoding


def aside(encoding, apart, axis=0):
    """An encoding of the length 1 exactly `apart` from this one, turned in one of 28 directions that no person lies
    in."""
    encoding, away = np.array(encoding, float), np.zeros(128)
    away[PEOPLE + axis] = 1.0
    away -= np.dot(away, encoding) * encoding
    angle = 2 * math.asin(apart / 2)
    return math.cos(angle) * encoding + math.sin(angle) * away / np.linalg.norm(away)


def apart_for(odds, book, visits=1, others=1):
    """The distance at which two entries of so many visits have these odds in a book: log_odds() the other way round."""
    metric, count = book.metric, len(book)
    spread = 1.0 / visits + 1.0 / others
    ratio = odds + math.log(count + doorcam.STRANGERS)
    square = (2 * (metric.prior - ratio) / metric.dimensions - math.log(spread)) * metric.within * spread
    return math.sqrt(square / book.likeness())


def box_at(x, y=200, width=120):
    """The box of a face with its middle at x, y."""
    half = width // 2
    return (y - half, x + half, y + half, x - half)


def face(encoding, x=300, y=200, width=120, frontal=1.0, sharp=200.0, score=1.0):
    """A good sighting, as the recognition process would answer it."""
    return doorcam.Face(box_at(x, y, width), score, frontal, sharp, encoding, PICTURE)


def turns(house, frames):
    """The turns of a House's main loop with one door from (frame, time); (None, time) without a new frame."""
    for frame, now in frames:
        yield [] if frame is None else [(house.doors[0], frame)], now


class Story:
    """Feeds a Door with scripted faces as the main loop does, and keeps what happened.

    now: the time of the newest look, s; events: [(kind, number of the visitor)]; told: the Events themselves.
    """

    def __init__(self, book=None, now=START, metric=doorcam.DLIB, tolerance=None, gap=doorcam.VISIT_GAP):
        self.book = doorcam.Book(metric) if book is None else book
        self.book.tolerance, self.book.gap = tolerance, gap
        self.visits = doorcam.Visits(self.book)
        self.door = doorcam.Door(self.book, self.visits, doorcam.Place())
        self.now, self.told = now, []

    @property
    def events(self):
        return [(event.kind, event.visitor) for event in self.told]

    def look(self, faces, now, drawn=True):
        """One turn of the main loop at `now` with these faces in the picture, which is drawn or not."""
        self.now = now
        self.door.looked_at = now
        new = self.door.recognize(doorcam.Look(None, 1.0, True, []), list(faces))
        new += self.end(now)
        self.told += new
        if drawn:
            self.door.marks(now)
        return new

    def end(self, now, all_of_them=False):
        """Ends the tracks and visits that are over at `now`; the Events that follow."""
        new = self.door.end_tracks(now, all_of_them)
        return new + self.visits.end(self.door.tracks, now, all_of_them)

    def show(self, *faces, **options):
        """The faces in the picture for `seconds` or `looks`, the first look one STEP from now."""
        looks = options.get("looks") or int(round(options.get("seconds", 2.0) / STEP))
        new = []
        for _ in range(looks):
            new += self.look(faces, self.now + STEP, options.get("drawn", True))
        return new

    def nobody(self, seconds):
        """Nobody in the picture until `seconds` from now."""
        until, new = self.now + seconds, []
        while self.now < until:
            step = 1.0 if until - self.now > 1.0 else until - self.now
            new += self.look([], self.now + step)
        return new

    def arrive(self, faces, seconds_after, **options):
        """The faces are first seen exactly `seconds_after` the last look, and stay."""
        first = self.now + seconds_after
        self.nobody(seconds_after - STEP)
        self.look(faces, first)
        return self.show(*faces, **options)

    def set_clock(self, seconds):
        """Somebody sets the clock: the loop notices and tells the door."""
        self.now += seconds
        self.door.shift(seconds)
        self.visits.shift(seconds)

    def lose(self, moment):
        """There has been no picture since `moment`: the loop notices and tells the door."""
        self.door.lose(moment)
        self.visits.lose(moment)

    def finish(self, live=False):
        """The end of the program; live: before a camera, where visits may go on when it starts again."""
        new = self.door.end_tracks(self.now, True) + self.visits.end([], self.now, not live)
        self.told += new
        return new

    def visitors(self):
        """The numbers of the visitors whose faces are in the picture now."""
        return [track.visitor for track in self.door.tracks if track.visitor and not track.missed]

    def labels(self):
        return [mark.label for mark in self.door.marks(self.now)]


def written_and_read(book):
    """The Book after its way through the file's format."""
    file = io.BytesIO()
    doorcam.dump_known_faces(book.snapshot(), file)
    visitors, numbers_given, problems = doorcam.read_known_faces(file.getvalue())
    assert not problems
    return doorcam.Book(book.metric, visitors, numbers_given)


def book_of(*encodings, **options):
    """A Book with a visitor for each encoding (or list of encodings), last seen an hour before START."""
    book = doorcam.Book(options.get("metric", doorcam.DLIB))
    for one in encodings:
        several = one if isinstance(one, list) else [one]
        visitor = book.register_new_face(several[0], options.get("now", START - 3600))
        for further in several[1:]:
            book.learn(visitor, further)
    return book
