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
from helpers import Story  # noqa: E402


@pytest.fixture
def story():
    """A door with an empty book and a clock that only the test moves."""
    return Story()


@pytest.fixture(scope="session")
def engine():
    """dlib, for real."""
    return doorcam.DlibEngine()


@pytest.fixture(scope="session")
def example_file():
    """The path of the known-faces file that comes with doorcam."""
    return os.path.join(TOP, doorcam.EXAMPLE)


@pytest.fixture(scope="session")
def portraits(example_file):
    """The two pictures in that file, PICTURE_SIZE square, BGR."""
    return doorcam.demo_portraits(example_file)
