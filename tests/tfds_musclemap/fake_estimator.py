"""A pose estimator for tests: a real process that speaks the protocol and makes up its detections.

The video's content says what to do: ``find 3`` finds one person in 3 frames; the others are ``nobody``, ``error``,
``crash``, ``hang``, ``nonsense`` and ``frames`` (a frame past the end). Requested videos are logged to the file in the
first argument; the second one, if any, changes the greeting.
"""

import json
import os
import sys
import time
from pathlib import Path

NUM_JOINTS = 18


def person(frame):
    """An entry of OpenPose-18 whose joint v is at (frame + v, 2 v)."""
    keypoints = [value for joint in range(NUM_JOINTS) for value in (frame + joint, 2 * joint, 0.5)]
    return {"image_id": frame, "keypoints": keypoints, "score": 0.9, "box": [frame, 0, 17, 34]}


def respond(command):
    """The response for a video with that content."""
    if command == "crash":
        print("out of memory", file=sys.stderr)
        os._exit(3)
    if command == "hang":
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(0.1)
    if command == "nonsense":
        return ["not", "a", "response"]
    if command == "error":
        return {"error": "no such\ncodec"}
    if command == "frames":
        return {"num_frames": 2, "detections": [person(2)]}
    num_frames = int(command.removeprefix("find ")) if command.startswith("find ") else 0
    return {"num_frames": 9, "detections": [person(frame) for frame in range(num_frames)]}


def main():
    """Greets, then responds to requests until standard input ends."""
    log = Path(sys.argv[1])
    greeting = {"protocol": 1, "name": "fake", "layout": "openpose18"}
    if len(sys.argv) > 2:
        greeting |= json.loads(sys.argv[2])
    print(json.dumps(greeting), flush=True)
    for line in sys.stdin:
        video = Path(json.loads(line)["video"])
        with log.open("a") as file:
            file.write(f"{video.stem} {os.getpid()}\n")
        print(json.dumps(respond(video.read_text())), flush=True)


if __name__ == "__main__":
    main()
