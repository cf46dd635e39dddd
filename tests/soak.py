#!/usr/bin/env python3
"""A simulated month at the door: soak.py VISITS PEOPLE SEED, in a folder of its own. Prints a line of JSON.

Clock, pictures and faces are scripted; all else is doorcam's own, from main() to the files on the disk. At random the
clock is set, the camera is lost, freezes or turns black, recognition dies or hangs, the disk is full, chmod is
refused, doorcam is ended or loses its power and starts again. The script comes to the door only when there is no doubt
what that makes in the book and the log: "wrong" lists what is not so. Memory, open files and bytes written are
measured when half of the visits are over and at the end.
"""
import collections
import csv
import errno
import json
import math
import os
import random
import re
import resource
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import numpy as np  # noqa: E402

import doorcam  # noqa: E402
import helpers  # noqa: E402

MONTH, FORGET = 30 * 86400.0, 3                  # s; days, of --forget-after
PATH, LOG = "known_faces.dat", "visits.csv"
ARGUMENTS = ["--headless", "--source", "rtsp://127.0.0.1:1/", "--engine", "dlib", "--faces", PATH, "--log", LOG,
             "--forget-after", str(FORGET)]
STEP, IDLE_STEP = 0.25, 120.0                    # s between two frames while something happens; else
SURE = 120.0                                     # s by which a visit's gap is longer than VISIT_GAP
SET = (3, -3, 40, -40, 3600, -3600, 20000, -20000)   # s by which the clock is set
MOST_SET = 8 * 3600.0                            # s; more than twice that is the day that --forget-after is in doubt
TROUBLES = ("lost", "black", "frozen", "dead", "hung", "clock", "full", "chmod", "end", "power")


LIMITS, CALLS = resource.getrlimit(resource.RLIMIT_FSIZE), (os.chmod, os.fchmod, os.fchown)


class Clock:
    """Stands for the module time in doorcam."""
    steady, offset = 1000.0, helpers.START - 1000.0   # s; the wall clock's, from the steady one

    def monotonic(self):
        return self.steady

    def clock_gettime(self, _):
        return self.steady

    def time(self):
        return self.steady + self.offset

    def sleep(self, seconds):
        self.steady += seconds


class Person:
    """Somebody of the script. rows: what the log has of the entry that the book has of the person: [event, visit,
    seconds]."""

    def __init__(self, number):
        self.number, self.rows, self.name, self.visit, self.began = number, None, "", 0, 0.0
        self.steady = self.wall = -1e9           # by both clocks, when seen last
        self.met = False                         # in this run of doorcam


