#!/usr/bin/env python3
"""A simulated month at the door: soak.py VISITS PEOPLE SEED, in a folder of its own. Prints a line of JSON.

Clock, pictures and faces are scripted; all else is doorcam's own, from main() to the files. At random the clock is set,
the camera is lost, freezes or turns black, recognition dies or hangs, the disk is full, chmod is refused, doorcam is
ended or loses its power and starts again. The script's people come only when there is no doubt what that makes in the
book and the log: "wrong" lists what is not so. Memory, handles and bytes written are measured halfway and at the end.
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
import time
import types

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import numpy as np  # noqa: E402

import doorcam  # noqa: E402
import helpers  # noqa: E402

MONTH, FORGET = 30 * 86400.0, 3 * 86400.0        # s
PATH, LOG = "known_faces.dat", "visits.csv"
ARGUMENTS = ["--headless", "--source", "rtsp://127.0.0.1:1/", "--engine", "dlib", "--faces", PATH, "--log", LOG,
             "--forget-after", str(FORGET / 86400)]
STEP, IDLE_STEP = 0.5, 120.0                     # s between two frames while something happens; else
GAP = doorcam.VISIT_GAP + 120.0                  # s not seen, after which it certainly is another visit
SET = (3, -3, 40, -40, 3600, -3600, 20000, -20000)   # s by which the clock is set,
MOST_SET = 8 * 3600.0                            # in all; is_sure() keeps a day away from FORGET, more than twice that
MOST_DOWN = doorcam.CHILD_HUNG + doorcam.CHILD_PAUSES[-1] + 10   # s until recognition is back after a trouble
CALLS, LIMITS = (os.chmod, os.fchmod, os.fchown), resource.getrlimit(resource.RLIMIT_FSIZE)
START = types.SimpleNamespace(steady=1000.0, offset=helpers.START - 1000.0)


class Script:
    """Who comes, what goes wrong, and what that has to make. It stands for the module time in doorcam, too."""

    def __init__(self, visits, people, seed):
        self.chance, self.noise = random.Random(seed), np.random.RandomState(seed)
        self.steady, self.offset, self.visits, self.wanted = START.steady, START.offset, 0, visits
        self.people = [types.SimpleNamespace(place=place, rows=None, name="", visit=0, began=0.0, steady=-1e9,
                                             wall=-1e9, met=False)    # met: in this run of doorcam
                       for place in range(people)]
        self.entries, self.numbers, self.to_name = [], {}, []  # rows [event, visit, s] of all entries; number: rows
        self.empty, self.texture, self.count = self._noise(180, 320), self._noise(60, 60), 0
        self.faces, self.picture, self.in_view = [self._noise(150, 150) for _ in range(8)], self.empty, ()
        self.recognition, self.power, self.over, self.house = "", True, False, None
        self.mend_at = self.saves_at = 0.0      # when the disk is all right again, and everything saved
        self.troubles, self.said, self.result = collections.Counter(), collections.Counter(), {}
        self.plays, self.sleep = self.play(), lambda seconds: None

    def monotonic(self, _=None):
        return self.steady

    clock_gettime = monotonic

    def time(self):
        return self.steady + self.offset

    def _noise(self, height, width):
        return self.noise.randint(30, 220, (height, width, 3)).astype(np.uint8)

    def play(self):
        """Yields what the camera gives: a picture, or None; or how this run of doorcam ends, "end" or "power"."""
        while self.visits < self.wanted:
            yield from self.show((), GAP, step=IDLE_STEP)
            if self.chance.random() < 0.5:
                yield from self.trouble(())
            sure, before = [person for person in self.people if self.is_sure(person)], self.visits
            ahead = [person for person in sure if person.wall > self.time()]   # seen last before the clock was set back
            if sure:
                self.troubles["ahead"] += bool(ahead)
                yield from self.stay(ahead or sure)
            pause = max(1, self.visits - before) * MONTH / self.wanted - GAP
            yield from self.show((), self.chance.choice((0, 1, 3)) * pause * 0.75, step=IDLE_STEP)
            if "halfway" not in self.result and self.visits >= self.wanted // 2:
                self.result["halfway"] = self.figures()
        while not all(map(self.is_sure, self.people)) or self.steady < self.mend_at + 600:
            yield from self.show((), 600, step=IDLE_STEP)
        self.result["at the end"], self.over = self.figures(), True
        yield "end"

    def show(self, people, seconds, kind="", step=STEP):
        """The camera's pictures for so many seconds, with these people in them."""
        until = self.steady + seconds
        while self.steady < until:
            self.steady, self.count = self.steady + min(step, until - self.steady), self.count + 1
            if self.steady > self.mend_at:
                resource.setrlimit(resource.RLIMIT_FSIZE, LIMITS)
                os.chmod, os.fchmod, os.fchown = CALLS
            if not kind:
                self.picture, self.in_view = self.empty.copy(), tuple(people)
                self.picture[0, 0] = self.count % 199 + 1, self.count // 199 % 199 + 1, 1
                for place, person in enumerate(people):
                    left = 15 + 100 * place + self.count % 7
                    self.picture[60:120, left:left + 60] = self.texture
                    person.steady, person.wall, person.met = self.steady, self.time(), True
            yield None if kind == "lost" else self.picture * np.uint8(kind != "black")

    def away(self, person):
        """s by the wall clock since the person was seen; infinite for nobody, or who is forgotten for that."""
        away = self.time() - person.wall
        return math.inf if person.rows is None or not person.name and away > FORGET else away

    def is_sure(self, person):
        """Whether nobody can doubt what it is if the person comes now, nor whether the person is forgotten."""
        away = self.time() - person.wall
        return (self.steady - person.steady > GAP and not -GAP < away < GAP
                and (bool(person.name) or abs(away - FORGET) > 86400))

    def stay(self, sure):
        """Some people come together; something goes wrong; they go."""
        weights = [1.0 / (1 + person.place) for person in sure]
        people = self.chance.choices(sure, weights, k=self.chance.choice((1, 1, 1, 2, 3)))
        people = list(collections.OrderedDict.fromkeys(map(self.people.index, people)))
        people = [self.people[place] for place in people]
        self.arrive(people)
        self.visits += len(people)
        yield from self.show(people, self.chance.uniform(20, 40))
        if self.chance.random() < 0.05 and not people[0].name:
            people[0].name = "=\u0645\u0631\u06cc\u0645, %d" % people[0].place
            self.to_name.append(people[0])
            yield from self.show(people, 15)
        yield from self.trouble(people)
        yield from self.show(people, self.chance.uniform(15, 40))
        self.leave(people)
        yield from self.show((), 15)

    def arrive(self, people):
        for person in people:
            if self.away(person) == math.inf:
                person.rows, person.visit = [], 0
                self.entries.append(person.rows)
            person.visit, person.began = person.visit + 1, self.steady
            person.rows.append(["returned" if person.visit > 1 else "new", person.visit, -1])

    @staticmethod
    def leave(people):
        for person in people:
            person.rows.append(["left", person.visit, person.steady - person.began])

    def trouble(self, people):
        """Something goes wrong, while these people are there."""
        disk = self.chance.choice(("full", "chmod", "end", "power") if self.steady > self.saves_at else ("clock",))
        kind = self.chance.choice(("lost", "black", "frozen", "dead", "hung", "clock", disk, disk, disk))
        self.troubles[kind] += 1
        if kind in ("lost", "black", "frozen"):
            seconds = self.chance.choice((1, 5, 20, 100, 600))
            yield from self.show(people, seconds, kind, STEP if seconds < GAP else 2.0)
            if seconds > GAP:
                self.leave(people)
                self.arrive(people)
        elif kind in ("dead", "hung"):
            self.recognition = kind
            yield from self.show(people, self.chance.choice((5, 30, 100)))
            self.recognition = ""
            yield from self.show(people, MOST_DOWN)
        elif kind == "clock":
            self.set_clock([person for person in self.people if person.met])
        elif kind in ("full", "chmod"):
            self.mend_at = self.steady + self.chance.choice((10, 60, 600))
            if kind == "full":
                self.saves_at = self.mend_at + 45
                room = self.chance.choice((0, self.chance.randrange(1 << 17)))   # the log has none; journal, file
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, LIMITS[1]))
            else:
                os.chmod = os.fchmod = os.fchown = refused
        else:
            yield from self.start_again(people, kind)

    def set_clock(self, people, by=SET):
        """Of these people doorcam knows that what it saw of them is of the new time."""
        seconds = self.chance.choice([one for one in by if abs(self.offset + one - START.offset) < MOST_SET])
        self.offset += seconds
        for person in people:
            person.wall += seconds

    def start_again(self, people, kind):
        """This run of doorcam ends, and the next one begins; the visit of who is there goes on."""
        self.leave(people if kind == "end" else ())
        self.power = kind == "end"
        yield kind
        self.power, self.steady = True, self.steady + self.chance.choice((1, 20, 60))
        for person in self.people:
            person.met = False
        if not people:
            self.set_clock((), SET[4:])

    def figures(self):
        """What may not grow without bounds."""
        with open("/proc/self/io") as io:
            written = re.search(r"wchar:\s+(\d+)", io.read())
        days = (self.steady - START.steady) / 86400
        return dict(process_figures("self"), **{
            "threads": threading.active_count(), "days": round(days, 1), "visitors": len(self.house.book),
            "visits_going_on": len(self.house.visits.going()), "tracks": len(self.house.doors[0].tracks),
            "written_mb_a_day": round(int(written.group(1)) / 1e6 / days, 2),
            "written_kb_a_visit": int(written.group(1)) // 1000 // self.visits})

    def wrong(self, book):
        """What in the book and the log is not as the script has it."""
        logged, wrong = rows_of_log(LOG), []
        there = {number: person for number, rows in self.numbers.items() for person in self.people
                 if person.rows is rows and self.away(person) < math.inf}
        if not sorted(logged) == sorted(self.numbers) == list(range(1, len(self.entries) + 1)):
            wrong.append("%d entries, not %d" % (len(logged), len(self.entries)))
        if sorted(book.visitors) != sorted(there):
            wrong.append("in the book are %s, not %s" % (sorted(book.visitors), sorted(there)))
        for number, rows in self.numbers.items():
            if [row[:2] for row in logged[number]] != [row[:2] for row in rows] or not all(
                    -8 < told[2] - row[2] < 2 for told, row in zip(logged[number], rows)):
                wrong.append("visitor %d: logged is %s, not %s" % (number, logged[number], rows))
        for number in set(there).intersection(book.visitors):
            one, person = book[number], there[number]
            total = sum({row[1]: row[2] for row in logged[number] if row[0] == "left"}.values())
            if ((one.name, one.seen_count) != (person.name, person.visit) or abs(one.last_seen - person.wall) > 8
                    or abs(one.total_seconds() - total) > person.visit):
                wrong.append("visitor %d: %s, not %s" % (number, (one.name, one.seen_count, one.last_seen,
                                                                  one.total_seconds()), (person, total)))
        return wrong


def process_figures(process):
    """What a process has of what may not grow without bounds; by its number, or "self". ProcessLookupError if it has
    ended."""
    with open("/proc/%s/status" % process) as status:
        found = re.search(r"VmRSS:\s+(\d+)[^$]+Threads:\s+(\d+)", status.read())
    if not found:
        raise ProcessLookupError
    memory, threads = found.groups()
    return {"memory_mb": round(int(memory) / 1024.0, 1), "threads": int(threads),
            "handles": len(os.listdir("/proc/%s/fd" % process))}


def rows_of_log(path):
    """{visitor: [[event, visit, seconds, door]]} of a log; seconds -1 and door "" where there are none."""
    rows = collections.defaultdict(list)
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[int(row["visitor"])].append([row["event"], int(row["visit"]), int(row["seconds"] or -1),
                                              row.get("door", "")])
    return rows


def refused(*_):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


class Camera(doorcam.LiveCamera):
    """Gives the script's pictures; which of them are none, doorcam judges."""

    def _start_reading(self):
        self._reader, self._started = threading.current_thread(), self.script.steady

    def newest(self, timeout):
        picture = next(self.script.plays)
        self.ended = isinstance(picture, str)
        self._started = self.script.steady      # one that is lost is opened again and again
        if picture is not None and not self.ended:
            self._take(picture)
        return super().newest(0)

    def close(self):
        return True


class Recognition:
    """Stands for the Child that recognises: answers who is in the newest picture, a moment later; dies, hangs."""

    def __init__(self, script):
        self.script, self.at, self.until, self.faces = script, script.steady, math.inf, "scripted"
        if script.recognition and script.chance.random() < 0.2:
            raise MemoryError

    def ask(self, look, seconds, frame):
        script, chance = self.script, self.script.chance
        self.at = script.steady + (math.inf if script.recognition == "hung" else chance.choice((0.1, 0.3, 0.5)))
        self.until = script.steady + seconds
        self.faces = [helpers.face(helpers.aside(helpers.person(person.place), 0.2, person.visit % 28),
                                   45 + 100 * place, 90, 60, 1.0, 150)._replace(picture=chance.choice(script.faces))
                      for place, person in enumerate(script.in_view)]

    def answer(self, seconds):
        if self.faces is not None and self.script.steady >= self.at and self.script.recognition != "dead":
            answer, self.faces, self.until = (self.faces, None), None, math.inf
            return answer
        if self.script.recognition == "dead" or self.script.steady >= self.until:
            raise OSError("killed, or it hung")
        return None

    def close(self):
        pass


class Telling(doorcam.Telling):
    """Tells the script, too, which number a newcomer has got."""

    def tell(self, events, book, frame):
        for event in events:
            if event.kind == "new":
                place = int(np.argmax(book[event.visitor].encodings[0][:helpers.PEOPLE]))
                self.script.numbers[event.visitor] = self.script.people[place].rows
        super().tell(events, book, frame)


class Owner:
    """Names whom the script wants named."""

    def __init__(self, script):
        self.script = script

    def requests(self):
        people, self.script.to_name = self.script.to_name, []
        return [doorcam.Request("name", {"number": number, "name": person.name}) for person in people
                for number, rows in self.script.numbers.items() if rows is person.rows]

    def close(self):
        pass


class House(doorcam.House):
    """Has saved before the script goes on; hears from it that there is no power."""

    def __init__(self, options, stop):
        super().__init__(options, stop)
        self.desk.mouths.append(Owner(self.script))

    def look_after(self, now):
        self.script.house = self
        if self.saver._thread is not None:
            self.saver._thread.join()
        super().look_after(now)

    def take_book(self):
        super().take_book()
        while self.loading:  # the script's clock stands meanwhile
            time.sleep(0.001)
            super().take_book()

    def finish_visits(self):
        if self.script.power:
            super().finish_visits()


def main(visits, people, seed):
    script, child, statuses = Script(visits, people, seed), doorcam.Child, []
    House.script = Camera.script = Telling.script = doorcam.time = script
    doorcam.House, doorcam.LiveCamera, doorcam.Telling = House, Camera, Telling
    doorcam.Child = lambda seconds, work, *arguments: (
        Recognition(script) if work is doorcam.recognize_in_child else child(seconds, work, *arguments))
    doorcam.put_line = lambda line, file=None: script.said.update([re.sub(r"\d+", "N", line)] * (file is sys.stderr))
    while not script.over:
        script.house = None
        statuses.append(doorcam.main(ARGUMENTS))
        if script.house is None or not script.house.doors[0].camera.ended:
            sys.exit("it was ended by a signal, or did not begin: %s" % list(script.said))
    book = doorcam.load_known_faces(PATH, doorcam.DLIB)
    script.result.update(
        wrong=script.wrong(book), statuses=sorted(set(statuses)), runs=len(statuses), visits=script.visits,
        people=sum(person.rows is not None for person in script.people), entries=len(script.entries),
        troubles=script.troubles, said=script.said,
        most_encodings=max(len(one.encodings) for one in book.visitors.values()), loaded_again=len(book),
        threads=threading.active_count(), file_kb=os.path.getsize(PATH) // 1024, files=sorted(os.listdir(".")))
    print(json.dumps(script.result))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
