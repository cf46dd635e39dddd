"""Cameras as they are: killed, frozen, stalled, unplugged, speaking nonsense, and brought back.

All servers are this machine's own, and every wait is bounded.
"""
import base64
import contextlib
import functools
import http.server
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import types

import cv2
import numpy as np
import pytest

import doorcam
from helpers import Story, face, person
from processes import (EXAMPLE, HERE, IMPATIENT, Doorcam, environment, gstreamer, gstreamer_environment, numbered,
                       one_line, portrait, read_number, run_doorcam, tool, visit_frames, wait_for, write_clip, xvfb)
from test_window import find_text

BACK = 2 * doorcam.CAMERA_TIMEOUT / 1000.0 + max(doorcam.RECONNECT_PAUSES) + 10  # s in which a camera must be back


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Watcher:
    """Reads a LiveCamera in a thread, as the main loop does, and keeps what came: shapes and times of frames."""

    def __init__(self, camera):
        self.camera, self.frames, self.error, self._stopped = camera, [], None, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            for frame, _ in doorcam.live_frames(self.camera, lambda seconds: None):
                if frame is not None:
                    self.frames.append((time.monotonic(), frame))
                if self._stopped:
                    return
        except doorcam.DoorcamError as error:
            self.error = error

    def wait_for_frames(self, count=5, seconds=BACK):
        """Waits for so many frames from now on; returns the newest."""
        start = len(self.frames)
        wait_for(lambda: self.error or len(self.frames) >= start + count, seconds, "no frames")
        assert self.error is None, self.error
        return self.frames[-1][1]

    def wait_for_first(self, count, seconds=10):
        """Waits until so many frames have come since the start, where there are few: some may have come already."""
        wait_for(lambda: self.error or len(self.frames) >= count, seconds, "no frames")
        assert self.error is None, self.error

    def wait_for_loss(self, seconds=30):
        wait_for(lambda: self.camera.silent() > doorcam.CAMERA_LOST, seconds, "the loss is not noticed")

    def close(self):
        self._stopped = True
        self._thread.join(5)
        return self.camera.close()


@pytest.fixture
def watch():
    """watch(source, ...) gives a Watcher; all are closed in the end."""
    watchers = []

    def make(source, *arguments, **more):
        watchers.append(Watcher(doorcam.LiveCamera(doorcam.parse_source(source), *arguments, **more)))
        return watchers[-1]
    yield make
    for watcher in watchers:
        watcher.close()


@pytest.fixture
def impatient(monkeypatch):
    for name, value in IMPATIENT.items():
        monkeypatch.setattr(doorcam, name, value)


def said_once(capsys, name, trouble=""):
    """Checks that the loss and the return of a camera were said in one line each, the loss with its reason."""
    said = []

    def back():
        said.append(capsys.readouterr().err)
        return "is back" in "".join(said)
    wait_for(back, 20, "the return is not said")
    lines = "".join(said).splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("doorcam: no picture from %s since" % name) and lines[1] == "doorcam: %s is back" % name
    assert lines[0].endswith(" s%s: trying to get it back" % trouble)


# ----------------------------------------------------------------------------------------------- an RTSP camera


