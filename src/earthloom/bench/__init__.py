"""The protocol: datasets by encoders by ways of fitting, compared fairly.

`run_bench(load_bench(file))` does what is missing, `show(store)` writes the leaderboard, `merge`
joins the results of two machines.
"""

from earthloom.bench.page import Shown, show
from earthloom.bench.run import Part, run_bench
from earthloom.bench.settings import Bench, load_bench
from earthloom.bench.store import Store, merge

__all__ = ["Bench", "Part", "Shown", "Store", "load_bench", "merge", "run_bench", "show"]
