"""RecallBench's parts: does the memory keep people themselves?

`scripts` invents scripts with their schedule, `film` renders one under a `strategies` variant, `sight` reads its
pictures, `figures` sums up with intervals, `account` writes tables and the plot. `memreel.benchmarks.recall` is the
command. Everything but `sight` would serve another world: what is asked and who was right is plain data.
"""