class Script:
    """Who comes, what goes wrong, and what that has to make."""

    def __init__(self, visits, people, seed):
        self.chance, self.noise, self.clock = random.Random(seed), np.random.RandomState(seed), Clock()
        self.people, self.visits, self.wanted = [Person(number) for number in range(people)], 0, visits
        self.entries, self.numbers = [], {}      # rows of all entries there ever were; number: rows, as doorcam gave it
        self.empty, self.texture = self._noise(180, 320), self._noise(60, 60)
        self.faces, self.black = [self._noise(150, 150) for _ in range(8)], np.zeros_like(self.empty)
        self.picture, self.in_view, self.count, self.to_name = self.empty, (), 0, []
        self.recognition, self.mend_at, self.power, self.over = "", 0.0, True, False
        self.troubles, self.said, self.result = collections.Counter(), collections.Counter(), {}
        self.house, self.plays = None, self.play()

    def _noise(self, *size):
        return self.noise.randint(30, 220, size + (3,)).astype(np.uint8)

    def play(self):
        """Yields what the camera gives: a picture, or None; or how this run of doorcam ends, "end" or "power"."""
        pause = MONTH / self.wanted
        while self.visits < self.wanted:
            yield from self.show((), doorcam.VISIT_GAP + SURE, step=IDLE_STEP)
            if self.chance.random() < 0.3:
                yield from self.trouble(())
            yield from self.show((), self.chance.uniform(0, 2) * pause, step=IDLE_STEP)
            sure, before = [person for person in self.people if self.is_sure(person)], self.visits
            if sure:
                yield from self.stay(sure)
            yield from self.show((), max(0, self.visits - before - 1) * pause, step=IDLE_STEP)
            if "halfway" not in self.result and self.visits >= self.wanted // 2:
                self.result["halfway"] = figures(self)
        while not all(self.is_sure(person) for person in self.people):
            yield from self.show((), 3600, step=600)
        yield from self.show((), 600, step=IDLE_STEP)
        self.result["at the end"] = figures(self)
        self.over = True
        yield "end"

    def show(self, people, seconds, kind="", step=STEP):
        """The camera's pictures for so many seconds, with these people."""
        until = self.clock.steady + seconds
        while self.clock.steady < until:
            self.clock.steady += min(step, until - self.clock.steady)
            self.count += 1
            if self.clock.steady > self.mend_at:
                mend()
            if not kind:
                self.picture, self.in_view = self.empty.copy(), tuple(people)
                self.picture[0, 0] = self.count % 199 + 1, self.count // 199 % 199 + 1, 1
                for place, _ in enumerate(people):
                    left = 15 + 100 * place + self.count % 7
                    self.picture[60:120, left:left + 60] = self.texture
                self._seen(people)
            yield {"lost": None, "black": self.black}.get(kind, self.picture)

    def is_sure(self, person):
        """Whether nobody can doubt what it is if the person comes now, nor whether the person is forgotten."""
        away = self.clock.time() - person.wall
        return (self.clock.steady - person.steady > doorcam.VISIT_GAP + SURE
                and not -SURE < away < doorcam.VISIT_GAP + SURE
                and (bool(person.name) or abs(away - FORGET * 86400) > 86400))

    def is_forgotten(self, person):
        return not person.name and self.clock.time() - person.wall > FORGET * 86400

    def stay(self, sure):
        """Some people come together; something goes wrong; they go."""
        weights = [1.0 / (1 + person.number) for person in sure]
        people = self.chance.choices(sure, weights, k=self.chance.choice((1, 1, 1, 2, 3)))
        people = list(collections.OrderedDict.fromkeys(people))
        for person in people:
            self._arrive(person)
        self.visits += len(people)
        yield from self.show(people, self.chance.uniform(20, 40))
        if self.chance.random() < 0.05 and not people[0].name:
            people[0].name = "=\u0645\u0631\u06cc\u0645, %d" % people[0].number
            self.to_name.append(people[0])
            yield from self.show(people, 15)
        yield from self.trouble(people)
        yield from self.show(people, self.chance.uniform(15, 40))
        self._leave(people)
        yield from self.show((), 15)

    def _arrive(self, person):
        if person.rows is None or self.is_forgotten(person):
            person.rows, person.visit = [], 0
            self.entries.append(person.rows)
        person.visit += 1
        person.began, person.steady = self.clock.steady, self.clock.steady
        person.rows.append(["returned" if person.visit > 1 else "new", person.visit, None])

    def _seen(self, people):
        for person in people:
            person.steady, person.wall, person.met = self.clock.steady, self.clock.time(), True

    @staticmethod
    def _leave(people):
        for person in people:
            person.rows.append(["left", person.visit, person.steady - person.began])

    def trouble(self, people):
        """Something goes wrong, while these people are there."""
        kind = self.chance.choice(TROUBLES)
        if kind in ("end", "power", "full", "chmod") and self.clock.steady < self.mend_at + 45:
            return
        self.troubles[kind] += 1
        if kind in ("lost", "black", "frozen"):
            seconds = self.chance.choice((1, 5, 20, 100, 600))
            yield from self.show(people, seconds, kind, STEP if seconds < doorcam.VISIT_GAP else 2.0)
            if seconds > doorcam.VISIT_GAP:
                self._leave(people)
                for person in people:
                    self._arrive(person)
                yield from self.show(people, 10)
        elif kind in ("dead", "hung"):
            self.recognition = kind
            yield from self.show(people, self.chance.choice((5, 30, 100)))
            self.recognition = ""
            yield from self.show(people, doorcam.CHILD_HUNG + doorcam.CHILD_PAUSES[-1] + 10)
        elif kind == "clock":
            self.set_clock([person for person in self.people if person.met])
        elif kind in ("full", "chmod"):
            self.refuse(kind)
        else:
            yield from self.start_again(kind, people)

    def set_clock(self, people):
        """What doorcam saw of these people in this run is of the new time."""
        seconds = self.chance.choice([one for one in SET if abs(self.clock.offset + one - Clock.offset) < MOST_SET])
        self.clock.offset += seconds
        for person in people:
            person.wall += seconds

    def start_again(self, kind, people):
        """This run of doorcam ends, be it that the power is cut, and the next one begins."""
        if kind == "end":
            self._leave(people)
        self.power = kind != "power"
        yield kind
        self.power = True
        for person in self.people:
            person.met = False
        self.clock.steady += self.chance.choice((1, 20, 60))
        if not people:
            self.set_clock(())

    def refuse(self, kind):
        """The disk is full, or refuses what not every file system can, for a while."""
        self.mend_at = self.clock.steady + self.chance.choice((10, 60, 400))
        if kind == "full":
            room = self.chance.randrange(2 * os.path.getsize(PATH)) if os.path.exists(PATH) else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, LIMITS[1]))
        else:
            os.chmod = os.fchmod = os.fchown = refused


