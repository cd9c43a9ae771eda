"""What scripts/bench runs and what it holds it against, as data."""
from collections import namedtuple

# Name: how many layers, and how large each is beside the first image's, which --size gives.
IMAGES = {"one": (1, 1), "four": (4, 0.5), "eight": (8, 1.165)}
# Needs 20 GiB: only where it is asked for.
OPTIONAL = {"eight"}

SEALIFT, DECODER = "sealift", "sealift-decoder"
# What is packed and what was unpacked are in storages of their own, so that the one can be emptied.
BUILDAH_STORED, BUILDAH_PULLED = (
    ["buildah", "--root", "{work}/%s" % folder, "--runroot", "{work}/%s-run" % folder, "--storage-driver", "vfs"]
    for folder in ("stored", "pulled"))
CTR = ["openssl", "enc", "-aes-256-ctr", "-K", "00" * 32, "-iv", "00" * 16]
ENCRYPT = [SEALIFT, "encrypt", "-q", "oci:{image}:big", "oci:{out}:big", "-r", "{work}/key.pub.pem", "--jobs", "2"]
DECRYPT = [SEALIFT, "decrypt", "-q", "-k", "{work}/key.pem", "--jobs", "2"]
SKOPEO = ["skopeo", "--insecure-policy", "copy", "-q"]
DECODE = [DECODER, "--decryption-keys-path", "{work}/keys"]

# `leaves` says what a run leaves, and so how it is checked (bench_layers.py): every word is a function there.
Job = namedtuple("Job", "family name program argv leaves")


def shell(text, *argv):
    """A pipeline around a command, which is its arguments; it fails where any part does."""
    return ["bash", "-o", "pipefail", "-c", text, "bash", *argv]


# The command at hand with the layer, or another file, as its input, and a pipe behind it.
PIPED = '"$@" <{%s} | cat >/dev/null'
SHA = [shell('printf "%s\\n" "$@" | xargs -P 2 -n 1 openssl dgst -sha256 -r', "{layers}"), "digests"]

JOBS = [Job(*job) for job in [
    ("one seal", "sha", "openssl", *SHA),
    ("one seal", "seal", SEALIFT, ENCRYPT, "sealed"),
    ("one seal", "seal trusted", SEALIFT, ENCRYPT + ["--no-verify-source"], "sealed"),
    ("one seal", "seal ocicrypt", SEALIFT, ENCRYPT + ["--cipher", "ocicrypt"], "sealed"),
    ("one seal", "seal ocicrypt trusted", SEALIFT, ENCRYPT + ["--cipher", "ocicrypt", "--no-verify-source"], "sealed"),
    ("one seal", "skopeo seal", "skopeo",
     SKOPEO + ["--encryption-key", "jwe:{work}/key.pub.pem", "oci:{image}:big", "oci:{out}:big"], "sealed"),
    ("one seal", "buildah push", "buildah",
     BUILDAH_STORED + ["push", "-q", "--disable-compression", "--encryption-key", "jwe:{work}/key.pub.pem", "{stored}", "oci:{out}:big"],
     "sealed"),
    ("one seal", "age seal", "age", ["age", "-R", "{work}/age.pub", "-o", "{out}", "{layer}"], "age_file"),
    ("one seal", "rage seal", "rage", ["rage", "-R", "{work}/age.pub", "-o", "{out}", "{layer}"], "age_file"),
    ("one seal", "openssl ctr", "openssl", CTR + ["-in", "{layer}", "-out", "{out}"], "ctr_file"),

    ("one open", "sha", "openssl", *SHA),
    ("one open", "open", SEALIFT, DECRYPT + ["oci:{sealed}:big", "oci:{out}:big"], "opened"),
    ("one open", "open ocicrypt", SEALIFT, DECRYPT + ["oci:{ocicrypt}:big", "oci:{out}:big"], "opened"),
    ("one open", "skopeo open", "skopeo",
     SKOPEO + ["--decryption-key", "{work}/key.pem", "oci:{ocicrypt}:big", "oci:{out}:big"], "opened"),
    ("one open", "buildah pull", "buildah",
     BUILDAH_PULLED + ["pull", "-q", "--decryption-key", "{work}/key.pem", "oci:{ocicrypt}:big"], "pulled"),
    ("one open", "age open", "age", ["age", "-d", "-i", "{work}/age.key", "-o", "{out}", "{work}/sealed.age"], "plain_file"),
    ("one open", "rage open", "rage", ["rage", "-d", "-i", "{work}/age.key", "-o", "{out}", "{work}/sealed.age"], "plain_file"),
    ("one open", "decoder", DECODER, shell(PIPED % "sealed_layer", *DECODE), "plain_stream"),
    ("one open", "decoder between pipes", DECODER, shell('cat {sealed_layer} | "$@" | cat >/dev/null', *DECODE), "plain_stream"),
    ("one open", "pipe", "cat", shell(PIPED % "layer", "cat"), "plain_stream"),

    ("four seal", "sha", "openssl", *SHA),
    ("four seal", "seal", SEALIFT, ENCRYPT, "sealed"),
    ("four seal", "seal trusted", SEALIFT, ENCRYPT + ["--no-verify-source"], "sealed"),
    ("four seal", "skopeo seal", "skopeo",
     SKOPEO + ["--encryption-key", "jwe:{work}/key.pub.pem", "oci:{image}:big", "oci:{out}:big"], "sealed"),

    ("four open", "sha", "openssl", *SHA),
    ("four open", "open", SEALIFT, DECRYPT + ["oci:{sealed}:big", "oci:{out}:big"], "opened"),

    ("eight seal", "sha", "openssl", *SHA),
    ("eight seal", "seal", SEALIFT, ENCRYPT, "sealed"),
    ("eight seal", "seal trusted", SEALIFT, ENCRYPT + ["--no-verify-source"], "sealed"),
]]
# They unpack into their storage or pack out of it as well: shown, not compared, and left out of --check.
MORE_WORK = {"buildah push", "buildah pull"}

