//! Layers that are packed file by file, with a table of contents behind: eStargz and zstd:chunked.
//!
//! Written after their projects' documents and code, and not after ours.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::EntryType;

use super::layer::{Entry, Layer, Packing, Tar, entry_octets};
use crate::digest;

impl Layer {
    /// Packs a tar as eStargz: gzip members for headers and for each `chunk` octets of content, the table, its footer. The
    /// layer has the annotation with the table's digest.
    pub fn estargz(tar: Tar, chunk: usize) -> Self {
        let mut blob = Vec::new();
        let mut unpacked = Vec::new();
        let mut waiting = Vec::new();
        let mut entries = Vec::new();
        for entry in tar.entries() {
            let (header, content, padding) = entry_octets(entry);
            waiting.extend_from_slice(&header);
            let mut first = common(entry);
            for (index, piece) in content.chunks(chunk).enumerate() {
                member(&mut blob, &mut unpacked, &mut waiting);
                let mut described = match index {
                    0 => std::mem::take(&mut first),
                    _ => json!({"name": entry.1, "type": "chunk"}),
                };
                described["offset"] = json!(blob.len());
                described["chunkOffset"] = json!(index * chunk);
                // The last one says nothing of its length.
                if (index + 1) * chunk < content.len() {
                    described["chunkSize"] = json!(piece.len());
                }
                described["chunkDigest"] = json!(digest::sha256(piece));
                entries.push(described);
                waiting.extend_from_slice(piece);
            }
            if first.is_object() {
                entries.push(first);
            }
            waiting.extend_from_slice(&padding);
        }
        member(&mut blob, &mut unpacked, &mut waiting);
        let toc = json!({"version": 1, "entries": entries}).to_string();
        let toc_digest = digest::sha256(toc.as_bytes());
        let offset = blob.len();
        waiting = Tar::new().file("stargz.index.json", toc.as_bytes()).build();
        member(&mut blob, &mut unpacked, &mut waiting);
        blob.extend_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0]);
        blob.extend_from_slice(b"SG\x16\0");
        blob.extend_from_slice(format!("{offset:016x}STARGZ").as_bytes());
        blob.extend_from_slice(&[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        Self::packed(blob, unpacked, Packing::Gzip)
            .annotation("containerd.io/snapshot/stargz/toc.digest", &toc_digest)
    }

    /// Packs a tar as zstd:chunked: zstd frames for headers and for each `chunk` octets of content, the table in a frame that
    /// decoders skip, its footer in another. The layer has the annotations with the table's place and digest.
    pub fn zstd_chunked(tar: Tar, chunk: usize) -> Self {
        Self::zstd_table(tar, chunk, true)
    }

    /// The same, but with a table that has no digests of the pieces of a file.
    pub fn zstd_chunked_without_digests(tar: Tar, chunk: usize) -> Self {
        Self::zstd_table(tar, chunk, false)
    }

    fn zstd_table(tar: Tar, chunk: usize, digests: bool) -> Self {
        let mut blob = Vec::new();
        let mut unpacked = Vec::new();
        let mut entries = Vec::new();
        for entry in tar.entries() {
            let (header, content, padding) = entry_octets(entry);
            frame(&mut blob, &mut unpacked, &header);
            let mut first = common(entry);
            let pieces: Vec<&[u8]> = content.chunks(chunk).collect();
            let at = entries.len();
            for (index, piece) in pieces.iter().enumerate() {
                let mut described = match index {
                    0 => std::mem::take(&mut first),
                    _ => json!({"name": entry.1, "type": "chunk", "chunkOffset": index * chunk}),
                };
                described["offset"] = json!(blob.len());
                if pieces.len() > 1 {
                    described["chunkSize"] = json!(piece.len());
                    if digests {
                        described["chunkDigest"] = json!(digest::sha256(piece));
                    }
                    if piece.iter().all(|octet| *octet == 0) {
                        described["chunkType"] = json!("zeros");
                    }
                }
                entries.push(described);
                frame(&mut blob, &mut unpacked, piece);
            }
            match first.is_object() {
                true => entries.push(first),
                false => entries[at]["endOffset"] = json!(blob.len()),
            }
            frame(&mut blob, &mut unpacked, &padding);
        }
        frame(&mut blob, &mut unpacked, &[0; 1024]);
        let toc = json!({"version": 1, "entries": entries}).to_string();
        let packed = zstd::encode_all(toc.as_bytes(), 1).unwrap();
        let offset = blob.len() + 8;
        skippable(&mut blob, &packed);
        let numbers = [offset, packed.len(), toc.len(), 1, 0, 0, 0];
        let mut footer: Vec<u8> = numbers
            .iter()
            .flat_map(|number| (*number as u64).to_le_bytes())
            .collect();
        footer.extend_from_slice(b"GnUlInUx");
        skippable(&mut blob, &footer);
        let position = format!("{offset}:{}:{}:1", packed.len(), toc.len());
        Self::packed(blob, unpacked, Packing::Zstd)
            .annotation(
                "io.github.containers.zstd-chunked.manifest-checksum",
                &digest::sha256(&packed),
            )
            .annotation(
                "io.github.containers.zstd-chunked.manifest-position",
                &position,
            )
    }
}

/// What both tables say about an entry.
fn common((kind, path, target, content): &Entry) -> Value {
    let kind = match kind {
        EntryType::Directory => "dir",
        EntryType::Symlink => "symlink",
        EntryType::Link => "hardlink",
        // A tar in the making has nothing else.
        _ => "reg",
    };
    let mut entry = json!({
        "name": path,
        "type": kind,
        "modtime": "1970-01-01T00:00:00Z",
        "mode": if kind == "symlink" { 0o777 } else { 0o755 },
    });
    if !target.is_empty() {
        entry["linkName"] = json!(target);
    }
    if kind == "reg" {
        entry["size"] = json!(content.len());
        entry["digest"] = json!(digest::sha256(content));
    }
    entry
}

/// Closes a gzip member with what was waiting.
fn member(blob: &mut Vec<u8>, unpacked: &mut Vec<u8>, waiting: &mut Vec<u8>) {
    let octets = std::mem::take(waiting);
    if octets.is_empty() {
        return;
    }
    let mut encoder = GzEncoder::new(&mut *blob, Compression::fast());
    encoder.write_all(&octets).unwrap();
    encoder.finish().unwrap();
    unpacked.extend_from_slice(&octets);
}

fn frame(blob: &mut Vec<u8>, unpacked: &mut Vec<u8>, octets: &[u8]) {
    if !octets.is_empty() {
        blob.extend_from_slice(&zstd::encode_all(octets, 1).unwrap());
        unpacked.extend_from_slice(octets);
    }
}

fn skippable(blob: &mut Vec<u8>, octets: &[u8]) {
    blob.extend_from_slice(&0x184d_2a50_u32.to_le_bytes());
    blob.extend_from_slice(&u32::try_from(octets.len()).unwrap().to_le_bytes());
    blob.extend_from_slice(octets);
}