class RtspCamera:
    """The server of a network camera that can be switched off and on."""

    def __init__(self):
        self.port, self._server = free_port(), None
        self.address = "rtsp://anna:geheim@127.0.0.1:%d/cam" % self.port
        self.shown = "rtsp://***@127.0.0.1:%d/cam" % self.port

    def on(self):
        self._server = subprocess.Popen([gstreamer(), os.path.join(HERE, "rtsp_server.py"), str(self.port)],
                                        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._server.stdout.readline() == b"ready\n"

    def off(self):
        self._server.kill()
        self._server.wait()

    def freeze(self, frozen=True):
        self._server.send_signal(19 if frozen else 18)  # SIGSTOP, SIGCONT


@pytest.fixture
def rtsp():
    camera = RtspCamera()
    camera.on()
    yield camera
    camera.off()


def test_an_rtsp_camera_that_is_restarted_comes_back(impatient, rtsp, watch, capsys):
    watcher = watch(rtsp.address)
    assert watcher.wait_for_frames().shape == (480, 640, 3)
    rtsp.off()
    watcher.wait_for_loss()
    rtsp.on()
    watcher.wait_for_frames()
    said_once(capsys, rtsp.shown)


def test_an_rtsp_camera_that_freezes_comes_back(impatient, rtsp, watch, capsys):
    watcher = watch(rtsp.address)
    watcher.wait_for_frames()
    rtsp.freeze()
    watcher.wait_for_loss()
    time.sleep(doorcam.CAMERA_TIMEOUT / 1000.0)  # so long that the connection is given up
    rtsp.freeze(False)
    watcher.wait_for_frames()
    said_once(capsys, rtsp.shown)


def test_an_interlaced_rtsp_camera_is_seen(rtsp, watch):
    watcher = watch(rtsp.address.replace("/cam", "/fields"))
    watcher.wait_for_frames(20)
    frames = [frame for _, frame in watcher.frames[-10:]]
    assert all((one != other).any() for one, other in zip(frames, frames[1:]))  # a ball flies about
    assert all(frame.max() > 200 and frame.mean() < 5 for frame in frames)      # white on black, and nothing else


def test_an_rtsp_camera_that_speaks_udp_only_is_seen(rtsp, watch):
    """It answers 461 to who asks for TCP."""
    watch(rtsp.address.replace("/cam", "/udp")).wait_for_frames(20)


def test_an_rtsp_camera_shows_its_newest_frame_to_a_slow_reader(rtsp):
    camera = doorcam.LiveCamera(doorcam.parse_source(rtsp.address))
    try:
        wait_for(lambda: camera.newest(1.0) is not None, 30, "no frame")
        time.sleep(3)  # 45 frames
        camera.newest(0.0)
        count = 0
        end = time.monotonic() + 1
        while time.monotonic() < end:
            count += camera.newest(0.1) is not None
        assert count <= 25  # no old ones are made up for
    finally:
        camera.close()


# ----------------------------------------------------------------------------------------------- an HTTP camera


class HttpCamera(http.server.ThreadingHTTPServer if hasattr(http.server, "ThreadingHTTPServer") else object):
    """A camera that sends one JPEG after the other. 

    mode: run, stop (in the middle of a frame), garbage, close, silent (not even a first byte); lie: what is added to
    the lengths that it announces, None: there are no announcements, nor anything else between the pictures."""
    daemon_threads = allow_reuse_address = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), HttpHandler)
        self.mode, self.size, self.rate, self.frames, self.lie = "run", (640, 480), 20.0, None, 0
        self.guarded, self.asked = False, None  # whether it wants a password, and which it was given
        self.address = "http://anna:geheim@127.0.0.1:%d/video" % self.server_address[1]
        self.shown = "http://***@127.0.0.1:%d/video" % self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A reader that has gone is no error."""

    def off(self):
        self.mode = "close"
        self.shutdown()
        self.server_close()


class HttpHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.server.guarded and "Authorization" not in self.headers:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            return self.end_headers()
        self.server.asked = self.headers.get("Authorization")
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in itertools.count():
            mode = self.server.mode
            while self.server.mode == "silent":
                time.sleep(0.05)
            if mode == "close":
                return
            data = self._frame(number)
            head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (
                len(data) + (self.server.lie or 0)) if self.server.lie is not None else b""
            if mode == "garbage":
                data = head = os.urandom(2000)
            elif mode == "stop":
                data = data[:len(data) // 2]
            self.wfile.write(head + data + b"\r\n")
            self.wfile.flush()
            while mode == "stop" == self.server.mode:
                time.sleep(0.05)
            time.sleep(1.0 / self.server.rate)

    def _frame(self, number):
        width, height = self.server.size
        if self.server.frames:
            picture = self.server.frames[number % len(self.server.frames)]
        else:
            picture = numbered(np.full((height, width, 3), 120, np.uint8), number % 1024)
        return cv2.imencode(".jpg", picture)[1].tobytes()


@pytest.fixture
def http_camera():
    camera = HttpCamera()
    yield camera
    camera.off()


@pytest.mark.parametrize("mode", ["silent", "stop"])
def test_the_last_picture_of_a_camera_that_hangs_is_not_seen_once_more_when_it_is_given_up(impatient, http_camera, watch,
                                                                                          mode):
    """FFmpeg keeps one, and gives it when it has waited long enough for the next."""
    watcher = watch(http_camera.address)
    watcher.wait_for_frames()
    http_camera.mode = mode
    watcher.wait_for_loss()
    given = len(watcher.frames)
    time.sleep(doorcam.CAMERA_TIMEOUT / 1000.0)
    assert len(watcher.frames) == given
    http_camera.mode = "run"
    watcher.wait_for_frames()


@pytest.mark.skipif(doorcam.opencv_version() < (4, 8), reason="it opens one camera after the other")
@pytest.mark.parametrize("mode", ["silent", "garbage"])
def test_a_camera_that_does_not_answer_keeps_no_other_from_being_opened(http_camera, mode):
    """Nor are the options seen by another one with which it is tried a second time, then or later."""
    usual, other, opened = os.environ.get(doorcam.FFMPEG_OPTIONS), HttpCamera(), []

    def open_it():
        with contextlib.suppress(doorcam.DoorcamError):
            opened.append(doorcam.open_capture(doorcam.parse_source(http_camera.address)))
    http_camera.mode = mode
    waiting = threading.Thread(target=open_it)
    waiting.start()
    try:
        for _ in range(3):
            capture = doorcam.open_capture(doorcam.parse_source(other.address))
            assert waiting.is_alive() and capture.grab()
            capture.release()
            with doorcam.OPENING:
                assert os.environ.get(doorcam.FFMPEG_OPTIONS) == usual
    finally:
        http_camera.mode = "run"
        waiting.join()
        other.off()
    assert os.environ.get(doorcam.FFMPEG_OPTIONS) == usual


@pytest.mark.parametrize("mode", ["stop", "garbage", "close"])
def test_an_http_camera_that_fails_comes_back(impatient, http_camera, watch, capsys, mode):
    watcher = watch(http_camera.address)
    watcher.wait_for_frames()
    http_camera.mode = mode
    watcher.wait_for_loss()
    time.sleep(1)
    http_camera.mode = "run"
    watcher.wait_for_frames()
    said_once(capsys, http_camera.shown)


def test_an_http_camera_whose_machine_is_restarted_comes_back(impatient, watch, capsys):
    camera = HttpCamera()
    watcher = watch(camera.address)
    watcher.wait_for_frames()
    camera.off()
    watcher.wait_for_loss()
    camera = HttpCamera(camera.server_address[1])
    watcher.wait_for_frames()
    camera.off()
    said_once(capsys, camera.shown)


def test_an_http_camera_may_change_its_size(http_camera, watch):
    watcher = watch(http_camera.address)
    assert watcher.wait_for_frames().shape == (480, 640, 3)
    for size in ((1280, 720), (320, 240), (642, 482)):
        http_camera.size = size
        watcher.wait_for_frames(20)
        frame = watcher.wait_for_frames(20)  # OpenCV 5 scales them to the size of the first
        assert frame.shape[:2] in ((480, 640), size[::-1])
        assert abs(frame[:frame.shape[0] // 2].mean() - 120) < 5


@pytest.mark.parametrize("rate", [1, 120])
def test_an_http_camera_may_be_slow_or_fast(http_camera, watch, capsys, rate):
    http_camera.rate = float(rate)
    watcher = watch(http_camera.address)
    watcher.wait_for_frames(6, 60)
    numbers = [read_number(frame) for _, frame in watcher.frames]
    assert numbers == sorted(numbers)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("lie", [700, -700, None])
def test_an_http_camera_that_announces_its_pictures_wrongly_is_read(http_camera, watch, lie):
    http_camera.lie = lie
    watcher = watch(http_camera.address)
    watcher.wait_for_frames(20)
    start = len(watcher.frames)
    time.sleep(2)
    assert len(watcher.frames) - start > 20  # of 40


@pytest.mark.parametrize("password, sent", [
    ("ge heim", "ge heim"), ("a/b?c#d@e", "a/b?c#d@e"), ("100%", "100%"), ("p%40w", "p@w"),
    ("gr\u00fc\u00df", "gr\u00fc\u00df"), ("a:b[c]{d}|^\"<>\\`", "a:b[c]{d}|^\"<>\\`")])
def test_a_password_may_have_any_letters(http_camera, watch, password, sent):
    http_camera.guarded = True
    watch(http_camera.address.replace("geheim", password)).wait_for_frames(2)
    assert base64.b64decode(http_camera.asked.split()[1]).decode() == "anna:" + sent


@pytest.mark.parametrize("address, host", [
    ("http://[::1]:80/x", "::1"), ("rtsp://u:p@[fd00::1]/", "fd00::1"), ("http://localhost/", "localhost"),
    ("http://u:p@192.168.1.5:81/", "192.168.1.5"), ("http://8.8.8.8/", None)])
def test_which_addresses_are_one_s_own(monkeypatch, address, host):
    monkeypatch.setenv("http_proxy", "http://proxy")
    monkeypatch.setenv("no_proxy", "")
    for _ in range(3):          # however often it is opened
        doorcam.go_direct(address)
    assert os.environ["no_proxy"] == (host + "," if host else "")


def test_a_camera_in_one_s_own_network_is_asked_directly(http_camera, watch, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:%d" % free_port())
    monkeypatch.setenv("no_proxy", "example.org")
    watch(http_camera.address).wait_for_frames(5)
    assert "example.org" in os.environ["no_proxy"]


class Sender(http.server.SimpleHTTPRequestHandler):
    """Sends files of a folder, and says no length: from the beginning to the end of the connection, or in chunks."""
    chunked = False

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.protocol_version = "HTTP/1.1" if self.chunked else "HTTP/1.0"
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Connection", "close")
        if self.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with open(self.translate_path(self.path), "rb") as file:
            for part in iter(functools.partial(file.read, 1 << 16), b""):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if self.chunked else part)
        self.wfile.write(b"0\r\n\r\n" if self.chunked else b"")


@contextlib.contextmanager
def serving(handler, folder):
    """The beginning of the addresses of the files in a folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield "http://127.0.0.1:%d/" % server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_a_recording_at_an_address_ends(tmp_path):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    write_clip(tmp_path / "clip.avi", visit_frames(150))  # on a busy machine recognition begins late
    with serving(http.server.SimpleHTTPRequestHandler, tmp_path) as address:
        status, out, err = run_doorcam("--source", address + "clip.avi", "--headless", "--log", "log.csv",
                                       folder=tmp_path, seconds=60)
    assert status == 0 and out.count("returned") == 1
    log = (tmp_path / "log.csv").read_text().splitlines()
    assert len(log) == 3 and 0 < float(log[-1].split(",")[5]) < 17  # a busy machine sees less of the visit


