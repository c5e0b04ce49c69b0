"""RecallBench's parts: does the memory keep people themselves?

`scripts` invents scripts with their schedule, `film` renders one under a `strategies` variant, `sight` reads its
pictures, `crew` shares the work among processes, `figures` sums up with intervals, `contrasts` holds rows against each
other and against what is to be reached, `account` writes tables and `drawing` the plot. `memreel.benchmarks.recall` is
the command. Everything but `sight` would serve another world: what is asked and who was right is plain data.
"""
