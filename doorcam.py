#!/usr/bin/env python3
"""doorcam watches a door camera, knows who has been there before, and counts visits and the time at the door.

Usage:
  doorcam.py [options]              watch the door
  doorcam.py list                   a table of visitors
  doorcam.py name NUMBER NAME       give a visitor a name
  doorcam.py merge NUMBER INTO      two entries are one person
  doorcam.py forget NUMBER          remove a visitor
  doorcam.py ignore NUMBER          still known, but no longer shown, logged or announced

Keys in the window:
  q, Esc    quit (as closing the window does)
  f         full screen and back

Files:
  known_faces.dat                   everybody who is known (--faces names another); delete it to start afresh
  known_faces.dat.lock              says which process writes known_faces.dat; it may stay

Words:
  frame       one picture from the camera
  face        a box in a frame and what was computed from it
  encoding    the 128 numbers that stand for a face
  track       one face followed from frame to frame: one person's stay in the picture
  visitor     one person in the book of known faces
  visit       a stay at the door; it goes on until the visitor has not been seen for five minutes
  tolerance   the largest distance at which two encodings count as the same person
"""
import argparse
import collections
import contextlib
import csv
import ctypes
import ctypes.util
import datetime
import fcntl
import glob
import io
import json
import math
import multiprocessing
import os
import pickle
import re
import resource
import signal
import stat
import sys
import threading
import time
import traceback
import typing

# These libraries read their settings once, when they are loaded, so the settings stand before the imports.
for _name, _value in (
        ("OPENBLAS_NUM_THREADS", "1"),  # two processes with threads of OpenBLAS slow each other down tenfold
        ("OMP_NUM_THREADS", "1"),
        ("OPENCV_LOG_LEVEL", "SILENT"),
        ("OPENCV_FFMPEG_LOGLEVEL", "-8"),
        ("OPENCV_VIDEOIO_DEBUG", "0"),
        ("QT_LOGGING_RULES", "*.warning=false"),
        ("GST_DEBUG", "0"),
        ("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")):  # UDP loses parts of the picture
    os.environ.setdefault(_name, _value)

try:
    import cv2
    import numpy as np
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit("doorcam: %s. Start doorcam with the Python of its environment (.venv/bin/python doorcam.py), or "
             "install what it needs: python3 -m pip install -r requirements.txt" % str(missing).splitlines()[0])

# ---------------------------------------------------------------------------------------------------- settings

CAPTURE_WIDTH, CAPTURE_HEIGHT = 1280, 720  # pixels asked of a USB or CSI camera: what most can do at 30 a second
CAPTURE_RATE = 30             # frames a second asked of a CSI camera
SMALL_WIDTH = 320             # pixels; faces are looked for in a picture this wide: 1280 becomes a quarter
DEFAULT_RATE = 25.0           # frames a second of a recording that does not say

LOOK_PERIOD = 0.095           # s between two looks while somebody is undecided; shorter than the frames of 10 a second
CALM_PERIOD = 0.19            # s, when everybody in view is decided: the boxes move with the faces in between
STILL_PERIOD = 0.95           # s, when nothing moves and everybody is decided
IDLE_PERIOD = 3.0             # s, when nothing moves and nobody is in view: somebody may stand still
WHOLE_PERIOD = 0.33           # s between two looks at the whole picture while faces are followed
ENCODE_PERIOD = 2.0           # s between two encodings of a face that is decided
MOTION_HOLD = 2.0             # s after the last motion in which the scene still counts as moving
EMPTY_LOOKS = 20              # looks in a moving scene without a face after which they come less often
LOOKING_LIMIT = 10.0          # s after which an undecided face is no longer looked at more often than others

MIN_FACE = 36                 # pixels of the full-size frame; narrower faces give encodings of no use
MIN_SCORE = 0.0               # the detector's own; HOG: 0 is its threshold
MIN_FRONTAL = 0.35            # 1 looks into the camera, 0 in profile (see frontality)
MIN_SHARPNESS = 15.0          # variance of the Laplacian of the face at 100 pixels: below it all is blur
AGREEMENT = 0.40              # mean distance of a track's encodings from their mean; what scatters more is no face
KNOWN_SIGHTINGS = 3           # encodings before somebody can be called known
ENROL_SIGHTINGS = 5           # encodings before somebody is enrolled: a hand or a shadow is not found so often
ENOUGH_SIGHTINGS = 10         # encodings after which more do not change the mean: decide
EVIDENCE_SIGHTINGS = 30       # encodings of a track that are kept
SURELY_KNOWN = 0.06           # below the tolerance by this: known without waiting for more
SURELY_NEW = 0.10             # above the tolerance by this: new without waiting for more
SAME_TRACK = 0.60             # distance from a track's mean above which a face in its place is somebody else
REJOIN_TRACK = 0.40           # distance below which a face elsewhere is a track that was lost a moment ago
TRACK_LOST = 2.0              # s without a sighting after which a track has ended
BOX_LOST = 0.6                # s without a sighting after which its box is no longer drawn

MAX_ENCODINGS = 5             # kept of a visitor: other light, glasses, angle
LEARN_APART = 0.20            # distance from all encodings of the visitor above which one more is kept
LEARN_MARGIN = 0.05           # the second nearest visitor must be farther than the nearest by this
JOIN_MARGIN = 0.08            # two entries whose means are nearer than the tolerance less this are one person
CANDIDATES = 16               # visitors with the nearest means whose single encodings are compared
MAX_APART = 100               # numbers of others seen together with a visitor that are kept

VISIT_GAP = 300.0             # s not seen after which somebody who is seen again makes a new visit
STRIP_SECONDS = 10.0          # s after the last sight in which somebody is shown in the strip
NEW_SECONDS = 5.0             # s in which the label of a newcomer says so
PICTURE_SIZE = 150            # pixels, width and height of a visitor's picture, as the original's
PICTURE_MARGIN = 0.25         # of the face's width, kept around it in the picture
PICTURE_BETTER = 1.15         # a picture is replaced by one better by this factor

SAVE_PERIOD = 10.0            # s between two saves of what changed
SAVE_PERIOD_PER_MB = 6.0      # s more for each megabyte of the file: a big one is not written all day to an SD card
SAVE_RETRY = 30.0             # s after a save that failed
MAX_FILE = 2 << 30            # bytes of a known-faces file that is read
MAX_PICTURE_BYTES = 1 << 20   # of one stored picture
MAX_PICTURE_SIDE = 2048       # pixels of one stored picture
MAX_NAME = 100                # characters

CLOCK_JUMP = 2.0              # s by which wall clock and steady clock differ when somebody has set the wall clock
CAMERA_LOST = 3.0             # s without a frame after which the picture counts as lost
CAMERA_STALLED = 12.0         # s without a frame after which a read that does not return is given up
CAMERA_TIMEOUT = 8000         # ms after which opening or reading a network camera fails, where OpenCV can do that
RECONNECT_PAUSES = (0.5, 1, 2, 4, 7, 10)  # s between attempts to get a camera back; the last one repeats
CHILD_PAUSES = (0.2, 1, 3, 10, 30)        # s before the recognition process is started again
CHILD_HUNG = 20.0             # s after which a look that has no answer means that the child hangs
CHILD_START = 120.0           # s for loading dlib's models, from a slow SD card

WHITE, BLACK, RED, GREEN, GREY = (255, 255, 255), (0, 0, 0), (0, 0, 220), (60, 150, 0), (90, 90, 90)  # BGR
TITLE = "doorcam"
KEY_ESCAPE = 27

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
    moment: float               # the frame's time, s
    scale: float                # of the small picture
    whole: bool                 # look for faces everywhere
    regions: list               # (box, encode) of each face that is followed: look near it, encode it or not


class Event(typing.NamedTuple):
    """A visit began or ended."""
    kind: str                   # new, returned, left
    moment: float               # s since the epoch
    visitor: object
    seconds: object = None      # left: from the first to the last sight; returned: since the visit before


def box_width(box):
    return box[1] - box[3]


def scale_box(box, factor):
    """The box in a picture that is `factor` times as large. The one place where small picture and frame meet."""
    return tuple(int(round(side * factor)) for side in box)


def grow_box(box, share, shape):
    """The box with a margin of `share` of its width on each side, cut off at the edges of a picture of `shape`."""
    top, right, bottom, left = box
    margin = int(share * (right - left))
    height, width = shape[:2]
    return (max(0, top - margin), min(width, right + margin), min(height, bottom + margin), max(0, left - margin))


def cut(picture, box):
    """The part of the picture inside the box."""
    top, right, bottom, left = box
    return picture[max(0, top):max(0, bottom), max(0, left):max(0, right)]


def overlap(first, second):
    """Intersection over union of two boxes, 0 to 1."""
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[1], second[1]) - max(first[3], second[3])
    if height <= 0 or width <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[1] - box[3]) for box in (first, second)]
    return height * width / float(sum(areas) - height * width)


def distance(first, second):
    """Euclidean distance of two encodings."""
    return float(np.linalg.norm(np.subtract(first, second)))


def say(text):
    """One line for the user, on standard error, without control codes."""
    print("doorcam: " + printable(text), file=sys.stderr, flush=True)


def printable(text):
    """The text without what a terminal would obey instead of show."""
    return "".join(char if char.isprintable() else "?" for char in str(text))


# ------------------------------------------------------------------------------------------------------ camera


class Source(typing.NamedTuple):
    """Where frames come from."""
    kind: str                   # camera, csi, file, url, pipeline, demo
    value: object               # number of the camera or CSI sensor, path, address, pipeline

    def __str__(self):
        """The source as it may stand in a message: an address without its user and password."""
        if self.kind in ("camera", "csi"):
            return "%s %d" % ("camera" if self.kind == "camera" else "CSI camera", self.value)
        return re.sub(r"(\w+://)[^/\s]*@", r"\1***@", str(self.value))


def parse_source(text):
    """The Source that the user's text means; ValueError if it can mean none."""
    device = re.match(r"^(?:/dev/video)?(\d{1,3})$", text)
    sensor = re.match(r"^csi(?::(\d))?$", text)
    if device:
        return Source("camera", int(device.group(1)))
    if sensor:
        return Source("csi", int(sensor.group(1) or 0))
    if text == "demo":
        return Source("demo", text)
    if " ! " in text:
        return Source("pipeline", text)
    if text.startswith("file://"):
        return Source("file", text[len("file://"):])
    if re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]*://.", text):
        return Source("url", text)
    if not text.strip() or "\0" in text:
        raise ValueError("it is empty")
    return Source("file", text)


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
    """Names of the pipeline's elements that are not installed: OpenCV would hang on them. Empty if nobody can tell."""
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
        capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    elif source.kind == "camera":
        capture = cv2.VideoCapture(source.value, cv2.CAP_V4L2)
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, CAPTURE_WIDTH)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, CAPTURE_HEIGHT)
    elif source.kind == "url" and hasattr(cv2, "CAP_PROP_READ_TIMEOUT_MSEC"):  # since OpenCV 4.5.2
        capture = cv2.VideoCapture(source.value, cv2.CAP_FFMPEG, [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, CAMERA_TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, CAMERA_TIMEOUT])
    else:
        capture = cv2.VideoCapture(source.value, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        raise DoorcamError(why_not_open(source))
    return capture


def why_not_open(source):
    """One line for a source that cannot be opened: what is wrong and the ways out."""
    if source.kind == "camera":
        device = "/dev/video%d" % source.value
        if not os.path.exists(device):
            others = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"
            return ("camera %d is not there (cameras found: %s): plug it in, try --source with another number, or "
                    "see doorcam without a camera with --source demo" % (source.value, others))
        if not os.access(device, os.R_OK | os.W_OK):
            return "camera %d (%s) may not be read by you: sudo usermod -aG video $USER, then log in again" % (
                source.value, device)
        return ("camera %d (%s) gives no picture: another program uses it, or it is no camera; close the other "
                "program or try --source with another number" % (source.value, device))
    if source.kind == "file":
        if not os.path.exists(source.value):
            return "the recording %s does not exist" % source
        if not os.access(source.value, os.R_OK) or os.path.isdir(source.value):
            return "the recording %s cannot be read: it must be a video file that you may read" % source
        return "%s is not a video that OpenCV can read, or it is damaged" % source
    return "%s cannot be opened: check that it is switched on and that the address and the password are right" % source


def to_bgr(frame):
    """The frame as height x width x 3, uint8, whatever the camera gave: grey, BGRA or 16 bits."""
    if frame.dtype != np.uint8:
        frame = cv2.convertScaleAbs(frame, alpha=255.0 / np.iinfo(frame.dtype).max)
    if frame.ndim == 2 or frame.shape[2] == 1:
        return cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR) if frame.shape[2] == 4 else frame


