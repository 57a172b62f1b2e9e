import time


def main():
    time.sleep(1)
    return "hello"
