"""Five readers and three writers on one database, as tasks of one event loop.

python demo_database_store.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from concurrent_locks import get_lock_manager
from memory_architecture import EpisodicMemoryStore

READERS, WRITERS, EPISODES = 5, 3, 20


async def read(store: EpisodicMemoryStore, writers: list[asyncio.Task[list[int]]]) -> int:
    reads = 0
    while not all(writer.done() for writer in writers):
        numbers = [number for number, _, _ in await store.recent(limit=5)]
        assert numbers == sorted(numbers, reverse=True)
        reads += 1
    return reads


async def write(store: EpisodicMemoryStore, writer: int) -> list[int]:
    return [await store.add_episode(f"task {each} of writer {writer}", "done") for each in range(EPISODES)]


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = EpisodicMemoryStore(Path(folder) / "episodic_memory.db")
        await store.setup()
        writers = [asyncio.create_task(write(store, number)) for number in range(WRITERS)]
        reads = await asyncio.gather(*(read(store, writers) for _ in range(READERS)))
        numbers = [number for writer in writers for number in await writer]

        assert sorted(numbers) == list(range(1, WRITERS * EPISODES + 1)), "an episode was lost or numbered twice"
        print(f"{WRITERS} writers wrote {len(numbers)} episodes, numbered without a gap or a double")
        print(f"{READERS} readers read {sum(reads)} times meanwhile")
        for mode, each in get_lock_manager().get_statistics("episodic_db:episodic_memory.db")["locks"].items():
            print(
                f"{mode:>5}: {each['total_acquisitions']} acquisitions, waited {each['avg_wait_time_ms']:.2f} ms on "
                f"average, held {each['avg_hold_time_ms']:.2f} ms"
            )


if __name__ == "__main__":
    asyncio.run(main())
