"""Long runs in which much goes wrong: the book and the log hold exactly who came, and doorcam needs no more memory,
files or threads than after half of it, and writes no more.

DOORCAM_SOAK_VISITS, _PEOPLE and _SEED set how many visits of how many people, and which; DOORCAM_SOAK_SECONDS how long
four doors are watched before everybody comes for the end.
"""
import json
import os
import subprocess
import sys

from processes import environment

VISITS = int(os.environ.get("DOORCAM_SOAK_VISITS", "60"))
PEOPLE = int(os.environ.get("DOORCAM_SOAK_PEOPLE", "8"))
SEED = os.environ.get("DOORCAM_SOAK_SEED", "2")
SECONDS = int(os.environ.get("DOORCAM_SOAK_SECONDS", "60"))
HERE = os.path.dirname(os.path.abspath(__file__))


def test_a_month_at_the_door(tmp_path, capsys):
    done = subprocess.run([sys.executable, os.path.join(HERE, "soak.py"), str(VISITS), str(PEOPLE), SEED],
                          cwd=str(tmp_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=180 + 2 * VISITS, env=environment())
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    result = json.loads(done.stdout)
    with capsys.disabled():
        print("\nsoak: %s" % done.stdout.strip())
    half, end = result["halfway"], result["at the end"]
    assert result["wrong"] == [] and result["statuses"] == [0]
    assert not [line for line in result["said"] if "unexpected fault" in line]
    assert 25 < end["days"] < 30 + VISITS / 50.0 + 15 and result["visits"] >= VISITS
    assert len(result["troubles"]) == 11 and min(result["troubles"].values()), "the seed leaves something out"
    assert result["entries"] > result["people"] > 1, "nobody was forgotten"
    assert result["most_encodings"] <= 8
    assert end["memory_mb"] < half["memory_mb"] + 5 + 0.02 * PEOPLE     # further encodings of everybody; no more
    assert end["handles"] <= half["handles"] + 2 and end["threads"] <= 2 and result["threads"] == 1
    assert end["tracks"] == end["visits_going_on"] == 0
    assert result["file_kb"] < 40 * max(1, result["loaded_again"])
    assert end["written_kb_a_visit"] < 400 + 10 * PEOPLE    # were the file written whole each time, twice as much
    assert result["files"] == ["known_faces.dat", "known_faces.dat.lock", "visits.csv"]


def test_four_doors_whose_cameras_are_lost_and_mended(tmp_path, capsys):
    done = subprocess.run([sys.executable, os.path.join(HERE, "soak_doors.py"), str(SECONDS), SEED], cwd=str(tmp_path),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=SECONDS + 300, env=environment())
    with capsys.disabled():
        print("\nsoak_doors: %s" % done.stdout.strip())
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["wrong"] == [] and result["visits"] >= 8 and len(result["played"]) >= 4
