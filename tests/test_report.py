"""The page of doorcam.py report: what it says, that it is self-contained, and how it looks in a real browser."""
import base64
import csv
import datetime
import http.server
import os
import re
import shutil
import stat
import subprocess
import threading
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

import doorcam
from helpers import START, person
from processes import EXAMPLE, environment, one_line, portrait, run_doorcam, tool

HOSTILE = ("<script>alert(1)</script>", "\"><img src=http://evil.example/x onerror=alert(1)>", "' onload='x",
           "&lt;b&gt;", "</style></head><link rel=stylesheet href=//evil.example/y>", "--><!--", "\u202eabc", "مريم",
           "李明 😀")


class Page(HTMLParser):
    """What is in a page: its elements, the texts in them, and whether all of them are closed in order."""
    EMPTY = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.texts = [], [], {}
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def visitor(number, name="", seen=START, picture=None, visits=1):
    one = doorcam.Visitor(number, [person(number % 100).astype(np.float32)], seen, "dlib", doorcam.to_jpeg(picture))
    one.name, one.seen_count = name, visits
    return one


def page(visitors, visits=None, now=START):
    return doorcam.report_page(visitors, visits, now)


def visit(hours_ago, number, count=2, seconds=12):
    return [datetime.datetime.fromtimestamp(START - 3600 * hours_ago), number, count, seconds, ""]


# --------------------------------------------------------------------------------------------------- what it says


def test_there_is_a_card_with_everything_for_each_visitor():
    picture = portrait(0, 150)
    one = visitor(3, "Мария", START - 86400, picture, visits=7)
    one.last_seen, one.seconds_before, one.longest = START - 86400 + 42, 100.0, 61.0
    found = Page(page([one, visitor(4)]))
    assert found.texts["bdi"] == ["Visitor 4", "Мария"] and "Visitor 3" in found.texts["p"]
    text = " ".join(found.texts["dd"])
    assert "7" in found.texts["dd"] and "2m 22s" in text and "1m 01s" in text
    (image,) = found.attributes("img")
    assert image["alt"] == "Мария" and image["loading"] == "lazy"
    kept = base64.b64decode(image["src"].split(",")[1])
    assert kept == one.jpeg
    times = [one["datetime"] for one in found.attributes("time")]
    assert len(times) == 5 and all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", time) for time in times)


def test_who_came_last_is_first_and_who_is_ignored_is_left_out():
    visitors = [visitor(number, "name%d" % number, START + number) for number in (1, 2, 3)]
    visitors[1].ignored = True
    text = page(visitors, [visit(1, 2), visit(2, 1)])
    assert text.index("name3") < text.index("name1") and "name2" not in text and "isitor 2" not in text
    assert ">1</td>" in text and ">2</td>" not in text


