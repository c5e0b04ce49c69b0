"""How `sketch` is made: samples of the drawn world, the codec's training, the transformer's training, its figures.

``python -m memreel.training.codec`` and then ``python -m memreel.training.sketch`` write the files that
`memreel.model.sketch` ships; ``python -m memreel.training.evaluate`` measures them.
"""