def shrink(frame, scale):
    """The small picture of a frame: `scale` times as wide and high, at least one pixel."""
    size = [max(1, int(round(side * scale))) for side in (frame.shape[1], frame.shape[0])]
    return cv2.resize(frame, tuple(size), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def default_scale(frame):
    """The factor that makes the small picture SMALL_WIDTH wide; never enlarges."""
    return min(1.0, SMALL_WIDTH / float(frame.shape[1]))


def read_recording(source, flip, start):
    """Every frame of a recording in order, as (frame, time): the first frame's time is `start`, in s.

    DoorcamError if there is none, or, after the last that could be read, if the recording breaks off.
    """
    capture = open_capture(source)
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0.5 <= rate <= 1000 else DEFAULT_RATE
        expected = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        count, first, moment = 0, 0.0, 0.0
        while True:
            good, frame = capture.read()
            if not good:
                break
            position = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            if count == 0:
                first = position
            else:  # some formats give no position
                moment = position - first if position - first > moment else moment + 1 / rate
            count += 1
            yield FLIPS[flip][1](to_bgr(frame)), start + moment
    finally:
        capture.release()
    if not count:
        raise DoorcamError("%s has no frames" % source)
    if expected - count > max(rate / 2, expected / 50):
        raise DoorcamError("%s breaks off after %d of %d frames: what was seen up to there counts"
                           % (source, count, expected))


def paced(frames):
    """The frames at the speed at which they were taken, for the window."""
    shown, last = time.monotonic(), None
    for frame, now in frames:
        if last is not None:
            shown += min(now - last, 1.0)
            time.sleep(max(0.0, shown - time.monotonic()))
        last = now
        yield frame, now


def clock_jump(wall, steady, last_wall, last_steady):
    """Seconds by which somebody set the wall clock since the last reading of both clocks; 0 if nobody did."""
    jump = (wall - last_wall) - (steady - last_steady)
    return jump if abs(jump) >= CLOCK_JUMP else 0.0


def steady_clock():
    """Seconds that nobody can set and that go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", 7))  # 7 is Linux's number; Python 3.6 has no name for it


class LiveCamera:
    """A thread that always holds the newest frame of a source without an end, and gets the source back when lost."""

    def __init__(self, source, flip="none", capture=open_capture):
        self.source, self.flip, self._open = source, flip, capture
        self._changed = threading.Condition()
        self._frame, self._arrived, self._ever, self._error, self._closed = None, 0.0, False, None, False
        self._name = self._device_name()
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
            capture = None
            try:
                capture = self._open(self._find_again(), self.flip)
                while self._current():
                    good, frame = capture.read()
                    if not good:
                        break
                    attempt = 0
                    self._take(frame)
            except (DoorcamError, cv2.error) as error:
                self._fail(error if isinstance(error, DoorcamError) else DoorcamError(why_not_open(self.source)))
            finally:
                if capture is not None:
                    capture.release()
            if not self._ever:
                return self._fail(DoorcamError(why_not_open(self.source)))
            pause = RECONNECT_PAUSES[min(attempt, len(RECONNECT_PAUSES) - 1)]
            attempt += 1
            with self._changed:
                self._changed.wait_for(lambda: not self._current(), pause)

    def _take(self, frame):
        flip = "none" if self.source.kind == "csi" else self.flip  # a CSI pipeline has turned it
        frame = FLIPS[flip][1](to_bgr(frame))
        with self._changed:
            if self._current():
                self._frame, self._arrived, self._ever = frame, time.monotonic(), True
                self._changed.notify_all()

    def _fail(self, error):
        with self._changed:
            if not self._error:
                self._error = error
            self._changed.notify_all()

    def _device_name(self):
        """What the kernel calls a USB camera, None for other sources."""
        if self.source.kind == "camera":
            with contextlib.suppress(OSError):
                with open("/sys/class/video4linux/video%d/name" % self.source.value) as file:
                    return file.read()
        return None

    def _find_again(self):
        """The source, or the same USB camera under the number that it has now."""
        if self._name is None or os.path.exists("/dev/video%d" % self.source.value):
            return self.source
        for path in sorted(glob.glob("/sys/class/video4linux/video*/name")):
            with contextlib.suppress(OSError):
                with open(path) as file:
                    if file.read() == self._name:
                        return Source("camera", int(re.sub(r"\D", "", path.split("/")[-2])))
        return self.source

    def newest(self, timeout):
        """The newest frame if it has not been given out yet, else None after at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or (self._error and not self._ever), timeout)
            if self._error and not self._ever:
                raise self._error
            frame, self._frame = self._frame, None
        if frame is None:
            self._give_up_hung_read()
        return frame

    def _give_up_hung_read(self):
        """A read that never returns cannot be stopped: leave it alone and read with a new thread."""
        silent = time.monotonic() - max(self._arrived, self._started)
        if silent > CAMERA_STALLED:
            if not self._ever:
                raise DoorcamError("%s gives no picture for %d s: check its cable and its power, then start doorcam "
                                   "again" % (self.source, silent))
            self._start_reading()

    def silent(self):
        """Seconds since the last frame arrived, 0 before the first."""
        return time.monotonic() - self._arrived if self._ever else 0.0

    def close(self):
        """True if the camera was released, False if its read hangs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._reader.join(2.0)
        return not self._reader.is_alive()


def live_frames(camera, shift, wait=0.1):
    """The newest frames of a live camera with the wall clock's time, for ever; None while there is no new one.

    shift(seconds) is called when somebody has set the wall clock.
    """
    wall, steady, lost = time.time(), steady_clock(), False
    while True:
        frame = camera.newest(wait)
        last_wall, last_steady = wall, steady
        wall, steady = time.time(), steady_clock()
        jump = clock_jump(wall, steady, last_wall, last_steady)
        if jump:
            shift(jump)
        if lost != (camera.silent() > CAMERA_LOST):
            lost = not lost
            say("no picture from %s since %d s: trying to get it back" % (camera.source, camera.silent()) if lost
                else "%s is back" % camera.source)
        yield frame, wall


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
    scene = np.full((CAPTURE_HEIGHT, CAPTURE_WIDTH, 3), (150, 170, 180), np.uint8)
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


# ------------------------------------------------------------------------------------------------------- faces

NEAR_WIDTH = 90               # pixels; near a followed face the picture is scaled so that the face is this wide
NEAR_MARGIN = 0.7             # of the face's width, looked at on each side of it
SAME_FACE = 0.4               # overlap above which two boxes in one frame are one face


class DlibEngine:
    """dlib through face_recognition: a picture in, faces with boxes, scores and encodings out."""
    name = "dlib"

    def __init__(self, detector="hog"):
        try:
            import dlib
            import face_recognition
        except ImportError as error:
            raise DoorcamError("%s: install what doorcam needs: python3 -m pip install -r requirements.txt"
                               % str(error).splitlines()[0])
        except SystemExit:  # face_recognition's answer to models that it cannot import
            raise DoorcamError("face_recognition does not find its models: python3 -m pip install "
                               "face_recognition_models 'setuptools<81'")
        self._library, self._detector = face_recognition, detector
        blas = getattr(dlib, "DLIB_USE_BLAS", False)
        self.description = "dlib %s with %s" % (
            dlib.__version__, "CUDA" if dlib.DLIB_USE_CUDA else "BLAS" if blas else "neither CUDA nor BLAS (each face "
            "takes about 15 times as long: install libopenblas-dev, then pip install --force-reinstall "
            "--no-binary dlib --no-cache-dir dlib)")

    def _detect(self, rgb, upsample):
        """[(box, score)] of the faces in an RGB picture, enlarged twofold `upsample` times before."""
        api = self._library.api
        if self._detector == "cnn":
            found = [(face.rect, face.confidence) for face in api.cnn_face_detector(rgb, upsample)]
        else:
            found = list(zip(*api.face_detector.run(rgb, upsample, MIN_SCORE)[:2]))
        return [((box.top(), box.right(), box.bottom(), box.left()), score) for box, score in found]

    def _detect_near(self, rgb, box):
        """[(box, score)] in frame pixels, found around where a face was last."""
        place = grow_box(box, NEAR_MARGIN, rgb.shape)
        part = cut(rgb, place)
        if min(part.shape[:2]) < 2:
            return []
        factor = NEAR_WIDTH / float(max(1, box_width(box)))
        found = self._detect(np.ascontiguousarray(shrink(part, factor)), 0)
        return [(move_box(scale_box(near, 1 / factor), place[0], place[3]), score) for near, score in found]

    def faces(self, look):
        """The Faces that a Look asks for, best score first."""
        rgb = cv2.cvtColor(look.frame, cv2.COLOR_BGR2RGB)
        found = [face for box, _ in look.regions for face in self._detect_near(rgb, box)]
        if look.whole:
            small = shrink(rgb, look.scale)
            found += [(scale_box(box, 1 / look.scale), score) for box, score in self._detect(small, 1)]
        return [self._describe(rgb, box, score, must_encode(box, look.regions)) for box, score in one_each(found)]

    def _describe(self, rgb, box, score, encode):
        """The Face in a box of an RGB frame. The encoding is the mean of the face's and its mirror image's."""
        place = grow_box(box, 0.5, rgb.shape)
        part = np.ascontiguousarray(cut(rgb, place))
        if min(part.shape[:2]) < 2:
            return Face(box, score, 0.0, 0.0)
        inside = move_box(box, -place[0], -place[3])
        landmarks = self._library.face_landmarks(part, [inside], model="small")[0]
        encoding = None
        if encode:
            width = part.shape[1]
            mirrored = (inside[0], width - inside[3], inside[2], width - inside[1])
            encoding = np.mean([self._library.face_encodings(part, [inside])[0],
                                self._library.face_encodings(np.ascontiguousarray(part[:, ::-1]), [mirrored])[0]],
                               axis=0)
        return Face(box, score, frontality(landmarks), sharpness(cut(part, inside)), encoding)


def move_box(box, down, right):
    return (box[0] + down, box[1] + right, box[2] + down, box[3] + right)


def one_each(found):
    """[(box, score)] with each face once, best score first."""
    kept = []
    for box, score in sorted(found, key=lambda face: -face[1]):
        if all(overlap(box, other) < SAME_FACE for other, _ in kept):
            kept.append((box, score))
    return kept


def must_encode(box, regions):
    """Whether a face found in `box` is to be encoded: it is nobody's, or that of a region that asks for it."""
    near = [(overlap(box, region), encode) for region, encode in regions]
    best = max(near, default=(0.0, True), key=lambda pair: pair[0])
    return best[1] if best[0] > 0.3 else True


