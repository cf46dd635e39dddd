"""The page of --web: who may see it, what can be changed in it, the live picture, and what else may be sent to it."""
import contextlib
import os
import re
import resource
import socket
import stat
import threading
import time
import types
import urllib.parse

import cv2
import numpy as np
import pytest

import doorcam
from browser import Browser
from helpers import START, Story, box_at, face, person
from processes import Doorcam, one_line, portrait, run_doorcam, wait_for
from test_identity_check import alike_book
from test_report import HOSTILE, Page as ReportPage

KEY = "k" * 32
PICTURE = b"/9j/"             # how base64 of each JPEG begins
FORM = "application/x-www-form-urlencoded"


class Page(ReportPage):
    EMPTY = ReportPage.EMPTY + ("input",)


class Door:
    """A book with visitors, its visits, and the Site of its page, whose requests are obeyed at once."""

    def __init__(self, *names, host="127.0.0.1", log=None, key=KEY):
        self.book = doorcam.Book(doorcam.DLIB)
        for number, name in enumerate(names):
            visitor = self.book.register_new_face(person(number % 100), START - 60 * number,
                                                  doorcam.to_jpeg(portrait(number % 2, 150)))
            visitor.name = name
        self.visits, self.asked = doorcam.Visits(self.book), []
        self.site = doorcam.Site(key, host, log, self.ask)

    def ask(self, make):
        request = make(answer=None, until=0)
        self.asked.append(request)
        if request.command == "page":
            return [doorcam.make_sheet(self.book, self.visits, START, **request.arguments), True]
        return [doorcam.obey(self.book, request), True]

    def call(self, line, body="", **headers):
        """The Reply to a request whose first line this is, with a cookie unless another is named; (status, reason) if
        it is refused."""
        headers = dict({"Host": "127.0.0.1:8080", "Cookie": self.cookie()}, **headers)
        head = "\r\n".join([line + " HTTP/1.1"] + ["%s: %s" % (name.replace("_", "-"), value)
                                                   for name, value in headers.items() if value is not None])
        try:
            call = doorcam.read_call(head.encode(), "192.168.1.20")
            return self.site.reply(call._replace(form=doorcam.read_fields(body)))
        except doorcam.Refused as refused:
            return refused.args

    def cookie(self):
        reply = self.site.reply(doorcam.Call("GET", "/", {"key": self.site.key}, {"host": "localhost"}, ""))
        return dict(reply.headers)["Set-Cookie"].partition(";")[0]

    def form(self, **fields):
        """What a browser sends for a form of the page."""
        token = Page(self.call("GET /").text).attributes("input")[0]
        assert token["name"] == "token"
        return urllib.parse.urlencode(dict({"token": token["value"]}, **fields))

    def post(self, body, **headers):
        return self.call("POST /", body, **dict({"Content_Type": FORM}, **headers))


@pytest.fixture
def door():
    return Door("Anna", "")


# ------------------------------------------------------------------------------------------------------- who may see


def test_the_key_gives_a_cookie_and_the_cookie_the_page(door):
    reply = door.call("GET /?key=" + KEY, Cookie=None)
    assert reply.status == 200 and dict(reply.headers)["Refresh"] == "0; url=/" and not reply.text
    cookie = dict(reply.headers)["Set-Cookie"]
    assert KEY not in cookie and cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    page = door.call("GET /", Cookie="other=1; %s; more" % cookie.partition(";")[0])
    assert page.status == 200 and "Anna" in page.text and PICTURE.decode() in page.text and KEY not in page.text
    assert cookie.partition(";")[0].partition("=")[2] not in page.text


@pytest.mark.parametrize("line", ["GET /", "GET /now", "GET /live", "GET /live?key=", "GET /?key=wrong", "GET /x",
                                  "GET /?key=" + KEY[1:], "POST /", "POST /?key=" + KEY, "HEAD /?key=" + KEY, "PUT /x"])
@pytest.mark.parametrize("cookie", [None, "", "doorcam=1", "; =; ;;", "doorcam-%s=%s" % (KEY[:8], KEY)])
def test_without_the_key_there_is_one_line(door, line, cookie):
    before = len(door.asked)
    assert door.call(line, Cookie=cookie) == (403, doorcam.WEB_CLOSED) and len(door.asked) == before


def test_a_wrong_key_is_no_key_even_with_a_cookie_and_in_letters_of_all_kinds(door):
    for key in ("wrong", "%D0%9C%F0%9F%98%80", "k" * 33):
        assert door.call("GET /live?key=" + key)[0] == 403


def test_two_doorcams_on_one_host_do_not_take_each_others_cookie():
    one, other = Door("Anna"), Door("Anna", key="x" * 32)
    assert other.call("GET /", Cookie=one.cookie())[0] == 403
    assert other.site._cookie_name() != one.site._cookie_name()


def test_the_live_picture_is_given_to_a_key_or_a_cookie(door):
    for reply in (door.call("GET /live"), door.call("GET /live?key=" + KEY, Cookie=None)):
        assert reply.text is None and reply.kind.startswith("multipart/x-mixed-replace; boundary=")