def refused(*_):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def mend():
    resource.setrlimit(resource.RLIMIT_FSIZE, LIMITS)
    os.chmod, os.fchmod, os.fchown = CALLS


class Camera(doorcam.LiveCamera):
    """Gives the script's pictures; which of them are none, doorcam judges. script: set by main()."""
    script = None

    def _start_reading(self):
        self._reader, self._started = threading.current_thread(), self.script.clock.steady

    def newest(self, timeout):
        picture = next(self.script.plays)
        if isinstance(picture, str):
            self.ended = True
            return None
        self._started = self.script.clock.steady     # one that is lost is opened again and again
        if picture is not None:
            self._take(picture)
        return super().newest(0)

    def close(self):
        return True


class Recognition:
    """Stands for the Child that recognises: answers who is in the newest picture, a moment later; dies, hangs."""

    def __init__(self, script):
        self.script, self.at, self.faces = script, 0.0, "scripted"
        if script.recognition and script.chance.random() < 0.2:
            raise MemoryError

    def ask(self, look, seconds, frame):
        script = self.script
        self.at = script.clock.steady + script.chance.choice((0.1, 0.3, 0.5))
        self.until = script.clock.steady + seconds
        self.faces = [helpers.face(helpers.aside(helpers.person(person.number), 0.2, person.visit % 28),
                                   45 + 100 * place, 90, 60, sharp=100 + script.chance.uniform(0, 100))._replace(
                                       picture=script.chance.choice(script.faces))
                      for place, person in enumerate(script.in_view)]

    def answer(self, seconds):
        if self.script.recognition == "dead":
            raise OSError("killed by signal 9")
        if self.script.recognition == "hung" and self.faces != "scripted":
            self.at = math.inf
        if self.at == math.inf and self.script.clock.steady >= self.until:
            raise OSError("it did not answer for 20 s")
        if self.faces is None or self.script.clock.steady < self.at:
            return None
        answer, self.faces = (self.faces, None), None
        return answer

    def close(self):
        pass


class House(doorcam.House):
    """Saves before the script goes on; obeys it; loses its power."""
    script = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.script.house = self

    def look_after(self, now):
        if self.saver._thread is not None:
            self.saver._thread.join()
        super().look_after(now)

    def tell(self, events):
        for event in events:
            if event.kind == "new":
                number = int(np.argmax(self.book[event.visitor].encodings[0][:helpers.PEOPLE]))
                self.script.numbers[event.visitor] = self.script.people[number].rows
        super().tell(events)

    def obey(self, requests):
        people, self.script.to_name = self.script.to_name, []
        requests = requests + [doorcam.Request("name", {"number": number, "name": person.name}) for person in people
                               for number, rows in self.script.numbers.items() if rows is person.rows]
        return super().obey(requests)

    def finish_visits(self):
        if self.script.power:
            super().finish_visits()


