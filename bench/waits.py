import os
import time


def main():  # not all for the same time, else they would start in step, too
    time.sleep(0.5 + os.urandom(1)[0] / 256)
    return "hello"
