"""A pipe in the place of a camera that sends what a test wants."""

import os
import threading

import pytest


@pytest.fixture
def pipe(tmp_path):
    """A function (content, ends) -> path of a pipe; a thread writes the content, then closes it or holds it open."""
    done, threads = threading.Event(), []

    def make(content, ends):
        path = tmp_path / f"pipe{len(threads)}"
        os.mkfifo(path)

        def write():
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                if not ends:
                    done.wait()

        threads.append(threading.Thread(target=write))
        threads[-1].start()
        return path

    yield make
    done.set()
    for thread in threads:
        thread.join()