@pytest.mark.parametrize("chunked", [False, True])
def test_a_recording_at_an_address_that_says_no_bytes_ends(tmp_path, chunked):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    clip = write_clip(tmp_path / "clip.avi", visit_frames(150))
    subprocess.run([tool("ffmpeg"), "-v", "error", "-i", clip, "-q:v", "3", str(tmp_path / "clip.mkv")], check=True)
    with serving(type("Handler", (Sender,), {"chunked": chunked}), tmp_path) as address:
        status, out, err = run_doorcam("--source", address + "clip.mkv", "--headless", folder=tmp_path, seconds=90)
    assert status == 0 and out.count("returned") == 1 and out.count("left") == 1 and err == ""


def test_a_recording_that_cannot_be_read_from_its_beginning_is_named(tmp_path):
    """Its table is at its end."""
    clip = write_clip(tmp_path / "clip.avi", visit_frames(50))
    subprocess.run([tool("ffmpeg"), "-v", "error", "-i", clip, "-qp", "0", str(tmp_path / "clip.mp4")], check=True)
    with serving(Sender, tmp_path) as address:
        status, _, err = run_doorcam("--source", address + "clip.mp4", "--headless", folder=tmp_path, seconds=60)
    assert status == 1
    one_line(err, address + "clip.mp4", "copy it to this machine")


@pytest.mark.parametrize("stamps, length, over, waits", [
    ([0.04 * one for one in range(250)], 10, True, True), ([0.0] * 250, 10, True, True),        # a recording,
    ([0.04 * one + 3e4 * (one == 99) for one in range(250)], 10, True, True),                   # with a wrong stamp
    ([0.04 * one for one in range(250)], 0, False, False),                                      # a camera,
    ([0.04 * one for one in range(250)], 3600, False, True),                                    # that says a length
    ([0.04 * one for one in range(250)], 2, False, True)])
def test_an_address_has_a_recording_if_it_ends_as_it_says(stamps, length, over, waits):
    says = {cv2.CAP_PROP_FPS: 25.0, cv2.CAP_PROP_FRAME_COUNT: 25.0 * length}
    capture = types.SimpleNamespace(get=says.get, grab=lambda: True)
    showing, early = doorcam.Showing(capture, doorcam.parse_source("http://camera/")), 0.0
    for stamp in stamps:
        says[cv2.CAP_PROP_POS_MSEC] = 1000 * stamp
        assert showing.grab()
        early = max(early, showing.early())
    assert showing.is_over() == over and (early == 1) == waits


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1/cam", "film.mp4"])
def test_an_opencv_without_ffmpeg_is_named(monkeypatch, tmp_path, address):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  Video I/O:\n    FFMPEG:                      NO\n")
    source = doorcam.parse_source(address)
    assert "%s needs an OpenCV with FFMPEG" % str(source) in doorcam.why_not_open(source)


# ---------------------------------------------------------------------------------- the program with lost cameras


def test_a_lost_camera_leaves_visits_and_data_alone(http_camera, tmp_path):
    http_camera.frames = list(visit_frames(20))
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    with Doorcam("--source", http_camera.address, "--headless", "--log", "log.csv", "--stats", folder=tmp_path,
                 settings=IMPATIENT) as door:
        door.wait_for("visitor 1 returned", 60)
        http_camera.mode = "close"
        door.wait_for("no picture from")
        http_camera.mode = "run"
        door.wait_for("is back", BACK)
        time.sleep(3)
        status, out, err = door.stop()
    assert status == 0
    assert [re.sub(r"\d+ s", "", line) for line in err.splitlines()] == [
        "doorcam: no picture from %s since : trying to get it back" % http_camera.shown,
        "doorcam: %s is back" % http_camera.shown]
    assert "geheim" not in out + err + (tmp_path / "log.csv").read_text()
    assert out.count("returned") == 1 and out.count("left") == 0  # one visit, in spite of the gap, which may go on
    visitor = doorcam.read_known_faces((tmp_path / "known_faces.dat").read_bytes())[0][0]
    assert visitor.seen_count == 4 and visitor.this_visit() > 3


