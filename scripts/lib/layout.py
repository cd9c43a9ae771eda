"""OCI layouts with one image, and whether they are what they say. Python standard library only."""
import json
import os
import subprocess
import tarfile

from measure import die
from random_image import describe, put_image


def sha256(path):
    """By openssl, which uses the processor's help; in hexadecimal."""
    return subprocess.run(["openssl", "dgst", "-sha256", "-r", path], check=True, capture_output=True, text=True).stdout.split()[0]


def read_json(path):
    with open(path) as file:
        return json.load(file)


class Layout:
    """The image `big` of a layout; digests are in hexadecimal."""

    def __init__(self, folder):
        self.folder = folder
        self.digest = read_json(folder + "/index.json")["manifests"][0]["digest"].split(":")[1]
        manifest = read_json(self.blob(self.digest))
        self.layers = [layer["digest"].split(":")[1] for layer in manifest["layers"]]
        self.config = manifest["config"]["digest"].split(":")[1]

    def blob(self, digest):
        return os.path.join(self.folder, "blobs/sha256", digest)

    def files(self):
        return [self.blob(digest) for digest in self.layers]

    def octets(self):
        return sum(os.path.getsize(file) for file in self.files())

    def assert_intact(self):
        """Every blob is what its name says."""
        for digest in [self.digest, self.config, *self.layers]:
            if sha256(self.blob(digest)) != digest:
                die("%s holds something else than its name says" % self.blob(digest))

    def assert_same(self, other):
        """This is intact, and the image that the other one is."""
        self.assert_intact()
        if self.digest != other.digest:
            die("%s holds %s, not %s" % (self.folder, self.digest, other.digest))


def make_hollow(folder, octets, layers):
    """Makes a layout whose layers are tar archives that are holes but for a first entry, so that they take no room."""
    blobs = folder + "/blobs/sha256/"
    os.makedirs(blobs)
    made = []
    for number in range(layers):
        with open(blobs + "layer", "wb") as file:
            file.write(tarfile.TarInfo("layer-%d" % number).tobuf())
            file.truncate(octets)
        digest = sha256(blobs + "layer")
        os.rename(blobs + "layer", blobs + digest)
        made.append((describe("tar", digest, octets), "sha256:" + digest))
    put_image(folder, blobs, made)
    return Layout(folder)
