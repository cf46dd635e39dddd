"""The owner's side: commands as processes, what the terminal and the log say, --on-visit, --mask, --forget-after."""
import base64
import csv
import datetime
import errno
import fcntl
import http.server
import io
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import unittest.mock
import urllib.parse

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

import doorcam
from helpers import START, Story, book_of, face, person
from processes import EXAMPLE, environment, one_line, run_doorcam, tool, visit_frames, wait_for, write_clip

HOSTILE = ("=cmd|' /C calc'!A0", "a\x1b[2J\x07b", "'; rm -rf ~; $(reboot) `id`", "<script>alert(1)</script>", "-n",
           "%s%n{0}\\", "x" * 10000, "\u202eabc", "Мария", "مريم", "李明", "")


@pytest.fixture
def folder(tmp_path):
    """A folder with the two visitors of the example in its known_faces.dat."""
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    return tmp_path


def run(folder, *arguments, **more):
    return run_doorcam(*arguments, folder=folder, seconds=60, **more)


def visitors_in(folder):
    data = (folder / "known_faces.dat").read_bytes()
    visitors, _, problems = doorcam.read_known_faces(data)
    assert not problems
    return {visitor.number: visitor for visitor in visitors}


# ---------------------------------------------------------------------------------------------------- commands


def test_list_is_a_table_with_straight_columns(folder):
    run(folder, "name", "1", "李明 (邻居)")
    run(folder, "name", "2", "Ма\u0301рия")
    status, out, err = run(folder, "list")
    assert (status, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split("  ")[0] == "number" and len(rows) == 2
    column = head.index("visits") + len("visits")
    wide = ("李明 (邻居)", 4), ("Ма\u0301рия", -1)
    for row, (name, more) in zip(rows, wide):
        assert name in row
        assert re.match(r".*\S$", row[:column - more]) and row[column - more] == " ", row


def test_list_as_json_tells_everything_and_its_times_can_be_read(folder):
    run(folder, "name", "2", "Мария")
    run(folder, "ignore", "1")
    status, out, _ = run(folder, "list", "--json")
    visitors = json.loads(out)
    assert status == 0 and [one["number"] for one in visitors] == [1, 2]
    assert [one["name"] for one in visitors] == ["", "Мария"]
    assert [one["ignored"] for one in visitors] == [True, False]
    assert set(visitors[0]) == {"number", "name", "visits", "first_seen", "last_seen", "total_seconds",
                                "longest_seconds", "ignored", "at_door_seconds", "sure", "alike"}
    assert all(0 <= one["sure"] <= 1 and one["alike"] == [] for one in visitors)
    seen = visitors_in(folder)[2].first_seen
    assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$", visitors[1]["first_seen"])
    assert datetime.datetime.strptime(re.sub(r":(\d\d)$", r"\1", visitors[1]["first_seen"]),
                                      "%Y-%m-%dT%H:%M:%S%z").timestamp() == int(seen)


def test_counts_are_those_of_the_visits(story):
    for seconds in (10, 40, 20):
        story.nobody(400)
        story.show(face(person(1)), seconds=seconds)
    story.finish()
    figures = doorcam.visitor_as_json(story.book.visitors[1], {})
    assert figures["visits"] == 3
    assert 68 <= figures["total_seconds"] <= 70 and 39 <= figures["longest_seconds"] <= 40


def test_an_empty_book_is_listed_as_such(tmp_path):
    doorcam.save_known_faces(str(tmp_path / "known_faces.dat"), doorcam.Book(doorcam.DLIB).snapshot())
    status, out, err = run(tmp_path, "list")
    assert (status, err) == (0, "") and len(out.splitlines()) == 1 and out.startswith("number")
    assert json.loads(run(tmp_path, "list", "--json")[1]) == []


@pytest.mark.parametrize("command", (("list",), ("report",), ("name", "1", "x"), ("forget", "1"), ("ignore", "1"),
                                     ("merge", "1", "2")))
def test_without_a_book_and_with_an_empty_file_a_command_says_so(tmp_path, command):
    status, out, err = run(tmp_path, *command)
    assert status == 1 and not out
    one_line(err, "there is no known_faces.dat")
    (tmp_path / "known_faces.dat").write_bytes(b"")
    status, out, err = run(tmp_path, *command)  # is a book of nobody
    assert (tmp_path / "known_faces.dat").read_bytes() == b""
    if command[0] in ("list", "report"):
        assert (status, err) == (0, "")
    else:
        assert status == 1 and not out
        one_line(err, "there is no visitor 1")


@pytest.mark.parametrize("command", (("name", "7", "x"), ("forget", "7"), ("ignore", "7"), ("merge", "7", "1"),
                                     ("merge", "1", "7"), ("merge", "1", "1")))
def test_a_visitor_that_is_not_there_changes_nothing(folder, command):
    before = (folder / "known_faces.dat").read_bytes()
    status, out, err = run(folder, *command)
    assert status == 1 and not out
    one_line(err, "visitor")
    assert (folder / "known_faces.dat").read_bytes() == before


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_data(folder, name):
    status, out, err = run(folder, "name", "--", "1", name.replace("\0", ""))
    assert (status, err) == (0, "")
    kept = visitors_in(folder)[1].name
    assert kept == doorcam.clean_name(name) and len(kept) <= doorcam.MAX_NAME
    for arguments in (("list",), ("list", "--json"), ("report",)):
        status, out, err = run(folder, *arguments)
        assert (status, err) == (0, ""), arguments
        assert "\x1b" not in out and "\x07" not in out
    assert sorted(os.listdir(str(folder))) == ["known_faces.dat", "known_faces.dat.lock", "stderr.txt", "stdout.txt",
                                               "visitors.html"]


def test_a_terminal_without_the_letters_gets_question_marks(folder):
    run(folder, "name", "1", "Мария")
    for encoding in ("ascii", "latin-1"):
        status, out, err = run(folder, "list", env=environment(PYTHONIOENCODING=encoding))
        assert (status, err) == (0, "") and "?????" in out


def test_merge_adds_up_and_asks_when_names_differ(folder):
    run(folder, "name", "1", "Anna")
    run(folder, "name", "2", "Berta")
    status, out, err = run(folder, "merge", "1", "2")
    assert status == 1
    one_line(err, "Anna", "Berta", "--force")
    assert len(visitors_in(folder)) == 2
    before = visitors_in(folder)
    status, out, err = run(folder, "merge", "1", "2", "--force")
    assert (status, err) == (0, "") and out == "visitor 1 is now part of visitor 2, 4 visits\n"
    (number, after), = visitors_in(folder).items()
    assert number == 2 and after.name == "Berta" and after.seen_count == 4 and len(after.encodings) == 2
    assert after.first_seen == before[1].first_seen and after.last_seen == before[2].last_seen


def picture_data(jpeg):
    """Bytes of the picture itself; the tables at a JPEG's start are the same in all of them."""
    return jpeg[-1000:-700]


def test_what_is_forgotten_is_not_in_the_file_any_more(folder):
    run(folder, "name", "1", "Anna Magdalena")
    gone = visitors_in(folder)[1]
    every = gone.all_encodings()
    pieces = [picture_data(gone.jpeg), every["dlib"][0].tobytes(), every["opencv"][0].tobytes(),
              doorcam.record_of(gone, 2)[0].tobytes(), b"Anna Magdalena"]
    path = folder / "known_faces.dat"
    (folder / "known_faces.dat.new").write_bytes(path.read_bytes())  # left by a plug that was pulled
    assert all(piece in path.read_bytes() for piece in pieces)
    status, out, err = run(folder, "forget", "1")
    assert (status, out, err) == (0, "visitor 1 is forgotten\n", "")
    for name in os.listdir(str(folder)):
        data = (folder / name).read_bytes()
        assert not any(piece in data for piece in pieces), name
    assert list(visitors_in(folder)) == [2]


def test_forget_tells_of_copies_that_were_set_aside(folder):
    shutil.copy(EXAMPLE, str(folder / "known_faces.dat.damaged-2026-01-01-000000"))
    status, _, err = run(folder, "forget", "1")
    assert status == 0
    one_line(err, "known_faces.dat.damaged-2026-01-01-000000")


def test_ignored_visitors_have_no_picture_and_never_get_one_again(folder, story):
    data = picture_data(visitors_in(folder)[1].jpeg)
    status, out, err = run(folder, "ignore", "1")
    assert (status, err) == (0, "") and data not in (folder / "known_faces.dat").read_bytes()
    assert visitors_in(folder)[1].ignored
    story.show(face(person(1)))
    visitor = story.book.visitors[1]
    visitor.ignored, visitor.jpeg, visitor.quality = True, None, 0.0
    story.nobody(400)
    story.show(face(person(1)))
    assert visitor.seen_count == 2 and visitor.jpeg is None
    assert story.visits.at_door(story.now) == [] and story.labels() == []
    other = story.book.register_new_face(person(2), story.now, b"jpeg", 0.9)
    assert story.book.merge(other.number, 1).jpeg is None


@pytest.mark.parametrize("command", (("name", "1", "x"), ("forget", "1"), ("ignore", "1"), ("merge", "1", "2")))
def test_while_somebody_writes_the_file_a_change_is_refused(folder, command):
    before = (folder / "known_faces.dat").read_bytes()
    with open(str(folder / "known_faces.dat.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        status, out, err = run(folder, *command)
        assert status == 1 and not out
        one_line(err, "4711", "known_faces.dat")
        assert (folder / "known_faces.dat").read_bytes() == before
        for reading in ("list", "report"):
            assert run(folder, reading)[::2] == (0, "")
    assert run(folder, *command)[0] == 0


# ------------------------------------------------------------------------------------------ what is said and logged


def event(kind="returned", name="", seconds=3600.0, moment=START, number=3, visit=3, sure=None):
    """(Event, name), as what tells of it takes them."""
    return doorcam.Event(kind, moment, number, visit, seconds, sure), name


def test_the_lines_on_the_terminal():
    clock = datetime.datetime.fromtimestamp(START).strftime("%H:%M:%S")
    assert doorcam.sentence(*event(name="Maria")) == clock + " Maria returned (visit 3)"
    assert doorcam.sentence(*event("new", seconds=None)) == clock + " visitor 3 is new"
    assert doorcam.sentence(*event("left", "李明", 185.2)) == clock + " 李明 left after 3m 05s"


def log_rows(path):
    with open(str(path), newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_log_goes_on_after_a_restart_and_after_an_editor(tmp_path):
    path = tmp_path / "visits.csv"
    doorcam.EventLog(str(path)).tell(*event())
    assert path.stat().st_mode & 0o777 == 0o600
    with open(str(path), "ab") as file:
        file.write(b"somebody's remark")  # no end of line
    with open(str(path)):  # another program holds it open
        doorcam.EventLog(str(path)).tell(*event("left", "Мария", 12.4))
    rows = log_rows(path)
    assert [row[1:2] for row in rows] == [["event"], ["returned"], [], ["left"]]
    assert rows[3][1:] == ["left", "3", "Мария", "3", "12", ""]


def test_a_log_says_how_sure_a_greeting_is_but_one_begun_before_goes_on_as_it_is(tmp_path):
    old = "time,event,visitor,name,visit,seconds\r\n2026-01-05T09:00:00+01:00,new,3,,1,\r\n"
    for start, width, sure in (("", 7, ["91"]), (old, 6, [])):
        path = tmp_path / "visits.csv"
        path.write_bytes(start.encode())
        log = doorcam.EventLog(str(path))
        log.tell(*event(sure=0.912))
        log.tell(*event("left", seconds=60.0))
        rows = log_rows(path)
        assert {len(row) for row in rows} == {width} and rows[-2][6:] == sure and rows[-1][6:] == [""] * len(sure)
        assert rows[0] == list(doorcam.EventLog.HEADER)[:width]
        assert [visit[3] for visit in doorcam.read_visits(str(path))][-1] == 60  # report reads both


def test_a_log_that_is_replaced_or_deleted_is_written_anew(tmp_path):
    path = tmp_path / "visits.csv"
    log = doorcam.EventLog(str(path))
    path.unlink()
    log.tell(*event())
    assert [row[1] for row in log_rows(path)] == ["event", "returned"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_log_is_safe_in_a_spreadsheet(tmp_path, name):
    path = tmp_path / "visits.csv"
    doorcam.EventLog(str(path)).tell(*event(name=doorcam.clean_name(name)))
    kept = log_rows(path)[1][3]
    assert kept[:1] not in tuple("=+-@\t\r") and kept.lstrip("'") == doorcam.clean_name(name).lstrip("'")
    assert len(log_rows(path)) == 2


def test_a_full_disk_is_said_once_and_nothing_is_missing_afterwards(tmp_path, monkeypatch, capsys):
    path = tmp_path / "visits.csv"
    log = doorcam.EventLog(str(path))
    full = [True]

    class FullDisk(io.FileIO):
        """Takes half of what it is given, as a disk does that has no more room."""

        def write(self, data):
            return super().write(data[:len(data) // 2] if full[0] else data)

    monkeypatch.setattr(doorcam, "open", lambda number, *_: FullDisk(number, "r+"), raising=False)
    for number in (1, 2, 3):
        log.tell(*event(number=number))
    assert len(log_rows(path)) == 1
    one_line(capsys.readouterr().err, "visits.csv", "No space left on device")
    full[0] = False
    log.tell(*event(number=4))
    assert [row[2] for row in log_rows(path)] == ["visitor", "1", "2", "3", "4"]
    one_line(capsys.readouterr().err, "written again")


@pytest.fixture
def full_log(tmp_path, monkeypatch):
    """An EventLog whose disk is full until its `full` is emptied."""
    log, really = doorcam.EventLog(str(tmp_path / "visits.csv")), os.open
    log.full = [True]

    def open_if_room(path, *more):
        if log.full and path == log.path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really(path, *more)
    monkeypatch.setattr(doorcam.os, "open", open_if_room)
    return log


def test_lines_that_wait_are_written_without_a_further_event(full_log, monkeypatch, capsys):
    now = time.monotonic()
    for number in (1, 2, 3):
        full_log.tell(*event(number=number))
    full_log.full.clear()
    full_log.look_after()  # a full disk is not asked at every frame
    assert len(log_rows(full_log.path)) == 1
    monkeypatch.setattr(doorcam.time, "monotonic", lambda: now + doorcam.SAVE_RETRY + 1)
    full_log.look_after()
    assert [row[2] for row in log_rows(full_log.path)] == ["visitor", "1", "2", "3"]
    assert "written again" in capsys.readouterr().err.splitlines()[1]


def test_lines_that_wait_are_written_at_the_end(full_log, capsys):
    full_log.tell(*event())
    full_log.full.clear()
    full_log.close()
    assert len(log_rows(full_log.path)) == 2


def test_lines_that_cannot_be_kept_are_counted(full_log, monkeypatch, capsys):
    monkeypatch.setattr(doorcam.EventLog, "WAITING", 5)
    for number in range(1, 9):
        full_log.tell(*event(number=number))
    full_log.close()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and "more than 5 lines wait" in said[1] and "8 lines are lost" in said[2]
    full_log.full.clear()
    full_log.close()
    assert [row[2] for row in log_rows(full_log.path)] == ["visitor", "4", "5", "6", "7", "8"]
    assert "written again, 3 lines are lost" in capsys.readouterr().err


def test_a_name_is_no_formula_for_a_spreadsheet_that_goes_by_another_separator():
    for separator in ";,|\t":
        for sign in "=+-@\uff1d":
            for between in ("", " ", '"', "'"):
                kept = doorcam.spreadsheet_text("x" + separator + between + sign + "1+1")
                assert not any(part.strip("\"' ").startswith(sign) and not part.lstrip("\" ").startswith("'")
                               for part in kept.split(separator)), kept
    for name in ("Anna-Maria", "O'Hara", "x=1", "Anna, postwoman"):
        assert doorcam.spreadsheet_text(name) == name


def test_a_log_that_is_a_pipe_has_one_header(tmp_path):
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = doorcam.EventLog(path)
    for _ in range(3):
        log.tell(*event())
    assert [line.split(b",")[1] for line in os.read(reader, 10000).splitlines()] == [b"event"] + 3 * [b"returned"]
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)  # it has not ended: who reads it waits for more
    os.close(reader)


def test_a_log_that_is_a_pipe_waits_for_who_reads_it(tmp_path, capsys, monkeypatch):
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    with pytest.raises(doorcam.DoorcamError, match="cannot be written"):
        doorcam.EventLog(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = doorcam.EventLog(path)
    os.close(reader)
    for _ in range(3):
        log.tell(*event())
    assert "is added as soon as it can" in one_line(capsys.readouterr().err)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log.close()
    assert len(os.read(reader, 10000).splitlines()) == 3 and "is written again" in one_line(capsys.readouterr().err)
    os.close(reader)


def test_a_log_is_written_to_no_disk(monkeypatch):
    monkeypatch.setattr(doorcam.stat, "S_ISBLK", stat.S_ISCHR)
    with pytest.raises(doorcam.DoorcamError, match="it is no file"):
        doorcam.EventLog("/dev/null")


# --------------------------------------------------------------------------------------------------- --on-visit


@pytest.fixture
def on_visit(tmp_path):
    """Makes VisitCommands that are closed after the test."""
    made = []

    def make(command, **settings):
        made.append(doorcam.VisitCommand(command))
        for name, value in settings.items():
            setattr(made[-1], name, value)
        return made[-1]
    yield make
    for command in made:
        command.AT_THE_END = 0.2
        command.close()


PHOTO = np.full((48, 64, 3), (0, 0, 255), np.uint8)


def test_a_visit_runs_the_command_with_everything_in_its_environment(tmp_path, on_visit, monkeypatch):
    command = on_visit("cp \"$DOORCAM_PHOTO\" photo.jpg; stat -c %a \"$DOORCAM_PHOTO\" > mode; env -0 > env")
    monkeypatch.chdir(tmp_path)
    command.tell(*event(name="Мария $(touch hacked)"), frame=PHOTO)
    command.close()
    variables = dict(pair.split("=", 1) for pair in (tmp_path / "env").read_text(encoding="utf-8").split("\0") if pair)
    assert variables["DOORCAM_EVENT"] == "returned" and variables["DOORCAM_NAME"] == "Мария $(touch hacked)"
    assert variables["HOME"] == os.environ["HOME"] and not (tmp_path / "hacked").exists()
    assert not os.path.exists(variables["DOORCAM_PHOTO"])
    assert (tmp_path / "mode").read_text() == "600\n"
    assert np.abs(cv2.imread(str(tmp_path / "photo.jpg")).astype(int) - PHOTO).max() < 10


def test_what_the_variables_are(tmp_path, on_visit):
    command = on_visit('echo "$DOORCAM_EVENT,$DOORCAM_VISITOR,$DOORCAM_NAME,$DOORCAM_VISIT,$DOORCAM_SECONDS_AWAY" '
                       '> %s/$DOORCAM_VISITOR' % tmp_path)
    for name, number in (("Мария; touch hacked", 1), ("$(touch hacked)`touch hacked`\"'", 2)):
        command.tell(*event(name=name, number=number), frame=PHOTO)
        wait_for((tmp_path / str(number)).exists, 10, "the command")
    command.tell(*event("new", seconds=None, number=4, visit=1), frame=PHOTO)
    command.close()
    assert (tmp_path / "1").read_text() == "returned,1,Мария; touch hacked,3,3600\n"
    assert (tmp_path / "2").read_text() == "returned,2,$(touch hacked)`touch hacked`\"',3,3600\n"
    assert (tmp_path / "4").read_text() == "new,4,,1,\n"
    assert not list(tmp_path.glob("hacked")) and not os.path.exists("hacked")


def test_a_command_for_who_leaves(tmp_path, on_visit, monkeypatch, capsys):
    command = on_visit('echo "$DOORCAM_EVENT,$DOORCAM_VISITOR,$DOORCAM_NAME,$DOORCAM_VISIT,$DOORCAM_SECONDS,'
                       '$DOORCAM_SECONDS_AWAY,$DOORCAM_SURE,$DOORCAM_PHOTO" >> %s/got; cp "$DOORCAM_PHOTO" %s/photo.jpg'
                       % (tmp_path, tmp_path), option="--on-leave", kinds=("left",))
    for kind in ("new", "returned", "mistaken"):
        command.tell(*event(kind), frame=PHOTO)
    command.tell(*event("left", "Мария", 61.7), frame=b"the bytes of a JPEG")
    wait_for((tmp_path / "photo.jpg").exists, 10, "the command")
    wait_for(lambda: not command.look_after(), 10, "its end")
    assert (tmp_path / "photo.jpg").read_bytes() == b"the bytes of a JPEG"
    command.tell(*event("left", number=4), frame=None)  # who has no picture
    command.close()
    first, second = (tmp_path / "got").read_text().splitlines()
    assert first.startswith("left,3,Мария,3,62,,,/") and second == "left,4,,3,3600,,,"
    one_line(capsys.readouterr().err, "--on-leave failed (status 1)")  # cp has nothing to copy


def test_what_was_told_and_taken_back_is_not_sent_again_but_logged(tmp_path, on_visit):
    command, log = on_visit("echo x >> %s/runs" % tmp_path), doorcam.EventLog(str(tmp_path / "visits.csv"))
    told, name = event()
    for one in (told, told._replace(kind="mistaken"), told._replace(again=True)):
        command.tell(one, name, PHOTO)
        log.tell(one, name)
    command.close()
    assert (tmp_path / "runs").read_text() == "x\n"
    assert [row[1] for row in log_rows(tmp_path / "visits.csv")[1:]] == ["returned", "mistaken", "returned"]
    assert len(doorcam.read_visits(str(tmp_path / "visits.csv"))) == 1


def test_how_sure_it_is_is_told_in_percent(tmp_path, on_visit):
    command = on_visit('echo "$DOORCAM_SURE,$DOORCAM_SECONDS" > %s/$DOORCAM_VISITOR' % tmp_path)
    for number, sure in ((1, 0.987), (2, None)):
        command.tell(*event(number=number, sure=sure), frame=PHOTO)
    command.close()
    assert [(tmp_path / name).read_text() for name in "12"] == ["99,\n", ",\n"]


@pytest.mark.parametrize("text, reason", (("exit 3", "status 3"), ("no-such-command-here x", "not found"),
                                          ("kill -9 $$", "status -9")))
def test_a_command_that_fails_is_said_once(text, reason, on_visit, capsys):
    command = on_visit(text)
    for _ in range(4):
        command.tell(*event(), frame=PHOTO)
    command.close()
    one_line(capsys.readouterr().err, reason)


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path, on_visit, capsys):
    command = on_visit("sleep 600 & echo $! > %s/child; wait" % tmp_path, SECONDS=1.0)
    command.tell(*event(), frame=PHOTO)
    wait_for(lambda: not command.look_after(), 20, "the end of the command")
    one_line(capsys.readouterr().err, "ended after 1 s")
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not alive(child), 10, "the end of its child")


def alive(number):
    """Whether a process runs (one that has ended and waits for its parent does not)."""
    try:
        with open("/proc/%d/stat" % number) as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_flood_of_visits_is_bounded_and_never_waits(tmp_path, on_visit, capsys):
    command = on_visit("echo x >> %s/runs; while ! [ -e %s/go ]; do sleep 0.05; done" % (tmp_path, tmp_path))
    for _ in range(100):
        command.tell(*event(), frame=PHOTO)
    one_line(capsys.readouterr().err, "too slow")
    (tmp_path / "go").write_text("")
    wait_for(lambda: not command.look_after(), 30, "the end of the commands")
    runs = len((tmp_path / "runs").read_text().splitlines())
    assert command.AT_ONCE <= runs + 1 and runs <= command.AT_ONCE + command.WAITING


def test_a_command_that_prints_without_end_does_no_harm(on_visit, capfd):
    command = on_visit("yes & yes >&2", SECONDS=0.5)
    command.tell(*event(), frame=PHOTO)
    wait_for(lambda: not command.look_after(), 20, "the end of the command")
    out, err = capfd.readouterr()
    assert out == ""
    one_line(err, "ended after")


def test_the_end_of_the_program_waits_for_commands_but_not_long(tmp_path, on_visit, capsys):
    command = on_visit("sleep 0.3; touch %s/done" % tmp_path)
    command.tell(*event(), frame=PHOTO)
    command.close()
    assert (tmp_path / "done").exists()
    command = on_visit("echo $DOORCAM_PHOTO > %s/photo; sleep 600" % tmp_path, AT_THE_END=0.5)
    command.tell(*event(), frame=PHOTO)
    wait_for((tmp_path / "photo").exists, 10, "the command")
    command.close()
    one_line(capsys.readouterr().err, "--on-visit still runs")
    wait_for(lambda: not os.path.exists((tmp_path / "photo").read_text().strip()), 5, "the photo's end")


@pytest.mark.parametrize("full", [False, True])
def test_without_a_photo_the_command_is_run_all_the_same(full, tmp_path, on_visit, monkeypatch, capsys):
    (tmp_path / "photos").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("photos" if full else "gone")))
    command, limit = on_visit('echo "<$DOORCAM_NAME$DOORCAM_PHOTO>" >> %s/got' % tmp_path), resource.RLIMIT_FSIZE
    before = resource.getrlimit(limit)
    if full:
        resource.setrlimit(limit, (100, before[1]))
    try:
        for _ in range(2):
            command.tell(*event(name="Anna"), frame=PHOTO)
        command.close()
    finally:
        resource.setrlimit(limit, before)
    assert (tmp_path / "got").read_text() == "<Anna>\n" * 2 and not os.listdir(str(tmp_path / "photos"))
    one_line(capsys.readouterr().err, "photo", "too large" if full else "No such file")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command.tell(*event(name="Anna"), frame=PHOTO)
    command.close()
    assert "doorcam-" in (tmp_path / "got").read_text() and capsys.readouterr().err == ""


def test_a_command_may_keep_the_photo(tmp_path, on_visit, capsys):
    command = on_visit('mv "$DOORCAM_PHOTO" %s/mine.jpg' % tmp_path)
    command.tell(*event(), frame=PHOTO)
    command.close()
    assert (tmp_path / "mine.jpg").exists() and capsys.readouterr().err == ""


def test_a_command_that_cannot_be_killed_is_not_waited_for(tmp_path, on_visit, monkeypatch, capsys):
    """One that hangs in a driver (state D), or that runs as somebody else."""
    def refuse(group, number):
        raise PermissionError

    kill = os.killpg
    monkeypatch.setattr(os, "killpg", refuse)
    command = on_visit("echo $$ > %s/number; sleep 20; exit 0" % tmp_path, SECONDS=0.5, AT_THE_END=1.0)
    command.tell(*event(), frame=PHOTO)
    wait_for((tmp_path / "number").exists, 10, "the command")
    command.close()
    number = int((tmp_path / "number").read_text())
    assert alive(number)
    kill(number, signal.SIGKILL)
    first, second = capsys.readouterr().err.splitlines()
    one_line(first, "ended after")
    one_line(second, "still runs")


def test_one_that_cannot_be_killed_keeps_its_place(tmp_path, on_visit, monkeypatch):
    monkeypatch.setattr(doorcam, "kill_group", lambda process: None)
    command = on_visit("echo x >> %s/runs; while ! [ -e %s/go ]; do sleep 0.05; done" % (tmp_path, tmp_path),
                       SECONDS=0.0, AT_ONCE=2)
    for _ in range(4):
        command.tell(*event(), frame=PHOTO)
    wait_for((tmp_path / "runs").exists, 10, "the commands")
    assert len(command._running) == 2 and len(command._waiting) == 2
    (tmp_path / "go").write_text("")
    wait_for(lambda: not command.look_after(), 20, "the end of the commands")
    assert (tmp_path / "runs").read_text() == "x\n" * 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Three seconds in which visitor 1 of the example stands there."""
    return write_clip(tmp_path_factory.mktemp("clip") / "visit.avi", visit_frames(30))


def test_the_whole_program_runs_the_command_and_waits_for_it(folder, clip):
    run(folder, "name", "1", "Мария")
    command = 'sleep 1; echo "$DOORCAM_EVENT $DOORCAM_NAME $DOORCAM_VISIT $(wc -c < "$DOORCAM_PHOTO")" > got'
    status, out, err = run(folder, "--headless", "--source", clip, "--log", "log.csv", "--on-visit", command)
    assert (status, err) == (0, "")
    assert re.search(r"^\d\d:\d\d:\d\d Мария returned \(visit 4\)$", out, re.M)
    kind, name, visit, size = (folder / "got").read_text().split()
    assert (kind, name, visit) == ("returned", "Мария", "4") and int(size) > 5000
    rows = log_rows(folder / "log.csv")[1:]
    assert [row[1:5] for row in rows] == [["returned", "1", "Мария", "4"], ["left", "1", "Мария", "4"]]
    assert 50 < int(rows[0][6]) <= 99 and rows[1][6] == ""


def test_who_has_left_is_told_with_the_picture_in_the_book(folder, clip):
    jpeg = visitors_in(folder)[1].jpeg
    status, _, err = run(folder, "--headless", "--source", clip, "--on-leave",
                         'echo "$DOORCAM_EVENT $DOORCAM_VISIT $DOORCAM_SECONDS" >> got; cp "$DOORCAM_PHOTO" photo.jpg')
    assert (status, err) == (0, "") and re.match("left 4 [23]\n$", (folder / "got").read_text())
    assert (folder / "photo.jpg").read_bytes() in (jpeg, visitors_in(folder)[1].jpeg)


def test_the_command_gets_the_environment_that_doorcam_was_started_with(folder, clip):
    """Without what doorcam and OpenCV set for themselves: other programs that use OpenCV or Qt would obey it."""
    started, shell = environment(OMP_NUM_THREADS="3", OPENCV_LOG_LEVEL="ERROR"), {"PWD", "OLDPWD", "SHLVL", "_"}
    status, _, err = run(folder, "--headless", "--source", clip, "--on-visit", "env -0 > got", env=started)
    assert (status, err) == (0, "")
    got = dict(pair.split("=", 1) for pair in (folder / "got").read_text(encoding="utf-8").split("\0") if pair)
    assert ({name: value for name, value in got.items() if name not in shell and not name.startswith("DOORCAM_")} ==
            {name: value for name, value in started.items() if name not in shell})


def test_while_the_door_is_watched_its_commands_are_looked_after(folder, clip):
    program = "import sys, doorcam; doorcam.VisitCommand.close = lambda self: 0; sys.exit(doorcam.main(sys.argv[1:]))"
    status, _, err = run(folder, "--headless", "--source", clip, "--on-visit", "exit 3", program=("-c", program),
                         env=environment(PYTHONPATH=os.path.dirname(doorcam.__file__)))
    assert status == 0
    one_line(err, "status 3")


def test_somebody_ignored_is_neither_said_nor_logged_nor_announced(folder, clip):
    run(folder, "ignore", "1")
    status, out, err = run(folder, "--headless", "--source", clip, "--log", "log.csv", "--on-visit", "touch got")
    assert (status, err) == (0, "") and "returned" not in out and not (folder / "got").exists()
    assert len(log_rows(folder / "log.csv")) == 1
    assert visitors_in(folder)[1].seen_count == 4 and visitors_in(folder)[1].jpeg is None


def test_who_reads_the_output_may_go_and_everything_is_saved(folder, clip):
    command = "%s %s --headless --source %s --stats" % (sys.executable, doorcam.__file__, clip)
    program = subprocess.Popen(["bash", "-c", "set -o pipefail; %s | head -n 1" % command], cwd=str(folder),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    out, err = program.communicate(timeout=120)
    assert (program.returncode, err) == (0, b"") and out.count(b"\n") == 1
    assert visitors_in(folder)[1].seen_count == 4


# ------------------------------------------------------------------------------------------------------ recipes

def recipe(service):
    """The command under the paragraph of README.md that names a service."""
    with open(os.path.join(os.path.dirname(doorcam.__file__), "README.md"), encoding="utf-8") as file:
        chapter = re.search(r"^## Messages when somebody comes$(.*?)^## ", file.read(), re.M | re.S).group(1)
    return next(code for text, code in re.findall(r"((?:^\S[^\n]*\n)+)\n```sh\n(.*?)^```$", chapter, re.M | re.S)
                if service in text)


@pytest.fixture
def web():
    """(address, requests) of a server on loopback that keeps what it is sent."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, self.headers.get("Authorization"), body))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield "http://127.0.0.1:%d" % server.server_port, requests
    server.shutdown()
    server.server_close()
    thread.join(5)


NAME = 'Мария "M" & Co; $(touch hacked)'


def run_recipe(command, on_visit):
    command = on_visit(command, AT_THE_END=40.0)
    command.tell(*event(name=NAME), frame=PHOTO)
    command.close()


@pytest.mark.parametrize("service, host, path", (
    ("Twilio", "https://api.twilio.com", "/2010-04-01/Accounts/AC0123/Messages.json"),
    ("webhook", "http://homeassistant.local:8123", "/api/webhook/doorcam"),
    ("apprise", "json://localhost:8080", "/door")))
def test_the_recipes_for_the_web(service, host, path, web, on_visit, capsys):
    tool("curl")
    address, requests = web
    command = recipe(service)
    assert host in command
    local = address.replace("http:", "json:") if service == "apprise" else address
    command = command.replace(host, local).replace(".venv/bin", os.path.dirname(sys.executable))
    run_recipe(command, on_visit)
    assert capsys.readouterr().err == ""
    (asked, authorization, body), = requests
    assert asked == path and (authorization is not None) == (service == "Twilio")
    if service == "apprise":
        message = json.loads(body.decode())
        assert message["message"] == NAME + ", visit 3"
        assert base64.b64decode(message["attachments"][0]["base64"]) == doorcam.to_jpeg(PHOTO)
    else:
        fields = urllib.parse.parse_qs(body.decode())
        if service == "Twilio":
            assert fields == {"From": ["+15550101"], "To": ["+15550100"], "Body": ["At the door: " + NAME]}
        else:
            assert fields == {"event": ["returned"], "name": [NAME], "visitor": ["3"]}


def wish(comment, folder):
    """The line of README.md for a wish, by its comment; a command below it says that it was run."""
    (line,) = [line for line in recipe("says which visits it is for").splitlines() if comment in line]
    return "%s\ntouch %s/$DOORCAM_VISITOR" % (line, folder)


DAY = 86400.0


@pytest.mark.parametrize("comment, wanted", [("newcomers only", {"1", "2"}), ("without a name", {"1", "3", "5"}),
                                             ("after a week", {"4", "5"})])
def test_who_is_told_of(comment, wanted, tmp_path, on_visit, capsys):
    command = on_visit(wish(comment, tmp_path), AT_ONCE=9)
    for number, (kind, name, away) in enumerate((("new", "", None), ("new", NAME, None), ("returned", "", 7 * DAY - 1),
                                                 ("returned", NAME, 7 * DAY), ("returned", "", 1e7)), 1):
        command.tell(*event(kind, name, away, number=number), frame=PHOTO)
    command.close()
    assert set(os.listdir(str(tmp_path))) == wanted and capsys.readouterr().err == ""


@pytest.mark.parametrize("hours, wanted", [((22, 23, 0, 1, 6), set()), ((7, 8, 9), {"7", "8", "9"}),
                                           ((10, 12, 19, 20, 21), {"10", "12", "19", "20", "21"})])
def test_none_by_night(hours, wanted, tmp_path, on_visit, monkeypatch, capsys):
    (tmp_path / "date").write_text('#!/bin/sh\n[ "$1" = +%H ] && cat hour\n')
    (tmp_path / "date").chmod(0o755)
    (tmp_path / "told").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(doorcam.STARTED_WITH, b"PATH", os.fsencode("%s:%s" % (tmp_path, os.environ["PATH"])))
    for hour in hours:
        (tmp_path / "hour").write_text("%02d\n" % hour)
        command = on_visit(wish("by night", tmp_path / "told"))
        command.tell(*event(number=hour), frame=PHOTO)
        command.close()
    assert set(os.listdir(str(tmp_path / "told"))) == wanted and capsys.readouterr().err == ""


def test_the_song_is_played_for_its_visitor_only(on_visit, tmp_path, monkeypatch, capsys):
    player = tmp_path / "mpg123"
    player.write_text('#!/bin/sh\necho "$@" >> %s/songs\n' % tmp_path)
    player.chmod(0o755)
    (tmp_path / "told").mkdir()
    monkeypatch.setitem(doorcam.STARTED_WITH, b"PATH", os.fsencode("%s:%s" % (tmp_path, os.environ["PATH"])))
    command = on_visit(wish("comes home", tmp_path / "told"), AT_THE_END=20.0)
    for number in (1, 3, 4):
        command.tell(*event(number=number), frame=PHOTO)
    command.close()
    wait_for((tmp_path / "songs").exists, 10, "the song")
    assert (tmp_path / "songs").read_text() == "-q welcome.mp3\n" and capsys.readouterr().err == ""
    assert set(os.listdir(str(tmp_path / "told"))) == {"1", "3", "4"}  # what stands below it is run for everybody


# ------------------------------------------------------------------------------------------------------ privacy


def write_mask(path, picture):
    assert cv2.imwrite(str(path), picture)
    return str(path)


def half_black(height=48, width=64, channels=3):
    picture = np.full((height, width, channels), 255, np.uint8)
    picture[:, :width // 2, :3] = 0
    return picture


@pytest.mark.parametrize("shape", ((48, 64), (48, 64, 3), (48, 64, 4), (480, 640, 3), (1000, 30, 3)))
@pytest.mark.parametrize("ending", ("png", "jpg"))
def test_black_areas_are_blanked_whatever_the_size_and_kind(tmp_path, shape, ending):
    picture = half_black(*shape[:2], channels=shape[2] if len(shape) == 3 else 3)
    picture = picture[:, :, 0] if len(shape) == 2 else picture
    if ending == "jpg" and picture.ndim == 3:
        picture = np.ascontiguousarray(picture[:, :, :3])
    mask = doorcam.Mask(write_mask(tmp_path / ("mask." + ending), picture))
    for height, width in ((480, 640), (720, 1280), (33, 77), (480, 640)):
        frame = np.random.RandomState(1).randint(1, 255, (height, width, 3)).astype(np.uint8)
        masked = mask.apply(frame)
        assert not masked[:, :width * 2 // 5].any()
        assert np.array_equal(masked[:, width * 3 // 5:], frame[:, width * 3 // 5:])


def test_what_is_transparent_is_not_painted(tmp_path):
    picture = np.zeros((48, 64, 4), np.uint8)
    picture[:, :32, 3] = 255  # black and opaque on the left, nothing on the right
    masked = doorcam.Mask(write_mask(tmp_path / "mask.png", picture)).apply(np.full((48, 64, 3), 9, np.uint8))
    assert not masked[:, :32].any() and (masked[:, 32:] == 9).all()


@pytest.mark.parametrize("big", (False, True))
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("ending, mode", (("jpg", "RGB"), ("jpg", "L"), ("png", "RGB"), ("png", "RGBA"),
                                          ("webp", "RGBA"), ("tiff", "RGB")))
def test_a_mask_is_turned_as_viewers_turn_it(tmp_path, ending, mode, number, big):
    """Black is a part of the top left of what the camera has kept; Pillow says where viewers show that."""
    picture, path = Image.new("RGBA", (64, 48), (255, 255, 255, 0 if mode == "RGBA" else 255)), tmp_path / "mask"
    picture.paste((0, 0, 0, 255), (0, 0, 40, 16))
    exif = Image.Exif()
    exif.endian = ">" if big else "<"
    exif[0x10F], exif[0x112] = "a camera", number
    picture.convert(mode).save(str(path), {"jpg": "JPEG"}.get(ending, ending), exif=exif, quality=95)
    with Image.open(str(path)) as saved:
        seen = np.array(ImageOps.exif_transpose(saved).convert("RGBA").split()[3 if mode == "RGBA" else 0])
    seen = 255 - seen if mode == "RGBA" else seen
    masked = doorcam.Mask(str(path)).apply(np.full(seen.shape + (3,), 9, np.uint8))
    assert (masked[:, :, 0] == np.where(seen > 128, 9, 0)).mean() > 0.98


@pytest.mark.parametrize("name", (b"t\xfcr.png", "T\u00fcr \u674e.png".encode(), b"\xff\xfe", b"a\nb.png"))
def test_a_mask_of_any_name_is_read_or_named(folder, clip, name):
    path = os.path.join(os.fsencode(str(folder)), name)
    for data, expected in ((cv2.imencode(".png", half_black())[1].tobytes(), 0), (b"no picture", 1)):
        with open(path, "wb") as file:
            file.write(data)
        status, out, err = run(folder, "--headless", "--source", clip, "--mask", os.fsdecode(name))
        assert status == expected, err
        assert err == "" if expected == 0 else one_line(err, "no picture that can be read")


@pytest.mark.parametrize("ending, number", [("jpg", 1), ("jpg", 3), ("jpg", 6), ("png", 8)])
def test_a_mask_that_is_cut_is_refused_however_the_camera_was_held(tmp_path, ending, number):
    """As a picture of a kind that OpenCV does not read, HEIC, which says that, too."""
    path = str(tmp_path / ("mask." + ending))
    exif = Image.Exif()
    exif[0x112] = number
    Image.new("L", (64, 48)).save(path, exif=exif)
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(b"\0" + data[1:])
    with pytest.raises(doorcam.DoorcamError, match="is no picture"):
        doorcam.Mask(path)


def test_a_mask_that_is_a_pipe_is_not_waited_for(folder, clip):
    os.mkfifo(str(folder / "mask.png"))
    status, _, err = run_doorcam("--source", clip, "--headless", "--mask", "mask.png", folder=folder, seconds=30)
    assert status == 1
    one_line(err, "mask.png is no picture")


def test_a_mask_of_the_wrong_kind_is_refused(folder, clip):
    shutil.copy(clip, str(folder / "clip.png"))
    (folder / "text.png").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    write_mask(folder / "white.png", np.full((9, 9, 3), 255, np.uint8))
    write_mask(folder / "black.png", np.zeros((9, 9, 3), np.uint8))
    cv2.imwrite(str(folder / "float.tiff"), np.ones((9, 9, 3), np.float32))
    for name in ("missing.png", ".", "clip.png", "text.png", "empty.png", "white.png", "black.png", "float.tiff"):
        status, out, err = run(folder, "--headless", "--source", clip, "--mask", name)
        assert status == 1, name
        one_line(err, name)


def test_what_is_masked_is_not_found_kept_or_sent(folder, clip):
    right = half_black()[:, ::-1].copy()
    right[:, right.shape[1] * 3 // 10:] = 0  # black from the face's left edge on
    write_mask(folder / "mask.png", right)
    (folder / "known_faces.dat").unlink()
    status, out, err = run(folder, "--headless", "--source", clip, "--mask", "mask.png", "--on-visit", "touch got")
    assert (status, err) == (0, "") and not (folder / "got").exists()
    assert not (folder / "known_faces.dat").exists() or not visitors_in(folder)
    write_mask(folder / "mask.png", half_black(64, 480).transpose(1, 0, 2)[::-1])  # the lower half
    status, out, err = run(folder, "--headless", "--source", clip, "--mask", "mask.png", "--on-visit",
                           'cp "$DOORCAM_PHOTO" photo.jpg')
    photo = folder / "photo.jpg"
    assert (status, err) == (0, "")
    assert not photo.exists() or cv2.imread(str(photo))[260:].max() < 30


def test_unnamed_visitors_who_stayed_away_are_forgotten_but_nobody_else():
    day = 86400.0
    book = book_of(*[person(number) for number in range(5)], now=START - 40 * day)
    book.visitors[2].name = "Мария"
    book.visitors[3].last_seen = START - 29 * day
    story = Story(book)
    story.show(face(person(3)))
    book.visitors[4].last_seen = START - 40 * day  # present, whatever its times say
    assert doorcam.forget_unnamed(book, {4}, 30, START) == 2
    assert sorted(book.visitors) == [2, 3, 4]
    assert doorcam.forget_unnamed(book, {4}, 30, START) == 0
    assert book.register_new_face(person(9), START).number == 6
    story.show(face(person(3)))
    assert story.visitors() == [4]


def test_forget_after_works_at_the_start_and_is_said(folder, clip):
    run(folder, "name", "2", "Мария")
    data = doorcam.read_known_faces((folder / "known_faces.dat").read_bytes())
    old = data[0][0]
    old.encodings, old.last_seen = [person(3).astype(np.float32)], time.time() - 40 * 86400
    old.first_seen = old.first_seen_this_interaction = old.last_seen
    data[0][1].last_seen = old.last_seen
    doorcam.save_known_faces(str(folder / "known_faces.dat"), doorcam.Book(doorcam.DLIB, data[0], data[1]).snapshot())
    status, out, err = run(folder, "--headless", "--source", clip, "--forget-after", "30")
    assert (status, err) == (0, "") and out.count("not seen for 30 days: forgotten") == 1
    assert sorted(visitors_in(folder)) == [2, 3]


def test_forgetting_happens_once_an_hour(folder):
    class Options:
        forget_after = 1.0
    house, story = doorcam.House.__new__(doorcam.House), Story()
    house.options, house.forgot_at, house.book, house.doors, house.visits = (
        Options(), -float("inf"), story.book, doorcam.Doors([]), story.visits)
    house.doors.append(story.door)
    house.recognition = house.telling = house.notify = unittest.mock.MagicMock()
    house.loading = None
    times = []
    for minute in range(0, 180, 7):
        house.look_after(START + 60 * minute)
        times.append(house.forgot_at)
    assert sorted(set(times)) == [START, START + 63 * 60, START + 126 * 60]


@pytest.mark.parametrize("option, value", (("--forget-after", "0"), ("--forget-after", "nan"),
                                           ("--forget-after", "soon"), ("--on-visit", " "), ("--mask", "")))
def test_wrong_values_are_refused(tmp_path, option, value):
    status, out, err = run(tmp_path, option, value)
    assert status == 2 and option in err and "Traceback" not in err


def test_photos_that_a_killed_doorcam_left_are_removed_at_the_next_start(tmp_path, on_visit, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command = on_visit("sleep 100")
    command.tell(*event(), frame=np.zeros((48, 64, 3), np.uint8))
    left = [name for name in os.listdir(str(tmp_path)) if name.endswith(".jpg")]
    assert len(left) == 1
    others = ["doorcam-visitor1.jpg", "doorcam-visit-us.jpg", "visit.jpg"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    on_visit("true")
    assert set(left) < set(os.listdir(str(tmp_path)))  # its command may still run
    for name in left + others:
        os.utime(str(tmp_path / name), (time.time() - 1000,) * 2)
    on_visit("true")
    assert sorted(os.listdir(str(tmp_path))) == sorted(others)


def test_without_a_folder_for_temporary_files_a_command_is_run_all_the_same(monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory found")
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    doorcam.VisitCommand("true").close()


# --------------------------------------------------------------------------------------------- the figures of --stats


def test_gaps_between_frames_are_counted_exactly_and_take_no_room(monkeypatch):
    stats, now = doorcam.Stats(), [START]
    monkeypatch.setattr(doorcam.time, "monotonic", lambda: now[0])
    assert stats.report()["gap_max_ms"] == 0
    for gap in [0] + 98 * [0.0333] + [0.0501, 0.4]:
        now[0] += gap
        stats.frame()
    figures = stats.report(other="x")
    assert [figures[name] for name in ("gap_p50_ms", "gap_p99_ms", "gap_max_ms")] == [33.3, 50.1, 400]
    assert (figures["frames"], figures["other"]) == (101, "x")
    tracemalloc.start()
    for number in range(20000):
        now[0] += 0.033 + 0.001 * (number % 10)
        stats.frame()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 20000
