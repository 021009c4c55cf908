"""What CloudWatch's embedded metric format requires of a line."""

from __future__ import annotations

UNITS = "Seconds|Microseconds|Milliseconds|Bytes|Kilobytes|Megabytes|Percent|Count|None"
"""Some of those that CloudWatch knows."""

EMBEDDED = {
    "type": "object",
    "required": ["_aws", "cluster"],
    "properties": {
        "cluster": {"type": "string", "minLength": 1, "maxLength": 1024},
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 10**12},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 255},
                            "Dimensions": {"const": [["cluster"]]},
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name", "Unit"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 255},
                                        "Unit": {"type": "string", "pattern": f"^({UNITS})$"},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What CloudWatch's specification of the embedded metric format asks for, and that nothing else goes with it."""
