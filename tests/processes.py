"""Real parts for tests: doorcam as a process, tools of the system, clips, a display of our own, and waits that end."""
import contextlib
import ctypes
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

import doorcam

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PROGRAM = os.path.join(ROOT, "doorcam.py")

EXAMPLE = os.path.join(ROOT, doorcam.EXAMPLE)

# for `settings` of a Doorcam: pauses that no test need wait for in full, but long enough for a busy machine
IMPATIENT = {"CAMERA_LOST": 1.5, "CAMERA_TIMEOUT": 4000, "RECONNECT_PAUSES": (0.3, 1)}
WITH_SETTINGS = """
import sys
sys.path.insert(0, %r)
import doorcam
for name, value in %r.items():
    assert hasattr(doorcam, name), name
    setattr(doorcam, name, value)
sys.exit(doorcam.run_as_program())
"""


def wait_for(condition, seconds, what):
    """The first true value of condition(), AssertionError after so many seconds; what: a text, or what gives it then."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "after %g s: %s" % (seconds, what() if callable(what) else what)
        time.sleep(0.05)


def environment(**changes):
    """This process's environment without a display and without the settings that doorcam makes for itself."""
    ours = ("OPENBLAS_", "OMP_", "OPENCV_", "QT_", "GST_", "DISPLAY", "WAYLAND_")
    names = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    names["PYTHONUNBUFFERED"] = "1"
    names.update(changes)
    return {name: value for name, value in names.items() if value is not None}


def obey_permissions():
    """In a child: has root, too, stopped by a file's permissions (drops CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH); and
    no signal is ignored, however the tests were started (nohup, in the background)."""
    for number in doorcam.ENDING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    libc = ctypes.CDLL(None)
    for capability in (1, 2):
        libc.prctl(24, capability, 0, 0, 0)  # 24: PR_CAPBSET_DROP


# ----- tools of the system; which package of Debian's has which

PACKAGES = {"Xvfb": "xvfb", "xdotool": "xdotool", "xwininfo": "x11-utils", "xprop": "x11-utils",
            "setxkbmap": "x11-xkb-utils", "wmctrl": "wmctrl", "openbox": "openbox", "import": "imagemagick",
            "ffmpeg": "ffmpeg", "curl": "curl",
            "mosquitto": "mosquitto", "mosquitto_passwd": "mosquitto",
            "chromium": "chromium", "systemd-analyze": "systemd", "fc-list": "fontconfig", "pgrep": "procps"}
SBIN = "/usr/sbin"            # where servers are, which is not on everybody's PATH
SYSTEM_PYTHON = "/usr/bin/python3"      # whose OpenCV has GStreamer
FONTS = {"fonts-dejavu-core": "\u0623", "fonts-droid-fallback": "\u674e"}  # a letter of each
GSTREAMER = [
    ("python3-opencv", "import cv2, re; assert re.search('GStreamer: +YES', cv2.getBuildInformation())"),
    ("python3-pil", "import PIL"), ("python3-gi", "import gi"),
    ("gir1.2-gstreamer-1.0", "gi.require_version('Gst', '1.0'); from gi.repository import Gst; Gst.init(None)"),
    ("python3-gst-1.0", "import gi.overrides.Gst"),
    ("gir1.2-gst-plugins-base-1.0", "gi.require_version('GstVideo', '1.0')"),
    ("gir1.2-gst-rtsp-server-1.0", "gi.require_version('GstRtspServer', '1.0')"),
    ("gstreamer1.0-python3-plugin-loader", "assert Gst.Registry.get().find_plugin('python')"),
    ("gstreamer1.0-plugins-base", "assert Gst.ElementFactory.find('videotestsrc')"),
    ("gstreamer1.0-plugins-good", "assert Gst.ElementFactory.find('rtph264pay')"),
    ("gstreamer1.0-plugins-ugly", "assert Gst.ElementFactory.find('x264enc')")]
WHICH_FAIL = "import sys\nfor package, line in %r:\n    try: exec(line)\n    except Exception: print(package)"


def missing(what, packages):
    """The error of a test that lacks something of the system's: how to get it."""
    return AssertionError("%s is missing: sudo apt-get install %s (tests/packages.txt has all that the tests need)"
                          % (what, " ".join(packages)))


def tool(*names):
    """The path of a program, the first of several; AssertionError at once if one is missing, with its package."""
    paths = [shutil.which(name, path=os.environ.get("PATH", "") + ":" + SBIN) for name in names]
    for name, path in zip(names, paths):
        if path is None:
            raise missing(name, [PACKAGES[name]])
    return paths[0]


def gstreamer_environment(folder, **changes):
    """environment() with a list of plugins of its own in a folder. The loader of those in Python takes the first
    python3 there is, and one that it cannot use counts as a plugin that is broken from then on."""
    path = os.path.dirname(SYSTEM_PYTHON) + os.pathsep + os.environ["PATH"]
    return environment(GST_REGISTRY=os.path.join(str(folder), "registry"), PATH=path, **changes)