@pytest.mark.parametrize("host, allowed", [
    ("127.0.0.1:8080", True), ("127.0.0.1", True), ("localhost:9000", True), ("LocalHost", True), ("[::1]:8080", True),
    ("door.lan:8080", True), ("192.168.1.20:8080", True), ("evil.example", False), ("127.0.0.1.evil.example", False),
    ("192.168.1.21", False), ("", False), (None, False), ("localhost:8080:1", False), ("localhost@evil", False)])
def test_only_by_a_host_that_is_this_machines(host, allowed):
    """The name of an attacker's page may be made to lead here: DNS rebinding."""
    reply = Door("Anna", host="door.lan").call("GET /", Host=host)
    assert reply.status == 200 if allowed else reply[0] == 421


def test_who_listens_everywhere_is_found_by_the_machines_name():
    door = Door("Anna", host="0.0.0.0")
    for host in ("", ":8080", ".local", ".fritz.box:8080"):
        assert door.call("GET /", Host=socket.gethostname() + host).status == 200
    for other in (door.call("GET /", Host=socket.gethostname() + "x"), door.call("GET /", Host="localhost.evil"),
                  Door("Anna").call("GET /", Host=socket.gethostname() + ".lan")):
        assert other[0] == 421


def test_a_link_elsewhere_leads_to_the_page_and_nothing_elsewhere_shows_or_uses_it(door):
    reply = door.call("GET /?key=" + KEY, Cookie=None, Sec_Fetch_Site="cross-site")
    assert reply.status == 200 and dict(reply.headers)["Refresh"] == "0; url=/" and not reply.text
    assert door.call("GET /", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="navigate").status == 200
    for line in ("GET /", "GET /now", "GET /live"):
        assert door.call(line, Sec_Fetch_Site="same-site", Sec_Fetch_Mode="no-cors")[0] == 403
    body = door.form(command="name", number=1, name="x")
    assert door.post(body, Sec_Fetch_Site="same-site", Sec_Fetch_Mode="navigate")[0] == 403
    assert door.post(body, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="navigate").status == 303


def test_the_policy_lets_nothing_in_and_every_reply_has_it(door):
    policy = door.site.policy
    assert policy.startswith("default-src 'none'; ") and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "form-action 'self'" in policy
    for reply in (door.call("GET /"), doorcam.Reply(403, "no"), door.call("GET /live")):
        head = doorcam.message(reply, policy).partition(b"\r\n\r\n")[0].decode()
        assert "Content-Security-Policy: " + policy in head and "X-Content-Type-Options: nosniff" in head
        assert "Cache-Control: no-store" in head and "Referrer-Policy: " in head
        assert "Server" not in head and "Python" not in head
    text = door.call("GET /").text
    assert not re.search(r"""<[^>]+ (on\w+|style)=|http-equiv""", text)
    assert not re.search(r"""(src|href|action)="(?!/|data:image/jpeg|#)""", text)


# -------------------------------------------------------------------------------------------------- what can be changed


def test_somebody_is_named_and_the_page_says_so_once(door):
    body = door.form(command="name", number=2, name="  Мария\t<b> ", start=0)
    reply = door.post(body, Origin="http://127.0.0.1:8080")
    assert reply.status == 303 and door.book[2].name == "Мария <b>"
    there = dict(reply.headers)["Location"]
    assert there.startswith("/?start=0&said=") and there.endswith("#v2")
    line = "GET " + there.partition("#")[0]
    assert "visitor 2 is now Мария &lt;b&gt;" in door.call(line).text
    assert "visitor 2 is now" not in door.call(line).text


def test_a_name_is_taken_away_by_an_empty_one(door):
    door.post(door.form(command="name", number=1, name=""))
    assert door.book[1].name == ""


def test_merge_ignore_and_forget():
    door = Door("Anna", "Bea", "", "", "")
    reply = door.post(door.form(command="merge", number=2, into=1))
    assert "different names" in door.call("GET " + dict(reply.headers)["Location"].partition("#")[0]).text
    assert door.book[2].number == 2
    assert door.post(door.form(command="merge", number=2, into=1, force=1)).status == 303 and door.book[2].number == 1
    door.post(door.form(command="ignore", number=3))
    door.post(door.form(command="forget", number=4))
    assert door.book[3].ignored and door.book[4] is None
    assert "isitor 3" not in door.call("GET /").text


@pytest.mark.parametrize("fields", [
    {"command": "quit"}, {"command": "fullscreen"}, {"command": "page", "start": 0}, {"command": ""}, {},
    {"command": "name"}, {"command": "name", "number": "1", }, {"command": "name", "number": "x", "name": "y"},
    {"command": "name", "number": "-1", "name": "y"}, {"command": "name", "number": "9" * 4000, "name": "y"},
    {"command": "forget", "number": 99}, {"command": "merge", "number": 1, "into": 1}, {"command": "forget"},
    {"command": "__class__", "number": 1}, {"command": "merge", "number": 1}])
