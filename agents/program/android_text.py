"""What Android's ``dumpsys`` prints about heat, battery and screen, read line by line."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

_TEMPERATURE = re.compile(
    r"Temperature\{mValue=(-?[\d.]+), mType=(-?\d+), mName=([^,}]*), mStatus=(\d+)\}"
)
_STATUS = re.compile(r"Thermal Status:\s*(\d+)")
_WAKEFULNESS = re.compile(r"mWakefulness=(\w+)")
_MOST_ZONES = 256
_BATTERY_STATUS = {1: "Unknown", 2: "Charging", 3: "Discharging", 4: "Not charging", 5: "Full"}


def thermal_service(text: str) -> Dict[str, Any]:
    """``status`` (0 none to 6 shutdown) and ``zones``; what is not told is left out."""
    found: Dict[str, Any] = {}
    status = _STATUS.search(text)
    if status:
        found["status"] = int(status.group(1))
    zones: List[Dict[str, Any]] = []
    for value, _, name, severity in _TEMPERATURE.findall(text)[:_MOST_ZONES]:
        try:
            celsius = float(value)
        except ValueError:
            continue
        # Dead zones read -273 or absurdly hot.
        if -100 < celsius < 250:
            zones.append({"type": name[:64], "temp_c": celsius, "status": int(severity)})
    if zones:
        found["zones"] = zones
    return found


def battery(text: str) -> Dict[str, Any]:
    """``status``, ``capacity_percent``, ``temp_c``, ``voltage_v`` and ``powered``."""
    fields: Dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip().lower(), value.strip())
    found: Dict[str, Any] = {}
    code = _whole(fields.get("status"))
    if code in _BATTERY_STATUS:
        found["status"] = _BATTERY_STATUS[code]
    level = _whole(fields.get("level"))
    if level is not None and 0 <= level <= 100:
        found["capacity_percent"] = level
    tenths = _whole(fields.get("temperature"))
    if tenths is not None and -500 < tenths < 1500:
        found["temp_c"] = tenths / 10.0
    millivolts = _whole(fields.get("voltage"))
    if millivolts is not None and 1000 < millivolts < 30000:
        found["voltage_v"] = millivolts / 1000.0
    powered = [fields[key] for key in fields if key.endswith("powered")]
    if powered:
        found["powered"] = "true" in powered
    return found


def screen_on(text: str) -> Optional[bool]:
    """Whether the screen is on, from ``dumpsys power``; None where it is not told."""
    match = _WAKEFULNESS.search(text)
    return None if match is None else match.group(1) == "Awake"


def _whole(text: Optional[str]) -> Optional[int]:
    return int(text) if text and re.fullmatch(r"-?\d{1,9}", text) else None