def figures(script):
    """What may not grow without bounds; the bytes written are those since the start."""
    with open("/proc/self/status") as file:
        memory = int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024.0
    with open("/proc/self/io") as file:
        written = int(re.search(r"wchar:\s+(\d+)", file.read()).group(1))
    days = (script.clock.steady - Clock.steady) / 86400
    return {"memory_mb": round(memory, 1), "handles": len(os.listdir("/proc/self/fd")), "days": round(days, 1),
            "threads": threading.active_count(), "visitors": len(script.house.book),
            "visits_going_on": len(script.house.visits.going()), "tracks": len(script.house.door.tracks),
            "written_mb_a_day": round(written / 1e6 / max(days, 1), 2), "file_kb": os.path.getsize(PATH) // 1024}


def differences(script, book):
    """What in the book and the log is not as the script has it."""
    logged, wrong = collections.defaultdict(list), []
    with open(LOG, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            logged[int(row["visitor"])].append([row["event"], int(row["visit"]), int(row["seconds"] or -1)])
    if sorted(logged) != list(range(1, len(script.entries) + 1)) or set(logged) != set(script.numbers):
        wrong.append("entries: %d, not %d" % (len(logged), len(script.entries)))
    for number, rows in script.numbers.items():
        if [row[:2] for row in logged[number]] != [row[:2] for row in rows] or any(
                row[0] == "left" and not row[2] - 8 < told[2] < row[2] + 2 for told, row in zip(logged[number], rows)):
            wrong.append("visitor %d: %s, not %s" % (number, logged[number], rows))
    there = {number: person for number, rows in script.numbers.items() for person in script.people
             if person.rows is rows and not script.is_forgotten(person)}
    if sorted(book.visitors) != sorted(there):
        wrong.append("book: %s, not %s" % (sorted(book.visitors), sorted(there)))
    for number in set(there).intersection(book.visitors):
        visitor, person = book[number], there[number]
        total = sum({row[1]: row[2] for row in logged[number] if row[0] == "left"}.values())
        if ((visitor.name, visitor.seen_count) != (person.name, person.visit) or abs(visitor.last_seen - person.wall) > 8
                or abs(visitor.total_seconds() - total) > person.visit):
            wrong.append("visitor %d: %s" % (number, [getattr(visitor, key) for key in (
                "name", "seen_count", "last_seen", "seconds_before")] + [person.name, person.visit, person.wall, total]))
    return wrong


def main(visits, people, seed):
    script, child = Script(visits, people, seed), doorcam.Child
    doorcam.time, doorcam.House, doorcam.LiveCamera, House.script, Camera.script = (
        script.clock, House, Camera, script, script)
    doorcam.Child = lambda seconds, work, *arguments: Recognition(script) if (
        work is doorcam.recognize_in_child) else child(seconds, work, *arguments)
    doorcam.put_line = lambda line, file=None: script.said.update(
        [re.sub(r"\d+", "N", line)] if file is sys.stderr else [])
    statuses = []
    while not script.over:
        statuses.append(doorcam.main(ARGUMENTS))
    book = doorcam.load_known_faces(PATH, doorcam.DLIB)
    script.result.update(
        wrong=differences(script, book), visits=script.visits, people=sum(person.rows is not None for person in script.people),
        entries=len(script.entries), runs=len(statuses), statuses=sorted(set(statuses)), troubles=script.troubles,
        said=script.said, most_encodings=max(len(one.encodings) for one in book.visitors.values()),
        loaded_again=len(book), threads=threading.active_count(), file_kb=os.path.getsize(PATH) // 1024,
        files=sorted(os.listdir(".")))
    print(json.dumps(script.result))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
