"""Engines that do the same work for ``benchmarks.serving``, each in a process and an environment of its own.

    serving  ── spawns ──►  ENVIRONMENT/bin/python -m benchmarks.peers.vllm_peer WORK.json FD
                            ├── loads the checkpoint
             ◄── ready ───  ├── first token
             ◄── level ───  ├── one concurrency after the other
             ◄── done  ───  └── waits to be ended, so that its memory can be read

What a peer's process imports from here (``work``) is standard library only: foreign environments have nothing of ours.
"""
