"""The greeting example: sandpiper run examples/hello.py --arg name=World --arg count=3"""


def main(name="World", count=1):
    print(f"greeting {name}, {count} times")
    return {"message": " ".join([f"Hello, {name}!"] * count)}
