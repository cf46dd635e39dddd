#!/usr/bin/env python3
"""Reads hostile and damaged known-faces files as doorcam does, each in a process of its own that is bounded.

  hostile.py cases            each file of CASES; a line of JSON for each
  hostile.py fuzz COUNT SEED  so many files mutated, cut and spliced at random; a line of JSON at the end

Whatever a file holds: no code of it runs, nothing but ValueError comes out, at worst its process ends as doorcam
expects it, it takes no more than SECONDS_LIMIT, and what is accepted can be written and read again.
"""
import hashlib
import io
import json
import os
import pickle
import pickletools
import random
import re
import resource
import signal
import struct
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import cv2  # noqa: E402
import numpy as np  # noqa: E402

import doorcam  # noqa: E402
import files  # noqa: E402

SECONDS_LIMIT = 30.0          # of CPU time for one file in `cases`; `fuzz` uses FUZZ_SECONDS for its small ones
FUZZ_SECONDS = 1.0
FORBIDDEN = ("os.", "subprocess.", "exec", "compile", "socket.", "shutil.", "ctypes.dlopen", "pty.", "webbrowser.",
             "urllib.", "code.", "builtins.input", "marshal.", "pickle.find_class", "sys._getframe", "mmap.", "import")

# ---------------------------------------------------------------------------------------------- pickles by hand

MARKER = "code-of-the-file-ran"   # a file that a hostile pickle would make in the current folder


def text(value):
    """BINUNICODE"""
    data = value.encode("utf-8")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    return b"J" + struct.pack("<i", value)


def data(value):
    """BINBYTES"""
    return b"B" + struct.pack("<I", len(value)) + value


def name(module, what):
    """GLOBAL"""
    return ("c%s\n%s\n" % (module, what)).encode()


def call(function, *arguments):
    """REDUCE"""
    return function + b"(" + b"".join(arguments) + b"tR"


def program(*parts):
    return b"\x80\x04" + b"".join(parts) + b"."


def known_faces(encoding, metadata, count=1):
    """A known-faces file with a hand-made encoding and record, `count` times."""
    return program(b"](](", encoding * count, b"e](", metadata * count, b"ee")


def record(**values):
    """A dict with a valid time and the values, already pickled."""
    values.setdefault("last_seen", TIME)
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def raw(value, protocol=2):
    """A value pickled by the library, to stand inside another pickle: its opcodes without frames, PROTO and STOP."""
    return files.unframed(pickle.dumps(value, protocol))[2:-1]


TIME = call(name("datetime", "datetime"), data(files.MORNING.__reduce__()[1][0]))
ENCODING = call(name("numpy", "ndarray"), b"(" + number(128) + b"t", text("<f8"),
                data(files.original_encoding(0).tobytes()))
SYSTEM = call(name("os", "system"), text("touch " + MARKER))


def picture(jpeg):
    """A stored picture as doorcam writes it."""
    array = call(name("numpy", "ndarray"), b"(" + number(len(jpeg)) + b"t", text("|u1"), data(jpeg))
    return call(name("cv2", "imdecode"), array, number(1))


def jpeg_of_size(width, height):
    """A JPEG whose header claims another size."""
    jpeg = doorcam.to_jpeg(files.smooth_picture(0, 16, 16))
    place = jpeg.index(b"\xff\xc0")
    return jpeg[:place + 5] + struct.pack(">HH", height, width) + jpeg[place + 9:]


