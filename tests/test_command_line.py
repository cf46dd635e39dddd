"""The whole program as a process: the demo, recordings, and everything that can be wrong with what it is given."""
import csv
import datetime
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from unittest import mock

import cv2
import numpy as np
import pytest

import doorcam
from processes import (EXAMPLE, HERE, Doorcam, environment, gstreamer, gstreamer_environment, numbered, one_line,
                       read_number, run_doorcam, visit_frames, write_clip, xvfb)

FIGURES = {"frames", "seconds", "fps", "gap_p50_ms", "gap_p99_ms", "gap_max_ms", "recognitions", "visitors",
           "cpu_seconds"}


def read_log(path):
    with open(str(path), newline="") as file:
        return list(csv.DictReader(file))


def untimed(log):
    return [{name: value for name, value in row.items() if name != "time"} for row in log]


def visitors_in(path):
    with open(str(path), "rb") as file:
        visitors, _, problems = doorcam.read_known_faces(file.read())
    assert problems == []
    return visitors


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Three seconds in which visitor 1 of the example stands there."""
    return write_clip(tmp_path_factory.mktemp("clip") / "visit.avi", visit_frames(30))


def test_a_recording_ends_now(clip):
    source, now = doorcam.parse_source(clip), 1.7e9
    frames = list(doorcam.read_recording(source, "none", now - doorcam.recording_seconds(source)))
    assert now - 0.2 <= frames[-1][1] <= now and frames[0][1] == pytest.approx(now - 3.0, abs=0.01)


def test_visits_of_a_recording_are_not_in_the_future(clip, tmp_path):
    began = datetime.datetime.now().replace(microsecond=0) - datetime.timedelta(seconds=4)
    for _ in range(2):
        status, _, err = run_doorcam("--headless", "--source", clip, "--log", "visits.csv", folder=tmp_path)
        assert (status, err) == (0, "")
    times = [datetime.datetime.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")
             for row in read_log(tmp_path / "visits.csv")]
    assert times and began <= min(times) and max(times) <= datetime.datetime.now()


@pytest.mark.parametrize("name", ("stderr", "stdout"))
def test_what_is_said_when_there_is_room_again_is_heard(tmp_path, name):
    program = ("import resource, sys; sys.path.insert(0, %r); import doorcam\n"
               "for room in (0, 4096):\n"
               "    resource.setrlimit(resource.RLIMIT_FSIZE, (room, 4096))\n"
               "    doorcam.put_line('room for %%d' %% room, sys.%s)" % (os.path.dirname(doorcam.__file__), name))
    with open(str(tmp_path / "said"), "wb") as file:
        assert subprocess.call([sys.executable, "-c", program], **{name: file}) == 0
    assert (tmp_path / "said").read_text() == "room for 4096\n"


# ---------------------------------------------------------------------------------------------------- the demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of a demo that ran beside an owner's file, and what it returned and printed."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copy(EXAMPLE, str(folder / "known_faces.dat"))
    before = os.stat(str(folder / "known_faces.dat"))
    result = run_doorcam("--source", "demo", "--headless", "--stats", "--log", "log.csv", folder=folder)
    return folder, before, result


def test_the_demo_runs_to_its_end(demo):
    _, _, (status, out, err) = demo
    assert (status, err) == (0, "")
    figures = json.loads(out.splitlines()[-1])
    assert set(figures) == FIGURES
    assert figures["frames"] == doorcam.DEMO_SECONDS * doorcam.DEMO_RATE
    assert figures["visitors"] == 2 and figures["recognitions"] > 50 and figures["cpu_seconds"] > 1
    assert re.search(r"^engine: (OpenCV|dlib) \d.* for a new book", out, re.M)  # dlib where it uses a GPU


def test_the_demo_s_log_tells_its_story(demo):
    folder, _, _ = demo
    log = read_log(folder / "log.csv")
    assert [(row["event"], row["visitor"], row["visit"]) for row in log] == [
        ("new", "1", "1"), ("new", "2", "1"), ("left", "1", "1"), ("left", "2", "1"), ("returned", "1", "2"),
        ("left", "1", "2")]
    assert [row["seconds"] != "" for row in log] == [row["event"] == "left" for row in log]
    times = [datetime.datetime.strptime(re.sub(r"([+-]\d\d):(\d\d)$", r"\1\2", row["time"]), "%Y-%m-%dT%H:%M:%S%z")
             for row in log]
    assert 3600 < (times[4] - times[0]).total_seconds() < 3700  # the demo's hour
    assert stat.S_IMODE(os.stat(str(folder / "log.csv")).st_mode) == 0o600


def test_the_first_person_of_the_demo_is_recognised_by_second_five(demo):
    _, _, (_, out, _) = demo
    said = re.search(r"known faces.*?(\d\d:\d\d:\d\d) visitor 1 is new", out, re.S)
    assert said
    stay = doorcam.DEMO_STAYS[0]
    assert stay[1] < 5 and doorcam.ENROL_SIGHTINGS / float(doorcam.DEMO_RATE) < 5 - stay[1]


def test_the_demo_leaves_the_owner_s_file_alone(demo):
    folder, before, _ = demo
    with open(str(folder / "known_faces.dat"), "rb") as file, open(EXAMPLE, "rb") as example:
        assert file.read() == example.read()
    after = os.stat(str(folder / "known_faces.dat"))
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert not (folder / "known_faces.dat.lock").exists()


def test_two_runs_of_the_demo_give_the_same_log_but_for_time(demo, tmp_path):
    folder, _, _ = demo
    assert run_doorcam("--source", "demo", "--headless", "--log", "log.csv", folder=tmp_path)[0] == 0
    assert untimed(read_log(tmp_path / "log.csv")) == untimed(read_log(folder / "log.csv"))


def test_a_copy_of_doorcam_without_the_example_says_that_the_demo_needs_it(tmp_path):
    shutil.copy(doorcam.__file__, str(tmp_path / "doorcam.py"))
    status, _, err = run_doorcam("--source", "demo", "--headless", folder=tmp_path,
                                 program=[str(tmp_path / "doorcam.py")])
    assert status == 1
    one_line(err, "known_faces.dat.example")


# -------------------------------------------------------------------------------------------------- recordings


@pytest.mark.parametrize("name, rate", [("clip.avi", 7), ("clip.mkv", 25), ("clip.avi", 120), ("clip.mkv", 1)])
def test_every_frame_of_a_recording_is_read_in_order_with_its_time(tmp_path, name, rate):
    path = write_clip(tmp_path / name, visit_frames(50), rate)
    frames = list(doorcam.read_recording(doorcam.parse_source(path), "none", 1000.0))
    assert [read_number(frame) for frame, _ in frames] == list(range(50))
    for number, (frame, moment) in enumerate(frames):
        assert frame.shape == (480, 640, 3)
        assert moment == pytest.approx(1000.0 + number / float(rate), abs=0.002)


INTERLACED = ["-c:v", "libx264", "-flags", "+ildct+ilme", "-top", "1"]


def by_ffmpeg(path, clip, *options):
    """Makes a recording of another one; returns its path as text."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", clip] + list(options) + [str(path)], check=True, timeout=60)
    return str(path)


