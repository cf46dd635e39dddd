"""Stands for dlib where a test needs no faces and the Python has none: see face_recognition.py beside it."""
__version__ = "without faces"
DLIB_USE_CUDA = False
DLIB_USE_BLAS = True