def test_what_makes_no_request_changes_nothing(door, fields):
    reply = door.post(door.form(**fields))
    assert reply.status == 303 and [one.name for one in door.book.visitors.values()] == ["Anna", ""]
    assert 'class="said"' in door.call("GET " + dict(reply.headers)["Location"].partition("#")[0]).text


@pytest.mark.parametrize("change", [
    {"body": "command=forget&number=1"}, {"body": "token=&command=forget&number=1"}, {"Content_Type": "text/plain"},
    {"body": "token=%C3%A9&command=forget&number=1"}, {"Content_Type": "multipart/form-data"}, {"Content_Type": None},
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:9090"}, {"Cookie": None},
    {"Sec_Fetch_Site": "cross-site"}, {"Host": "evil.example"}])
def test_what_another_page_could_have_sent_changes_nothing(door, change):
    change = dict(change)
    reply = door.post(change.pop("body", door.form(command="forget", number=1)), **change)
    assert reply[0] in (403, 415, 421) and door.book[1].name == "Anna" and "Anna" not in reply[1]


def test_a_form_stands_there_only_for_what_there_is(door, monkeypatch):
    assert 'value="split"' in door.call("GET /").text and "Two people" in door.call("GET /").text
    monkeypatch.setattr(doorcam, "REQUESTS", {
        command: function for command, function in doorcam.REQUESTS.items() if command not in ("split", "forget")})
    text = door.call("GET /").text
    assert 'value="ignore"' in text and 'value="split"' not in text and 'value="forget"' not in text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_a_name(name):
    plain, hostile = (Page(Door(one).call("GET /").text) for one in ("x", name))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert [sorted(attributes) for _, attributes in hostile.elements] == \
        [sorted(attributes) for _, attributes in plain.elements]
    (entry,) = [one for one in hostile.attributes("input") if one.get("name") == "name"]
    assert entry["value"] == name and "".join(hostile.texts["bdi"]) == name


# ------------------------------------------------------------------------------------------------------ what it says


def test_who_is_at_the_door_now():
    story = Story()
    story.show(face(person(0)), seconds=6)
    story.book.name(1, "Anna & Bea")
    sheet = doorcam.make_sheet(story.book, story.visits, story.now)
    assert "<bdi>Anna &amp; Bea</bdi></a> at the door 5s, first visit" in doorcam.web_there(sheet)
    assert "at the door 5s, back &amp; side, first visit" in doorcam.web_there(sheet._replace(where={1: "back & side"}))
    story.book.ignore(1)
    assert "Nobody" in doorcam.web_there(doorcam.make_sheet(story.book, story.visits, story.now))


def test_a_sheet_does_not_change_with_the_book(door):
    sheet = doorcam.make_sheet(door.book, door.visits, START, 0, 10, {1, 9})
    door.book.name(1, "Bea")
    door.book.forget(2)
    assert [one.name for one in sheet.visitors] == ["Anna", ""] and sheet.known == {1: (1, "Anna", False)}


def test_a_large_book_has_pages_last_seen_first():
    door = Door()
    for number in range(200):
        door.book.register_new_face(person(number % 100), START - number).ignored = number == 5
    text, numbers = door.call("GET /").text, []
    while text:
        numbers += [int(one) for one in re.findall(r'id="v(\d+)"', text)]
        link = re.search(r'href="(/\?start=\d+)#visitors">Earlier', text)
        text = link and door.call("GET " + link.group(1)).text
    assert numbers == [number for number in range(1, 201) if number != 6]
    assert "199 visitors, 199 visits" in door.call("GET /").text
    for start in ("199", "99999999", "x", "-1", "60.5", ""):
        assert len(re.findall(r'id="v\d+"', door.call("GET /?start=" + start).text)) in (19, 60)


@pytest.mark.parametrize("button, left, apart", [("Same person", 3, False), ("Two people", 4, True)])
def test_who_looks_alike_is_named_with_what_to_say_of_it(button, left, apart):
    door = Door()
    door.book = alike_book(doorcam.DLIB)
    page = door.call("GET /").text
    section = re.search(r'<section><h2 id="alike">.*?</section>', page, re.S).group()
    assert re.findall("<bdi>(.*?)</bdi>", section) == ["Visitor 2", "Visitor 1"]
    fields = {one["name"]: one["value"] for one in Page(section).attributes("input")}
    chosen = re.search(r'<button(?: name="(.*?)" value="(.*?)")?>%s</button>' % button, section).groups()
    fields.update([chosen] if chosen[0] else [])
    assert door.post(urllib.parse.urlencode(fields)).status == 303
    assert len(door.book) == left and doorcam.said_apart(door.book[1], door.book[2]) == apart
    assert "alike" not in door.call("GET /").text


def test_no_more_is_compared_than_the_page_shows(monkeypatch):
    door = Door()
    door.book = alike_book(doorcam.DLIB)
    assert 'id="alike"' in door.call("GET /").text
    compared = []
    monkeypatch.setattr(doorcam, "WEB_CARDS", 1)
    monkeypatch.setattr(doorcam.Comparison, "alike", lambda self, most, among: compared.append(among) or [])
    door.call("GET /")
    assert compared == [[max(door.book.visitors.values(), key=lambda one: one.last_seen).number]]


