#!/usr/bin/env python3
"""Measures doorcam with each engine beside the loop of the original program: recognition, speed, range, boxes, scale.

  benchmark.py recognition FOLDER   who is greeted rightly, on a folder of clips or pictures: person/visit.mp4
  benchmark.py life FILE.npz        the same for encodings of one engine that were computed before; it takes seconds
  benchmark.py relatives FILE.npz   how often a child is greeted as a parent whom the book knows
  benchmark.py speed                frames, gaps, CPU, memory, waiting times on a live camera; how long one look takes
  benchmark.py doors                several live cameras before one doorcam: frames, gaps, CPU, memory, waiting times
  benchmark.py range                how small a face, and how far away a visitor, is found and known
  benchmark.py boxes                how well the boxes keep up with a face that walks
  benchmark.py scale                books of 100 to 100,000 visitors

Recognition, speed and range take --engine dlib or --engine opencv; without it both are measured. Run it on a machine
that does nothing else, with what the tests need (Xvfb) and, for opencv, its models.
"""
import argparse
import ast
import contextlib
import copy
import datetime
import functools
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import pickle
import random
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest.mock
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import doorcam  # noqa: E402  (sets the threads of OpenBLAS before anything loads it)
import cv2  # noqa: E402
import numpy as np  # noqa: E402
from helpers import STEP, Story, book_of, face, turns  # noqa: E402
from processes import EXAMPLE, PROGRAM, environment, process, xvfb  # noqa: E402

ENGINES = {"dlib": ("dlib",), "opencv": ("opencv",), "both": ("dlib", "opencv")}    # what --engine asks for


def watch_options(engine):
    """doorcam's options for an engine, without a window, and with a book that the program keeps to itself."""
    return doorcam.make_parser().parse_args(["--headless", "--source", "demo", "--engine", engine])


@functools.lru_cache(None)
def engine_named(name):
    """(engine, its Metric), working on one thread as in the recognition process."""
    cv2.setNumThreads(1)
    make_engine, metric, _ = doorcam.engine_of(watch_options(name))
    return make_engine(), metric


def print_table(columns, rows):
    """rows: (name, a value for each column); NaN where there is none."""
    first, widths = max(len(name) for name, _ in rows) + 1, [max(10, len(name) + 1) for name in columns]
    for name, values in [("", columns)] + rows:
        print("%-*s" % (first, name) + "".join("%*s" % (width, cell(value)) for width, value in zip(widths, values)),
              flush=True)


def cell(value):
    if isinstance(value, str):
        return value
    return "-" if math.isnan(value) else "%.3g" % value if abs(value) < 1000 else "%.0f" % value


# ------------------------------------------------------------------------------------------------------- clips
#
# A visit is a clip of one person. A picture is made into one: 1.2 s at 10 frames a second, in which the picture moves,
# turns, scales and changes brightness a little before a plain, noisy background.

WIDTH, HEIGHT = 640, 480      # pixels of a clip made from a picture
CLIP_FRAMES, CLIP_RATE = 12, 10
FACE_WIDTHS = (90, 130)       # pixels of the frame
FACE_SWELL = 0.04             # a face grows and shrinks by this share during a clip
NOISE = 4.0                   # levels of 255, standard deviation
EMPTY_SECONDS = 3.0           # of nobody after each clip
LEAD_SECONDS = 0.5            # of nobody before it
PICTURES, VIDEOS = (".jpg", ".jpeg", ".png"), (".mp4", ".mkv", ".avi", ".gif")


def find_visits(folder, people):
    """{person: [path]} of the `people` persons with the most visits, at most all."""
    found = {}
    for person in sorted(os.listdir(folder)):
        if os.path.isdir(os.path.join(folder, person)):
            paths = [os.path.join(folder, person, name) for name in sorted(os.listdir(os.path.join(folder, person)))
                     if name.lower().endswith(PICTURES + VIDEOS)]
            if paths:
                found[person] = paths
    kept = sorted(found, key=lambda person: (-len(found[person]), person))[:people]
    return {person: found[person] for person in kept}


def largest_face(picture):
    """(middle x, middle y, width) of the largest face in a BGR picture, None without one."""
    import face_recognition
    factor = min(1.0, 800.0 / max(picture.shape[:2]))
    rgb = cv2.cvtColor(doorcam.shrink(picture, factor), cv2.COLOR_BGR2RGB)
    boxes = face_recognition.face_locations(rgb)
    if not boxes:
        return None
    top, right, bottom, left = max(boxes, key=doorcam.box_width)
    return (left + right) / 2 / factor, (top + bottom) / 2 / factor, (right - left) / factor


def picture_clip(picture, seed):
    """([frame], [empty frame]) of a clip made from a BGR picture; ValueError if there is no face in it."""
    face = largest_face(picture)
    if face is None:
        raise ValueError("no face found in it")
    rng = np.random.RandomState(seed)
    low, high = (width * (1 + side * FACE_SWELL) for width, side in zip(FACE_WIDTHS, (1, -1)))
    scale = rng.uniform(low, high) / face[2]
    step = min(1.0, 1.2 * scale)  # most of the shrinking is done by INTER_AREA, for warpAffine has no such filter
    picture, face, scale = doorcam.shrink(picture, step), [side * step for side in face], scale / step
    background = np.empty((HEIGHT, WIDTH, 3), np.float32)
    background[:] = rng.uniform(60, 200, 3)
    start, drift = rng.uniform((220, 200), (420, 280)), rng.uniform(-30, 30, 2)
    phases, light = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.88, 1.12, 2)
    frames = []
    for index in range(CLIP_FRAMES):
        share = index / (CLIP_FRAMES - 1)
        swing = np.sin(phases + share * np.pi * 2)
        place = start + drift * share + 4 * swing[:2]
        matrix = cv2.getRotationMatrix2D(tuple(face[:2]), 2.5 * swing[2], scale * (1 + FACE_SWELL * swing[1]))
        matrix[:, 2] += place - face[:2]
        frame = cv2.warpAffine(picture.astype(np.float32), matrix, (WIDTH, HEIGHT), dst=background.copy(),
                               flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)
        frames.append(noisy(frame * (light[0] + (light[1] - light[0]) * share), rng))
    return frames, [noisy(background * light[0], rng) for _ in range(3)]


def noisy(frame, rng):
    return np.clip(frame + rng.normal(0, NOISE, frame.shape), 0, 255).astype(np.uint8)


def video_clip(path):
    """([frame], [empty frame], seconds between two frames) of a video thinned to about 10 frames a second."""
    capture = cv2.VideoCapture(path)
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 0.5 <= rate <= 1000 else doorcam.DEFAULT_RATE
    stride, frames = max(1, int(round(rate / CLIP_RATE))), []
    while True:
        good, frame = capture.read()
        if not good:
            break
        frames.append(doorcam.at_most(frame, doorcam.LOOK_WIDTH))
    capture.release()
    if not frames:
        raise ValueError("no frames in it")
    return frames[::stride], [np.full_like(frames[0], 128)], stride / rate


# ------------------------------------------------------------------------------------------------------- cache
#
# An engine's work on a clip does not depend on the order in which people come: it is done once and kept. What the door
# asks for does (look everywhere, only near the faces that it follows, or for small faces; encode or not), so every kind
# of look is kept, with all encodings, and a replay gives what the door asks for. It differs from the real thing in one
# way: the place that the engine searches near a followed face is taken from the face in that frame and not from where
# the door expected it, and dlib does not look closer where something moved. --exact runs the engine for real.


def read_clip(path, seed):
    """A visit as a dict: frames and empty ones (JPEG, as cameras send them), seconds from frame to frame."""
    if path.lower().endswith(VIDEOS):
        frames, empty, step = video_clip(path)
    else:
        picture = cv2.imread(path)
        if picture is None:
            raise ValueError("no picture")
        name = "/".join(path.split(os.sep)[-2:])
        frames, empty = picture_clip(picture, zlib.crc32(("%s %d" % (name, seed)).encode()))
        step = 1 / CLIP_RATE
    return {"frames": [to_jpeg(frame) for frame in frames], "empty": [to_jpeg(frame) for frame in empty], "step": step}


def to_jpeg(frame, quality=92):
    return cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]


def from_jpeg(jpeg):
    return cv2.imdecode(jpeg, cv2.IMREAD_COLOR)


