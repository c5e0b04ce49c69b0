"""Clips from providers: real SDKs against local servers that speak the providers' wire formats, with faults."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from memreel.errors import ModelError, UserError
from memreel.film.clips.footage import examine
from memreel.film.clips.patience import Patience
from memreel.film.clips.protocol import ClipRequest, Reference
from memreel.film.clips.router import Router, hosted
from memreel.tests.film.provider_servers import (
    Course,
    Drop,
    GoogleHandler,
    Output,
    ProviderServer,
    RunwayHandler,
    Status,
    serve,
)

QUICK = Patience(pause=0.01, poll=0.01, deadline=5.0, cool=0.3, request=5.0, longest_pause=2.0)