def test_a_visit_during_which_doorcam_starts_again_is_told_once(http_camera, tmp_path):
    """On the terminal, in the log, and by the commands: that it began, and at a later start, that it is over."""
    http_camera.frames = list(visit_frames(20))
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    arguments = ["--source", http_camera.address, "--headless", "--log", "log.csv", "--on-visit", "echo came >> told",
                 "--on-leave", 'echo "left $DOORCAM_SECONDS" >> told', "--stats"]
    began, said = time.time(), ""
    for run in range(2):
        with Doorcam(*arguments, folder=tmp_path, settings=IMPATIENT) as door:
            door.wait_for("engine", 60)
            if run == 0:
                door.wait_for("visitor 1 returned", 60)
            time.sleep(3)
            status, out, err = door.stop()
        assert (status, err) == (0, "")
        said += out
    http_camera.frames = [np.full((480, 640, 3), 90 + number, np.uint8) for number in range(10)]
    with Doorcam("--visit-gap", "0.5", *arguments, folder=tmp_path, settings=IMPATIENT) as door:
        door.wait_for("visitor 1 left", 60)
        said += door.stop()[1]
    with open(str(tmp_path / "log.csv")) as file:
        first, second = [line.strip().split(",") for line in file][1:]
    assert said.count("returned") == said.count(" left ") == 1
    assert (first[1:5], second[1:5]) == (["returned", "1", "", "4"], ["left", "1", "", "4"])
    assert 4 < int(second[5]) < time.time() - began
    assert (tmp_path / "told").read_text().splitlines() == ["came", "left " + second[5]]


def test_the_window_says_since_when_there_is_no_picture(http_camera, tmp_path):
    http_camera.size = (1280, 720)  # as the picture that waits for the first frame: it makes the window's size
    tool("Xvfb", "import")
    with xvfb(1280, 800) as (_, display):
        env = environment(DISPLAY=display)
        shot = str(tmp_path / "screen.png")

        def see(text, size=0.75):
            subprocess.run([tool("import"), "-window", "root", shot], env=env, timeout=30, check=True)
            return find_text(cv2.imread(shot), text, size * doorcam.unit_of(np.zeros((648, 1152))))
        with Doorcam("--source", http_camera.address, folder=tmp_path, env=env) as door:
            def shows_the_frame():
                see("No picture since")  # takes the picture
                return np.abs(cv2.imread(shot)[50:400, 50:600].astype(int) - 120).mean() < 5
            door.wait_for("engine")
            wait_for(shows_the_frame, 30, "no picture")
            http_camera.mode = "stop"
            wait_for(lambda: see("No picture since"), 30, "no notice")
            assert shows_the_frame()  # the last frame is still there
            http_camera.mode = "run"
            wait_for(lambda: not see("No picture since"), BACK, "the notice stays")
            door.wait_for("is back")
            status, _, err = door.stop()
    assert status == 0
    assert len(err.splitlines()) == 2


def test_a_camera_that_never_gives_a_frame_ends_the_program(http_camera, tmp_path):
    http_camera.mode = "silent"
    status, out, err = run_doorcam("--source", http_camera.address, "--headless", folder=tmp_path, seconds=60,
                                   settings=IMPATIENT)
    assert status == 1
    one_line(err, http_camera.shown)


def test_half_a_frame_now_and_then_is_no_camera_that_is_back(http_camera, tmp_path):
    with Doorcam("--source", http_camera.address, "--headless", folder=tmp_path, settings=IMPATIENT) as door:
        door.wait_for("engine", 60)
        http_camera.mode = "stop"
        door.wait_for("no picture from", 30)
        time.sleep(2 * IMPATIENT["CAMERA_TIMEOUT"] / 1000.0)  # it is tried twice, and gives half a frame each time
        assert len(door.err().splitlines()) == 1
        assert door.stop()[0] == 0


def test_a_camera_that_stands_still_is_no_picture(http_camera, tmp_path):
    """A relay that repeats its last picture for ever: the visit ends when it froze, and goes on when it moves again."""
    moving, still = list(visit_frames(20)), 5.0
    http_camera.frames = moving
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))

    def last_seen():
        return doorcam.read_known_faces((tmp_path / "known_faces.dat").read_bytes())[0][0].last_seen
    with Doorcam("--source", http_camera.address, "--headless", "--visit-gap", "3", "--log", "log.csv",
                 folder=tmp_path, settings={"PICTURE_STILL": still}) as door:
        door.wait_for("visitor 1 returned", 60)
        http_camera.frames, frozen = moving[:1], time.time()
        door.wait_for("s (it stands still): trying to get it back", 40)
        door.wait_for("visitor 1 left", 10)
        wait_for(lambda: abs(last_seen() - frozen) < 2, 20, "it was last seen at another time")
        time.sleep(still + 3)  # it is opened again, and shows the same
        assert len(door.err().splitlines()) == 1 and door.out().count("returned") == 1
        http_camera.frames = moving
        door.wait_for("is back", BACK)
        wait_for(lambda: door.out().count("returned") == 2, 30, "nobody is seen any more")
        status, _, err = door.stop()
    assert status == 0 and len(err.splitlines()) == 2


def test_a_camera_that_is_black_from_the_start_is_waited_for(http_camera, tmp_path):
    http_camera.frames = [np.zeros((480, 640, 3), np.uint8)]
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    with Doorcam("--source", http_camera.address, "--headless", folder=tmp_path) as door:
        door.wait_for("s (it is black): trying to get it back", 60)
        http_camera.frames = list(visit_frames(20))
        door.wait_for("visitor 1 returned", BACK + doorcam.PICTURE_STILL)
        door.wait_for("is back")
        status, _, err = door.stop()
    assert status == 0 and [line.split()[-1] for line in err.splitlines()] == ["back", "back"]


# -------------------------------------------------------------------------------------------------- a CSI camera


class CsiCamera:
    """The stand-in elements and their orders; tests/gst/python/ says which there are."""

    def __init__(self, folder):
        self._control = str(folder / "control")
        self.env = gstreamer_environment(folder, GST_PLUGIN_PATH=os.path.join(HERE, "gst"), CSI_CONTROL=self._control,
                                         PYTHONPATH=os.path.join(HERE, "nofaces"), G_DEBUG="", G_MESSAGES_DEBUG="")
        self.order("run")

    def order(self, text):
        with open(self._control + ".new", "w") as file:
            file.write(text)
        os.rename(self._control + ".new", self._control)

    def doorcam(self, *options, **more):
        return Doorcam("--headless", *options, python=gstreamer(), env=self.env, settings=IMPATIENT, **more)

    def reader(self, folder, source="csi", flip="none"):
        """The program that prints a line for each frame."""
        return Doorcam(source, flip, json.dumps(IMPATIENT), python=gstreamer(), env=self.env, folder=folder,
                       program=[os.path.join(HERE, "read_camera.py")])


@pytest.fixture
def csi(tmp_path):
    return CsiCamera(tmp_path)


def ours(err):
    """The lines of doorcam's own; GStreamer's Python loader has its say, too."""
    return [line for line in err.splitlines() if line.startswith("doorcam")]


def frames_of(reader):
    return [tuple(int(number) for number in line.split()) for line in reader.out().splitlines()[:-1]]


