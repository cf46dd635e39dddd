#!/usr/bin/env python3
"""Runs one of three programs on a camera and writes down when each frame was shown, for benchmark.py speed.

  original_loop.py original|only-read|doorcam URL FIGURES [OPTION...]

`original` does what the original doorcam's loop does, written anew: each frame is read, a quarter of it searched for
faces, each face encoded and looked up at once, the result drawn and shown, all in turn. `only-read` reads and shows.
`doorcam` is doorcam.main() with the options. FIGURES is a JSON file: "shown" and "recognitions", seconds of the
monotonic clock.
"""
import datetime
import json
import os
import pickle
import signal
import sys
import time


def original(url, count):
    """The original's loop; count() is called for each frame that was searched for faces."""
    import cv2
    import face_recognition
    capture = cv2.VideoCapture(url)
    encodings, metadata, since_save = [], [], 0
    while True:
        good, frame = capture.read()
        if not good:
            break
        small = cv2.resize(frame, (0, 0), fx=0.25, fy=0.25)
        rgb = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)  # the original's [:, :, ::-1] is refused by today's dlib
        boxes = face_recognition.face_locations(rgb)
        found = face_recognition.face_encodings(rgb, boxes)
        count()
        now, labels = datetime.datetime.now(), []
        for (top, right, bottom, left), encoding in zip(boxes, found):
            record = look_up(encodings, metadata, encoding, now)
            if record is None:
                picture = cv2.resize(small[top:bottom, left:right], (150, 150))
                encodings.append(encoding)
                metadata.append(new_record(picture, now))
                labels.append("New visitor!")
            else:
                labels.append("At door %ds" % (now - record["first_seen_this_interaction"]).total_seconds())
        say_who_came(labels)
        draw(frame, boxes, labels, [one for one in metadata if (now - one["last_seen"]).total_seconds() < 10
                                    and one["seen_frames"] > 5])
        cv2.imshow("Video", frame)
        if cv2.waitKey(1) & 0xFF == ord("q"):
            break
        since_save += 1
        if boxes and since_save > 100:
            with open(os.devnull, "wb") as file:
                pickle.dump([encodings, metadata], file)
            since_save = 0


def draw(frame, boxes, labels, recent):
    """Draws a box and a label for each face, and the pictures of those seen of late."""
    import cv2
    for box, label in zip(boxes, labels):
        top, right, bottom, left = (4 * side for side in box)
        cv2.rectangle(frame, (left, top), (right, bottom), (0, 0, 255), 2)
        cv2.rectangle(frame, (left, bottom - 35), (right, bottom), (0, 0, 255), cv2.FILLED)
        cv2.putText(frame, label, (left + 6, bottom - 6), cv2.FONT_HERSHEY_DUPLEX, 0.8, (255, 255, 255), 1)
    for index, record in enumerate(recent[:frame.shape[1] // 150]):
        frame[30:180, 150 * index:150 * index + 150] = record["face_image"]
        cv2.putText(frame, "%d visits" % record["seen_count"], (150 * index + 10, 170), cv2.FONT_HERSHEY_DUPLEX, 0.6,
                    (255, 255, 255), 1)


def look_up(encodings, metadata, encoding, now):
    """The record of the nearest known face, None if none is nearer than 0.65."""
    import face_recognition
    if not encodings:
        return None
    distances = face_recognition.face_distance(encodings, encoding)
    nearest = int(distances.argmin())
    if distances[nearest] >= 0.65:
        return None
    record = metadata[nearest]
    record["last_seen"] = now
    record["seen_frames"] += 1
    if (now - record["first_seen_this_interaction"]).total_seconds() > 300:
        record["first_seen_this_interaction"] = now
        record["seen_count"] += 1
    return record


def new_record(picture, now):
    return {"first_seen": now, "first_seen_this_interaction": now, "last_seen": now, "seen_count": 1, "seen_frames": 1,
            "face_image": picture}


def say_who_came(labels, last=[0.0]):
    """A line for the benchmark when a label appears after three seconds without one."""
    now = time.monotonic()
    if labels and now - last[0] > 3:
        print("labelled: " + labels[0], flush=True)
    if labels:
        last[0] = now


def only_read(url, _):
    """Reads and shows."""
    import cv2
    capture = cv2.VideoCapture(url)
    while True:
        good, frame = capture.read()
        if not good:
            break
        cv2.imshow("Video", frame)
        cv2.waitKey(1)


def doorcam(url, _):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import doorcam
    doorcam.main(["--source", url] + sys.argv[4:])


def note_frames(shown):
    """Has cv2.imshow note when it is called."""
    if sys.argv[1] == "doorcam":
        sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        import doorcam  # noqa: F401  (its settings must stand before cv2 is loaded)
    import cv2
    show = cv2.imshow

    def noted(title, frame):
        show(title, frame)
        shown.append(time.monotonic())
    cv2.imshow = noted


def main():
    program, url, figures = sys.argv[1:4]
    shown, recognitions = [], []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    note_frames(shown)
    try:
        {"original": original, "only-read": only_read, "doorcam": doorcam}[program](
            url, lambda: recognitions.append(time.monotonic()))
    finally:
        with open(figures, "w") as file:
            json.dump({"shown": shown, "recognitions": recognitions}, file)


if __name__ == "__main__":
    main()