def test_the_log_is_told_as_far_as_it_may_be_and_no_further_back(tmp_path, monkeypatch):
    path = str(tmp_path / "visits.csv")
    door = Door("Anna", "Bea", log=path)
    assert "None yet" in door.call("GET /").text  # whoever removed it
    log = doorcam.EventLog(path)
    for number in (1, 2, 77):
        log.tell(doorcam.Event("new", START - 60 * number, number, 1), "")
    door.book.ignore(2)
    page = Page(door.call("GET /").text)
    assert page.texts["bdi"][-2:] == ["Anna", "Visitor 77, no longer known"]
    monkeypatch.setattr(doorcam, "WEB_LOG", 60)
    assert Page(door.call("GET /").text).texts["bdi"][-1] == "Visitor 77, no longer known"
    os.remove(path)
    os.mkfifo(path)
    assert "None yet" in door.call("GET /").text  # a pipe is not waited for


def test_no_log_no_visits(door):
    assert "last visits" not in door.call("GET /").text


# ------------------------------------------------------------------------------------------------------------ the key


def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    path = str(tmp_path / "known_faces.dat")
    key = doorcam.web_key(path)
    assert len(key) == 32 and doorcam.web_key(path) == key
    assert stat.S_IMODE(os.stat(path + ".key").st_mode) == 0o600
    os.chmod(path + ".key", 0o644)
    assert doorcam.web_key(path) == key and stat.S_IMODE(os.stat(path + ".key").st_mode) == 0o600
    assert doorcam.web_key(None) != doorcam.web_key(None)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 33, b"k" * 5000, KEY.encode()])
def test_what_is_no_key_is_made_anew(tmp_path, content):
    path = str(tmp_path / "known_faces.dat")
    with open(path + ".key", "wb") as file:
        file.write(content)
    key = doorcam.web_key(path)
    assert len(key) == 32 and key != KEY and doorcam.web_key(path) == key


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("elsewhere", path)])
def test_what_is_no_file_holds_no_key(tmp_path, make):
    make(str(tmp_path / "known_faces.dat.key"))
    with pytest.raises(doorcam.DoorcamError, match="known_faces.dat.key"):
        doorcam.web_key(str(tmp_path / "known_faces.dat"))
    assert not os.path.exists(str(tmp_path / "elsewhere"))


@pytest.mark.parametrize("text, meant", [
    ("8080", ("127.0.0.1", 8080)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:8080", ("::1", 8080)),
    ("door.lan:0", ("door.lan", 0)), ("65536", None), (":8080", None), ("::1:8080", None), ("x", None), ("", None),
    ("a b:80", None), ("[::1]", None), ("http://x:80", None), ("8080\n", None)])
def test_host_and_port(text, meant, capsys):
    parse = doorcam.make_parser().parse_args
    if meant:
        assert parse(["--web", text]).web == meant
    else:
        with pytest.raises(SystemExit):
            parse(["--web", text])


# --------------------------------------------------------------------------------------------------- the live picture


def test_a_picture_is_wanted_ten_times_a_second_and_only_while_somebody_watches(monkeypatch):
    live, clock, given = doorcam.Live(), [100.0], []
    monkeypatch.setattr(doorcam, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))

    def second(rate):
        for _ in range(rate):
            clock[0] += 1.0 / rate
            if live.wanted():
                live.put(np.zeros((9, 16, 3), np.uint8))
                given.append(clock[0])
        return len(given)
    assert second(30) == 0
    live.join()
    for rate, most in ((30, 10), (25, 20), (300, 30), (10, 40), (5, 45)):
        assert most - 1 <= second(rate) <= most + 1
    live.leave()
    assert second(30) == len(given) and live._picture is None


def test_a_picture_is_encoded_once_for_all_and_not_in_the_main_loop(monkeypatch):
    live, encoded = doorcam.Live(), []
    encode = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda *all: encoded.append(threading.get_ident()) or encode(*all))
    numbers = [live.join() for _ in range(doorcam.WEB_WATCHERS)]
    assert live.join() is None
    live.put(np.full((720, 1920, 3), 90, np.uint8))
    assert not encoded
    replies = [live.next(number) for number in numbers]
    assert len(encoded) == 1 and len({id(jpeg) for _, jpeg in replies}) == 1
    assert doorcam.jpeg_size(replies[0][1]) == (1280, 480)
    live.leave()
    assert live.join() == 1


def view_of(story, *options):
    live = doorcam.Live()
    view = doorcam.View(doorcam.make_parser().parse_args(["--headless"] + list(options)), live)
    story.door.frame = np.full((720, 1280, 3), 120, np.uint8)
    return live, view