@pytest.mark.parametrize("name, options", [
    ("it's [1]; a:b, c=d.mp4", INTERLACED), ("inter.ts", INTERLACED), ("mpeg2.ts", ["-c:v", "mpeg2video", "-q:v", "2",
     "-flags", "+ildct+ilme", "-top", "1"]), ("pal.dv", ["-target", "pal-dv"])])
def test_an_interlaced_recording_is_seen(clip, tmp_path, name, options):
    """OpenCV 4.13 to 5.0 of pip give whatever is in their memory for it, mostly zeros, as a success."""
    path = by_ffmpeg(tmp_path / name, clip, "-vf", "fps=25", *options)
    frames = list(doorcam.read_recording(doorcam.parse_source(path), "none", 0.0))
    first, last = (cv2.resize(frames[index][0], (640, 480)) for index in (0, -1))
    assert abs(len(frames) - 75) <= 1 and frames[-1][1] == pytest.approx(3.0, abs=0.1)
    for frame, picture in zip((first, last), (list(visit_frames(30))[index] for index in (0, -1))):
        assert np.abs(frame[:, 64:-64].astype(int) - picture[:, 64:-64]).mean() < 10
    assert not doorcam.same_picture(first, last)


def test_who_is_in_an_interlaced_recording_is_known(clip, tmp_path):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    path = by_ffmpeg(tmp_path / "inter.mp4", clip, *INTERLACED)
    status, out, err = run_doorcam("--source", path, "--headless", folder=tmp_path)
    assert (status, err) == (0, "") and "visitor 1 returned" in out


def test_an_interlaced_recording_that_breaks_off_says_so(tmp_path):
    clip = write_clip(tmp_path / "clip.avi", visit_frames(100))
    path = tmp_path / "inter.mp4"
    by_ffmpeg(path, clip, *(INTERLACED + ["-movflags", "+faststart"]))
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    status, _, err = run_doorcam("--source", str(path), "--headless", folder=tmp_path)
    assert status == 1
    one_line(err, "breaks off after", "of 100 frames")


def test_a_recording_that_is_black_throughout_is_named(tmp_path):
    black = np.zeros((480, 640, 3), np.uint8)
    path = write_clip(tmp_path / "black.avi", [black] * 200)
    status, _, err = run_doorcam("--source", path, "--headless", folder=tmp_path)
    assert status == 1
    one_line(err, "black.avi is black from the beginning to the end")


def test_a_black_beginning_of_a_recording_is_none_of_its_faults(tmp_path):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    path = write_clip(tmp_path / "dark.avi", [np.zeros((480, 640, 3), np.uint8)] * 150 + list(visit_frames(30)))
    status, out, err = run_doorcam("--source", path, "--headless", folder=tmp_path)
    assert (status, err) == (0, "") and "visitor 1 returned" in out


def test_a_picture_that_stands_still_for_long_is_no_frame_of_a_recording(capsys):
    levels = list(range(50)) + [50] * 400 + list(range(51, 61)) + [70] * 80 + [80] + [90] * 300 + [91]
    frames = [(np.full((32, 32, 3), level, np.uint8), number / 8.0) for number, level in enumerate(levels)]
    lost = []
    came = list(doorcam.without_stills(iter(frames), "clip.avi", lost.append))
    assert [moment for _, moment in came] == [moment for _, moment in frames]
    wait = int(8 * doorcam.PICTURE_STILL)
    assert [number for number, (frame, _) in enumerate(came) if frame is None] \
        == list(range(50 + wait, 450)) + list(range(541 + wait, 841))
    assert lost == [50 / 8.0, 541 / 8.0]
    assert capsys.readouterr().err.count("\n") == 1  # said once


@pytest.mark.parametrize("still, stays", [(8, 11), (30, 3)])
def test_a_visit_ends_where_a_recording_begins_to_stand_still(tmp_path, still, stays):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    frames = list(visit_frames(30))
    path = write_clip(tmp_path / "still.avi", frames + frames[-1:] * (10 * still))
    status, _, err = run_doorcam("--source", path, "--headless", "--log", "log.csv", folder=tmp_path)
    assert status == 0
    if stays < 5:
        one_line(err, "still.avi stands still after 2s")
    else:
        assert err == ""
    log = read_log(tmp_path / "log.csv")
    assert [line["event"] for line in log] == ["returned", "left"]
    assert float(log[-1]["seconds"]) == pytest.approx(stays, abs=1)


