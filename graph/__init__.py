"""The LangGraph state machine: state, run context, sessions, assembly, and plain Python over it."""