def test_the_live_picture_has_boxes_and_names_without_a_window():
    story = Story()
    story.show(face(person(0), width=200), seconds=3)
    live, view = view_of(story)
    assert view.show([story.door], story.visits, story.now) == [] and live._picture is None
    live.join()
    assert view.show([story.door], story.visits, story.now) == []
    picture = cv2.imdecode(np.frombuffer(live.next(0)[1], np.uint8), cv2.IMREAD_COLOR)
    top, right, _, left = box_at(300, 200, 200)
    assert picture.shape == (720, 1280, 3) and abs(picture[top, left + 30:right - 30].astype(int) - 120).max() > 50
    strip = picture[:30]
    assert strip.mean() < 80  # "Visitors at door"
    assert np.array_equal(story.door.frame, np.full((720, 1280, 3), 120, np.uint8))


# -------------------------------------------------------------------------------------------------- over the network


class Loop:
    """A Web whose main loop turns in a thread, as the House's does; turns: when."""

    def __init__(self, door, **more):
        self.door, self.web = door, doorcam.Web("127.0.0.1", 0, **more)
        self.port, self.turns, self._on, self.silent = self.web._listener.getsockname()[1], [], True, False
        self.key = self.web.site.key
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        desk = doorcam.Desk([self.web])
        saver = doorcam.Saver(None, self.door.book)
        while self._on:
            self.turns.append(time.monotonic())
            if not self.silent:
                desk.turn([], self._do, saver)
            if self.web.live.wanted():
                self.web.live.put(np.full((720, 1280, 3), len(self.turns) % 256, np.uint8))
            time.sleep(0.01)

    def _do(self, request):
        if request.command == "page":
            return doorcam.make_sheet(self.door.book, self.door.visits, START, **request.arguments)
        return doorcam.obey(self.door.book, request)

    def connect(self):
        line = socket.create_connection(("127.0.0.1", self.port), 20)
        return line

    def send(self, data, rest=b""):
        """What is answered to these bytes."""
        with self.connect() as line:
            with contextlib.suppress(OSError):
                line.sendall(data)
                line.sendall(rest)
            return read_all(line)

    def get(self, path, **headers):
        return self.send(request_for("GET " + path, **headers))

    def cookie(self):
        return re.search(rb"Set-Cookie: ([^;]+)", self.get("/?key=" + self.key)).group(1).decode()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._on = False
        self._thread.join()
        self.web.close()


def request_for(line, body=b"", **headers):
    headers = dict({"Host": "localhost"}, **headers)
    if body:
        headers["Content_Length"] = len(body)
    return "\r\n".join([line + " HTTP/1.1"] + ["%s: %s" % (name.replace("_", "-"), value) for name, value in
                                               headers.items()] + ["", ""]).encode() + body


def read_all(line):
    data = b""
    with contextlib.suppress(OSError):
        for part in iter(lambda: line.recv(65536), b""):
            data += part
    return data


@pytest.fixture
def loop(door):
    with Loop(door) as one:
        yield one


def test_a_form_over_the_network(loop, door):
    cookie = loop.cookie()
    page = loop.get("/", Cookie=cookie)
    token = re.search(rb'name="token" value="(\w+)"', page).group(1).decode()
    body = urllib.parse.urlencode({"token": token, "command": "name", "number": 2, "name": "李明 😀"}).encode()
    answer = loop.send(request_for("POST /", body, Cookie=cookie, Content_Type=FORM))
    assert answer.startswith(b"HTTP/1.1 303 ") and door.book[2].name == "李明 😀"
    assert "visitor 2 is now 李明 😀" in loop.get(
        re.search(rb"Location: (/[^#]*)", answer).group(1).decode(), Cookie=cookie).decode()


def test_a_main_loop_that_hangs_is_said_and_does_nothing_later(door, monkeypatch):
    monkeypatch.setattr(doorcam, "WEB_ANSWER", 1.2)
    with Loop(door) as loop:
        cookie = loop.cookie()
        token = re.search(rb'name="token" value="(\w+)"', loop.get("/", Cookie=cookie)).group(1).decode()
        loop.silent = True
        body = ("token=%s&command=forget&number=1" % token).encode()
        answer = loop.send(request_for("POST /", body, Cookie=cookie, Content_Type=FORM))
        assert answer.startswith(b"HTTP/1.1 503 ") and b"does not answer" in answer
        loop.silent = False
        assert loop.get("/now", Cookie=cookie).startswith(b"HTTP/1.1 200 ")  # later than the form
        assert door.book[1].name == "Anna"