@pytest.mark.parametrize("flip, expected", [
    ("none", (720, 1280, 40, 100, 160, 220)), ("horizontal", (720, 1280, 100, 40, 220, 160)),
    ("vertical", (720, 1280, 160, 220, 40, 100)), ("180", (720, 1280, 220, 160, 100, 40)),
    ("90", (1280, 720, 160, 40, 220, 100)), ("270", (1280, 720, 100, 220, 40, 160))])
def test_the_csi_pipeline_gives_frames_turned_as_asked(csi, tmp_path, flip, expected):
    with csi.reader(tmp_path, flip=flip) as reader:
        wait_for(lambda: len(frames_of(reader)) > 5, 40, reader.err())
        reader.stop()
        assert set(frames_of(reader)) == {expected}
    assert ours(reader.err()) == []


def test_a_flip_of_the_csi_pipeline_is_the_same_as_that_of_other_sources():
    quarters = np.repeat(np.repeat(np.uint8([[40, 100], [160, 220]]), 8, axis=0), 8, axis=1)
    frame = np.repeat(quarters[:, :, None], 3, axis=2)
    turned = {flip: [int(turn(frame)[y, x, 0]) for y, x in ((2, 2), (2, -2), (-2, 2), (-2, -2))]
              for flip, (_, turn) in doorcam.FLIPS.items()}
    assert turned == {"none": [40, 100, 160, 220], "horizontal": [100, 40, 220, 160],
                      "vertical": [160, 220, 40, 100], "180": [220, 160, 100, 40],
                      "90": [160, 40, 220, 100], "270": [100, 220, 40, 160]}


@pytest.mark.parametrize("fault", ["end", "fail", "stall"])
def test_a_csi_camera_that_fails_comes_back(csi, tmp_path, fault):
    with csi.reader(tmp_path) as reader:
        wait_for(lambda: len(frames_of(reader)) > 5, 40, reader.err())
        csi.order(fault)
        reader.wait_for("no picture from CSI camera 0", 30)
        time.sleep(1)
        before = len(frames_of(reader))
        csi.order("run")
        reader.wait_for("CSI camera 0 is back", BACK + 5 * doorcam.CAMERA_STALLED)
        assert len(frames_of(reader)) > before
        reader.stop()
    assert len(ours(reader.err())) == 2


def test_a_stalled_csi_camera_does_not_hold_up_the_end(csi, tmp_path):
    with csi.doorcam("--source", "csi:1", "--stats", folder=tmp_path) as door:
        wait_for(lambda: (tmp_path / "control.frames").exists(), 60, door.err())
        time.sleep(5)  # until the first frame is there, on a busy machine too
        csi.order("stall")
        door.wait_for("no picture from CSI camera 1", 30)
        status, out, err = door.stop(seconds=20)
    assert (status, len(ours(err))) == (0, 1)
    assert json.loads(out.splitlines()[-1])["frames"] > 10
    left = subprocess.run([tool("pgrep"), "-f", str(tmp_path)], stdout=subprocess.PIPE, universal_newlines=True).stdout
    assert left == ""


def test_a_csi_camera_that_cannot_be_started(csi, tmp_path):
    csi.order("fail")
    with csi.doorcam("--source", "csi", folder=tmp_path) as door:
        status, _, err = door.end(60)
    assert status == 1
    line, = ours(err)
    assert "CSI camera 0" in line and "unexpected" not in line


def test_the_pipeline_of_a_user(csi, tmp_path):
    pipeline = "videotestsrc ! video/x-raw, width=320, height=240 ! videoconvert ! appsink drop=true"
    with csi.reader(tmp_path, pipeline) as reader:
        wait_for(lambda: len(frames_of(reader)) > 5, 40, reader.err())
        assert reader.stop()[0] != 1
        assert {frame[:2] for frame in frames_of(reader)} == {(240, 320)}


def test_a_pipeline_is_asked_for_fewer_frames_where_the_machine_cannot_keep_up(csi, tmp_path):
    pipeline = "videotestsrc is-live=true ! video/x-raw, width=320, height=240 ! videoconvert ! appsink drop=true"
    settings = json.dumps(dict(IMPATIENT, BEHIND=0.0, PACE_SECONDS=1.0, PACE_LEAST=10.0))  # all are late
    with Doorcam(pipeline, "none", settings, python=gstreamer(), env=csi.env, folder=tmp_path,
                 program=[os.path.join(HERE, "read_camera.py")]) as reader:
        reader.wait_for("a second of them", 40)
        before = len(frames_of(reader))
        wait_for(lambda: len(frames_of(reader)) > before + 10, 20, reader.err())
        reader.stop()
        assert {frame[:2] for frame in frames_of(reader)} == {(240, 320)} and len(ours(reader.err())) == 1


# ----------------------------------------------------------------------------------------- a camera on its side


def walk(turn, seconds=15, rate=10):
    """Frames in which one of the example's visitors goes to and fro, turned as FLIPS names it."""
    face, chance = portrait(0, 240), np.random.RandomState(1)
    for number in range(seconds * rate):
        frame = chance.randint(140, 160, (480, 640, 3)).astype(np.uint8)
        left = 100 + abs(number % 60 - 30) * 8
        frame[100:340, left:left + 240] = face
        yield doorcam.FLIPS[turn][1](frame)


@pytest.mark.parametrize("hangs, advice", [("90", "270"), ("270", "90")])
def test_a_camera_on_its_side_is_named(tmp_path, hangs, advice):
    """dlib sees nobody then; the other engine knows this large face even so."""
    clip = write_clip(tmp_path / "side.avi", walk(hangs))
    options = ["--source", clip, "--headless", "--engine", "dlib"]
    status, out, err = run_doorcam(*options, folder=tmp_path)
    assert status == 0 and "is new" not in out
    one_line(err, "somebody is when it is turned: try --flip " + advice)
    status, out, err = run_doorcam(*options, "--flip", advice, folder=tmp_path)
    assert (status, err, out.count("is new")) == (0, "", 1)


def test_which_of_several_cameras_hangs_on_its_side(capsys):
    tilt, look = doorcam.Tilt(doorcam.Place("back", "camera 2")), doorcam.Look(np.zeros((4, 8, 3)), 1.0, True, [],
                                                                               moved=(0, 8, 4, 0))
    good = face(person(1))
    for _ in range(1000):
        turned = tilt.turned(look)
        assert turned.frame.shape == ((8, 4, 3) if turned.turn in ("90", "270") else (4, 8, 3))
        tilt.found(turned.turn, [good] if turned.turn == "270" else [], doorcam.OPENCV)
    one_line(capsys.readouterr().err, "camera 2", "--flip back=270")
    assert not tilt.turned(look).turn


