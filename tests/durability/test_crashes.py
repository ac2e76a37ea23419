"""What was acknowledged survives SIGKILL at any moment; what was not leaves nothing behind.

SOAK in the environment makes it 500 rounds; CRASH_SEED repeats the choices of a run (the moments
are the machine's own).
"""

import os
from pathlib import Path

from tests.durability.harness import Crowd

ROUNDS = 12


async def test_what_was_acknowledged_survives_every_crash(
    database_url: str, tmp_path: Path
) -> None:
    seed = os.environ.get("CRASH_SEED") or os.urandom(4).hex()
    crowd = Crowd(tmp_path / "data", database_url, seed)
    rounds = 500 if os.environ.get("SOAK") else ROUNDS
    number = 0
    try:
        while number < rounds:
            await crowd.round()
            number += 1
        await crowd.end()
    except BaseException as error:
        error.add_note(f"round {number} of {rounds}, CRASH_SEED={seed}, {crowd.kills}")
        raise
    finally:
        print(f"{number} rounds, {crowd.kills}, {crowd.shared.counts}")
    assert crowd.kills["group"] == rounds