def test_a_recording_of_odd_size_is_turned(tmp_path):
    path = write_clip(tmp_path / "odd.avi", visit_frames(3, width=638, height=362))
    shapes = {flip: [frame.shape for frame, _ in doorcam.read_recording(doorcam.parse_source(path), flip, 0.0)]
              for flip in doorcam.FLIPS}
    assert shapes["none"] == shapes["180"] == shapes["horizontal"] == shapes["vertical"] == [(362, 638, 3)] * 3
    assert shapes["90"] == shapes["270"] == [(638, 362, 3)] * 3


def test_a_recording_is_watched_and_its_visitor_is_saved(clip, tmp_path):
    status, out, err = run_doorcam("--source", clip, "--headless", "--stats", "--log", "log.csv", folder=tmp_path)
    assert (status, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["frames"] == 30
    assert str(tmp_path / "known_faces.dat") in out
    visitor, = visitors_in(tmp_path / "known_faces.dat")
    assert visitor.seen_count == 1 and 2.0 < visitor.this_visit() <= 2.9
    assert stat.S_IMODE(os.stat(str(tmp_path / "known_faces.dat")).st_mode) == 0o600
    assert [row["event"] for row in read_log(tmp_path / "log.csv")] == ["new", "left"]


def test_who_is_in_the_example_is_known_again(clip, tmp_path):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    assert run_doorcam("--source", clip, "--headless", "--log", "log.csv", folder=tmp_path)[0] == 0
    assert [(row["event"], row["visitor"], row["visit"]) for row in read_log(tmp_path / "log.csv")] == [
        ("returned", "1", "4"), ("left", "1", "4")]


def test_faces_may_stand_before_and_after_the_command(clip, tmp_path):
    assert run_doorcam("--source", clip, "--headless", "--faces", "mine.dat", folder=tmp_path)[0] == 0
    assert not (tmp_path / "known_faces.dat").exists()
    before = run_doorcam("--faces", "mine.dat", "list", folder=tmp_path)
    after = run_doorcam("list", "--faces", "mine.dat", folder=tmp_path)
    assert before == after and before[0] == 0 and len(before[1].splitlines()) == 2
    assert run_doorcam("list", folder=tmp_path)[0] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_middle_of_a_recording_saves(tmp_path, number):
    with Doorcam("--source", "demo", "--faces", "mine.dat", "--headless", "--log", "log.csv", folder=tmp_path) as door:
        door.wait_for("visitor 1 is new")
        status, _, err = door.stop(number)
    assert (status, err) == (0, "")
    assert visitors_in(tmp_path / "mine.dat")[0].number == 1
    assert [row["event"] for row in read_log(tmp_path / "log.csv")][-1] == "left"


@pytest.mark.parametrize("name", ["broken.avi", "broken.mkv"])
def test_a_recording_that_breaks_off_counts_up_to_there(tmp_path, name):
    path = write_clip(tmp_path / name, visit_frames(60))
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) // 2)
    status, out, err = run_doorcam("--source", path, "--headless", "--stats", folder=tmp_path)
    assert status == 1
    one_line(err, path, "breaks off after", "of 60 frames")
    assert 20 <= json.loads(out.splitlines()[-1])["frames"] <= 32
    assert len(visitors_in(tmp_path / "known_faces.dat")) == 1


SOUND = ["-f", "lavfi", "-i", "sine=d=20"]


@pytest.mark.parametrize("name, options", [
    ("trim.mp4", ["-ss", "2", "-c", "copy"]),  # an edit list hides the frames before
    ("sparse.mkv", ["-vf", "select='lt(t,1)+not(mod(n,8))'", "-vsync", "vfr", "-c:v", "libx264"]),
    ("sound.mkv", SOUND + ["-c:v", "copy", "-c:a", "aac"]),
    ("sound.ts", SOUND + ["-c:v", "mpeg2video", "-c:a", "aac", "-r", "25"]),
    ("pause.mkv", ["-c:v", "copy", "-bsf:v", "setts=ts=if(gt(N\\,20)\\,TS+1200/TB\\,TS)"])])
def test_a_recording_with_fewer_frames_than_expected_is_whole(clip, tmp_path, name, options):
    whole = by_ffmpeg(tmp_path / "whole.mp4", clip, "-c:v", "libx264", "-g", "250")
    path = by_ffmpeg(tmp_path / name, whole, *options)
    if name == "trim.mp4":  # the position belongs before what is read
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-ss", "2", "-i", whole, "-c", "copy", path], check=True)
    expected = cv2.VideoCapture(path, cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT)
    count = len(list(doorcam.read_recording(doorcam.parse_source(path), "none", 0.0)))
    assert 8 <= count < expected / 1.5


