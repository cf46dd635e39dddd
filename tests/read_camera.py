"""Reads a live source as doorcam does and prints a line for each frame: its height, its width, and the brightness of
its four quarters. For the tests of cameras with a Python other than theirs: read_camera.py SOURCE FLIP SETTINGS,
the settings of doorcam's that are to be others as JSON"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import doorcam  # noqa: E402


def main():
    for name, value in json.loads(sys.argv[3]).items():
        setattr(doorcam, name, value)
    camera = doorcam.LiveCamera(doorcam.parse_source(sys.argv[1]), sys.argv[2])
    for frame, _ in doorcam.live_frames(camera, lambda seconds: None):
        if frame is not None:
            height, width = frame.shape[0] // 2, frame.shape[1] // 2
            quarters = frame[:height, :width], frame[:height, width:], frame[height:, :width], frame[height:, width:]
            print(frame.shape[0], frame.shape[1], *[int(round(quarter.mean())) for quarter in quarters], flush=True)


if __name__ == "__main__":
    try:
        main()
    except doorcam.DoorcamError as error:
        sys.exit("doorcam: %s" % error)
