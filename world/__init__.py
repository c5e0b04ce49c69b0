"""The drawn world that `sketch` is trained on and measured in: who can be in it, how it looks, what is said of it.

`palette` names every attribute, `shapes` turns a staged moment into a table of shapes, `draw` paints tables,
`stories` invents scripts with their schedule, `sentences` words them, `reader` reads attributes back from pictures.
Nothing here knows of models, of the bank or of the graph.
"""
