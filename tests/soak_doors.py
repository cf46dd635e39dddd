#!/usr/bin/env python3
"""Four doors for an hour: soak_doors.py SECONDS SEED, in a folder of its own. Prints a line of JSON, status 1 if it
lists something "wrong".

All is real: doorcam, its cameras (MJPEG over HTTP), the clock. Four people, drawn from the portraits of the example,
come to a door, walk on to others, stay while a camera is lost, go, and come back after the gap. At random cameras
refuse, close, hang, send garbage, black or the same picture, and are mended; the recognition process is killed; a
poster of who is at one door hangs at another. They do what makes a visit, or ends one, beyond doubt only.
"""
import collections
import contextlib
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import cv2  # noqa: E402
import numpy as np  # noqa: E402

import doorcam  # noqa: E402
from processes import PROGRAM, Doorcam, environment, portrait  # noqa: E402
from soak import process_figures, rows_of_log  # noqa: E402
from test_camera import HttpCamera, HttpHandler  # noqa: E402

PATH, LOG = "known_faces.dat", "visits.csv"
NAMES = ("front", "back", "yard", "cellar")
GAP, SURE = 20.0, 12.0      # s, --visit-gap; and so much more not seen, after which the visit is certainly over
PATIENCE = 8.0              # s at most for which somebody stays whom no camera sees, whose visit is to go on
STAY = 7.0                  # s and more at one door: who is on a poster, too, is known there by then
UNSURE = 6.0                # s by which the log's visits may be shorter or longer than the script's
REVIVE = 8.0                # s after its end in which the recognition process is certainly back
TOLD = doorcam.CAMERA_LOST + 1.5    # s after which doorcam has said that a camera is lost
MENDED = 60.0               # s after which it is back, at the latest
FROZEN = doorcam.PICTURE_STILL + 3  # s, at least: a shorter one is a picture, and may show who has gone
POSTER = 90.0               # s for which one hangs: longer than doorcam needs to see that it does not live
SIZE, RATE, FACE = (640, 360), 10.0, 140            # pixels; frames a second; pixels
PEOPLE = ((0, 1.2, 1.8, 0.1), (1, 0.7, 0.6, -0.3), (0, 0.8, 1.7, -0.3), (0, 1.0, 0.8, 0.0))     # see face_of()
KINDS = ("close", "refused", "silent", "stop", "garbage", "black", "frozen")
OFTEN = 5.0                 # s between two looks at memory and handles;
MORE = {"memory_mb": 8, "recognition_mb": 8, "handles": 3, "threads": 3}   # at the end than in the beginning, at most


def face_of(index, across, along, down):
    """A person made of the portrait with this index: narrower or wider, longer or shorter in the middle, lower. SFace
    sees these four 1.37 to 1.42 apart; strangers are 1.35."""
    rows, columns = (np.mgrid[0:150, 0:150].astype(np.float32) - 74.5) / 74.5
    x = np.sign(columns) * np.abs(columns) ** across
    y = np.sign(rows) * np.abs(rows) ** along + down * (1 - rows ** 2)
    return cv2.remap(portrait(index, 150), np.float32(x * 74.5 + 74.5), np.float32(y * 74.5 + 74.5), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REFLECT)


class Camera(HttpCamera):
    """A door's camera, and what goes wrong with it."""

    def __init__(self, house, name):
        self.house, self.name, self.poster, self.picture = house, name, None, None
        self.mend_at = self.mended = -math.inf
        self.lost = False           # doorcam has said so
        super().__init__()
        self.rate, self.RequestHandlerClass = RATE, Handler

    def verify_request(self, *_):
        return self.mode != "refused"

    def good(self):
        """Whether doorcam certainly has its picture."""
        return self.mode == "run" and not self.lost and time.monotonic() - self.mended > TOLD

    def draw(self, number):
        """The newest picture: who is here, each at a place of their own."""
        if self.mode == "frozen":
            return self.picture
        picture = np.zeros(SIZE[::-1] + (3,), np.uint8)
        if self.mode == "black":
            return picture
        picture[:] = (150, 140, 130)
        picture[-8:, -8:] += np.uint8(4 * (number % 2))     # a picture that is the same for long is none
        for person in self.house.people:
            if self is person.poster or self in person.doors:
                left, face = 20 + 155 * person.place, person.drawn(self is not person.poster)
                picture[60:60 + FACE, left:left + FACE] = face
        self.picture = picture
        return picture

    def play(self):
        """Yields s to wait."""
        chance, house = self.house.chance, self.house
        while True:
            yield chance.uniform(8, 50)
            while house.calm or not self.good() or any(
                    self in one.doors and time.monotonic() - one.moved < 4 for one in house.people):
                yield 0.3
            kind = self.house.next_trouble()
            least, most = chance.choice(((1, 5), (5, 20), (GAP + 2 * SURE, 4 * GAP)))
            shortest, left = FROZEN if kind == "frozen" else 1, house.until - time.monotonic()
            if left < shortest:
                continue
            seconds = min(max(chance.uniform(least, most), shortest), left)
            self.mend_at, self.mode = time.monotonic() + seconds, kind
            house.played[kind] += 1
            house.note(self.name, kind, "for %.1f s" % seconds)
            yield seconds
            self.mode, self.mended = "run", time.monotonic()
            house.note(self.name, "is mended")
            while not self.good():
                yield 0.3
                if time.monotonic() - self.mended > MENDED:
                    house.wrong.append("%s was mended after %.0f s (%s) and is not back" % (self.name, seconds, kind))
                    break