def many_scans(count):
    """A large progressive JPEG with one of its scans repeated: each costs a pass over the whole picture."""
    jpeg = cv2.imencode(".jpg", np.zeros((2048, 2048, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    start = jpeg.rindex(b"\xff\xda")
    return jpeg[:start] + jpeg[start:-2] * count + jpeg[-2:]


def laughs(depth, width, leaf=b"K\x01"):
    """A list of lists of lists, each `width` times the same one: a small file of width ** depth values."""
    made = leaf + b"r" + struct.pack("<I", 1000)
    for level in range(depth):
        again = b"j" + struct.pack("<I", 1000 + level)
        made = made + b"0" + b"](" + again * width + b"e" + b"r" + struct.pack("<I", 1001 + level)
    return made


def laughs_without_pop(depth, width):
    """The same without POP, which no known-faces file has: the makings stay in a tuple."""
    made = b"(K\x01r" + struct.pack("<I", 1000)
    for level in range(depth):
        again = b"j" + struct.pack("<I", 1000 + level)
        made += b"](" + again * width + b"er" + struct.pack("<I", 1001 + level)
    return made + b"t"


def deep(open_one, close_one, depth):
    return open_one * depth + close_one * depth


def remembered(value, use, count):
    """A value in the memo and, after it, `use` of it so many times, all in a list."""
    return program(b"](", value, b"r" + struct.pack("<I", 7), use(b"j" + struct.pack("<I", 7)) * count, b"e")


def object_array(inner):
    """numpy's way to keep objects: an array of kind O, whose state is a list of them."""
    array = call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), b"(K\x00t", data(b"b"))
    kind = call(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88")
    return array + b"(K\x01(K\x01t" + kind + b"\x89](" + inner + b"etb"


class Evil:
    """Pickles to what it was given."""

    def __init__(self, reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def library(*reduced):
    """A pickle as the library would write the attack."""
    return pickle.dumps([[Evil(reduced)], [{}]], 4)


def make_cases():
    """{name: bytes}"""
    getattr_chain = call(call(name("builtins", "getattr"), call(name("builtins", "__import__"), text("os")),
                              text("system")), text("touch " + MARKER))
    npz = files.original_encoding(0).tobytes()
    mb = b"\x00" * (1 << 20)
    u1 = text("|u1")
    ndarray, size = name("numpy", "ndarray"), b"(J" + struct.pack("<i", 1 << 20) + b"t"
    jpeg = doorcam.to_jpeg(files.smooth_picture(0, 16, 16))
    return {
        # code
        "os.system": program(SYSTEM), "posix.system": program(call(name("posix", "system"), text("touch " + MARKER))),
        "subprocess": program(call(name("subprocess", "Popen"), b"](" + text("touch") + text(MARKER) + b"e")),
        "eval": program(call(name("builtins", "eval"), text("open(%r, 'w')" % MARKER))),
        "exec of Python 2": b"c__builtin__\neval\n(S'open(\"%s\",\"w\")'\ntR." % MARKER.encode(),
        "getattr": program(getattr_chain), "by the library": library(os.system, ("touch " + MARKER,)),
        "nested": library(list, (Evil((map, (os.system, ["touch " + MARKER]))),)),
        "hidden in a good file": known_faces(ENCODING, record(name=SYSTEM)),
        "hidden after a good file's end": files.original_file(1)[:-1] + b"0" + SYSTEM + b".",
        "attribute of something allowed": program(b"\x8c\x08datetime\x8c\x17datetime.__subclasses__\x93)R"),
        "attribute of numpy": program(call(name("numpy", "ndarray.__class__"))),
        "numpy load": program(call(name("numpy", "load"), text("x"), b"N", b"\x88")),
        "numpy runstring": program(call(name("numpy.testing._private.utils", "runstring"), text("1"), b"}")),
        "doorcam's own": program(call(name("doorcam", "main"), b"](" + text("list") + b"e")),
        "cv2 imread": program(call(name("cv2", "imread"), text("/etc/passwd"))),
        "cv2 imwrite": program(call(name("cv2", "imwrite"), text(MARKER + ".png"), ENCODING)),
        "copyreg": program(call(name("copyreg", "_reconstructor"), name("builtins", "object"),
                                name("builtins", "object"), b"N")),
        "codecs decode": program(call(name("_codecs", "decode"), data(b"x"), text("zlib"))),
        "codecs encode to what a codec runs": program(call(name("_codecs", "encode"), text("x"), text("rot13"))),
        "pickle in pickle": program(call(name("pickle", "loads"), data(program(SYSTEM)))),
        "setstate of a function": program(name("datetime", "datetime") + b"}X\x01\x00\x00\x00aK\x01sb"),
        "setstate of a dict": program(b"}}" + text("__class__") + b"K\x01sb"),
        "setstate with slots": program(TIME + b"N}" + text("year") + b"K\x01s\x86b"),
        "setstate of a list": program(b"]K\x01b"), "setstate of numpy's type": program(name("numpy", "dtype") + b"Nb"),
        "setstate of an array": program(ENCODING + b"(K\x01K\x02tb"),
        "object array": program(object_array(SYSTEM)), "object array of good": program(object_array(b"K\x01")),
        "object array of a numpy pickle": known_faces(pickle.dumps(np.array([Evil((os.system, ("touch " + MARKER,)))],
                                                                            dtype=object), 2)[2:-1], record()),
        "structured array": pickle.dumps([[np.zeros(3, "i4,f8")], [{}]]),
        "text array": pickle.dumps([[np.array(["a", "b"])], [{}]]),
        "date array": pickle.dumps([[np.zeros(3, "M8[s]")], [{}]]),
        "persistent id": program(b"PSystem\n"), "binary persistent id": program(text("x") + b"Q"),
        "extension 1": program(b"\x82\x01"), "extension 2": program(b"\x83\x01\x00"),
        "extension 4": program(b"\x84\x01\x00\x00\x00"),
        "INST": b"(S'touch %s'\nios\nsystem\n." % MARKER.encode(), "OBJ": program(b"(", name("os", "system"), text("x"),
                                                                                  b"o"),
        "NEWOBJ": program(name("datetime", "datetime"), b")\x81"),
        "NEWOBJ_EX": program(name("datetime", "datetime"), b")}\x92"),
        "out-of-band buffer": b"\x80\x05\x97.", "set": program(b"\x8f(K\x01\x90"), "frozenset": program(b"(K\x01\x91"),
        "call of a list": program(b"])R"), "call of an array": program(ENCODING + b")R"),
        "call of a time": program(TIME + b")R"),
        "call with a dict": program(name("datetime", "timedelta") + b"}R"),
        "call with a text": program(name("numpy", "dtype") + text("f8") + b"R"),
        # memory and time
        "memo index of 2 ** 31": program(b"]r" + struct.pack("<I", 2 ** 31)),
        "memo index of 2 ** 32 - 1 read": program(b"j" + b"\xff" * 4),
        "memo entries": program(b"N" + b"".join(b"r" + struct.pack("<I", i * 1000) for i in range(500000))),
        "brackets": b"\x80\x04" + b"]" * 2000000 + b".", "dicts": b"\x80\x04" + b"}" * 2000000 + b".",
        "marks": b"\x80\x04" + b"(" * 2000000 + b".", "empty tuples": b"\x80\x04" + b")" * 2000000 + b".",
        "numbers": program(b"](" + b"K\x01" * 1000000 + b"e"),
        "deep list": program(deep(b"](", b"e", 15000)), "deep tuple": program(deep(b"(", b"t", 15000)),
        "deep tuple of one": program(b")" + b"\x85" * 60000),
        "deep tuple as a key": program(b"})" + b"\x85" * 9000 + b"Ns"),
        "deep dict": program(b"}" + (text("k") + b"}") * 3000 + b"s" * 3000),
        "list in itself": known_faces(ENCODING, record(x=b"]q\x01(" + b"h\x01" * 3000 + b"e")),
        "laughs": known_faces(ENCODING, record(x=laughs_without_pop(6, 300))),
        "laughs of three levels": known_faces(ENCODING, record(x=laughs_without_pop(3, 1500))),
        "laughs with POP": known_faces(ENCODING, record(x=laughs(6, 300))),
        "laughs as a name of a type": program(call(name("numpy", "dtype"), laughs_without_pop(6, 300))),
        "laughs as an encoding": known_faces(laughs_without_pop(5, 128), record()),
        "one record very often": known_faces(b"N" * 100000,
                                             record() + b"q\x05" + b"h\x05" * 99999),
        "one encoding and record very often": known_faces(ENCODING + b"q\x04" + b"h\x04" * 99999,
                                                          record() + b"q\x05" + b"h\x05" * 99999),
        "one large picture in many records": known_faces(
            ENCODING + b"q\x04" + b"h\x04" * 4999, record(face_image=call(
                ndarray, b"(M\x00\x08M\x00\x02K\x01t", u1, data(mb))) + b"q\x05" + b"h\x05" * 4999),
        "one JPEG in many records": known_faces(
            ENCODING + b"q\x04" + b"h\x04" * 9999,
            record(face_image=picture(jpeg + b"\x00" * 1000000)) + b"q\x05" + b"h\x05" * 9999),
        "keys with one hash": program(b"}(" + b"".join(
            b"\x8a\x0b" + (i * (2 ** 61 - 1)).to_bytes(11, "little") + b"N" for i in range(1, 40000)) + b"u"),
        "BINBYTES8 of 2 ** 62": program(b"\x8e" + struct.pack("<Q", 2 ** 62)),
        "BINBYTES8 of 2 ** 64 - 1": program(b"\x8e" + b"\xff" * 8),
        "BINBYTES of 2 ** 32 - 1": program(b"B" + b"\xff" * 4),
        "BYTEARRAY8 of 2 ** 40": b"\x80\x05\x96" + struct.pack("<Q", 2 ** 40) + b".",
        "BYTEARRAY8 of 2 ** 33": b"\x80\x05\x96" + struct.pack("<Q", 2 ** 33) + b".",
        "BINUNICODE8 of 2 ** 62": program(b"\x8d" + struct.pack("<Q", 2 ** 62)),
        "LONG4": program(b"\x8b" + struct.pack("<i", 10000000) + b"\x7f" * 10000000),
        "long decimal": b"I" + b"9" * 1000000 + b"\n.", "long text number": b"L" + b"9" * 1000000 + b"L\n.",
        "frame too long": b"\x80\x04\x95" + struct.pack("<Q", 2 ** 62) + b"].",
        "frame too short": b"\x80\x04\x95" + struct.pack("<Q", 1) + b"](K\x01e.",
        "frame of 2 ** 64 - 1": b"\x80\x04\x95" + b"\xff" * 8 + b"].",
        "frame in a frame": b"\x80\x04" + b"".join(b"\x95" + struct.pack("<Q", size) for size in (20, 10)) + b"]" * 11,
        "empty frames": b"\x80\x04" + (b"\x95" + b"\x00" * 8) * 200000 + b"N.",
        "protocol 6": b"\x80\x06N.", "protocol 255": b"\x80\xffN.",
        "bytes of a number": program(call(name("numpy._core.numeric", "_frombuffer"), number(2 ** 31 - 1),
                                          call(name("numpy", "dtype"), text("u1")), b"K\x01\x85", text("C"))),
        "array copied often": remembered(data(mb), lambda it: call(ndarray, size, u1, it), 30000),
        "bytearray copied often": b"\x80\x05](\x96" + struct.pack("<Q", 1 << 20) + mb + b"q\x07" + call(
            ndarray, size, u1, b"h\x07") * 30000 + b"e.",
        "picture copied often": remembered(call(ndarray, size, u1, data(mb)),
                                           lambda it: call(name("cv2", "imdecode"), it, b"K\x01"), 30000),
        "text encoded often": remembered(text("\x00" * (1 << 20)),
                                         lambda it: call(name("_codecs", "encode"), it, text("latin1")), 30000),
        "arguments by the thousand": program(b"](](" + b"N" * 100000 + b"eq\x01" + (name("numpy", "dtype") + b"h\x01R")
                                             * 100 + b"e"),
        "array of a giant shape": program(call(ndarray, b"(\x8a\x08" + b"\xff" * 7 + b"\x7fK\x00t", u1, data(b""))),
        "array larger than its data": program(call(ndarray, b"(J\xff\xff\xff\x7ft", text("<f8"), data(npz))),
        "array of a negative shape": program(call(ndarray, b"(J\xff\xff\xff\xfft", text("<f8"), data(npz[:-1]))),
        "array of many axes": program(call(ndarray, b"(" + b"K\x01" * 40 + b"t", u1, data(b"x"))),
        "time of nonsense": program(call(name("datetime", "datetime"), data(b"\xff" * 10))),
        "time with a foreign zone": program(call(name("datetime", "datetime"), data(b"\x07" * 10), SYSTEM)),
        "timedelta of nonsense": program(call(name("datetime", "timedelta"), b"\x8a\xff" + b"\x7f" * 255)),
        "JPEG of 65535 x 65535": known_faces(ENCODING, record(face_image=picture(jpeg_of_size(65535, 65535)))),
        "JPEG of 2049 x 1": known_faces(ENCODING, record(face_image=picture(jpeg_of_size(2049, 1)))),
        "JPEG of 0 x 0": known_faces(ENCODING, record(face_image=picture(jpeg_of_size(0, 0)))),
        "JPEG of 5,000 scans": known_faces(ENCODING, record(face_image=picture(many_scans(5000)))),
        "PNG for a JPEG": known_faces(ENCODING, record(face_image=picture(
            cv2.imencode(".png", files.smooth_picture())[1].tobytes()))),
        "picture of no bytes": known_faces(ENCODING, record(face_image=picture(b""))),
        "picture that is too many bytes": known_faces(ENCODING, record(face_image=picture(jpeg + mb))),
        "picture made of numbers": known_faces(ENCODING, record(face_image=call(name("cv2", "imdecode"), ENCODING,
                                                                                b"K\x01"))),
        "picture made of a text": program(call(name("cv2", "imdecode"), text("x"), b"K\x01")),
        "name of ten million letters": known_faces(ENCODING, record(name=text("x" * 10000000), last_seen=b"N")),
    }


# ------------------------------------------------------------------------------------------- reading and watching


class CodeRan(BaseException):
    """Something that only code can do was done while a file was read."""


class Guard:
    """Notices whatever a file makes the interpreter do while it is read (before Python 3.8: nothing but MARKER)."""

    def __init__(self):
        self.on = False
        if hasattr(sys, "addaudithook"):
            sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.on and event.startswith(FORBIDDEN):
            self.on = False
            raise CodeRan("%s %r" % (event, arguments))


def read(raw_bytes, guard):
    """Reads a file; what came out: "refused", "left out" (all records), "loaded". Loaded ones are written and read."""
    try:
        with doorcam.bounded(len(raw_bytes)):
            guard.on = True
            try:
                visitors, given, problems = doorcam.read_known_faces(raw_bytes)
            finally:
                guard.on = False
    except ValueError as error:
        assert type(error) is ValueError and len(str(error).splitlines()) == 1, repr(error)
        return "refused"
    assert all(len(problem.splitlines()) == 1 for problem in problems)
    if not visitors:
        return "left out" if problems else "loaded"
    book = doorcam.Book(doorcam.DLIB, visitors, given)
    written = files.dumped(book)
    assert len(written) < 40 * len(raw_bytes) + (16 << 20), len(written)
    again, _, problems = doorcam.read_known_faces(written)
    assert len(again) == len(visitors) and not problems, problems
    for visitor in again[:20]:
        assert doorcam.picture_of(visitor).shape == (150, 150, 3)
    return "loaded"


def memory():
    """MB that this process has now."""
    with open("/proc/self/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024.0


def read_apart(raw_bytes, guard):
    """read() in a process of its own: (outcome, seconds of CPU time, MB that it took at most)."""
    receiver, sender = os.pipe()
    process = os.fork()
    if not process:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.write(sender, b"%d " % memory())
            os.write(sender, read(raw_bytes, guard).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(sender)
    _, status, used = os.wait4(process, 0)
    before, _, outcome = os.read(receiver, 100).decode().partition(" ")
    os.close(receiver)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGSEGV, signal.SIGXCPU):
        outcome = "ended"  # which read_in_steps() takes as refused
    else:
        assert status == 0, status
    return outcome, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024.0 - float(before)


def run_cases():
    cases, guard = make_cases(), Guard()
    read(files.original_file(1), guard)
    for title, raw_bytes in cases.items():
        print(json.dumps({"begun": title}), flush=True)
        outcome, seconds, megabytes = read_apart(raw_bytes, guard)
        assert seconds < SECONDS_LIMIT, seconds
        print(json.dumps({"case": title, "outcome": outcome, "bytes": len(raw_bytes), "seconds": round(seconds, 3),
                          "mb": round(megabytes, 1)}), flush=True)


# ------------------------------------------------------------------------------------------------------- fuzzing

OPCODES = [code.code.encode("latin1") for code in pickletools.opcodes]
SIZES = [0, 1, 2, 127, 128, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 63 - 1, 2 ** 64 - 1]


def make_corpus():
    """Small files of all kinds, whose parts the fuzzer mixes."""
    small = [[files.original_encoding(seed) for seed in range(2)],
             [files.original_record(seed, face_image=files.smooth_picture(seed, 8, 8), score=np.float64(0.5),
                                    tags=["a", {"b": (1, None)}]) for seed in range(2)]]
    corpus = [files.as_numpy(numpy, pickle.dumps(small, protocol)) for numpy in (1, 2)
              for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    corpus += [pickle.dumps(small, 4), files.dumped(files.own_book(2, 16)), files.dumped(files.own_book(1, 16)),
               files.dumped(files.book_with_a_past())]
    return corpus, [case for case in make_cases().values() if len(case) < 5000]


def mutate(seeds, hostile, chance):
    """One file made of others by a few random changes."""
    made = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 10))):
        place, kind = chance.randrange(len(made) + 1), chance.randrange(11)
        end = min(len(made), place + chance.choice((1, 2, 4, 8, 30, 200)))
        if kind == 0:
            del made[place:]
        elif kind == 1 and place < len(made):
            made[place] ^= 1 << chance.randrange(8)
        elif kind == 2 and place < len(made):
            made[place] = chance.randrange(256)
        elif kind == 3:
            made[place:place] = chance.choice(OPCODES)
        elif kind == 4 and place < len(made):
            made[place:place + 1] = chance.choice(OPCODES)
        elif kind == 5:
            del made[place:end]
        elif kind == 6:
            made[place:place] = made[place:end] * chance.choice((1, 2, 50))
        elif kind == 7:
            other = chance.choice(seeds)
            made[place:] = other[chance.randrange(len(other)):]
        elif kind == 8:
            other = chance.choice(hostile)
            start = chance.randrange(len(other))
            made[place:place] = other[start:start + chance.choice((4, 20, 100, 1000))]
        elif kind == 9:
            width = chance.choice((1, 2, 4, 8))
            made[place:place + width] = (chance.choice(SIZES) % 256 ** width).to_bytes(width, "little")
        else:
            made[place:end] = bytes(chance.randrange(256) for _ in range(end - place))
        del made[1 << 16:]
        made = made or bytearray(b".")
    return bytes(made)


def run_fuzz(count, seed):
    chance, guard = random.Random(seed), Guard()
    seeds, hostile = make_corpus()
    for good in seeds:
        assert read(good, guard) == "loaded"
    path = os.path.join(os.getcwd(), "known_faces.dat")
    outcomes, slowest, most = {}, 0.0, 0.0
    for index in range(count):
        made = mutate(seeds, hostile, chance)
        try:
            outcome, spent, megabytes = read_apart(made, guard)
            assert spent < FUZZ_SECONDS, spent
        except BaseException:
            with open(os.path.join(os.getcwd(), "found.dat"), "wb") as file:
                file.write(made)
            raise
        slowest, most = max(slowest, spent), max(most, megabytes)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if index % 100 == 0:
            check_that_a_file_is_untouched(path, made)
    print(json.dumps({"inputs": count, "outcomes": outcomes, "slowest_s": round(slowest, 3),
                      "memory_mb": round(most, 1)}), flush=True)


def check_that_a_file_is_untouched(path, made):
    """The same by way of a file: watching keeps its bytes under some name, a command leaves it as it is."""
    with open(path, "wb") as file:
        file.write(made)
    digest, error_output = hashlib.sha256(made).digest(), sys.stderr
    sys.stderr = io.StringIO()
    try:
        doorcam.load_known_faces(path, doorcam.DLIB)
    finally:
        sys.stderr = error_output
    digests = []
    for other in sorted(os.listdir(os.path.dirname(path))):
        other = os.path.join(os.path.dirname(path), other)
        if other.startswith(path):
            with open(other, "rb") as file:
                digests.append(hashlib.sha256(file.read()).digest())
            os.unlink(other)
    assert digests and set(digests) == {digest}


if __name__ == "__main__":
    if sys.argv[1] == "cases":
        run_cases()
    else:
        run_fuzz(int(sys.argv[2]), int(sys.argv[3]))
