"""The benchmark measures what it says, with each of the engines."""
import math
import os
import re
import subprocess
import sys
import types

import cv2
import numpy as np
import pytest

import benchmark
import doorcam
from helpers import aside, face, person
from processes import HERE, environment, portrait

ENGINES = benchmark.ENGINES["both"]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A folder with two people, and of the first a second picture, darker and turned."""
    folder = tmp_path_factory.mktemp("people")
    for who, name in enumerate(("ann", "bob")):
        picture = portrait(who, 300)
        turned = cv2.warpAffine(picture, cv2.getRotationMatrix2D((150, 150), 5, 1), (300, 300),
                                borderMode=cv2.BORDER_REPLICATE)
        (folder / name).mkdir()
        for visit, shown in enumerate((picture, turned * 0.8)[:2 - who]):
            cv2.imwrite(str(folder / name / ("%d.png" % visit)), shown.astype(np.uint8))
    return folder


def recognition(people, *options):
    """{row: [value of dlib, of opencv, of the original]}"""
    command = [sys.executable, os.path.join(HERE, "benchmark.py"), "recognition", str(people), "--orders", "1",
               "--cache", str(people.parent / "cache"), *options]
    out = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True, timeout=300, text=True).stdout
    lines = out.splitlines()
    assert lines[0] == "2 people, 3 visits, of which 1 returns; mean of 1 orders"
    assert lines[1].split() == [*ENGINES, "original"]
    return {line[:42].strip(): line[42:].split() for line in lines[2:]}


def test_recognition_with_both_engines(people):
    table = recognition(people)
    assert table["visitors a person"] == ["1", "1", "1"]
    assert table["visits greeted as somebody else, %"] == ["0", "0", "0"]
    assert table["missed (never decided), %"] == ["0", "0", "0"]


@pytest.mark.parametrize("index", [0, 1])
def test_recognition_with_more_caution_of_one_engine(people, index):
    table = recognition(people, "--set", ENGINES[index] + ".caution=99")
    expected = ["0", "0", "0"]
    expected[index] = "100"
    assert table["returns called new, %"] == expected


def test_a_replay_answers_as_the_look_asks():
    near, whole, far = (face(person(number), 200 * number + 100) for number in range(3))
    recognizer = benchmark.CachedRecognizer("opencv")

    def answer(**asked):
        recognizer.offer(doorcam.Look(None, 1.0, asked.get("whole", False), asked.get("regions", []),
                                      asked.get("far", False)))
        return recognizer.answer()[1]
    recognizer.at({"opencv": [{"whole": [whole], "near": [near], "far": [far]}]}, 0)
    assert answer(whole=True) == [whole]
    assert answer(far=True) == [far]
    assert answer(regions=[(near.box, False)]) == [near._replace(encoding=None)]
    assert answer(regions=[(near.box, True)], whole=True, far=True) == [near, whole, far]
    recognizer.at(None, 0)
    assert answer(regions=[(near.box, True)], whole=True, far=True) == []


@pytest.mark.parametrize("name, seen, unseen", [("dlib", 60, 20), ("opencv", 40, 13)])
def test_range_tells_what_is_seen_from_what_is_not(name, seen, unseen, monkeypatch):
    monkeypatch.setattr(benchmark, "FOUND_FRAMES", 5)
    monkeypatch.setattr(benchmark, "KNOWN_FRAMES", 15)
    scene, book = benchmark.Scene(640, 480), benchmark.book_of_many(name)
    assert len(book) == benchmark.BOOK_SIZE
    assert benchmark.found_share(name, scene, seen) == 1
    assert benchmark.found_share(name, scene, unseen) < 0.5
    assert all(benchmark.becomes_known(name, book, scene, number, seen) for number in (0, 1))
    assert not benchmark.becomes_known(name, book, scene, 0, unseen)
    book.forget(1)
    assert not benchmark.becomes_known(name, book, scene, 0, seen)


@pytest.mark.parametrize("limit", [12, 13, 40, 143, 144])
def test_the_smallest_width_that_works(limit):
    found = benchmark.smallest(144, lambda width: width >= limit)
    assert limit <= found <= limit / benchmark.STEPS[-1] + 1


def test_the_smallest_width_stops_at_one_that_fails():
    assert math.isnan(benchmark.smallest(144, lambda width: width < 144))
    tried = []
    assert 90 <= benchmark.smallest(144, lambda width: tried.append(width) or not 40 < width < 90) <= 95
    assert 40 < min(tried) < 90


def test_a_constant_that_does_not_exist_is_refused():
    command = [sys.executable, os.path.join(HERE, "benchmark.py"), "recognition", ".", "--set", "opencv.tolerance=1"]
    done = subprocess.run(command, env=environment(), stderr=subprocess.PIPE, timeout=60, text=True)
    assert done.returncode == 2 and re.search("doorcam has no constant opencv.tolerance$", done.stderr.strip())


def test_life_counts_what_goes_wrong(tmp_path, metric):
    """Two people three times each, and one whose second visit looks like the first of them."""
    visits = [person(1), person(2), person(3), person(1), person(2), person(1), person(2), person(1)]
    owners = [1, 2, 3, 1, 2, 1, 2, 3]
    path = str(tmp_path / "life.npz")
    np.savez(path, photographs=np.array([[one, one] for one in visits]), photographs_person=np.array(owners))
    stream = benchmark.load_visits(path, "photographs", 0, 0, 1)
    assert sorted(owner for owner, _ in stream) == sorted(owners) and len(stream[0][1]) == 2
    as_it_stands = [(owner, [one, one]) for owner, one in zip(owners, visits)]
    found = benchmark.live_through(as_it_stands, metric)
    assert found["visits greeted as somebody else, %"] == 100 / 8.0
    assert found["returns not greeted as known, %"] == 0 and found["visitors a person"] == 1
    strangers = [(1, [person(10)]), (1, [person(11)]), (2, [person(12)])]
    assert benchmark.live_through(strangers, metric)["returns not greeted as known, %"] == 100


def written_life(tmp_path, **arrays):
    path = str(tmp_path / "life.npz")
    np.savez(path, **{name: np.array(values) for name, values in arrays.items()})
    return path


def test_by_night_half_of_the_returns_are_changed_as_nights_are(tmp_path):
    """Only returns; as the last picture of somebody was changed, from whom it is known; a share of it."""
    visits, owners = [person(1), person(2), aside(person(2), 0.5), person(1), person(2)], [1, 2, 2, 1, 2]
    path = written_life(tmp_path, photographs=[[one] for one in visits], photographs_person=owners,
                        night=[[person(5)], [[math.nan] * 128]], night_person=[2, 1])
    stream = [(owner, [one]) for owner, one in zip(owners, visits)]
    changed = benchmark.by_night(stream, path, "photographs", 0.5, 1)
    places = [index for index, (before, after) in enumerate(zip(stream, changed))
              if not np.allclose(before[1], after[1])]
    assert len(places) == 1 and places[0] >= 2 and [owner for owner, _ in changed] == owners
    expected = visits[places[0]] + 0.5 * (person(5) - person(2))
    assert np.allclose(changed[places[0]][1], [expected / np.linalg.norm(expected)])


def test_visits_like_those_of_a_group_have_the_cosine_that_is_asked_for():
    group = np.array([aside(person(3), 0.6, axis) for axis in range(8)])
    child = aside(person(2), 0.3, axis=20)
    visits = benchmark.visits_like(person(1), child, 0.4, group)
    mean = visits.mean(axis=0)
    assert mean.dot(child) == pytest.approx(0.4)
    assert np.linalg.norm(mean) == pytest.approx(np.linalg.norm(group.mean(axis=0)))
    assert np.linalg.norm(visits - mean) == pytest.approx(np.linalg.norm(group - group.mean(axis=0)))


def test_a_mean_of_several_is_as_near_as_one_on_average_and_scatters_less():
    rng = np.random.default_rng(1)
    people = benchmark.of_length_1(rng.normal(size=(60, 128)))
    groups = [benchmark.of_length_1(one + 0.05 * rng.normal(size=(9, 128))) for one in people]
    singles = np.concatenate([group[8].dot(people[:place].T) for place, group in enumerate(groups)])
    means = np.concatenate([group[:8].mean(axis=0).dot(people[:place].T) for place, group in enumerate(groups)])
    found = benchmark.mean_cosines(singles, [group[:8] for group in groups])
    assert found.mean() == pytest.approx(singles.mean()) and found.std() < singles.std()
    assert found.std() == pytest.approx(means.std(), rel=0.03)


def test_relatives_are_counted_where_they_are_greeted_as_the_other(tmp_path, metric, capsys):
    """One of two children looks nearly as the parent, the other as nobody."""
    parents, children = [person(1), person(2)], [aside(person(1), 0.1), person(12)]
    photographs = [aside(person(number), 0.1, visit) for number in (20, 21) for visit in range(2)]
    path = written_life(tmp_path, parents=[[one] for one in parents], children=[[one] for one in children],
                        photographs=[[one] for one in photographs], photographs_person=[20, 20, 21, 21])
    options = types.SimpleNamespace(file=path, engine=metric.engine, known=2, visitors=[1, 2], orders=2)
    benchmark.relatives(options)
    assert re.findall(r"book of (\d), %\s+(\d+)", capsys.readouterr().out) == [("1", "50"), ("2", "50")]


def test_doors_tell_who_was_said_to_come_and_the_worst_door():
    each = {name: {"fps": fps, "gap_p50_ms": gap, "gap_p99_ms": 2 * gap, "gap_max_ms": 3 * gap}
            for name, fps, gap in (("front", 30.0, 33.0), ("back", 20.0, 50.0))}
    tree = benchmark.Tree(os.getpid())
    tree.sample()
    marks = [("first", 100.0), ("comes", 107.0), ("comes", 119.0), ("comes", 131.0), ("comes", 140.0)]
    lines = [(101.0, "visitor 2 returned at front"), (107.5, "visitor 1 returned at back"), (114.0, "visitor 1 left"),
             (119.5, "visitor 3 is new at back"), (119.9, "visitor 1 returned at back")]
    figures = {"doors": each, "recognitions": 90, "seconds": 30.0}
    found = dict(zip(benchmark.DOOR_COLUMNS, benchmark.door_figures(figures, lines, marks, tree, 141.0)))
    assert (found["fps least"], found["fps most"], found["gap p99"], found["looks/s"]) == (20, 30, 100, 3)
    assert (found["label mean"], found["label max"], found["missed"]) == (0.5, 0.5, 2)  # a wrong one, and none
