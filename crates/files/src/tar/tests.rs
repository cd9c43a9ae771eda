use tar::{Builder, EntryType, Header};

use super::*;

fn listed(octets: &[u8]) -> Result<Vec<Member>, ListError> {
    let mut members = Vec::new();
    let mut tape = octets;
    walk(&mut tape, &mut |member| {
        members.push(member);
        Ok(())
    })?;
    Ok(members)
}

fn built(build: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o100_644);
    header.set_uid(5);
    header.set_gid(6);
    header.set_mtime(784_111_777);
    header
}

fn add(builder: &mut Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = header(EntryType::Regular, content.len() as u64);
    builder.append_data(&mut header, name, content).unwrap();
}

/// Appends a pax header with these records.
fn pax(builder: &mut Builder<Vec<u8>>, records: &[(&str, &[u8])]) {
    let mut octets = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        octets.extend_from_slice(format!("{len} {key}=").as_bytes());
        octets.extend_from_slice(value);
        octets.push(b'\n');
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(octets.len() as u64);
    header.set_cksum();
    builder.append(&header, &*octets).unwrap();
}

fn tar_reason(octets: &[u8]) -> &'static str {
    match listed(octets) {
        Err(ListError::Tar { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_every_kind_with_what_its_header_says() {
    let octets = built(|builder| {
        add(builder, "./etc/passwd", &[7; 700]);
        builder
            .append_data(&mut header(EntryType::Directory, 0), "etc/d/", &[][..])
            .unwrap();
        let mut link = header(EntryType::Symlink, 0);
        builder.append_link(&mut link, "etc/link", "../x").unwrap();
        let mut link = header(EntryType::Link, 0);
        builder
            .append_link(&mut link, "hard", "./etc/passwd")
            .unwrap();
        let mut device = header(EntryType::Char, 0);
        device.set_device_major(1).unwrap();
        device.set_device_minor(3).unwrap();
        builder
            .append_data(&mut device, "dev/null", &[][..])
            .unwrap();
    });
    let members = listed(&octets).unwrap();
    let kinds: Vec<(String, &Kind)> = members
        .iter()
        .map(|member| (member.path.to_string(), &member.kind))
        .collect();
    let file = Kind::File(File {
        size: 700,
        content: Content::Tar(512),
        digest: None,
    });
    let device = Kind::CharDevice(Device { major: 1, minor: 3 });
    let expected = [
        ("/etc/passwd".to_owned(), &file),
        ("/etc/d".to_owned(), &Kind::Folder),
        ("/etc/link".to_owned(), &Kind::Symlink(b"../x"[..].into())),
        (
            "/hard".to_owned(),
            &Kind::HardLink(FilePath::of_entry(b"etc/passwd").unwrap()),
        ),
        ("/dev/null".to_owned(), &device),
    ];
    assert_eq!(kinds, expected);
    let first = &members[0];
    assert_eq!((first.mode, first.uid, first.gid), (0o644, 5, 6));
    assert_eq!(first.modified.to_string(), "1994-11-06T08:49:37Z");
}

#[test]
fn long_names_numbers_and_times_come_from_extension_headers() {
    let long = format!("{}/x", "d".repeat(300));
    let octets = built(|builder| {
        add(builder, &long, b"gnu");
        pax(
            builder,
            &[
                ("path", b"pax/name"),
                ("size", b"3"),
                ("uid", b"3000000"),
                ("mtime", b"-1.5"),
                // Binary, with a line end in it.
                ("SCHILY.xattr.security.capability", b"\x01\n\x02=\n"),
            ],
        );
        add(builder, "short", b"pax");
        add(builder, "last", b"!");
    });
    let members = listed(&octets).unwrap();
    let names: Vec<String> = members.iter().map(|m| m.path.to_string()).collect();
    assert_eq!(
        names,
        [format!("/{long}"), "/pax/name".into(), "/last".into()]
    );
    assert_eq!(members[1].uid, 3_000_000);
    assert_eq!(members[1].modified.seconds, -1);
    for member in &members {
        let Kind::File(File {
            size,
            content: Content::Tar(at),
            ..
        }) = member.kind
        else {
            panic!("{member:?}");
        };
        let content = &octets[usize::try_from(at).unwrap()..][..usize::try_from(size).unwrap()];
        assert!([&b"gnu"[..], b"pax", b"!"].contains(&content), "{member:?}");
    }
}

#[test]
fn contents_are_skipped_and_sizes_may_be_beyond_octal() {
    /// A tar of one long file, of which the content is never there.
    struct Long {
        header: Vec<u8>,
        skipped: u64,
    }
    impl Read for Long {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = buf.len().min(self.header.len());
            buf[..len].copy_from_slice(&self.header[..len]);
            self.header.drain(..len);
            Ok(len)
        }
    }
    impl Tape for Long {
        fn skip(&mut self, octets: u64) -> io::Result<()> {
            self.skipped += octets;
            Ok(())
        }
    }
    let mut long = header(EntryType::Regular, 1 << 40);
    long.set_path("long").unwrap();
    long.set_cksum();
    let mut tape = Long {
        header: long.as_bytes().to_vec(),
        skipped: 0,
    };
    let mut sizes = Vec::new();
    walk(&mut tape, &mut |member| {
        if let Kind::File(file) = member.kind {
            sizes.push(file.size);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!((sizes, tape.skipped), (vec![1 << 40], 1 << 40));
}

#[test]
fn sparse_files_are_found_in_pieces() {
    let octets = built(|builder| {
        let mut header = header(EntryType::GNUSparse, 1024 + 100);
        header.set_path("sparse").unwrap();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(10_000);
        gnu.sparse[0].set_offset(512);
        gnu.sparse[0].set_length(1024);
        gnu.sparse[1].set_offset(9900);
        gnu.sparse[1].set_length(100);
        header.set_cksum();
        builder.append(&header, &[5; 1124][..]).unwrap();
        add(builder, "next", b"x");
    });
    let members = listed(&octets).unwrap();
    let Kind::File(file) = &members[0].kind else {
        panic!("{:?}", members[0]);
    };
    let pieces = [
        Piece {
            offset: 512,
            len: 1024,
            at: 512,
        },
        Piece {
            offset: 9900,
            len: 100,
            at: 512 + 1024,
        },
    ];
    assert_eq!(file.content, Content::Sparse(pieces.into()));
    assert_eq!((file.size, members.len()), (10_000, 2));
}

#[test]
fn a_sparse_map_that_overlaps_or_exceeds_is_refused() {
    for map in [
        [(512, 512), (600, 512)],
        [(0, 512), (9999, 512)],
        [(0, 512), (600, 100)],
    ] {
        let octets = built(|builder| {
            let mut header = header(EntryType::GNUSparse, 1024);
            header.set_path("sparse").unwrap();
            let gnu = header.as_gnu_mut().unwrap();
            gnu.set_real_size(10_000);
            for (piece, (offset, len)) in gnu.sparse.iter_mut().zip(map) {
                piece.set_offset(offset);
                piece.set_length(len);
            }
            header.set_cksum();
            builder.append(&header, &[5; 1024][..]).unwrap();
        });
        assert_eq!(
            tar_reason(&octets),
            "the map of a sparse file is broken",
            "{map:?}"
        );
    }
}

#[test]
fn sparse_files_in_pax_form_are_listed_but_not_found() {
    let octets = built(|builder| {
        pax(
            builder,
            &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.name", b"true/name"),
                ("GNU.sparse.realsize", b"4096"),
            ],
        );
        add(builder, "GNUSparseFile.0/name", b"0\n");
    });
    let members = listed(&octets).unwrap();
    assert_eq!(members[0].path.to_string(), "/true/name");
    let Kind::File(file) = &members[0].kind else {
        panic!("{:?}", members[0]);
    };
    assert_eq!(file.size, 4096);
    assert!(matches!(file.content, Content::Unsupported(_)), "{file:?}");
}

#[test]
fn refuses_what_is_cut_or_broken() {
    let octets = built(|builder| add(builder, "a", &[7; 1000]));
    assert_eq!(tar_reason(&octets[..100]), "it ends early");
    assert_eq!(tar_reason(&octets[..1500]), "it ends early");
    for flipped in [0, 124, 150, 156, 511] {
        let mut octets = octets.clone();
        octets[flipped] ^= 1;
        assert_eq!(tar_reason(&octets), "a header is broken", "{flipped}");
    }
    for record in [
        &b"9 path=a"[..],
        b"99 path=a\n",
        b"path=a\n",
        b"0 \n",
        b"7 patha\n",
        b"10 size=x\n",
    ] {
        let octets = built(|builder| {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            header.set_size(record.len() as u64);
            header.set_cksum();
            builder.append(&header, record).unwrap();
        });
        assert_eq!(tar_reason(&octets), "a pax header is broken", "{record:?}");
    }
    // Without the two blocks of zeros, as some writers leave it.
    assert_eq!(listed(&octets[..1536]).unwrap().len(), 1);
    assert_eq!(listed(b"").unwrap(), []);
}

#[test]
fn an_extension_header_must_fit_into_memory() {
    let mut long = header(EntryType::GNULongName, MAX_EXTENSION_LEN + 1);
    long.set_cksum();
    let refused = listed(long.as_bytes());
    assert!(
        matches!(refused, Err(ListError::TooMuch { .. })),
        "{refused:?}"
    );
}

#[test]
fn names_and_hard_links_must_not_lead_outside() {
    for (name, link) in [("../../etc/passwd", ""), ("a", "../etc/passwd")] {
        let octets = built(|builder| {
            let records: &[(&str, &[u8])] =
                &[("path", name.as_bytes()), ("linkpath", link.as_bytes())];
            pax(builder, records);
            let mut header = header(
                if link.is_empty() {
                    EntryType::Regular
                } else {
                    EntryType::Link
                },
                0,
            );
            header.set_path("x").unwrap();
            header.set_cksum();
            builder.append(&header, &[][..]).unwrap();
        });
        let refused = listed(&octets);
        assert!(
            matches!(refused, Err(ListError::Name { .. })),
            "{refused:?}"
        );
    }
}