class Handler(HttpHandler):
    def _frame(self, number):
        if self.server.mode == "refused":
            raise ConnectionError
        return cv2.imencode(".jpg", self.server.draw(number))[1].tobytes()


class Person:
    """Somebody who comes, walks on, and goes; and what the log is to say of that."""

    def __init__(self, house, place):
        self.house, self.place, self.face = house, place, face_of(*PEOPLE[place])
        self.doors, self.moved = (), -math.inf
        self.poster, self.here, self.ready = None, False, False
        self.visit, self.began = 0, 0.0
        self.shown, self.where = -math.inf, []  # when, and at which doors, doorcam saw them last
        self.rows = []              # [event, visit, s, doors of which the log may name one, s by which it may be more]

    def drawn(self, lives):
        """The face as it is now; the mouth of who lives goes round, and is elsewhere each second."""
        turn = 2.3 * time.monotonic() + self.place
        rows, columns = np.mgrid[0:150, 0:150].astype(np.float32)
        inside = np.exp(-((rows - 100) ** 2 + (columns - 75) ** 2) / 800)
        moved = [axis + np.float32(lives * 5 * side(turn)) * inside
                 for axis, side in ((columns, math.cos), (rows, math.sin))]
        return cv2.resize(cv2.remap(self.face, *moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
                          (FACE, FACE), interpolation=cv2.INTER_AREA)

    def goals(self):
        """The cameras to whose doors the person may go now; in the end only to that of the beginning."""
        good = self.house.good(self)
        return [one for one in good if one is self.house.cameras[self.place]] if self.house.over() else good

    def play(self):
        """Yields s to wait."""
        chance, house = self.house.chance, self.house
        self.come(house.cameras[self.place])        # by which it is known later whose number is whose
        while True:
            legs = chance.randint(1, 3)
            while self.here and (legs > 0 or self.poster or house.over()):
                if not (yield from self.stay(chance.uniform(STAY, 15))):
                    legs = max(1, legs)     # whoever stays for another visit is to be seen in it
                    continue
                legs -= 1
                self.ready = house.over() and self.doors == (house.cameras[self.place],)
                if self.goals() and (legs > 0 or self.poster or house.over()):
                    yield from self.walk(chance.choice(self.goals()))
            if self.here:
                self.go()
            pause = GAP + SURE + chance.choice((0, 0, 20)) * chance.random()
            while time.monotonic() - self.shown < pause or not self.goals() or house.reviving():
                yield 0.3
            self.come(chance.choice(self.goals()))

    def stand(self, *doors):
        """Before these cameras from now on."""
        self.doors, self.moved = doors, time.monotonic()
        self.house.note("person of %s" % NAMES[self.place], "visit %d" % self.visit, self.here and "here", *[
            door.name for door in doors])

    def come(self, camera, back=False):
        """A visit begins; back: with the camera, which doorcam says some seconds later."""
        self.visit, self.here = self.visit + 1, True
        self.stand(camera)
        self.began = self.shown = time.monotonic() - doorcam.CAMERA_LOST * back
        self.rows.append(["returned" if self.visit > 1 else "new", self.visit, -1, [camera.name], 0])

    def go(self, doors=()):
        """The visit is over, whoever stays before a camera that is lost. While it is coming back nobody knows since
        when, nor whether that has seen it."""
        coming = [one.name for one in self.doors if one.mode == "run"]
        last = time.monotonic() if coming else self.shown
        self.rows.append(["left", self.visit, round(self.shown - self.began, 1), self.where + coming,
                          round(last - self.shown, 1)])
        self.shown, self.here = last, False
        self.stand(*doors)

    def walk(self, camera):
        """To another door; the cameras of both may see that, or neither."""
        self.house.played["walks"] += 1
        self.stand(*(self.doors + (camera,) if self.house.chance.random() < 0.5 else ()))
        yield self.house.chance.uniform(0.5, 3)
        self.stand(camera)

    def stay(self, seconds):
        """At this door for so long, and longer if doorcam does not see that; not True if that takes too long."""
        began, patience = time.monotonic(), self.house.chance.uniform(1, PATIENCE)
        while time.monotonic() < began + seconds or time.monotonic() - self.shown > 0.5 or self.house.reviving():
            yield 0.2
            if time.monotonic() - max(began, self.shown) > patience:
                return (yield from self.wonder())
        return True

    def wonder(self):
        """The door's camera does not see anything: walks on, stays for another visit, or goes."""
        camera, = self.doors
        others = self.house.good(self)
        if camera.mend_at - self.shown > GAP + SURE and (not others or self.house.chance.random() < 0.5):
            self.go(self.doors)
            while not camera.good():
                yield 0.2
            self.come(camera, back=True)
            self.house.played["stays for another visit"] += 1
        elif others and time.monotonic() - self.shown < PATIENCE + 1:
            yield from self.walk(self.house.chance.choice(others))
        else:
            self.go()


class House:
    """The cameras, the people, and the doorcam that watches them."""

    def __init__(self, seconds, seed):
        self.chance, self.until = random.Random(seed), math.inf
        self.story, self.start = [], time.monotonic()
        self.seconds, self.calm, self.killed, self.heard = seconds, False, -math.inf, 0
        self.wrong, self.samples, self.played, self.said = [], [], collections.Counter(), collections.Counter()
        self.troubles = []
        self.people = [Person(self, place) for place in range(len(PEOPLE))]
        self.cameras = [Camera(self, name) for name in NAMES]

    def note(self, *what):
        """Remembers what has happened, to be told if it went wrong."""
        self.story.append(" ".join(["%.1f" % (time.monotonic() - self.start)] + [str(one) for one in what if one]))

    def next_trouble(self):
        """One of KINDS, each as often as any other."""
        self.troubles = self.troubles or self.chance.sample(KINDS, len(KINDS))
        return self.troubles.pop()

    def over(self):
        return time.monotonic() >= self.until

    def good(self, person):
        """The cameras that certainly see something, and not this person."""
        return [one for one in self.cameras if one.good() and one not in person.doors and one is not person.poster]

    def reviving(self):
        return time.monotonic() - self.killed < REVIVE

    def recognition(self):
        """The number of the recognition process, None if there is none."""
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open("/proc/%s/stat" % name) as file:
                if int(file.read().rpartition(")")[2].split()[1]) == self.program.process.pid:
                    return int(name)
        return None

    def kill(self):
        """Plays the end of the recognition process, when nobody has just come or walked on, or is seen by no camera,
        who may be about to come."""
        while True:
            yield self.chance.uniform(15, 90)
            while self.over() or self.calm or not all(
                    not one.doors or time.monotonic() - one.moved > STAY and time.monotonic() - one.shown < 0.5
                    for one in self.people):
                yield 0.3
            pid = self.recognition()
            if pid:
                os.kill(pid, signal.SIGKILL)
                self.killed = time.monotonic()
                self.played["recognition killed"] += 1
                self.note("recognition killed")

    def hang_posters(self):
        """Plays posters of who is at another door, while nothing else goes wrong."""
        while True:
            yield self.chance.uniform(60, 400)
            while self.until - time.monotonic() < 2 * POSTER:
                yield 1
            self.calm = True
            there = []
            while not there or not all(one.good() for one in self.cameras):
                yield 0.3
                there = [one for one in self.people if one.here and len(one.doors) == 1]    # they walk nowhere
            person = self.chance.choice(there)
            person.poster = self.chance.choice(self.good(person))
            self.played["posters"] += 1
            self.note("poster of", NAMES[person.place], "at", person.poster.name)
            yield POSTER
            person.poster, self.calm = None, False

    def listen(self):
        """Takes what doorcam has said since."""
        text = self.program.err()
        lines, self.heard = text[self.heard:text.rfind("\n") + 1], max(self.heard, text.rfind("\n") + 1)
        for line in lines.splitlines():
            for camera in self.cameras:
                if camera.shown in line:
                    camera.lost = "no picture from" in line or camera.lost and "is back" not in line
                    self.note(line.replace(camera.shown, camera.name))
                    line = line.replace(camera.shown, "a camera")
            self.said["".join("N" if char.isdigit() else char for char in line)] += 1

    def sample(self):
        """Looks at what may not grow."""
        with contextlib.suppress(OSError):
            figures, child = process_figures(self.program.process.pid), self.recognition()
            figures["recognition_mb"] = process_figures(child)["memory_mb"] if child else 0
            self.samples.append(figures)

    def run(self):
        arguments = [part for one in self.cameras for part in ("--source", "%s=%s" % (one.name, one.address))]
        with Doorcam(*arguments, "--headless", "--stats", "--engine", "opencv", "--faces", PATH, "--log", LOG,
                     "--visit-gap", GAP, folder=".") as self.program:
            self.program.wait_for("engine:")
            self.until = time.monotonic() + self.seconds
            self.play()
            self.at_end = json.loads(subprocess.check_output([sys.executable, PROGRAM, "list", "--json"], timeout=60,
                                                             env=environment()).decode())
            status, out, err = self.program.stop()
        self.listen()
        for camera in self.cameras:
            camera.off()
        self.judge(status, out)

    def play(self):
        """Has everybody and everything play, until all are at their places at the end."""
        plays = [one.play() for one in self.people + self.cameras] + [self.kill(), self.hang_posters()]
        due, sampled = [0.0] * len(plays), 0.0
        while not all(person.ready for person in self.people):
            now = time.monotonic()
            if self.program.process.poll() is not None or now > self.until + 3 * MENDED:
                return self.wrong.append("doorcam has ended, or somebody did not come to the end")
            self.listen()
            for person in self.people:
                where = [camera.name for camera in person.doors if camera.good()]
                if where and person.here:
                    person.shown, person.where = now, where
            for index, play in enumerate(plays):
                if now >= due[index]:
                    due[index] = now + next(play)
            if now - sampled > OFTEN:
                sampled = now
                self.sample()
            time.sleep(0.1)

    def judge(self, status, out):
        """Finds out what is wrong, and prints all."""
        wrong, logged, figures = self.wrong, rows_of_log(LOG), json.loads(out.splitlines()[-1]) if status == 0 else {}
        numbers = {rows[0][3]: number for number, rows in logged.items()}
        book = doorcam.load_known_faces(PATH, doorcam.OPENCV)
        at_door = {one["number"]: one.get("door") for one in self.at_end}
        if status or not sorted(numbers) == sorted(NAMES) or not len(logged) == len(book) == len(self.people):
            wrong.append("status %d, %d visitors in the log, %d in the book" % (status, len(logged), len(book)))
        for person, name in zip(self.people, NAMES):
            number = numbers.get(name, 0)
            told, visitor = logged[number], book[number]
            if len(told) != len(person.rows) or not all(
                    row[:2] == own[:2] and -UNSURE < row[2] - own[2] < own[4] + UNSURE and row[3] in own[3]
                    for row, own in zip(told, person.rows)):
                wrong.append("visitor %d: logged is %s, not %s" % (number, told, person.rows))
            if not visitor or visitor.seen_count != person.visit or at_door.get(number) != name:
                wrong.append("visitor %d: %d visits in the book, not %d; at the end at %s, not %s" % (
                    number, visitor.seen_count if visitor else 0, person.visit, at_door.get(number), name))
        wrong += [line for line in self.said if "unexpected fault" in line]
        third = max(1, len(self.samples) // 3)
        first, last = [{name: statistics.median([one[name] for one in part if one[name]] or [0]) for name in MORE}
                       for part in (self.samples[:third], self.samples[-third:])]
        wrong += ["%s: %s at first, %s at last" % (name, first[name], last[name])
                  for name, more in MORE.items() if last[name] > first[name] + more]
        print(json.dumps(dict(
            wrong=wrong, seconds=self.seconds, visits=sum(person.visit for person in self.people), played=self.played,
            first=first, last=last, memory=[one["memory_mb"] for one in self.samples[::len(self.samples) // 20 or 1]],
            said=self.said, figures=figures, story=self.story if wrong else [])))


def main(seconds, seed):
    house = House(seconds, seed)
    house.run()
    return 1 if house.wrong else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