def see_clip(clip, finder):
    """What "original" or an engine finds, for each frame of a clip; an engine's Faces by the kind of look."""
    seen, boxes = [], []
    for frame in map(from_jpeg, clip["frames"]):
        look = doorcam.Look(frame, doorcam.default_scale(frame), True, [])
        if finder == "original":
            seen.append(original_faces(frame, look.scale))
            continue
        engine = engine_named(finder)[0]
        whole = engine.faces(look)
        far = engine.faces(look._replace(whole=False, far=True))
        boxes = [face.box for face in doorcam.one_each(whole + far)] or boxes
        near = engine.faces(look._replace(whole=False, regions=[(box, True) for box in boxes]))
        seen.append({"whole": whole, "near": near, "far": far})
    return seen


def original_faces(frame, scale):
    """[(width, encoding)] as the original finds them, in the small picture."""
    import face_recognition
    rgb = cv2.cvtColor(doorcam.shrink(frame, scale), cv2.COLOR_BGR2RGB)
    boxes = face_recognition.face_locations(rgb)
    return [(doorcam.box_width(box), encoding)
            for box, encoding in zip(boxes, face_recognition.face_encodings(rgb, boxes))]


def cached(folder, stamp, make):
    """What make() gives, from the folder if it was made there under this stamp before."""
    name = os.path.join(folder, hashlib.sha1(stamp.encode()).hexdigest()[:20] + ".pickle")
    with contextlib.suppress(OSError, EOFError):
        with open(name, "rb") as file:
            return pickle.load(file)
    made = make()
    with open("%s.%d" % (name, os.getpid()), "wb") as file:
        pickle.dump(made, file)
    os.rename(file.name, name)
    return made


def cached_clip(task):
    """The clip of (path, seed, cache, finders), with what each of the finders sees in it; None if nobody is in it."""
    path, seed, cache, finders = task
    stamp = "%s %s %s" % (os.path.abspath(path), os.path.getmtime(path), seed)
    try:
        clip = cached(cache, stamp, lambda: read_clip(path, seed))
    except ValueError as error:
        print("%s is left out: %s" % (path, error), file=sys.stderr)
        return None
    for finder in finders:
        clip[finder] = cached(cache, stamp + " " + finder, lambda: see_clip(clip, finder))
    return clip


def load_clips(visits, options):
    """[(person, path, clip)] of all visits, made by several processes where they are not in the cache.

    They are seen by options.columns, or by nobody if the engines run for each look.
    """
    os.makedirs(options.cache, exist_ok=True)
    named = [(person, path) for person, paths in visits.items() for path in paths]
    finders = () if options.exact else options.columns
    tasks = [(path, options.seed, options.cache, finders) for _, path in named]
    clips = []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for count, clip in enumerate(pool.imap(cached_clip, tasks), 1):
            clips.append(clip)
            if sys.stderr.isatty() or count % 50 == 0:
                print("clip %d of %d" % (count, len(tasks)), file=sys.stderr)
    return [(person, path, clip) for (person, path), clip in zip(named, clips) if clip]


# ------------------------------------------------------------------------------------------------- recognition


class InOneProcess:
    """Stands for doorcam's Recognizer: answers each look at once."""
    description = error = None
    answers = 0

    def __init__(self):
        self._look = None

    def idle(self):
        return True

    def offer(self, look):
        self._look = look

    def answer(self, wait=False):
        look, self._look = self._look, None
        return (look, self.faces(look)) if look else None

    def notice(self):
        return None

    def at(self, clip, index):
        """The next frame is that of a clip, or with None an empty one."""

    def close(self):
        pass


class ExactRecognizer(InOneProcess):
    def __init__(self, engine):
        super().__init__()
        self.faces = engine_named(engine)[0].faces


class CachedRecognizer(InOneProcess):
    """Answers from what the engine found in the clip's frame before, as the look asks for it."""

    def __init__(self, engine):
        super().__init__()
        self._engine = engine

    def at(self, clip, index):
        self._seen = clip[self._engine][index] if clip else {"whole": [], "near": [], "far": []}

    def faces(self, look):
        found = [face for face in self._seen["near"] if any(reaches(box, face.box) for box, _ in look.regions)]
        found += self._seen["whole"] if look.whole else []
        found += self._seen["far"] if look.far else []
        return [face if doorcam.must_encode(face.box, look.regions) else face._replace(encoding=None)
                for face in doorcam.one_each(found)]


def reaches(region, box):
    """Whether a look near `region` finds a face in `box`."""
    margin = doorcam.NEAR_MARGIN * doorcam.box_width(region)
    return (region[0] - margin <= box[0] and box[1] <= region[1] + margin
            and box[2] <= region[2] + margin and region[3] - margin <= box[3])


class Visit:
    """What happened in one visit: the person and path of the clip, and what the program said."""

    def __init__(self, person, path, began, returns):
        self.person, self.path, self.began, self.returns = person, path, began, returns
        self.new, self.wrong, self.right_after, self.labels = False, set(), None, []

    def label(self, number, owner, now):
        """In this frame the face is labelled as the visitor `number`, who is the person `owner`."""
        if owner != self.person:
            self.wrong.add(owner)
        elif self.right_after is None:
            self.right_after = now - self.began
        self.labels.append(number)

    def flips(self):
        return sum(one != other for one, other in zip(self.labels, self.labels[1:]))

    def faults(self):
        return (["greeted as %s" % owner for owner in sorted(self.wrong)] + ["called new"] * (self.new and self.returns)
                + ["missed"] * (not self.labels))


class Replay(doorcam.House):
    """doorcam's own loop on a stream of visits, with a scripted clock; it notes what the program says."""

    def __init__(self, recognizer, engine):
        with unittest.mock.patch.object(doorcam, "Recognizer", lambda *_, **__: recognizer):
            super().__init__(watch_options(engine), types.SimpleNamespace(asked=False))
        self.begin(doorcam.Book(self.book.metric))
        self.view.show, self.telling.tell = self.note, self.tell
        self.owners, self.stays = {}, []        # number: person; the Visits of the stream

    def stream(self, clips):
        """(frame, time) of all visits, one after the other."""
        now, been = 1.7e9, set()
        for person, path, clip in clips:
            empty = [from_jpeg(jpeg) for jpeg in clip["empty"]]
            before, after = (int(seconds / clip["step"]) for seconds in (LEAD_SECONDS, EMPTY_SECONDS))
            self.stays.append(Visit(person, path, now + before * clip["step"], person in been))
            been.add(person)
            for index in range(-before, len(clip["frames"]) + after):
                seen = 0 <= index < len(clip["frames"])
                self.recognition.recognizer.at(clip if seen else None, index)
                yield from_jpeg(clip["frames"][index]) if seen else empty[index % len(empty)], now
                now += clip["step"]
            now += self.options.visit_gap + 60

    def tell(self, events, *_):
        """Instead of saying what happened, notes it."""
        for event in events:
            number = event.visitor
            if event.kind == "new":
                self.owners[number] = self.stays[-1].person
                self.stays[-1].new = True
            if event.kind != "left":
                self.stays[-1].label(number, self.owners[self.book[number].number], self.now)

    def find_faces(self, frames, now):
        self.now = now
        return super().find_faces(frames, now)

    def note(self, *_, **__):
        """Instead of drawing, notes who the largest face in view is said to be."""
        in_view = [track for track in self.doors[0].tracks if self.now - track.seen < doorcam.BOX_LOST]
        if in_view:
            number = max(in_view, key=lambda track: doorcam.box_width(track.box)).visitor
            visit = self.stays[-1]
            visit.labels = [self.book[number].number for number in visit.labels]
            if number in self.owners:
                visit.label(number, self.owners[number], self.now)
        return []


def replay_doorcam(clips, engine, exact):
    replay = Replay(ExactRecognizer(engine) if exact else CachedRecognizer(engine), engine)
    replay.watch_the_door(turns(replay, replay.stream(clips)))
    replay.finish_visits()
    joined = sum(replay.owners[number] != replay.owners[into] for number, into in replay.book.joined.items())
    return dict(figures(replay.stays, len(replay.book)), **{"entries of two people joined": joined}), replay.stays


