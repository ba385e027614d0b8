//! A header block (RFC 7541, 6), read byte by byte: only lengths are read, no table is kept.

/// The name of the field, where it is written out.
const NAME: &[u8] = b":authority";
/// Its place in the static table (RFC 7541, appendix A).
const NAME_INDEX: u8 = 1;
/// A text is in the Huffman code (RFC 7541, 5.2).
const HUFFMAN: u8 = 0x80;
/// What each byte of the value becomes: a host, whatever its length.
const FILLER: u8 = b'x';
/// The same in the Huffman code, where an X has just 8 bits (RFC 7541, appendix B). A value has as many characters then
/// as bytes: no more than it had, since clients send a text in that code if it becomes shorter.
const HUFFMAN_FILLER: u8 = 0xfc;
/// How a bracket begins in the Huffman code, the first character of an IPv6 address: this host is one already, and is the
/// one that may be shorter than its code.
const HUFFMAN_BRACKET: u8 = 0xff;
/// No text of a block that a server takes is longer than this has bits.
const LENGTH_BITS: u32 = 28;

/// The place in a block.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Block {
    /// The first byte of a field.
    #[default]
    Field,
    /// Further bytes of an index; a literal's value follows it.
    Index { is_literal: bool },
    /// The first byte of a text's length.
    Length(Text),
    /// Further bytes of it.
    LongLength {
        text: Text,
        is_huffman: bool,
        length: usize,
        shift: u32,
    },
    /// A field's name; `same` while it can be [`NAME`].
    Name {
        read: usize,
        length: usize,
        same: bool,
    },
    /// The first byte of an authority in the Huffman code.
    HuffmanAuthority { length: usize },
    /// A field's value, and what its bytes become.
    Value { left: usize, filler: Option<u8> },
    /// The block makes no sense: it is the server's to refuse.
    Senseless,
}

/// A text of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    Name,
    Value,
    Authority,
}

impl Block {
    /// Takes the next byte, and overwrites it if it belongs to an authority.
    pub(super) fn overwrite(&mut self, byte: &mut u8) {
        let is_last = *byte & 0x80 == 0;
        *self = match *self {
            Block::Field => field(*byte),
            Block::Index { is_literal } if is_last => {
                if is_literal {
                    Block::Length(Text::Value)
                } else {
                    Block::Field
                }
            }
            Block::Length(text) => {
                let (length, is_huffman) = (*byte & !HUFFMAN, *byte & HUFFMAN != 0);
                if length == !HUFFMAN {
                    Block::LongLength {
                        text,
                        is_huffman,
                        length: length.into(),
                        shift: 0,
                    }
                } else {
                    text.begin(length.into(), is_huffman)
                }
            }
            Block::LongLength { shift, .. } if shift >= LENGTH_BITS => Block::Senseless,
            Block::LongLength {
                text,
                is_huffman,
                length,
                shift,
            } => {
                let length = length + (usize::from(*byte & 0x7f) << shift);
                if is_last {
                    text.begin(length, is_huffman)
                } else {
                    let shift = shift + 7;
                    Block::LongLength {
                        text,
                        is_huffman,
                        length,
                        shift,
                    }
                }
            }
            Block::Name { read, length, same } => {
                let same = same && NAME.get(read) == Some(&*byte);
                match (read + 1 == length, same) {
                    (false, same) => Block::Name {
                        read: read + 1,
                        length,
                        same,
                    },
                    (true, true) => Block::Length(Text::Authority),
                    (true, false) => Block::Length(Text::Value),
                }
            }
            Block::HuffmanAuthority { length } => {
                let filler = (*byte != HUFFMAN_BRACKET).then_some(HUFFMAN_FILLER);
                value(byte, length, filler)
            }
            Block::Value { left, filler } => value(byte, left, filler),
            Block::Index { .. } | Block::Senseless => *self,
        };
    }
}

/// What follows the first byte of a field (RFC 7541, 6.1 to 6.3).
fn field(byte: u8) -> Block {
    match byte {
        0x80.. => indexed(byte, 0x7f),
        0x40.. => literal(byte, 0x3f),
        0x20.. => indexed(byte, 0x1f),
        _ => literal(byte, 0x0f),
    }
}

/// A field, or a size of the table, that is a number only.
fn indexed(byte: u8, mask: u8) -> Block {
    if byte & mask == mask {
        Block::Index { is_literal: false }
    } else {
        Block::Field
    }
}

fn literal(byte: u8, mask: u8) -> Block {
    match byte & mask {
        0 => Block::Length(Text::Name),
        NAME_INDEX => Block::Length(Text::Authority),
        index if index == mask => Block::Index { is_literal: true },
        _ => Block::Length(Text::Value),
    }
}

/// What follows a byte of a value.
fn value(byte: &mut u8, left: usize, filler: Option<u8>) -> Block {
    if let Some(filler) = filler {
        *byte = filler;
    }
    if left == 1 {
        return Block::Field;
    }
    let left = left - 1;
    Block::Value { left, filler }
}

impl Text {
    /// What follows its length.
    fn begin(self, length: usize, is_huffman: bool) -> Block {
        match (self, length) {
            (Text::Name, 0) => Block::Length(Text::Value),
            (_, 0) => Block::Field,
            (Text::Name, length) => Block::Name {
                read: 0,
                length,
                same: length == NAME.len() && !is_huffman,
            },
            (Text::Value, left) => Block::Value { left, filler: None },
            (Text::Authority, length) if is_huffman => Block::HuffmanAuthority { length },
            (Text::Authority, left) => Block::Value {
                left,
                filler: Some(FILLER),
            },
        }
    }
}
