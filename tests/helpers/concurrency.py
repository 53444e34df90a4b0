"""Actions run by many threads at the same moment."""

import threading
from collections.abc import Callable
from typing import Any

CALLERS = 32


def run_concurrently(action: Callable[[int], Any], callers: int = CALLERS) -> list[Any]:
    """Run the action in so many threads, released together, and return their results."""
    barrier, results = threading.Barrier(callers), [None] * callers

    def run(number: int) -> None:
        barrier.wait()
        results[number] = action(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