def hostile_requests(cookie):
    """200 of what may be sent, as (bytes, more bytes); none has what it takes to change anything."""
    with_cookie = {"Cookie": cookie, "Content_Type": FORM}
    form = b"command=forget&number=1"
    for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "X" * 99, ""):
        for path in ("/", "/now", "/x", "/../known_faces.dat", "//", "/%00", "*", "http://evil.example/"):
            yield request_for(method + " " + path, form, **with_cookie), b""
    for path in ("/?start=" + "9" * 9000, "/?" + "&".join("a%d=" % n for n in range(2000)), "/?a=1&a=2", "/?%ff=%fe",
                 "/" + "a" * 70000, "/?said=" + "x" * 100, "/live/..", "/\u00e9", "/?key=" + "%FF" * 100, "/ /"):
        yield request_for("GET " + path, **with_cookie), b""
        yield request_for("POST " + path, form, **with_cookie), b""
    for header in ("X: " + "y" * 100000, "a" * 20000, ": nothing", "Host: localhost", "Transfer-Encoding: chunked",
                   "X\0:y", "Content-Length: -1", "Content-Length: 99999999999", "Content-Length: 1e3", " folded: x", "X : y",
                   "Content-Length: 9000", "Content-Length: 5\r\nContent-Length: 6", "\xff\xfe: \xff",
                   "Expect: 100-continue", "Connection: keep-alive",
                   "Cookie: " + cookie, "Upgrade: websocket", "Range: bytes=0-", "X-HTTP-Method-Override: POST",
                   "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: \u00e9", "Host : x"):
        for line in ("GET / HTTP/1.1", "POST / HTTP/1.1"):
            yield ("%s\r\nHost: localhost\r\nCookie: %s\r\n%s\r\n\r\n" % (line, cookie, header)).encode("utf-8"), form
    for data in (b"", b"\0" * 5000, b"\r\n\r\n", b"GET", b"GET /\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n",
                 b"GET / HTTP/2.0\r\n\r\n", b"SSH-2.0-x\r\n", b"\xff" * 20000,
                 b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                 b"GET / HTTP/1.1\nHost: localhost\n\n", b"GET / HTTP/1.1\r\n" * 3000,
                 b"POST / HTTP/1.1\r\n\r\n" + b"x" * 100000):
        yield data, b""
    for body in (b"%", b"%ff%fe", b"token=\xff", b"a" * 8193, b"a=1&a=1", b"&" * 8000, b"=" * 8000, b"{\"token\": 1}",
                 b"token=&command=forget&number=1", b"a[]=1", b"\0" * 100, b"%00=%00", b"token=a%0d%0aX: y",
                 b"a=" + b"%F0%9F%98%80" * 600, b"command=quit", b"--x\r\n\r\n"):
        yield request_for("POST /", body, **with_cookie), b""
        yield request_for("POST /", body, Content_Type=FORM), b""


def test_200_hostile_requests_change_nothing_and_hold_up_no_turn(loop, door, capfd):
    cookie, count = loop.cookie(), 0
    slow = [loop.connect() for _ in range(5)]     # who says nothing, or half of it
    for line in slow[1:]:
        line.sendall(b"GET / HTTP/1.1\r\nHost: loc")
    for data, rest in hostile_requests(cookie):
        count += 1
        with loop.connect() as line:
            with contextlib.suppress(OSError):
                line.sendall(data)
                line.sendall(rest)
                line.shutdown(socket.SHUT_WR)
            answer = read_all(line)
        assert not answer or re.match(rb"HTTP/1\.1 (200|303|4\d\d) ", answer), (data[:200], answer[:200])
        assert b"Anna" not in answer or data.startswith((b"GET /?", b"GET / ")), data
        assert b"Traceback" not in answer
    for line in slow:
        line.close()
    assert count >= 200
    assert [one.name for one in door.book.visitors.values()] == ["Anna", ""]
    assert loop.get("/", Cookie=cookie).startswith(b"HTTP/1.1 200 ")
    assert max(np.diff(loop.turns)) < 0.5  # the main loop went on all the while
    assert capfd.readouterr() == ("", "")


def test_who_is_slow_is_let_go_and_more_connections_than_that_are_closed(door, monkeypatch):
    monkeypatch.setattr(doorcam, "WEB_PATIENCE", 60.0)
    monkeypatch.setattr(doorcam, "WEB_CALLS", 4)
    with Loop(door) as loop:
        lines = [loop.connect() for _ in range(6)]
        assert [line.recv(1) for line in lines[4:]] == [b"", b""]         # no room
        for line in lines:
            line.close()
        wait_for(lambda: loop.get("/").startswith(b"HTTP/1.1 403 "), 10, "there is room again")
        monkeypatch.setattr(doorcam, "WEB_PATIENCE", 1.0)
        lines = [loop.connect() for _ in range(4)]
        dripping = threading.Thread(target=drip, args=(lines[0],))
        dripping.start()
        assert [read_all(line) for line in lines] == [b""] * 4
        assert dripping.is_alive()                                        # a byte now and then is not enough
        dripping.join()
        for line in lines:
            line.close()


