"""The drawn world that `sketch` is trained on and measured in: who can be in it, how it looks, what is said of it.

`palette` names every attribute, `shapes` and `places` turn a staged moment into tables of shapes, `draw` paints them,
`stories` invents scripts with their schedule, `sentences` words them, `reader` reads attributes back from pictures.
Nothing here knows of models, of the bank or of the graph.
"""
