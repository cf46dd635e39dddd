#!/usr/bin/env python3
"""Kills a process with SIGKILL while it saves the book again and again: crash.py COUNT SEED, in a folder of its own.

Prints a line of JSON: how many kills, how many of them in the middle of a save, how often the file held the last save
that had been announced and how often the one after it. AssertionError if it ever holds anything else.
"""
import json
import os
import random
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import doorcam  # noqa: E402
import files  # noqa: E402

PATH = "known_faces.dat"
VISITORS = 60
LONGEST = 0.03                # s of saving before the kill


def save_for_ever(pipe, generation):
    """Saves a book in which every visitor has `generation` visits, then one more; announces each that is done."""
    book = files.own_book(VISITORS)
    while True:
        for visitor in book.visitors.values():
            visitor.seen_count = generation
            book.changed.add(visitor.number)
        doorcam.save_known_faces(PATH, book.snapshot())
        os.write(pipe, b"%d\n" % generation)
        generation += 1


def kill_one(generation, chance):
    """Starts such a process, kills it, and returns (the last generation announced, killed in the middle of a save)."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            save_for_ever(writer, generation)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        announced = pipe.read(100)
        time.sleep(chance.uniform(0, LONGEST))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "it ended before it was killed"
        announced += pipe.read(1000000) or b""
    return int(announced.split()[-1]), os.path.exists(PATH + ".new")


def main(count, seed):
    chance, generation = random.Random(seed), 1
    found = {"kills": count, "in the middle": 0, "the last": 0, "the one after": 0}
    for _ in range(count):
        generation, middle = kill_one(generation, chance)
        with open(PATH, "rb") as file:
            visitors, _, problems = doorcam.read_known_faces(file.read())
        generations = {visitor.seen_count for visitor in visitors}
        assert not problems and len(visitors) == VISITORS and len(generations) == 1, (problems, generations)
        after = generations.pop() - generation
        assert after in (0, 1), after
        found["in the middle"] += middle
        found["the one after" if after else "the last"] += 1
        generation += after + 1
        assert set(os.listdir(".")) <= {PATH, PATH + ".new"}, os.listdir(".")
    doorcam.save_known_faces(PATH, files.own_book(1).snapshot())
    assert os.listdir(".") == [PATH], os.listdir(".")  # the next save takes away what a killed one left
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
