"""An OCI layout with the image `big`, of random layers: gzip of stored blocks, so that every program takes them as they are.

usage: random_image.py FOLDER OCTETS [LAYERS]        OCTETS is the size of each layer

Used by scripts/bench and scripts/bench registry; Python standard library only.
"""
import hashlib
import json
import os
import sys
import tarfile
import zlib

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PIECE = 1 << 20


def tar(octets):
    """A tar archive with one file of random octets, in pieces."""
    header = tarfile.TarInfo("random")
    header.size = octets
    yield header.tobuf()
    for start in range(0, octets, PIECE):
        yield os.urandom(min(PIECE, octets - start))
    yield bytes(-octets % 512 + 10240)


def put_layer(blobs, octets):
    """Writes one layer; returns its descriptor and its diff ID."""
    plain, packed, length = hashlib.sha256(), hashlib.sha256(), 0
    gzip = zlib.compressobj(0, zlib.DEFLATED, 31)
    with open(blobs + "layer", "wb") as file:
        def write(out):
            packed.update(out)
            return file.write(out)

        for piece in tar(octets):
            plain.update(piece)
            length += write(gzip.compress(piece))
        length += write(gzip.flush())
    os.rename(blobs + "layer", blobs + packed.hexdigest())
    return describe("tar+gzip", packed.hexdigest(), length), "sha256:" + plain.hexdigest()


def describe(kind, digest, size):
    """The descriptor of a layer."""
    return {"mediaType": "application/vnd.oci.image.layer.v1." + kind, "digest": "sha256:" + digest, "size": size}


def put(blobs, document):
    """Writes a JSON document; returns digest and size."""
    octets = json.dumps(document).encode()
    name = hashlib.sha256(octets).hexdigest()
    with open(blobs + name, "wb") as file:
        file.write(octets)
    return {"digest": "sha256:" + name, "size": len(octets)}


def make(folder, octets, layers=1):
    """Makes the layout; returns the digest of the image's manifest."""
    blobs = folder + "/blobs/sha256/"
    os.makedirs(blobs)
    return put_image(folder, blobs, [put_layer(blobs, octets) for _ in range(layers)])


def put_image(folder, blobs, made):
    """Writes what an image needs but its layers, of which descriptors and diff IDs are given; returns the manifest's digest."""
    config = put(blobs, {"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in made]}})
    manifest = put(blobs, {"schemaVersion": 2, "mediaType": MANIFEST,
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
                           "layers": [layer for layer, _ in made]})
    with open(folder + "/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, **manifest,
                   "annotations": {"org.opencontainers.image.ref.name": "big"}}]}, file)
    with open(folder + "/oci-layout", "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)
    return manifest["digest"]


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    make(sys.argv[1], *map(int, sys.argv[2:]))
