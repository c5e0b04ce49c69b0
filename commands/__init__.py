"""The commands of ``memreel``, one module each; `memreel.cli` puts them together.

`terminal` has the options and the output that they share, `making` the making of one video. Modules here are light:
what is heavy is imported inside a command, so that ``--help`` is instant.
"""
