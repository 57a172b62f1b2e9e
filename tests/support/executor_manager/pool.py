"""The containers of one language (reference ragflow 4.4); here a container is a folder that may be
lost. A container that cannot be made again is dropped for good, so a pool only ever shrinks."""
import queue
import shutil
import threading
import time

POLL = 0.1


class Container:
    def __init__(self, folder, board):
        self.folder = folder
        self.board = board
        self.running = False

    def create(self):
        if self.board.no_containers:
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.running = True
        return True


class Pool:
    repairs = threading.Lock()  # one for both languages: one slow repair holds up all of them

    def __init__(self, language, size, root, board, wait):
        self.slots = threading.Semaphore(size)
        self.wait = wait
        self.free = queue.Queue()
        self.containers = [Container(root / f"sandbox_{language}_{i}", board) for i in range(size)]
        for container in self.containers:
            if container.create():
                self.free.put(container)

    def repaired(self, container):
        with self.repairs:
            return container.running or container.create()

    def take(self):
        """A container, or None when there is none in time. The caller holds a slot."""
        end = time.monotonic() + self.wait
        while time.monotonic() < end:
            try:
                container = self.free.get_nowait()
            except queue.Empty:
                time.sleep(POLL)
                continue
            if self.repaired(container):
                return container
        return None

    def give_back(self, container):
        if self.repaired(container):
            self.free.put(container)

    def lose(self):
        for container in self.containers:
            container.running = False