@pytest.mark.parametrize("place, faces, moved, regions", [
    (doorcam.Place(flip="90"), 0, True, []), (doorcam.Place(), 1, True, []), (doorcam.Place(), 0, False, []),
    (doorcam.Place(), 0, True, [((0, 8, 4, 0), True)])])
def test_a_picture_is_not_looked_at_turned_without_a_reason(place, faces, moved, regions):
    tilt, look = doorcam.Tilt(place), doorcam.Look(np.zeros((4, 8, 3)), 1.0, True, regions, moved=moved and (0, 8, 4, 0))
    tilt.found("", [face(person(1))] * faces, doorcam.OPENCV)
    assert not any(tilt.turned(look).turn for _ in range(100))


# -------------------------------------------------------------------------------------------------- a USB camera


class FakeCapture:
    """A cv2.VideoCapture whose frames come from a list of what grab() does: a frame, None (fails), or an error."""

    def __init__(self, acts):
        self._acts, self._frame, self.released, self.passed = iter(acts), None, False, 0

    def grab(self):
        time.sleep(0.01)
        act = next(self._acts, None)
        if isinstance(act, Exception):
            raise act
        self._frame = act() if callable(act) else act
        self.passed += 1
        return self._frame is not None

    def retrieve(self):
        self.passed -= 1
        return True, self._frame

    def release(self):
        self.released = True


GREY = np.full((48, 64, 3), 90, np.uint8)


def plugged(*captures):
    """An opener that gives these captures in turn (a DoorcamError is raised), then an endless one; .sources: asked."""
    waiting = list(captures)

    def open_next(source, flip):
        open_next.sources.append(source)
        one = waiting.pop(0) if waiting else FakeCapture(itertools.repeat(GREY))
        if isinstance(one, Exception):
            raise one
        open_next.given.append(one)
        return one
    open_next.sources, open_next.given = [], []
    return open_next


@pytest.fixture
def quick(monkeypatch):
    """Time runs faster for what waits."""
    monkeypatch.setattr(doorcam, "RECONNECT_PAUSES", (0.05, 0.1))
    monkeypatch.setattr(doorcam, "CAMERA_LOST", 0.3)
    monkeypatch.setattr(doorcam, "CAMERA_STALLED", 1.0)


@pytest.mark.parametrize("loss", [None, cv2.error("select() timeout"), ValueError("a frame of no known kind")])
def test_a_usb_camera_that_is_unplugged_and_plugged_in_again(quick, watch, capsys, monkeypatch, loss):
    monkeypatch.setattr(doorcam, "CAMERA_LOST", 0.8)  # a busy machine may take a while to give a thread its turn
    gone = doorcam.DoorcamError("camera 0 is not there")
    opener = plugged(FakeCapture([GREY] * 5 + [loss]), *[gone] * 20)
    watcher = watch("0", capture=opener)
    watcher.wait_for_first(3)
    watcher.wait_for_loss()
    watcher.wait_for_frames(20)
    assert opener.given[0].released
    said_once(capsys, "camera 0")


def test_a_usb_camera_is_found_under_its_new_number(quick, watch, tmp_path, monkeypatch):
    def plug(number, name):
        folder = tmp_path / ("video%d" % number)
        folder.mkdir()
        (folder / "name").write_text(name)
    monkeypatch.setattr(doorcam, "V4L_FOLDER", str(tmp_path))
    plug(0, "Door Cam: Door Cam\n")
    plug(1, "Door Cam: Door Cam\n")  # every USB camera has a second number, which gives no pictures
    moved = threading.Event()
    opener = plugged(FakeCapture([GREY] * 5 + [lambda: (moved.wait(30), None)[1]]))
    watcher = watch("0", capture=opener)
    watcher.wait_for_first(3)
    for number in (0, 1):
        shutil.rmtree(str(tmp_path / ("video%d" % number)))
    plug(0, "Another\n")
    for number in (9, 10):
        plug(number, "Door Cam: Door Cam\n")
    moved.set()
    watcher.wait_for_frames(20)
    assert opener.sources[-1] == doorcam.Source("camera", 9)


def test_of_two_usb_cameras_of_one_model_each_is_found_again(tmp_path, monkeypatch):
    def plug(number, port):
        folder = tmp_path / ("video%d" % number)
        folder.mkdir()
        (folder / "name").write_text("Door Cam\n")
        (folder / "device").symlink_to(tmp_path / port)
    monkeypatch.setattr(doorcam, "V4L_FOLDER", str(tmp_path))
    plug(0, "1-1")
    plug(2, "1-2")
    sources = [doorcam.Source("camera", number) for number in (0, 2)]
    known = [doorcam.name_and_port(number) for number in (0, 2)]
    for number in (0, 2):
        shutil.rmtree(str(tmp_path / ("video%d" % number)))
    plug(0, "1-2")              # both come back, the other one first
    plug(5, "1-1")
    assert [doorcam.found_again(*pair).value for pair in zip(sources, known)] == [5, 0]
    shutil.rmtree(str(tmp_path / "video5"))
    plug(6, "1-3")              # plugged in elsewhere
    assert [doorcam.found_again(sources[0], known[0], attempt).value for attempt in range(3)] == [0, 6, 0]
    assert doorcam.found_again(sources[1], known[1], 1).value == 0


def test_a_hung_camera_is_tried_again_where_the_system_has_no_more_threads(watch, monkeypatch):
    monkeypatch.setattr(doorcam, "CAMERA_STALLED", 0.3)
    hangs, start, refused = threading.Event(), threading.Thread.start, []

    def no_room(thread):
        if len(refused) < 2:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)
    watcher = watch("0", capture=plugged(FakeCapture([GREY] * 5 + [lambda: (hangs.wait(30), None)[1]])))
    watcher.wait_for_first(3)
    monkeypatch.setattr(threading.Thread, "start", no_room)
    watcher.wait_for_frames(20)
    hangs.set()
    assert len(refused) == 2 and watcher.error is None


def test_a_usb_camera_whose_name_is_cut_within_a_letter_is_read(watch, tmp_path, monkeypatch):
    (tmp_path / "video0").mkdir()
    (tmp_path / "video0" / "name").write_bytes("Caméra".encode()[:4] + b"\n")
    monkeypatch.setattr(doorcam, "V4L_FOLDER", str(tmp_path))
    watch("0", capture=plugged()).wait_for_frames(5)


def test_a_usb_camera_that_gives_nothing_at_the_start_is_an_error(watch):
    watcher = watch("77", capture=plugged(FakeCapture([])))
    wait_for(lambda: watcher.error, 10, "no error")
    assert "camera 77" in str(watcher.error)