def replay_original(clips):
    """The original's rule: the nearest encoding under 0.65, frame by frame; who has none is enrolled at once."""
    known, owners, visits, been = np.empty((0, 128)), [], [], set()
    for person, path, clip in clips:
        visit = Visit(person, path, 0.0, person in been)
        visits.append(visit)
        been.add(person)
        for index, faces in enumerate(clip["original"]):
            for _, encoding in sorted(faces, key=lambda face: face[0]):  # the largest last
                distances = np.linalg.norm(known - encoding, axis=1)
                number = int(np.argmin(distances)) if len(known) else -1
                if number < 0 or distances[number] >= 0.65:
                    known, number = np.vstack([known, encoding]), len(known)
                    owners.append(person)
                    visit.new = True
                visit.label(number, owners[number], index * clip["step"])
    return figures(visits, len(owners)), visits


def figures(visits, visitors):
    """{name: value} of one order."""
    def share(kind, of):
        of = list(of)
        return 100.0 * sum(1 for visit in of if kind(visit)) / max(1, len(of))
    returns = [visit for visit in visits if visit.returns]
    waits = [visit.right_after for visit in visits if visit.right_after is not None] or [math.nan]
    people = len({visit.person for visit in visits})
    return {"visitors a person": visitors / max(1, people),
            "visits greeted as somebody else, %": share(lambda visit: visit.wrong, visits),
            "first visits greeted as somebody else, %":
                share(lambda visit: visit.wrong, (visit for visit in visits if not visit.returns)),
            "returns called new, %": share(lambda visit: visit.new, returns),
            "missed (never decided), %": share(lambda visit: not visit.labels, visits),
            "label flips a visit": sum(visit.flips() for visit in visits) / max(1, len(visits)),
            "s to the right label, mean": float(np.mean(waits)),
            "s to the right label, 95 %": float(np.percentile(waits, 95))}


_shared = {}    # what every process of the pool needs; filled before they are forked


def replay_order(order):
    """([figures] of options.columns, [line about a visit]) of one order."""
    clips, options = list(_shared["clips"]), _shared["options"]
    random.Random("%d %d" % (options.seed, order)).shuffle(clips)
    columns, lines = [], []
    for name in options.columns:
        column, visits = replay_original(clips) if name == "original" else replay_doorcam(clips, name, options.exact)
        columns.append(column)
        lines += ["%s, order %d: %s %s" % (name, order, visit.path, ", ".join(visit.faults()))
                  for visit in visits if name != "original" and visit.faults()]
    return columns, lines


def recognition(options):
    """Who is greeted rightly, beside the original's rule; the mean of several orders."""
    options.columns = ENGINES[options.engine] + (() if options.exact else ("original",))
    clips = load_clips(find_visits(options.folder, options.people), options)
    if not clips:
        sys.exit("%s holds no person/visit.mp4 or .jpg with a face" % options.folder)
    _shared.update(clips=clips, options=options)
    with multiprocessing.get_context("fork").Pool(min(options.jobs, options.orders)) as pool:
        results = pool.map(replay_order, range(options.orders), chunksize=1)
    people = {person for person, _, _ in clips}
    print("%d people, %d visits, of which %d returns; mean of %d orders"
          % (len(people), len(clips), len(clips) - len(people), options.orders))
    columns = list(zip(*[columns for columns, _ in results]))
    print_table(options.columns, [(row, [np.mean([one.get(row, math.nan) for one in column]) for column in columns])
                                  for row in columns[0][0]])
    if options.details:
        print("\n".join(line for _, lines in results for line in lines))


# -------------------------------------------------------------------------------------------------------- life

LOOKS = 12                    # in which somebody is seen at a visit, from the encodings there are, again and again


def load_visits(path, name, people, each, order):
    """[(person, [encodings of one visit])] in a random order, of an .npz with `name` (visits x sightings x 128, NaN
    where there is none) and `name`_person; of so many people who have `each` visits or more, 0 for all."""
    with np.load(path) as data:
        visits, owners = data[name].astype(np.float64), data[name + "_person"].tolist()
    chance, by_person = random.Random(order), {}
    for owner, visit in zip(owners, visits):
        sightings = [one / np.linalg.norm(one) for one in visit if np.all(np.isfinite(one))]
        if sightings:
            by_person.setdefault(owner, []).append(sightings)
    chosen = sorted(owner for owner in by_person if len(by_person[owner]) >= max(1, each))
    chosen = chance.sample(chosen, people) if people else chosen
    stream = [(owner, visit) for owner in chosen for visit in by_person[owner][:each or None]]
    chance.shuffle(stream)
    return stream