def test_a_system_without_more_threads_or_open_files_is_no_end(loop, monkeypatch, capfd):
    def no_more(_):
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        for _ in range(doorcam.WEB_CALLS + 1):
            assert loop.get("/") == b""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as first, socket.socket() as line:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))  # all that are open stay so
        try:
            for one in (first, line):
                one.settimeout(0.5)
                one.connect(("127.0.0.1", loop.port))
                one.sendall(request_for("GET /"))
            answer = read_all(first)                                # at once if accept() waits, and has its number
            with pytest.raises(socket.timeout):
                line.recv(1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for one in (first, line):
            one.settimeout(20)
        for answer in (answer or read_all(first), read_all(line)):
            assert answer.startswith(b"HTTP/1.1 403 ")
    assert capfd.readouterr() == ("", "")


def drip(line):
    with contextlib.suppress(OSError):
        for _ in range(200):
            line.sendall(b"x")
            time.sleep(0.05)


def pictures(file, count):
    """So many JPEGs of a live picture."""
    found = []
    while len(found) < count:
        line = file.readline()
        assert line, "it ended"
        if line.startswith(b"Content-Length:"):
            assert file.readline() == b"\r\n"
            found.append(file.read(int(line.split(b":")[1])))
    return found


def test_watchers_are_bounded_and_a_slow_one_holds_up_nobody(door, monkeypatch):
    monkeypatch.setattr(doorcam, "WEB_PATIENCE", 2.0)
    monkeypatch.setattr(cv2, "imencode", lambda *_: (True, np.full(1 << 20, 7, np.uint8)))  # fills every buffer
    with Loop(door) as loop:
        lines = []
        for _ in range(doorcam.WEB_WATCHERS):
            line = loop.connect()
            line.sendall(request_for("GET /live?key=" + loop.key))
            lines.append(line)
        files = [line.makefile("rb") for line in lines]
        for file in files:
            pictures(file, 1)
        assert loop.get("/live?key=" + loop.key).startswith(b"HTTP/1.1 503 ")
        seen = len(pictures(files[0], 30))        # all others read nothing meanwhile
        assert seen == 30
        wait_for(lambda: loop.web.live._watchers == 1, 20, "the slow ones are dropped")
        pictures(files[0], 2)
        assert loop.get("/").startswith(b"HTTP/1.1 403 ")
        for one in files + lines:
            one.close()
        wait_for(lambda: loop.web.live._watchers == 0, 20, "nobody watches")


def test_a_fault_of_our_own_is_said_once_and_no_traceback_printed(loop, monkeypatch, capfd):
    monkeypatch.setattr(doorcam, "web_page", lambda *_: 1 / 0)
    cookie = loop.cookie()
    assert loop.get("/", Cookie=cookie) == loop.get("/", Cookie=cookie) == b""
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "ZeroDivisionError" in err and "Traceback" not in err


# --------------------------------------------------------------------------------------------------- as a process


@pytest.mark.parametrize("host", ["127.0.0.1:%d", "localhost:%d", "no-such-host.invalid:%d", "192.0.2.1:%d",
                                  "x" * 70 + ":%d"])
def test_a_place_where_nobody_can_listen_is_named_at_once(tmp_path, host):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        place = host % taken.getsockname()[1]
        status, out, err = run_doorcam("--headless", "--source", "99", "--web", place, folder=tmp_path, seconds=60)
    assert status == 1 and out == ""
    one_line(err, "--web cannot listen", place.split(":")[0])


class Camera:
    """An MJPEG camera on loopback that shows one picture again and again."""

    def __init__(self, jpeg):
        self._listener, self._jpeg = socket.create_server(("127.0.0.1", 0)) if hasattr(socket, "create_server") \
            else self._listen(), jpeg
        self.address = "http://127.0.0.1:%d/" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @staticmethod
    def _listen():
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        return listener

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._show, args=(self._listener.accept()[0],), daemon=True).start()

    def _show(self, line):
        with line, contextlib.suppress(OSError):
            line.recv(4096)
            line.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n")
            count = 0
            while True:
                count += 1
                line.sendall(b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
                             % (len(self._jpeg[count % 5]), self._jpeg[count % 5]))
                time.sleep(0.06)

    def close(self):
        self._listener.close()


@pytest.mark.parametrize("value", [b" " * 15000 + b"\0", b" " * 15000 + b"\n", b"x" + b" " * 15000 + b"\0", b"\0"])
def test_a_header_of_spaces_takes_no_time(value):
    """It took hours, in which all of doorcam stood still."""
    with pytest.raises(doorcam.Refused):
        doorcam.read_call(b"GET / HTTP/1.1\r\nA:" + value, "127.0.0.1")


def test_the_spaces_around_a_header_are_not_its_own():
    call = doorcam.read_call(b"GET / HTTP/1.1\r\nA:  \t b c \t \r\nB:\r\nC: " + b" " * 15000, "127.0.0.1")
    assert call.headers == {"a": "b c", "b": "", "c": ""}


@pytest.fixture(scope="module")
def camera():
    frames = []
    for shift in range(5):
        frame = np.full((480, 640, 3), 150, np.uint8)
        frame[80:320, 200 + shift:440 + shift] = portrait(0, 240)
        frames.append(doorcam.to_jpeg(frame))
    one = Camera(frames)
    yield one
    one.close()


@contextlib.contextmanager
def watching(folder, camera, *options):
    """doorcam before that camera with a page: (the process, the address with the key)."""
    with Doorcam("--headless", "--engine", "opencv", "--source", camera.address, "--web", "0", "--log", "visits.csv",
                 *options, folder=folder) as process:
        process.wait_for("is new")
        yield process, re.search(r"in a browser: (\S+)", process.out()).group(1)
        status, _, err = process.stop()
        assert status == 0 and err == ""


