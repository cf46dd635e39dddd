"""--mqtt, against a real mosquitto: what Home Assistant is told, and what happens while there is no broker."""
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

import doorcam
from helpers import Story, book_of, face, person
from processes import EXAMPLE, Doorcam, one_line, process, run_doorcam, tool, visit_frames, wait_for, write_clip

FRAME = np.full((48, 64, 3), (0, 0, 255), np.uint8)
PASSWORD = "pass/w%rd@#:"
ESCAPED = "pass%2Fw%25rd%40%23%3A"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Mosquitto:
    """A broker on a port of its own, which forgets everything when it ends; user: one who needs PASSWORD."""

    def __init__(self, folder, user=None):
        self.port, self._config, self._running = free_port(), folder / "mosquitto.conf", None
        self._config.write_text("user root\nlistener %d 127.0.0.1\nallow_anonymous %s\n%s" % (
            self.port, "false" if user else "true", "password_file %s\n" % (folder / "users") if user else ""))
        if user:
            subprocess.check_call([tool("mosquitto_passwd"), "-b", "-c", str(folder / "users"), user, PASSWORD])
        self.user = user
        self.start()

    def start(self):
        self._running = process("mosquitto", "-c", str(self._config), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        self.child = self._running.__enter__()
        wait_for(self._listens, 20, "the broker")

    def _listens(self):
        with socket.socket() as line:
            return line.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        """SIGKILL, if it runs."""
        if self._running:
            self._running.__exit__(None, None, None)
            self._running = None

    def address(self, user=""):
        return "mqtt://%s127.0.0.1:%d" % (user and user + "@", self.port)


class Listener:
    """Hears all that a broker is told from now on, or all that it has retained: [(topic, payload)]."""

    def __init__(self, broker, topics="#", retained=False):
        import paho.mqtt.client  # here, for the quick tests do without
        version = getattr(paho.mqtt.client, "CallbackAPIVersion", None)
        self.client = paho.mqtt.client.Client(*([version.VERSION2] if version else []))
        self.heard, self._ready = [], threading.Event()
        self.client.on_message = lambda client, data, one: self.heard.extend(
            [(one.topic, one.payload)] if bool(one.retain) == retained else [])
        self.client.on_subscribe = lambda *_: self._ready.set()
        if broker.user:
            self.client.username_pw_set(broker.user, PASSWORD)
        self.client.connect("127.0.0.1", broker.port)
        self.client.subscribe(topics, 2)
        self.client.loop_start()
        assert self._ready.wait(20)

    def of(self, ending):
        """All payloads of topics that end so, in their order."""
        return [payload for topic, payload in list(self.heard) if topic.endswith(ending)]

    def events(self):
        return [json.loads(payload.decode()) for payload in self.of("/event")]

    def wait_for(self, ending, payload):
        wait_for(lambda: self.of(ending)[-1:] == [payload], 30, "%s: %r, not %r" % (ending, payload, self.of(ending)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.kill()


@pytest.fixture
def own_broker(tmp_path):
    """One that a test may kill."""
    broker = Mosquitto(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def listener(broker):
    with Listener(broker) as listener:
        yield listener


@pytest.fixture
def teller(tmp_path):
    """Makes an Mqtt for an address; it is closed after the test."""
    made = []

    def make(address, name="known_faces.dat"):
        made.append(doorcam.Mqtt(doorcam.parse_broker(address), str(tmp_path / name)))
        return made[-1]
    yield make
    for one in made:
        one.AT_THE_END = 0.2
        one.close()


@pytest.fixture
def folder(tmp_path):
    """A folder with the two visitors of the example in its known_faces.dat, the first of whom is Мария."""
    shutil.copy(EXAMPLE, str(tmp_path / "known_faces.dat"))
    run_doorcam("name", "1", "Мария", folder=tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Three seconds in which visitor 1 of the example stands there."""
    return write_clip(tmp_path_factory.mktemp("clip") / "visit.avi", visit_frames(30))


def turn(*tellers, until, seconds=30):
    """The main loop's part, until something is so."""
    def once():
        for one in tellers:
            one.look_after()
        return until()
    wait_for(once, seconds, "what the broker is told")


def event(kind="returned", number=3, visit=3, seconds=3600.0, sure=0.97, moment=1767600000.0):
    return doorcam.Event(kind, moment, number, visit, seconds, sure)


# ------------------------------------------------------------------------------------------------------ the address


@pytest.mark.parametrize("text, broker", [
    ("mqtt://localhost", ("localhost", 1883, False, None, None)),
    ("mqtts://anna:%s@Broker.local/" % ESCAPED, ("broker.local", 8883, True, "anna", PASSWORD)),
    ("mqtt://anna@[::1]:1884", ("::1", 1884, False, "anna", None))])
def test_an_address_is_taken_as_it_is_or_from_a_file(tmp_path, text, broker):
    assert doorcam.parse_broker(text) == broker
    (tmp_path / "mqtt.txt").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\nmore\n")
    assert doorcam.parse_broker(str(tmp_path / "mqtt.txt")) == broker
    assert "anna" not in str(doorcam.parse_broker(text))


@pytest.mark.parametrize("text", ["", "localhost", "http://localhost", "mqtt://", "mqtt://u:secret@host:x",
                                  "mqtt://u:se/cret@host", "mqtt://u:secret#@host", "mqtt://u:secret@host:99999",
                                  "u:secret@host", "mqtt://[x", "no-such-file", ".", "pipe"])
def test_what_is_no_address_is_refused_and_no_password_is_said(tmp_path, text):
    os.mkfifo(str(tmp_path / "pipe"))  # to which nobody writes
    status, out, err = run_doorcam("--mqtt", text, folder=tmp_path)
    assert status == 2 and out == "" and "secret" not in err and "cret@" not in err
    one_line(err, "--mqtt")


def test_without_paho_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(doorcam.DoorcamError, match="paho-mqtt.*install 'paho-mqtt<3'"):
        doorcam.Mqtt(doorcam.parse_broker("mqtt://u:secret@localhost"), str(tmp_path / "known_faces.dat"))


def test_each_book_on_each_machine_has_a_device_of_its_own_that_stays(teller, broker):
    first, again, other = (teller(broker.address(), name) for name in ("a.dat", "./a.dat", "b.dat"))
    assert first.id == again.id != other.id and first.topic != other.topic


# ------------------------------------------------------------------------------------------- what is published

# https://www.home-assistant.io/integrations/mqtt/ and the pages of each platform: the fields that are required, all
# others that are used here, and what each must be
COMMON = {"p": str, "unique_id": str, "name": str, "icon": str}
PLATFORMS = {"binary_sensor": ({"state_topic": str}, {"device_class": str}),
             "sensor": ({"state_topic": str}, {}),
             "event": ({"state_topic": str, "event_types": list}, {}),
             "image": ({"image_topic": str}, {"content_type": str})}


def check_discovery(topic, payload):
    """The payload of device discovery, field by field; the topics of its parts, by their keys."""
    assert set(payload) == {"dev", "o", "cmps", "availability_topic"}
    assert set(payload["dev"]) == {"ids", "name", "mf", "mdl", "sw"} and set(payload["o"]) == {"name", "sw", "url"}
    (number,) = payload["dev"]["ids"]
    assert topic == "homeassistant/device/%s/config" % number
    assert set(number) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") and number.startswith("doorcam_")
    assert payload["o"]["url"].startswith("https://")
    assert all(isinstance(value, str) for part in ("dev", "o") for name, value in payload[part].items()
               if name != "ids")
    for part in payload["cmps"].values():
        required, more = PLATFORMS[part["p"]]
        assert {"p", "unique_id"} | set(required) <= set(part) <= set(COMMON) | set(required) | set(more)
        for name, kind in dict(COMMON, **dict(required, **more)).items():
            assert isinstance(part.get(name, kind()), kind) and part.get(name, "x")
    kinds = sorted(part["p"] for part in payload["cmps"].values())
    assert kinds == ["binary_sensor", "event", "image", "sensor", "sensor"]
    assert len({part["unique_id"] for part in payload["cmps"].values()}) == 5
    assert payload["cmps"]["at_door"]["device_class"] == "occupancy"
    assert payload["cmps"]["event"]["event_types"] == ["new", "returned", "left"]
    return {key: part.get("state_topic", part.get("image_topic")) for key, part in payload["cmps"].items()}


def test_a_visit_as_home_assistant_is_told_of_it(folder, clip, broker, listener):
    status, out, err = run_doorcam("--headless", "--source", clip, "--mqtt", broker.address(), folder=folder)
    assert (status, err) == (0, "")
    (topic, config), = [(topic, payload) for topic, payload in listener.heard if topic.endswith("/config")]
    payload = json.loads(config.decode())
    topics = check_discovery(topic, payload)
    listener.wait_for(payload["availability_topic"], b"offline")
    assert listener.of(payload["availability_topic"])[0] == b"online"
    assert listener.of(topics["at_door"]) == [b"OFF", b"ON", b"OFF"]
    assert listener.of(topics["who"]) == [b"nobody", "Мария".encode(), b"nobody"]
    assert listener.of(topics["last"])[-1] == "Мария".encode()
    came, left = listener.events()
    assert set(came) == set(left) == {"event_type", "visitor", "name", "visit", "time", "seconds", "seconds_away",
                                      "sure", "door"}
    assert (came["event_type"], came["visitor"], came["name"], came["visit"]) == ("returned", 1, "Мария", 4)
    assert came["seconds"] is None and came["seconds_away"] > 1000 and 50 < came["sure"] <= 99
    assert (left["event_type"], left["visitor"], left["sure"]) == ("left", 1, None) and left["seconds"] in (2, 3)
    picture = cv2.imdecode(np.frombuffer(listener.of(topics["picture"])[-1], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (480, 640, 3)
    with Listener(broker, payload["availability_topic"].replace("available", "#"), retained=True) as later:
        wait_for(lambda: len(later.heard) == 5, 10, later.heard)  # who listens from now on hears them; no event
        assert later.of("/available") == [b"offline"] and not later.of("/event")


def test_somebody_ignored_is_told_to_nobody(folder, clip, broker, listener):
    run_doorcam("ignore", "1", folder=folder)
    status, _, err = run_doorcam("--headless", "--source", clip, "--mqtt", broker.address(), folder=folder)
    assert (status, err) == (0, "")
    listener.wait_for("/available", b"offline")
    assert not listener.events() and set(listener.of("/at_door") + listener.of("/who")) == {b"OFF", b"nobody"}
    assert not any("Мария".encode() in payload or payload == b"visitor 1" for _, payload in listener.heard)


def test_who_is_at_the_door_goes_with_the_strip(teller, broker, listener):
    story, mqtt = Story(book_of(person(0))), teller(broker.address())
    story.book.visitors[1].name = "Анна"

    def told(at_door, who):
        mqtt.see(story.visits.at_door(story.now), story.book)
        turn(mqtt, until=lambda: listener.of("/at_door")[-1:] == [at_door] and listener.of("/who")[-1:] == [who])
    told(b"OFF", b"nobody")
    story.show(face(person(0)), face(person(1), x=600))
    told(b"ON", "Анна, visitor 2".encode())
    story.show(face(person(1), x=600), seconds=doorcam.STRIP_SECONDS + 1)
    told(b"ON", b"visitor 2")
    story.book.visitors[2].ignored = True
    told(b"OFF", b"nobody")
    story.nobody(doorcam.STRIP_SECONDS)
    told(b"OFF", b"nobody")


def test_who_came_last_is_somebody_who_may_be_told(teller, broker, listener):
    """Also after a restart, when somebody is ignored or forgotten since, and when a name was wrong."""
    book, mqtt = book_of(person(0), person(1), person(2)), teller(broker.address())
    for number, name in ((1, "Anna"), (2, "Ben"), (3, "Cleo")):
        book.visitors[number].name, book.visitors[number].first_seen_this_interaction = name, 1e9 + number
        book.visitors[number].jpeg = doorcam.to_jpeg(np.full((20, 20, 3), number, np.uint8))
    jpegs = {number: book.visitors[number].jpeg for number in (1, 2, 3)}

    def told(name, picture):
        mqtt.see([], book)
        turn(mqtt, until=lambda: (listener.of("/last")[-1:], listener.of("/picture")[-1:]) == ([name], [picture]))
    told(b"Cleo", jpegs[3])
    book.ignore(3)
    told(b"Ben", jpegs[2])
    mqtt.tell(event(number=1), "Anna", FRAME)
    told(b"Anna", doorcam.to_jpeg(FRAME))
    book.name(1, "Anna Maria")
    told(b"Anna Maria", doorcam.to_jpeg(FRAME))
    mqtt.tell(event("mistaken", number=1), "Anna", FRAME)
    told(b"Ben", jpegs[2])
    mqtt.tell(event(number=1)._replace(again=True), "Anna", FRAME)  # it was she after all
    told(b"Anna Maria", doorcam.to_jpeg(FRAME))
    book.ignore(1)
    told(b"Ben", jpegs[2])
    book.visitors[1].ignored, book.visitors[1].jpeg = False, jpegs[1]
    book.forget(2)
    told(b"Anna Maria", jpegs[1])
    book.ignore(1)
    told(b"None", b"")  # which Home Assistant takes for unknown
    assert [one["event_type"] for one in listener.events()] == ["returned"]


def test_a_state_is_never_longer_than_home_assistant_takes(teller, broker, listener):
    book, mqtt = book_of(*map(person, range(9))), teller(broker.address())
    for visitor in book.visitors.values():
        visitor.name = "Я" * doorcam.MAX_NAME
    mqtt.see(list(book.visitors.values()), book)
    turn(mqtt, until=lambda: listener.of("/who"))
    assert len(listener.of("/who")[0].decode()) == 255


def test_home_assistant_that_starts_is_told_again_what_doorcam_is(teller, broker, listener):
    mqtt = teller(broker.address())
    turn(mqtt, until=lambda: listener.of("/config"))
    first = len(listener.of(mqtt.id + "/config"))
    listener.client.publish("homeassistant/status", "offline")
    listener.client.publish("homeassistant/status", "online")
    turn(mqtt, until=lambda: len(listener.of(mqtt.id + "/config")) > first)
    assert len(set(listener.of(mqtt.id + "/config"))) == 1


def test_a_thousand_visits_are_told_once_and_in_order(teller, broker, listener):
    mqtt = teller(broker.address())
    turn(mqtt, until=lambda: listener.of(mqtt.topic + "/available"))
    for number in range(1000):
        mqtt.tell(event(number=number), "", FRAME)
        mqtt.look_after()
    turn(mqtt, until=lambda: len(listener.events()) >= 1000, seconds=120)
    time.sleep(0.3)
    assert [one["visitor"] for one in listener.events()] == list(range(1000))


# --------------------------------------------------------------------------------------------- when it goes wrong


def test_a_doorcam_that_is_killed_is_not_available_and_no_process_shows_the_password(tmp_path, broker, listener):
    (tmp_path / "broker.txt").write_text(broker.address("anna:" + ESCAPED) + "\n")
    with Doorcam("--headless", "--source", "demo", "--mqtt", "broker.txt", folder=tmp_path) as running:
        wait_for(lambda: b"ON" in listener.of("/at_door"), 60, "somebody")
        assert listener.of("/available")[-1] == b"online"
        shown = b""
        for children in glob.glob("/proc/%d/task/*/children" % running.process.pid):
            with open(children) as file:
                for number in [str(running.process.pid)] + file.read().split():  # recognition is one
                    with open("/proc/%s/cmdline" % number, "rb") as line:
                        shown += line.read()
        assert shown.count(b"doorcam.py") > 1 and ESCAPED.encode() not in shown and PASSWORD.encode() not in shown
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        listener.wait_for("/available", b"offline")


def test_a_broker_that_is_killed_hears_everything_when_it_is_back(own_broker, teller, monkeypatch, capsys):
    monkeypatch.setattr(doorcam.Mqtt, "STEADY", 0.2)
    book, mqtt = book_of(person(0), person(1), person(2)), teller(own_broker.address())
    mqtt.see([book.visitors[1]], book)
    for round in range(2):
        with Listener(own_broker) as listener:
            turn(mqtt, until=lambda: listener.of("/who") and listener.of("/config"))
            if round:
                turn(mqtt, until=lambda: len(listener.events()) == 2)
                assert [one["visitor"] for one in listener.events()] == [1, 2]  # the one before that is old news
                assert listener.of("/who")[-1] == b"visitor 1" and listener.of("/available")[-1] == b"online"
                turn(mqtt, until=lambda: not mqtt._said)
                break
        own_broker.kill()
        turn(mqtt, until=lambda: mqtt._said)
        mqtt.tell(event(number=7), "", FRAME)
        mqtt._events[0] = (mqtt._events[0][0] - mqtt.LATE,) + mqtt._events[0][1:]
        mqtt.tell(event(number=3), "", FRAME)
        book.ignore(3)  # before the broker is back
        mqtt.tell(event(number=1), "", FRAME)
        mqtt.tell(event(number=2), "", FRAME)
        mqtt.see([book.visitors[1]], book)
        own_broker.start()
    first, second = capsys.readouterr().err.splitlines()
    one_line(first, own_broker.address(), "it is tried again")
    one_line(second, "is there again")


def test_a_broker_that_is_away_is_said_once_and_holds_up_nothing(folder, clip):
    address = "mqtt://anna:%s@127.0.0.1:%d" % (ESCAPED, free_port())
    status, out, err = run_doorcam("--headless", "--source", clip, "--mqtt", address, folder=folder, seconds=60)
    assert status == 0 and "returned" in out
    one_line(err, "127.0.0.1", "Connection refused")
    assert "anna" not in err and "pass" not in err


def test_a_wrong_password_is_said_once_without_it(tmp_path, teller, capsys):
    broker = Mosquitto(tmp_path, user="anna")
    try:
        wrong = teller(broker.address("anna:wrong"))
        turn(wrong, until=lambda: wrong._said)
        refused = time.monotonic()
        turn(wrong, until=lambda: time.monotonic() > refused + 3)  # it has tried again
        one_line(capsys.readouterr().err, "refuses doorcam", "uthori")
        right = teller(broker.address("anna:" + ESCAPED))
        with Listener(broker) as listener:
            turn(right, until=lambda: listener.of("/config"))
        assert capsys.readouterr().err == ""
    finally:
        broker.kill()


def test_a_broker_that_hangs_holds_up_nothing_and_what_waits_is_bounded(own_broker, teller, capsys):
    mqtt = teller(own_broker.address())
    picture = np.random.RandomState(1).randint(0, 255, (480, 640, 3)).astype(np.uint8)
    turn(mqtt, until=lambda: mqtt._connected and mqtt._sent)
    own_broker.child.send_signal(signal.SIGSTOP)
    try:
        for number in range(2 * mqtt.WAITING):
            mqtt.tell(event(number=number), "", picture if number % 100 == 0 else FRAME)
            mqtt.look_after()
        assert len(mqtt._events) == mqtt.WAITING and len(mqtt._flying) <= mqtt.AT_ONCE
        assert len(mqtt._client._out_packet) <= len(mqtt._kept) + 2 * mqtt.AT_ONCE
        mqtt.AT_THE_END = 0.5
        mqtt.close()
    finally:
        own_broker.child.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "x..y"])
def test_a_host_that_is_no_name_is_tried_again(host, teller, capsys):
    mqtt = teller("mqtt://" + host)
    turn(mqtt, until=lambda: mqtt._said)
    one_line(capsys.readouterr().err, host, "cannot be reached")
    assert mqtt._client._thread.is_alive()
