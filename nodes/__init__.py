"""The graph's nodes, one module each: read the state, call one service of the session, return an update.

The edges stand in `memreel.graph.assembly`, the one branch, `following`, in `update_memory`. The work itself is
in `memreel.graph.session`; a node that fails ends its session, so nothing half-written is left.
"""
