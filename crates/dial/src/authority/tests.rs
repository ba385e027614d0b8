use proptest::prelude::*;

use super::frames::{Frames, PREFACE};

const SETTINGS: u8 = 0x4;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags, 0, 0, 0, 1]);
    bytes.extend(payload);
    bytes
}

fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, b"\x00\x03\x00\x00\x00\x64"));
    bytes.extend(frames.concat());
    bytes
}

/// What a server reads of a connection, which is the same however it is cut into two reads.
#[track_caller]
fn read(sent: &[u8]) -> Vec<u8> {
    let whole = {
        let mut bytes = sent.to_vec();
        Frames::new().overwrite(&mut bytes);
        bytes
    };
    for cut in 0..sent.len() {
        let mut bytes = sent.to_vec();
        let mut frames = Frames::new();
        let (first, second) = bytes.split_at_mut(cut);
        frames.overwrite(first);
        frames.overwrite(second);
        assert_eq!(bytes, whole, "cut at {cut}");
    }
    let mut bytes = sent.to_vec();
    let mut frames = Frames::new();
    bytes.chunks_mut(1).for_each(|byte| frames.overwrite(byte));
    assert_eq!(bytes, whole, "cut into bytes");
    whole
}

#[track_caller]
fn becomes(sent: &[Vec<u8>], expected: &[Vec<u8>]) {
    assert_eq!(read(&connection(sent)), connection(expected));
}

/// `:method POST`, of the static table.
const METHOD: &[u8] = b"\x83";
/// `te: trailers`, its name written out.
const TE: &[u8] = b"\x40\x02te\x08trailers";

fn block(authority: &[u8]) -> Vec<u8> {
    [METHOD, authority, TE].concat()
}

#[test]
fn an_authority_is_overwritten_in_every_form_of_the_field() {
    let long = |byte: u8| [b"\x01\x7f\x01".to_vec(), vec![byte; 128]].concat();
    for (form, sent, expected) in [
        (
            "its name in the table",
            &b"\x41\x05/a/b/"[..],
            &b"\x41\x05xxxxx"[..],
        ),
        (
            "its name written out",
            b"\x40\x0a:authority\x06%2Frun",
            b"\x40\x0a:authority\x06xxxxxx",
        ),
        ("never in a table", b"\x11\x02/a", b"\x11\x02xx"),
        // %2Fr: 010101 00010 1000011 101100
        (
            "in the Huffman code",
            b"\x41\x83\x54\x50\xec",
            b"\x41\x83\xfc\xfc\xfc",
        ),
        ("with a length of two bytes", &long(b'/'), &long(b'x')),
        ("empty", b"\x41\x00", b"\x41\x00"),
    ] {
        let (sent, expected) = (block(sent), block(expected));
        eprintln!("{form}");
        becomes(
            &[frame(HEADERS, 0x4, &sent)],
            &[frame(HEADERS, 0x4, &expected)],
        );
    }
}

#[test]
fn other_fields_and_frames_stay_as_they_are() {
    for same in [
        // Another name, an index of two bytes, a size of the table, a name that only begins as :authority does.
        block(b"\x44\x05/a/b/"),
        block(b"\x7f\x21\x02/a"),
        block(b"\x3f\xe1\x1f\xff\x20"),
        block(b"\x40\x0b:authority2\x02/a"),
        block(b"\x40\x0a:authoritx\x02/a"),
        block(b"\x00\x00\x02/a"),
        // An IPv6 address in the Huffman code is a host.
        block(b"\x41\x83\xff\xdd\xc4"),
    ] {
        let frames = [frame(HEADERS, 0x4, &same)];
        becomes(&frames, &frames);
    }
    let data = [frame(DATA, 0, b"\x41\x05/a/b/")];
    becomes(&data, &data);
}

#[test]
fn blocks_are_found_behind_padding_and_priority_and_in_more_than_one_frame() {
    let payload = |block: &[u8]| [&b"\x03\x00\x00\x00\x00\x10"[..], block, b"\x41\x05/"].concat();
    let whole = |value: &[u8]| block(&[b"\x41\x05", value].concat());
    let flags = PADDED | PRIORITY | 0x4;
    let (first, second) = (frame(HEADERS, 0, b"\x83\x41\x05/a"), b"/b/\x83");
    becomes(
        &[
            frame(HEADERS, flags, &payload(&whole(b"/a/b/"))),
            first,
            frame(CONTINUATION, 0x4, second),
            frame(DATA, 0x1, b"\x41\x01/"),
            frame(HEADERS, 0x4, &whole(b"/b/c/")),
        ],
        &[
            frame(HEADERS, flags, &payload(&whole(b"xxxxx"))),
            frame(HEADERS, 0, b"\x83\x41\x05xx"),
            frame(CONTINUATION, 0x4, b"xxx\x83"),
            frame(DATA, 0x1, b"\x41\x01/"),
            frame(HEADERS, 0x4, &whole(b"xxxxx")),
        ],
    );
}

#[test]
fn rubbish_is_read_to_its_end_and_what_follows_is_found() {
    let good = frame(HEADERS, 0x4, b"\x41\x02/a");
    let mended = frame(HEADERS, 0x4, b"\x41\x02xx");
    for rubbish in [
        // Lengths without an end, padding and priority that are longer than their frame, blocks that break off.
        frame(
            HEADERS,
            0x4,
            b"\x41\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        frame(HEADERS, 0x4, b"\x41\x7f\x80\x80\x80"),
        frame(HEADERS, 0x4, b"\x7f"),
        frame(HEADERS, 0x4, b""),
        frame(HEADERS, PADDED | 0x4, b""),
        frame(CONTINUATION, 0x4, b""),
    ] {
        becomes(&[rubbish.clone(), good.clone()], &[rubbish, mended.clone()]);
    }
}

proptest! {
    #[test]
    fn any_bytes_keep_their_number_and_are_read_alike_however_they_are_cut(
        payloads in prop::collection::vec(
            (0..10_u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6
        ),
        rubbish in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let frames: Vec<_> = payloads
            .iter()
            .map(|(kind, flags, payload)| frame(*kind, *flags, payload))
            .chain([rubbish])
            .collect();
        let sent = connection(&frames);
        prop_assert_eq!(read(&sent).len(), sent.len());
    }
}