@pytest.mark.parametrize("name", ["cut.avi", "cut.mkv", "cut.mp4"])
@pytest.mark.parametrize("filled", [False, True])
def test_a_recording_that_is_cut_says_so(clip, tmp_path, name, filled):
    path = by_ffmpeg(tmp_path / name, clip, "-c:v", "mpeg4", "-g", "5", "-movflags", "+faststart")
    size = os.path.getsize(path)
    os.truncate(path, size // 2)
    if filled:  # made in its size at first, as some programs that load files do
        os.truncate(path, size)
    with pytest.raises(doorcam.DoorcamError, match="breaks off after"):
        list(doorcam.read_recording(doorcam.parse_source(path), "none", 0.0))


def moments(positions, step=0.1):
    return [round(moment, 3) for _, moment in doorcam.in_time(((None, one) for one in positions), step)]


STEPS = [round(0.1 * number, 3) for number in range(60)]
AHEAD = 37600.0


@pytest.mark.parametrize("places", [
    range(1), range(3), range(57, 60), range(20, 29), range(0, 60, 2), range(1, 60, 3), range(1, 60), range(3, 60),
    list(range(0, 60, 7)) + list(range(1, 60, 7))])
def test_time_stamps_that_are_hours_ahead_move_nothing(places):
    assert moments([one + AHEAD * (number in places) for number, one in enumerate(STEPS)]) == pytest.approx(STEPS)


@pytest.mark.parametrize("positions, length", [
    ([0.0] + [AHEAD] * 59, 5.9), (STEPS[:30] + [AHEAD + 1e-4 * one for one in range(30)], 5.9),  # made to ascend
    (STEPS[:30] + [2.9 + 1e-4 * one for one in range(30)] + [one + 3 for one in STEPS], 11.0),
    ([STEPS[number // 3 * 3] for number in range(60)], 5.9), ([one // 0.5 * 0.5 for one in STEPS], 5.9),
    (STEPS[::-1], 5.9), ([-one for one in STEPS], 5.9), (STEPS[:3] + STEPS[:30] + STEPS[:27], 5.9)])
def test_time_stamps_that_stand_still_or_go_back(positions, length):
    found = moments(positions)
    assert found == sorted(found) and found[0] == 0 and found[-1] == pytest.approx(length, abs=0.31)


def test_a_frame_now_and_then_has_its_time():
    for count in range(2, 40):
        assert round(moments([10.0 * one for one in range(count)])[-1] / (count - 1), 6) in (10.0, 0.1)
    assert moments([10.0 * one for one in range(33)])[-1] == 320


@pytest.mark.parametrize("name, options", [
    ("ahead.mp4", ["-c:v", "libx264", "-bf", "0", "-bsf:v",
                   "setts=ts=if(eq(N\\,20)\\,TS+37600/TB\\,TS)"]),  # all after it are made to ascend
    ("first.mkv", ["-c:v", "copy", "-bsf:v", "setts=ts=if(gte(N\\,1)\\,TS+37600/TB\\,TS)"]),
    ("none.mkv", ["-c:v", "copy", "-bsf:v", "setts=ts=0"]), ("raw.h264", ["-r", "25"]), ("bare.mjpeg", ["-r", "25"])])
def test_a_recording_ends_now_whatever_its_time_stamps(clip, tmp_path, name, options):
    source = doorcam.parse_source(by_ffmpeg(tmp_path / name, clip, *options))
    *_, (_, last) = doorcam.read_recording(source, "none", 0.0)
    assert last == pytest.approx(3.0, abs=0.8) and doorcam.recording_seconds(source) == pytest.approx(last, abs=0.5)


@pytest.mark.parametrize("wrong", [37600.0, -1.0, 0.0, 12.0])
@pytest.mark.parametrize("places", [(20,), (20, 40), (20, 21), (59,), (57, 58, 59),
                                    tuple(range(20, 28)), tuple(range(3, 60, 4))])
def test_a_wrong_time_stamp_moves_nothing(wrong, places):
    assert moments([wrong if number in places else one for number, one in enumerate(STEPS)]) == STEPS


@pytest.mark.parametrize("positions, expected", [
    (STEPS[:30] + [1200 + one for one in STEPS[30:]], STEPS[:30] + [1200 + one for one in STEPS[30:]]),  # a pause
    ([10 * one for one in range(31)], [10 * one for one in range(31)]),         # a frame every ten seconds
    (STEPS[:30] + STEPS[:30], STEPS), (STEPS[:30] + [37600.0] * 30, STEPS), ([0.0] * 60, STEPS),
    ([95443.7 + one for one in STEPS], STEPS),
    ([STEPS[number // 2] for number in range(20)], [round(0.1 * (number // 2), 3) for number in range(20)])])
def test_times_go_on_through_pauses_and_new_counts(positions, expected):
    if len(set(positions)) == 10:  # two frames with each position: the second is a step later, and time never goes back
        assert moments(positions) == sorted(moments(positions))
    else:
        assert moments(positions) == pytest.approx(expected)


def test_one_wrong_time_stamp_ends_no_visit(tmp_path):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    clip = write_clip(tmp_path / "clip.avi", visit_frames(60))
    ahead = "if(eq(N\\,30)\\,TS+37600/TB\\,TS)"
    path = by_ffmpeg(tmp_path / "ahead.mkv", clip, "-c:v", "mjpeg", "-q:v", "2", "-bsf:v", "setts=ts=" + ahead)
    status, _, err = run_doorcam("--source", path, "--headless", "--log", "log.csv", folder=tmp_path)
    assert (status, err) == (0, "")
    log = read_log(tmp_path / "log.csv")
    assert [line["event"] for line in log] == ["returned", "left"] and 4.5 < float(log[1]["seconds"]) < 6.5


def test_a_recording_may_have_a_colon_in_its_name(clip, tmp_path):
    shutil.copy(clip, str(tmp_path / "2026-11-25T10:00:00.avi"))
    for name in ("2026-11-25T10:00:00.avi", "file://" + str(tmp_path / "2026-11-25T10%3A00:00.avi")):
        status, _, err = run_doorcam("--source", name, "--headless", folder=tmp_path)
        assert (status, err) == (0, "")


def test_a_recording_may_have_a_name_that_is_no_text(clip, tmp_path):
    name = str(tmp_path / "caf\udce9.avi")
    status, _, err = run_doorcam("--source", name, "--headless", folder=tmp_path)
    assert status == 1
    one_line(err, "caf?.avi does not exist")
    shutil.copy(clip, name)
    assert run_doorcam("--source", name, "--headless", folder=tmp_path)[::2] == (0, "")


@pytest.mark.parametrize("pause", [0, 2, None])
def test_a_recording_may_come_by_a_pipe(tmp_path, monkeypatch, pause):
    clip, path = write_clip(tmp_path / "clip.mkv", visit_frames(10)), str(tmp_path / "pipe")
    os.mkfifo(path)
    monkeypatch.setattr(doorcam, "CAMERA_STALLED", 1.0 if pause is None else 30.0)
    frames = doorcam.read_recording(doorcam.parse_source(path), "none", 0.0)
    if pause is None:
        with pytest.raises(doorcam.DoorcamError, match="nobody writes to the pipe"):
            next(frames)
        return
    with subprocess.Popen(["sh", "-c", "sleep %d; cat '%s' > '%s'" % (pause, clip, path)]) as writer:
        assert [read_number(frame) for frame, _ in frames] == list(range(10))
        assert writer.wait(30) == 0


@pytest.mark.parametrize("arguments", [["--headless", "--source", "7"], ["list"]])
def test_a_folder_that_is_gone_is_named(tmp_path, arguments):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = [sys.executable, "-c", "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])",
               sys.executable, doorcam.__file__]
    done = subprocess.run(command + arguments, cwd=str(gone), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, env=environment(), timeout=60)
    assert done.returncode == 1
    one_line(done.stderr, "the current folder is gone")


@pytest.mark.parametrize("sar, flip, options, shape", [
    ("2/1", "none", [], (1080, 1920)), ("2/1", "90", [], (1920, 1080)),
    ("1/1", "none", ["--aspect", "16:9"], (1080, 1920)),
    ("2/1", "none", ["--aspect", "4:3"], (1080, 1920)), ("1/1", "none", [], (1080, 960))])
def test_people_are_not_squashed(clip, tmp_path, sar, flip, options, shape):
    path = by_ffmpeg(tmp_path / "1080N.mp4", clip, "-vf", "scale=960:1080,setsar=" + sar, "-frames", "5")
    seen = []

    def watch(options):
        place = doorcam.places_of(options)[0]
        seen.extend(frame.shape[:2] for frame, _ in doorcam.read_recording(place.source, place.flip, 0.0))
    parser = doorcam.make_parser()
    parser.set_defaults(run=watch)
    with mock.patch.object(doorcam, "make_parser", lambda: parser):
        doorcam.main(["--source", path, "--flip", flip] + options)
    assert set(seen) == {shape}


@pytest.mark.parametrize("arguments", [
    ["rtsp://anna:geheim@cam/1"], ["--flip", "rtsp://anna:geheim@cam/1"], ["--sauce=rtsp://anna:geheim@cam/1"],
    ["--scale", "http://cam/?pw=geheim"], ["list", "rtsp://cam/user=anna_password=geheim.sdp"],
    ["--faces", "rtsp://anna:geheim@cam/1", "list"], ["anna:geheim@cam/1"], ["--source", "anna:geheim@cam/1"],
    ["rtsp://anna:ge geheim@cam/1"], ["--scale", "http://cam/?user=a b&pw=geheim c"]])
def test_a_misplaced_address_shows_no_password(tmp_path, arguments):
    status, out, err = run_doorcam(*(["--headless"] + arguments), folder=tmp_path)
    assert status in (1, 2)
    one_line(err)
    assert "geheim" not in out + err


def write_no_frames(path):
    cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48)).release()


@pytest.mark.parametrize("name, make, said", [
    ("missing.avi", lambda path: None, "does not exist"),
    ("folder.avi", lambda path: path.mkdir(), "cannot be read"),
    ("text.avi", lambda path: path.write_text("no video\n" * 100), "is not a video"),
    ("empty.avi", lambda path: path.write_text(""), "is not a video"),
    ("none.avi", write_no_frames, "has no frames"),
    ("secret.avi", lambda path: (path.write_text("x"), path.chmod(0)), "cannot be read")])
def test_a_recording_that_is_none(tmp_path, name, make, said):
    make(tmp_path / name)
    status, _, err = run_doorcam("--source", tmp_path / name, "--headless", folder=tmp_path)
    assert status == 1
    one_line(err, tmp_path / name, said)
    assert not (tmp_path / "known_faces.dat").exists()


# ------------------------------------------------------------------------------------- cameras that are not there


def test_no_camera(tmp_path):
    number = next(number for number in range(99, 0, -1) if not os.path.exists("/dev/video%d" % number))
    status, _, err = run_doorcam("--source", number, "--headless", folder=tmp_path)
    assert status == 1
    one_line(err, "camera %d is not there" % number, "--source demo", "another number")


@pytest.mark.parametrize("address, shown", [
    ("rtsp://anna:geheim@127.0.0.1:9/cam", "rtsp://***@127.0.0.1:9/cam"),
    ("http://127.0.0.1:9/cam?user=anna&pwd=geheim", "http://127.0.0.1:9/cam?***"),
    ("rtsp://anna:ge/geheim@x@127.0.0.1:9/cam", "rtsp://***@127.0.0.1:9/cam")])
def test_a_network_camera_that_does_not_answer_is_named_without_its_password(tmp_path, address, shown):
    status, out, err = run_doorcam("--source", address, "--headless", folder=tmp_path)
    assert status == 1
    one_line(err, shown)
    assert "geheim" not in out + err and "anna" not in out + err


def test_a_pipeline_shows_no_password():
    source = doorcam.parse_source('rtspsrc location=rtsp://a:geheim@x/y user-id=anna user-pw="ge heim" ! appsink')
    assert str(source) == "rtspsrc location=rtsp://***@x/y user-id=*** user-pw=*** ! appsink"


@pytest.mark.parametrize("setting", [
    "passphrase=geheim", "user-pw = geheim", "user-pw='ge heim geheim'", "cookies=\"id=geheim\"",
    "extra-headers=\"x,Authorization=(string)geheim\"", "auth-token=geheim", "stream-key=geheim"])
def test_a_pipeline_shows_no_secret_of_another_name(setting):
    shown = str(doorcam.parse_source("somesrc location=/dev/x %s latency=5 ! videoconvert ! appsink" % setting))
    assert "geheim" not in shown
    assert shown.startswith("somesrc location=/dev/x ") and shown.endswith("*** latency=5 ! videoconvert ! appsink")


def test_a_recording_with_a_page_is_played_as_it_was_taken(tmp_path):
    clip = write_clip(tmp_path / "slow.avi", visit_frames(12), rate=2)
    status, out, err = run_doorcam("--source", clip, "--headless", "--web", "0", "--stats", folder=tmp_path)
    assert (status, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["seconds"] > 4


@pytest.mark.parametrize("source", ["csi", "videotestsrc ! videoconvert ! appsink"])
def test_an_opencv_without_gstreamer_is_named(tmp_path, source):
    assert not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()), "these tests expect pip's OpenCV"
    status, _, err = run_doorcam("--source", source, "--headless", folder=tmp_path)
    assert status == 1
    one_line(err, "GStreamer", "python3-opencv", cv2.__version__)


@pytest.mark.parametrize("source, missing", [("csi", "nvarguscamerasrc, nvvidconv"),
                                             ("nosuchsource ! videoconvert ! appsink", "nosuchsource")])
def test_a_missing_gstreamer_element_is_named(tmp_path, source, missing):
    env = gstreamer_environment(tmp_path, PYTHONPATH=os.path.join(HERE, "nofaces"))
    status, _, err = run_doorcam("--source", source, "--headless", "--engine", "dlib", folder=tmp_path,
                                 python=gstreamer(), env=env)
    assert status == 1
    one_line(err, missing, "not installed")


# -------------------------------------------------------------------------------------------------- the options


@pytest.mark.parametrize("arguments", [
    ["--scale", "0"], ["--scale", "nan"], ["--scale", "large"], ["--visit-gap", "-1"], ["--visit-gap", "0"],
    ["--tolerance", "3"], ["--flip", "45"], ["--aspect", "16:0"], ["--aspect", "wide"], ["--source", "rtsp://caf\udce9"],
    ["--detector", "yolo"], ["--source", ""], ["--faces", ""], ["--nonsense"],
    ["nonsense"], ["forget"], ["forget", "0"], ["forget", "x"], ["name", "1"]])
def test_a_wrong_option(tmp_path, arguments):
    status, out, err = run_doorcam(*arguments, folder=tmp_path)
    assert (status, out) == (2, "")
    assert arguments[0].lstrip("-") in one_line(err) or "COMMAND" in err
    assert sorted(os.listdir(str(tmp_path))) == ["stderr.txt", "stdout.txt"]


# ------------------------------------------------------------------------------------------------- the window


def test_the_versions_are_said(tmp_path):
    status, out, err = run_doorcam("--version", folder=tmp_path)
    assert (status, err) == (0, "")
    assert out == "doorcam %s, OpenCV %s, Python %s\n" % (doorcam.VERSION, cv2.__version__, sys.version.split()[0])


@pytest.mark.parametrize("error, help", [
    ("libGL.so.1: cannot open shared object file: No such file or directory", "sudo apt-get install libgl1"),
    ("No module named 'cv2'", "uv run doorcam.py")])
def test_what_opencv_lacks_is_named(tmp_path, error, help):
    (tmp_path / "cv2.py").write_text("raise ImportError(%r)" % error)
    status, out, err = run_doorcam("--source", "demo", folder=tmp_path, env=environment(PYTHONPATH=str(tmp_path)))
    assert (status, out) == (1, "")
    one_line(err, error, help)


def test_no_display(tmp_path):
    status, _, err = run_doorcam("--source", "demo", folder=tmp_path)
    assert status == 1
    one_line(err, "DISPLAY", "--headless")


def test_a_display_that_is_not_there(tmp_path):
    status, _, err = run_doorcam("--source", "demo", folder=tmp_path, env=environment(DISPLAY=":4242"))
    assert status == 1
    one_line(err, ":4242", "--headless")


@pytest.fixture(scope="module")
def without_windows(tmp_path_factory):
    """An environment in which cv2 is opencv-python-headless."""
    folder = str(tmp_path_factory.mktemp("headless"))
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--target", folder, "opencv-python-headless==" + cv2.__version__ + ".*"], check=True, timeout=300)
    env = environment(PYTHONPATH=folder)
    path = subprocess.run([sys.executable, "-c", "import cv2; print(cv2.__file__)"], env=env, timeout=60, check=True,
                          stdout=subprocess.PIPE, universal_newlines=True).stdout
    assert path.startswith(folder)
    return env


def test_an_opencv_without_windows_is_named(without_windows, tmp_path):
    with xvfb() as (_, display):
        status, _, err = run_doorcam("--source", "demo", folder=tmp_path, env=dict(without_windows, DISPLAY=display))
    assert status == 1
    one_line(err, "opencv-python-headless", "--headless")


def test_headless_runs_with_an_opencv_without_windows(without_windows, clip, tmp_path):
    status, _, err = run_doorcam("--source", clip, "--headless", folder=tmp_path, env=without_windows)
    assert (status, err) == (0, "")
    assert len(visitors_in(tmp_path / "known_faces.dat")) == 1


# ---------------------------------------------------------------------------------------------- the known faces


def damage(path, kind):
    shutil.copy(EXAMPLE, str(path))
    if kind == "truncated":
        os.truncate(str(path), os.path.getsize(EXAMPLE) // 2)
    elif kind == "foreign":
        path.write_text("somebody's shopping list\n")


@pytest.mark.parametrize("kind", ["truncated", "foreign"])
def test_a_damaged_file_is_set_aside_and_the_door_is_watched(clip, tmp_path, kind):
    path = tmp_path / "known_faces.dat"
    damage(path, kind)
    before = path.read_bytes()
    status, _, err = run_doorcam("--source", clip, "--headless", folder=tmp_path)
    assert status == 0
    line = one_line(err, "known_faces.dat")
    aside, = tmp_path.glob("known_faces.dat.damaged-*")
    assert aside.name in line and aside.read_bytes() == before
    assert len(visitors_in(path)) == 1


@pytest.mark.parametrize("kind", ["truncated", "foreign"])
@pytest.mark.parametrize("arguments", [["list"], ["forget", "1"], ["name", "1", "Anna"]])
def test_the_commands_leave_a_damaged_file_alone(tmp_path, kind, arguments):
    path = tmp_path / "known_faces.dat"
    damage(path, kind)
    before = path.read_bytes()
    status, out, err = run_doorcam(*arguments, folder=tmp_path)
    assert (status, out) == (1, "")
    one_line(err, "known_faces.dat")
    assert path.read_bytes() == before and not list(tmp_path.glob("*.damaged-*"))


@pytest.mark.parametrize("arguments", [["--source", "clip", "--headless"], ["list"], ["forget", "1"]])
def test_a_file_that_may_not_be_read(clip, tmp_path, arguments):
    path = tmp_path / "known_faces.dat"
    shutil.copy(EXAMPLE, str(path))
    path.chmod(0)
    status, _, err = run_doorcam(*[clip if one == "clip" else one for one in arguments], folder=tmp_path)
    path.chmod(0o600)
    assert status == 1
    one_line(err, "known_faces.dat", "Permission denied")
    with open(EXAMPLE, "rb") as example:
        assert path.read_bytes() == example.read()


@pytest.mark.parametrize("arguments", [["--source", "clip", "--headless"], ["forget", "1"]])
@pytest.mark.parametrize("locked", ["file", "folder"])
def test_a_file_that_may_not_be_written(clip, tmp_path, arguments, locked):
    folder = tmp_path / "owner"
    folder.mkdir()
    path = folder / "known_faces.dat"
    shutil.copy(EXAMPLE, str(path))
    path.chmod(0o444 if locked == "file" else 0o644)
    folder.chmod(0o555 if locked == "folder" else 0o755)
    arguments = [clip if one == "clip" else one for one in arguments] + ["--faces", str(path)]
    status, _, err = run_doorcam(*arguments, folder=tmp_path)
    folder.chmod(0o755)
    assert status == 1
    one_line(err, path, "cannot be written")
    with open(EXAMPLE, "rb") as example:
        assert path.read_bytes() == example.read()
    if locked == "file":
        assert run_doorcam("list", "--faces", path, folder=tmp_path)[0] == 0


def test_a_number_in_a_frame_survives_jpeg(tmp_path):
    frames = [numbered(frame, number) for number, frame in zip((0, 1, 513, 1023), visit_frames(4))]
    assert [read_number(cv2.imdecode(cv2.imencode(".jpg", frame)[1], 1)) for frame in frames] == [0, 1, 513, 1023]


# ------------------------------------------------------------------- started by something else than a person


def run_in_shell(command, folder, program=doorcam.__file__, seconds=60, **more):
    """(status, output, error output) of a command of the shell's in which "$@" is the beginning of doorcam's."""
    done = subprocess.run(["sh", "-c", command, "sh", sys.executable, str(program)], cwd=str(folder), timeout=seconds,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, env=environment(),
                          **more)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_what_an_init_script_has_closed_is_not_needed(clip, tmp_path, closed):
    status, out, err = run_in_shell('"$@" --headless --stats --source "%s" %s' % (clip, closed), tmp_path)
    assert (status, err) == (0, "")
    assert ("visitor 1 left" in out) == (">&-" not in closed.replace("2>&-", "")) == ("cpu_seconds" in out)
    assert [visitor.number for visitor in visitors_in(tmp_path / "known_faces.dat")] == [1]


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_commands_do_what_they_should_with_closed_files(tmp_path, closed):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    for command in ("name 1 Anna", "list", "list --json", "report", "--version", "--help"):
        status, out, err = run_in_shell('"$@" %s %s' % (command, closed), tmp_path)
        assert (status, out, err) == (0, "", ""), command
    assert visitors_in(tmp_path / "known_faces.dat")[0].name == "Anna"
    assert run_in_shell('"$@" forget 77 %s' % closed, tmp_path)[0] == 1


@pytest.mark.parametrize("arguments", [["-h"], ["list", "--help"], ["name", "-h"], ["merge", "-h"], ["report", "-h"]])
def test_the_help_is_the_same_without_docstrings(tmp_path, arguments):
    """python -OO, PYTHONOPTIMIZE=2"""
    usual = run_doorcam(*arguments, folder=tmp_path)
    assert run_doorcam(*arguments, folder=tmp_path, env=environment(PYTHONOPTIMIZE="2")) == usual
    assert usual[0] == 0 and len(usual[1]) > 100
    assert {"-h": "doorcam.py merge NUMBER INTO", "list": "\na table of visitors\n",
            "name": "\ngive a visitor a name\n", "merge": "\ntwo entries are one person\n",
            "report": "\na page of visitors and, with --log, visits, for a browser"}[arguments[0]] in usual[1]


def test_the_door_is_watched_without_docstrings(clip, tmp_path):
    status, out, err = run_doorcam("--headless", "--source", clip, folder=tmp_path, env=environment(PYTHONOPTIMIZE="2"))
    assert (status, err) == (0, "") and "visitor 1 left" in out


@pytest.mark.parametrize("leads_to", ["/path", "from/here", "second"])
def test_the_demo_runs_through_a_link(tmp_path, leads_to):
    folder = str(tmp_path.resolve())
    os.symlink(doorcam.__file__, folder + "/second")
    os.symlink({"/path": doorcam.__file__, "from/here": os.path.relpath(doorcam.__file__, folder)}.get(
        leads_to, leads_to), folder + "/door")
    with Doorcam("--source", "demo", "--headless", folder=tmp_path, program=("./door",)) as running:
        running.wait_for("engine: ")
        assert running.stop()[::2] == (0, "")


@pytest.mark.parametrize("megabytes", [150, 320, 350, 370])
def test_a_limit_on_memory_is_named(tmp_path, clip, megabytes):
    """Wherever it is met: while libraries are loaded, by Python, by OpenCV, in the recognition process; or doorcam
    runs with so little."""
    status, out, err = run_in_shell('ulimit -v %d; "$@" --headless --source "%s"' % (megabytes * 1024, clip), tmp_path)
    assert "unexpected fault" not in err and "newer" not in err and "apt-get" not in err and "Traceback" not in err
    named = err.count("too little memory") + err.count("Segmentation fault")  # the latter within a library, seldom
    assert named == len(err.splitlines()) and (err or (status, "visitor 1" in out) == (0, True))


HEAPS_OF_THREADS = """
import ctypes, sys, threading
sys.path.insert(0, %r)
import doorcam
assert doorcam.main(sys.argv[1:]) == 0
done, kept = threading.Barrier(13), []
def hold():
    kept.append(bytes(100000))
    done.wait()
    done.wait()
for _ in range(12):
    threading.Thread(target=hold).start()
done.wait()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
done.wait()
"""


def test_cameras_that_are_read_anew_leave_no_heaps_behind(tmp_path, clip):
    """The C library has one for each thread that begins, up to eight times as many as there are processors."""
    program = HEAPS_OF_THREADS % os.path.dirname(doorcam.__file__)
    status, out, err = run_doorcam("--source", clip, "--headless", folder=tmp_path, program=("-c", program))
    assert (status, err) == (0, "")
    assert 1 <= out.count("<heap nr=") <= 2


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory"),
                                   RuntimeError("can't start new thread")])
def test_want_of_memory_is_no_fault_of_doorcam_s(monkeypatch, capsys, error):
    def fail(*_):
        raise error
    monkeypatch.setattr(doorcam, "read_book", fail)
    assert doorcam.main(["list"]) == 1
    assert "too little memory, or room for threads: end other programs" in one_line(capsys.readouterr().err)


@pytest.fixture
def no_threads(monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(doorcam.threading.Thread, "start", refused)


def test_want_of_threads_is_no_fault_of_a_recording(tmp_path, no_threads):
    """FFmpeg opens nothing then, as if it were no video."""
    (tmp_path / "clip.avi").write_text("no video")
    with pytest.raises(RuntimeError) as error:
        doorcam.open_capture(doorcam.parse_source(str(tmp_path / "clip.avi")))
    assert doorcam.why(error.value) == "too little memory, or room for threads"


def test_opencv_s_want_of_memory_is_known(tmp_path):
    """An error as this OpenCV makes it."""
    program = ("import os, resource, sys; sys.path.insert(0, %r); import doorcam, numpy\n"
               "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
               "try: doorcam.cv2.resize(numpy.zeros((100, 100), numpy.uint8), (60000, 60000))\n"
               "except doorcam.cv2.error as error: print(doorcam.why(error))" % os.path.dirname(doorcam.__file__))
    assert run_doorcam(folder=tmp_path, program=("-c", program)) == (0, "too little memory\n", "")


@pytest.mark.parametrize("arguments, option", [
    (["--sorce", "demo"], "--sorce"), (["--headles", "x"], "--headles"), (["-x", "3"], "-x"), (["--sorce"], "--sorce"),
    (["--faces", "f", "--lgo", "a.csv", "list"], "--lgo"), (["--log", "demo", "--sorce", "demo"], "--sorce"),
    (["--sorce=rtsp://u:secret@h/", "a"], "--sorce"), (["list", "--jsn"], "--jsn")])
def test_a_mistyped_option_is_named(capsys, arguments, option):
    with pytest.raises(SystemExit) as end:
        doorcam.main(arguments)
    line = one_line(capsys.readouterr().err, option)
    assert end.value.code == 2 and "COMMAND" not in line and "secret" not in line


def test_a_mistyped_command_is_named(capsys):
    for arguments in (["lst", "--json"], ["--source", "demo", "lst"], ["--log", "-x y", "lst"][2:]):
        with pytest.raises(SystemExit):
            doorcam.main(arguments)
        one_line(capsys.readouterr().err, "invalid choice: 'lst'")


@pytest.mark.parametrize("arguments, said", [
    (["forget", "0"], "0 is no number of a visitor from 1 to 2147483647"),
    (["--visit-gap", "0"], "0 is no number of seconds from 0.1 to 10000000"),
    (["--scale", "9"], "9 is no factor from 0.01 to 4")])
def test_the_bounds_of_a_number_are_said_in_full(capsys, arguments, said):
    with pytest.raises(SystemExit):
        doorcam.main(arguments)
    assert one_line(capsys.readouterr().err).endswith(said)


@pytest.mark.parametrize("command", ["list", "list --json"])
@pytest.mark.parametrize("elsewhere, reason", [("> /dev/full", "No space left on device"),
                                               ("1< /dev/null", "Bad file descriptor")])
def test_a_list_that_cannot_be_written_says_so(tmp_path, command, elsewhere, reason):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    status, out, err = run_in_shell('"$@" %s %s' % (command, elsewhere), tmp_path)
    assert (status, out) == (1, "") and reason in one_line(err)