@functools.lru_cache(maxsize=None)
def gstreamer(python=SYSTEM_PYTHON):
    """The path of a Python with GStreamer and all that the tests want of it; AssertionError at once if it lacks any."""
    with tempfile.TemporaryDirectory() as folder:
        lacking = subprocess.run([python, "-c", WHICH_FAIL % GSTREAMER], stdout=subprocess.PIPE, timeout=60,
                                 stderr=subprocess.DEVNULL, universal_newlines=True,
                                 env=gstreamer_environment(folder)).stdout.split()
    if lacking:
        raise missing("part of GStreamer", lacking)
    return python


def fonts():
    """AssertionError at once if the system has no fonts for the names of the tests."""
    lacking = [package for package, letter in FONTS.items()
               if not subprocess.check_output([tool("fc-list"), ":charset=%x" % ord(letter), "file"], timeout=60)]
    if lacking:
        raise missing("a font", lacking)


class Doorcam:
    """doorcam as a process in a folder; its output goes to files there.

    settings: {name: value} of doorcam's settings that are to be others; the recognition process keeps its own.
    """

    def __init__(self, *arguments, folder, python=sys.executable, program=(PROGRAM,), env=None, settings=None):
        program = ("-c", WITH_SETTINGS % (ROOT, settings)) if settings else program
        self.out_path, self.err_path = (os.path.join(str(folder), name) for name in ("stdout.txt", "stderr.txt"))
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen([python] + list(program) + [str(one) for one in arguments], cwd=str(folder),
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            env=env or environment(), preexec_fn=obey_permissions)

    def out(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def err(self):
        with open(self.err_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_for(self, text, seconds=60):
        """Waits until the output or the error output holds the text."""
        wait_for(lambda: text in self.out() + self.err() or self.process.poll() is not None, seconds,
                 lambda: "%r is not in %s" % (text, (self.out() + self.err())[-2000:]))
        assert text in self.out() + self.err(), self.out() + self.err()

    def end(self, seconds=120):
        """Waits for the end; (status, output, error output)."""
        try:
            status = self.process.wait(seconds)
        finally:
            self.kill()
        return status, self.out(), self.err()

    def stop(self, number=signal.SIGTERM, seconds=30):
        self.process.send_signal(number)
        return self.end(seconds)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def run_doorcam(*arguments, folder, seconds=120, **more):
    """Runs doorcam to its end; (status, output, error output)."""
    with Doorcam(*arguments, folder=folder, **more) as door:
        return door.end(seconds)


def one_line(err, *parts):
    """Checks that an error output is one line of doorcam's that holds the parts, and returns it."""
    lines = err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("doorcam"), err
    assert "unexpected fault" not in err, err
    for part in parts:
        assert str(part) in err, (part, err)
    return lines[0]


# ----- pictures and clips

BITS, BIT_SIDE = 10, 16         # a frame's number stands in its lower left corner, in squares that survive JPEG


def numbered(frame, number):
    """The frame with its number drawn into it; read_number() reads it."""
    for bit in range(BITS):
        top, left = frame.shape[0] - BIT_SIDE, bit * BIT_SIDE
        frame[top:, left:left + BIT_SIDE] = 255 if number >> bit & 1 else 0
    return frame


def read_number(frame):
    squares = [frame[-BIT_SIDE + 4:-4, bit * BIT_SIDE + 4:(bit + 1) * BIT_SIDE - 4].mean() for bit in range(BITS)]
    return sum(1 << bit for bit, light in enumerate(squares) if light > 127)


def portrait(index, size=240):
    """The face of visitor 1 or 2 of the example (index 0, 1), BGR, size x size."""
    return cv2.resize(doorcam.demo_portraits(EXAMPLE)[index], (size, size), interpolation=cv2.INTER_CUBIC)


def visit_frames(count=30, who=0, width=640, height=480):
    """Frames with their numbers in which one of the example's visitors stands before a grey wall, swaying a little."""
    face = portrait(who, height // 2)
    for number in range(count):
        frame = np.full((height, width, 3), 150, np.uint8)
        left = (width - face.shape[1]) // 2 + number % 5
        frame[height // 6:height // 6 + face.shape[0], left:left + face.shape[1]] = face
        yield numbered(frame, number)


def write_clip(path, frames, rate=10):
    """Writes a clip (MJPG; .avi or .mkv) and returns its path as text."""
    writer = None
    for frame in frames:
        if writer is None:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, frame.shape[1::-1])
            assert writer.isOpened(), path
        writer.write(frame)
    writer.release()
    return str(path)


# ----- displays

@contextlib.contextmanager
def process(*command, **more):
    """A tool as a process that is gone afterwards, whatever happens."""
    child = subprocess.Popen((tool(command[0]),) + command[1:], stdin=subprocess.DEVNULL, **more)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def xvfb(width=1280, height=800, arguments=()):
    """(process, name) of a virtual display that is free."""
    reader, writer = os.pipe()
    with process("Xvfb", "-displayfd", str(writer), "-screen", "0", "%dx%dx24" % (width, height), "-noreset",
                 "-nolisten", "tcp", *arguments, pass_fds=[writer], stderr=subprocess.DEVNULL) as server:
        os.close(writer)
        with os.fdopen(reader) as numbers:
            number = numbers.readline().strip()
        assert number, "Xvfb did not start"
        yield server, ":" + number
