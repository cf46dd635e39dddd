#!/usr/bin/env python3
"""Measures doorcam beside the loop of the original program: recognition, speed, boxes, scale.

  benchmark.py recognition FOLDER   who is greeted rightly, on a folder of clips or pictures: person/visit.mp4
  benchmark.py speed                frames, gaps, CPU, memory, waiting times on a live camera
  benchmark.py boxes                how well the boxes keep up with a face that walks
  benchmark.py scale                books of 100 to 100,000 visitors

Run it on a machine that does nothing else, with what the tests need (Xvfb).
"""
import argparse
import ast
import contextlib
import datetime
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
from processes import EXAMPLE, environment, process, xvfb  # noqa: E402

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
        frames.append(frame)
    capture.release()
    if not frames:
        raise ValueError("no frames in it")
    return frames[::stride], [np.full_like(frames[0], 128)], stride / rate


# ------------------------------------------------------------------------------------------------------- cache
#
# dlib's work on a clip does not depend on the order in which people come: it is done once and kept. What the door asks
# for does (look everywhere or only near the faces that it follows, encode or not), so both kinds of look are kept, with
# all encodings, and a replay gives what the door asks for. It differs from the real thing in one way: the place that
# the engine searches near a followed face is taken from the face in that frame and not from where the door expected
# it. --exact runs the engine for real.


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


def see_clip(clip, engine):
    """Adds to a clip what dlib finds in each frame: `whole` and `near` as the engine, `original` as the original."""
    clip["whole"], clip["near"], clip["original"] = [], [], []
    boxes = []
    for frame in map(from_jpeg, clip["frames"]):
        scale = doorcam.default_scale(frame)
        whole = engine.faces(doorcam.Look(frame, 0.0, scale, True, []))
        boxes = [face.box for face in whole] or boxes
        near = engine.faces(doorcam.Look(frame, 0.0, scale, False, [(box, True) for box in boxes]))
        clip["whole"].append(whole)
        clip["near"].append(near)
        clip["original"].append(original_faces(frame, scale))


def original_faces(frame, scale):
    """[(width, encoding)] as the original finds them, in the small picture."""
    import face_recognition
    rgb = cv2.cvtColor(doorcam.shrink(frame, scale), cv2.COLOR_BGR2RGB)
    boxes = face_recognition.face_locations(rgb)
    return [(doorcam.box_width(box), encoding)
            for box, encoding in zip(boxes, face_recognition.face_encodings(rgb, boxes))]


def cached_clip(task):
    """The clip of (path, seed, cache, seen), from the cache if it is there; None if there is nothing to see in it."""
    path, seed, cache, seen = task
    stamp = "%s %s %s %s" % (os.path.abspath(path), os.path.getmtime(path), seed, seen)
    name = os.path.join(cache, hashlib.sha1(stamp.encode()).hexdigest()[:20] + ".pickle")
    with contextlib.suppress(OSError, EOFError):
        with open(name, "rb") as file:
            return pickle.load(file)
    try:
        clip = read_clip(path, seed)
    except ValueError as error:
        print("%s is left out: %s" % (path, error), file=sys.stderr)
        clip = None
    else:
        if seen:
            see_clip(clip, doorcam.DlibEngine())
    with open("%s.%d" % (name, os.getpid()), "wb") as file:
        pickle.dump(clip, file)
    os.rename(file.name, name)
    return clip


def load_clips(visits, options):
    """[(person, path, clip)] of all visits, made by several processes where they are not in the cache."""
    os.makedirs(options.cache, exist_ok=True)
    named = [(person, path) for person, paths in visits.items() for path in paths]
    tasks = [(path, options.seed, options.cache, not options.exact) for _, path in named]
    clips = []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for count, clip in enumerate(pool.imap(cached_clip, tasks), 1):
            clips.append(clip)
            if sys.stderr.isatty() or count % 50 == 0:
                print("clip %d of %d" % (count, len(tasks)), file=sys.stderr)
    return [(person, path, clip) for (person, path), clip in zip(named, clips) if clip]


# ------------------------------------------------------------------------------------------------- recognition


