"""Work on many images with several threads: in order, and with a bounded number in memory."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item, Result = TypeVar("Item"), TypeVar("Result")


def in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    title: str,
    threads: int | None = None,
    done: int = 0,
) -> Iterator[Result]:
    """`function` of each item, in their order, under a progress bar that starts at `done`.

    Pillow, torch and ONNX Runtime release Python's lock, so threads help. After an error or Ctrl-C
    little is begun anew; the pool's own `map` would first finish all items.
    """
    threads = threads or min(os.cpu_count() or 1, 8)
    bar = tqdm(desc=title, unit="image", initial=done, total=done + len(items))
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool, bar:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == 4 * threads:
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
