"""What every test finds: doorcam importable from the folder above, and the real parts that are slow to load."""
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
for folder in (TOP, HERE):  # doorcam itself, and helpers
    if folder not in sys.path:
        sys.path.insert(0, folder)

import doorcam  # noqa: E402
import quick  # noqa: E402
from helpers import METRICS, Story  # noqa: E402
from processes import write_clip  # noqa: E402

GUARD = quick.Guard()


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: needs no window, server, second process, dlib or package of the system "
                                       "(nobody sets it: tests/quick.py finds it out)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if quick.is_quick(item):
            item.add_marker("quick")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    GUARD.on = item.get_closest_marker("quick") is not None
    yield
    GUARD.on = False


@pytest.fixture(params=METRICS, ids=[metric.engine for metric in METRICS])
def metric(request):
    """How the encodings of each of the engines are compared."""
    return request.param


@pytest.fixture
def story(metric):
    """A door with an empty book and a clock that only the test moves."""
    return Story(metric=metric)


@pytest.fixture(scope="session")
def dlib_engine():
    return doorcam.DlibEngine()


@pytest.fixture(scope="session")
def opencv_engine():
    return doorcam.OpenCVEngine(*doorcam.find_models())


@pytest.fixture(scope="session", params=[metric.engine for metric in METRICS])
def engine(request):
    """Each of the engines, for real."""
    return request.getfixturevalue(request.param + "_engine")


@pytest.fixture(scope="session")
def example_file():
    """The path of the known-faces file that comes with doorcam."""
    return os.path.join(TOP, doorcam.EXAMPLE)


@pytest.fixture(scope="session")
def portraits(example_file):
    """The two pictures in that file, PICTURE_SIZE square, BGR."""
    return doorcam.demo_portraits(example_file)


@pytest.fixture(scope="session")
def demo_clip(portraits, tmp_path_factory):
    """The demo as a recording of half its size and rate: portrait 1 comes, then 2, then 1 again after 14.5 seconds."""
    frames = [frame for frame, _ in doorcam.demo_frames(portraits, 0.0)][::2]
    return write_clip(tmp_path_factory.mktemp("clip") / "demo.avi", [doorcam.shrink(frame, 0.5) for frame in frames],
                      doorcam.DEMO_RATE // 2)
