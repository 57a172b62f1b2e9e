"""The files of one sandbox, below a real folder (reference aliyun-agentrun 3.5)."""
import base64
import datetime
import email
import email.policy
import grp
import os
import pathlib
import pwd
import shutil
import stat

from errors import Refusal, not_found, violation

UPLOAD_MAX = 100 << 20


def kind_of(mode):
    for test, kind in ((stat.S_ISLNK, "symlink"), (stat.S_ISDIR, "directory"),
                       (stat.S_ISREG, "file")):
        if test(mode):
            return kind
    return "other"


def name_of(look_up, number):
    try:
        return look_up(number)[0]
    except KeyError:
        return str(number)


class Files:
    def __init__(self, root):
        self.root = root
        self.real("/home/user").mkdir(parents=True)

    def real(self, path):
        """The real path; a program's links lead wherever they lead."""
        if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise violation(f"the path {path} is not absolute")
        return pathlib.Path(f"{self.root}{path}")

    def existing(self, path):
        real = self.real(path)
        if not os.path.lexists(real):
            raise not_found(f"path not found: {path}")
        return real

    def entry(self, real):
        facts = real.lstat()
        when = datetime.datetime.fromtimestamp(facts.st_mtime, datetime.timezone.utc)
        return {"name": real.name, "path": str(real)[len(str(self.root)):],
                "type": kind_of(facts.st_mode), "size": facts.st_size,
                "mode": f"{stat.S_IMODE(facts.st_mode):04o}",
                "permissions": stat.filemode(facts.st_mode),
                "owner": name_of(pwd.getpwuid, facts.st_uid),
                "group": name_of(grp.getgrgid, facts.st_gid),
                "modifiedTime": when.isoformat()}

    def entries(self, folder, depth):
        found = []
        for real in sorted(folder.iterdir()):
            found.append(self.entry(real))
            if depth > 1 and real.is_dir() and not real.is_symlink():
                found += self.entries(real, depth - 1)
        return found

    def list(self, path, depth):
        folder = self.existing(path)
        if not folder.is_dir():
            raise Refusal(400, "ERR_BAD_REQUEST", f"not a directory: {path}")
        return {"path": path, "entries": self.entries(folder, depth)}

    def stat(self, path):
        return {"entry": self.entry(self.existing(path))}

    def content(self, path):
        real = self.existing(path)
        if not real.is_file():
            raise Refusal(400, "ERR_BAD_REQUEST", f"not a regular file: {path}")
        return real.read_bytes()

    def read(self, path):
        data = self.content(path)
        try:
            text, encoding = data.decode(), "utf-8"
        except UnicodeDecodeError:
            text, encoding = base64.b64encode(data).decode(), "base64"
        return self.entry(self.real(path)) | {"content": text, "encoding": encoding}

    def put(self, path, data, create_folder):
        real = self.real(path)
        if create_folder:
            real.parent.mkdir(parents=True, exist_ok=True)
        if not real.parent.is_dir():
            raise not_found(f"path not found: {path}")
        real.write_bytes(data)
        return {"path": path, "size": len(data)}

    def write(self, members):
        if members.get("encoding", "utf-8") != "utf-8":
            raise violation("encoding is not utf-8")
        answer = self.put(members["path"], members["content"].encode(),
                          members.get("createDir", False))
        self.real(members["path"]).chmod(int(members.get("mode", "644"), 8))
        return answer

    def upload(self, content_type, body):
        if len(body) > UPLOAD_MAX:
            raise Refusal(413, "ERR_TOO_LARGE", "the file is larger than 100 MB")
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        parts = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                 for part in form.iter_parts()}
        if set(parts) != {"file", "path"}:
            raise violation("an upload has the parts file and path")
        return self.put(parts["path"].decode(), parts["file"], True)

    def mkdir(self, members):
        self.real(members["path"]).mkdir(int(members.get("mode", "0755"), 8),
                                         members.get("parents", False), exist_ok=True)
        return {"path": members["path"]}

    def move(self, members):
        self.existing(members["source"]).rename(self.real(members["destination"]))
        return {"source": members["source"], "destination": members["destination"]}

    def remove(self, members):
        real = self.existing(members["path"])
        if real.is_dir() and not real.is_symlink():
            shutil.rmtree(real)
        else:
            real.unlink()
        return {"path": members["path"]}