def frontality(landmarks):
    """1 for a face that looks into the camera, 0 for a profile, from face_recognition's five landmarks.

    The tip of the nose lies between the eyes in a frontal view and wanders off as the head turns.
    """
    left, right = (np.mean(landmarks[eye], axis=0) for eye in ("left_eye", "right_eye"))
    nose = np.mean(landmarks["nose_tip"], axis=0)
    across = right - left
    length = float(np.dot(across, across)) or 1.0
    aside = float(np.dot(nose - (left + right) / 2, across)) / length
    return max(0.0, 1.0 - 2.0 * abs(aside))


def sharpness(picture):
    """The variance of the Laplacian of a face scaled to 100 x 100 (Pech-Pacheco and others, ICPR 2000)."""
    if min(picture.shape[:2]) < 2:
        return 0.0
    grey = cv2.cvtColor(cv2.resize(picture, (100, 100), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def die_with_parent(parent):
    """Has the kernel end this process when the process `parent` dies, also by SIGKILL."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def recognize_in_child(pipe, detector, parent):
    """The recognition process: answers each Look that comes through the pipe with its Faces, until the pipe ends."""
    for name in ("SIGINT", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    die_with_parent(parent)
    cv2.setNumThreads(1)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            engine = DlibEngine(detector)
        except DoorcamError as error:
            return pipe.send(error)
        pipe.send(engine.description)
        while True:
            try:
                look, shape = pipe.recv()
                frame = np.frombuffer(pipe.recv_bytes(), np.uint8).reshape(shape)
                answer = engine.faces(look._replace(frame=frame))
            except EOFError:
                return
            except Exception as error:  # dlib and CUDA raise what they like; the parent starts this process again
                answer = OSError("%s: %s" % (type(error).__name__, why(error)))
            pipe.send(answer)


class Recognizer:
    """Owns the recognition process: gives it the newest Look, takes its Faces, starts it again when it dies or hangs.

    A thread of its own waits for the process, so that offer() and answer() never do (except answer(wait=True)).
    """

    def __init__(self, detector="hog", stop=None, target=recognize_in_child, hung=CHILD_HUNG):
        self._detector, self._stop, self._target, self._hung = detector, stop, target, hung
        self._changed = threading.Condition()
        self._look, self._busy, self._answer, self._closed = None, None, None, False
        self._process, self._pipe = None, None
        self.description, self.error, self.answers = None, None, 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def offer(self, look):
        """Hands over a Look; an older one that has not been sent yet is dropped."""
        with self._changed:
            self._look = look
            self._changed.notify_all()

    def idle(self):
        """Whether a Look offered now would be looked at at once."""
        with self._changed:
            return self._look is None and self._busy is None and self.description is not None

    def answer(self, wait=False):
        """(Look, Faces) of the last look that was answered, each once; None if there is none. DoorcamError if the
        process cannot work at all."""
        with self._changed:
            while True:
                if self.error:
                    raise self.error
                answer, self._answer = self._answer, None
                if answer or not wait or (self._look is None and self._busy is None):
                    return answer
                if self._stop is not None and self._stop.asked:
                    return None
                self._changed.wait(0.1)

    def _run(self):
        failures = 0
        while not self._closed:
            try:
                self._start()
                while not self._closed:
                    self._serve()
                    failures = 0
            except (EOFError, OSError) as error:
                self._stop_process()
                if self._closed:
                    return
                if failures == 0:
                    say("the recognition process ended (%s) and is started again" % (str(error) or "killed"))
                pause = CHILD_PAUSES[min(failures, len(CHILD_PAUSES) - 1)]
                failures += 1
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, pause)
            except DoorcamError as error:
                with self._changed:
                    self.error = error
                    self._changed.notify_all()
                return

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=self._target, args=(theirs, self._detector, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        greeting = self._receive(CHILD_START)
        with self._changed:
            self.description = greeting
            self._changed.notify_all()

    def _receive(self, timeout):
        if not self._pipe.poll(timeout):
            raise OSError("it did not answer for %d s" % timeout)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _serve(self):
        """Sends the newest Look and waits for its Faces."""
        with self._changed:
            self._changed.wait_for(lambda: self._look or self._closed, 1.0)
            if self._look is None or self._closed:
                if not self._process.is_alive():
                    raise OSError("killed")
                return
            look, self._look = self._look, None
            self._busy = time.monotonic()
        faces = None
        try:
            self._pipe.send((look._replace(frame=None), look.frame.shape))
            self._pipe.send_bytes(np.ascontiguousarray(look.frame).reshape(-1))
            faces = self._receive(self._hung)
        finally:
            with self._changed:
                self._busy = None
                if faces is not None:
                    self._answer = (look, faces)
                    self.answers += 1
                self._changed.notify_all()

    def watch(self):
        """Kills a process that does not even take its Look, so that the thread, which waits for it, goes on."""
        busy, process = self._busy, self._process
        if busy is not None and process is not None and time.monotonic() - busy > self._hung + 1:
            kill(process)

    def _stop_process(self):
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            kill(self._process)
            self._process.join()

    def close(self):
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._process is not None:
            kill(self._process)
        self._thread.join(5.0)
        self._stop_process()


def kill(process):
    """SIGKILL to a multiprocessing.Process (Python 3.6 has no Process.kill)."""
    with contextlib.suppress(OSError, TypeError):
        os.kill(process.pid, signal.SIGKILL)


# ------------------------------------------------------------------------------------------------------ tracks


class Motion:
    """Tells whether something moves in the scene, from the small grey pictures."""
    CELLS = (64, 36)            # the picture is averaged to so many cells: noise of single pixels vanishes
    STEP = 10.0                 # levels of 255 by which a cell must differ from the background
    ADAPT = 1.0                 # s in which the background takes on what is new

    def __init__(self):
        self._background, self._last, self.moved = None, None, -math.inf

    def look(self, grey, now):
        """Takes the newest small picture. `moved` is the time of the last motion, s."""
        cells = cv2.resize(grey, self.CELLS, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._background is None:
            self._background, self.moved = cells, now
        else:
            difference = cells - self._background
            difference -= np.median(difference)  # a lamp or the camera's exposure changes all cells alike
            if np.count_nonzero(np.abs(difference) > self.STEP) >= 2:
                self.moved = now
            share = min(1.0, max(0.0, now - self._last) / self.ADAPT)
            self._background += share * (cells - self._background)
        self._last = now

    def since(self, now):
        return now - self.moved


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
            points.append(corners + np.float32([max(0, box[3]), max(0, box[0])]))
            owners += [index] * len(corners)
    if not points or before.shape != after.shape:
        return moved
    points = np.concatenate(points).astype(np.float32)
    found, good, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, winSize=(11, 11), maxLevel=3)
    owners, good = np.array(owners), good.ravel() == 1
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


class Track:
    """One face followed from frame to frame."""

    def __init__(self, box, now):
        self.box = box              # in the newest frame, pixels; fractions allowed
        self.began = now            # s, first sight
        self.seen = now             # s, last sight by the detector
        self.encoded = -math.inf    # s, last encoding
        self.sure_place = True      # the box was followed without a break since `seen`
        self.missed = 0             # looks in a row without it
        self.enrolled = False       # the visitor was enrolled in this stay
        self.evidence = []          # encodings of good sightings, the last EVIDENCE_SIGHTINGS
        self.sightings = 0          # how many there were
        self.visitor = None         # once decided
        self.distance = None        # to the visitor when decided
        self.picture, self.quality = None, 0.0  # the best of the stay

    def mean(self):
        """The mean of the track's encodings, None without any."""
        return np.mean(self.evidence, axis=0) if self.evidence else None

    def agrees(self):
        """Whether the encodings are those of one face: what is no face scatters."""
        mean = self.mean()
        return float(np.mean([distance(one, mean) for one in self.evidence])) <= AGREEMENT

    def take(self, face, now):
        """Adds what a face that belongs to the track shows."""
        self.box, self.seen, self.sure_place, self.missed = face.box, now, True, 0
        if face.encoding is None:
            return
        self.encoded = now
        if not good_sighting(face):
            return
        self.sightings += 1
        self.evidence = (self.evidence + [face.encoding])[-EVIDENCE_SIGHTINGS:]
        quality = picture_quality(face)
        if face.picture is not None and quality > self.quality:
            self.picture, self.quality = face.picture, quality


def good_sighting(face):
    """Whether a face is large, sharp and frontal enough for its encoding to be trusted."""
    return (box_width(face.box) >= MIN_FACE and face.score >= MIN_SCORE and face.frontal >= MIN_FRONTAL
            and face.sharpness >= MIN_SHARPNESS)


def picture_quality(face):
    """How good a face's picture is, 0 to 1: frontal, sharp, large, and the detector sure."""
    return (face.frontal * min(1.0, face.sharpness / 200.0) * min(1.0, box_width(face.box) / float(PICTURE_SIZE))
            * min(1.0, 0.5 + max(0.0, face.score) / 2))


def match_faces(tracks, faces, now):
    """{index of face: Track} of the faces that go on a track; the others are new.

    A face belongs to the track whose box it overlaps most, or stands next to when the track was not seen for a
    while, unless its encoding says that it is somebody else; what is left may be a track that was lost a moment ago.
    """
    pairs = []
    for index, face in enumerate(faces):
        for track in tracks:
            apart = track_distance(track, face)
            near = nearness(track.box, face.box, now - track.seen)
            if near > 0 and not (apart is not None and apart > SAME_TRACK):
                pairs.append((near + 1.0, index, track))
            elif apart is not None and apart < REJOIN_TRACK:
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


def track_distance(track, face):
    """Distance of the face's encoding from the track's mean, None if one of them has none."""
    if face.encoding is None or not track.evidence:
        return None
    return distance(track.mean(), face.encoding)


# ---------------------------------------------------------------------------------------------------- visitors

TOLERANCES = ((1, 0.50), (10, 0.495), (30, 0.48), (100, 0.463), (400, 0.425))  # (visitors known, tolerance)


def tolerance_for(visitors):
    """The tolerance of dlib's encodings for a book of so many visitors.

    Measured on 400 people with 4 photographs each, taken on different days, means of a face and its mirror image
    over 6 views: with it about 1 % of newcomers are nearer to somebody known. The chance of that grows with everybody
    who is known (pairs of strangers within 0.50: 0.033 %, within 0.45: 0.004 %), so the tolerance falls, about
    0.026 for each doubling. With few visitors 0.50 stays the upper end: the means of two long visits come as near as
    that in 0.18 % of pairs of strangers. Beyond 400 visitors nothing was measured: the last value is the floor.
    """
    known, values = zip(*TOLERANCES)
    return float(np.interp(math.log(max(1, visitors)), np.log(known), values))


def decide(nearest, runner_up, sightings, tolerance, last_chance=False):
    """What a track's evidence says: "known", "new", or None to wait for more.

    nearest, runner_up: distances to the two nearest visitors, infinite where there is none. Between surely known
    and surely new more is waited for. At the last chance, and after enough sightings, the tolerance alone decides:
    a second entry for somebody known can be merged, a wrong name cannot be taken back.
    """
    if sightings < KNOWN_SIGHTINGS:
        return None
    clear = runner_up - nearest >= LEARN_MARGIN
    if nearest <= tolerance - SURELY_KNOWN and clear:
        return "known"
    if nearest >= tolerance + SURELY_NEW and sightings >= ENROL_SIGHTINGS:
        return "new"
    if sightings >= ENOUGH_SIGHTINGS or last_chance:
        if nearest <= tolerance:
            return "known"
        return "new" if sightings >= ENROL_SIGHTINGS else None
    return None


class Visitor:
    """One person in the book. Times are seconds since the epoch."""
    __slots__ = ("number", "name", "first_seen", "first_seen_this_interaction", "last_seen", "seen_count",
                 "seen_frames", "encodings", "jpeg", "quality", "seconds_before", "longest", "apart", "ignored",
                 "engine", "extra")

    def __init__(self, number, encodings, first_seen, jpeg=None, engine="dlib"):
        self.number, self.engine = number, engine
        self.encodings = encodings                      # list of float32 arrays of 128, at most MAX_ENCODINGS
        self.first_seen = self.first_seen_this_interaction = self.last_seen = first_seen
        self.seen_count, self.seen_frames = 1, 0        # visits; sightings
        self.jpeg, self.quality = jpeg, 0.0             # bytes of a JPEG; of the picture, see picture_quality
        self.seconds_before = 0.0                       # at the door, in the visits before this one
        self.longest = 0.0                              # s, of the visits before this one
        self.name, self.ignored = "", False
        self.apart = set()                              # numbers of visitors seen in one frame with this one
        self.extra = {}                                 # what other programs keep in the record

    def center(self):
        return np.mean(self.encodings, axis=0)

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


class Book:
    """The visitors, and one matrix of the means of their encodings in which a face is looked up."""

    def __init__(self, visitors=(), numbers_given=0):
        self.visitors = {}              # number: Visitor
        self.numbers_given = numbers_given
        self._centers = np.zeros((64, 128), np.float32)
        self._norms = np.zeros(64, np.float32)
        self._rows, self._numbers = {}, []      # number: row; row: number
        self._records, self.changed = {}, set()  # number: record as saved last; numbers of those that changed since
        for visitor in visitors:
            self._insert(visitor)
        self.changed.clear()

    def __len__(self):
        return len(self.visitors)

    def _insert(self, visitor):
        self.visitors[visitor.number] = visitor
        self.numbers_given = max(self.numbers_given, visitor.number)
        self._rows[visitor.number] = len(self._numbers)
        self._numbers.append(visitor.number)
        if len(self._numbers) > len(self._centers):
            self._centers = np.concatenate([self._centers, np.zeros_like(self._centers)])
            self._norms = np.concatenate([self._norms, np.zeros_like(self._norms)])
        self._place(visitor)

    def _place(self, visitor):
        """Writes the visitor's mean into the matrix."""
        row, center = self._rows[visitor.number], visitor.center()
        self._centers[row], self._norms[row] = center, np.dot(center, center)
        self.changed.add(visitor.number)

    def _remove(self, number):
        """Takes a visitor out; the last row of the matrix fills the gap."""
        row, last = self._rows.pop(number), self._numbers.pop()
        if last != number:
            end = len(self._numbers)
            self._centers[row], self._norms[row] = self._centers[end], self._norms[end]
            self._numbers[row], self._rows[last] = last, row
        self._records.pop(number, None)
        self.changed.add(number)
        return self.visitors.pop(number)

    def register_new_face(self, encoding, now, jpeg=None, quality=0.0):
        """Enrols a newcomer and returns the Visitor."""
        visitor = Visitor(self.numbers_given + 1, [np.asarray(encoding, np.float32)], now, jpeg)
        visitor.quality = quality
        self._insert(visitor)
        return visitor

    def lookup_known_face(self, encoding, excluded=()):
        """[(distance, Visitor)] of the nearest visitors, best first, without those whose numbers are excluded.

        First all visitors by the mean of their encodings, in one matrix; then the nearest of them by the nearest of
        their encodings, which also tells glasses and other light.
        """
        count = len(self._numbers)
        if not count:
            return []
        encoding = np.asarray(encoding, np.float32)
        rough = self._norms[:count] - 2 * self._centers[:count].dot(encoding)  # square distance, less a constant
        wanted = min(count, CANDIDATES + len(excluded))
        rows = np.argpartition(rough, wanted - 1)[:wanted]
        near = [self.visitors[self._numbers[row]] for row in rows if self._numbers[row] not in excluded]
        found = [(min(distance(one, encoding) for one in visitor.encodings), visitor) for visitor in near]
        return sorted(found, key=lambda pair: pair[0])

    def see(self, visitor, now, since, gap=VISIT_GAP):
        """Somebody is at the door at `now`, in the picture since `since`. The Event if a visit begins with it."""
        self.changed.add(visitor.number)
        visitor.seen_frames += 1
        event, away = None, since - visitor.last_seen
        if visitor.last_seen > now:  # the clock was set back: seen just now
            visitor.first_seen_this_interaction += now - visitor.last_seen
        elif away >= gap:
            visitor.longest, visitor.seconds_before = visitor.longest_visit(), visitor.total_seconds()
            visitor.first_seen_this_interaction = since
            visitor.seen_count += 1
            event = Event("returned", since, visitor, away)
        visitor.last_seen = now
        return event

    def learn(self, visitor, encoding):
        """Keeps one more encoding of a visitor: the two nearest become one where there are too many."""
        encoding = np.asarray(encoding, np.float32)
        if min(distance(one, encoding) for one in visitor.encodings) < LEARN_APART:
            return
        visitor.encodings = visitor.encodings + [encoding]
        if len(visitor.encodings) > MAX_ENCODINGS:
            pairs = [(distance(one, other), first, second) for first, one in enumerate(visitor.encodings)
                     for second, other in enumerate(visitor.encodings[:first])]
            _, first, second = min(pairs)
            joined = (visitor.encodings[first] + visitor.encodings[second]) / 2
            visitor.encodings = [one for index, one in enumerate(visitor.encodings) if index not in (first, second)]
            visitor.encodings.append(joined)
        self._place(visitor)

    def merge(self, number, into):
        """Two entries are one person: visits, times and encodings of `number` go to `into`, and it is gone."""
        gone, stays = self._remove(number), self.visitors[into]
        for encoding in gone.encodings:
            self.learn(stays, encoding)
        earlier, later = sorted((gone, stays), key=lambda visitor: visitor.last_seen)
        together = later.first_seen_this_interaction - earlier.last_seen < VISIT_GAP  # two halves of one visit
        before = gone.seconds_before + stays.seconds_before + (0 if together else earlier.this_visit())
        longest = max(gone.longest, stays.longest, 0 if together else earlier.this_visit())
        begun = min(gone.first_seen_this_interaction, stays.first_seen_this_interaction) if together \
            else later.first_seen_this_interaction
        stays.seconds_before, stays.longest = before, longest
        stays.seen_count += gone.seen_count - (1 if together else 0)
        stays.seen_frames += gone.seen_frames
        stays.first_seen = min(gone.first_seen, stays.first_seen)
        stays.last_seen, stays.first_seen_this_interaction = later.last_seen, begun
        stays.name, stays.ignored = stays.name or gone.name, stays.ignored or gone.ignored
        stays.apart |= gone.apart
        if gone.quality > stays.quality or stays.jpeg is None:
            stays.jpeg, stays.quality = gone.jpeg, gone.quality
        self.changed.add(into)
        return stays

    def forget(self, number):
        """Removes a visitor. The number is not given again."""
        gone = self._remove(number)
        for number in self.visitors:  # the highest number given is kept in a record: see record_of
            self.changed.add(number)
            break
        return gone

    def one_person(self, visitor):
        """The other entry that beyond doubt is the same person as this one, or None.

        Both means must rest on several visits, be nearer than the tolerance by JOIN_MARGIN, have no different names,
        and never have been seen together.
        """
        if len(visitor.encodings) < 2:
            return None
        for _, other in self.lookup_known_face(visitor.center(), (visitor.number,)):
            if (distance(other.center(), visitor.center()) < tolerance_for(len(self)) - JOIN_MARGIN
                    and other.engine == visitor.engine and other.number not in visitor.apart
                    and visitor.number not in other.apart and not (other.name and visitor.name)
                    and other.ignored == visitor.ignored):
                return other
        return None

    def snapshot(self):
        """What known_faces.dat is to hold, [encodings, metadata]; made of the changed visitors only."""
        for number in self.changed:
            if number in self.visitors:
                self._records[number] = record_of(self.visitors[number], self.numbers_given)
        self.changed.clear()
        records = [self._records.get(number) or self._fresh_record(number) for number in self.visitors]
        return [[encoding for encoding, _ in records], [metadata for _, metadata in records]]

    def _fresh_record(self, number):
        record = self._records[number] = record_of(self.visitors[number], self.numbers_given)
        return record


class Door:
    """Who is at the door: the tracks in the picture, their visitors, and the visits that go on."""

    def __init__(self, book, tolerance=None, gap=VISIT_GAP):
        self.book, self.gap = book, gap
        self.tracks, self.visits = [], {}       # visits: number: Visitor whose visit has not ended
        self._fixed_tolerance = tolerance
        self._motion, self._grey, self._grey_of_look = Motion(), None, None
        self._looked, self._looked_whole, self._empty_looks = -math.inf, -math.inf, 0
        self.broken_encodings = 0               # NaN or infinite: a known fault of dlib on the Jetson Nano

    def tolerance(self):
        return self._fixed_tolerance or tolerance_for(len(self.book))

    # -- following

    def follow(self, grey, scale, now):
        """Moves the boxes with what is in them, from the small grey picture before to this one."""
        self._motion.look(grey, now)
        if self._grey is not None and self.tracks:
            boxes = [scale_box(track.box, scale) for track in self.tracks]
            for track, box in zip(self.tracks, follow_boxes(self._grey, grey, boxes)):
                track.sure_place = track.sure_place and box is not None
                if box is not None:
                    track.box = scale_box(box, 1 / scale)
        self._grey = grey

    def next_look(self, frame, scale, now):
        """The Look that is due at `now`, None if there is nothing to look for."""
        if 0 <= now - self._looked < self._period(now):
            return None
        whole = (not self.tracks or not 0 <= now - self._looked_whole < WHOLE_PERIOD
                 or any(track.missed for track in self.tracks))
        self._looked, self._grey_of_look = now, self._grey
        if whole:
            self._looked_whole = now
        regions = [(scale_box(track.box, 1), self._must_encode(track, now)) for track in self.tracks]
        return Look(frame, now, scale, whole, regions)

    def _period(self, now):
        """Seconds between two looks: often while somebody is undecided, seldom when nothing moves."""
        moving = self._motion.since(now) < MOTION_HOLD
        if any(track.missed or (track.visitor is None and now - track.began < LOOKING_LIMIT) for track in self.tracks):
            return LOOK_PERIOD
        if self.tracks:
            return CALM_PERIOD if moving else STILL_PERIOD
        if not moving:
            return IDLE_PERIOD
        return LOOK_PERIOD if self._empty_looks < EMPTY_LOOKS else WHOLE_PERIOD

    def _must_encode(self, track, now):
        if not track.sure_place or track.missed:
            return True
        if track.sightings < ENOUGH_SIGHTINGS and now - track.began < LOOKING_LIMIT:
            return True
        return not 0 <= now - track.encoded < ENCODE_PERIOD

    # -- recognizing

    def recognize(self, look, faces, now):
        """Takes the Faces found in a Look; returns the Events that follow."""
        faces = self._bring_up_to_date(look, [self._checked(face) for face in faces])
        self._empty_looks = 0 if faces or self.tracks else self._empty_looks + 1
        matched = match_faces(self.tracks, faces, now)
        for track in self.tracks:
            track.missed += 1
        for index, face in enumerate(faces):
            track = matched.get(index)
            if track is None:
                track = Track(face.box, now)
                self.tracks.append(track)
            track.take(face, now)
        events = []
        for track in [track for track in self.tracks if not track.missed]:
            events += self._decide(track, now)
        self._note_together()
        return events

    def _checked(self, face):
        if face.encoding is not None and not np.all(np.isfinite(face.encoding)):
            self.broken_encodings += 1
            return face._replace(encoding=None)
        return face

    def _bring_up_to_date(self, look, faces):
        """Faces found in a frame of a moment ago: with their picture, and moved to where they are by now."""
        faces = [face if face.picture is not None else face._replace(picture=picture_from(look.frame, face.box))
                 for face in faces]
        if self._grey_of_look is None or self._grey_of_look is self._grey:
            return faces
        boxes = [scale_box(face.box, look.scale) for face in faces]
        moved = follow_boxes(self._grey_of_look, self._grey, boxes)
        return [face if box is None else face._replace(box=scale_box(box, 1 / look.scale))
                for face, box in zip(faces, moved)]

    def _decide(self, track, now, last_chance=False):
        """Decides who a track is, if its evidence tells; returns the Events that follow."""
        if track.visitor is not None:
            return self._see(track, now) + self._reconsider(track, now)
        if not track.evidence or not track.agrees():
            return []
        visible = {other.visitor.number for other in self.tracks if other.visitor and not other.missed}
        found = self.book.lookup_known_face(track.mean(), visible)
        nearest, runner_up = ([apart for apart, _ in found[:2]] + [math.inf, math.inf])[:2]
        verdict = decide(nearest, runner_up, track.sightings, self.tolerance(), last_chance)
        if verdict == "known":
            return self._settle(track, found[0][1], nearest, now)
        if verdict == "new":
            track.visitor = self.book.register_new_face(track.mean(), track.began, to_jpeg(track.picture),
                                                        track.quality)
            track.enrolled = True
            return self._begin("new", track, now)
        return []

    def _settle(self, track, visitor, nearest, now):
        """The track is this visitor. Another track that was the visitor until a moment ago is thereby over."""
        self.tracks = [other for other in self.tracks if other is track or other.visitor is not visitor]
        track.visitor, track.distance = visitor, nearest
        return self._see(track, now)

    def _begin(self, kind, track, now):
        self.visits[track.visitor.number] = track.visitor
        track.visitor.seen_frames += track.sightings
        track.visitor.last_seen = now
        return [Event(kind, track.began, track.visitor)]

    def _see(self, track, now):
        """Books that the track's visitor is there; the Event if a visit begins with that."""
        visitor = track.visitor
        event = self.book.see(visitor, now, track.began, self.gap)
        self.visits[visitor.number] = visitor
        if track.quality > visitor.quality * PICTURE_BETTER:
            visitor.jpeg, visitor.quality = to_jpeg(track.picture), track.quality
        return [event] if event else []

    def _reconsider(self, track, now):
        """A decided track whose later evidence strongly says somebody else is that person from now on.

        Somebody who was enrolled in this stay and turns out to be known is joined with that entry.
        """
        if track.sightings < 2 * ENOUGH_SIGHTINGS or track.sightings % ENOUGH_SIGHTINGS:
            return []
        recent = np.mean(track.evidence[-ENOUGH_SIGHTINGS:], axis=0)
        own = min(distance(one, recent) for one in track.visitor.encodings)
        visible = {other.visitor.number for other in self.tracks if other.visitor and not other.missed}
        found = self.book.lookup_known_face(recent, visible)
        if not found or found[0][0] > self.tolerance() - SURELY_KNOWN or not track.agrees():
            return []
        other = found[0][1]
        if track.enrolled and other.number not in track.visitor.apart and track.visitor.seen_count == 1:
            return self._join(track.visitor, other)
        if own > self.tolerance() + SURELY_NEW:
            return self._settle(track, other, found[0][0], now)
        return []

    def _note_together(self):
        """Visitors in one frame are different people, for ever."""
        there = [track.visitor for track in self.tracks if track.visitor and not track.missed]
        for visitor in there:
            for other in there:
                if other is not visitor and len(visitor.apart) < MAX_APART and other.number not in visitor.apart:
                    visitor.apart.add(other.number)
                    self.book.changed.add(visitor.number)

    # -- ending

    def end_tracks(self, now, all_of_them=False):
        """Ends the tracks that were not seen for a while; returns the Events that follow."""
        lost = min(TRACK_LOST, self.gap)
        over = [track for track in self.tracks if all_of_them or not 0 <= now - track.seen < lost]
        events = []
        for track in over:
            if track.visitor is None:
                events += self._decide(track, track.seen, last_chance=True)
        self.tracks = [track for track in self.tracks if track not in over]
        for track in over:
            if track.visitor is not None:
                events += self._learn_from(track)
        return events

    def _learn_from(self, track):
        """What an ended track taught about its visitor: one more encoding; perhaps that two entries are one."""
        visitor = track.visitor
        if not track.enrolled and track.sightings >= ENROL_SIGHTINGS and track.agrees():
            found = self.book.lookup_known_face(track.mean())
            others = [apart for apart, other in found if other is not visitor]
            own = [apart for apart, other in found if other is visitor]
            if own and own[0] <= self.tolerance() and min(others, default=math.inf) - own[0] >= LEARN_MARGIN:
                self.book.learn(visitor, track.mean())
        other = self.book.one_person(visitor)
        if other is None:
            return []
        return self._join(*sorted((visitor, other), key=lambda one: -one.number))

    def _join(self, gone, stays):
        """Two entries are one person. No Event: whoever was announced is the same person still."""
        self.book.merge(gone.number, stays.number)
        for track in self.tracks:
            if track.visitor is gone:
                track.visitor, track.enrolled = stays, False
        if self.visits.pop(gone.number, None) is not None:
            self.visits[stays.number] = stays
        return []

    def end_visits(self, now, all_of_them=False):
        """The Events "left" of those who were not seen for the visit gap."""
        present = {track.visitor.number for track in self.tracks if track.visitor}
        over = [visitor for number, visitor in self.visits.items()
                if all_of_them or (number not in present and not now - visitor.last_seen < self.gap)]
        for visitor in over:
            del self.visits[visitor.number]
        return [Event("left", visitor.last_seen, visitor, visitor.this_visit()) for visitor in over]

    def finish(self, now):
        """Decides what can be decided and ends everything: the program stops."""
        return self.end_tracks(now, True) + self.end_visits(now, True)

    def shift(self, seconds):
        """The clock was set by so many seconds: what goes on now goes on in the new time."""
        for visitor in self.visits.values():
            if visitor.first_seen == visitor.first_seen_this_interaction:
                visitor.first_seen += seconds
            visitor.first_seen_this_interaction += seconds
            visitor.last_seen += seconds
            self.book.changed.add(visitor.number)
        for track in self.tracks:
            track.began += seconds
            track.seen += seconds
            track.encoded += seconds
        self._motion.moved += seconds
        self._looked, self._looked_whole = -math.inf, -math.inf

    # -- what to show

    def marks(self, now):
        """[(box, label, color)] of the faces in the picture."""
        return [(scale_box(track.box, 1),) + label_of(track.visitor, now) for track in self.tracks
                if now - track.seen < BOX_LOST and not (track.visitor and track.visitor.ignored)]

    def at_door(self, now):
        """The visitors of the strip: seen in the last STRIP_SECONDS, who came first is first."""
        there = [visitor for visitor in self.visits.values()
                 if now - visitor.last_seen < STRIP_SECONDS and not visitor.ignored]
        return sorted(there, key=lambda visitor: visitor.first_seen_this_interaction)


def label_of(visitor, now):
    """(label, color) under a face."""
    if visitor is None:
        return "Looking...", GREY
    seconds = visitor.at_door(now)
    if visitor.seen_count == 1 and seconds < NEW_SECONDS and not visitor.name:
        return "New visitor!", GREEN
    at_door = "At door " + duration(seconds)
    return ("%s, %s" % (visitor.name, at_door[0].lower() + at_door[1:]) if visitor.name else at_door), RED


def card_text(visitor):
    """What stands under a visitor's picture in the strip."""
    visits = "First visit" if visitor.seen_count == 1 else "%d visits" % visitor.seen_count
    return "%s, %s" % (visitor.name, visits[0].lower() + visits[1:]) if visitor.name else visits


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
# array of 128, metadata[i] the dict of record_of(). It is never read with plain pickle: see KnownFacesUnpickler.


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
        picture = cv2.imdecode(np.frombuffer(visitor.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        return np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 128, np.uint8)
    return cv2.resize(picture, (PICTURE_SIZE, PICTURE_SIZE), interpolation=cv2.INTER_AREA)


def jpeg_fits(data):
    """Whether the bytes are a JPEG of at most MAX_PICTURE_SIDE pixels a side: asked before anything is decoded."""
    from PIL import Image
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.format == "JPEG" and max(image.size) <= MAX_PICTURE_SIDE
    except Exception:  # Pillow raises many kinds on bytes that are no picture
        return False


def record_of(visitor, numbers_given):
    """(encoding, metadata) as they stand in known_faces.dat."""
    metadata = dict(visitor.extra)
    for key in ("first_seen", "first_seen_this_interaction", "last_seen"):
        metadata[key] = datetime.datetime.fromtimestamp(getattr(visitor, key))
    for key in ("seen_count", "seen_frames", "number", "name", "ignored", "engine", "seconds_before", "longest"):
        metadata[key] = getattr(visitor, key)
    metadata["face_image"] = None if visitor.jpeg is None else StoredPicture(visitor.jpeg)
    metadata["face_image_quality"] = visitor.quality
    metadata["encodings"] = list(visitor.encodings)
    metadata["apart"] = sorted(visitor.apart)
    metadata["numbers_given"] = numbers_given
    return np.asarray(visitor.center(), np.float64), metadata


def dump_known_faces(snapshot, file):
    """Writes what Book.snapshot() returned to a binary file: a pickle of protocol 4 that any numpy and OpenCV read."""
    cv2.imdecode.__module__ = "cv2"  # some versions leave it out or say cv2.cv2, which others do not have
    pickler = pickle.Pickler(file, protocol=4)
    pickler.dispatch_table = {
        np.ndarray: lambda array: (np.ndarray, (array.shape, array.dtype.str, array.tobytes())),
        StoredPicture: lambda picture: (cv2.imdecode, (np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR))}
    pickler.dump(snapshot)


class SafeDict(dict):
    """A dict of a file that is read: the hash of a deeply nested key would overflow the stack."""

    def __setitem__(self, key, value):
        if not isinstance(key, str):
            raise ValueError("a key that is no text")
        dict.__setitem__(self, key, value)


class SafeType:
    """Stands for numpy's dtype while a file is read."""
    KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")

    def __init__(self, name, *_):
        self.kind, self.order = str(name).lstrip("<>=|"), str(name)[:1]
        if self.kind not in self.KINDS:
            raise ValueError("an array of a kind that no known-faces file has")

    def __setstate__(self, state):
        self.order = state[1]

    def dtype(self):
        return np.dtype((">" if self.order == ">" else "<") + self.kind)


class SafeArray:
    """Stands for a numpy array while a file is read: plain numbers, as many as the shape says."""

    def __init__(self, shape=(0,), kind="u1", data=b""):
        self.fill(shape, kind, data)

    def __setstate__(self, state):
        _, shape, kind, fortran, data = state
        self.fill(shape, kind, data, "F" if fortran else "C")

    def fill(self, shape, kind, data, order="C"):
        kind = kind if isinstance(kind, SafeType) else SafeType(kind)
        if not isinstance(data, (bytes, bytearray)) or len(shape) > 4:
            raise ValueError("an array that holds no plain numbers")
        self.array = np.frombuffer(bytes(data), kind.dtype()).reshape(shape, order=order)


def safe_scalar(kind, data):
    """Stands for a numpy number while a file is read."""
    return np.frombuffer(data, kind.dtype())[0].item()


def safe_picture(array, flags=cv2.IMREAD_COLOR):
    """Stands for cv2.imdecode while a file is read: the bytes are kept and not decoded."""
    if array.array.dtype != np.uint8 or array.array.size > MAX_PICTURE_BYTES:
        raise ValueError("a picture that is too large")
    return StoredPicture(array.array.tobytes())


def safe_latin1(text, encoding):
    """Stands for _codecs.encode, with which protocol 2 writes bytes."""
    return text.encode("latin1")


SAFE_GLOBALS = {
    ("datetime", "datetime"): datetime.datetime,
    ("datetime", "timedelta"): datetime.timedelta,
    ("numpy", "ndarray"): SafeArray,
    ("numpy", "dtype"): SafeType,
    ("cv2", "imdecode"): safe_picture,
    ("cv2.cv2", "imdecode"): safe_picture,
    ("_codecs", "encode"): safe_latin1}
for _core in ("numpy.core", "numpy._core"):  # numpy 1, numpy 2
    SAFE_GLOBALS[_core + ".multiarray", "_reconstruct"] = lambda kind, shape, code: SafeArray()
    SAFE_GLOBALS[_core + ".multiarray", "scalar"] = safe_scalar
    SAFE_GLOBALS[_core + ".numeric", "_frombuffer"] = \
        lambda data, kind, shape, order: SafeArray(shape, kind, bytes(data))
del _core


class KnownFacesUnpickler(pickle._Unpickler):
    """Reads a known-faces pickle and nothing else: no class but stand-ins of ours, no opcode that such a file lacks.

    It is the unpickler written in Python, slower than the one in C, but bounded: in C a memo index taken from the
    file allocates gigabytes.
    """
    OPCODES = ("PROTO FRAME STOP MARK EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT "
               "SETITEM SETITEMS NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE "
               "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 GLOBAL STACK_GLOBAL REDUCE "
               "BUILD BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET").split()
    BYTES_A_STEP = 8            # a file has at least so many bytes for each opcode, on average

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self._steps_left = 10000 + len(data) // self.BYTES_A_STEP

    def step(self):
        self._steps_left -= 1
        if self._steps_left < 0:
            raise ValueError("it is much too intricate")

    def find_class(self, module, name):
        try:
            return SAFE_GLOBALS[module, name]
        except KeyError:
            raise ValueError("it asks for %s.%s, which no known-faces file needs" % (module, name))

    def load_safe_dict(self):
        self.append(SafeDict())

    def load_safe_build(self):
        state, instance = self.stack.pop(), self.stack[-1]
        if not isinstance(instance, (SafeArray, SafeType)):
            raise ValueError("it sets the state of something that has none")
        instance.__setstate__(state)


def _counted(load):
    def load_one(self):
        self.step()
        load(self)
    return load_one


KnownFacesUnpickler.dispatch = {
    ord(getattr(pickle, _name)): _counted(pickle._Unpickler.dispatch[ord(getattr(pickle, _name))])
    for _name in KnownFacesUnpickler.OPCODES if hasattr(pickle, _name)}  # BYTEARRAY8 came with Python 3.8
KnownFacesUnpickler.dispatch[ord(pickle.EMPTY_DICT)] = _counted(KnownFacesUnpickler.load_safe_dict)
KnownFacesUnpickler.dispatch[ord(pickle.BUILD)] = _counted(KnownFacesUnpickler.load_safe_build)




def plain(value, depth=4):
    """A value of a file without our stand-ins: an array is an array again. ValueError for what no such file has."""
    if isinstance(value, SafeArray):
        return value.array
    if depth and isinstance(value, (list, tuple)):
        return type(value)(plain(one, depth - 1) for one in value)
    if depth and isinstance(value, dict):
        return {key: plain(one, depth - 1) for key, one in value.items()}
    if value is None or isinstance(value, (bool, int, float, str, bytes, bytearray, StoredPicture, datetime.datetime,
                                           datetime.timedelta)):
        return value
    raise ValueError("it holds a %s" % type(value).__name__)


def read_encoding(value):
    """The float32 array of an encoding in a file; ValueError if it is none."""
    try:
        encoding = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise ValueError("its encoding is no list of numbers")
    if encoding.shape != (128,) or not np.all(np.isfinite(encoding)) or np.abs(encoding).max() > 100:
        raise ValueError("its encoding is not 128 numbers of a plausible size")
    return encoding


def read_time(metadata, *keys):
    """Seconds since the epoch of the first of the keys that holds a time; ValueError if none does."""
    for key in keys:
        if isinstance(metadata.get(key), datetime.datetime):
            with contextlib.suppress(OverflowError, OSError, ValueError):
                seconds = metadata[key].timestamp()
                if -86400 <= seconds < 32503680000:  # up to the year 3000
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


OWN_KEYS = {"first_seen", "first_seen_this_interaction", "last_seen", "seen_count", "seen_frames", "face_image",
            "number", "name", "ignored", "engine", "seconds_before", "longest", "face_image_quality", "encodings",
            "apart", "numbers_given"}


def read_visitor(encoding, metadata):
    """The Visitor of one record, number 0 where it has none. ValueError says what is wrong with the record."""
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is no dict")
    metadata = plain(metadata)
    encoding = read_encoding(plain(encoding))
    encodings = [read_encoding(one) for one in (metadata.get("encodings") or [encoding])[:MAX_ENCODINGS]]
    visitor = Visitor(read_number(metadata, "number", 0), encodings, read_time(metadata, "first_seen", "last_seen"),
                      read_picture(metadata.get("face_image")), str(metadata.get("engine") or "dlib")[:20])
    visitor.last_seen = read_time(metadata, "last_seen", "first_seen")
    visitor.first_seen_this_interaction = read_time(metadata, "first_seen_this_interaction", "last_seen", "first_seen")
    visitor.seen_count = max(1, read_number(metadata, "seen_count", 1))
    visitor.seen_frames = read_number(metadata, "seen_frames", 1)
    visitor.quality = read_number(metadata, "face_image_quality", 0.0)
    visitor.seconds_before = read_number(metadata, "seconds_before", 0.0)
    visitor.longest = read_number(metadata, "longest", 0.0)
    visitor.name, visitor.ignored = clean_name(metadata.get("name") or ""), bool(metadata.get("ignored"))
    visitor.apart = {number for number in (metadata.get("apart") or [])[:MAX_APART] if isinstance(number, int)}
    visitor.extra = {key: value for key, value in metadata.items() if key not in OWN_KEYS}
    return visitor


def read_known_faces(data):
    """(visitors, numbers_given, problems) of the bytes of a known-faces file; ValueError if it is none.

    A bad record is left out; `problems` has a line for each. Nothing in the bytes is run.
    """
    try:
        encodings, metadata = KnownFacesUnpickler(data).load()
        if not isinstance(encodings, list) or not isinstance(metadata, list) or len(encodings) != len(metadata):
            raise ValueError("it is no list of encodings and a list of as many records")
    except Exception as error:  # a mutated pickle raises anything
        raise ValueError(why(error))
    visitors, used, given, problems = [], set(), 0, []
    for index, (encoding, record) in enumerate(zip(encodings, metadata)):
        try:
            visitor = read_visitor(encoding, record)
            given = max(given, visitor.number, read_number(plain(record), "numbers_given", 0))
        except Exception as error:
            problems.append("record %d is left out: %s" % (index + 1, why(error)))
            continue
        if visitor.number in used:
            visitor.number = 0
        used.add(visitor.number)
        visitors.append(visitor)
    for visitor in visitors:
        if not visitor.number:
            given += 1
            visitor.number = given
    return visitors, given, problems


def why(error):
    """The reason of an exception in a few words, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable((str(error).splitlines() or [""])[0][:200] or type(error).__name__)


def clean_name(text):
    """A name as it is kept: printable, single spaces, at most MAX_NAME characters."""
    if not isinstance(text, str):
        raise ValueError("its name is no text")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:MAX_NAME]


def read_file(path):
    """The bytes of a known-faces file, None if there is none. DoorcamError if it may not be read."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE:
                raise DoorcamError("%s is larger than %d MB: it is no known-faces file; move it away"
                                   % (path, MAX_FILE >> 20))
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DoorcamError("%s cannot be read (%s): make it readable for you, or name another file with --faces"
                           % (path, why(error)))


def load_known_faces(path):
    """The Book in a file, empty if there is no file; ValueError if it is damaged or something else."""
    data = read_file(path)
    if data is None:
        return Book()
    visitors, numbers_given, problems = read_known_faces(data)
    for problem in problems:
        say("%s: %s" % (path, problem))
    if problems:
        say("%s is kept as it was in %s" % (path, set_aside(path, os.link)))
    return Book(visitors, numbers_given)


def load_or_set_aside(path):
    """The Book in a file; a file that is damaged or something else is moved away and the book starts empty."""
    try:
        return load_known_faces(path)
    except ValueError as error:
        aside = set_aside(path, os.rename)
        say("%s is damaged or no known-faces file (%s): it is now %s, and the book starts empty; to go back, stop "
            "doorcam and move it back" % (path, error, aside))
        return Book()


def set_aside(path, move):
    """Moves (or links) the file to a name with the date that is not taken, and returns the name."""
    stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    names = ["%s.damaged-%s%s" % (path, stamp, extra) for extra in [""] + ["-%d" % n for n in range(2, 100)]]
    aside = next(name for name in names if not os.path.lexists(name))
    try:
        move(os.path.realpath(path), aside)
    except OSError as error:
        raise DoorcamError("%s is damaged and cannot be set aside (%s): move it away yourself" % (path, why(error)))
    return aside


def save_known_faces(path, snapshot):
    """Replaces the file by what Book.snapshot() returned: at every moment the old or the new one is there, whole.

    A symbolic link stays one, and the file's permissions stay; a new file is the owner's alone (0600), for it holds
    people's faces. OSError if it cannot be written; the old file is untouched then.
    """
    path = os.path.realpath(path)
    mode = 0o600
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied", path)
    fresh = path + ".new"  # one name: what a pulled plug leaves there the next save replaces
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            dump_known_faces(snapshot, file)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(fresh, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
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
    try:
        lock = open(os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")
    except OSError as error:
        raise DoorcamError("%s cannot be written (%s): doorcam needs a folder and a file that it may write; name "
                           "another with --faces" % (path, why(error)))
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DoorcamError("%s is in use by another doorcam, process %s: stop that one first, or name another file "
                               "with --faces" % (path, printable(lock.read(20).strip() or "unknown")))
        lock.truncate(0)
        lock.write("%d\n" % os.getpid())
        lock.flush()
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise DoorcamError("%s cannot be written (Permission denied): make it writable, or name another file with "
                               "--faces" % path)
        yield


class Saver:
    """Saves the book when it is time, in a thread, so that no frame waits for the disk."""

    def __init__(self, path, book):
        self.path, self.book = path, book       # without a path nothing is saved
        self._thread, self._due, self._failed = None, 0.0, None

    def save_when_due(self, urgent=False):
        """Starts a save if something changed and it is time; at once where it is urgent (a visit began or ended)."""
        if self._thread is not None:
            if self._thread.is_alive():
                return
            self._thread = None
        now = time.monotonic()
        if self._failed:
            urgent = False
        if self.path and (self.book.changed or self._failed) and (urgent or now >= self._due):
            snapshot = self.book.snapshot()
            self._due = now + self._period()
            self._thread = threading.Thread(target=self._save, args=(snapshot,))
            self._thread.start()

    def _period(self):
        if self._failed:
            return SAVE_RETRY
        with contextlib.suppress(OSError):
            return SAVE_PERIOD + SAVE_PERIOD_PER_MB * os.path.getsize(self.path) / 1e6
        return SAVE_PERIOD

    def _save(self, snapshot):
        try:
            save_known_faces(self.path, snapshot)
        except Exception as error:
            if not self._failed:
                say("%s cannot be saved (%s): the file from before stays, doorcam goes on and tries again"
                    % (self.path, why(error)))
            self._failed = error
            return
        if self._failed:
            say("%s is saved again" % self.path)
        self._failed = None

    def close(self):
        """The last save, waited for. DoorcamError if it fails."""
        if self._thread is not None:
            self._thread.join()
        if self.path and (self.book.changed or self._failed):
            try:
                save_known_faces(self.path, self.book.snapshot())
            except Exception as error:
                raise DoorcamError("%s cannot be saved (%s): what changed since the last save is lost; make room or "
                                   "make it writable" % (self.path, why(error)))


# ----------------------------------------------------------------------------------------------------- overlay

FONT = cv2.FONT_HERSHEY_DUPLEX


def unit_of(frame):
    """How large to draw: 1 at 1280 x 720, never so small that a text can't be read."""
    return max(0.5, min(frame.shape[1] / 1280.0, frame.shape[0] / 720.0))


def put_text(frame, text, left, bottom, size, color=WHITE, width=None):
    """Draws a line of text, not wider than `width` pixels; `size` 1 is about 22 pixels high."""
    text = "".join(char if 32 <= ord(char) < 127 else "?" for char in text)
    thickness = max(1, int(round(size)))
    while width and len(text) > 1 and cv2.getTextSize(text, FONT, size, thickness)[0][0] > width:
        text = text[:-1]
    cv2.putText(frame, text, (int(left), int(bottom)), FONT, size, color, thickness, cv2.LINE_AA)


def draw_faces(frame, marks):
    """Draws a box around each face and its label in a bar under it; marks: [(box, label, color)]."""
    unit = unit_of(frame)
    size, bar = 0.8 * unit, int(34 * unit)
    height, width = frame.shape[:2]
    for box, label, color in marks:
        top, right, bottom, left = box
        cv2.rectangle(frame, (left, top), (right, bottom), color, max(1, int(2 * unit)))
        text = cv2.getTextSize(label, FONT, size, max(1, int(round(size))))[0][0] + int(14 * unit)
        wide = min(width, max(right - left, text))
        left = min(max(0, left), width - wide)
        bottom = max(0, min(bottom, height - bar))
        cv2.rectangle(frame, (left, bottom), (left + wide, bottom + bar), color, cv2.FILLED)
        put_text(frame, label, left + 7 * unit, bottom + bar - 10 * unit, size, width=wide - 8 * unit)


def strip_places(frame, count):
    """[(left, top)] of the cards of `count` visitors, their size, and how many visitors have none.

    As many as the frame is wide, in at most two rows that take at most half of its height.
    """
    height, width = frame.shape[:2]
    size = min(int(PICTURE_SIZE * unit_of(frame)), width, max(1, (height // 2 - head_height(frame)) // 2))
    if size < 24:
        return [], size, count
    columns = width // size
    shown = count if count <= 2 * columns else 2 * columns - 1
    places = [(index % columns * size, head_height(frame) + index // columns * size) for index in range(shown)]
    return places, size, count - shown


def head_height(frame):
    return int(30 * unit_of(frame))


def draw_strip(frame, cards):
    """Draws the pictures of those at the door along the top; cards: [(picture, text)], picture BGR, square."""
    if not cards:
        return
    unit = unit_of(frame)
    places, size, hidden = strip_places(frame, len(cards))
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


def draw_notice(frame, text):
    """Draws a line in a bar at the lower edge."""
    unit = unit_of(frame)
    bar = frame[-int(36 * unit):]
    bar[:] = bar // 3
    put_text(frame, text, 10 * unit, frame.shape[0] - 11 * unit, 0.75 * unit, width=frame.shape[1] - 12 * unit)


class Overlay:
    """Draws what is known on a copy of the frame. Keeps the decoded pictures of those at the door."""

    def __init__(self):
        self._pictures = {}         # number: (bytes of the JPEG, picture)

    def draw(self, frame, marks, visitors, notice=None):
        frame = frame.copy()
        draw_strip(frame, [(self._picture(visitor), card_text(visitor)) for visitor in visitors])
        draw_faces(frame, marks)
        if notice:
            draw_notice(frame, notice)
        for number in set(self._pictures) - {visitor.number for visitor in visitors}:
            del self._pictures[number]
        return frame

    def _picture(self, visitor):
        jpeg, picture = self._pictures.get(visitor.number, (None, None))
        if picture is None or jpeg is not visitor.jpeg:
            picture = picture_of(visitor)
            self._pictures[visitor.number] = (visitor.jpeg, picture)
        return picture


# ------------------------------------------------------------------------------------------------------ window


def check_display():
    """DoorcamError if there is no display: Qt would end the whole process."""
    name = os.environ.get("DISPLAY")
    hint = ": start doorcam on the desktop, or without a window with --headless"
    if not name:
        raise DoorcamError("there is no display (DISPLAY is not set)" + hint)
    library = ctypes.util.find_library("X11")
    if library:
        x11 = ctypes.CDLL(library)
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XOpenDisplay.argtypes = [ctypes.c_char_p]
        x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
        display = x11.XOpenDisplay(None)
        if not display:
            raise DoorcamError("the display %s cannot be opened%s" % (name, hint))
        x11.XCloseDisplay(display)


class Window:
    """The window on the desktop."""
    lasts = True

    def __init__(self, fullscreen=False):
        check_display()
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | getattr(cv2, "WINDOW_GUI_NORMAL", 16))
        except cv2.error:
            raise DoorcamError("this OpenCV has no windows (opencv-python-headless?): pip uninstall "
                               "opencv-python-headless, pip install --force-reinstall opencv-python; or --headless")
        self._sized, self._visible, self.fullscreen = False, False, False
        if fullscreen:
            self.toggle_fullscreen()

    def toggle_fullscreen(self):
        self.fullscreen = not self.fullscreen
        cv2.setWindowProperty(TITLE, cv2.WND_PROP_FULLSCREEN,
                              cv2.WINDOW_FULLSCREEN if self.fullscreen else cv2.WINDOW_NORMAL)

    def show(self, frame):
        """Shows a frame; False once the user has quit by key or by closing the window."""
        if not self._sized and not self.fullscreen:
            cv2.resizeWindow(TITLE, frame.shape[1], frame.shape[0])
        self._sized = True
        cv2.imshow(TITLE, frame)
        return self.poll()

    def poll(self):
        """Lets the window live on without a new frame; False once the user has quit."""
        key = cv2.waitKey(1) & 0xFF
        if key == ord("f"):
            self.toggle_fullscreen()
        return key not in (ord("q"), ord("Q"), KEY_ESCAPE) and not self._closed()

    def _closed(self):
        """imshow would open a closed window again. OpenCV says 0, raises, or, with GTK, always says -1."""
        try:
            visible = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE)
        except cv2.error:
            return True
        self._visible = self._visible or visible >= 1
        return visible == 0 or (self._visible and visible < 1)

    def close(self):
        with contextlib.suppress(cv2.error):
            cv2.destroyAllWindows()


class NoWindow:
    """Stands for the window with --headless."""
    lasts = False               # a demo shown in it ends after one round

    def show(self, frame):
        return True

    def poll(self):
        return True

    def close(self):
        pass




# ------------------------------------------------------------------------------------------------------ events


def sentence(event):
    """12:03:11 Maria returned (visit 3)"""
    visitor = event.visitor
    clock = datetime.datetime.fromtimestamp(event.moment).strftime("%H:%M:%S")
    who = visitor.name or "visitor %d" % visitor.number
    if event.kind == "new":
        return "%s %s is new" % (clock, who)
    if event.kind == "returned":
        return "%s %s returned (visit %d)" % (clock, who, visitor.seen_count)
    return "%s %s left after %s" % (clock, who, duration(round(event.seconds)))


class EventLog:
    """The CSV file of --log: a row for each visit that begins or ends."""
    HEADER = ("time", "event", "visitor", "name", "visit", "seconds")

    def __init__(self, path):
        self.path, self._failed = path, False
        try:
            self._write([])
        except OSError as error:
            raise DoorcamError("%s cannot be written (%s): name another file with --log" % (path, why(error)))

    def _write(self, rows):
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)  # it says who was at the door
        with open(descriptor, "a", newline="") as file:
            writer = csv.writer(file)
            if os.fstat(descriptor).st_size == 0:
                writer.writerow(self.HEADER)
            writer.writerows(rows)

    def write(self, event):
        """Appends the event; says once if that fails."""
        moment = datetime.datetime.fromtimestamp(event.moment, datetime.timezone.utc).astimezone()
        seconds = "%d" % round(event.seconds) if event.kind == "left" else ""
        row = (moment.isoformat(timespec="seconds"), event.kind, event.visitor.number,
               spreadsheet_text(event.visitor.name), event.visitor.seen_count, seconds)
        try:
            self._write([row])
            self._failed = False
        except OSError as error:
            if not self._failed:
                say("%s cannot be written (%s): events are missing there until it can" % (self.path, why(error)))
            self._failed = True


def spreadsheet_text(text):
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


class Stats:
    """What --stats prints at the end."""
    GAPS = 100000               # of the newest frames that are kept

    def __init__(self):
        self._began = self._last = None
        self._frames, self._gaps = 0, collections.deque(maxlen=self.GAPS)

    def frame(self):
        """A frame was shown."""
        now = time.monotonic()
        if self._last is None:
            self._began = now
        else:
            self._gaps.append(now - self._last)
        self._last = now
        self._frames += 1

    def report(self, recognitions, visitors):
        """The figures as a dict; CPU seconds include the ended recognition process."""
        seconds = (self._last or 0) - (self._began or 0)
        gaps = [1000 * float(gap) for gap in np.percentile(self._gaps, (50, 99, 100))] if self._gaps else [0.0] * 3
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        figures = {"frames": self._frames, "seconds": seconds,
                   "fps": (self._frames - 1) / seconds if seconds else 0.0,
                   "gap_p50_ms": gaps[0], "gap_p99_ms": gaps[1], "gap_max_ms": gaps[2],
                   "recognitions": recognitions, "visitors": visitors,
                   "cpu_seconds": sum(one.ru_utime + one.ru_stime for one in usage)}
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


# -------------------------------------------------------------------------------------------------------- loop


class Stop:
    """Set by the first signal that asks doorcam to end; later ones change nothing."""

    def __init__(self):
        self.asked = False
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            signal.signal(getattr(signal, name), self._ask)

    def _ask(self, number, frame):
        self.asked = True


class Watch:
    """Everything that watching the door needs, put together from the options."""

    def __init__(self, options, stop):
        self.options, self.stop = options, stop
        self.sync = is_recording(options.source)        # a recording waits for each look, a live camera never does
        self.path = faces_path(options)
        self.book = load_or_set_aside(self.path) if self.path else Book()
        self.log = EventLog(options.log) if options.log else None
        self.window = NoWindow() if options.headless else Window(options.fullscreen)
        self.stats, self.overlay, self.camera = Stats(), Overlay(), None
        self.introduced = self.broken_said = False
        self.begin(self.book)
        self.recognizer = Recognizer(options.detector, stop)

    def begin(self, book):
        """Starts with a book: the door's and nobody there."""
        self.book = book
        self.door = Door(book, self.options.tolerance, self.options.visit_gap)
        self.saver = Saver(self.path, book)
        self.shown, self.shown_at = None, None

    def run(self):
        """Watches until the user quits or the source ends."""
        print("known faces: %s" % (printable(os.path.abspath(self.path)) if self.path
                                   else "the demo's own, not kept"), flush=True)
        source = self.options.source
        if source.kind == "demo":
            portraits = demo_portraits(os.path.join(os.path.dirname(os.path.abspath(__file__)), EXAMPLE))
            while not self.watch_the_door(self.at_speed(demo_frames(portraits, time.time()))) and self.window.lasts:
                self.finish_visits()
                self.begin(self.book if self.path else Book())
        elif self.sync:
            self.watch_the_door(self.at_speed(read_recording(source, self.options.flip, time.time())))
        else:
            self.camera = LiveCamera(source, self.options.flip)
            self.watch_the_door(live_frames(self.camera, lambda seconds: self.door.shift(seconds)))

    def at_speed(self, frames):
        """A recording in a window runs at its own speed, without one as fast as it can."""
        return paced(frames) if self.window.lasts else frames

    def watch_the_door(self, frames):
        """The main loop: for each frame, find the faces, see who they are, draw, show, save when due.

        frames: (frame, time); without a new frame, (None, time). True if the user has quit.
        """
        for frame, now in frames:
            self.introduce()
            if frame is None:
                goes_on, events = self.show_old_frame(now), []
            else:
                events = self.find_faces(frame, now)
                goes_on = self.show(frame, self.door.marks(now), self.door.at_door(now))
                self.shown, self.shown_at = frame, now
            events += self.door.end_tracks(now) + self.door.end_visits(now)
            self.tell(events)
            if self.stop.asked or not goes_on:
                return True
            self.saver.save_when_due(urgent=bool(events))
        return False

    def find_faces(self, frame, now):
        """Follows the faces into this frame, asks for the look that is due, takes what a look has found."""
        scale = self.options.scale or default_scale(frame)
        self.door.follow(cv2.cvtColor(shrink(frame, scale), cv2.COLOR_BGR2GRAY), scale, now)
        look = self.door.next_look(frame, scale, now) if self.sync or self.recognizer.idle() else None
        if look:
            self.recognizer.offer(look)
        answer = self.recognizer.answer(wait=self.sync)
        return self.door.recognize(answer[0], answer[1], now) if answer else []

    def show(self, frame, marks, visitors, notice=None):
        """Draws and shows; False once the user has quit."""
        self.stats.frame()
        if isinstance(self.window, NoWindow):
            return True
        return self.window.show(self.overlay.draw(frame, marks, visitors, notice))

    def show_old_frame(self, now):
        """No new frame came: the window lives on, and says so after a while; False once the user has quit."""
        if self.shown is None or now - self.shown_at < CAMERA_LOST:
            return self.window.poll()
        return self.window.show(self.overlay.draw(self.shown, [], self.door.at_door(now),
                                                  "No picture since " + duration(now - self.shown_at)))

    def tell(self, events):
        """Writes down what happened and says it, but for visitors to be ignored."""
        for event in events:
            if not event.visitor.ignored:
                print(printable(sentence(event)), flush=True)
                if self.log:
                    self.log.write(event)
        if self.door.broken_encodings and not self.broken_said:
            self.broken_said = True
            say("dlib gives encodings that are no numbers (known of some builds on the Jetson Nano): they are left out")

    def introduce(self):
        """Says once which dlib there is, as soon as the recognition process knows."""
        if not self.introduced and self.recognizer.description:
            self.introduced = True
            print("engine: " + printable(self.recognizer.description), flush=True)

    def finish_visits(self):
        """Ends what goes on, and saves."""
        self.tell(self.door.finish(self.shown_at if self.shown_at is not None else time.time()))
        self.saver.close()

    def close(self):
        """Releases everything. False if the camera could not be, because its read never returns."""
        released = self.camera is None or self.camera.close()
        self.recognizer.close()
        self.window.close()
        return released


def faces_path(options):
    """The known-faces file of a watch; None for the demo, which keeps its book to itself unless one is named."""
    if options.faces is None and options.source.kind != "demo":
        return DEFAULT_FACES
    return options.faces


def watch(options):
    """The command of all days: watch the door."""
    stop, path = Stop(), faces_path(options)
    with contextlib.ExitStack() as stack:
        if path:
            stack.enter_context(lock_known_faces(path))
        door = Watch(options, stop)
        try:
            try:
                door.run()
            finally:
                door.finish_visits()
        finally:
            released = door.close()
            if options.stats:
                print(json.dumps(door.stats.report(door.recognizer.answers, len(door.book))), flush=True)
        if not released:
            os._exit(0)  # a thread that hangs in a camera's driver would hold up the interpreter's own end
    return 0


# ---------------------------------------------------------------------------------------------------- commands


def read_book(options):
    """The Book of a command other than watch; DoorcamError, and nothing changed, if the file is damaged."""
    path = options.faces or DEFAULT_FACES
    data = read_file(path)
    if data is None:
        raise DoorcamError("there is no %s yet: watch the door first, or name another file with --faces" % path)
    try:
        visitors, numbers_given, problems = read_known_faces(data)
    except ValueError as error:
        raise DoorcamError("%s is damaged or no known-faces file (%s): nothing was changed; move it away to start "
                           "afresh" % (path, error))
    if problems and options.command != "list":
        raise DoorcamError("%s: %s; nothing was changed: start doorcam once, which keeps a copy of the file"
                           % (path, problems[0]))
    for problem in problems:
        say("%s: %s" % (path, problem))
    return Book(visitors, numbers_given)


def change_book(options, change):
    """Reads the book, has it changed, and saves it; returns what change(book) returned."""
    path = options.faces or DEFAULT_FACES
    with lock_known_faces(path):
        book = read_book(options)
        result = change(book)
        try:
            save_known_faces(path, book.snapshot())
        except OSError as error:
            raise DoorcamError("%s cannot be saved (%s): nothing was changed" % (path, why(error)))
    return result


def find_visitor(book, number):
    if number not in book.visitors:
        raise DoorcamError("there is no visitor %d: doorcam.py list shows the numbers" % number)
    return book.visitors[number]


def list_visitors(options):
    """A table of the visitors: number, name, visits, first and last seen."""
    def clock(seconds):
        return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    rows = [("number", "name", "visits", "first seen", "last seen")]
    for number, visitor in sorted(read_book(options).visitors.items()):
        name = visitor.name + (" (ignored)" if visitor.ignored else "")
        rows.append((str(number), printable(name), str(visitor.seen_count), clock(visitor.first_seen),
                     clock(visitor.last_seen)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) if column in (0, 2) else cell.ljust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    return 0


def name_visitor(options):
    """Gives a visitor a name; an empty one takes it away."""
    def change(book):
        visitor = find_visitor(book, options.number)
        visitor.name = clean_name(options.name)
        book.changed.add(visitor.number)
        return visitor
    visitor = change_book(options, change)
    print(printable("visitor %d is now %s" % (visitor.number, visitor.name or "without a name")))
    return 0


def merge_visitors(options):
    """Two entries are one person."""
    def change(book):
        gone, stays = find_visitor(book, options.number), find_visitor(book, options.into)
        if gone is stays:
            raise DoorcamError("visitor %d cannot be merged into itself: name two numbers" % gone.number)
        if gone.name and stays.name and gone.name != stays.name and not options.force:
            raise DoorcamError("visitors %d and %d have different names (%s, %s): --force merges them all the same"
                               % (gone.number, stays.number, gone.name, stays.name))
        return book.merge(gone.number, stays.number)
    stays = change_book(options, change)
    print("visitor %d is now part of visitor %d, %d visits" % (options.number, stays.number, stays.seen_count))
    return 0


def forget_visitor(options):
    """Removes a visitor."""
    def change(book):
        return book.forget(find_visitor(book, options.number).number)
    change_book(options, change)
    print("visitor %d is forgotten" % options.number)
    return 0


def ignore_visitor(options):
    """A visitor is still known, but no longer shown, logged or announced; the picture is removed."""
    def change(book):
        visitor = find_visitor(book, options.number)
        visitor.ignored, visitor.jpeg, visitor.quality = True, None, 0.0
        book.changed.add(visitor.number)
    change_book(options, change)
    print("visitor %d is ignored from now on" % options.number)
    return 0


# ------------------------------------------------------------------------------------------------ command line

DEFAULT_FACES = "known_faces.dat"
EXAMPLE = "known_faces.dat.example"


def source_option(text):
    try:
        return parse_source(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error))


def number_option(kind, low, high, unit):
    """A type for argparse: a number from low to high."""
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError("%s is no %s from %g to %g" % (printable(text[:40]), unit, low, high))
        return value
    return parse


def path_option(text):
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("it names no file")
    return text


def make_parser():
    parser = argparse.ArgumentParser(prog="doorcam.py", usage=argparse.SUPPRESS, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    faces = argparse.ArgumentParser(add_help=False)
    faces.add_argument("--faces", metavar="FILE", type=path_option, default=argparse.SUPPRESS,
                       help="the file of known faces (default: known_faces.dat in this folder)")
    parser.set_defaults(faces=None, run=watch)
    add = parser.add_argument
    add("--source", metavar="SOURCE", type=source_option, default=Source("camera", 0),
        help="camera number, csi or csi:1 (Jetson), video file, URL, GStreamer pipeline, or demo (default: 0)")
    parser._add_container_actions(faces)
    add("--headless", action="store_true", help="without a window")
    add("--fullscreen", action="store_true", help="fill the screen")
    add("--scale", metavar="FACTOR", type=number_option(float, 0.01, 4, "factor"),
        help="size of the picture in which faces are looked for; 0.25 is a quarter (default: about 320 pixels wide)")
    add("--flip", choices=list(FLIPS), default="none", help="turn or mirror the picture (degrees clockwise)")
    add("--detector", choices=("hog", "cnn"), default="hog", help="cnn is slow without CUDA (default: hog)")
    add("--tolerance", metavar="DISTANCE", type=number_option(float, 0.01, 2, "distance"),
        help="largest distance of the same person (default: by the number of visitors, 0.5 to 0.425)")
    add("--visit-gap", metavar="SECONDS", type=number_option(float, 0.1, 1e7, "number of seconds"), default=VISIT_GAP,
        help="not seen for so long, somebody who comes makes a new visit (default: 300)")
    add("--log", metavar="FILE.csv", type=path_option, help="append visits to this file")
    add("--stats", action="store_true", help="print a line of figures (JSON) at the end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    number = number_option(int, 1, 2 ** 31 - 1, "number of a visitor")
    for name, run, arguments in (("list", list_visitors, ()), ("name", name_visitor, ("number", "name")),
                                 ("merge", merge_visitors, ("number", "into")), ("forget", forget_visitor, ("number",)),
                                 ("ignore", ignore_visitor, ("number",))):
        command = commands.add_parser(name, parents=[faces], help=run.__doc__.split(".")[0], description=run.__doc__)
        for argument in arguments:
            command.add_argument(argument, metavar=argument.upper(), type=clean_text if argument == "name" else number)
        if name == "merge":
            command.add_argument("--force", action="store_true", help="also when they have different names")
        command.set_defaults(run=run)
    return parser


def clean_text(text):
    """A name from the command line, whose bytes need not be valid text."""
    return clean_name(text.encode("utf-8", "replace").decode("utf-8", "replace"))


def main(argv=None):
    """Runs doorcam with the arguments (default: those of the process); returns the exit status."""
    options = make_parser().parse_args(argv)
    try:
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
        place = traceback.extract_tb(error.__traceback__)[-1]
        say("unexpected fault, please report it: %s (%s) at %s:%d" % (type(error).__name__, why(error), place.name,
                                                                     place.lineno))
        return 1


if __name__ == "__main__":
    sys.exit(main())
