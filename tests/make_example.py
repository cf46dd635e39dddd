"""Makes known_faces.dat.example: two visitors with public-domain portraits, found and encoded by both of doorcam's
engines, so that --engine auto has the choice with a copy of it.

Needs scikit-image (Eileen Collins, NASA) and matplotlib (Grace Hopper, US Navy): pip install scikit-image matplotlib
Usage: python3 tests/make_example.py
"""
import datetime
import os
import sys

import cv2
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import doorcam  # noqa: E402

VISITS = ((datetime.datetime(2026, 1, 5, 9, 30), 3), (datetime.datetime(2026, 1, 6, 17, 5), 1))


def portraits():
    """The two pictures as BGR arrays, from the packages that hold them."""
    import matplotlib
    import skimage
    paths = (os.path.join(os.path.dirname(skimage.__file__), "data", "astronaut.png"),
             os.path.join(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"))
    return [cv2.imread(path) for path in paths]


def make_visitor(engines, number, picture, first_seen, visits):
    """A Visitor with the largest face of a picture, cut out as the first of the engines finds it and encoded by each;
    --engine auto takes the last one where all are there."""
    visitor = None
    for engine, metric in engines:
        faces = engine.faces(doorcam.Look(picture, 1.0, True, []))
        face = max(faces, key=lambda face: doorcam.box_width(face.box))
        if visitor is None:
            visitor = doorcam.Visitor(number, [face.encoding], first_seen.timestamp(),
                                      doorcam.to_jpeg(doorcam.picture_from(picture, face.box)), metric.engine)
            visitor.seen_count, visitor.seen_frames = visits, 10 * visits
            visitor.quality = doorcam.picture_quality(face)
        visitor.use(metric.engine, [np.asarray(face.encoding, np.float32)])
    return visitor


def main():
    engines = ((doorcam.DlibEngine(), doorcam.DLIB), (doorcam.OpenCVEngine(*doorcam.find_models()), doorcam.OPENCV))
    visitors = [make_visitor(engines, number, picture, *VISITS[number - 1])
                for number, picture in enumerate(portraits(), 1)]
    book = doorcam.Book(doorcam.OPENCV, visitors)
    path = os.path.join(os.path.dirname(HERE), doorcam.EXAMPLE)
    doorcam.save_known_faces(path, book.snapshot())
    os.chmod(path, 0o644)
    print("%s: %d visitors, %d bytes" % (path, len(visitors), os.path.getsize(path)))


if __name__ == "__main__":
    main()
