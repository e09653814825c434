"""The process: start-up, preemption, peers, logs and memory."""
