"""The graph's nodes, one module each: read the state, call one service of the session, return an update.

A node's return type names the nodes that may follow it. The work itself is in `memreel.graph.session`; a node that
fails ends its session, so nothing half-written is left.
"""
