"""The window on a display of the tests' own: what it shows, keys, clicks, full screen, and the display's end."""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

import doorcam
from processes import EXAMPLE, Doorcam, environment, one_line, process, tool, wait_for, xvfb


class Desktop:
    """doorcam's demo in a window of a virtual display, with a hand on mouse and keyboard and an eye on the screen."""

    def __init__(self, folder, server, display, door):
        self.folder, self.server, self.display, self.door = folder, server, display, door

    def call(self, *command):
        return subprocess.run((tool(command[0]),) + command[1:], env=environment(DISPLAY=self.display), timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True).stdout

    def place(self):
        """(left, top, width, height) of the window, None as long as there is none."""
        for line in self.call("xwininfo", "-root", "-tree").splitlines():
            if '"doorcam":' in line:
                size, corner = line.split()[-2:]
                width, height = size.split("+")[0].split("x")
                left, top = corner.strip("+").split("+")
                return int(left), int(top), int(width), int(height)
        return None

    def wait_for_window(self, size=None):
        return wait_for(lambda: self.place() and (size is None or self.place()[2:] == size) and self.place(), 30,
                        "a window of size %s, not %s" % (size, self.place()))

    def picture(self):
        """What is on the screen, BGR."""
        path = os.path.join(self.folder, "screen.png")
        self.call("import", "-window", "root", path)
        return cv2.imread(path)

    def wait_for_text(self, text, size, unit=1.0, seconds=60):
        """Waits until a text is on the screen, and returns the corner at which it stands."""
        return wait_for(lambda: find_text(self.picture(), text, size * unit), seconds, lambda: (
            "no text %r, window at %s, %r" % (text, self.place(), self.door.out() + self.door.err())))

    def wait_for_label(self):
        """Waits until somebody stands still with a label that tells the time at the door: its corner."""
        def found():
            picture = self.picture()
            corners = [find_text(picture, "At door %ds" % second, 0.8) for second in range(5, 12)]
            return next((corner for corner in corners if corner), None)
        return wait_for(found, 60, "no time at the door")

    def wait_until_text_has_gone(self, text, size, unit=1.0, seconds=10):
        wait_for(lambda: not find_text(self.picture(), text, size * unit), seconds, "text %r stays" % text)

    def wait_until_mapped_again(self):
        """After a change of its size doorcam takes its window off the screen for a moment, where there is no window
        manager. That takes the focus away which press() gave it, and a key pressed just then is lost."""
        window = self.call("xdotool", "search", "--name", "^doorcam$").strip()
        wait_for(lambda: self.call("xdotool", "getwindowfocus").strip() != window, 30, "it keeps the focus")

    def press(self, *keys):
        self.call("xdotool", "search", "--name", "^doorcam$", "windowfocus", "--sync", "key", "--delay", "50", *keys)

    def click(self, x, y):
        self.call("xdotool", "mousemove", str(x), str(y), "click", "1")


def find_text(picture, text, size):
    """(left, top) of a white text drawn in this size, None if it is not there."""
    ink = doorcam.text_bitmap(text, doorcam.text_size(size))
    rows, columns = (np.nonzero(ink.any(axis=axis))[0] for axis in (1, 0))
    ink = ink[rows[0]:rows[-1] + 1, :columns[-1] + 1]
    grey = picture.min(axis=2)  # white stays white, the colours of labels become dark
    if ink.shape[0] > grey.shape[0] or ink.shape[1] > grey.shape[1]:
        return None
    _, best, _, corner = cv2.minMaxLoc(cv2.matchTemplate(grey, ink, cv2.TM_CCOEFF_NORMED))
    return corner if best > 0.85 else None


@contextlib.contextmanager
def desktop(folder, *options, **more):
    """A Desktop whose demo keeps its book in mine.dat. More: size, of the screen; manager, whether there is one of
    windows; resources, the desktop's for its programs; variables of doorcam's environment; second, the size of a second
    screen, on which doorcam runs."""
    tool("Xvfb", "xdotool", "xwininfo", "import", *(("openbox", "wmctrl") if more.get("manager") else ()))
    size = more.get("size", (1600, 900))
    arguments = ("-fbdir", str(folder)) + (("-screen", "1", "%dx%dx24" % more["second"]) if "second" in more else ())
    with xvfb(*size, arguments=arguments) as (server, display), contextlib.ExitStack() as stack:
        display += ".1" if "second" in more else ""
        env = environment(DISPLAY=display, **more.get("variables", {}))
        if more.get("resources"):
            subprocess.check_call((tool("xprop"), "-root", "-f", "RESOURCE_MANAGER", "8s", "-set", "RESOURCE_MANAGER",
                                   more["resources"]), env=env, timeout=30)
        if more.get("manager"):
            quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            stack.enter_context(process("openbox", **quiet))
            wait_for(lambda: subprocess.call((tool("wmctrl"), "-m"), **quiet) == 0, 30, "no window manager")
        door = Doorcam("--source", "demo", "--faces", "mine.dat", *options, folder=folder, env=env,
                       settings=more.get("settings"))
        with door:
            yield Desktop(str(folder), server, display, door)


