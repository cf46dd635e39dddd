"""A real Chromium, driven over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol)."""
import base64
import json
import os
import socket
import subprocess
import urllib.request

import cv2
import numpy as np

from processes import environment, process, wait_for


class Browser:
    """Headless Chromium with one page of so many pixels. Of the WebSocket (RFC 6455) only what Chromium needs."""

    def __init__(self, folder, width=390, height=844):
        profile = os.path.join(str(folder), "chromium")
        self._process = process(
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0",
            "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
            "--user-data-dir=" + profile, "about:blank", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment(HOME=str(folder)))
        self._process.__enter__()
        path = os.path.join(profile, "DevToolsActivePort")
        wait_for(lambda: os.path.exists(path) and os.path.getsize(path), 60, "Chromium starts")
        with open(path) as file:
            port = int(file.readline())
        pages = wait_for(lambda: [one for one in self._pages(port) if one["type"] == "page"], 30, "it has a page")
        self._line, self._count = socket.create_connection(("127.0.0.1", port), 60), 0
        self._line.sendall((
            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            % (pages[0]["webSocketDebuggerUrl"].split(str(port), 1)[1], port)).encode())
        self._file = self._line.makefile("rb")
        while self._file.readline().strip():
            pass
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)
        self.do("Page.enable")

    @staticmethod
    def _pages(port):
        with urllib.request.urlopen("http://127.0.0.1:%d/json/list" % port, timeout=10) as answer:
            return json.loads(answer.read().decode())

    def do(self, method, **params):
        """The result of a method of the protocol."""
        self._count += 1
        data = json.dumps({"id": self._count, "method": method, "params": params}).encode()
        size = bytes([128 | len(data)]) if len(data) < 126 else bytes([254]) + len(data).to_bytes(2, "big")
        self._line.sendall(b"\x81" + size + b"\0\0\0\0" + data)  # a text, masked with nothing
        while True:
            answer = json.loads(self._message().decode())
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def _message(self):
        """What one frame from the browser holds; it sends each message in one."""
        _, size = self._file.read(2)
        if size >= 126:
            size = int.from_bytes(self._file.read(2 if size == 126 else 8), "big")
        return self._file.read(size)

    def run(self, script):
        """The value of a line of JavaScript in the page."""
        answer = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script, what, seconds=30):
        """Waits until a line of JavaScript is true, which it may fail to be while a page is loaded."""
        def true():
            try:
                return self.run("!!(%s)" % script)
            except AssertionError:
                return False
        wait_for(true, seconds, what)

    def open(self, address):
        self.do("Page.navigate", url=address)
        self.wait_for("document.readyState != 'loading' && location.href != 'about:blank'", "the page is open")

    def find(self, selector):
        """The number of the first such element, without a script; 0 if there is none, as while a page is loaded."""
        try:
            root = self.do("DOM.getDocument")["root"]["nodeId"]
            return self.do("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        except AssertionError:
            return 0

    def focus(self, selector):
        """Whether the first such element has been there, and has the focus now."""
        try:
            self.do("DOM.focus", nodeId=self.find(selector))
            return True
        except AssertionError:
            return False

    def picture(self):
        """What is seen, BGR."""
        data = base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._line.close()
        self._process.__exit__(None, None, None)
