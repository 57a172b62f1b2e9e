"""Lies beside the user's main.py, imports it and prints the value of its main()."""
import base64
import json
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
(here / "artifacts").mkdir(exist_ok=True)
sys.path.insert(0, str(here))  # isolated mode leaves it out

from main import main

with open(here / "args.json", encoding="utf-8") as given:
    value = main(**json.load(given))
document = json.dumps({"present": True, "value": value, "type": "json"}, ensure_ascii=False)
print("__RAGFLOW_RESULT__:" + base64.b64encode(document.encode()).decode())