def stirred(count):
    """Frames of which each is another."""
    return [numbered(np.full((48, 160, 3), 90, np.uint8), number) for number in range(count)]


@pytest.mark.parametrize("repeated, trouble", [(np.zeros((48, 160, 3), np.uint8), " (it is black)"),
                                               (stirred(30)[-1], " (it stands still)")])
@pytest.mark.parametrize("before", [0, 30])
def test_a_picture_that_is_none_is_said_once_and_comes_back(quick, watch, capsys, monkeypatch, repeated, trouble, before):
    monkeypatch.setattr(doorcam, "PICTURE_STILL", 0.5)
    begun_anew = cv2.add(repeated, 1) if repeated.any() else repeated  # an encoder's first frame may differ
    opener = plugged(FakeCapture(stirred(before) + [repeated] * 500),
                     *[FakeCapture([begun_anew] + [repeated] * 500) for _ in range(6)],
                     FakeCapture(itertools.cycle(stirred(30))))
    watcher = watch("0", capture=opener)
    wait_for(lambda: len(opener.given) == 2, 10, "it is not opened again")
    given = len(watcher.frames)
    silent = watcher.camera.silent()
    assert opener.given[0].released and silent > 0.45
    wait_for(lambda: len(opener.given) == 7, 20, "it is not tried again")
    assert len(watcher.frames) == given and watcher.camera.silent() > silent + 2  # half a second of it is read each time
    watcher.wait_for_frames(20)
    said_once(capsys, "camera 0", trouble)
    assert watcher.error is None


@pytest.mark.parametrize("repeats", [True, False])
def test_a_few_frames_at_each_opening_are_no_camera_that_is_back(quick, watch, capsys, monkeypatch, repeats):
    monkeypatch.setattr(doorcam, "PICTURE_STILL", 0.5)
    still = stirred(30)[-1]

    def short(number):
        return FakeCapture(stirred(3) + ([still] * 500 if repeats else [lambda: (time.sleep(0.4), None)[1]]))
    opener = plugged(FakeCapture(stirred(30) + [still] * 500), *[short(number) for number in range(6)],
                     FakeCapture(itertools.cycle(stirred(30))))
    watcher = watch("0", capture=opener)
    wait_for(lambda: len(opener.given) == 8, 20, "it is not tried again")
    watcher.wait_for_frames(20)
    said_once(capsys, "camera 0", " (it stands still)")


def test_a_picture_that_stands_still_for_a_moment_is_one(quick, watch, capsys, monkeypatch):
    monkeypatch.setattr(doorcam, "PICTURE_STILL", 2.0)
    opener = plugged(FakeCapture(itertools.cycle([frame for frame in stirred(3) for _ in range(60)])))
    watcher = watch("0", capture=opener)
    watcher.wait_for_frames(300)
    assert len(opener.given) == 1 and "stands still" not in capsys.readouterr().err


def paced(rate, seconds, waited):
    """A Pace to which frames came at this rate, and how many a second it wanted in the last five of these seconds;
    waited(time): how long the frame before has waited then."""
    pace, wanted = doorcam.Pace("camera 0"), []
    for moment in np.arange(0, seconds, 1.0 / rate):
        if pace.wants(moment):
            wanted.append(moment)
            pace.took(waited(moment), moment)
    return sum(moment >= seconds - 5 for moment in wanted) / 5.0


def test_fewer_frames_are_taken_where_the_machine_cannot_keep_up(capsys):
    assert paced(30, 9, lambda moment: 0.04) == pytest.approx(30)       # not for a moment's sake
    assert paced(30, 18, lambda moment: 0.04) == pytest.approx(15, abs=0.5)
    assert capsys.readouterr().err == ("doorcam: this machine cannot keep up with the pictures of camera 0: it takes 15 a "
                                       "second of them\n")
    assert paced(30, 100, lambda moment: 0.04) == pytest.approx(7.5, abs=0.5)   # no fewer, however slow it is
    assert [int(number) for number in re.findall("takes ([0-9]+)", capsys.readouterr().err)] == [15, 8]


def test_all_frames_are_tried_again_and_it_is_said_once(capsys):
    busy = [(0, 40), (700, 740)]
    slow = lambda moment: 0.04 * any(begin <= moment < end for begin, end in busy)  # noqa: E731
    assert paced(30, 600, slow) < 12
    assert paced(30, 690, slow) == pytest.approx(30)
    capsys.readouterr()
    assert paced(30, 760, slow) < 12
    assert capsys.readouterr().err.count("\n") == 2     # as few as before: not said again


def test_a_camera_that_is_slow_by_night_gives_all_its_frames(capsys):
    pace = doorcam.Pace("camera 0")
    for moment in np.arange(0, 30, 1 / 30.0):
        if pace.wants(moment):
            pace.took(0.04, moment)
            last = moment
    assert not pace.wants(last + 0.08) and pace.wants(last + 0.25)


@pytest.mark.parametrize("waited", [lambda moment: 0.0, lambda moment: 0.005,  # frames that come in bursts
                                    lambda moment: 0.04 * (int(moment * 30) % 10 == 0)])
def test_all_frames_are_taken_where_hardly_one_waits(capsys, waited):
    assert paced(30, 60, waited) == pytest.approx(30)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("pause, fewer", [(0.3, True), (0.0, False)])
def test_a_slow_loop_is_given_fewer_frames(quick, capsys, monkeypatch, pause, fewer):
    monkeypatch.setattr(doorcam, "PACE_SECONDS", 0.5)
    opener = plugged(FakeCapture(itertools.cycle(stirred(30))))
    camera = doorcam.LiveCamera(doorcam.parse_source("0"), capture=opener)
    frames = doorcam.live_frames(camera, print)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        next(frames)
        time.sleep(pause)
    camera.close()
    assert ("cannot keep up with the pictures of camera 0" in capsys.readouterr().err) == fewer
    assert (opener.given[0].passed > 20) == fewer


@pytest.fixture
def hang(quick, monkeypatch):
    """A read that does not return until the test is over, or hang.freed is set."""
    def read():
        read.freed.wait(60)
    read.freed = threading.Event()
    monkeypatch.setattr(doorcam, "CAMERA_STALLED", 0.5)
    monkeypatch.setattr(doorcam, "CAMERA_TIMEOUT", 100)
    yield read
    read.freed.set()


def test_reads_that_never_return_end_doorcam_after_some_attempts(hang, watch):
    opener = plugged(FakeCapture([GREY, hang]), *[FakeCapture([hang]) for _ in range(50)])
    watcher = watch("0", capture=opener)
    watcher.wait_for_first(1)
    wait_for(lambda: watcher.error, 30, "it is tried for ever")
    assert len(opener.given) == doorcam.HUNG_READERS + 1 and "camera 0 does not answer" in str(watcher.error)