class WatchedBook(doorcam.Book):
    """A book that remembers which entries were joined."""

    def __init__(self):
        super().__init__()
        self.joined = {}            # number: number of the entry that it is part of now

    def merge(self, number, into):
        self.joined[number] = into
        return super().merge(number, into)

    def now(self, number):
        while number in self.joined:
            number = self.joined[number]
        return number


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

    def at(self, clip, index):
        """The next frame is that of a clip, or with None an empty one."""

    def close(self):
        pass


class ExactRecognizer(InOneProcess):
    def __init__(self):
        super().__init__()
        self.faces = doorcam.DlibEngine().faces


class CachedRecognizer(InOneProcess):
    """Answers from what was found in the clip's frame before, as the look asks for it."""

    def at(self, clip, index):
        self._whole, self._near = ((), ()) if clip is None else (clip["whole"][index], clip["near"][index])

    def faces(self, look):
        found = [face for face in self._near if any(reaches(box, face.box) for box, _ in look.regions)]
        found += self._whole if look.whole else []
        by_box = {face.box: face for face in found}
        kept = [by_box[box] for box, _ in doorcam.one_each([(face.box, face.score) for face in found])]
        return [face if doorcam.must_encode(face.box, look.regions) else face._replace(encoding=None) for face in kept]


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


class Replay(doorcam.Watch):
    """doorcam's own loop on a stream of visits, with a scripted clock; it notes what the program says."""

    def __init__(self, recognizer):
        options = doorcam.make_parser().parse_args(["--headless", "--source", "demo"])  # which keeps its book to itself
        with unittest.mock.patch.object(doorcam, "Recognizer", lambda *_, **__: recognizer):
            super().__init__(options, types.SimpleNamespace(asked=False))
        self.begin(WatchedBook())
        self.owners, self.visits = {}, []       # number: person

    def stream(self, clips):
        """(frame, time) of all visits, one after the other."""
        now, been = 1.7e9, set()
        for person, path, clip in clips:
            empty = [from_jpeg(jpeg) for jpeg in clip["empty"]]
            before, after = (int(seconds / clip["step"]) for seconds in (LEAD_SECONDS, EMPTY_SECONDS))
            self.visits.append(Visit(person, path, now + before * clip["step"], person in been))
            been.add(person)
            for index in range(-before, len(clip["frames"]) + after):
                seen = 0 <= index < len(clip["frames"])
                self.recognizer.at(clip if seen else None, index)
                yield from_jpeg(clip["frames"][index]) if seen else empty[index % len(empty)], now
                now += clip["step"]
            now += self.options.visit_gap + 60

    def tell(self, events):
        """Instead of saying what happened, notes it."""
        for event in events:
            number = event.visitor.number
            if event.kind == "new":
                self.owners[number] = self.visits[-1].person
                self.visits[-1].new = True
            if event.kind != "left":
                self.visits[-1].label(number, self.owners[self.book.now(number)], self.now)

    def find_faces(self, frame, now):
        self.now = now
        return super().find_faces(frame, now)

    def show(self, frame, marks, visitors, notice=None):
        """Instead of drawing, notes who the largest face in view is said to be."""
        in_view = [track for track in self.door.tracks if self.now - track.seen < doorcam.BOX_LOST]
        if in_view:
            visitor = max(in_view, key=lambda track: doorcam.box_width(track.box)).visitor
            visit = self.visits[-1]
            visit.labels = [self.book.now(number) for number in visit.labels]
            if visitor is not None and visitor.number in self.owners:
                visit.label(visitor.number, self.owners[visitor.number], self.now)
        return True


def replay_doorcam(clips, exact):
    replay = Replay(ExactRecognizer() if exact else CachedRecognizer())
    replay.watch_the_door(replay.stream(clips))
    replay.tell(replay.door.finish(replay.now))
    joined = sum(replay.owners[number] != replay.owners[into] for number, into in replay.book.joined.items())
    return dict(figures(replay.visits, len(replay.book)), **{"entries of two people joined": joined}), replay.visits


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
    """(figures of doorcam, figures of the original, [line about a visit]) of one order."""
    clips, options = list(_shared["clips"]), _shared["options"]
    random.Random("%d %d" % (options.seed, order)).shuffle(clips)
    ours, visits = replay_doorcam(clips, options.exact)
    theirs = None if options.exact else replay_original(clips)[0]
    lines = ["order %d: %s %s" % (order, visit.path, ", ".join(
        ["greeted as %s" % owner for owner in visit.wrong] + ["called new"] * (visit.new and visit.returns)
        + ["missed"] * (not visit.labels))) for visit in visits
        if visit.wrong or (visit.new and visit.returns) or not visit.labels]
    return ours, theirs, lines


