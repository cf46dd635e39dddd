"""Long runs: after a month of visits doorcam needs no more memory, files or threads than when it had met everybody.

DOORCAM_SOAK_VISITS and DOORCAM_SOAK_PEOPLE set how many visits of how many people.
"""
import json
import os
import subprocess
import sys

from processes import environment

VISITS = int(os.environ.get("DOORCAM_SOAK_VISITS", "1000"))
PEOPLE = int(os.environ.get("DOORCAM_SOAK_PEOPLE", "60"))
HERE = os.path.dirname(os.path.abspath(__file__))


def test_a_month_at_the_door(tmp_path, capsys):
    done = subprocess.run([sys.executable, os.path.join(HERE, "soak.py"), str(VISITS), str(PEOPLE), "1"],
                          cwd=str(tmp_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=120 + VISITS // 5, env=environment())
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    result = json.loads(done.stdout)
    with capsys.disabled():
        print("\nsoak: %s" % done.stdout.strip())
    known, end = result["when all are known"], result["at the end"]
    assert 25 < result["days"] < 40 and result["visits"] >= VISITS
    assert PEOPLE <= end["visitors"] <= 1.2 * PEOPLE + 5    # a person is one visitor, with few exceptions
    events = result["events"]
    assert events["new"] + events["returned"] - events["mistaken"] == events["left"] > 0.7 * VISITS
    assert result["most_encodings"] <= 8
    assert end["memory_mb"] < known["memory_mb"] + 10 + 0.02 * PEOPLE  # further encodings of everybody; no more
    assert end["handles"] <= result["at the start"]["handles"] + 2 and end["threads"] <= 2
    assert end["tracks"] <= 3 and end["visits_going_on"] <= 10
    assert result["after the end"]["file_kb"] < 25 * end["visitors"]
    assert result["loaded_again"] == result["after the end"]["visitors"] and result["saves"] > 10
    assert result["after the end"]["threads"] == 1
    assert result["files"] == ["known_faces.dat", "visits.csv"]
