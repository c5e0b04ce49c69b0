"""Wan 2.1 in its causal, few-step form (Self-Forcing, LongLive, MemFlow), behind the protocol of all video models."""
