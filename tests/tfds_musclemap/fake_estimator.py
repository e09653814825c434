"""A pose estimator for tests: a real process that speaks the protocol and makes up what it finds.

The video's bytes tell it what to do: ``find 3`` finds one person in 3 frames, ``nobody``, ``error``, ``crash``,
``hang``, ``nonsense``, ``frames`` (more than there are). Each video that it is asked for is noted in the file of its
first argument; its second one, if any, changes its greeting.
"""

import json
import os
import sys
import time
from pathlib import Path

NUM_JOINTS = 18


def person(frame):
    """An entry of OpenPose-18 whose joint v lies at (frame + v, 2 v)."""
    keypoints = [value for joint in range(NUM_JOINTS) for value in (frame + joint, 2 * joint, 0.5)]
    return {"image_id": frame, "keypoints": keypoints, "score": 0.9, "box": [frame, 0, 17, 34]}


def answer(command):
    """What is answered for a video with that content."""
    if command == "crash":
        print("out of memory", file=sys.stderr)
        os._exit(3)
    if command == "hang":
        time.sleep(15)
    if command == "nonsense":
        return ["not", "an", "answer"]
    if command == "error":
        return {"error": "no such\ncodec"}
    if command == "frames":
        return {"num_frames": 2, "detections": [person(2)]}
    num_frames = int(command.removeprefix("find ")) if command.startswith("find ") else 0
    return {"num_frames": 9, "detections": [person(frame) for frame in range(num_frames)]}


def main():
    """Greets, then answers until standard input ends."""
    log = Path(sys.argv[1])
    greeting = {"protocol": 1, "name": "fake", "layout": "openpose18"}
    if len(sys.argv) > 2:
        greeting |= json.loads(sys.argv[2])
    print(json.dumps(greeting), flush=True)
    for line in sys.stdin:
        video = Path(json.loads(line)["video"])
        with log.open("a") as file:
            file.write(f"{video.stem} {os.getpid()}\n")
        print(json.dumps(answer(video.read_text())), flush=True)


if __name__ == "__main__":
    main()
