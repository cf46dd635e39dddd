"""Names in any script: how they are drawn, how the table counts their width, and how they are typed in the window."""
import time

import numpy as np
import pytest

import doorcam
from helpers import START, Story, book_of, face, person
from processes import fonts, tool
from test_window import desktop, ended_well, visitors_in

SCRIPTS = {"Latin": "Zoë", "Cyrillic": "Мария", "Greek": "Ελένη", "Hebrew": "יעל", "Arabic": "مريم", "Chinese": "李明"}


@pytest.fixture(scope="module")
def some_fonts():
    fonts()


def ink(text, pixels=24, width=None):
    return doorcam.text_bitmap(text, pixels, width)


@pytest.mark.parametrize("script", sorted(SCRIPTS))
@pytest.mark.usefixtures("some_fonts")
def test_each_letter_is_drawn_as_itself(script):
    pictures = [ink(letter) for letter in sorted(set(SCRIPTS[script]))] + [ink("\U000e0fff"), ink("?")]
    for index, picture in enumerate(pictures[:-2]):
        assert picture.max() > 150, "nothing is drawn"
        for other in pictures[index + 1:]:
            assert picture.shape != other.shape or (picture != other).any(), "a letter that the font lacks"


@pytest.mark.usefixtures("some_fonts")
def test_arabic_letters_are_joined_and_run_from_right_to_left():
    joined, apart = ink("بيت"), ink("ب\u200cي\u200cت")
    assert joined.shape[1] < apart.shape[1]
    first, last = ink("اب"), ink("با")  # the upright alif is on the right of the first, on the left of the other
    heaviest = [int(np.argmax(picture.sum(axis=0)[:])) / picture.shape[1] for picture in (first, last)]
    assert heaviest[0] > 0.5 > heaviest[1]


def test_a_label_keeps_its_order_whatever_the_name():
    name, label = ink("مريم"), ink("مريم, at door 12s")
    assert np.array_equal(label[:, :name.shape[1] - 2], name[:, :-2])


@pytest.mark.usefixtures("some_fonts")
def test_two_names_of_different_scripts_are_both_drawn():
    together = doorcam.text_pieces("Мария 李明 & אבא יעל", 24)
    assert [piece for piece, _ in together] == ["Мария", " ", "李明", " & ", "אבא יעל"]
    assert together[0][1] is not None


@pytest.mark.parametrize("text", ("x" * 100, "Мария" * 20, "李" * 100, "م" * 100, "W", "\u0301\u0302", "😀😀"))
@pytest.mark.parametrize("width", (1, 20, 77, 300))
def test_a_text_is_never_wider_than_its_room(text, width):
    frame = np.zeros((60, 400, 3), np.uint8)
    doorcam.put_text(frame, text, 5, 40, 0.8, width=width)
    room = max(width, ink(text[0] + "\u2026", 22).shape[1])
    assert not frame[:, 5 + room:].any() and not frame[:, :5].any()


def test_drawn_texts_are_kept_but_not_for_ever():
    doorcam.text_bitmap.cache_clear()
    for number in range(3 * doorcam.TEXTS_KEPT):
        ink("Мария, at door %ds" % number)
        ink("Мария, 3 visits")
    figures = doorcam.text_bitmap.cache_info()
    assert figures.currsize <= figures.maxsize == doorcam.TEXTS_KEPT
    assert figures.hits >= 3 * doorcam.TEXTS_KEPT - 1
    for cache in (doorcam.font_files, doorcam.load_font):
        assert cache.cache_info().maxsize < 1000


@pytest.mark.parametrize("place", ((-50, -5), (390, 30), (5, 0), (5, 75), (-500, 30), (1000, 1000)))
def test_text_over_the_edge_of_the_frame_is_cut_off(place):
    frame = np.zeros((60, 400, 3), np.uint8)
    doorcam.put_text(frame, "Мария", place[0], place[1], 0.8)
    whole = np.zeros((400, 2000, 3), np.uint8)
    doorcam.put_text(whole, "Мария", place[0] + 600, place[1] + 200, 0.8)
    assert np.array_equal(frame, whole[200:260, 600:1000])


@pytest.mark.usefixtures("some_fonts")
def test_the_color_is_the_one_asked_for():
    frame = np.full((60, 200, 3), 255, np.uint8)
    doorcam.put_text(frame, "███", 5, 40, 0.8, doorcam.RED)
    assert (frame.reshape(-1, 3) == doorcam.RED).all(axis=1).sum() > 300


@pytest.fixture
def no_fonts(monkeypatch):
    """A system without fontconfig and fonts."""
    def clear():
        for cache in (doorcam.font_files, doorcam.load_font, doorcam.text_bitmap):
            cache.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(doorcam, "FONT_PLACES", ["/nowhere/font.ttf"])
    clear()
    yield
    clear()