def test_a_camera_that_hangs_beside_others_is_left_alone_until_it_answers(hang, capsys):
    hanging = [FakeCapture([GREY, hang])] + [FakeCapture([hang]) for _ in range(doorcam.HUNG_READERS)]
    opener, said = plugged(*(hanging + [FakeCapture([GREY] * 1000)])), []
    camera = doorcam.LiveCamera(doorcam.parse_source("0"), capture=opener, alone=False)

    def is_left_alone():
        camera.newest(0.01)
        said.append(capsys.readouterr().err)
        return "does not answer" in said[-1]
    try:
        wait_for(is_left_alone, 30, "nothing is said")
        assert all(camera.newest(0.01) is None for _ in range(50)) and len(opener.given) == len(hanging)
        assert capsys.readouterr().err == "" and len("".join(said).splitlines()) == 1
        hang.freed.set()
        wait_for(lambda: camera.newest(0.1) is not None, 30, "it does not come back")
    finally:
        camera.close()


@pytest.mark.parametrize("at_start", [True, False])
def test_a_camera_that_is_slow_to_open_is_read_by_one_reader(quick, watch, monkeypatch, at_start):
    """An interlaced one is opened, read and opened again: longer than a read may take."""
    monkeypatch.setattr(doorcam, "CAMERA_STALLED", 0.5)
    monkeypatch.setattr(doorcam, "CAMERA_TIMEOUT", 500)
    opener = plugged(*([] if at_start else [FakeCapture([GREY] * 5)]))
    opening = []

    def slow(source, flip):
        opening.append(time.monotonic())
        if len(opening) > 1 or at_start:
            time.sleep(1.2)
        return opener(source, flip)
    watcher = watch("0", capture=slow)
    wait_for(lambda: watcher.error or len(watcher.frames) > 20, 10, "no frames")
    assert watcher.error is None and len(opening) == (1 if at_start else 2)


def test_an_end_in_spite_of_a_read_that_never_returns():
    freed = threading.Event()
    capture = FakeCapture([GREY, lambda: (freed.wait(30), None)[1]])
    camera = doorcam.LiveCamera(doorcam.parse_source("0"), capture=plugged(capture))
    wait_for(lambda: camera.newest(1) is not None, 10, "no frame")
    assert camera.close() is False
    freed.set()


# ------------------------------------------------------------------------------------------------- frames of all kinds


@pytest.mark.parametrize("shape, kind", [((48, 64), np.uint8), ((48, 64, 1), np.uint8), ((48, 64, 4), np.uint8),
                                         ((48, 64), np.uint16), ((48, 64, 3), np.uint16), ((47, 63, 3), np.uint8)])
def test_frames_of_all_kinds_become_bgr(shape, kind):
    frame = doorcam.to_bgr(np.full(shape, np.iinfo(kind).max // 2, kind))
    assert frame.shape == shape[:2] + (3,) and frame.dtype == np.uint8 and abs(int(frame[0, 0, 0]) - 127) <= 1


@pytest.mark.parametrize("size, stretch, aspect, expected", [
    ((960, 1080), 2.0, None, (1920, 1080)), ((960, 1080), 1.0, 16 / 9.0, (1920, 1080)),
    ((960, 1080), 2.0, 4 / 3.0, (1920, 1080)), ((960, 1080), 1.0, None, (960, 1080)),
    ((720, 576), 16 / 15.0, None, (768, 576)), ((704, 288), 1.0, 4 / 3.0, (704, 528)),
    ((1280, 720), 1.0, 16 / 9.0, (1280, 720))])
def test_pixels_become_square(size, stretch, aspect, expected):
    frame = doorcam.square_pixels(np.zeros((size[1], size[0], 3), np.uint8), stretch, aspect)
    assert frame.shape == (expected[1], expected[0], 3)


@pytest.mark.parametrize("width, height, scale", [(640, 480, 0.5), (1280, 720, 0.25), (3840, 2160, 1 / 12.0),
                                                  (320, 240, 1.0), (160, 120, 1.0)])
def test_the_small_picture_is_320_pixels_wide(width, height, scale):
    frame = np.zeros((height, width, 3), np.uint8)
    assert doorcam.default_scale(frame) == pytest.approx(scale)
    assert doorcam.at_most(frame, doorcam.LOOK_WIDTH).shape[1] == min(width, 1920)


@pytest.mark.parametrize("before, after", [((480, 640), (720, 1280)), ((480, 640), (960, 1280)),
                                           ((720, 1280), (240, 320))])
def test_a_camera_that_changes_its_size_takes_its_boxes_along(before, after):
    story = Story()
    story.show(face(person(0), x=before[1] // 2, y=before[0] // 2, width=100))
    for shape in (before, before, after, after):
        frame = np.full(shape + (3,), 120, np.uint8)
        scale = doorcam.default_scale(frame)
        story.now += 0.1
        story.door.follow(doorcam.small_grey(frame, scale), scale, story.now)
    (box, _, _, _), = story.door.marks(story.now)
    enlarged = after[1] / float(before[1])
    assert (box[1] + box[3]) / 2.0 == pytest.approx(after[1] / 2, abs=2)
    assert doorcam.box_width(box) == pytest.approx(100 * enlarged, abs=3)


def test_a_camera_that_changes_its_size_all_the_time_is_watched_without_a_crash(http_camera, tmp_path):
    frames = [cv2.resize(frame, size) for frame in visit_frames(2)
              for size in ((640, 480), (1280, 720), (322, 242), (33, 17), (640, 482), (1920, 1080))]
    http_camera.frames, http_camera.rate = frames, 30.0
    with Doorcam("--source", http_camera.address, "--headless", "--stats", folder=tmp_path) as door:
        door.wait_for("engine", 60)
        time.sleep(4)
        status, out, err = door.stop()
    assert status == 0 and "fault" not in err and "ended" not in err, err
    assert json.loads(out.splitlines()[-1])["frames"] > 5


# --------------------------------------------------------------------------------------- how large it is shown


@pytest.mark.parametrize("largest, share", [
    (3, 1), (1.2, 1), (0.91, 1), (0.89, 0.89), (0.6, 0.6), (0.51, 0.51), (0.492, 0.5), (0.46, 0.5), (0.44, 0.44),
    (0.34, 0.34), (0.32, 1 / 3), (0.1, 0.1), (0.095, 0.1)])
def test_a_frame_is_shown_whole_or_as_blocks_of_whole_pixels_where_that_fits_nearly(largest, share):
    assert doorcam.whole_share(largest) == pytest.approx(share)