def test_headings_language_and_texts_for_screen_readers():
    found = Page(page([visitor(1), visitor(2, picture=portrait(1, 150))], [visit(1, 1)]))
    assert found.attributes("html")[0]["lang"] == "en" and len(found.texts["title"]) == 1
    levels = [int(tag[1]) for tag, _ in found.elements if re.match(r"h[1-6]$", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(second - first <= 1 for first, second in zip(levels, levels[1:]))
    assert all(image["alt"] for image in found.attributes("img"))
    assert [box["aria-label"] for box in found.attributes("div") if box.get("role") == "img"] \
        == ["No picture of Visitor 1"]
    assert {head["scope"] for head in found.attributes("th")} == {"row", "col"}
    assert "viewport" in [meta.get("name") for meta in found.attributes("meta")]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_stays_a_name(name):
    plain, hostile = Page(page([visitor(1, "x")], [visit(1, 1)])), Page(page([visitor(1, name)], [visit(1, 1)]))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert [sorted(attributes) for _, attributes in hostile.elements] == \
        [sorted(attributes) for _, attributes in plain.elements]
    assert "".join(hostile.texts["bdi"]) == 2 * name


def test_nothing_in_the_page_is_elsewhere():
    text = page([visitor(1, "x", picture=portrait(0, 150)), visitor(2)], [visit(1, 1)])
    assert "default-src 'none'" in text
    text = re.sub(r'"data:image/jpeg;base64,[A-Za-z0-9+/=]+"', '""', text)
    assert "//" not in text and "http" not in text.replace("http-equiv", "") and "url(" not in text
    found = Page(text)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in found.elements}
    links = [one.get("href") or one.get("src") for _, one in found.elements if "href" in one or "src" in one]
    assert all(link in ("", "#visitors", "#visits", "#week") for link in links)
    assert {link[1:] for link in links if link} == {one["id"] for _, one in found.elements if "id" in one}


def test_a_picture_that_is_none_is_not_embedded():
    one = visitor(1)
    one.jpeg = b"<svg onload=alert(1)>"
    assert "<img" not in page([one]) and "No picture of Visitor 1" in page([one])


def test_a_page_of_nobody():
    found = Page(page([], []))
    assert found.texts["p"] == ["0 visitors, 0 visits, as of ", "Nobody yet.", "None yet."]


def test_a_thousand_visitors_take_little_more_than_their_pictures():
    picture = portrait(0, 150)
    text = page([visitor(number, "Мария", picture=picture) for number in range(1, 1001)])
    assert len(text.encode()) < 1000 * (1.34 * len(doorcam.to_jpeg(picture)) + 1000) + 10000
    assert text.count('loading="lazy"') == 1000 and "content-visibility: auto" in text


# -------------------------------------------------------------------------------------------------------- the log


def test_the_week_counts_visits_by_day_and_hour():
    noon = datetime.datetime.fromtimestamp(START).replace(hour=12, minute=0, second=0)
    visits = [[noon - datetime.timedelta(days=back, minutes=-minute), 1, 10 * back + minute, None, ""]
              for back, minutes in ((0, 3), (1, 1), (6, 2), (7, 5)) for minute in range(minutes)]
    found = Page(doorcam.page_week(visits, noon.date()))
    cells = np.array([int(text) for text in found.texts["td"]]).reshape(24, 7)
    assert cells[12].tolist() == [2, 0, 0, 0, 0, 1, 3] and cells.sum() == 6
    shades = np.array([int(cell["class"][1]) for cell in found.attributes("td")]).reshape(24, 7)
    assert shades[12].tolist() == [3, 0, 0, 0, 0, 2, 4] and shades.sum() == 9


def test_the_timeline_has_the_last_visits_newest_first():
    visits = [visit(hours, 1, 100 - hours, None if hours == 0 else 61) for hours in range(100, -1, -1)]
    found = Page(doorcam.page_timeline(visits, {1: visitor(1, "Мария")}))
    lines = [text for text in found.texts["li"] if "visit" in text]
    assert len(lines) == doorcam.REPORT_VISITS
    assert lines[0] == ", visit 100" and lines[1] == ", visit 99, 1m 01s"
    assert 3 <= len(found.texts["h3"]) <= 4 and set(found.texts["bdi"]) == {"Мария"}


def test_a_log_is_read_as_doorcam_wrote_it(tmp_path):
    path = str(tmp_path / "visits.csv")
    log, one = doorcam.EventLog(path), visitor(1, "=Мария")
    for kind, moment, count, seconds in (("new", 0, 1, None), ("left", 42, 1, 42.0), ("returned", 900, 2, 858.0),
                                         ("left", 950, 2, 50.0), ("left", 990, 2, 90.0), ("returned", 5000, 3, 9.0)):
        log.tell(doorcam.Event(kind, START + moment, one.number, count, seconds), one.name)
    local = datetime.datetime.fromtimestamp
    assert doorcam.read_visits(path) == [[local(START), 1, 1, 42, ""], [local(START + 900), 1, 2, 90, ""],
                                         [local(START + 5000), 1, 3, None, ""]]


def test_the_timeline_says_at_which_door_if_doors_have_names(tmp_path):
    path = str(tmp_path / "visits.csv")
    log = doorcam.EventLog(path, doors=True)
    for event in (doorcam.Event("new", START, 1, 1, door="back & side"), doorcam.Event("new", START + 9, 2, 1),
                  doorcam.Event("left", START + 42, 1, 1, 42.0, door="hall")):
        log.tell(event, "")
    text = doorcam.page_timeline(doorcam.read_visits(path), {1: visitor(1, "Anna"), 2: visitor(2, "Bea")})
    assert "<bdi>Anna</bdi> at <bdi>back &amp; side</bdi>, first visit, 42s<" in text  # where the visit began
    assert "<bdi>Bea</bdi>, first visit<" in text
    with open(path) as file:
        without = [",".join(line.split(",")[:7]) + "\n" for line in file]
    (tmp_path / "visits.csv").write_text("".join(without))
    text = doorcam.page_timeline(doorcam.read_visits(path), {1: visitor(1, "Anna"), 2: visitor(2, "Bea")})
    assert "<bdi>Anna</bdi>, first visit, 42s<" in text and "<bdi>Bea</bdi>, first visit<" in text


def test_a_log_that_somebody_has_spoilt_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "visits.csv"
    path.write_bytes(b"\xff\xfe\0\r\ntime,event,visitor,name,visit,seconds\r\nx\r\n,,,,,\r\n"
                     b"2026-01-05T09:00:00+01:00,new,one,,1,\r\n2026-01-05T09:00:00+01:00,left,9,,9,5\r\n"
                     b"2026-13-05T09:00:00+01:00,new,1,,1,\r\n2026-01-05T09:00:00+01:00,returned,2,\"a, b\",4,\r\n"
                     b"5,new,3,,1,\r\n99999999999-01-01T00:00:00,new,3,,1,\r\n2026-01-05T09,new,3,,1,\r\n"
                     b"2026-01-05T09:00:09+01:00,left,2,,4,1e999\r\n2026-01-05T09:00:09+01:00,le")
    assert doorcam.read_visits(str(path)) == [[datetime.datetime(2026, 1, 5, 9), 2, 4, None, ""]]


def test_an_unfinished_line_takes_no_other_with_it(tmp_path):
    """A plug was pulled while a name in quotation marks was written."""
    path = tmp_path / "visits.csv"
    log, one = doorcam.EventLog(str(path)), visitor(1, "Anna, postwoman")
    log.tell(doorcam.Event("new", START, 1, 1), one.name)
    whole = path.read_bytes()
    path.write_bytes(whole[:whole.index(b"postwoman")])
    for hours in range(1, 6):
        event = doorcam.Event("returned", START + 3600 * hours, 1, 1 + hours, 60.0)
        doorcam.EventLog(str(path)).tell(event, one.name)
    assert [row[2] for row in doorcam.read_visits(str(path))] == [2, 3, 4, 5, 6]
    with open(str(path), newline="", encoding="utf-8") as file:  # as a spreadsheet reads it
        assert [row[4:5] for row in csv.reader(file)] == [["visit"], []] + [[str(visit)] for visit in range(2, 7)]
    path.write_bytes(whole[:-20] + b"\r\n" + whole.splitlines()[-1].replace(b",1,", b",7,") + b"\r\n")
    assert [row[2] for row in doorcam.read_visits(str(path))] == [7]  # as an earlier doorcam left it


# ------------------------------------------------------------------------------------------------------ as a process


@pytest.fixture
def folder(tmp_path):
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    return tmp_path


def run(folder, *arguments):
    return run_doorcam(*arguments, folder=folder, seconds=60)


def test_the_command_writes_a_page_for_its_owner_alone(folder):
    (folder / "visits.csv").write_text("time,event,visitor,name,visit,seconds\n"
                                       "2026-01-05T09:00:00+01:00,new,1,,1,\n")
    for arguments, name in ((("report",), "visitors.html"), (("report", "a b.html", "--log", "visits.csv"), "a b.html"),
                            (("--faces", "known_faces.dat", "--log", "visits.csv", "report", "c.html"), "c.html"),
                            (("report", "c.html"), "c.html")):
        status, out, err = run(folder, *arguments)
        assert (status, out, err) == (0, "%s is written: open it in a browser\n" % name, "")
        found = Page((folder / name).read_text(encoding="utf-8"))
        assert len(found.attributes("img")) == 2 and (folder / name).stat().st_mode & 0o777 == 0o600
        assert ("week" in [one.get("id") for one in found.attributes("h2")]) == ("--log" in arguments)
    assert not list(folder.glob("*.new"))


def test_other_files_are_not_written_over(folder):
    (folder / "visits.csv").write_text("time,event,visitor,name,visit,seconds\n")
    for name in ("known_faces.dat", "visits.csv", ".", "missing/page.html"):
        before = (folder / name).read_bytes() if (folder / name).is_file() else None
        status, out, err = run(folder, "report", name)
        assert status == 1 and not out
        one_line(err, name)
        assert before is None or (folder / name).read_bytes() == before


def test_a_page_may_go_to_a_pipe_that_somebody_reads_to_a_device_and_into_an_empty_file(folder):
    os.mkfifo(str(folder / "pipe"))
    status, out, err = run(folder, "report", "pipe")
    assert (status, out) == (1, "")
    one_line(err, "pipe cannot be written")
    with subprocess.Popen(["cat", "pipe"], cwd=str(folder), stdout=subprocess.PIPE) as reader:
        assert run(folder, "report", "pipe") == (0, "", "")
        page = reader.communicate(timeout=30)[0].decode()
    assert len(Page(page).attributes("img")) == 2
    status, out, err = run(folder, "report", "/dev/full")
    assert (status, out) == (1, "") and stat.S_ISCHR(os.stat("/dev/full").st_mode)
    one_line(err, "/dev/full cannot be written (No space left on device)")
    (folder / "empty.html").write_text("")
    assert run(folder, "report", "empty.html")[0] == 0 and "<h1>" in (folder / "empty.html").read_text()


def test_a_log_that_cannot_be_read_is_named(folder):
    (folder / "long.csv").write_text("x" * 300000 + "\n")
    os.mkfifo(str(folder / "pipe"))
    for name in ("missing.csv", ".", "long.csv", "pipe", "/dev/zero"):
        status, out, err = run(folder, "report", "--log", name)
        assert status == 1 and not (folder / "visitors.html").exists()
        one_line(err, name)


# ------------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def proxy():
    """(port, requests) of a proxy on loopback through which the browser must go, and which lets nothing out."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def refuse(self):
            requests.append(self.path)
            self.send_error(403)
        do_GET = do_POST = do_CONNECT = do_HEAD = refuse

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) if hasattr(http.server, "ThreadingHTTPServer") \
        else http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port, requests
    server.shutdown()
    server.server_close()


def browse(folder, port, *arguments):
    """Runs headless Chromium; what it prints."""
    return subprocess.check_output(
        [tool("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files",
         "--user-data-dir=%s" % (folder / "chromium"), "--proxy-server=127.0.0.1:%d" % port,
         "--proxy-bypass-list=<-loopback>"] + list(arguments), stderr=subprocess.DEVNULL, timeout=120,
        cwd=str(folder), env=environment(HOME=str(folder))).decode("utf-8")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page with hostile names, a log's visits and a long name, as a file."""
    folder = tmp_path_factory.mktemp("page")
    names = HOSTILE + ("x" * 100, "", "Anna")
    visitors = [visitor(number, name, START - 3600 * number, portrait(number % 2, 150), number)
                for number, name in enumerate(names, 1)]
    visits = [visit(3 * hours, 1 + hours % len(names), hours + 1) for hours in range(56)]
    path = folder / "page.html"
    path.write_text(page(visitors, visits), encoding="utf-8")
    return path


def test_no_request_leaves_the_page(page_file, proxy):
    port, requests = proxy
    control = page_file.parent / "control.html"
    control.write_text('<img src="http://evil.example/control">')
    browse(page_file.parent, port, "--dump-dom", control.as_uri())
    assert any("evil.example/control" in request for request in requests)  # the proxy sees what a page asks for
    del requests[:]
    dom = browse(page_file.parent, port, "--dump-dom", page_file.as_uri())
    assert "Anna" in dom and "evil.example" in dom  # as a name
    assert not [request for request in requests if "evil" in request], requests


@pytest.mark.parametrize("width", (320, 360, 800, 1280))
def test_the_page_fits_the_width_of_a_phone_and_of_a_desk(page_file, proxy, width):
    outer = page_file.parent / "outer.html"
    outer.write_text('<iframe id="f" style="border:0;width:%dpx;height:600px" src="%s"></iframe><p id="p"></p><script>'
                     'f.onload = () => { p.textContent = "width " + f.contentDocument.documentElement.scrollWidth + '
                     '" pictures " + [...f.contentDocument.images].filter(i => i.naturalWidth == 150 || !i.complete)'
                     '.length }</script>' % (width, page_file.as_uri()))
    dom = browse(page_file.parent, proxy[0], "--virtual-time-budget=10000", "--dump-dom", outer.as_uri())
    assert re.search(r"width (\d+)", dom).group(1) == str(width)
    assert int(re.search(r"pictures (\d+)", dom).group(1)) == len(HOSTILE) + 3


def screenshot(page_file, port, *arguments):
    path = page_file.parent / "shot.png"
    browse(page_file.parent, port, "--screenshot=%s" % path, *(arguments + (page_file.as_uri(),)))
    return cv2.imread(str(path))


def test_light_and_dark_and_the_pictures_are_seen(page_file, proxy):
    light = screenshot(page_file, proxy[0], "--window-size=900,900")
    dark = screenshot(page_file, proxy[0], "--window-size=900,900", "--blink-settings=preferredColorScheme=0")
    assert light[3, 3].min() > 230 and dark[3, 3].max() < 40
    for picture in (light, dark):
        card = cv2.resize(portrait(1, 150), (104, 104), interpolation=cv2.INTER_AREA)[20:84, 20:84]
        assert cv2.matchTemplate(picture, card, cv2.TM_CCOEFF_NORMED).max() > 0.9
        heading = picture[16:60, 16:300].astype(int)
        assert heading.max() - heading.min() > 150  # text that stands out


def test_it_prints_on_white_paper_with_everything(page_file, proxy):
    path = page_file.parent / "page.pdf"
    browse(page_file.parent, proxy[0], "--print-to-pdf=%s" % path, "--blink-settings=preferredColorScheme=0",
           page_file.as_uri())
    data = path.read_bytes()
    assert data.startswith(b"%PDF") and data.count(b"/Subtype /Image") >= 2
    assert 2 <= len(re.findall(rb"/Type /Page\b", data)) <= 6
    assert os.path.getsize(str(path)) > 20000


def test_one_visitor_and_one_visit_are_no_more_than_one():
    visitors = [doorcam.Visitor(number, [np.float32(person(number))], START, "dlib") for number in (1, 2)]
    for visitor in visitors:
        visitor.seen_count = 1
    assert "<p>0 visitors, 0 visits, as of" in doorcam.report_page([], None, START)
    assert "<p>1 visitor, 1 visit, as of" in doorcam.report_page(visitors[:1], None, START)
    assert "<p>2 visitors, 2 visits, as of" in doorcam.report_page(visitors, None, START)
