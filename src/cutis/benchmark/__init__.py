"""How fast and how large, measured so that a number can be checked: interleaved, with its spread and its machine.

What a benchmark here promises is in benchmarks/README.md.
"""
