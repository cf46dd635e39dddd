"""A stand-in for nvarguscamerasrc, the CSI camera of a Jetson, for tests on any machine.

GStreamer's Python loader finds it with GST_PLUGIN_PATH set to the folder above. Its picture has four quarters, from
left to right and top to bottom of the brightness 40, 100, 160 and 220; it changes in a corner, for what stands still is
no picture. The file that CSI_CONTROL names says what the camera does: "run", "end" (the stream ends), "fail" (it cannot
be started, or stops with an error), "stall" (it blocks). A file of that name with ".frames" at its end is made with the
first frame.
"""
import os
import time

import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstBase", "1.0")
from gi.repository import GObject, Gst, GstBase  # noqa: E402

Gst.init(None)
CAPS = Gst.Caps.from_string("video/x-raw(memory:NVMM), format=NV12, width=[2,8192], height=[2,8192], "
                            "framerate=[1/1,240/1]")


def ordered():
    """What the control file says."""
    with open(os.environ["CSI_CONTROL"]) as file:
        return file.read().strip()


class StandinCamera(GstBase.BaseSrc):
    __gstmetadata__ = ("stand-in for nvarguscamerasrc", "Source/Video", "a CSI camera that is none", "doorcam")
    __gsttemplates__ = (Gst.PadTemplate.new("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, CAPS),)
    sensor_id = GObject.Property(type=int, default=0, nick="sensor-id")

    def __init__(self):
        super().__init__()
        self.set_live(True)
        self.set_format(Gst.Format.TIME)
        self.count, self.rate, self.picture = 0, 30.0, None

    def do_start(self):
        return ordered() != "fail"

    def do_set_caps(self, caps):
        structure = caps.get_structure(0)
        width, height = structure.get_value("width"), structure.get_value("height")
        _, above, below = structure.get_fraction("framerate")
        self.rate = above / below
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        for top, left, light in ((0, 0, 40), (0, 1, 100), (1, 0, 160), (1, 1, 220)):
            picture[top * height // 2:(top + 1) * height // 2, left * width // 2:(left + 1) * width // 2] = light
        self.picture = picture
        return True

    def do_create(self, offset, size, buffer=None):
        order = ordered()
        while order == "stall":  # for ever, as a pipeline that has lost its camera
            time.sleep(0.05)
        if order != "run":
            return (Gst.FlowReturn.EOS if order == "end" else Gst.FlowReturn.ERROR), None
        time.sleep(1 / self.rate)
        if not self.count:
            open(os.environ["CSI_CONTROL"] + ".frames", "w").close()
        self.picture[:8, :8] = 40 + self.count % 2
        made = Gst.Buffer.new_wrapped(self.picture.tobytes())
        made.pts, made.duration = int(self.count * Gst.SECOND / self.rate), int(Gst.SECOND / self.rate)
        self.count += 1
        return Gst.FlowReturn.OK, made


GObject.type_register(StandinCamera)
__gstelementfactory__ = ("nvarguscamerasrc", Gst.Rank.NONE, StandinCamera)
