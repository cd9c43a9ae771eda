// Reference ocicrypt decoder, built only from Debian's golang-github-containers-ocicrypt-dev (1.0.3).
//
// usage: ref [--key FILE]... [--x509 FILE]... [--gpg FILE]... [--payload FILE | --descriptor FILE] <cipher >plain
//
//	--key         private key (PEM or DER: PKCS#8, PKCS#1; JWK)
//	--x509        certificate, needed beside the key for pkcs7
//	--gpg         binary OpenPGP secret keyring
//	--payload     containerd stream-processor payload; without it fd 3 is read, so the program works as a
//	              [stream_processors] `path`
//	--descriptor  JSON of the layer descriptor (mediaType, digest, size, annotations) instead of a payload
//
// Exit 1 with one line on stderr on any error; the tail of the plaintext is not written when the HMAC is wrong.
//
// Built by scripts/peers/build-ocicrypt-ref.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/containers/ocicrypt"
	"github.com/containers/ocicrypt/config"
	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

type payload struct {
	DecryptConfig config.DecryptConfig
	Descriptor    ocispec.Descriptor
}

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "ref: %s: %v\n", what, err)
		os.Exit(1)
	}
}

func main() {
	var keys, noKeyPasswords, certs, rings, noRingPasswords [][]byte
	var p payload
	source, descriptor := os.NewFile(3, "payload"), ""
	for i := 1; i+1 < len(os.Args); i += 2 {
		name := os.Args[i+1]
		if os.Args[i] == "--descriptor" {
			descriptor = name
			continue
		}
		b, err := os.ReadFile(name)
		check(name, err)
		switch os.Args[i] {
		case "--key":
			keys, noKeyPasswords = append(keys, b), append(noKeyPasswords, nil)
		case "--x509":
			certs = append(certs, b)
		case "--gpg":
			rings, noRingPasswords = append(rings, b), append(noRingPasswords, nil)
		case "--payload":
			source, err = os.Open(name)
			check(name, err)
		default:
			check(os.Args[i], fmt.Errorf("unknown option"))
		}
	}
	if descriptor != "" {
		b, err := os.ReadFile(descriptor)
		check(descriptor, err)
		check("descriptor", json.Unmarshal(b, &p.Descriptor))
	} else {
		raw, err := io.ReadAll(source)
		check("payload", err)
		var any types.Any
		check("payload", proto.Unmarshal(raw, &any))
		check("payload", json.Unmarshal(any.Value, &p))
	}
	var parts []config.CryptoConfig
	add := func(c config.CryptoConfig, err error) {
		check("keys", err)
		parts = append(parts, c)
	}
	if len(keys) > 0 {
		add(config.DecryptWithPrivKeys(keys, noKeyPasswords))
	}
	if len(certs) > 0 {
		add(config.DecryptWithX509s(certs))
	}
	if len(rings) > 0 {
		add(config.DecryptWithGpgPrivKeys(rings, noRingPasswords))
	}
	combined := config.CombineCryptoConfigs(parts)
	r, _, err := ocicrypt.DecryptLayer(combined.DecryptConfig, os.Stdin, p.Descriptor, false)
	check("DecryptLayer", err)
	_, err = io.Copy(os.Stdout, r)
	check("copy", err)
}
