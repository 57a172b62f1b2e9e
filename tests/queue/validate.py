"""Validates each line of a file as one JSON document: prints "valid" or "invalid" for each.

usage: validate.py SCHEMA DOCUMENTS
"""
import json
import sys

import jsonschema

with open(sys.argv[1], encoding="utf-8") as schema:
    validator = jsonschema.Draft202012Validator(json.load(schema))
validator.check_schema(validator.schema)
with open(sys.argv[2], encoding="utf-8") as documents:
    for line in documents:
        error = next(validator.iter_errors(json.loads(line)), None)
        print("valid" if error is None else f"invalid: {ascii(error.message)[:200]}")