def recognition(options):
    """Who is greeted rightly, beside the original's rule; the mean of several orders."""
    visits = find_visits(options.folder, options.people)
    clips = load_clips(visits, options)
    if not clips:
        sys.exit("%s holds no person/visit.mp4 or .jpg with a face" % options.folder)
    _shared.update(clips=clips, options=options)
    with multiprocessing.get_context("fork").Pool(min(options.jobs, options.orders)) as pool:
        results = pool.map(replay_order, range(options.orders), chunksize=1)
    people = {person for person, _, _ in clips}
    print("%d people, %d visits, of which %d returns; mean of %d orders"
          % (len(people), len(clips), len(clips) - len(people), options.orders))
    print("%-42s %10s %10s" % ("", "doorcam", "original"))
    for name in results[0][0]:
        values = [np.mean([one[name] for one in column]) if column[0] and name in column[0] else math.nan
                  for column in list(zip(*results))[:2]]
        print("%-42s" % name + "".join("%11s" % ("-" if math.isnan(one) else "%.2f" % one) for one in values))
    if options.details:
        print("\n".join(line for _, _, lines in results for line in lines))


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
    engine, door, look = doorcam.DlibEngine(), doorcam.Door(doorcam.Book()), None
    for frame, now in frames:
        scale = doorcam.default_scale(frame)
        small = doorcam.shrink(frame, scale)
        door.follow(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), scale, now)
        if look is None:
            look = door.next_look(frame, scale, now)
        elif now - look.moment >= latency:
            door.recognize(look, engine.faces(look), now)
            look = None
        found = face_recognition.face_locations(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
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
    for action in (write, measure):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures = pool.apply(action, (size, path))
    print("%8d %-9s" % (size, name) + "".join("%12s" % ("%.*f" % (2 if one < 100 else 0, one)) for one in figures),
          flush=True)
    os.unlink(path)


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
        visitors.append(doorcam.Visitor(number, some_encodings(rng, ENCODINGS), 1.7e9, own))
    doorcam.save_known_faces(path, doorcam.Book(visitors).snapshot())


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
    load = seconds_of(lambda: books.append(doorcam.load_known_faces(path)))
    held, (book,) = memory()[0], books
    saver, faces = doorcam.Saver(path, book), [some_encodings(np.random.RandomState(2), 1)[0] for _ in range(200)]

    def save():
        book.changed.add(1)
        saver.save_when_due(urgent=True)
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
COMES = 7.0                   # s of its cycle after which somebody is there in "somebody comes"
NOISE_720P = 2.0              # levels of 255, standard deviation
WARM_UP = 5.0                 # s after the first frame, not counted for CPU and recognitions
PROGRAMS = ("only-read", "original", "doorcam")


def scene_frames(name):
    """[JPEG] of one cycle of a scene: portraits that sway before the demo's door, with the noise of a camera."""
    seconds, count, size, sway = SCENES[name]
    portraits, door = doorcam.demo_portraits(EXAMPLE), doorcam.draw_demo_door()
    rng = np.random.RandomState(1)
    noise = rng.normal(0, NOISE_720P, (door.shape[0] + 64, door.shape[1] + 64, 3)).round().astype(np.int16)
    jpegs = []
    for moment in np.arange(seconds * RATE) / RATE:
        frame = door.copy()
        for number in range(count if name != "somebody comes" or moment >= COMES else 0):
            x = door.shape[1] * (number + 0.5) / count + sway * math.sin(2 * math.pi * (moment / seconds + number / 3))
            y = 330 + 12 * math.sin(2 * math.pi * (moment / 2 + number / 4))
            draw_portrait(frame, portraits[number % 2], int(x), int(y), size)
        down, right = rng.randint(0, 64, 2)
        jpegs.append(to_jpeg(np.clip(frame + noise[down:, right:][:frame.shape[0], :frame.shape[1]], 0, 255), 85))
    return jpegs


def draw_portrait(frame, portrait, x, y, size):
    """Draws a portrait as an ellipse with its middle at x, y."""
    place = frame[y - size // 2:y - size // 2 + size, x - size // 2:x - size // 2 + size]
    mask = np.zeros((size, size, 1), np.float32)
    cv2.ellipse(mask, (size // 2, size // 2), (int(0.46 * size), size // 2), 0, 0, 360, 1.0, cv2.FILLED)
    place[:] = mask * cv2.resize(portrait, (size, size), interpolation=cv2.INTER_CUBIC) + (1 - mask) * place


def file_frames(path, seconds):
    """[JPEG] of the first seconds of a recording."""
    frames = doorcam.read_recording(doorcam.parse_source(path), "none", 0.0)
    return [to_jpeg(frame) for frame, _ in itertools.islice(frames, int(seconds * RATE))]


def serve_camera(jpegs, marked, pipe):
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
                send_frames(connection, jpegs, marked, pipe)


def send_frames(connection, jpegs, marked, pipe):
    """Sends each frame at its time, or not at all if the one before has not been taken until then."""
    connection.setblocking(False)
    began, left = time.monotonic(), b""
    for index in itertools.count():
        number, due = index % len(jpegs), began + (index + 1) / RATE
        if not index or number == marked:
            pipe.send(("comes" if index else "first", time.monotonic()))
        if not left:
            left = memoryview(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
                              % (len(jpegs[number]), jpegs[number].tobytes()))
        while left and select.select([], [connection], [], max(0.0, due - time.monotonic()))[1]:
            left = left[connection.send(left):]
        time.sleep(max(0.0, due - time.monotonic()))


@contextlib.contextmanager
def camera(jpegs, marked=None):
    """(address, pipe) of a camera that is there for a while."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve_camera, args=(jpegs, marked, theirs), daemon=True)
    server.start()
    try:
        yield "http://127.0.0.1:%d/" % ours.recv(), ours
    finally:
        server.kill()
        server.join()


class Tree:
    """A process and its children, looked at again and again: samples of (time, CPU seconds so far, MB)."""

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
        own = [stats[pid] for pid in tree if pid in stats]
        self.samples.append((time.monotonic(), sum(sum(map(int, one[11:15])) for one in own) / self._tick,
                             sum(int(one[21]) for one in own) * self._page / 1e6))
        if len(self.samples) % 10 == 0:  # seldom, for it holds up the process
            self.shares.append(sum(map(proportional_memory, tree)))

    def cpu(self, since):
        """CPU seconds a second from then on."""
        counted = [one for one in self.samples if one[0] >= since] or self.samples
        return (counted[-1][1] - counted[0][1]) / max(0.1, counted[-1][0] - counted[0][0])

    def memory(self):
        return max(one[2] for one in self.samples)


def proportional_memory(pid):
    """MB of a process, with its part of what it shares with others; 0 if it has gone."""
    with contextlib.suppress(OSError), open("/proc/%d/smaps_rollup" % pid) as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1e3
    return 0


def run_program(program, jpegs, marked, display, options):
    """Runs one of PROGRAMS on the camera; the dict of what was measured."""
    with tempfile.TemporaryDirectory() as folder, camera(jpegs, marked) as (address, pipe):
        path, lines = os.path.join(folder, "figures.json"), []
        extra = ["--stats", "--faces", os.path.join(folder, "known_faces.dat"), "--visit-gap", "3"] + options.options
        command = [sys.executable, os.path.join(HERE, "original_loop.py"), program, address, path]
        command += extra if program == "doorcam" else []
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
    return {"fps shown": (len(shown) - 1) / (shown[-1] - shown[0]), "gap p50, ms": p50, "gap p99, ms": p99,
            "gap max, ms": most, "recognitions a second": found / (shown[-1] - shown[0]),
            "CPU seconds a second": tree.cpu(warm), "memory at most (RSS), MB": tree.memory(),
            "the same, shared counted once": float(np.nanmax(tree.shares)),
            "start to first frame, s": shown[0] - began, "camera's first to first shown, s": shown[0] - marks[0][1],
            "comes to label, mean s": float(np.mean(waits)) if waits else math.nan,
            "comes to label, max s": max(waits, default=math.nan)}


def speed(options):
    """A live camera through this program, the original's loop, and one that only reads and shows."""
    scenes = {name: scene_frames(name) for name in options.scenes}
    if options.source:
        scenes = {options.source: file_frames(options.source, options.seconds)}
    with xvfb(1400, 900) as (_, display):
        for name, jpegs in scenes.items():
            marked = int(COMES * RATE) if name == "somebody comes" else None
            print("\n%s: %d s, %d kB a frame" % (name, options.seconds, np.mean([len(one) for one in jpegs]) / 1e3))
            columns = [run_program(program, jpegs, marked, display, options) for program in PROGRAMS]
            print_speed(columns)
    print("\nCPU (children included) is counted from %d s after the first frame on; memory is the sum of what each\n"
          "process holds (RSS), and with what they share counted once (PSS). Label: from the moment when the camera\n"
          "sends the first frame with the face to the line that says who came; for the original's loop, to its first\n"
          "label." % WARM_UP)


def print_speed(columns):
    print("%-34s" % "" + "".join("%12s" % name for name in PROGRAMS + ("ratio",)))
    for row in columns[0]:
        values = [column[row] for column in columns]
        if not all(map(math.isnan, values)):
            ratio = values[2] / values[1] if values[1] else math.nan
            print("%-34s" % row + "".join("%12s" % ("-" if math.isnan(one) else "%.3g" % one)
                                          for one in values + [ratio]), flush=True)


# ------------------------------------------------------------------------------------------------ command line


def set_constant(text):
    """NAME=VALUE: another value for one of doorcam's constants, to try it."""
    name, _, value = text.partition("=")
    if not isinstance(getattr(doorcam, name, None), (int, float, tuple)):
        raise argparse.ArgumentTypeError("doorcam has no constant %s" % name)
    setattr(doorcam, name, ast.literal_eval(value))


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser("recognition", help=recognition.__doc__)
    command.set_defaults(run=recognition)
    add = command.add_argument
    add("folder", metavar="FOLDER", help="holds person/visit.mp4, .mkv, .avi, .gif, .jpg or .png")
    add("--orders", type=int, default=5, help="random orders of the visits (default: 5)")
    add("--people", type=int, help="only so many, those with the most visits")
    add("--seed", type=int, default=1, help="of the orders and of the clips made from pictures")
    add("--jobs", type=int, default=2, help="processes (default: 2)")
    add("--cache", default=os.path.join(tempfile.gettempdir(), "doorcam-benchmark"),
        help="folder for what dlib found; delete it when doorcam's engine changes (default: %(default)s)")
    add("--exact", action="store_true", help="run the engine for each look, not from the cache; slow")
    add("--details", action="store_true", help="list what went wrong")
    add("--set", type=set_constant, action="append", metavar="NAME=VALUE", help="try another constant of doorcam")
    command = commands.add_parser("speed", help=speed.__doc__)
    command.set_defaults(run=speed)
    command.add_argument("--source", metavar="FILE", help="a recording to serve instead of the scenes")
    command.add_argument("--seconds", type=float, default=30, help="of each run (default: 30)")
    command.add_argument("--scenes", type=lambda text: text.split(","), default=list(SCENES),
                         help="default: %s" % ",".join(SCENES))
    command.add_argument("--options", type=str.split, default=[], metavar="'OPTION ...'",
                         help="further options for doorcam, as --options='--engine dlib'")
    command = commands.add_parser("boxes", help=boxes.__doc__)
    command.set_defaults(run=boxes)
    command.add_argument("--source", metavar="FILE", help="a recording instead of the demo")
    command.add_argument("--latency", type=float, default=0.1, help="s from a look to its answer (default: 0.1)")
    command = commands.add_parser("scale", help=scale.__doc__)
    command.set_defaults(run=scale)
    command.add_argument("--sizes", type=lambda text: [int(one) for one in text.split(",")],
                         default=[100, 1000, 10000, 100000], help="visitors (default: 100,1000,10000,100000)")
    command.add_argument("--folder", help="where the files are written (default: the temporary folder)")
    return parser


def main():
    options = make_parser().parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
