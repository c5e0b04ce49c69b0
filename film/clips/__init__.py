"""Clip models: whatever turns a prompt and pictures into a short video file, on this machine or at a provider."""