@pytest.fixture
def door(tmp_path):
    """A window of 1280 x 720 in which visitor 1 has just been seen for the first time."""
    with desktop(tmp_path) as screen:
        screen.wait_for_window((1280, 720))
        screen.door.wait_for("visitor 1 is new")
        yield screen


def visitors_in(folder):
    with open(os.path.join(str(folder), "mine.dat"), "rb") as file:
        visitors, _, problems = doorcam.read_known_faces(file.read())
    assert problems == []
    return visitors


def ended_well(screen):
    """Checks that doorcam ends by itself with status 0 and that its book is saved."""
    status, _, err = screen.door.end(30)
    assert (status, err) == (0, "")
    assert visitors_in(screen.folder)[0].number == 1


# ------------------------------------------------------------------------------------------------ what it shows


def test_the_window_shows_labels_and_strip_and_q_saves(door, tmp_path):
    pictures = [None]

    def shown():
        pictures[0] = door.picture()
        return find_text(pictures[0], "New visitor!", 0.8)
    left, top = wait_for(shown, 60, "nobody is new")
    picture = pictures[0]
    bar = picture[top + 2:top + 28, left - 4:left + 100].reshape(-1, 3).astype(int)
    assert (np.abs(bar - doorcam.GREEN).max(axis=1) < 12).mean() > 0.5  # the bar is green around the letters
    head_left, head_top = find_text(picture, "Visitors at door", 0.65)
    assert head_left < 20 and head_top < 10
    card_left, card_top = find_text(picture, "First visit", 0.55)
    assert card_left < 20 and 150 < card_top < 180
    door.wait_for_label()
    card = door.picture()[30:150, 0:150].astype(int)
    door.press("q")
    ended_well(door)
    saved = doorcam.picture_of(visitors_in(tmp_path)[0])[:120].astype(int)
    assert np.abs(card - saved).mean() < 12


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_ends_it(door, key):
    door.press(key)
    ended_well(door)


def test_closing_the_window_ends_it(tmp_path):
    with desktop(tmp_path, manager=True) as screen:
        screen.wait_for_window()
        screen.door.wait_for("visitor 1 is new")
        screen.call("wmctrl", "-c", "doorcam")
        ended_well(screen)


def test_a_signal_ends_the_window(door):
    door.door.process.send_signal(signal.SIGTERM)
    ended_well(door)


# ------------------------------------------------------------------------------------------- mouse and keyboard


def test_a_click_in_the_strip_says_who_that_is(door):
    door.wait_for_text("First visit", 0.55)
    door.click(60, 90)
    left, top = door.wait_for_text("Visitor 1", 0.8)
    door.wait_for_text("First visit", 0.8)
    picture = door.picture()
    assert find_text(picture, "First time", 0.8) and find_text(picture, "Last time", 0.8)
    door.click(600, 650)
    door.wait_until_text_has_gone("Visitor 1", 0.8)
    door.click(600, 650)  # nobody is there
    assert not find_text(door.picture(), "Visitor 1", 0.8)


def test_a_click_on_a_face_says_who_that_is_and_n_names_that_one(tmp_path):
    """Who stays twice as long as in the demo, and is alone: a busy machine may be late with the click."""
    with desktop(tmp_path, settings={"DEMO_STAYS": ((0, 1.0, 25.0),)}) as door:
        left, top = door.wait_for_label()
        door.click(left + 40, top - 60)
        door.wait_for_text("Visitor 1", 0.8)
        door.press("n")
        door.wait_for_text("Name of visitor 1:", 0.75)
        for key, typed in (("a", "A"), ("n", "An"), ("n", "Ann"), ("a", "Anna")):
            door.press(key)  # each on its own: OpenCV loses keys that come faster than frames
            door.wait_for_text("Name of visitor 1: %s_" % typed, 0.75)
        door.press("Return")
        door.door.wait_for("visitor 1 is now Anna")
        door.press("q")
        ended_well(door)
        assert visitors_in(door.folder)[0].name == "Anna"