@pytest.mark.parametrize("width, height", [(390, 844), (1280, 800)])
def test_in_a_real_browser(tmp_path, camera, width, height):
    with watching(tmp_path, camera) as (process, address), Browser(tmp_path, width, height) as browser:
        plain = address.partition("?")[0]
        browser.open(plain)
        assert browser.run("document.body.innerText") == doorcam.WEB_CLOSED
        assert browser.run("document.images.length") == 0
        browser.open(address)
        browser.wait_for("document.getElementById('live').naturalWidth == 640", "the live picture is there")
        assert browser.run("location.href") == plain and browser.run("document.cookie") == ""
        assert browser.run("document.documentElement.scrollWidth") == width
        assert browser.run("parseFloat(getComputedStyle(document.querySelector('[name=name]')).fontSize)") >= 16
        first = browser.picture()
        assert first[3, 3].min() > 230                             # its style is let in
        wait_for(lambda: not np.array_equal(browser.picture(), first), 20, "the picture lives")
        assert "Visitor 1 at the door" in browser.run("there.innerText")
        browser.run("document.querySelector('[name=name]').value = 'Мария <b>'")
        browser.run("document.querySelector('.card form button').click()")
        browser.wait_for("document.querySelector('.said').innerText == 'visitor 1 is now Мария <b>'", "it is said")
        for what in (".said", ".card h3", ".card form"):           # it leads back to who was named, and says so there
            browser.wait_for("(function (box) { return box.top >= 0 && box.bottom <= innerHeight; })"
                             "(document.querySelector('%s').getBoundingClientRect())" % what, what + " is in view")
        said = browser.run("there.innerText")
        browser.wait_for("there.innerText.startsWith('Мария <b> at the door') && there.innerText != %r" % said,
                         "the script says who is there now")
        process.wait_for("visitor 1 is now Мария <b>")
        browser.run("document.querySelector('details').open = true")
        assert browser.run("document.documentElement.scrollWidth") == width


def test_the_picture_is_asked_for_again_when_doorcam_answers_again(tmp_path, camera):
    """Its end is no error to a browser."""
    with watching(tmp_path, camera) as (process, address), Browser(tmp_path) as browser:
        browser.open(address)
        browser.wait_for("live.naturalWidth == 640", "the live picture is there")
        browser.run("before = live.src; ask = fetch; fetch = function () { return Promise.reject(); }; 0")
        browser.wait_for("there.innerText == 'doorcam does not answer.'", "that is said")
        browser.run("fetch = ask; 0")
        browser.wait_for("live.src != before && live.naturalWidth == 640", "the picture lives again")


def test_without_a_script_the_page_names_somebody_too(tmp_path, camera):
    with watching(tmp_path, camera) as (process, address), Browser(tmp_path) as browser:
        browser.do("Emulation.setScriptExecutionDisabled", value=True)
        browser.open(address)
        browser.do("DOM.enable")
        wait_for(lambda: browser.focus("[name=name]"), 20, "the page is there")
        browser.do("Input.insertText", text="Anna")
        browser.do("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r",
                   windowsVirtualKeyCode=13)
        process.wait_for("visitor 1 is now Anna")
        wait_for(lambda: browser.find(".said"), 20, "it is said")


def test_a_page_elsewhere_cannot_use_the_page(tmp_path, camera):
    """A page of another port on the same host, which the browser takes for the same site and gives the cookie."""
    with watching(tmp_path, camera) as (process, address), Browser(tmp_path) as browser:
        browser.open(address)
        browser.wait_for("document.getElementById('live').naturalWidth == 640", "the live picture is there")
        plain = address.partition("?")[0]
        html = ("<form method=post action=%s><input name=command value=forget><input name=number value=1></form>"
                "<img id=i src=%slive><iframe id=f src=%s></iframe>" % (plain, plain, plain)).encode()
        with serving(html) as other:
            browser.open(other)
            browser.wait_for("i.complete", "the picture has come or not")
            assert browser.run("i.naturalWidth") == 0
            browser.run("document.forms[0].submit()")
            browser.wait_for("document.body.innerText == 'This is not for another page.'", "the form is refused")
        assert "forgotten" not in process.out()


@contextlib.contextmanager
def serving(html):
    """The address of a page of these bytes."""
    with contextlib.closing(Camera._listen()) as listener:
        def serve():
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as line:
                        line.recv(4096)
                        line.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + html)
        threading.Thread(target=serve, daemon=True).start()
        yield "http://127.0.0.1:%d/" % listener.getsockname()[1]


def test_a_demo_has_a_key_of_its_own_and_keeps_none(tmp_path):
    with Doorcam("--headless", "--engine", "opencv", "--source", "demo", "--web", "0", folder=tmp_path) as process:
        process.wait_for("in a browser: http://127.0.0.1:")
    assert not list(tmp_path.glob("*.key"))
