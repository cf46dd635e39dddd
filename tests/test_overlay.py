"""What is drawn: boxes with labels, the strip of those at the door, at any frame size and number of people."""
import cv2
import numpy as np
import pytest

import doorcam
from doorcam import Mark
from helpers import START, box_at, person

GREY = 90                     # of the empty frames here
SIZES = [(320, 240), (640, 480), (1280, 720)]
ODD_SIZES = [(1, 1), (10, 2000), (2000, 10), (64, 48), (33, 77), (720, 1280), (3840, 2160)]


def frame_of(size):
    return np.full((size[1], size[0], 3), GREY, np.uint8)


def color_of(number):
    """A color of its own for each of a hundred visitors, bright, and none of the frame's."""
    return 120 + 13 * (number % 10), 130 + 12 * (number // 10), 255


def picture_for(number):
    return np.full((doorcam.PICTURE_SIZE, doorcam.PICTURE_SIZE, 3), color_of(number), np.uint8)


def visitors_of(count):
    visitors = [doorcam.Visitor(number, [person(0)], START, "dlib", doorcam.to_jpeg(picture_for(number)))
                for number in range(1, count + 1)]
    return visitors


def shown_cards(frame, count):
    """The numbers of the cards of picture_for(1..count) that can be seen in a frame, by their colors."""
    top = frame[:frame.shape[0] // 2 + 1].reshape(-1, 3).astype(int)
    return [number for number in range(1, count + 1)
            if (np.abs(top - color_of(number)).max(axis=1) <= 3).sum() > 100]


@pytest.fixture
def texts(monkeypatch):
    """[(text, left, bottom, frame)] of what is written, written all the same."""
    written, put = [], doorcam.put_text

    def note(frame, text, left, bottom, *more, **options):
        written.append((text, left, bottom, frame))
        put(frame, text, left, bottom, *more, **options)
    monkeypatch.setattr(doorcam, "put_text", note)
    return written


def more_of(texts):
    """The N of each "+N more"."""
    return [int(text[1:].split()[0]) for text, _, _, _ in texts if text.startswith("+") and text.endswith(" more")]


# ---------------------------------------------------------------------------------------------------- the strip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 5, 9, 40])
def test_everybody_is_in_the_strip_or_counted(size, count, texts):
    before = frame_of(size)
    after = doorcam.Overlay().draw(before, [], visitors_of(count))[0]
    cards = shown_cards(after, count)
    assert cards == list(range(1, len(cards) + 1))
    hidden = count - len(cards)
    assert more_of(texts) == ([hidden] if hidden else [])
    assert len(cards) >= min(count, 2 * (size[0] // doorcam.PICTURE_SIZE) - 1)
    assert [text for text, _, _, _ in texts].count("First visit") == len(cards)
    assert np.all(before == GREY), "the frame itself was drawn on"
    assert np.all(after[size[1] // 2 + 1:] == GREY), "the strip covers more than half of the picture"
    assert after.shape == before.shape and after.dtype == np.uint8


@pytest.mark.parametrize("size, count, hidden", [((1280, 720), 16, 0), ((1280, 720), 17, 2), ((1280, 720), 40, 25)])
def test_more_than_two_rows_are_counted(size, count, hidden, texts):
    """Eight cards of 150 pixels fit in a row of 1280."""
    after = doorcam.Overlay().draw(frame_of(size), [], visitors_of(count))[0]
    assert len(shown_cards(after, count)) == count - hidden
    assert more_of(texts) == ([hidden] if hidden else [])


@pytest.mark.parametrize("size", SIZES + ODD_SIZES)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 15, 16, 17, 40, 1000])
def test_places_lie_in_the_frame_and_apart(size, count):
    frame = frame_of(size)
    places, side, hidden = doorcam.strip_places(frame, count)
    assert len(places) + hidden == count
    cells = set()
    for left, top in places:
        assert 0 <= left and left + side <= size[0] and 0 <= top and top + side <= size[1]
        assert left % side == 0 and (top - doorcam.head_height(frame)) % side == 0
        cells.add((left, top))
    assert len(cells) == len(places)


def test_the_count_of_the_hidden_stands_where_the_next_card_would(texts):
    frame = frame_of((1280, 720))
    doorcam.Overlay().draw(frame, [], visitors_of(40))
    places, side, _ = doorcam.strip_places(frame, 40)
    left, bottom = [(left, bottom) for text, left, bottom, _ in texts if text.startswith("+")][0]
    assert places[-1][0] + side <= left < frame.shape[1] and places[-1][1] <= bottom <= places[-1][1] + side


def test_nobody_at_the_door_draws_nothing():
    frame = frame_of((640, 480))
    assert np.array_equal(doorcam.Overlay().draw(frame, [], [])[0], frame)


def test_the_texts_of_the_strip(texts):
    visitors = visitors_of(3)
    visitors[1].seen_count, visitors[2].seen_count, visitors[2].name = 2, 12, "Maria"
    doorcam.Overlay().draw(frame_of((1280, 720)), [], visitors)
    assert [text for text, _, _, _ in texts] == ["Visitors at door", "First visit", "2 visits", "Maria, 12 visits"]


@pytest.mark.parametrize("size", SIZES + [(480, 270), (480, 360), (432, 243), (800, 450)])
@pytest.mark.parametrize("count", [1, 3, 5, 40])
def test_the_text_of_a_card_is_not_cut_off(size, count, monkeypatch):
    """On a small screen the cards are as large as there is room, and their text smaller."""
    bitmap, cut = doorcam.text_bitmap, []

    def note(text, pixels, width=None):
        cut.append(text) if width and doorcam.text_length(text, pixels) > width else None
        return bitmap(text, pixels, width)
    monkeypatch.setattr(doorcam, "text_bitmap", note)
    visitors = visitors_of(count)
    for visitor in visitors[1::2]:
        visitor.seen_count = 12
    doorcam.Overlay().draw(frame_of(size), [], visitors)
    assert cut == []


def test_few_cards_on_a_small_screen_are_as_large_as_half_of_it():
    for count, expected in ((1, 108), (4, 108), (5, 57), (16, 57)):
        places, side, hidden = doorcam.strip_places(frame_of((480, 270)), count)
        assert (side, hidden, len(places)) == (expected, 0, count)


def test_drawing_again_gives_the_same_picture():
    """The kept pictures are not drawn on."""
    overlay, visitors = doorcam.Overlay(), visitors_of(5)
    for size in ((1280, 720), (640, 480)):
        marks = [Mark(box_at(300), "At door 12s", doorcam.RED, None)]
        first = overlay.draw(frame_of(size), marks, visitors)[0]
        for _ in range(3):
            assert np.array_equal(overlay.draw(frame_of(size), marks, visitors)[0], first)


def test_a_better_picture_is_shown_at_once():
    overlay, visitors = doorcam.Overlay(), visitors_of(1)
    overlay.draw(frame_of((640, 480)), [], visitors)
    visitors[0].jpeg = doorcam.to_jpeg(picture_for(55))
    after = overlay.draw(frame_of((640, 480)), [], visitors)[0]
    assert shown_cards(after, 60) == [55]


def test_pictures_are_kept_only_of_those_at_the_door():
    overlay = doorcam.Overlay()
    overlay.draw(frame_of((640, 480)), [], visitors_of(20))
    overlay.draw(frame_of((640, 480)), [], visitors_of(2))
    assert sorted(overlay._pictures) == [1, 2]


@pytest.mark.parametrize("jpeg", [None, b"", b"no picture", b"\xff\xd8\xff\xe0" + bytes(100)])
def test_a_visitor_without_a_picture_has_a_grey_one(jpeg):
    visitor = doorcam.Visitor(1, [person(0)], START, "dlib", jpeg)
    picture = doorcam.picture_of(visitor)
    assert picture.shape == (doorcam.PICTURE_SIZE, doorcam.PICTURE_SIZE, 3) and np.all(picture == 128)
    doorcam.Overlay().draw(frame_of((640, 480)), [], [visitor])


# ------------------------------------------------------------------------------------------------ boxes and labels


@pytest.mark.parametrize("color", [doorcam.RED, doorcam.GREEN, doorcam.GREY])
def test_a_face_has_a_box_and_a_bar_with_its_label(color, texts):
    marks = [Mark(box_at(600, 300, 200), "At door 12s", color, None)]
    after, _ = doorcam.Overlay().draw(frame_of((1280, 720)), marks, [])
    assert tuple(after[300, 500]) == color and tuple(after[200, 600]) == color and tuple(after[300, 700]) == color
    assert np.all(after[210:390, 510:690] == GREY)          # the face itself is not covered
    text, left, bottom, _ = texts[0]
    assert text == "At door 12s" and 500 <= left < 520 and 400 < bottom < 440
    bar = after[401:430, 500:690]
    assert np.any(np.all(bar == color, axis=2)) and np.any(np.all(bar > 200, axis=2))


@pytest.mark.parametrize("box", [(-100, 50, 50, -100), (650, 1400, 900, 1200), (0, 1280, 720, 0), (300, 310, 310, 300),
                                 (-5000, 9000, 9000, -5000), (400, 300, 200, 500), (2000, 3100, 2100, 3000)])
@pytest.mark.parametrize("size", SIZES + ODD_SIZES)
def test_boxes_anywhere_are_drawn_without_a_fault(box, size):
    before = frame_of(size)
    marks = [Mark(box, "New visitor!", doorcam.GREEN, None), Mark(box, "", doorcam.RED, None)]
    after, _ = doorcam.Overlay().draw(before, marks, [])
    assert after.shape == before.shape and np.all(before == GREY)


@pytest.mark.parametrize("x, y", [(20, 300), (1260, 300), (600, 700), (5, 715)])
def test_the_label_of_a_face_at_the_edge_stays_in_the_picture(x, y):
    frame = frame_of((1280, 720))
    doorcam.draw_faces(frame, [Mark(box_at(x, y, 100), "At door 12s", doorcam.RED, None)])
    white = np.argwhere(np.all(frame > 200, axis=2))
    assert len(white) > 100
    assert white.min(axis=0)[1] > 2 and white.max(axis=0)[1] < 1277 and white.max(axis=0)[0] < 717


@pytest.mark.parametrize("text", ["", "x" * 10000, "Zoë 中文 \U0001f600", "a\nb\tc\x1b[31m", "%s {0}", "<b>&amp;"])
@pytest.mark.parametrize("size", [(1, 1), (320, 240), (1280, 720)])
def test_any_name_is_drawn_without_a_fault(text, size):
    visitor = visitors_of(1)[0]
    visitor.name = doorcam.clean_name(text)
    label = doorcam.label_of(visitor, START)[0]
    marks = [Mark(box_at(100, 60, 40), label, doorcam.RED, None)]
    doorcam.Overlay().draw(frame_of(size), marks, [visitor], [visitor.name])


def test_a_text_is_not_wider_than_its_place():
    frame = frame_of((1280, 720))
    doorcam.put_text(frame, "At door for a very long time, and longer still", 100, 300, 0.8, width=150)
    columns = np.argwhere(np.any(frame != GREY, axis=(0, 2)))
    assert 95 <= columns.min() and columns.max() <= 255 and len(columns) > 50


def test_a_notice_stands_at_the_lower_edge():
    after = doorcam.Overlay().draw(frame_of((1280, 720)), [], [], ["No picture since 5s"])[0]
    assert np.all(after[:640] == GREY) and np.any(after[684:] > 200)


@pytest.mark.parametrize("size", SIZES + ODD_SIZES)
@pytest.mark.parametrize("count", [1, 5, 40])
def test_all_of_it_at_any_size(size, count):
    before = frame_of(size)
    marks = [Mark(box_at(40 * index, 30 * index, 50), "At door 3m 05s", doorcam.RED, None) for index in range(count)]
    after = doorcam.Overlay().draw(before, marks, visitors_of(count), ["No picture since 12s"])[0]
    assert after.shape == before.shape and np.all(before == GREY)


# ----------------------------------------------------------------------------------------------- frames of any kind


@pytest.mark.parametrize("kind, shape, value, expected", [
    (np.uint8, (48, 64), 100, (100, 100, 100)), (np.uint8, (48, 64, 1), 100, (100, 100, 100)),
    (np.uint8, (48, 64, 4), (10, 20, 30, 255), (10, 20, 30)), (np.uint8, (48, 64, 3), (10, 20, 30), (10, 20, 30)),
    (np.uint16, (48, 64), 25700, (100, 100, 100)), (np.uint16, (48, 64, 3), (2570, 5140, 7710), (10, 20, 30)),
    (np.uint16, (48, 64, 4), (2570, 5140, 7710, 65535), (10, 20, 30)), (np.uint16, (1, 1), 65535, (255, 255, 255))])
def test_frames_of_any_kind_become_bgr(kind, shape, value, expected):
    frame = doorcam.to_bgr(np.full(shape, value, kind))
    assert frame.shape == shape[:2] + (3,) and frame.dtype == np.uint8
    assert np.all(np.abs(frame.astype(int) - expected) <= 1)
    marks = [Mark(box_at(30, 20, 20), "At door 1s", doorcam.RED, None)]
    after, _ = doorcam.Overlay().draw(frame, marks, visitors_of(2))
    assert after.shape == frame.shape


@pytest.mark.parametrize("width, scale", [(320, 1.0), (160, 1.0), (640, 0.5), (1280, 0.25), (1920, 1 / 6.0)])
def test_the_small_picture_is_about_320_wide(width, scale):
    frame = frame_of((width, 90))
    assert doorcam.default_scale(frame) == pytest.approx(scale)
    assert doorcam.shrink(frame, doorcam.default_scale(frame)).shape[1] == min(320, width)


@pytest.mark.parametrize("size", ODD_SIZES)
@pytest.mark.parametrize("scale", [0.01, 0.25, 1.0, 2.5])
def test_small_pictures_of_odd_frames(size, scale):
    small = doorcam.shrink(frame_of(size), scale)
    assert small.shape[1] == max(1, int(round(size[0] * scale))) and small.shape[0] >= 1


@pytest.mark.parametrize("box", [(100, 200, 200, 100), (-50, 60, 60, -50), (0, 640, 480, 0), (400, 900, 700, 600)])
def test_the_picture_of_a_face_is_square_and_of_its_size(box):
    frame = frame_of((640, 480))
    frame[:] = np.arange(640, dtype=np.uint8)[None, :, None] // 3
    picture = doorcam.picture_from(frame, box)
    assert picture.shape == (doorcam.PICTURE_SIZE, doorcam.PICTURE_SIZE, 3)


def test_there_is_no_picture_of_a_face_outside():
    assert doorcam.picture_from(frame_of((640, 480)), (900, 900, 1000, 800)) is None
    assert doorcam.to_jpeg(None) is None


def test_pictures_go_through_jpeg_and_back():
    picture = cv2.GaussianBlur(np.random.RandomState(3).randint(0, 256, (150, 150, 3)).astype(np.uint8), (0, 0), 4)
    visitor = doorcam.Visitor(1, [person(0)], START, "dlib", doorcam.to_jpeg(picture))
    assert np.abs(doorcam.picture_of(visitor).astype(int) - picture).mean() < 4
