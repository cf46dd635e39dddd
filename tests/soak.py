#!/usr/bin/env python3
"""A simulated month at the door: soak.py VISITS PEOPLE SEED, in a folder of its own. Prints a line of JSON.

The clock and the faces are scripted; the tracks, the book, the log and the saves to the disk are doorcam's own. Memory
and open files are measured when everybody has been there a few times (half of the visits at the latest) and at the end.
"""
import json
import os
import random
import re
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import cv2  # noqa: E402
import numpy as np  # noqa: E402

import doorcam  # noqa: E402
import helpers  # noqa: E402

MONTH = 30 * 86400.0          # s
PATH, LOG = "known_faces.dat", "visits.csv"
LOOK = 0.25                   # s between two looks of a visit
COMMON = 1.33                 # length of what dlib's encodings of all faces have in common,
APART = 0.75                  # about the distance of two strangers' encodings, before they are of the length 1
DAY = 0.22                    # about that of a visit's encodings from the person's: other light, glasses
SCATTER = 0.2                 # about that of one encoding from the visit's


class Month:
    """Lets people come and go and saves as the main loop does, with a clock of its own for the saves, too."""

    def __init__(self, people, seed):
        self.chance, self.noise = random.Random(seed), np.random.RandomState(seed)
        self.faces = COMMON / np.sqrt(128) + self.noise.normal(0, APART / np.sqrt(2 * 128), (people, 128))
        self.pictures = [cv2.imdecode(np.frombuffer(doorcam.to_jpeg(self._picture(number)), np.uint8),
                                      cv2.IMREAD_COLOR) for number in range(8)]
        self.book, self.log = doorcam.load_known_faces(PATH, doorcam.DLIB), doorcam.EventLog(LOG)
        self.visits, self.saver = doorcam.Visits(self.book), doorcam.Saver(PATH, self.book)
        self.door = doorcam.Door(self.book, self.visits)
        self.now, self.events, self.saves = helpers.START, dict.fromkeys(("new", "returned", "left", "mistaken"), 0), 0

    def _picture(self, number):
        return cv2.GaussianBlur(self.noise.randint(0, 255, (150, 150, 3)).astype(np.uint8), (0, 0), 2 + number)

    def visit(self, people):
        """Some people come together, stay for some looks, and go; then nobody comes for a while."""
        shift = self.noise.normal(0, DAY / np.sqrt(128), 128)
        for _ in range(self.chance.randint(8, 20)):
            faces = [doorcam.Face(helpers.box_at(200 + 250 * place), 1.0, 1.0, 100.0 + self.chance.uniform(0, 100),
                                  doorcam.mean_encoding([self._sight(person) + shift]),
                                  self.chance.choice(self.pictures))
                     for place, person in enumerate(people)]
            self.look(faces)
            self.now += LOOK
        for _ in range(12):
            self.look([])
            self.now += LOOK

    def _sight(self, person):
        return self.faces[person] + self.noise.normal(0, SCATTER / np.sqrt(128), 128)

    def look(self, faces):
        self.door.looked_at = self.now
        events = self.door.recognize(doorcam.Look(None, 1.0, True, []), faces) + self.end()
        self.tell(events)
        before = self.saver._thread
        if events and self.chance.random() < 0.02:
            self.saver._due = 0.0  # a month's saves in minutes
        self.saver.save_when_due()
        self.saves += self.saver._thread is not before and self.saver._thread is not None

    def wait(self, seconds):
        self.now += seconds
        self.look([])

    def finish(self):
        self.tell(self.end(True))
        self.saver.close()

    def end(self, all_of_them=False):
        events = self.door.end_tracks(self.now, all_of_them)
        return events + self.visits.end(self.door.tracks, self.now, all_of_them)

    def tell(self, events):
        for event in events:
            self.events[event.kind] += 1
            self.log.write(event, self.book[event.visitor].name)


def figures(month):
    """What may not grow without bounds."""
    with open("/proc/self/status") as file:
        memory = int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024.0
    return {"memory_mb": round(memory, 1), "handles": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(), "visitors": len(month.book),
            "visits_going_on": len(month.visits.going()),
            "tracks": len(month.door.tracks),
            "file_kb": os.path.getsize(PATH) // 1024 if os.path.exists(PATH) else 0}


def main(visits, people, seed):
    month = Month(people, seed)
    month.finish()
    result, done = {"at the start": figures(month)}, 0
    order = list(range(people)) + [month.chance.randrange(people) for _ in range(visits - people)]
    while done < visits:
        together = list(dict.fromkeys(order[done:done + month.chance.choice((1, 1, 1, 1, 2, 3))]))
        month.visit(together)
        done += len(together)
        month.wait(month.chance.uniform(0.5, 1.5) * MONTH / visits * len(together))
        if "when all are known" not in result and done >= min(visits // 2, 4 * people):
            result["when all are known"] = figures(month)
    result["at the end"] = figures(month)
    month.finish()
    result["after the end"] = figures(month)
    result.update(visits=done, people=people, days=round((month.now - helpers.START) / 86400, 1), saves=month.saves,
                  events=month.events, most_encodings=max(len(one.encodings) for one in month.book.visitors.values()),
                  loaded_again=len(doorcam.load_known_faces(PATH, doorcam.DLIB)), files=sorted(os.listdir(".")))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