def test_a_panel_goes_by_itself(door):
    door.press("h")
    door.wait_for_text("full screen and back", 0.8)
    door.wait_until_text_has_gone("full screen and back", 0.8, seconds=doorcam.PANEL_SECONDS + 15)
    door.press("h")
    door.wait_for_text("full screen and back", 0.8)
    door.press("h")
    door.wait_until_text_has_gone("full screen and back", 0.8, seconds=doorcam.PANEL_SECONDS / 2)


# ----------------------------------------------------------------------------------------------- the full screen


def pointer_is_drawn(screen, x, y):
    """Whether the display's memory holds the pointer, which a screenshot leaves out."""
    with open(os.path.join(screen.folder, "Xvfb_screen0"), "rb") as file:
        data = file.read()
    shot = screen.picture()
    height, width = shot.shape[:2]
    start = int.from_bytes(data[:4], "big") + 12 * int.from_bytes(data[76:80], "big")
    memory = np.frombuffer(data, np.uint8, width * height * 4, start).reshape(height, width, 4)[:, :, :3]
    place = (slice(y - 8, y + 16), slice(x - 8, x + 12))
    return (np.abs(memory[place].astype(int) - shot[place]).max(axis=2) > 60).sum() > 15


def test_full_screen_and_back(tmp_path):
    with desktop(tmp_path, "--fullscreen", size=(800, 480)) as screen:
        screen.wait_for_window((800, 480))
        unit = doorcam.unit_of(np.zeros((450, 800, 3)))
        screen.door.wait_for("visitor 1 is new")
        screen.wait_for_text("New visitor!", 0.8, unit)
        left, top = screen.wait_for_text("Visitors at door", 0.65, unit)
        assert left < 20 and 15 <= top < 30
        assert not screen.picture()[:14].any()  # black above, not the grey of Qt's windows
        screen.click(40, 80)
        screen.wait_for_text("Visitor 1", 0.8, unit)
        screen.click(40, 80)
        screen.press("f")
        screen.wait_for_window((720, 405))
        screen.wait_until_mapped_again()
        screen.press("f")
        screen.wait_for_window((800, 480))
        screen.wait_until_mapped_again()
        screen.press("q")
        ended_well(screen)


def test_the_pointer_is_hidden_in_full_screen_only(tmp_path):
    with desktop(tmp_path, size=(800, 480)) as screen:
        screen.wait_for_window((720, 405))
        screen.door.wait_for("visitor 1 is new")  # long after the first frames
        screen.call("xdotool", "mousemove", "400", "400")
        wait_for(lambda: pointer_is_drawn(screen, 400, 400), 10, "no pointer in a window")
        screen.press("f")
        screen.wait_for_window((800, 480))
        wait_for(lambda: not pointer_is_drawn(screen, 400, 400), 10, "a pointer in full screen")
        screen.wait_until_mapped_again()
        screen.press("f")
        screen.wait_for_window((720, 405))
        wait_for(lambda: pointer_is_drawn(screen, 400, 400), 10, "no pointer after full screen")


def test_full_screen_with_a_window_manager(tmp_path):
    """The manager itself says that it is full screen, however often it is switched: no size or place of ours undoes
    it."""
    def state():
        return "_NET_WM_STATE_FULLSCREEN" in str(screen.call("xprop", "-name", doorcam.TITLE, "_NET_WM_STATE"))
    with desktop(tmp_path, "--fullscreen", size=(1024, 600), manager=True) as screen:
        for _ in range(4):
            screen.wait_for_window((1024, 600))
            wait_for(state, 20, "it is no full screen")
            time.sleep(0.3)
            assert state() and screen.place() == (0, 0, 1024, 600)
            screen.press("f")
            wait_for(lambda: screen.place()[2:] != (1024, 600), 20, "the window stays as large as the screen")
            assert not state()
            screen.press("f")


# ------------------------------------------------------------------------------------------ desktops of other kinds


@pytest.mark.parametrize("more", [
    {"resources": "Xft.dpi:\t192\n"}, {"resources": "Xft.dpi:\t144\n", "manager": True},
    {"variables": {"QT_SCALE_FACTOR": "2", "QT_ENABLE_HIGHDPI_SCALING": "1", "GDK_SCALE": "2"}},
    {"variables": {"QT_SCREEN_SCALE_FACTORS": "2", "QT_QPA_PLATFORM": "wayland", "GDK_BACKEND": "wayland"}},
    {"variables": {"QT_DEVICE_PIXEL_RATIO": "2", "QT_QPA_PLATFORM": "wayland;offscreen"}}])
