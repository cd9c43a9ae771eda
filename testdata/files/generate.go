// Packs a tar with the programs that define the formats: eStargz by stargz-snapshotter, zstd:chunked by containers/storage.
// See README.md.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containers/storage/pkg/chunked/compressor"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	plain, err := os.ReadFile(os.Args[1])
	check(err)

	blob, err := estargz.Build(io.NewSectionReader(bytes.NewReader(plain), 0, int64(len(plain))), estargz.WithChunkSize(1000))
	check(err)
	packed, err := io.ReadAll(blob)
	check(err)
	check(os.WriteFile("estargz.tar.gz", packed, 0o644))
	annotations := fmt.Sprintf("containerd.io/snapshot/stargz/toc.digest=%s\n", blob.TOCDigest())
	check(os.WriteFile("estargz.annotations", []byte(annotations), 0o644))

	var out bytes.Buffer
	level := 3
	told := map[string]string{}
	writer, err := compressor.ZstdCompressor(&out, told, &level)
	check(err)
	_, err = writer.Write(plain)
	check(err)
	check(writer.Close())
	check(os.WriteFile("zstd-chunked.tar.zst", out.Bytes(), 0o644))
	keys := make([]string, 0, len(told))
	for key := range told {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	annotations = ""
	for _, key := range keys {
		annotations += fmt.Sprintf("%s=%s\n", key, told[key])
	}
	check(os.WriteFile("zstd-chunked.annotations", []byte(annotations), 0o644))
}