def test_without_any_font_ascii_is_drawn_and_it_is_said_once(no_fonts, capsys):
    overlay = doorcam.Overlay()
    frame = np.zeros((720, 1280, 3), np.uint8)
    for text in ("Мария", "李明", "Anna"):
        overlay.draw(frame, [doorcam.Mark((300, 500, 400, 400), text, doorcam.RED, None)], [], [text])
    assert capsys.readouterr().err.count("no font was found") == 1
    assert np.array_equal(ink("李明"), ink("??")) and (ink("Anna") != ink("Anno")).any()
    assert ink("x" * 100, 24, 100).shape[1] <= 100


@pytest.mark.usefixtures("some_fonts")
def test_without_fontconfig_a_font_is_found_where_they_usually_are(monkeypatch):
    for cache in (doorcam.font_files, doorcam.load_font, doorcam.text_bitmap):
        cache.cache_clear()
    with_it = ink("Мария")
    monkeypatch.setenv("PATH", "/nowhere")
    for cache in (doorcam.font_files, doorcam.load_font, doorcam.text_bitmap):
        cache.cache_clear()
    assert doorcam.load_font("", 24) is not None
    assert ink("Мария").max() > 150 and with_it.max() > 150
    for cache in (doorcam.font_files, doorcam.load_font, doorcam.text_bitmap):
        cache.cache_clear()


@pytest.mark.usefixtures("some_fonts")
def test_the_names_stand_in_labels_and_cards():
    visitor = doorcam.Visitor(1, [person(1)], START, "dlib")
    visitor.name, visitor.seen_count = "Мария", 3
    assert doorcam.label_of(visitor, START + 12)[0] == "Мария, at door 12s"
    assert doorcam.card_text(visitor) == "Мария, 3 visits"
    frame = np.zeros((720, 1280, 3), np.uint8)
    with_name, _ = doorcam.Overlay().draw(frame, [], [visitor])
    visitor.name = "Марта"
    assert (with_name != doorcam.Overlay().draw(frame, [], [visitor])[0]).any()


@pytest.mark.parametrize("text, width", (("abc", 3), ("李明", 4), ("ａ", 2), ("e\u0301", 1), ("می\u200cخ", 3), ("", 0)))
def test_widths_in_a_terminal(text, width):
    assert doorcam.cells_wide(text) == width


# ------------------------------------------------------------------------------------------------ typed in the window


@pytest.mark.parametrize("key, letter", ((ord("a"), "a"), (ord(" "), " "), (0xE9, "é"), (0x6CD, "м"), (0x6EA, "Й"),
                                         (0x6A6, "і"), (0x7E1, "α"), (0xCE0, "א"), (0x5C7, "ا"), (0x1B1, "ą"),
                                         (0x1000000 + ord("李"), "李"), (0x1000000 + 0x1F600, "😀"),
                                         (0xFFE1, ""), (0xFF51, ""), (0xFE03, ""), (9, ""), (127, ""), (0, "")))
def test_the_letters_of_keys(key, letter):
    assert doorcam.key_letter(key) == letter


def typed(entry, *keys):
    return [entry.press(ord(key) if isinstance(key, str) else key, 0.0) for key in keys][-1]


def test_a_name_is_typed_changed_kept_or_not():
    visitor, entry = doorcam.Visitor(7, [person(1)], START, "dlib"), doorcam.NameEntry()
    assert entry.line(0.0) is None
    entry.begin(visitor, 0.0)
    assert typed(entry, "q", "f", "x", 8, 0xFF08, 0xFFE1, "i") is None
    assert entry.line(0.0) == "Name of visitor 7: Qi_  (Enter: keep, Esc: don't)"
    assert typed(entry, 13) == named("Qi") and visitor.name == "" and entry.line(0.0) is None
    visitor.name = "Qi"
    entry.begin(visitor, 0.0)
    assert typed(entry, "!", 27) is None and entry.line(0.0) is None
    entry.begin(visitor, 0.0)
    assert typed(entry, 8, 8, 8, 8, 10) == named("")
    entry.begin(visitor, 0.0)
    assert typed(entry, *("x" * 500 + "\r")) == named("Qi" + "x" * (doorcam.MAX_NAME - 2))


def named(name):
    return doorcam.Request("name", {"number": 7, "name": name})


def test_a_name_that_nobody_types_any_more_is_given_up():
    visitor, entry = doorcam.Visitor(7, [person(1)], START, "dlib"), doorcam.NameEntry()
    entry.begin(visitor, 100.0)
    entry.press(ord("a"), 130.0)
    assert entry.goes_on(130.0 + doorcam.NAME_SECONDS - 1) and entry.line(130.0)
    assert not entry.goes_on(130.0 + doorcam.NAME_SECONDS) and entry.line(130.0) is None