# How the chart calls them.
TITLES = {
    "seal": "seal, source verified", "seal trusted": "seal, source trusted",
    "seal ocicrypt": "seal in ocicrypt's format, source verified", "seal ocicrypt trusted": "seal in ocicrypt's format, source trusted",
    "open": "open to a layout", "open ocicrypt": "open ocicrypt's format", "decoder": "sealift-decoder, into a pipe",
}

# Before 1.14 in Debian: made by a Go that hashes without the processor's help.
OLD_SKOPEO, OLD_SKOPEO_BAR = (1, 14), 6
AHEAD = 1
AHEAD_OF_SKOPEO = "ahead of skopeo"

# How many times as fast as another job of the family a job must at least be; with None it is only told. "sha" is raw SHA-256 of
# the same files by openssl, on one core for one layer, on two for several.
SPEED = [
    ("one seal", "seal", "sha", 0.68),
    ("one seal", "seal trusted", "sha", 0.95),
    ("one seal", "seal ocicrypt", "sha", None),
    ("one seal", "seal ocicrypt trusted", "sha", 0.66),
    ("one open", "open", "sha", 0.9),
    ("one open", "open ocicrypt", "sha", None),
    ("four seal", "seal", "sha", 0.47),
    ("four seal", "seal trusted", "sha", 0.72),
    ("four open", "open", "sha", None),
    ("eight seal", "seal", "sha", 1 / 2.2),
    ("eight seal", "seal trusted", "sha", 1 / 1.45),
    ("one seal", "seal", "skopeo seal", AHEAD_OF_SKOPEO),
    ("one seal", "seal ocicrypt", "skopeo seal", AHEAD_OF_SKOPEO),
    ("one open", "open", "skopeo open", AHEAD_OF_SKOPEO),
    ("one open", "open ocicrypt", "skopeo open", AHEAD_OF_SKOPEO),
    ("four seal", "seal", "skopeo seal", AHEAD_OF_SKOPEO),
    # These make no digest, neither of what they read nor of what they write.
    ("one seal", "seal trusted", "age seal", AHEAD),
    ("one seal", "seal trusted", "rage seal", AHEAD),
    ("one open", "open", "age open", AHEAD),
    ("one open", "open", "rage open", AHEAD),
    ("one seal", "seal trusted", "openssl ctr", None),
    ("one seal", "seal ocicrypt", "buildah push", None),
    ("one open", "open ocicrypt", "buildah pull", None),
    ("one open", "decoder", "pipe", None),
]
# Which limit of `sealift doctor --bench` is a job's: that tells, from what each part of the work takes on this machine in this run,
# how fast a job could be at best. It is told beside the bar, and changes no verdict.
LIMITS = {
    ("one seal", "seal"): ("encrypt", "oneLayer"),
    ("one seal", "seal trusted"): ("encryptNoVerifySource", "oneLayer"),
    ("one seal", "seal ocicrypt trusted"): ("encryptOcicryptNoVerifySource", "oneLayer"),
    ("one open", "open"): ("decrypt", "oneLayer"),
    ("four seal", "seal"): ("encrypt", "manyLayers"),
    ("four seal", "seal trusted"): ("encryptNoVerifySource", "manyLayers"),
    ("eight seal", "seal"): ("encrypt", "manyLayers"),
    ("eight seal", "seal trusted"): ("encryptNoVerifySource", "manyLayers"),
}
# GiB/s at least.
RATE = [("one open", "decoder", 2.5)]
# What a decoder may take at most that is fed in pieces: from the second chunk to the first plain octet, from the last to its exit.
DELAY = [("first octet", 5.0), ("exit", 2.0)]
# MiB at most: layout to layout with two jobs, and the decoder.
MEMORY = {SEALIFT: 24, DECODER: 12}