def test_a_desktop_that_enlarges_what_it_shows_or_is_no_x11_first(tmp_path, more):
    """The window fits on the screen, and a click hits what is under the pointer."""
    with desktop(tmp_path, size=(1600, 1000), **more) as screen:
        screen.wait_for_window((1280, 720))
        screen.door.wait_for("visitor 1 is new")
        screen.wait_for_text("First visit", 0.55)
        left, top, _, _ = screen.place()
        screen.click(left + 60, top + 90)
        screen.wait_for_text("Visitor 1", 0.8)
        screen.press("q")
        ended_well(screen)


def test_commands_get_the_settings_of_the_desktop_and_not_the_windows():
    program = "import sys; sys.path.insert(0, %r); from doorcam import STARTED_WITH; " \
              "print(STARTED_WITH.get(b'QT_QPA_PLATFORM'), STARTED_WITH.get(b'QT_SCALE_FACTOR'))" \
              % os.path.dirname(os.path.abspath(doorcam.__file__))
    out = subprocess.check_output([sys.executable, "-c", program], env=environment(QT_QPA_PLATFORM="wayland"))
    assert out == b"b'wayland' None\n"


@pytest.mark.parametrize("width, height", [(1280, 480), (500, 800), (300, 600)])
def test_a_window_of_another_shape_is_black_beside_the_picture(tmp_path, width, height):
    """As tiling managers make it: the picture keeps its shape, and a click hits what is under the pointer."""
    with desktop(tmp_path, size=(1600, 900)) as screen:
        screen.wait_for_window((1280, 720))
        screen.call("xdotool", "search", "--name", "^doorcam$", "windowsize", str(width), str(height))
        shown, high = min(width, height * 16 // 9), min(height, width * 9 // 16)
        left, top = (width - shown) // 2, (height - high) // 2
        unit = doorcam.unit_of(np.zeros((high, shown, 3)))
        x, y = screen.wait_for_text("Visitors at door", 0.65, unit)
        assert left <= x < left + 20 and top <= y < top + 20
        border = screen.picture()[:height, :left - 2] if left else screen.picture()[:top - 2, :width]
        assert border.size and not border.any()
        screen.click(left + 40, top + 70)
        screen.wait_for_text("First time", 0.8, unit)


@pytest.mark.parametrize("options, size", [((), (720, 405)), (("--fullscreen",), (800, 480))])
def test_a_second_screen_has_a_size_of_its_own(tmp_path, options, size):
    with desktop(tmp_path, *options, size=(1600, 900), second=(800, 480)) as screen:
        screen.wait_for_window(size)
        screen.door.wait_for("visitor 1 is new")


# ---------------------------------------------------------------------------------------------- the display's end


def test_the_end_of_a_display_is_noticed(monkeypatch):
    with xvfb(800, 480) as (server, display):
        monkeypatch.setenv("DISPLAY", display)
        screen = doorcam.Screen()
        assert screen.size() == (800, 480)
        screen.check()
        server.kill()
        wait_for(screen.gone, 5, "the end of the display is not noticed")
        with pytest.raises(doorcam.DoorcamError, match="the display %s has gone" % display):
            screen.check()
        screen.close()


def test_a_display_that_goes_away_loses_nothing(door):
    """Nearly always doorcam notices it first and says so; else Qt ends the process, and the last save counts."""
    wait_for(lambda: os.path.exists(os.path.join(door.folder, "mine.dat")), 20, "nothing is saved")
    door.server.kill()
    status, _, err = door.door.end(30)
    assert status == 1
    if err:
        one_line(err, door.display, "gone")
    assert visitors_in(door.folder)[0].number == 1


def test_a_display_that_goes_away_unnoticed_loses_nothing_that_was_saved(tmp_path):
    """Qt ends the process, past every `finally`, if it is the first to see that its display has gone."""
    shutil.copy(EXAMPLE, str(tmp_path / "mine.dat"))
    program = ["-c", "import sys; sys.path.insert(0, %r); import doorcam; doorcam.Screen.gone = lambda self: False; "
               "sys.exit(doorcam.main(sys.argv[1:]))" % os.path.dirname(os.path.abspath(doorcam.__file__))]
    with xvfb() as (server, display):
        door = Doorcam("--source", "demo", "--faces", "mine.dat", folder=tmp_path, program=program,
                       env=environment(DISPLAY=display))
        with door:
            door.wait_for("visitor 1 returned")
            wait_for(lambda: visitors_in(tmp_path)[0].seen_count == 4, 20, "the visit is not saved")
            server.kill()
            status, _, err = door.end(30)
    assert status != 0 and "Traceback" not in err
    assert visitors_in(tmp_path)[0].seen_count == 4