def test_words_get_capitals_and_accents_their_case():
    visitor, entry = doorcam.Visitor(7, [person(1)], START, "dlib"), doorcam.NameEntry()
    entry.begin(visitor, 0.0)
    request = typed(entry, *"jos", -0x37, *" o'brien-", -0x24, "b", -0x24, 0x6CD, "D", 10)  # Qt: -0x37 is É, -0x24 Ü
    assert request == named("José O'Brien-ÜbüмD")


def key_n(controls, story):
    """The number of whom the key n means in what the story shows."""
    controls.naming.visitor = None
    visitors = story.visits.at_door(story.now)
    controls.drawn([], story.door.marks(story.now), visitors)
    assert controls.requests([ord("n")], story.book, 0.0) == []
    return controls.naming.visitor


def test_the_key_means_the_largest_face_or_who_was_seen_last():
    story, controls = Story(), doorcam.Controls()
    assert key_n(controls, story) is None
    story.show(face(person(1), x=200, width=100), face(person(2), x=600, width=150))
    largest = key_n(controls, story)
    assert largest == story.book.lookup_known_face(person(2))[0][1].number
    story.book[largest].ignored = True
    assert key_n(controls, story) == story.book.lookup_known_face(person(1))[0][1].number
    story.book[largest].ignored = False
    story.show(face(person(1), x=200, width=100), seconds=1)
    story.nobody(5)
    assert key_n(controls, story) == story.book.lookup_known_face(person(1))[0][1].number
    story.nobody(30)
    assert key_n(controls, story) is None


def test_a_name_goes_to_whom_the_visitor_has_been_joined_with():
    book, controls = book_of(person(1), person(2)), doorcam.Controls()
    controls.naming.begin(book[2], 0.0)
    book.merge(2, 1)
    request, = controls.requests([ord("i"), ord("d"), ord("a"), 13], book, 1.0)
    assert doorcam.obey(book, request) == "visitor 1 is now Ida" and book[1].name == "Ida"
    controls.naming.begin(book[1], 2.0)
    book.forget(1)
    request, = controls.requests([13], book, 3.0)
    with pytest.raises(doorcam.DoorcamError, match="no visitor 1"):
        doorcam.obey(book, request)


@pytest.mark.parametrize("key, command", [(ord("q"), "quit"), (ord("Q"), "quit"), (27, "quit"), (0xFF1B, "quit"),
                                          (0x100071, "quit"), (ord("f"), "fullscreen"), (doorcam.CLOSED, "quit"),
                                          (0xFF51, None), (0xFF1C, None), (0x1008FF1B, None), (ord("x"), None)])
def test_what_a_key_asks_for(key, command):
    """0xFF51 is the Left arrow, 0x1008FF1B a key for searching: the last byte of neither counts."""
    asked = doorcam.Controls().requests([key], book_of(person(1)), 0.0)
    assert [request.command for request in asked] == ([command] if command else [])


def test_the_key_h_shows_the_keys_and_hides_them_again():
    book, controls = book_of(person(1)), doorcam.Controls()
    for now, shown in ((1.0, True), (1.5, False), (2.0, True), (2.0 + doorcam.PANEL_SECONDS, True)):
        assert controls.requests([ord("h")], book, now) == []
        assert controls.panel.is_open(now) == shown and controls.panel.visitor is None
    controls.panel.open(20.0, 1)
    controls.requests([ord("H")], book, 21.0)  # over a visitor it shows the keys
    assert controls.panel.is_open(21.0) and controls.panel.visitor is None


def test_a_name_typed_in_the_window_is_kept(tmp_path):
    tool("setxkbmap")
    with desktop(tmp_path) as screen:
        screen.wait_for_window()
        screen.door.wait_for("visitor 1 is new")
        screen.press("n")
        screen.wait_for_text("Name of visitor 1: _", 0.75)
        for layout, keys in (
                ("us", (("q", "Q"),)),
                ("ru", (("Cyrillic_EM", "QМ"), ("Cyrillic_a", "QМа"), ("Cyrillic_er", "QМар"), ("Cyrillic_ef", "QМарф"),
                        ("Cyrillic_ya", "QМарфя"))),
                ("us", (("BackSpace", "QМарф"), ("BackSpace", "QМар"), ("i", "QМарi"), ("a", "QМарia")))):
            screen.call("setxkbmap", layout)
            for key, typed in keys:
                screen.press(key)  # each on its own: OpenCV loses keys that come faster than frames
                screen.wait_for_text("Name of visitor 1: %s_" % typed, 0.75)
        screen.press("Home")  # is no letter: nothing shows that it has come
        time.sleep(0.4)
        screen.press("Return")
        screen.door.wait_for("visitor 1 is now QМарia")
        screen.press("q")
        ended_well(screen)
    assert visitors_in(tmp_path)[0].name == "QМарia"