def by_night(stream, path, name, share, order):
    """The stream with half of the returns by night. An .npz has in `night` (people x sightings x 128), `night_person`
    one picture of each that was made into one by night, from the last of the person's in `name`: what that does to
    somebody's encodings is done to a return's, or a `share` of it."""
    with np.load(path) as data:
        nights, days = [data[one].astype(np.float64) for one in ("night", name)]
        last = {owner: index for index, owner in enumerate(data[name + "_person"].tolist())}
        days = days[[last[owner] for owner in data["night_person"].tolist()]]
    changes = [night - day for night, day in zip(of_length_1(nights), of_length_1(days))
               if np.all(np.isfinite(night)) and np.all(np.isfinite(day))]
    first = {person: index for index, (person, _) in reversed(list(enumerate(stream)))}
    returns = [index for index, (person, _) in enumerate(stream) if first[person] != index]
    chance, stream = random.Random("night %d" % order), list(stream)
    for index in chance.sample(returns, len(returns) // 2):
        person, sightings = stream[index]
        stream[index] = person, [of_length_1(one + share * change)
                                 for one, change in zip(sightings, chance.choice(changes))]
    return stream


def of_length_1(encodings):
    with np.errstate(invalid="ignore"):
        return encodings / np.linalg.norm(encodings, axis=-1, keepdims=True)


def live_through(stream, metric):
    """{row: value} of visits one after the other at a Door."""
    story = Story(doorcam.Book(metric))
    owners, met, wrong, missed, taken_back = {}, set(), 0, 0, 0
    for person, sightings in stream:
        told, before = len(story.told), dict(owners)
        for look in range(LOOKS):
            story.look([face(sightings[look % len(sightings)])], story.now + STEP)
        story.nobody(doorcam.VISIT_GAP + 1)
        kinds = [(event.kind, event.visitor) for event in story.told[told:]]
        owners.update({number: person for kind, number in kinds if kind == "new"})
        taken_back += sum(kind == "mistaken" for kind, _ in kinds)
        greeted = [number for kind, number in kinds if kind == "returned" and ("mistaken", number) not in kinds]
        wrong += any(before.get(number) != person for number in greeted)
        missed += person in met and not greeted
        met.add(person)
    mixed = sum(owners[number] != owners[story.book[number].number] for number in story.book.joined)
    return {"visits greeted as somebody else, %": 100.0 * wrong / len(stream),
            "returns not greeted as known, %": 100.0 * missed / max(1, len(stream) - len(met)),
            "names taken back, %": 100.0 * taken_back / len(stream),
            "visitors a person": len(story.book) / float(len(met)), "two people joined": mixed}


def life(options):
    """Who is greeted rightly at a Door that is shown encodings; the mean of several orders."""
    metric = {"dlib": doorcam.DLIB, "opencv": doorcam.OPENCV}[options.engine]
    streams = [load_visits(options.file, options.visits, options.people, options.each, order)
               for order in range(options.orders)]
    if options.night:
        streams = [by_night(stream, options.file, options.visits, options.night, order)
                   for order, stream in enumerate(streams)]
    results = [live_through(stream, metric) for stream in streams]
    print("%d people, %d visits; mean of %d orders" % (len({person for person, _ in streams[0]}), len(streams[0]),
                                                      options.orders))
    print_table([options.engine], [(row, [np.mean([one[row] for one in results])]) for row in results[0]])


# --------------------------------------------------------------------------------------------------- relatives


def relatives(options):
    """Who is greeted as a parent, whom the book knows from several visits, among other people's parents. There is one
    photograph of each, from which the visits are made: see visits_like."""
    metric = {"dlib": doorcam.DLIB, "opencv": doorcam.OPENCV}[options.engine]
    with np.load(options.file) as data:
        groups = groups_of(visit_means(data["photographs"]), data["photographs_person"], options.known)
        seen, parents, children = data["children"], visit_means(data["parents"]), visit_means(data["children"])
    whole = np.isfinite(parents[:, 0]) & np.isfinite(children[:, 0])
    seen, parents, children = of_length_1(seen[whole].astype(np.float64)), parents[whole], children[whole]
    cosines, rows = mean_cosines(np.sum(parents * children, axis=1), groups), []
    for size in options.visitors:
        chance, taken = random.Random(size), 0
        for place, (sightings, cosine) in options.orders * list(enumerate(zip(seen, cosines))):
            visits = visits_like(parents[place], children[place], cosine, chance.choice(groups))
            others = chance.sample([one for index, one in enumerate(parents) if index != place], size - 1)
            taken += is_greeted([one for one in sightings if np.all(np.isfinite(one))],
                                book_of(list(visits), *others, metric=metric))
        rows.append(("greeted as their parent, book of %d, %%" % size, [100.0 * taken / options.orders / len(parents)]))
    print("%d parents, known from %d visits; mean of %d books each" % (len(parents), options.known, options.orders))
    print_table([options.engine], rows)


def visit_means(visits):
    """One encoding of length 1 for each of (visits x sightings x 128); NaN where there is none."""
    return of_length_1(np.nansum(of_length_1(visits.astype(np.float64)), axis=1))


def groups_of(visits, owners, count):
    """[`count` visits of one person], of those who have as many."""
    groups = [visits[(owners == owner) & np.isfinite(visits[:, 0])][:count] for owner in np.unique(owners)]
    return [group for group in groups if len(group) == count]


def mean_cosines(cosines, groups):
    """What the cosines of pairs of photographs would be if the first of each pair were a mean of as many visits as the
    groups have: as far on average, but less scattered. How much one person's cosines to the same face scatter, the
    groups tell, by those of their pairs that are as near as relatives."""
    scatter = []
    for place, group in enumerate(groups):
        others = np.concatenate([one for index, one in enumerate(groups) if index != place])
        several = group.dot(others.T)
        near = several.mean(axis=0) > cosines.mean() - cosines.std()
        scatter += list(several.var(axis=0, ddof=1)[near]) if len(group) > 1 else []
    less = np.mean(scatter or [0.0]) * (1 - 1.0 / len(groups[0])) / cosines.var()
    return cosines.mean() + math.sqrt(max(0.0, 1 - less)) * (cosines - cosines.mean())


def visits_like(parent, child, cosine, group):
    """Visits whose mean has this cosine to the child, and which are apart from it as those of the group are."""
    aside = of_length_1(parent - parent.dot(child) * child)
    mean, axes = group.mean(axis=0), np.array([child, aside])
    apart = group - mean
    return (cosine * child + math.sqrt(max(0.0, mean.dot(mean) - cosine ** 2)) * aside
            + apart - apart.dot(axes.T).dot(axes))


def is_greeted(sightings, book):
    """Whether who is seen so is greeted as the first of the book."""
    story = Story(book)
    for look in range(LOOKS):
        story.look([face(sightings[look % len(sightings)])], story.now + STEP)
    return ("returned", min(book.visitors)) in story.events


# ------------------------------------------------------------------------------------------------------- boxes


def demo_at(rate):
    """One round of the demo as (frame, time), at another rate than its own."""
    portraits = doorcam.demo_portraits(EXAMPLE)
    with unittest.mock.patch.object(doorcam, "DEMO_RATE", rate):
        yield from doorcam.demo_frames(portraits, 0.0)


def boxes(options):
    """How well the box that is shown covers the face, when each recognition comes late, as from a live camera."""
    frames = demo_at(30)
    if options.source:
        frames = doorcam.read_recording(doorcam.parse_source(options.source), "none", 0.0)
    overlaps, walking, without, history = [], [], 0, []
    for now, marks, faces in delayed_boxes(frames, options.latency):
        for face in faces:
            best = max((doorcam.overlap(face, mark[0]) for mark in marks), default=0.0)
            overlaps += [best] if best else []
            walking += [best] if best and walks(history, face, now) else []
            without += not best
        history = (history + [(now, faces)])[-60:]
    print("overlap (IoU) of the box shown with HOG's in the same frame; each look is answered %d ms late"
          % (1e3 * options.latency))
    for name, values in (("all faces", overlaps), ("faces that walk", walking)):
        if values:
            print("%-16s %5d  mean %.3f  worst twentieth below %.3f  least %.3f"
                  % (name, len(values), np.mean(values), np.percentile(values, 5), min(values)))
    print("%-16s %5d" % ("without a box", without))


def walks(history, face, now):
    """Whether the face has moved by more than a tenth of its width in the last third of a second."""
    before = [box for moment, faces in history if 0.3 <= now - moment < 0.4 for box in faces]
    steps = [abs(box[1] + box[3] - face[1] - face[3]) / 2 for box in before if doorcam.overlap(box, face) > 0]
    return bool(steps) and min(steps) > 0.1 * doorcam.box_width(face)


def delayed_boxes(frames, latency):
    """(time, doorcam's marks, boxes that HOG finds) of each frame; a look is answered `latency` seconds later."""
    import face_recognition
    engine, door, look = doorcam.DlibEngine(), Story().door, None
    for frame, now in frames:
        scale = doorcam.default_scale(frame)
        door.follow(doorcam.small_grey(frame, scale), scale, now)
        if look is None:
            look = door.next_look(frame, scale, now)
        elif now - door.looked_at >= latency:
            door.recognize(look, engine.faces(look))
            look = None
        rgb = cv2.cvtColor(doorcam.shrink(frame, scale), cv2.COLOR_BGR2RGB)
        found = face_recognition.face_locations(rgb)
        yield now, door.marks(now), [doorcam.scale_box(box, 1 / scale) for box in found]
        door.end_tracks(now)


# ------------------------------------------------------------------------------------------------------- scale

SCALE_COLUMNS = ("look-up ms", "file MB", "save s", "gap ms", "1st save ms", "later ms", "load s", "memory MB",
                 "at most MB")
ORIGINAL_LIMIT = 10000        # visitors of the original's way: its pictures take 68 kB each
ENCODINGS = 5                 # of each visitor
LOOP_RATE = 30                # rounds a second of the loop that a save must not hold up


def scale(options):
    """Look-up, saving and loading of books of several sizes, beside the original's way."""
    print("%8s %-9s" % ("visitors", "") + "".join("%12s" % name for name in SCALE_COLUMNS))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = os.path.join(folder, "known_faces.dat")
        for size in options.sizes:
            scale_row("doorcam", size, path, write_doorcam, measure_doorcam)
            if size <= ORIGINAL_LIMIT:
                scale_row("original", size, path, write_original, measure_original)
    print("Gap: the longest time between two rounds of a loop of %d Hz that looks a face up in each round: without a\n"
          "save, around the first save after the file was loaded, and around a later one (the original saves in its\n"
          "loop). Memory: of the process with the file loaded; at most: after the saves." % LOOP_RATE)


def scale_row(name, size, path, write, measure):
    """Prints a line; the file is written and measured by processes of their own, for the sake of their memory."""
    in_own_process(write, size, path)
    figures = in_own_process(measure, size, path)
    print("%8d %-9s" % (size, name) + "".join("%12s" % ("%.*f" % (2 if one < 100 else 0, one)) for one in figures),
          flush=True)
    os.unlink(path)


def in_own_process(action, *arguments):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(action, arguments)


def some_encodings(rng, count):
    """Encodings of one person, 0.3 apart; those of two persons are 0.8 apart."""
    person = rng.normal(0, 0.05, 128)
    return [(person + rng.normal(0, 0.018, 128)).astype(np.float32) for _ in range(count)]


def some_picture(rng):
    """A picture that takes about 6 kB as a JPEG, as faces do."""
    return cv2.resize(rng.randint(0, 256, (11, 11, 3)).astype(np.uint8), (150, 150), interpolation=cv2.INTER_CUBIC)


def write_doorcam(size, path):
    rng = np.random.RandomState(1)
    jpeg, visitors = doorcam.to_jpeg(some_picture(rng)), []
    for number in range(1, size + 1):
        own = bytes(bytearray(jpeg))  # an object of its own, for pickle stores the same object only once
        visitors.append(doorcam.Visitor(number, some_encodings(rng, ENCODINGS), 1.7e9, "dlib", own))
    doorcam.save_known_faces(path, doorcam.Book(doorcam.DLIB, visitors).snapshot())


def write_original(size, path):
    rng, now = np.random.RandomState(1), datetime.datetime.now()
    encodings = [some_encodings(rng, 1)[0].astype(np.float64) for _ in range(size)]
    picture = some_picture(rng)
    metadata = [dict(first_seen=now, first_seen_this_interaction=now, last_seen=now, seen_count=1, seen_frames=1,
                     face_image=picture.copy()) for _ in range(size)]
    dump_original(path, encodings, metadata)


def dump_original(path, encodings, metadata):
    with open(path, "wb") as file:
        pickle.dump([encodings, metadata], file)


def memory():
    """MB that this process holds now, and held at most."""
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    return [int(status[name].split()[0]) / 1e3 for name in ("VmRSS", "VmHWM")]


def seconds_of(action, *arguments):
    began = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - began


def save_in_a_loop(work, save):
    """(longest gap in ms, seconds that the save took) of a loop that works, and saves in its 15th round."""
    last, longest, saved, index, saving = time.perf_counter(), 0.0, 0.0, 0, False
    while index < 30 or saving:
        if index == 15:
            began = last
            save()
        work()
        saving = threading.active_count() > 1
        saved = saved or (index >= 15 and not saving and time.perf_counter() - began)
        time.sleep(max(0.0, last + 1 / LOOP_RATE - time.perf_counter()))
        now = time.perf_counter()
        longest, last, index = max(longest, now - last), now, index + 1
    return 1e3 * longest, saved


def measure_doorcam(size, path):
    """The figures of SCALE_COLUMNS."""
    books = []
    load = seconds_of(lambda: books.append(doorcam.load_known_faces(path, doorcam.DLIB)))
    held, (book,) = memory()[0], books
    saver, faces = doorcam.Saver(path, book), [some_encodings(np.random.RandomState(2), 1)[0] for _ in range(200)]

    def save():
        book.changed.update((0, 1))  # 0: the whole file
        saver._due = 0.0
        saver.save_when_due()
    look_up = [seconds_of(book.lookup_known_face, face) for face in faces]
    gaps, saved = zip(*[save_in_a_loop(lambda: book.lookup_known_face(faces[0]), action)
                        for action in (lambda: None, save, save)])
    return [1e3 * np.median(look_up), os.path.getsize(path) / 1e6, saved[2], *gaps, load, held, memory()[1]]


def measure_original(size, path):
    """The same of the original's way: a list of encodings, and pickle."""
    def read():
        with open(path, "rb") as file:
            loaded.extend(pickle.load(file))

    def look_up(face):
        return np.linalg.norm(encodings - face, axis=1)  # face_recognition.face_distance, a list less an array
    loaded = []
    load = seconds_of(read)
    held, (encodings, metadata) = memory()[0], loaded
    face = some_encodings(np.random.RandomState(2), 1)[0]
    gaps, saved = zip(*[save_in_a_loop(lambda: look_up(face), action) for action in (
        lambda: None, *[lambda: dump_original(path, encodings, metadata)] * 2)])
    found = np.median([seconds_of(look_up, face) for _ in range(100)])
    return [1e3 * found, os.path.getsize(path) / 1e6, saved[2], *gaps, load, held, memory()[1]]


# ------------------------------------------------------------------------------------------------------- speed
#
# A camera of 1280 x 720 at 30 frames a second: JPEGs that were made before the start, served over HTTP by a process of
# their own. Like a camera it drops what is not fetched in time. Each program gets it alone, one after the other.

RATE = 30                     # frames a second
SCENES = {                    # seconds of the picture's cycle, faces, size of a portrait, sway; pixels
    "one face": (10, 1, 300, 250),
    "four faces": (10, 4, 230, 40),
    "nobody": (2, 0, 0, 0),
    "somebody comes": (12, 1, 300, 60)}  # and goes, again and again
LOOK_STRIDE = 7               # of the frames of a scene, one is used to time a look
COMES = 7.0                   # s of its cycle after which somebody is there in "somebody comes"
NOISE_720P = 2.0              # levels of 255, standard deviation
WARM_UP = 5.0                 # s after the first frame, not counted for CPU and recognitions
RATIOS = (("dlib", "original"), ("opencv", "original"), ("opencv", "dlib"))


class Scene:
    """The demo's door with portraits before it, as a camera shows it: with noise."""

    def __init__(self, width=doorcam.CAPTURE_WIDTH, height=doorcam.CAPTURE_HEIGHT):
        self.rng, self.width, self.height = np.random.RandomState(1), width, height
        self._portraits = doorcam.demo_portraits(EXAMPLE)
        self._door = cv2.resize(doorcam.draw_demo_door(), (width, height), interpolation=cv2.INTER_AREA)
        self._noise = self.rng.normal(0, NOISE_720P, (height + 64, width + 64, 3)).round().astype(np.int16)

    def frame(self, people):
        """(frame, [true box of the face]) with people: (number of the portrait, x and y of its middle, its size)."""
        frame = self._door.copy()
        boxes = [draw_portrait(frame, self._portraits[number % 2], int(x), int(y), size)
                 for number, x, y, size in people]
        down, right = self.rng.randint(0, 64, 2)
        return np.clip(frame + self._noise[down:, right:][:self.height, :self.width], 0, 255).astype(np.uint8), boxes


def draw_portrait(frame, portrait, x, y, size):
    """Draws a portrait as an ellipse with its middle at x, y. The box of its face."""
    top, left = y - size // 2, x - size // 2
    place = frame[top:top + size, left:left + size]
    mask = np.zeros((size, size, 1), np.float32)
    cv2.ellipse(mask, (size // 2, size // 2), (int(0.46 * size), size // 2), 0, 0, 360, 1.0, cv2.FILLED)
    kind = cv2.INTER_CUBIC if size > portrait.shape[0] else cv2.INTER_AREA
    place[:] = mask * cv2.resize(portrait, (size, size), interpolation=kind) + (1 - mask) * place
    return doorcam.move_box(doorcam.picture_face(place), top, left)


def scene_frames(name, first=0):
    """[JPEG] of one cycle of one of the SCENES, in which the portraits from the number `first` on sway."""
    (seconds, count, size, sway), scene, jpegs = SCENES[name], Scene(), []
    for moment in np.arange(seconds * RATE) / RATE:
        people = []
        for number in range(count if name != "somebody comes" or moment >= COMES else 0):
            x = scene.width * (number + 0.5) / count + sway * math.sin(2 * math.pi * (moment / seconds + number / 3))
            people.append((first + number, x, 330 + 12 * math.sin(2 * math.pi * (moment / 2 + number / 4)), size))
        jpegs.append(to_jpeg(scene.frame(people)[0], 85))
    return jpegs


def file_frames(path, seconds):
    """[JPEG] of the first seconds of a recording."""
    frames = doorcam.read_recording(doorcam.parse_source(path), "none", 0.0)
    return [to_jpeg(frame) for frame, _ in itertools.islice(frames, int(seconds * RATE))]


def serve_camera(jpegs, marked, pipe, rate):
    """The camera's process: tells its port, then "first" and "comes" with the time when such a frame is sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # else it would keep frames for seconds
        pipe.send(server.getsockname()[1])
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.0 200 OK\r\n"
                                   b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
                send_frames(connection, jpegs, marked, pipe, rate)


def send_frames(connection, jpegs, marked, pipe, rate):
    """Sends each frame at its time, or not at all if the one before has not been taken until then."""
    connection.setblocking(False)
    began, left = time.monotonic(), b""
    for index in itertools.count():
        number, due = index % len(jpegs), began + (index + 1) / rate
        if not index or number == marked:
            pipe.send(("comes" if index else "first", time.monotonic()))
        if not left:
            left = memoryview(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
                              % (len(jpegs[number]), jpegs[number].tobytes()))
        while left and select.select([], [connection], [], max(0.0, due - time.monotonic()))[1]:
            left = left[connection.send(left):]
        time.sleep(max(0.0, due - time.monotonic()))


@contextlib.contextmanager
def camera(jpegs, marked=None, rate=RATE):
    """(address, pipe) of a camera that is there for a while."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve_camera, args=(jpegs, marked, theirs, rate), daemon=True)
    server.start()
    try:
        yield "http://127.0.0.1:%d/" % ours.recv(), ours
    finally:
        server.kill()
        server.join()


class Tree:
    """A process and its children, looked at again and again: samples of (time, CPU seconds so far of the process and
    of the children, MB)."""

    def __init__(self, pid):
        self.pid, self.samples, self.shares = pid, [], [math.nan]   # shares: MB, what is shared counted once
        self._tick, self._page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

    def sample(self):
        stats = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/stat" % name) as file:
                stats[int(name)] = file.read().rpartition(")")[2].split()
        tree, more = set(), {self.pid}
        while more:
            tree |= more
            more = {pid for pid, stat in stats.items() if int(stat[1]) in tree} - tree
        there = [stats[pid] for pid in tree if pid in stats]
        own = sum(map(int, stats[self.pid][11:13])) if self.pid in stats else 0
        every = sum(sum(map(int, one[11:15])) for one in there)
        self.samples.append((time.monotonic(), own / self._tick, (every - own) / self._tick,
                             sum(int(one[21]) for one in there) * self._page / 1e6))
        if len(self.samples) % 10 == 0:  # seldom, for it holds up the process
            self.shares.append(sum(map(proportional_memory, tree)))

    def cpu(self, since):
        """CPU seconds a second from then on, of the process and of the children."""
        counted = [one for one in self.samples if one[0] >= since] or self.samples
        seconds, own, children = (last - first for first, last in zip(counted[0][:3], counted[-1]))
        return own / max(0.1, seconds), children / max(0.1, seconds)

    def memory(self):
        return max(one[3] for one in self.samples)


def proportional_memory(pid):
    """MB of a process, with its part of what it shares with others; 0 if it has gone."""
    with contextlib.suppress(OSError), open("/proc/%d/smaps_rollup" % pid) as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1e3
    return 0


def run_program(program, jpegs, marked, display, options):
    """Runs a program (only-read, original, or doorcam with the engine of that name) on the camera; the dict of what
    was measured."""
    with tempfile.TemporaryDirectory() as folder, camera(jpegs, marked) as (address, pipe):
        path, lines = os.path.join(folder, "figures.json"), []
        command = [sys.executable, os.path.join(HERE, "original_loop.py")]
        if program in ENGINES["both"]:
            command += ["doorcam", address, path, "--stats", "--faces", os.path.join(folder, "known_faces.dat"),
                        "--visit-gap", "3"] + options.options + ["--engine", program]
        else:
            command += [program, address, path]
        began = time.monotonic()
        with open(os.path.join(folder, "errors"), "w+") as errors, process(
                *command, env=environment(DISPLAY=display), stdout=subprocess.PIPE, stderr=errors, text=True) as child:
            threading.Thread(target=lambda: lines.extend((time.monotonic(), line) for line in child.stdout)).start()
            tree, marks, end = Tree(child.pid), [], began + 60
            while time.monotonic() < end and child.poll() is None:
                if pipe.poll(0.2):
                    marks.append(pipe.recv())
                    end = marks[0][1] + options.seconds
                tree.sample()
            child.terminate()
            child.wait(30)
            errors.seek(0)
            if not os.path.exists(path):
                sys.exit("%s did not run: %s" % (program, errors.read()[-500:]))
        time.sleep(0.2)
        with open(path) as file:
            return speed_figures(began, marks, lines, tree, **json.load(file))


def speed_figures(began, marks, lines, tree, shown, recognitions):
    """{name: value} of a run from what was noted."""
    if not shown or not marks:
        sys.exit("no frame was shown")
    gaps = 1e3 * np.diff(shown)
    stats = next((json.loads(line) for _, line in lines if line.startswith("{")), None)
    found = stats["recognitions"] if stats else len(recognitions)
    warm = shown[0] + WARM_UP
    labels = [moment for moment, line in lines if re.search(r"labelled|is new|returned", line)]
    waits = [min([label - moment for label in labels if label > moment], default=math.nan)
             for kind, moment in marks if kind == "comes" and moment < shown[-1] - 3]
    p50, p99, most = np.percentile(gaps, (50, 99, 100))
    own, children = tree.cpu(warm)
    return {"fps shown": (len(shown) - 1) / (shown[-1] - shown[0]), "gap p50, ms": p50, "gap p99, ms": p99,
            "gap max, ms": most, "recognitions a second": found / (shown[-1] - shown[0]),
            "CPU seconds a second": own + children, "  of the process with the window": own,
            "  of the rest (recognition)": children, "memory at most (RSS), MB": tree.memory(),
            "the same, shared counted once": float(np.nanmax(tree.shares)),
            "start to first frame, s": shown[0] - began, "camera's first to first shown, s": shown[0] - marks[0][1],
            "comes to label, mean s": float(np.mean(waits)) if waits else math.nan,
            "comes to label, max s": max(waits, default=math.nan)}


def speed(options):
    """A live camera through doorcam, the original's loop, and one that only reads and shows; then looks one by one."""
    scenes = {name: scene_frames(name) for name in options.scenes}
    if options.source:
        scenes = {options.source: file_frames(options.source, options.seconds)}
    with xvfb(1400, 900) as (_, display):
        for name, jpegs in scenes.items():
            marked = int(COMES * RATE) if name == "somebody comes" else None
            print("\n%s: %d s, %d kB a frame" % (name, options.seconds, np.mean([len(one) for one in jpegs]) / 1e3))
            print_compared({program: run_program(program, jpegs, marked, display, options)
                            for program in ("only-read", "original") + ENGINES[options.engine]})
    print("\nCPU (children included) is counted from %d s after the first frame on; memory is the sum of what each\n"
          "process holds (RSS), and with what they share counted once (PSS). Label: from the moment when the camera\n"
          "sends the first frame with the face to the line that says who came; for the original's loop, to its first\n"
          "label." % WARM_UP)
    print("\none look, asked without a pause (median)")
    jpegs = scene_frames("one face")[::LOOK_STRIDE]
    print_compared({name: in_own_process(time_looks, name, jpegs) for name in ("original",) + ENGINES[options.engine]})
    print("\nThe scene with one face, on one thread, each in a process of its own. Near: around the face's place.\n"
          "Whole: everywhere in the small picture. Far: everywhere in a picture up to %d pixels wide."
          % doorcam.OpenCVEngine.FAR_WIDTH)


def print_compared(columns):
    """A table of {column: {row: value}} with the RATIOS of its columns."""
    ratios, rows = [pair for pair in RATIOS if set(pair) <= set(columns)], []
    for row in dict.fromkeys(row for column in columns.values() for row in column):
        values = {name: column.get(row, math.nan) for name, column in columns.items()}
        if not all(map(math.isnan, values.values())):
            rows.append((row, list(values.values()) + [values[one] / values[other] if values[other] else math.nan
                                                       for one, other in ratios]))
    print_table(list(columns) + ["%s/%s" % pair for pair in ratios], rows)


def time_looks(name, jpegs):
    """{row: ms, or how many a second} for each kind of look of an engine, or of the original."""
    frames = [from_jpeg(jpeg) for jpeg in jpegs]
    looks = [doorcam.Look(frame, doorcam.default_scale(frame), True, []) for frame in frames]
    if name == "original":
        cv2.setNumThreads(1)
        seconds = {"whole, encoded": median_seconds(lambda look: original_faces(look.frame, look.scale), looks)}
    else:
        engine = engine_named(name)[0]
        doorcam.set_malloc(mmap_threshold=doorcam.LARGE_BLOCK, trim_threshold=doorcam.LARGE_BLOCK)
        places = [(look._replace(whole=False), engine.faces(look)[0].box) for look in looks]
        kinds = {"near, encoded": [look._replace(regions=[(box, True)]) for look, box in places],
                 "near, not encoded": [look._replace(regions=[(box, False)]) for look, box in places],
                 "whole, encoded": looks}
        if name == "opencv":  # dlib's takes the place of one at the whole and costs no more
            kinds["far, encoded"] = [look._replace(far=True) for look, _ in places]
        seconds = {kind: median_seconds(engine.faces, asked) for kind, asked in kinds.items()}
    return dict([(kind + ", ms", 1e3 * one) for kind, one in seconds.items()]
                + [(kind + ", looks a second", 1 / one) for kind, one in seconds.items()])


def median_seconds(action, arguments):
    action(arguments[0])  # the first one takes longer
    return np.median([seconds_of(action, one) for one in arguments])


# ------------------------------------------------------------------------------------------------------- doors
#
# Cameras as those of `speed`, several before one doorcam that knows both portraits. In "somebody comes" that is so at
# the last door, while the second portrait stands at all others.

DOOR_SCENES = ("one face", "nobody", "somebody comes")
RIGHT = "visitor 1 returned"   # what is said of who comes
DOOR_COLUMNS = ("fps least", "fps most", "gap p50", "gap p99", "gap max", "CPU", "RSS MB", "PSS MB", "looks/s",
                "label mean", "label max", "missed", "CPU x", "RSS x")


def doors(options):
    """Several live cameras before one doorcam: frames, gaps, CPU, memory, waiting times."""
    names = set(options.scenes) | ({"one face"} if "somebody comes" in options.scenes else set())
    scenes = {name: scene_frames(name, int(name == "one face")) for name in names}
    with xvfb(1400, 900) as (_, display):
        for rate, name in itertools.product(options.rates, options.scenes):
            print("\n%s, %g frames a second, %g s; load of the machine before: %.1f"
                  % (name, rate, options.seconds, os.getloadavg()[0]), flush=True)
            others = "one face" if name == "somebody comes" else name
            runs = [run_doors([scenes[others]] * (count - 1) + [scenes[name]], rate, display, options,
                              COMES if name == "somebody comes" else None) for count in options.doors]
            print_table(DOOR_COLUMNS, [("%d door%s" % (count, "s"[:count > 1]), run + [
                run[index] / runs[0][index] for index in map(DOOR_COLUMNS.index, ("CPU", "RSS MB"))])
                for count, run in zip(options.doors, runs)])
    print("\nFps: of the doors with the fewest and the most frames shown. Gaps: ms, at the door where they are longest;\n"
          "the start counts. CPU: seconds a second of doorcam with its recognition process, from %d s after the first frame\n"
          "on. RSS: the most that both hold together, PSS: with what they share counted once. Label: s from the frame in which\n"
          "somebody comes to the line that says who; missed: how often there was none, or a wrong one. x: times that\n"
          "of the first row." % WARM_UP)


def run_doors(scenes, rate, display, options, comes=None):
    """The values of DOOR_COLUMNS, without the ratios, of doorcam with a camera for each of the scenes ([JPEG] at RATE);
    comes: s of the last one's cycle after which somebody is there."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        faces = shutil.copy(EXAMPLE, os.path.join(folder, "known_faces.dat"))
        command = [sys.executable, PROGRAM, "--stats", "--faces", faces, "--visit-gap", "3", "--engine", "opencv"]
        pipes, lines, marks = [], [], []
        for number, jpegs in enumerate(scenes, 1):
            marked = int(comes * rate) if comes and number == len(scenes) else None
            address, pipe = stack.enter_context(camera(jpegs[::RATE // rate], marked, rate))
            command, pipes = command + ["--source", "door%d=%s" % (number, address)], pipes + [pipe]
        errors = stack.enter_context(open(os.path.join(folder, "errors"), "w+"))
        child = stack.enter_context(process(*command, env=environment(DISPLAY=display), stdout=subprocess.PIPE,
                                            stderr=errors, text=True))
        reader = threading.Thread(target=lambda: lines.extend((time.monotonic(), line) for line in child.stdout))
        reader.start()
        tree, end = Tree(child.pid), time.monotonic() + 60
        while time.monotonic() < end and child.poll() is None:
            if pipes[-1].poll(0.2):
                marks.append(pipes[-1].recv())
                end = marks[0][1] + options.seconds
            tree.sample()
        child.terminate()
        child.wait(30)
        reader.join(10)
        errors.seek(0)
        figures = next((json.loads(line) for _, line in lines if line.startswith("{")), None)
        if not figures or not marks:
            sys.exit("doorcam did not run: " + errors.read()[-500:])
        return door_figures(figures, lines, marks, tree, end)


def door_figures(figures, lines, marks, tree, end):
    """The values of DOOR_COLUMNS, without the ratios; lines and marks: (moment, line) and (kind, moment)."""
    each = list(figures.get("doors", {"": figures}).values())
    fps, p50, p99, most = ([one[name] for one in each] for name in ("fps", "gap_p50_ms", "gap_p99_ms", "gap_max_ms"))
    waits, missed, moments = [], 0, [moment for kind, moment in marks if kind == "comes" and moment < end - 3]
    for moment in moments:
        said = [(when, line) for when, line in lines
                if moment < when < moment + 5 and (" is new" in line or RIGHT in line)]
        right = bool(said) and RIGHT in said[0][1]
        waits += [said[0][0] - moment] if right else []
        missed += not right
    return [min(fps), max(fps), max(p50), max(p99), max(most), sum(tree.cpu(marks[0][1] + WARM_UP)), tree.memory(),
            float(np.nanmax(tree.shares)), figures["recognitions"] / figures["seconds"],
            float(np.mean(waits)) if waits else math.nan, max(waits, default=math.nan),
            missed if moments else math.nan]


# ------------------------------------------------------------------------------------------------------- range
#
# The two portraits, drawn smaller and smaller. The distance is that of a face FACE_METRES wide before a lens of
# LENS_DEGREES; the width of a face is that of the box that HOG gave it, as in a visitor's picture.

FRAME_SIZES = ((640, 480), (1280, 720), (1920, 1080))
FACE_METRES, LENS_DEGREES = 0.15, 62.0  # across
NARROWEST = 12                # pixels, the width of the smallest face tried
WIDEST = 0.3                  # of the frame's height, of the largest
STEPS = (0.7, 0.95)           # from one width to the next: first down to where it fails, then from the last that worked
FOUND_FRAMES = 14             # looked at for each width, with both portraits at random places
FOUND_SHARE = 0.95            # of these faces, found
KNOWN_FRAMES = 30             # of 10 a second, in which a visitor must be known
BOOK_SIZE = 100               # visitors
ENROLLED_WIDTH = 150          # pixels, of the faces from which the portraits were enrolled


def how_far(options):
    """The smallest face that is found, and that is known; how far away that is."""
    rows = []
    for name in ENGINES[options.engine]:
        book = book_of_many(name)
        for width, height in FRAME_SIZES:
            scene, largest = Scene(width, height), int(WIDEST * height)
            found = smallest(largest, lambda wide: found_share(name, scene, wide) >= FOUND_SHARE)
            known = smallest(largest, lambda wide: all(becomes_known(name, book, scene, number, wide)
                                                       for number in (0, 1)))
            metres = FACE_METRES * width / (2 * math.tan(math.radians(LENS_DEGREES / 2)))
            rows.append(("%s, %d x %d" % (name, width, height), [found, metres / found, known, metres / known]))
    print_table(("found, px", "from, m", "known, px", "from, m"), rows)
    print("\nFound: at least %d %% of the faces of this width, and of each larger one tried, in one look (opencv:\n"
          "everywhere; dlib: closer where something moves). Known: both, within %g s, in a book of %d.\n"
          "Distance: of a face %d cm wide before a lens of %d degrees across."
          % (100 * FOUND_SHARE, KNOWN_FRAMES / 10, BOOK_SIZE, 100 * FACE_METRES, LENS_DEGREES))


def smallest(width, works):
    """The smallest width that works, as do all larger ones tried, of which the first is `width`; NaN if that fails."""
    good, bad = math.nan, NARROWEST - 1
    for step in STEPS:
        while width > bad:
            if works(width):
                good, width = width, min(width - 1, int(width * step))
            else:
                bad = width
        if not math.isnan(good):
            width = min(good - 1, int(good * STEPS[-1]))
    return good


def portrait_size(face_width):
    return int(round(face_width * (1 + 2 * doorcam.PICTURE_MARGIN)))


def found_share(name, scene, face_width):
    """The share of faces of a width that an engine finds in one look, when somebody has just come: both portraits, each
    at random places."""
    engine, size, found = engine_named(name)[0], portrait_size(face_width), []
    low, high = (size / 2 + 1, size / 2 + 1), (scene.width - size / 2 - 1, scene.height - size / 2 - 1)
    for index in range(2 * FOUND_FRAMES):
        motion, people = doorcam.Motion(), [(index, *scene.rng.uniform(low, high), size)]
        for moment, there in enumerate(([], people)):
            motion.look(grey_with_bodies(scene, there), float(moment))
        frame, (box,) = scene.frame(people)
        moved = motion.box(scene.width, scene.height)  # None, where somebody is too small
        faces = engine.faces(doorcam.Look(frame, doorcam.default_scale(frame), True, [], True,
                                          moved and doorcam.whole_box(moved)))
        found.append(any(doorcam.overlap(face.box, box) > 0.3 for face in faces))
    return np.mean(found)


def grey_with_bodies(scene, people):
    """The small grey picture of people who move as a whole. The engines are shown them without their bodies: above a
    drawn coat YuNet finds faces half as wide."""
    frame = scene.frame(people)[0]
    for _, x, y, size in people:
        half, top, coat = size, int(y + 0.5 * size), (70, 60, 50)
        cv2.rectangle(frame, (int(x) - half, top), (int(x) + half, scene.height), coat, cv2.FILLED)
    return doorcam.small_grey(frame, doorcam.default_scale(frame))


def book_of_many(name):
    """A Book with the portraits as visitors 1 and 2, enrolled from a large view, and others who are like nobody."""
    (engine, metric), scene = engine_named(name), Scene()
    book = doorcam.Book(metric)
    for number in (0, 1):
        encodings = []
        for _ in range(doorcam.ENROL_SIGHTINGS):
            frame, (box,) = scene.frame([(number, scene.width / 2, scene.height / 2, portrait_size(ENROLLED_WIDTH))])
            look = doorcam.Look(frame, doorcam.default_scale(frame), False, [(doorcam.whole_box(box), True)])
            encodings.append(engine.faces(look)[0].encoding)
        book.register_new_face(doorcam.mean_encoding(encodings), 0.0)
    while len(book) < BOOK_SIZE:
        book.register_new_face(doorcam.mean_encoding([scene.rng.normal(0, 0.1, 128)]), 0.0)
    return book


def becomes_known(name, book, scene, number, face_width):
    """Whether the door takes a portrait that sways a little for the right visitor, and nothing for another."""
    engine, door, size = engine_named(name)[0], Story(copy.deepcopy(book)).door, portrait_size(face_width)
    low, high = 0.6 * size + 1, (scene.width - 0.6 * size - 1, scene.height - 0.6 * size - 1)
    place = scene.rng.uniform(low, high)
    for index in range(KNOWN_FRAMES):
        now, (x, y) = index / 10, place + 0.05 * size * np.sin([2.0 * index / 10, 1 + 3.0 * index / 10])
        frame = scene.frame([(number, x, y, size)])[0]
        scale = doorcam.default_scale(frame)
        door.follow(grey_with_bodies(scene, [(number, x, y, size)]), scale, now)
        look = door.next_look(frame, scale, now)
        if look:
            door.recognize(look, engine.faces(look))
        said = {track.visitor for track in door.tracks if track.visitor}
        if said:
            return said == {number + 1}
    return False


# ------------------------------------------------------------------------------------------------ command line


def set_constant(text):
    """NAME=VALUE: another value for one of doorcam's constants, or ENGINE.FIELD=VALUE for one of an engine's Metric."""
    name, _, value = text.partition("=")
    engine, _, field = name.rpartition(".")
    if engine in ENGINES["both"] and field in doorcam.Metric._fields:
        metric = doorcam.ENGINES[engine].metric._replace(**{field: ast.literal_eval(value)})
        doorcam.ENGINES[engine].metric = metric
        setattr(doorcam, engine.upper(), metric)
    elif type(getattr(doorcam, name, None)) in (int, float, tuple):
        setattr(doorcam, name, ast.literal_eval(value))
    else:
        raise argparse.ArgumentTypeError("doorcam has no constant %s" % name)


def listed(kind, text):
    return [kind(one) for one in text.split(",")]


def add_command(commands, name, run):
    """What adds an option to a command of that name."""
    command = commands.add_parser(name, help=run.__doc__)
    command.set_defaults(run=run)
    if run in (recognition, speed, how_far):
        command.add_argument("--engine", choices=list(ENGINES), default="both", help="which to measure (default: both)")
    return command.add_argument


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add = add_command(commands, "recognition", recognition)
    add("folder", metavar="FOLDER", help="holds person/visit.mp4, .mkv, .avi, .gif, .jpg or .png")
    add("--orders", type=int, default=5, help="random orders of the visits (default: 5)")
    add("--people", type=int, help="only so many, those with the most visits")
    add("--seed", type=int, default=1, help="of the orders and of the clips made from pictures")
    add("--jobs", type=int, default=2, help="processes (default: 2)")
    add("--cache", default=os.path.join(tempfile.gettempdir(), "doorcam-benchmark"),
        help="folder for what the engines found; delete it when one of them changes (default: %(default)s)")
    add("--exact", action="store_true", help="run the engine for each look, not from the cache; slow")
    add("--details", action="store_true", help="list what went wrong")
    add("--set", type=set_constant, action="append", metavar="NAME=VALUE",
        help="try another constant of doorcam, or as dlib.caution=2.5 one of an engine's Metric; those with "
             "which faces are looked for (NEAR_MARGIN, min_score) need --exact")
    add = commands.add_parser("life", help=life.__doc__).add_argument
    add("file", metavar="FILE", help="visits and their people, see load_visits")
    add("--engine", choices=ENGINES["both"], required=True, help="whose encodings these are")
    add("--visits", default="photographs", help="name of the visits in the file (default: photographs)")
    add("--people", type=int, default=0, help="only so many (default: all)")
    add("--each", type=int, default=0, help="visits of each (default: all)")
    add("--orders", type=int, default=3, help="random orders of the visits (default: 3)")
    add("--night", type=float, default=0.0, metavar="SHARE",
        help="half of the returns are by night: so much of what night does to an encoding, see by_night (default: 0)")
    add("--set", type=set_constant, action="append", metavar="NAME=VALUE", help="as of recognition")
    commands.choices["life"].set_defaults(run=life)
    add = commands.add_parser("relatives", help=relatives.__doc__).add_argument
    add("file", metavar="FILE", help="with parents, children, photographs and photographs_person")
    add("--engine", choices=ENGINES["both"], required=True, help="whose encodings these are")
    add("--known", type=int, default=8, help="visits from which a parent is known (default: 8)")
    add("--visitors", type=int, nargs="+", default=[1, 10, 100], help="in the book (default: 1 10 100)")
    add("--orders", type=int, default=3, help="books of other people and other visits (default: 3)")
    add("--set", type=set_constant, action="append", metavar="NAME=VALUE", help="as of recognition")
    commands.choices["relatives"].set_defaults(run=relatives)
    add = add_command(commands, "speed", speed)
    add("--source", metavar="FILE", help="a recording to serve instead of the scenes")
    add("--seconds", type=float, default=30, help="of each run (default: 30)")
    add("--scenes", type=lambda text: text.split(","), default=list(SCENES), help="default: %s" % ",".join(SCENES))
    add("--options", type=str.split, default=[], metavar="'OPTION ...'",
        help="further options for doorcam, as --options='--scale 0.5'")
    add = add_command(commands, "doors", doors)
    for name, kind, default in (("doors", int, "1,2,4,8"), ("rates", int, "30,15"),
                                ("scenes", str, ",".join(DOOR_SCENES))):
        add("--" + name, type=functools.partial(listed, kind), default=default, help="default: %s" % default)
    add("--seconds", type=float, default=30, help="of each run (default: 30)")
    add_command(commands, "range", how_far)
    add = add_command(commands, "boxes", boxes)
    add("--source", metavar="FILE", help="a recording instead of the demo")
    add("--latency", type=float, default=0.1, help="s from a look to its answer (default: 0.1)")
    add = add_command(commands, "scale", scale)
    add("--sizes", type=lambda text: [int(one) for one in text.split(",")],
        default=[100, 1000, 10000, 100000], help="visitors (default: 100,1000,10000,100000)")
    add("--folder", help="where the files are written (default: the temporary folder)")
    return parser


def main():
    options = make_parser().parse_args()
    try:
        options.run(options)
    except doorcam.DoorcamError as error:  # an engine lacks its models
        sys.exit(str(error))


if __name__ == "__main__":
    main()
