"""Power sensors of the device, found by probing and told apart by label, never by number.

One file per family. Adding a family is adding a file with ``probe()`` and naming it in
``finding``. Everything below reads; nothing here writes to a sensor.
"""

from __future__ import annotations
