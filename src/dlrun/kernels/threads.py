"""Share work among the CPU threads of a run."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def share_work(work: Callable[[int], None], count: int, threads: int) -> None:
    """Call work(0) .. work(count - 1); each thread takes the next as soon as it is free."""
    left, helpers = iter(range(count)), min(threads, count) - 1

    def take() -> None:
        for index in left:
            work(index)

    with ThreadPoolExecutor(max(1, helpers)) as pool:
        others = [pool.submit(take) for _ in range(helpers)]
        take()
    for other in others:
        other.result()
