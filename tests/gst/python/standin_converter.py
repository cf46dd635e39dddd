"""A stand-in for nvvidconv, which turns, scales and converts pictures on a Jetson, for tests on any machine.

GStreamer's Python loader finds it with GST_PLUGIN_PATH set to the folder above. It knows brightness only.
"""
import gi
import numpy as np

gi.require_version("Gst", "1.0")
gi.require_version("GstBase", "1.0")
from gi.repository import GObject, Gst, GstBase  # noqa: E402

Gst.init(None)
SIZE = "width=[2,8192], height=[2,8192], framerate=[1/1,240/1]"
TAKES = Gst.Caps.from_string("video/x-raw(memory:NVMM), format=NV12, " + SIZE)
GIVES = Gst.Caps.from_string("video/x-raw, format=BGRx, " + SIZE)
TURNS = {0: lambda grey: grey, 1: lambda grey: np.rot90(grey), 2: lambda grey: grey[::-1, ::-1],
         3: lambda grey: np.rot90(grey, -1), 4: lambda grey: grey[:, ::-1], 6: lambda grey: grey[::-1]}


def size_of(caps):
    structure = caps.get_structure(0)
    return structure.get_value("width"), structure.get_value("height")


class StandinConverter(GstBase.BaseTransform):
    __gstmetadata__ = ("stand-in for nvvidconv", "Filter/Converter/Video", "turns and scales", "doorcam")
    __gsttemplates__ = (Gst.PadTemplate.new("sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, TAKES),
                        Gst.PadTemplate.new("src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, GIVES))
    flip_method = GObject.Property(type=int, default=0, nick="flip-method")

    def do_transform_caps(self, direction, caps, wanted):
        other = GIVES if direction == Gst.PadDirection.SINK else TAKES
        return wanted.intersect_full(other, Gst.CapsIntersectMode.FIRST) if wanted else other

    def do_set_caps(self, taken, given):
        self.taken, self.given = size_of(taken), size_of(given)
        return True

    def do_get_unit_size(self, caps):
        width, height = size_of(caps)
        share = 4 if caps.get_structure(0).get_string("format") == "BGRx" else 1.5
        return True, int(width * height * share)

    def do_transform(self, taken, given):
        width, height = self.taken
        grey = np.frombuffer(taken.extract_dup(0, width * height), np.uint8).reshape(height, width)
        grey = TURNS[self.flip_method](grey)
        width, height = self.given
        rows = np.arange(height) * grey.shape[0] // height
        columns = np.arange(width) * grey.shape[1] // width
        grey = grey[rows][:, columns]
        given.fill(0, np.repeat(grey[:, :, None], 4, axis=2).tobytes())
        return Gst.FlowReturn.OK


GObject.type_register(StandinConverter)
__gstelementfactory__ = ("nvvidconv", Gst.Rank.NONE, StandinConverter)
