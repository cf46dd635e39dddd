"""A network camera on this machine: python3 rtsp_server.py PORT serves rtsp://127.0.0.1:PORT/cam, 15 frames a second,
rtsp://127.0.0.1:PORT/fields, the same interlaced, and rtsp://127.0.0.1:PORT/udp, which may not come by TCP."""
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PIPELINE = ("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=480,framerate=15/1 ! "
            "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 config-interval=1 )")

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
for path, pipeline in (("/cam", PIPELINE), ("/udp", PIPELINE),
                       ("/fields", PIPELINE.replace("15/1", "15/1,interlace-mode=interleaved")
                                            .replace("x264enc", "x264enc interlaced=true"))):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline)
    factory.set_shared(True)
    if path == "/udp":
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    server.get_mount_points().add_factory(path, factory)
if not server.attach(None):
    sys.exit("port %s is taken" % sys.argv[1])
print("ready", flush=True)
GLib.MainLoop().run()
